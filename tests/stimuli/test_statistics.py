"""Statistics of pictures: closed forms of gratings and noise, before and after matching."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from netphys.errors import OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.statistics import mean_histogram, mean_spectrum, plot_histograms, plot_spectra, statistics
from netphys.stimuli.treating.spectra import amplitudes, rotational_average
from netphys.stimuli.treatment import treat


def _noise(slope: float, n: int = 3, size: int = 64, seed: int = 0) -> np.ndarray:
    """Noise whose amplitude falls with the frequency to the power `slope`; float32 (n, 3, size, size)."""
    rng = np.random.default_rng(seed)
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]) * size
    amplitude = np.where(radius > 0, np.maximum(radius, 1), 1) ** slope
    phase = np.exp(1j * np.angle(np.fft.fft2(rng.random((n, size, size)))))
    planes = np.fft.ifft2(amplitude * phase).real
    planes = 0.5 + 0.1 * (planes - planes.mean((1, 2), keepdims=True)) / planes.std((1, 2), keepdims=True)
    return np.repeat(planes[:, None], 3, 1).clip(0, 1).astype(np.float32)


def _grating(contrast: float, size: int = 64) -> np.ndarray:
    wave = 0.5 + 0.5 * contrast * np.cos(2 * np.pi * 4 * np.arange(size) / size)
    return np.broadcast_to(wave, (1, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize("contrast", [0.1, 0.5, 1.0])
def test_a_gratings_contrast(contrast: float) -> None:
    row = statistics(StimulusSet.from_arrays(_grating(contrast), ids=["g"])).iloc[0]
    assert row["stimulus_id"] == "g" and row["mean"] == pytest.approx(0.5, abs=1e-6)
    assert row["michelson"] == pytest.approx(contrast, abs=1e-6)
    assert row["sd"] == pytest.approx(contrast / 2 / np.sqrt(2), abs=1e-6)
    assert row["rms_contrast"] == pytest.approx(contrast / np.sqrt(2), abs=1e-6)
    assert (row["min"], row["max"]) == pytest.approx((0.5 - contrast / 2, 0.5 + contrast / 2), abs=1e-6)
    assert np.isnan(row["clipped"])
    assert row["saturated"] == (0.0 if contrast < 1 else pytest.approx(2 / 16))  # 1 of 16 pixels at each end


@pytest.mark.parametrize("slope", [0.0, -1.0, -2.0])
def test_the_slope_of_noise(slope: float) -> None:
    frame = statistics(StimulusSet.from_arrays(_noise(slope)))
    assert np.abs(frame["slope"] - slope).max() < 0.1  # rounding of radii, and averages over rings
    spectrum = mean_spectrum(StimulusSet.from_arrays(_noise(slope)))
    assert list(spectrum["cycles"]) == list(range(1, 33))
    assert np.polyfit(np.log(spectrum["cycles"]), np.log(spectrum["amplitude"]), 1)[0] == pytest.approx(slope, abs=0.1)


@pytest.mark.parametrize("shape", [(16, 16), (32, 32), (31, 31), (64, 64), (128, 128), (48, 100)])
@pytest.mark.parametrize("slope", [0.0, -0.5, -1.0, -2.0])
def test_the_slope_of_an_exact_power_law_is_its_own(slope: float, shape: tuple[int, int]) -> None:
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    radius[0, 0] = 1
    phase = np.angle(np.fft.rfft2(np.random.default_rng(0).random(shape)))
    plane = np.fft.irfft2(radius**slope * np.exp(1j * phase), s=shape)
    plane = 0.5 + 0.1 * (plane - plane.mean()) / plane.std()
    image = np.broadcast_to(plane, (1, 3, *shape)).clip(0, 1).astype(np.float32)
    found = statistics(StimulusSet.from_arrays(image))["slope"][0]
    clipped = (plane != plane.clip(0, 1)).sum()
    assert not clipped and found == pytest.approx(slope, abs=1e-3)  # float32 adds white noise of 1e-8
    cycles = np.arange(1, min(shape) // 2 + 1)
    average = rotational_average(amplitudes(plane), shape)[cycles]
    of_radii = np.polyfit(np.log(cycles), np.log(average), 1)[0]
    assert abs(of_radii - slope) > 0.01 or slope > -1 or min(shape) > 100  # control: whole radii are biased


def test_what_has_no_contrast_has_no_slope() -> None:
    frame = statistics(StimulusSet.from_arrays(np.stack([np.zeros((3, 8, 8)), np.full((3, 8, 8), 0.3)]).astype("f4")))
    assert frame["slope"].isna().all() and np.isnan(frame["michelson"][0]) and frame["michelson"][1] == 0
    assert np.isnan(frame["rms_contrast"][0]) and frame["sd"].max() < 1e-7


def test_matching_is_seen_and_clipping_is_counted() -> None:
    images = np.concatenate([_noise(slope, 2) * level for slope, level in ((-0.3, 0.6), (-1, 1), (-2, 0.8))])
    shown = StimulusSet.from_arrays(images)
    before, after = statistics(shown), statistics(treat(shown, "luminance(mean=0.5, sd=0.25)"))
    assert np.ptp(before["mean"]) > 0.1 and np.ptp(before["sd"]) > 0.01
    assert np.ptp(after["mean"]) < 0.01 < np.ptp(before["mean"])
    assert (after["clipped"] > 0.01).all() and np.allclose(after["clipped"], after["saturated"], atol=1e-3)
    spectra = statistics(treat(shown, "spectrum()"))
    assert np.ptp(spectra["slope"]) < 0.05 * np.ptp(before["slope"])
    some = statistics(treat(shown, "luminance(mean=0.5, sd=0.25)").subset([4, 0]))
    pd.testing.assert_frame_equal(some, after.iloc[[4, 0]].reset_index(drop=True))


def test_colours_fields_and_clips() -> None:
    red = np.zeros((2, 3, 8, 8), np.uint8)
    red[:, 0] = 255
    shown = StimulusSet.from_arrays(red, fields={"left": red, "text": ["a", "b"]})
    assert statistics(shown)["mean"].tolist() == pytest.approx([0.299, 0.299], abs=1e-6)
    assert statistics(shown, field="left", channel="lightness")["mean"][0] == pytest.approx(0.5324, abs=1e-4)
    clip = StimulusSet.from_arrays(fields={"clip": np.concatenate([_grating(0.2), _grating(0.8)])[None]})
    row = statistics(clip).iloc[0]
    assert row["michelson"] == pytest.approx(0.8, abs=1e-6) and row["sd"] == pytest.approx(np.sqrt(0.17) / 2, abs=1e-6)
    for bad, said in (("sound", "no pictures sound"), ("text", "no pictures text")):
        with pytest.raises(StimulusError, match=said):
            statistics(shown, field=bad)
    with pytest.raises(OptionError, match="channel='luma' is not one of grey, lightness"):
        statistics(shown, channel="luma")
    with pytest.raises(OptionError, match="bins=100 does not divide 65536"):
        mean_histogram(shown, bins=100)


def test_the_mean_histogram_counts_pixels() -> None:
    images = np.zeros((2, 3, 4, 4), np.float32)
    images[1, :, :2] = 1
    frame = mean_histogram(StimulusSet.from_arrays(images), bins=4)
    assert frame["share"].tolist() == [0.75, 0, 0, 0.25] and frame["value"].tolist() == [0.125, 0.375, 0.625, 0.875]


def test_drawings_hold_the_numbers() -> None:
    shown = StimulusSet.from_arrays(_noise(-1))
    sets = {"before": shown, "after": treat(shown, "spectrum() | histogram()")}
    ax = plot_histograms(sets, bins=16)
    drawn = ax.patches[1].get_data()
    assert np.allclose(drawn.values, 100 * mean_histogram(sets["after"], bins=16)["share"])
    assert [each.get_text() for each in ax.get_legend().get_texts()] == ["before", "after"]
    again = plot_spectra(sets, plot_spectra(sets))
    assert len(again.lines) == 4 and again.get_xlabel() == "Spatial frequency (cycles per image)"
    assert np.allclose(again.lines[0].get_ydata(), mean_spectrum(shown)["amplitude"])
    assert torch.is_tensor(shown.images([0]))
