"""netphys.objectives.contrast: closed forms of NT-Xent, its gradient, and the ways to be wrong that it must not be."""

from __future__ import annotations

import math

import pytest
import torch

from netphys.objectives.contrast import contrast, ntxent, stacked_partners


def random_rows(n: int, d: int = 8, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(z: torch.Tensor, partner: list[int], temperature: float) -> float:
    """Equation 1 with two loops."""
    total = 0.0
    rows = [each / each.norm() for each in z]
    for i, row in enumerate(rows):
        others = [math.exp(float(row @ each) / temperature) for k, each in enumerate(rows) if k != i]
        total -= math.log(math.exp(float(row @ rows[partner[i]]) / temperature) / sum(others))
    return total / len(rows)


def test_one_sample_has_one_candidate() -> None:
    z = random_rows(2)
    assert ntxent(z, stacked_partners(2), temperature=0.1).item() == 0.0


@pytest.mark.parametrize("n_samples", [2, 5, 32])
def test_equal_rows_know_nothing(n_samples: int) -> None:
    z = torch.ones(2 * n_samples, 4, dtype=torch.float64)
    expected = math.log(2 * n_samples - 1)
    assert ntxent(z, stacked_partners(2 * n_samples), temperature=0.2).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_orthogonal_pairs_that_agree(temperature: float) -> None:
    b = 6
    z = torch.eye(b, 7, dtype=torch.float64).repeat(2, 1) * 3  # any norm
    expected = -1 / temperature + math.log(math.exp(1 / temperature) + 2 * b - 2)
    loss, found = contrast(z, stacked_partners(2 * b), temperature=temperature)
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert found.item() == 1.0


def test_the_same_as_two_loops() -> None:
    z = random_rows(10, seed=3)
    partner = stacked_partners(10)
    assert partner.tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
    assert ntxent(z, partner, temperature=0.3).item() == pytest.approx(by_hand(z, partner.tolist(), 0.3), abs=1e-12)


def test_gradient_against_finite_differences() -> None:
    z = random_rows(8, 5, seed=1).requires_grad_()
    partner = stacked_partners(8)
    assert torch.autograd.gradcheck(lambda each: ntxent(each, partner, temperature=0.2), (z,), eps=1e-6, atol=1e-6)


def test_invariances() -> None:
    z, partner = random_rows(12, seed=2), stacked_partners(12)
    loss = ntxent(z, partner, temperature=0.2)
    turned = z @ torch.linalg.qr(random_rows(8, seed=4)).Q
    assert ntxent(turned, partner, temperature=0.2).item() == pytest.approx(loss.item(), abs=1e-12)
    assert ntxent(5 * z, partner, temperature=0.2).item() == pytest.approx(loss.item(), abs=1e-12)
    # the layout is the caller's: interleaved rows with interleaved partners
    order = torch.arange(12).view(2, 6).T.flatten()
    interleaved = torch.arange(12).view(6, 2).flip(1).flatten()
    assert ntxent(z[order], interleaved, temperature=0.2).item() == pytest.approx(loss.item(), abs=1e-12)


def test_a_wrong_layout_is_another_loss() -> None:
    """Control: pairs that agree, taken for stacked where they are interleaved."""
    b = 6
    pairs = torch.eye(b, 7, dtype=torch.float64).repeat_interleave(2, 0)
    interleaved = torch.arange(2 * b).view(b, 2).flip(1).flatten()
    right = ntxent(pairs, interleaved, temperature=0.2).item()
    wrong = ntxent(pairs, stacked_partners(2 * b), temperature=0.2).item()
    assert right < 0.1 and wrong > 4


def test_a_row_that_is_its_own_candidate_is_another_loss() -> None:
    """Control: without the exclusion, equal rows give ln(2B)."""
    z = torch.ones(8, 4, dtype=torch.float64)
    unit = torch.nn.functional.normalize(z, dim=1)
    included = torch.nn.functional.cross_entropy(unit @ unit.T / 0.2, stacked_partners(8)).item()
    assert included == pytest.approx(math.log(8))
    assert ntxent(z, stacked_partners(8), temperature=0.2).item() == pytest.approx(math.log(7))


def test_autocast_leaves_the_logits_in_full_precision() -> None:
    z, partner = random_rows(64, 16, seed=5).float(), stacked_partners(64)
    plain = ntxent(z, partner, temperature=0.07)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ntxent(z, partner, temperature=0.07)
        unit = torch.nn.functional.normalize(z, dim=1)
        half = unit @ unit.T / 0.07  # control: what autocast would have made of them
    assert torch.equal(plain, inside) and inside.dtype == torch.float32
    assert (half.float() - unit @ unit.T / 0.07).abs().max() > 0.02
