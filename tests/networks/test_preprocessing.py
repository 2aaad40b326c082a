"""Preprocess: what a network wants done to an image, as torchvision does it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import models
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode

from netphys.errors import StimulusError
from netphys.networks import Preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _photo(y: int, x: int, seed: int = 0) -> torch.Tensor:
    """Smooth and noisy at once, uint8 (2, 3, y, x)."""
    rng = np.random.default_rng(seed)
    smooth = 127 + 100 * np.sin(np.arange(x) / 9)[None, None, None] * np.cos(np.arange(y) / 7)[None, None, :, None]
    return torch.from_numpy(np.clip(smooth + rng.normal(0, 20, (2, 3, y, x)), 0, 255).astype(np.uint8))


def _theirs(resize: object, crop: object, how: InterpolationMode) -> v2.Compose:
    steps = [v2.Resize(resize, how, antialias=True)] if resize else []
    steps += [v2.CenterCrop(crop)] if crop else []
    return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


@pytest.mark.parametrize("size", [(175, 175), (64, 96), (301, 200), (256, 256)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (232, 224), ((224, 224), None), (64, 64), (None, 50)])
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_equals_torchvision_on_float_images(
    size: tuple[int, int], resize: int | tuple[int, int] | None, crop: int | None, how: str
) -> None:
    images = _photo(*size).float() / 255
    mode = InterpolationMode(how)
    expected = _theirs(resize, crop, mode)(images)
    if how == "bicubic":  # theirs is clamped for uint8 only
        expected = v2.Compose(_theirs(resize, crop, mode).transforms[:-1])(images).clamp(0, 1)
        expected = v2.Normalize(MEAN, STD)(expected)
    ours = Preprocess(resize, crop, MEAN, STD, how)(images)
    assert ours.dtype == torch.float32 and ours.shape == expected.shape
    assert torch.allclose(ours, expected, atol=2e-6)  # the same operations; normalisation rounds differently


@pytest.mark.parametrize("size", [(175, 175), (301, 200)])
def test_equals_torchvision_on_photographs_but_for_its_rounding(size: tuple[int, int]) -> None:
    images = _photo(*size)
    expected = _theirs(256, 224, InterpolationMode.BILINEAR)(images)
    ours = Preprocess(256, 224, MEAN, STD)(images)
    # torchvision rounds to whole grey levels between resizing and normalising; its uint8 kernel is within one of them
    assert (ours - expected).abs().max() <= 1.01 / 255 / min(STD)
    shifted = Preprocess(256, 224, MEAN, STD)(images.roll(1, -1))
    assert (shifted - expected).abs().max() > 10 / 255 / min(STD)  # control: one pixel off is seen


@pytest.mark.parametrize("name", ["alexnet", "vit_b_16", "convnext_tiny", "efficientnet_b0", "swin_v2_t"])
def test_the_published_preprocessing_of_a_model_is_taken(name: str) -> None:
    import netphys
    from netphys.networks.loading import _from_preset

    preset = models.get_model_weights(name).DEFAULT.transforms()
    ours = _from_preset(preset)
    assert ours.mean == MEAN and ours.std == STD and ours.interpolation == preset.interpolation.value
    images = _photo(300, 260)
    assert (ours(images) - preset(images)).abs().max() <= 2.01 / 255 / min(STD)  # bicubic in uint8: within two levels
    if name == "alexnet":
        assert netphys.load_network("torchvision:alexnet").preprocess == ours


def test_uint8_is_divided_by_255_and_float_left_as_it_is() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    scaled = Preprocess()(images)
    assert torch.equal(scaled, images.float() / 255) and scaled.max() == 1
    assert torch.equal(Preprocess()(scaled), scaled)


def test_nearest_and_bicubic_stay_within_what_a_picture_can_hold() -> None:
    images = (torch.rand(1, 3, 10, 10, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert set(Preprocess(resize=20, interpolation="nearest")(images).unique().tolist()) == {0.0, 1.0}
    assert Preprocess(resize=20, interpolation="bicubic")(images).min() == 0
    raw = torch.nn.functional.interpolate(images, (20, 20), mode="bicubic", antialias=True)
    assert raw.min() < -0.01  # control: unclamped it overshoots


def test_lists_of_several_sizes_are_resized_one_by_one_or_refused() -> None:
    images = [_photo(20, 30)[0], _photo(40, 40, 1)[1]]
    together = Preprocess(resize=(16, 16))(images)
    assert torch.equal(together[1:], Preprocess(resize=(16, 16))(images[1][None]))
    with pytest.raises(StimulusError, match=r"images differ in size \(20 x 30 and 40 x 40\) .*; add \?resize=224"):
        Preprocess()(images)
    with pytest.raises(StimulusError, match="an image of 20 x 30 cannot be cropped to 24 x 24; resize it first"):
        Preprocess(crop=24)(images[0][None])


@pytest.mark.parametrize("size", [(175, 175), (64, 96), (301, 200)])
def test_output_size_is_what_comes_out(size: tuple[int, int]) -> None:
    images = _photo(*size)
    for each in (Preprocess(), Preprocess(resize=50), Preprocess(resize=(40, 60)), Preprocess(resize=70, crop=64)):
        assert tuple(each(images).shape[-2:]) == each.output_size(size)


def test_to_dict_is_plain_and_tells_all() -> None:
    assert Preprocess(resize=(2, 3)).to_dict() == {
        "resize": (2, 3), "crop": None, "mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "bilinear",
        "colour": "rgb",
    }  # fmt: skip


def test_a_network_that_sees_lightness_sees_no_colour() -> None:
    images = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    seen = Preprocess(colour="lightness")(images)
    assert seen.shape == (2, 3, 5, 6)
    assert torch.equal(seen[:, 0], seen[:, 1]) and torch.equal(seen[:, 1], seen[:, 2])
    white_red = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]).view(1, 3, 1, 2)
    assert Preprocess(colour="lightness")(white_red)[0, 0, 0].tolist() == pytest.approx([1.0, 0.5324], abs=1e-4)
    grey = torch.full((1, 3, 2, 2), 0.5)  # control: a grey image keeps its order of brightness, not its numbers
    assert float(Preprocess(colour="lightness")(grey).mean()) == pytest.approx(0.5339, abs=1e-4)


def test_what_is_seen_keeps_its_colours() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    given = Preprocess(mean=(0.5, 0.5, 0.5), colour="lightness", crop=4)
    assert torch.equal(given.seen(images), images[..., 2:6, 2:6])


def test_plain_data_makes_the_same_preprocessing_again() -> None:
    given = Preprocess(resize=(7, 9), crop=5, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0), colour="lightness")
    assert Preprocess.from_dict({**given.to_dict(), "resize": [7, 9]}) == given
