"""Noise: spectrum, moments and distribution as stated; number i the same in whatever set and batch."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch

from netphys.errors import OptionError
from netphys.seeds import generator
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic import noise


def _grey(shown: StimulusSet) -> np.ndarray:
    return shown.images(range(len(shown)))[:, 0].double().numpy()


def _frequencies(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return radial frequency (cycles a pixel) and orientation of the bars (y up) at each place of an FFT."""
    on_x, up = np.fft.fftfreq(side)[None, :], -np.fft.fftfreq(side)[:, None]
    return np.hypot(on_x, up), (np.degrees(np.arctan2(up, on_x)) + 90) % 180


def _slope(pictures: np.ndarray) -> float:
    """Regress log amplitude on log radial frequency, rings of a cycle a picture, 2 cycles to Nyquist."""
    side = pictures.shape[-1]
    amplitude = np.sqrt((np.abs(np.fft.fft2(pictures - 0.5)) ** 2).mean(0))
    ring = np.rint(_frequencies(side)[0] * side).astype(int)
    rings = np.arange(2, side // 2)
    radius = np.array([_frequencies(side)[0][ring == each].mean() for each in rings])
    mean = np.array([np.exp(np.log(amplitude[ring == each]).mean()) for each in rings])
    return float(np.polyfit(np.log(radius), np.log(mean), 1)[0])


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5, -0.5])
def test_the_amplitude_spectrum_falls_as_stated(alpha: float) -> None:
    found = _slope(_grey(noise(12, alpha=alpha, contrast=0.15, size=128, seed=3)))
    assert found == pytest.approx(-alpha, abs=0.05)
    if alpha >= 1:  # controls: white noise is not 1/f; alpha is not of the power
        assert abs(_slope(_grey(noise(12, contrast=0.15, size=128, seed=3))) + alpha) > 0.9
        assert abs(found + alpha / 2) > 0.4


@pytest.mark.parametrize("side", [64, 45])
def test_pink_noise_equals_an_independent_computation(side: int) -> None:
    picture = _grey(noise(1, alpha=1, contrast=0.1, size=side, first=5, seed=2))[0]
    white = generator(2, "noise", 5).standard_normal((side, side))
    rows, places = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    radius = np.sqrt(rows**2 + places**2)
    radius[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(white) / radius, (side, side))
    np.testing.assert_allclose(picture, 0.5 + 0.05 * field / field.std(), atol=1e-6)  # float32 of [0, 1]


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": [0, 1, 1.5], "contrast": [0.05, 0.2]},
        {"centre_frequency": [0.05, 0.2], "contrast": 0.25},
        {"orientation": [0, 60], "contrast": 0.2},
        {"distribution": ["uniform", "binary"], "contrast": 0.5},
        {"grain": 4, "contrast": 0.25},
        {"contrast": 1 / 3},
    ],
)
def test_mean_and_rms_contrast_are_exact(options: dict[str, Any]) -> None:
    shown = noise(3, size=64, **options)
    pictures = _grey(shown)
    np.testing.assert_allclose(pictures.mean((1, 2)), 0.5, atol=1e-6)
    rms = pictures.std((1, 2)) / pictures.mean((1, 2))
    np.testing.assert_allclose(rms, shown.metadata["contrast"], atol=1e-6)
    assert pictures.min() >= 0 and pictures.max() <= 1


def test_clipping_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    _grey(noise(4, contrast=0.15, size=64))
    assert not caplog.records  # 6.7 standard deviations
    pictures = _grey(noise(4, contrast=1 / 3, size=64))
    clipped = int(((pictures == 0) | (pictures == 1)).sum())
    assert 0 < clipped < 0.006 * pictures.size  # a share of .0027 of a Gaussian is beyond 3 standard deviations
    assert f"{clipped} of 16384 pixels of noise were beyond [0, 1] and are clipped" in caplog.text


def test_distributions_of_white_noise() -> None:
    shown = noise(2, distribution=["binary", "uniform", "gaussian"], contrast=0.3, size=64)
    pictures = _grey(shown)
    assert np.unique(pictures[0].round(6)).tolist() == [0.35, 0.65] and (pictures[0] > 0.5).mean() == 0.5
    uniform = np.sort((pictures[2] - 0.5).ravel()) / (0.15 * math.sqrt(3))
    np.testing.assert_allclose(uniform, np.linspace(-1, 1, 4096), atol=5e-4)  # 2/4096
    standard = (pictures[4] - 0.5) / 0.15
    assert (standard**4).mean() == pytest.approx(3, abs=0.35)  # 4.6 standard errors, sqrt(24/4096)
    for kind in (0, 2, 4):
        near = np.corrcoef(pictures[kind][:, 1:].ravel(), pictures[kind][:, :-1].ravel())[0, 1]
        assert abs(near) < 4 / 64  # 4 standard errors: neighbours share nothing
    odd = _grey(noise(1, distribution="binary", contrast=1, size=33))[0]
    assert odd.mean() == pytest.approx(0.5, abs=1e-6) and odd.min() >= 0 and odd.max() <= 1


def test_grain() -> None:
    coarse = _grey(noise(1, grain=4, size=32))[0]
    assert (coarse.reshape(8, 4, 8, 4) == coarse[::4, None, ::4, None].reshape(8, 1, 8, 1)).all()


@pytest.mark.parametrize(("centre", "octaves"), [(0.06, 1), (0.12, 0.5), (0.1, 2)])
def test_a_band_of_frequencies_holds_all_the_energy(centre: float, octaves: float) -> None:
    pictures = _grey(noise(2, centre_frequency=centre, bandwidth=octaves, size=96))
    power = (np.abs(np.fft.fft2(pictures - 0.5)) ** 2).mean(0)
    radius = _frequencies(96)[0]
    inside = (radius >= centre * 2 ** (-octaves / 2)) & (radius <= centre * 2 ** (octaves / 2))
    assert power[inside].sum() / power.sum() > 1 - 1e-9  # the rest is float32's rounding
    white = (np.abs(np.fft.fft2(_grey(noise(2, size=96)) - 0.5)) ** 2).mean(0)
    assert white[inside].sum() / white.sum() < 0.25  # control
    degrees = noise(2, centre_frequency=centre * 12, bandwidth=octaves, size=96, degrees=8)
    np.testing.assert_allclose(_grey(degrees), pictures, atol=1e-6)


@pytest.mark.parametrize("orientation", [0, 30, 90, 140])
def test_a_band_of_orientations_holds_all_the_energy(orientation: float) -> None:
    pictures = _grey(noise(2, orientation=orientation, orientation_bandwidth=24, size=96))
    power = (np.abs(np.fft.fft2(pictures - 0.5)) ** 2).mean(0)
    bars_at = _frequencies(96)[1]
    inside = np.abs((bars_at - orientation + 90) % 180 - 90) <= 12.0001
    assert power[inside].sum() / power.sum() > 1 - 1e-9
    if orientation in (30, 140):  # control: y down
        assert power[inside[np.r_[0, 95:0:-1]]].sum() / power.sum() < 0.02


def test_number_i_is_the_same_in_any_set_and_batch_bit_for_bit() -> None:
    state = torch.random.get_rng_state()
    many, few = noise(9, alpha=1, size=40, seed=4), noise(2, alpha=[0, 1], size=40, first=6, seed=4)
    assert many.ids[6] == few.ids[2] == "noise-a1-c0.2-gaussian-px40-s4-i6"
    assert torch.equal(many.images([6])[0], few.images([2])[0])
    assert torch.equal(many.images(range(9))[6], few.images([3, 2])[1])
    assert many[[6]].digest == few[[2]].digest
    assert not torch.equal(many.images([6])[0], many.images([7])[0])
    assert not torch.equal(many.images([6])[0], noise(9, alpha=1, size=40, seed=5).images([6])[0])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_clips_are_drawn_anew_in_each_frame() -> None:
    clip = noise(2, size=32, n_frames=5, grain=2, distribution="binary", contrast=1).get([0, 1], "clip")
    assert clip.shape == (2, 5, 3, 32, 32)
    flat = clip[:, :, 0].reshape(10, -1).numpy()
    assert np.abs(np.corrcoef(flat) - np.eye(10)).max() < 4.5 / 16  # 256 grains a frame


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"contrast": 0.4}, "rms contrast=0.4: gaussian noise has at most 0.333"),
        ({"contrast": 0.6, "distribution": "uniform"}, "uniform noise has at most 0.577"),
        ({"alpha": 1, "distribution": "binary"}, "filtered noise has no grain and is gaussian, not binary"),
        ({"alpha": 1, "grain": 2}, "with grain=2"),
        ({"grain": 3}, "grain=3 does not divide size=32"),
        ({"bandwidth": [1, 2]}, "several values of bandwidth, but no centre_frequency"),
        ({"centre_frequency": 0.6}, "above 0.5 it aliases"),
        (
            {"centre_frequency": 0.005},
            "no frequency of a screen of 32 pixels is in the band of alpha=0, centre_frequency=0.005",
        ),
        ({"n": 0}, "n=0: a whole number from 1"),
        ({"seed": 1.5}, "seed=1.5: a whole number is wanted"),
        ({"alpha": 4}, "alpha=4: at least -3 and at most 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError) as caught:
        noise(**{"n": 2, "size": 32, **options})
    assert text in str(caught.value)
