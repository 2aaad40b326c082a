"""netphys.objectives.collapse: what isotropic, low-rank, constant and offset features measure."""

from __future__ import annotations

import pytest
import torch

from netphys.objectives.collapse import alignment, collapse, dead_units, effective_rank, spread, uniformity
from netphys.objectives.collapse import uniformity_of_sphere as sphere


def gaussian(n: int, d: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_isotropic_features() -> None:
    values = gaussian(8000, 16)
    assert spread(values).item() == pytest.approx(1, abs=0.01)
    assert effective_rank(values).item() == pytest.approx(16, abs=0.02)
    assert uniformity(values[:2000]).item() == pytest.approx(sphere(16), abs=0.01)


def test_low_rank() -> None:
    values = gaussian(500, 3) @ gaussian(3, 32, seed=1)
    assert 1 < effective_rank(values).item() <= 3 and effective_rank(values, centred=False).item() <= 3 + 1e-9


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3])
def test_a_constant_has_rank_1_and_no_nan(constant: float) -> None:
    found = collapse(torch.full((600, 8), constant), torch.full((600, 4), constant), torch.arange(600).roll(1))
    assert not any(each.isnan() for each in found.values())
    for name in ("f", "z"):
        assert found[f"rank_{name}"].item() == 1 and found[f"rank_raw_{name}"].item() == pytest.approx(1, abs=1e-6)
        assert found[f"spread_{name}"].item() == pytest.approx(0, abs=1e-7)
        assert found[f"uniformity_{name}"].item() == pytest.approx(0, abs=1e-12)
        assert found[f"alignment_{name}"].item() == 0


def test_a_large_mean_lowers_the_raw_rank_alone() -> None:
    values = gaussian(800, 12) + 1000
    assert effective_rank(values).item() == pytest.approx(12, abs=0.1)
    assert effective_rank(values, centred=False).item() < 1.2


def test_the_cap_is_said() -> None:
    few = gaussian(10, 64)
    found = collapse(few)
    assert found["rank_cap_f"].item() == 10 and found["rank_f"].item() <= 10


def test_invariant_to_rotation_and_not_to_scaling_a_unit() -> None:
    values = gaussian(400, 6) * torch.tensor([1.0, 2.0, 1.0, 0.5, 1.0, 1.0]) + 0.3
    turned = values @ torch.linalg.qr(gaussian(6, 6, seed=2)).Q
    for measure in (effective_rank, uniformity):
        assert measure(turned).item() == pytest.approx(measure(values).item(), abs=1e-9)
    scaled = values.clone()
    scaled[:, 0] *= 100
    assert effective_rank(scaled).item() < 0.6 * effective_rank(values).item()


def test_alignment_of_equal_and_of_unrelated_views() -> None:
    z, other = gaussian(3000, 32), gaussian(3000, 32, seed=1)
    assert alignment(z, 3 * z).item() == pytest.approx(0, abs=1e-12)
    assert alignment(z, other).item() == pytest.approx(2, abs=4 * 2 / (32 * 3000) ** 0.5)  # 4 standard errors


def test_dead_units() -> None:
    f = gaussian(100, 10).clamp_min(0)
    f[:, :3] = 0
    assert dead_units(f).item() == pytest.approx(0.3)


def test_reference_of_the_sphere() -> None:
    assert sphere(256) == pytest.approx(-3.97, abs=0.005)
    assert sphere(100_000) == pytest.approx(-4, abs=1e-3)


def test_a_collapsed_network_is_seen() -> None:
    """Control: almost one direction is far below the warning of 0.3."""
    values = gaussian(600, 16) * 0.01 + 1
    assert spread(values).item() < 0.05 < 0.9 < spread(values - 1).item()
