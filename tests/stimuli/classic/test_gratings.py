"""Gratings and Gabors: stated frequency, orientation, phase, contrast, drift and window, measured in the pixels."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch

from netphys.errors import OptionError
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic import Screen, gabors, gratings


def _grey(shown: StimulusSet, index: int = 0) -> np.ndarray:
    """Return the first colour of a picture, or of a clip, float64."""
    return shown.get([index], shown.fields[0])[0].select(-3, 0).double().numpy()


def _peak(picture: np.ndarray, padded: int = 1024) -> tuple[float, float]:
    """Measure frequency (cycles a pixel) and orientation of the bars, y up, where the padded spectrum is largest."""
    side = len(picture)
    tapered = (picture - picture.mean()) * np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.fft2(tapered, (padded, padded)))
    row, place = np.unravel_index(power.argmax(), power.shape)
    on_x, up = np.fft.fftfreq(padded)[place], -np.fft.fftfreq(padded)[row]
    return math.hypot(on_x, up), (math.degrees(math.atan2(up, on_x)) + 90) % 180


def _apart(one: float, other: float) -> float:
    return abs((one - other + 90) % 180 - 90)


@pytest.mark.parametrize("frequency", [0.05, 0.11, 0.23])
@pytest.mark.parametrize("orientation", [0, 20, 45, 90, 110, 163])
def test_the_spectrum_peaks_at_the_stated_frequency_and_orientation(frequency: float, orientation: float) -> None:
    picture = _grey(gratings(orientation=orientation, spatial_frequency=frequency, size=128, phase=0.13))
    f, theta = _peak(picture)
    assert f == pytest.approx(frequency, abs=1 / 1024)  # one bin of the padded transform
    assert _apart(theta, orientation) < math.degrees(1 / 1024 / frequency)  # one bin across the line to the origin
    if orientation in (20, 110, 163):  # controls: y down, and x and y exchanged
        assert _apart(_peak(picture[::-1])[1], orientation) > 10
        assert _apart(_peak(picture.T)[1], orientation) > 10


def test_a_grating_equals_the_formula_computed_by_itself() -> None:
    shown = gratings(
        orientation=[0, 33, 90, 150], spatial_frequency=0.7, phase=0.3, contrast=0.4, x=0.5, y=-1, size=50, degrees=8
    )
    along = (np.arange(50) - 24.5) * 8 / 50
    for index, theta in enumerate(np.radians([0, 33, 90, 150])):
        u = -np.sin(theta) * (along[None, :] - 0.5) + np.cos(theta) * (-along[:, None] + 1)
        expected = 0.5 + 0.2 * np.cos(2 * np.pi * (0.7 * u + 0.3))
        np.testing.assert_allclose(_grey(shown, index), expected, atol=6e-8)  # rounding to float32 near 1
        if index in (1, 3):  # control: y down
            assert np.abs(_grey(shown, index) - np.flipud(expected)).max() > 0.1


@pytest.mark.parametrize("contrast", [0.0, 0.05, 0.5, 1.0])
def test_contrast_is_michelsons_about_mean_grey(contrast: float) -> None:
    picture = _grey(gratings(orientation=90, spatial_frequency=1 / 16, phase=1 / 32, contrast=contrast, size=64))
    assert (picture.max() - picture.min()) / (picture.max() + picture.min()) == pytest.approx(contrast, abs=1e-7)
    assert picture.mean() == pytest.approx(0.5, abs=1e-7)  # whole cycles; a light bar's centre is on a pixel


@pytest.mark.parametrize("phase", [0.0, 0.1, 0.25, 0.6])
@pytest.mark.parametrize("direction", [0, 30, 135, 250])
def test_phase_is_that_at_the_centre(phase: float, direction: float) -> None:
    shown = gratings(direction=direction, spatial_frequency=0.1, phase=phase, x=7, y=-3, size=100)
    x, y = (each.numpy() for each in Screen(100).grid())
    u = math.cos(math.radians(direction)) * (x - 7) + math.sin(math.radians(direction)) * (y + 3)
    taper = np.exp(-((x - 7) ** 2 + (y + 3) ** 2) / (2 * 12**2))
    found = (taper * (_grey(shown) - 0.5) * np.exp(-2j * np.pi * 0.1 * u)).sum()  # on cosine and sine at once
    assert abs((np.angle(found) / (2 * np.pi) - phase + 0.5) % 1 - 0.5) < 1e-3  # the taper's leak at -f: exp(-114)


def test_degrees_and_pixels_are_the_same_grating() -> None:
    degrees = gratings(orientation=25, spatial_frequency=2, diameter=5, edge=1, x=1, y=0.5, size=224, degrees=8)
    pixels = gratings(orientation=25, spatial_frequency=2 / 28, diameter=140, edge=28, x=28, y=14, size=224)
    torch.testing.assert_close(degrees.images([0]), pixels.images([0]), atol=1e-6, rtol=0)
    twice = gratings(orientation=25, spatial_frequency=2, diameter=5, edge=1, x=1, y=0.5, size=448, degrees=8)
    halved = torch.nn.functional.avg_pool2d(twice.images([0]), 2)
    assert (halved - degrees.images([0])).abs().max() < 0.02  # area means: 1 - sinc(2/28/2)^2 of the amplitude


@pytest.mark.parametrize("direction", [0, 45, 120, 200, 315])
def test_a_grating_drifts_where_it_is_said_to(direction: float) -> None:
    shown = gratings(
        direction=direction, spatial_frequency=1 / 16, temporal_frequency=3, n_frames=8, frame_rate=60, size=64
    )
    clip = _grey(shown)
    assert clip.shape == (8, 64, 64)
    step = 3 / 60 * 16  # pixels a frame along the direction

    def likeness(sign: int, frame: int) -> float:
        """Correlate a frame with the one before, moved by Fourier's shift theorem through a taper."""
        x, y = (each.numpy() for each in Screen(64).grid())
        toward = math.radians(direction)
        u = math.cos(toward) * x + math.sin(toward) * y
        moved = 0.5 + 0.5 * np.cos(2 * np.pi * (u - sign * step * frame) / 16)
        return float(np.corrcoef(clip[frame].ravel(), moved.ravel())[0, 1])

    for frame in range(1, 5):
        assert likeness(1, frame) > 0.9999
        assert likeness(-1, frame) < 0.9  # control: reversed
    assert shown.metadata["orientation"][0] == (direction + 90) % 180


def test_drift_by_cross_correlation_of_frames_and_the_control_reversed() -> None:
    clip = _grey(gratings(direction=0, spatial_frequency=1 / 32, temporal_frequency=4, n_frames=4, size=64)) - 0.5
    product = np.fft.fft2(clip[3]) * np.conj(np.fft.fft2(clip[0]))
    shift = np.fft.ifft2(product).real[0].argmax()
    assert shift % 32 == pytest.approx(3 * 4 / 60 * 32, abs=0.5)  # 6.4 pixels to the right, to the nearest pixel
    backwards = np.fft.ifft2(np.conj(product)).real[0].argmax()
    assert backwards % 32 == pytest.approx(32 - 6.4, abs=0.5)


def test_counterphase_stands_and_its_contrast_follows_a_cosine() -> None:
    clip = _grey(
        gratings(
            orientation=90, spatial_frequency=1 / 16, temporal_frequency=5, motion="counterphase", n_frames=12, size=32
        )
    )
    weights = ((clip - 0.5) * (clip[0] - 0.5)).sum((1, 2)) / ((clip[0] - 0.5) ** 2).sum()
    np.testing.assert_allclose(weights, np.cos(2 * np.pi * 5 * np.arange(12) / 60), atol=1e-6)
    np.testing.assert_allclose(clip, 0.5 + weights[:, None, None] * (clip[0] - 0.5), atol=1e-6)


def test_square_waves_have_two_levels_and_a_plaid_is_the_mean_of_its_gratings() -> None:
    picture = _grey(gratings(orientation=90, spatial_frequency=1 / 16, waveform="square", size=64))
    assert sorted(set(picture.ravel())) == [0, 1] and picture.mean() == 0.5
    spectrum = np.abs(np.fft.rfft(picture[0] - 0.5))
    assert spectrum[12] / spectrum[4] == pytest.approx(math.sin(math.pi / 16) / math.sin(3 * math.pi / 16), rel=1e-6)
    both = gratings(direction=[20, 90], spatial_frequency=0.1, size=40)
    plaid = gratings(direction=20, plaid_angle=70, spatial_frequency=0.1, size=40)
    torch.testing.assert_close(plaid.images([0])[0], both.images([0, 1]).mean(0), atol=2e-7, rtol=0)


def test_colour_modulates_each_gun_by_its_weight() -> None:
    shown = gratings(spatial_frequency=0.1, colour=["red-green", (1, -0.5, 0)], contrast=0.8, size=40)
    grey = gratings(spatial_frequency=0.1, contrast=0.8, size=40).images([0])[0, 0] - 0.5
    for image, weights in zip(shown.images([0, 1]), ((1, -1, 0), (1, -0.5, 0)), strict=True):
        for gun, weight in enumerate(weights):
            torch.testing.assert_close(image[gun] - 0.5, weight * grey, atol=2e-7, rtol=0)
    assert shown.metadata["colour"].tolist() == ["red-green", "1_-0.5_0"]


def test_windows_have_the_stated_profile() -> None:
    windows = gratings(
        spatial_frequency=0, diameter=60, edge=12, window=["raised-cosine"], size=101
    )  # frequency 0 and phase 0: the window itself
    profile = (_grey(windows)[50, 50:] - 0.5) * 2  # from the centre to the right, a pixel a step
    r = np.arange(51)
    expected = np.where(r <= 18, 1, np.where(r >= 30, 0, 0.5 * (1 + np.cos(np.pi * (r - 18) / 12))))
    np.testing.assert_allclose(profile, expected, atol=2e-7)
    disc = (_grey(gratings(spatial_frequency=0, diameter=60, window="circle", size=101)) - 0.5) * 2
    assert disc.sum() == pytest.approx(np.pi * 30**2, rel=1e-3) and disc[50, 50 + 29] == 1 and disc[50, 50 + 30] == 0.5
    bell = (_grey(gratings(spatial_frequency=0, diameter=60, window="gaussian", size=101)) - 0.5) * 2
    np.testing.assert_allclose(bell[50, 50:], np.exp(-(r**2) / 200), atol=2e-7)


def test_a_centre_and_its_surround_make_the_whole() -> None:
    common: dict[str, Any] = {"spatial_frequency": 0.07, "orientation": 30, "size": 96, "edge": 6}
    whole, centre = gratings(diameter=80, **common), gratings(diameter=40, **common)
    ring = gratings(diameter=80, inner_diameter=40, **common)
    together = (centre.images([0]) - 0.5) + (ring.images([0]) - 0.5) + 0.5
    torch.testing.assert_close(together, whole.images([0]), atol=2e-7, rtol=0)
    assert (_grey(ring)[40:56, 40:56] == 0.5).all()


@pytest.mark.parametrize(
    ("window", "overlaps"),
    [
        ({}, False),
        ({"edge": 12, "inner_diameter": 30}, True),
        ({"edge": 8, "diameter": 20, "inner_diameter": 18}, True),
        ({"window": "circle", "inner_diameter": 39.5}, True),
        ({"window": "gaussian"}, True),
    ],
)
def test_centre_and_annulus_are_exactly_the_disc_through_every_window(window: dict[str, Any], overlaps: bool) -> None:
    """The control is the product of disc and hole: another annulus wherever the two edges overlap."""
    options = {"diameter": 40, "inner_diameter": 20, "spatial_frequency": 0, "size": 64, "x": 1.5, **window}
    hole = options.pop("inner_diameter")
    disc, centre, ring = (
        2 * _grey(gratings(**{**options, **more})) - 1 for more in ({}, {"diameter": hole}, {"inner_diameter": hole})
    )
    np.testing.assert_allclose(centre + ring, disc, atol=2.4e-7)  # three roundings to float32 near 1, times 2
    assert ring.min() >= 0
    assert (np.abs(centre + disc * (1 - centre) - disc).max() > 0.01) == overlaps


def test_all_but_a_centre_and_the_centre_are_the_whole_screen() -> None:
    around = gratings(inner_diameter=20, size=64).images([0]) - 0.5
    centre = gratings(diameter=20, size=64).images([0]) - 0.5
    torch.testing.assert_close(around + centre + 0.5, gratings(size=64).images([0]), atol=2e-7, rtol=0)


def test_what_is_shown_on_the_whole_screen_has_no_window() -> None:
    plain = gratings(size=16)
    assert plain.metadata["window"].tolist() == ["none"] and plain.ids == ("grating-o0-sf0.1-ph0-c1-px16",)
    assert gratings(window="none", size=16).digest == plain.digest
    several = gratings(diameter=[None, 8], size=16)
    assert several.metadata["window"].tolist() == ["none", "raised-cosine"] and several[0].digest == plain.digest
    discs = gratings(diameter=[None, 8], window="circle", size=16)
    assert discs.metadata["window"].tolist() == ["none", "circle"] and discs[0].digest == plain.digest
    assert gratings(inner_diameter=8, window="circle", size=16).metadata["window"].tolist() == ["circle"]
    side = gratings(diameter=[None, 8], window=["circle", "raised-cosine"], size=16, paired=True)
    assert side.metadata["window"].tolist() == ["none", "raised-cosine"]


def test_numpys_numbers_are_numbers() -> None:
    mine, theirs = gratings(size=16, degrees=8), gratings(size=np.int64(16), degrees=np.float32(8))  # type: ignore[arg-type]
    assert mine.digest == theirs.digest and mine.ids == theirs.ids and isinstance(Screen(np.int32(5)).size, int)  # type: ignore[arg-type]


@pytest.mark.parametrize(("orientation", "sigma", "aspect"), [(0, 6, 1), (30, 5, 2), (120, 8, 0.5)])
def test_a_gabors_envelope_has_the_stated_moments(orientation: float, sigma: float, aspect: float) -> None:
    shown = gabors(orientation=orientation, spatial_frequency=0, sigma=sigma, aspect=aspect, x=5, y=-4, size=128)
    envelope = (_grey(shown) - 0.5) * 2
    x, y = (each.numpy() for each in Screen(128).grid())
    weight = envelope / envelope.sum()
    assert (weight * x).sum() == pytest.approx(5, abs=1e-3) and (weight * y).sum() == pytest.approx(-4, abs=1e-3)
    theta = math.radians(orientation)
    along = math.cos(theta) * (x - 5) + math.sin(theta) * (y + 4)
    across = math.cos(theta) * (y + 4) - math.sin(theta) * (x - 5)
    assert math.sqrt((weight * across**2).sum()) == pytest.approx(sigma, rel=1e-3)
    assert math.sqrt((weight * along**2).sum()) == pytest.approx(aspect * sigma, rel=1e-3)


def test_a_gabor_is_carrier_times_envelope() -> None:
    picture = _grey(
        gabors(orientation=40, spatial_frequency=0.12, phase=0.2, sigma=7, aspect=1.5, contrast=0.6, size=64)
    )
    x = np.arange(64) - 31.5
    theta = np.radians(40)
    u = -np.sin(theta) * x[None] - np.cos(theta) * x[:, None]
    v = np.cos(theta) * x[None] - np.sin(theta) * x[:, None]
    expected = 0.6 * np.exp(-(u**2) / 98 - v**2 / (2 * 10.5**2)) * np.cos(2 * np.pi * (0.12 * u + 0.2))
    np.testing.assert_allclose(picture, 0.5 + expected / 2, atol=6e-8)  # rounding to float32
    f, theta_found = _peak(picture)
    assert f == pytest.approx(0.12, abs=0.003) and _apart(theta_found, 40) < 2


def _varied(**more: Any) -> StimulusSet:
    return gratings(
        orientation=[0, 17, 45, 100],
        spatial_frequency=[0.03, 0.11],
        phase=[0, 0.3],
        diameter=[20, 30],
        window=["circle", "raised-cosine"],
        waveform=["sine", "square"],
        plaid_angle=70,
        size=37,
        **more,
    )


def test_a_stimulus_is_the_same_alone_in_any_batch_and_in_any_set() -> None:
    shown = _varied()
    together = shown.images(range(len(shown)))
    for index in range(0, len(shown), 5):
        assert torch.equal(shown.images([index])[0], together[index])
    assert torch.equal(shown.images([7, 3, 7]), together[[7, 3, 7]])
    few = gratings(orientation=17, spatial_frequency=[0.11, 0.2], size=37)
    many = gratings(orientation=[3, 17], spatial_frequency=[0.2, 0.11, 0.05], size=37)
    one = few.ids[0]
    assert one == "grating-o17-sf0.11-ph0-c1-px37" and one in many.ids
    assert few[one].digest == many[one].digest and torch.equal(few[one].images([0]), many[one].images([0]))
    assert few[one].digest != few[[few.ids[1]]].digest
    other = gratings(orientation=17, spatial_frequency=0.11, size=37, degrees=37)
    assert other.digest != few[one].digest  # a screen in degrees is another recipe, though the pixels are the same


def test_ids_are_unique_and_metadata_has_a_column_a_parameter() -> None:
    shown = _varied(blank=True)
    assert len(set(shown.ids)) == len(shown) == 4 * 2 * 2 * 2 * 2 * 2 + 1
    assert {"orientation", "spatial_frequency", "phase", "contrast", "diameter", "x", "size"} <= set(shown.metadata)
    assert len(shown.where("orientation == 45 and spatial_frequency > 0.1")) == 16
    assert shown.metadata["diameter"].isna().sum() == 1 and shown.ids[-1] == "grating-blank-px37"
    assert (shown.images([len(shown) - 1]) == 0.5).all() and shown.metadata["contrast"].iloc[-1] == 0


def test_paired_values_go_side_by_side() -> None:
    shown = gratings(orientation=[0, 90], spatial_frequency=[0.1, 0.2], contrast=0.5, size=16, paired=True)
    rows = shown.metadata[["orientation", "spatial_frequency", "contrast"]]
    assert rows.values.tolist() == [[0, 0.1, 0.5], [90, 0.2, 0.5]]
    with pytest.raises(OptionError, match="orientation has 2, not 3"):
        gratings(orientation=[0, 90], spatial_frequency=[0.1, 0.2, 0.15], size=16, paired=True)


def test_nothing_is_drawn_before_it_is_read_and_the_global_generator_is_left() -> None:
    state = torch.random.get_rng_state()
    shown = gratings(orientation=list(range(180)), phase=[each / 50 for each in range(50)], size=1024)
    assert len(shown) == 9000 and shown.digest  # 113 GB if they were drawn
    assert shown.images([8999]).dtype == torch.float32
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_large_clip_is_drawn_in_parts_of_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = gratings(direction=[10, 100, 190], temporal_frequency=4, n_frames=15, size=32, spatial_frequency=0.1)
    whole = shown.get([0, 1, 2], "clip")
    assert whole.shape == (3, 15, 3, 32, 32)
    monkeypatch.setattr("netphys.stimuli.classic.factorial._AT_ONCE", 1)
    assert torch.equal(shown.get([0, 1, 2], "clip"), whole)


def test_warnings_say_what_is_drawn_poorly(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    gratings(spatial_frequency=0.25, size=32, temporal_frequency=5, n_frames=12)
    assert not caplog.records
    gratings(spatial_frequency=2.2, size=32, degrees=4)
    gratings(temporal_frequency=4, n_frames=12, size=32)
    gratings(diameter=20, x=10, size=32)
    said = " | ".join(record.getMessage() for record in caplog.records)
    assert "2.2 cycles a degree is 0.275 cycles a pixel" in said and "fewer than 4 pixels a cycle" in said
    assert "a clip of 12 frames holds 0.8 cycles" in said and "reach beyond the screen, 32 pixels wide" in said


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"spatial_frequency": 0.51}, "above 0.5 it aliases to a coarser one; at most 0.5 here"),
        ({"spatial_frequency": 5, "degrees": 6}, "at most 1.33333 here"),
        ({"contrast": 1.01}, "contrast=1.01: at least 0 and at most 1"),
        ({"contrast": [0.5, -0.1]}, "contrast=-0.1"),
        ({"orientation": 180}, "orientation=180: at least 0 and below 180"),
        ({"direction": 360}, "direction=360: at least 0 and below 360"),
        ({"orientation": 0, "direction": 0}, "both are given"),
        ({"orientation": [0, 0]}, "orientation says 0.0 twice"),
        ({"orientation": []}, "orientation holds no value"),
        ({"orientation": "level"}, "orientation='level': a number"),
        ({"phase": float("nan")}, "phase=nan: a finite number is wanted"),
        ({"temporal_frequency": 4}, "what changes is a clip; say n_frames"),
        ({"temporal_frequency": 30, "n_frames": 4}, "from half of it on its direction is lost"),
        ({"temporal_frequency": 31, "n_frames": 4, "motion": "counterphase"}, "it aliases to a slower one"),
        ({"n_frames": 0}, "n_frames=0: a whole number from 1"),
        ({"diameter": 0}, "diameter=0: above 0"),
        ({"diameter": 10, "inner_diameter": 10}, "inner_diameter=10 is not below diameter=10"),
        ({"diameter": 10, "edge": 6}, "edge=6 is wider than half the diameter, 10"),
        ({"edge": 6}, "it would have no effect"),
        ({"window": "circel"}, "near: 'circle'"),
        ({"window": "none", "diameter": 3}, "window='none' has no diameter"),
        ({"window": "gaussian"}, "needs a diameter"),
        ({"window": "circle"}, "window='circle' needs a diameter, or an inner_diameter"),
        ({"window": "raised-cosine"}, "window='raised-cosine' needs a diameter"),
        ({"window": ["none", "circle"]}, "window='circle' needs a diameter"),
        ({"window": ["circle", "raised-cosine"], "diameter": [None, 8]}, "circle, raised-cosine are one picture"),
        ({"size": 16.0}, "size=16.0: a screen has a whole number"),
        ({"x": 9}, "x=9: at least -8 and at most 8"),
        ({"colour": "purple"}, "no colour 'purple'; there are achromatic, red-green"),
        ({"colour": (2, 0, 0)}, "colour=2: at least -1 and at most 1"),
        ({"colour": (0, 0, 0)}, "not all 0"),
        ({"waveform": "triangle"}, "no waveform='triangle'"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError) as caught:
        gratings(**{"size": 16, **options})
    assert text in str(caught.value) and "\n" not in str(caught.value)
