"""Framing: resizing, cropping and padding, against torchvision and against the code it came from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode

from netphys.errors import StimulusError
from netphys.framing import cropped, padded, resized, resized_size
from netphys.networks import Preprocess

SIZES = [(175, 175), (64, 96), (301, 200), (7, 5)]


def _images(y: int, x: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((2, 3, y, x), dtype=np.float32))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_resizing_is_torchvisions_antialiased(size: tuple[int, int], how: str) -> None:
    images = _images(*size)
    for target in ((32, 48), (256, 256), (9, 3)):
        expected = v2.functional.resize(images, list(target), InterpolationMode(how), antialias=True)
        eps = 1e-6 if how == "bilinear" else 0.0  # ours sums the same weights in another order
        torch.testing.assert_close(resized(images, target, how), expected, atol=eps, rtol=0)
        rough = v2.functional.resize(images, list(target), InterpolationMode(how), antialias=False)
        if target < size:  # control: without antialiasing another picture comes out
            assert not torch.allclose(resized(images, target, how), rough, atol=1e-3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "wanted", [Preprocess(64, 50), Preprocess((40, 60)), Preprocess(33, interpolation="bicubic"), Preprocess(crop=5)]
)
def test_a_networks_preprocessing_is_made_of_it(size: tuple[int, int], wanted: Preprocess) -> None:
    images = _images(*size)
    framed = resized(images, resized_size(size, wanted.resize), wanted.interpolation).clamp(0, 1)
    framed = framed if wanted.crop is None else cropped(framed, wanted.crop)
    assert torch.allclose(wanted(images), framed, atol=1e-6)  # on the CPU it adds the same weights in another order


def test_nearest_makes_no_new_values_and_the_same_size_is_the_same() -> None:
    images = (_images(12, 12) > 0.5).float()
    assert set(resized(images, (30, 7), "nearest").unique().tolist()) == {0.0, 1.0}
    assert len(resized(images, (30, 7)).unique()) > 2  # control
    assert resized(images, (12, 12)) is images


@pytest.mark.parametrize("inner", range(1, 9))
def test_cropping_undoes_padding(inner: int) -> None:
    images = _images(inner, 9 - inner)
    around = padded(images, (12, 11), 0.25)
    assert around.shape == (2, 3, 12, 11) and torch.equal(cropped(around, (inner, 9 - inner)), images)
    n_ground = 12 * 11 - inner * (9 - inner)
    assert int((around == 0.25).sum()) == 6 * n_ground
    outside = around[0, 0] == 0.25
    rows, columns = torch.where(~outside)
    assert abs((rows.min() - 0) - (11 - rows.max())) <= 1 and abs(columns.min() - (10 - columns.max())) <= 1


def test_cropping_is_torchvisions() -> None:
    images = _images(31, 22)
    for size in ((31, 22), (10, 7), (9, 8), (1, 1)):
        assert torch.equal(cropped(images, size), v2.functional.center_crop(images, list(size)))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(StimulusError, match="an image of 4 x 6 cannot be cropped to 5 x 5; resize it first"):
        cropped(_images(4, 6), 5)
    with pytest.raises(StimulusError, match="an image of 4 x 6 cannot be padded to 5 x 5; resize or crop it first"):
        padded(_images(4, 6), 5)


def test_a_result_one_pixel_wide_is_the_weighted_mean_of_its_rows() -> None:
    values = torch.rand(2, 3, 40, 9)
    ours = resized(values, (20, 1))
    wide = resized(values.mean(3, keepdim=True).expand(-1, -1, -1, 4), (20, 4))[..., :1]  # rows alone are resized
    alone = resized(values, (40, 1))
    torch.testing.assert_close(resized(alone.expand(-1, -1, -1, 4), (20, 4))[..., :1], ours, atol=1e-6, rtol=0)
    assert float((wide - ours).abs().max()) < 0.2  # a triangle is not a box, but not far from it
