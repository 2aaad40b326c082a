"""netphys.colorimetry: published colours, an independent formula, the way back, and what autocast would do to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netphys.colorimetry import lab_to_srgb, lightness, srgb_to_lab

# D65 and sRGB's primaries, in tables of colour charts to two digits
KNOWN = {
    (1, 1, 1): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (1, 0, 0): (53.24, 80.09, 67.20),
    (0, 1, 0): (87.73, -86.18, 83.18),
    (0, 0, 1): (32.30, 79.19, -107.86),
    (1, 1, 0): (97.14, -21.55, 94.48),
    (0, 1, 1): (91.11, -48.09, -14.13),
    (1, 0, 1): (60.32, 98.23, -60.82),
}


def images(*, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(4, 3, 9, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_published_colours() -> None:
    for colour, expected in KNOWN.items():
        found = srgb_to_lab(torch.tensor(colour, dtype=torch.float64).view(1, 3, 1, 1)).flatten()
        # 0.03: tables round the matrix and the white to four digits
        assert np.allclose(found, expected, atol=0.03), colour


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip(dtype: torch.dtype) -> None:
    given = images(dtype=dtype)
    assert (lab_to_srgb(srgb_to_lab(given)) - given).abs().max() < 1e-4
    grid = torch.linspace(0, 1, 9, dtype=dtype)
    cube = torch.cartesian_prod(grid, grid, grid).T[None, :, :, None]
    assert (lab_to_srgb(srgb_to_lab(cube), clip=False) - cube).abs().max() < 1e-4


def test_the_same_as_an_independent_implementation() -> None:
    color = pytest.importorskip("skimage.color")
    given = images(seed=1)
    expected = color.rgb2lab(given.permute(0, 2, 3, 1).numpy(), illuminant="D65")
    # 0.03: it writes the white as (0.95047, 1, 1.08883), a fifth digit away
    assert np.abs(srgb_to_lab(given).permute(0, 2, 3, 1).numpy() - expected).max() < 0.03


def test_lightness_is_the_first_channel_and_grey_has_no_colour() -> None:
    given = images(seed=2)
    assert torch.equal(lightness(given)[:, 0], srgb_to_lab(given)[:, 0])
    grey = given[:, :1].expand(-1, 3, -1, -1)
    assert srgb_to_lab(grey)[:, 1:].abs().max() < 1e-10
    assert lightness(torch.zeros(1, 3, 1, 1)).item() == pytest.approx(0, abs=1e-5)
    assert lightness(torch.ones(1, 3, 1, 1)).item() == pytest.approx(100, abs=1e-4)


def test_bytes_are_what_they_are_divided_by_255() -> None:
    pixels = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(srgb_to_lab(pixels), srgb_to_lab(pixels.to(torch.float32) / 255))


def test_an_impossible_colour_is_told_by_not_clipping() -> None:
    impossible = torch.tensor([50.0, -100.0, -100.0]).view(1, 3, 1, 1)
    outside = lab_to_srgb(impossible, clip=False)
    assert outside.min() < 0 and not outside.isnan().any()
    assert lab_to_srgb(impossible).min() == 0


def test_autocast_changes_nothing_and_a_matrix_product_would_have() -> None:
    given = images(seed=3, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(srgb_to_lab(given), srgb_to_lab(given.clone()))
        inside = srgb_to_lab(given)
        product = torch.einsum("ij,njyx->niyx", torch.eye(3), given)  # control
    assert torch.equal(inside, srgb_to_lab(given)) and inside.dtype == torch.float32
    assert (product.float() - given).abs().max() > 1e-3


def test_without_linearising_it_is_another_colour() -> None:
    """Control: the published colours see a forgotten transfer function."""
    grey = torch.full((1, 3, 1, 1), 0.5, dtype=torch.float64)
    assert lightness(grey).item() == pytest.approx(53.39, abs=0.01)
    forgotten = 116 * 0.5 ** (1 / 3) - 16
    assert abs(lightness(grey).item() - forgotten) > 20
