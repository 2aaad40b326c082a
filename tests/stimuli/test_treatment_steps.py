"""Steps that move things, that change light and that filter, each against a closed form or a peer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from netphys.colorimetry import lightness
from netphys.errors import StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.treating.framing_steps import Move
from netphys.stimuli.treating.step import Picture
from netphys.stimuli.treatment import Blur, Contrast, Crop, Field, Flip, Grey, Pad, Rotate, Treatment, treat


def _photo(y: int = 20, x: int = 24, seed: int = 0) -> torch.Tensor:
    """Noise, float32 (3, y, x)."""
    return torch.from_numpy(np.random.default_rng(seed).random((3, y, x), dtype=np.float32))


def _done(text: str, values: torch.Tensor, per_degree: float | None = None) -> torch.Tensor:
    """Do steps to one picture, without the clip at the end."""
    picture = Picture(values, "it", per_degree)
    for step in Treatment.from_text(text).steps:
        picture = step.apply(picture)
    return picture.values


def _grating(size: int, cycles: float, *, across: bool = True, contrast: float = 0.8) -> torch.Tensor:
    """A sine along x of `cycles` per image, about mean grey; float32 (3, size, size)."""
    place = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    wave = 0.5 + 0.5 * contrast * torch.sin(2 * torch.pi * cycles * place)
    plane = wave[None].expand(size, size) if across else wave[:, None].expand(size, size)
    return plane.expand(3, -1, -1).to(torch.float32).clone()


def _amplitude(values: torch.Tensor, cycles: int) -> float:
    """Amplitude of the sine of `cycles` per image along x."""
    return float(2 * torch.fft.rfft(values[0].mean(0).double()).abs()[cycles] / values.shape[-1])


# Light


def test_grey_is_the_luma_of_rec_601() -> None:
    photo = _photo()
    grey = _done("grey()", photo)
    assert torch.allclose(grey, v2.functional.rgb_to_grayscale(photo, 3), atol=2e-4)  # its weights have 4 digits
    matlab = np.linalg.inv([[1, 0.956, 0.621], [1, -0.272, -0.647], [1, -1.106, 1.703]])[0]  # rgb2gray's own weights
    expected = np.einsum("c,cyx->yx", matlab, photo.numpy())
    assert np.abs(grey[0].numpy() - expected).max() < 2e-4 and torch.equal(grey[0], grey[2])
    assert torch.equal(_done("grey()", grey), grey)  # what is grey stays to the last bit


def test_grey_of_equal_luminance_and_of_lightness() -> None:
    photo = _photo()
    linear, light = _done("grey(linear)", photo), _done("grey(lightness)", photo)
    assert torch.allclose(lightness(linear[None]), lightness(photo[None]), atol=1e-3)  # of 100: L stays, colour goes
    assert torch.allclose(light[0] * 100, lightness(photo[None])[0, 0])
    wrong = lightness(_done("grey()", photo)[None])  # control: luma is no luminance
    assert (wrong - lightness(photo[None])).abs().max() > 5
    ramp = torch.linspace(0, 1, 20).expand(3, 1, 20)
    assert torch.allclose(_done("grey(linear)", ramp), ramp, atol=1e-5)


def test_contrast_and_brightness() -> None:
    photo = _photo()
    assert torch.allclose(_done("contrast(0.5)", photo), 0.25 + photo / 2)
    assert torch.allclose(_done("contrast(-1)", photo), 1 - photo)
    assert torch.allclose(_done("contrast(0.3, about=0)", photo), 0.3 * photo)
    about = _done("contrast(0.2, about=mean)", photo)
    assert about.mean() == pytest.approx(float(photo.mean()), abs=1e-6)
    assert about.std() == pytest.approx(0.2 * float(photo.std()), abs=1e-6)
    assert torch.allclose(_done("brightness(-0.1)", photo), photo - 0.1)
    assert _done("contrast(4)", photo).max() > 1.5 and _done("contrast(4) | clip()", photo).max() == 1
    assert Contrast(2).may_leave_range and not Contrast(0.5).may_leave_range


@pytest.mark.parametrize(("unit", "scale"), [("image", 1 / 40), ("pixel", 1.0), ("degree", 1 / 5)])
def test_an_aperture_is_a_raised_cosine(unit: str, scale: float) -> None:
    text = f"aperture({30 * scale}, {8 * scale}, ground=0.25, unit={unit})"
    seen = _done(text, torch.ones(3, 41, 40), per_degree=5.0)[0]
    window = (seen - 0.25) / 0.75
    y, x = np.mgrid[:41, :40]
    distance = np.hypot(y - 20, x - 19.5)
    expected = np.where(distance <= 7, 1, np.where(distance >= 15, 0, np.cos(np.pi / 2 * (distance - 7) / 8) ** 2))
    assert np.abs(window.numpy() - expected).max() < 1e-6
    hard = _done("aperture(30, 0, unit=pixel)", torch.ones(3, 41, 40))[0]
    assert torch.equal(hard == 1, torch.from_numpy(distance <= 15)) and set(hard.unique().tolist()) == {0.5, 1.0}


# Filters


def test_blur_is_a_gaussian() -> None:
    point = torch.zeros(3, 41, 41)
    point[:, 20, 20] = 1
    d2 = (np.arange(41) - 20.0) ** 2
    gauss = np.exp(-d2 / (2 * 2.5**2)) * (d2 <= 100)
    gauss /= gauss.sum()
    assert np.abs(_done("blur(2.5)", point)[1].numpy() - np.outer(gauss, gauss)).max() < 1e-9
    theirs = v2.functional.gaussian_blur(_photo(30, 30), [21, 21], [2.5, 2.5])  # mirrored borders, the same taps
    assert torch.allclose(_done("blur(2.5)", _photo(30, 30)).float(), theirs, atol=2e-6)
    assert not torch.allclose(_done("blur(2.4)", _photo(30, 30)).float(), theirs, atol=1e-3)  # control
    assert Treatment(Blur(1)).steps[0].sigma == 1.0


@pytest.mark.parametrize(
    ("text", "gain"),
    [
        ("lowpass(8)", lambda f: 1 / np.sqrt(1 + (f / 8) ** 8)),
        ("lowpass(8, order=1)", lambda f: 1 / np.sqrt(1 + (f / 8) ** 2)),
        ("lowpass(8, order=none)", lambda f: float(f <= 8)),
        ("highpass(8)", lambda f: 1 / np.sqrt(1 + (8 / f) ** 8)),
        ("highpass(8, order=none)", lambda f: float(f >= 8)),
        ("bandpass(4, 8)", lambda f: 1 / np.sqrt((1 + (4 / f) ** 8) * (1 + (f / 8) ** 8))),
        ("bandpass(4, 8, order=none)", lambda f: float(4 <= f <= 8)),
        ("lowpass(2, unit=degree)", lambda f: 1 / np.sqrt(1 + (f / 8) ** 8)),  # 64 pixels at 16 a degree: 4 degrees
        ("lowpass(0.125, unit=pixel)", lambda f: 1 / np.sqrt(1 + (f / 8) ** 8)),
    ],
)
def test_filters_pass_a_grating_by_their_gain(text: str, gain: object) -> None:
    for cycles in (1, 3, 4, 7, 8, 9, 20):
        grating = _grating(64, cycles)
        passed = _done(text, grating, per_degree=16.0)
        assert _amplitude(passed, cycles) == pytest.approx(0.4 * gain(cycles), abs=1e-6)  # of float32
        assert float(passed.mean()) == pytest.approx(0.5, abs=1e-6)  # the mean stays
        turned = _done(text, grating.transpose(1, 2), per_degree=16.0)
        assert torch.allclose(turned.transpose(1, 2), passed, atol=1e-9)
    taken = [0.4 - _amplitude(_done(text, _grating(64, each), per_degree=16.0), each) for each in (1, 20)]
    assert max(taken) > 0.2  # control: something is taken away


def test_frequencies_of_a_picture_that_is_not_square_are_per_shorter_side() -> None:
    wide = torch.cat([_grating(32, 4), _grating(32, 4)], dim=2)  # 8 cycles in 64 pixels: 4 per 32
    assert _amplitude(_done("lowpass(4)", wide), 8) == pytest.approx(0.4 / np.sqrt(2), abs=1e-6)


# Moves


def test_a_grating_has_its_cycles_per_degree_in_the_field() -> None:
    image = _grating(200, 12)  # 12 cycles over 4 degrees: 3 a degree
    shown = treat(StimulusSet.from_arrays(image[None]), "field(8, 256, 4)").images([0])[0]
    assert shown.shape == (3, 256, 256)
    middle = shown[:, 64:192, 64:192]  # 128 pixels are 4 degrees: 3 / 32 cycles a pixel
    assert _amplitude(middle, 12) == pytest.approx(0.4, abs=0.02)  # a triangle filter takes some of it
    spectrum = torch.fft.rfft(middle[0, 60].double() - 0.5).abs()
    assert int(spectrum.argmax()) == 12 and 12 / 128 == 3 / (256 / 8)
    outside = shown.clone()
    outside[:, 64:192, 64:192] = 0.5
    assert bool((outside == 0.5).all())
    other = treat(StimulusSet.from_arrays(image[None]), "field(8, 256, 2)").images([0])[0]  # control
    assert int(torch.fft.rfft(other[0, 128, 64:192].double() - 0.5).abs().argmax()) != 12


def test_a_field_is_filled_and_cut() -> None:
    photo = _photo(40, 40)
    assert torch.equal(_done("field(8, 40, 8)", photo), photo)
    assert torch.equal(_done("field(4, 20, 8)", photo), photo[:, 10:30, 10:30])  # the middle half
    assert torch.equal(_done("field(16, 80, 8, ground=0.1)", photo)[:, 20:60, 20:60], photo)
    wide = _done("field(8, 32, 4)", _photo(10, 20))  # 4 degrees wide, 2 high: 16 x 8 pixels
    assert bool((wide[:, :12] == 0.5).all() and (wide[:, 20:] == 0.5).all() and (wide[:, 12:20, 8:24] != 0.5).any())
    assert torch.equal(_done("field(16, 80)", photo, per_degree=5.0), _done("field(16, 80, 8)", photo))
    first = _done("resize(20) | field(16, 80)", photo, per_degree=5.0)  # still 8 degrees wide
    assert bool((first[:, :20] == 0.5).all() and (first[:, 20:60, 20:60] != 0.5).all())
    again = Field(8, 64, 4).apply(Picture(photo))
    assert again.pixels_per_degree == 8.0
    with pytest.raises(StimulusError, match="field: it, 300 degrees wide, would be 480000 pixels wide"):
        _done("field(1, 1600, 300)", photo)


@pytest.mark.parametrize("angle", [0, 90, 180, 270, -90, 360])
def test_quarter_turns_are_exact_and_counter_clockwise(angle: int) -> None:
    photo = _photo(9, 9)
    assert torch.equal(_done(f"rotate({angle})", photo), torch.rot90(photo, angle // 90, (1, 2)))
    near = _done(f"rotate({max(min(angle + 1e-4, 360), -360)})", photo)  # the general way agrees
    assert torch.allclose(near, torch.rot90(photo, angle // 90, (1, 2)), atol=1e-3)


def test_rotation_of_a_wide_picture_and_of_a_grating() -> None:
    theirs = v2.functional.rotate(_photo(20, 30), 25.0, interpolation=v2.InterpolationMode.BILINEAR)
    ours = _done("rotate(25, ground=0)", _photo(20, 30))
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(_done("rotate(-25, ground=0)", _photo(20, 30)), theirs, atol=1e-2)  # control
    corner = _done("rotate(45, ground=0.5)", torch.ones(3, 33, 33))
    assert float(corner[0, 0, 0]) == 0.5 and float(corner[0, 16, 16]) == 1


def test_flips_crops_and_pads() -> None:
    photo = _photo()
    assert torch.equal(_done("flip()", photo), photo.flip(2)) and torch.equal(
        _done("flip(vertical)", photo), photo.flip(1)
    )
    assert torch.equal(_done("crop((10, 12))", photo), photo[:, 5:15, 6:18])
    assert torch.equal(_done("pad((30, 40)) | crop((20, 24))", photo), photo)
    assert all(each.moves for each in (Flip(), Crop(3), Pad(3), Rotate(3))) and not Grey().moves


def test_a_map_keeps_its_values_whatever_moves() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).integers(1, 9, (1, 20, 24))).double() * 10
    for text in ("rotate(25)", "resize((31, 17))", "field(8, 64, 5)", "pad(40)"):
        (step,) = Treatment.from_text(text).steps
        assert isinstance(step, Move)
        moved = step.move(Picture(labels), is_map=True).values
        assert set(moved.unique().tolist()) <= {0.0, *labels.unique().tolist()} and moved.max() > 0
        mixed = step.move(Picture(labels)).values  # control: pictures are mixed, and have a ground
        assert not set(mixed.unique().tolist()) <= {0.0, *labels.unique().tolist()}
