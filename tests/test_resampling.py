"""resized_crop: torch's antialiased resizing, of the pixels that are kept only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from netphys.resampling import resized_crop

TOLERANCE = 1e-6  # of the range: sums of a dozen float32 products, in another order


def _images(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((375, 500), (256, 341)), ((500, 375), (341, 256)), ((144, 192), (256, 341)), ((64, 64), (224, 224)),
        ((601, 803), (37, 50)), ((7, 5), (3, 9)), ((1, 1), (4, 3)), ((9, 9), (1, 1)), ((33, 8), (33, 16)),
        ((2, 3), (2, 1)),
    ],
)  # fmt: skip
def test_it_is_torchs_resizing_and_then_a_crop(shape: tuple[int, int], size: tuple[int, int]) -> None:
    images = _images(2, 3, *shape)
    whole = F.resize(images.float() / 255, list(size), antialias=True)
    assert torch.allclose(resized_crop(images, size, (0, 0), size) / 255, whole, rtol=0, atol=TOLERANCE)
    assert torch.allclose(resized_crop(images.float() / 255, size, (0, 0), size), whole, rtol=0, atol=TOLERANCE)
    box = (slice(size[0] // 3, size[0] // 3 + size[0] // 2 + 1), slice(size[1] // 4, size[1] // 4 + size[1] // 2 + 1))
    box = tuple(slice(each.start, min(each.stop, side)) for each, side in zip(box, size))
    corner, part = tuple(each.start for each in box), tuple(each.stop - each.start for each in box)
    assert torch.equal(resized_crop(images, size, corner, part), resized_crop(images, size, (0, 0), size)[..., *box])


def test_random_sizes() -> None:
    rng = np.random.default_rng(1)
    worst = 0.0
    for _ in range(60):
        shape, size = rng.integers(1, 90, 2), rng.integers(2, 90, 2)  # torch is wrong on columns of one pixel
        image = _images(1, 1, *shape)
        whole = F.resize(image.float() / 255, size.tolist(), antialias=True)
        got = resized_crop(image, tuple(size.tolist()), (0, 0), tuple(size.tolist())) / 255
        worst = max(worst, float((got - whole).abs().max()))
    assert worst < TOLERANCE


def test_a_column_of_one_pixel_is_resized_as_a_wide_one() -> None:
    image = _images(1, 1, 55, 1)
    wide = resized_crop(image.expand(1, 1, 55, 3), (82, 3), (0, 0), (82, 3))
    assert torch.equal(resized_crop(image, (82, 1), (0, 0), (82, 1)), wide[..., :1])


def test_controls() -> None:
    image = _images(1, 3, 90, 120)
    whole = F.resize(image.float() / 255, [40, 50], antialias=True)
    plain = F.resize(image.float() / 255, [40, 50], antialias=False)
    shifted = resized_crop(image, (40, 51), (0, 1), (40, 50)) / 255
    assert (plain - whole).abs().max() > 0.1 and (shifted - whole).abs().max() > 0.1


def test_it_depends_on_nothing_but_the_image() -> None:
    images = _images(5, 3, 50, 60)
    alone = torch.cat([resized_crop(each[None], (30, 36), (3, 3), (24, 24)) for each in images])
    assert torch.equal(resized_crop(images, (30, 36), (3, 3), (24, 24)), alone)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if before > 1 else 2)
        assert torch.equal(resized_crop(images, (30, 36), (3, 3), (24, 24)), alone)
    finally:
        torch.set_num_threads(before)
    strided = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(resized_crop(strided, (30, 36), (3, 3), (24, 24)), alone)


def test_gradients_are_those_of_torchs_resizing() -> None:
    """An image that is optimised is seen through what the network does to it."""
    image = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    gradients = []
    for resize in (
        lambda x: resized_crop(x, (12, 15), (1, 2), (9, 9)),
        lambda x: F.resize(x, [12, 15], antialias=True)[..., 1:10, 2:11],
    ):
        x = image.clone().requires_grad_()
        resize(x).square().sum().backward()
        gradients.append(x.grad)
    assert torch.allclose(*gradients, rtol=0, atol=1e-5)


def test_weights_made_in_inference_mode_serve_gradients_later() -> None:
    images = torch.rand(1, 3, 37, 41)
    with torch.inference_mode():
        resized_crop(images, (19, 23), (0, 0), (19, 23))
    images.requires_grad_()
    resized_crop(images, (19, 23), (0, 0), (19, 23)).sum().backward()
    assert images.grad is not None and float(images.grad.sum()) == pytest.approx(3 * 19 * 23, rel=1e-5)
