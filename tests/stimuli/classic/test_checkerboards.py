"""Checkerboards: size of the checks, contrast, phase and reversal, measured in the pixels."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch

from netphys.errors import OptionError
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic import checkerboards


def _grey(shown: StimulusSet, index: int = 0) -> np.ndarray:
    return shown.get([index], shown.fields[0])[0].select(-3, 0).double().numpy()


@pytest.mark.parametrize("check", [4, 6, 8, 12])
def test_checks_have_the_stated_size(check: int) -> None:
    picture = _grey(checkerboards(check=check, size=96)) - 0.5
    power = np.abs(np.fft.fft2(picture)) ** 2
    rows, places = np.nonzero(power > 0.9 * power.max())
    cycles = 96 / (2 * check)
    assert sorted({*map(abs, np.fft.fftfreq(96, 1 / 96)[rows]), *map(abs, np.fft.fftfreq(96, 1 / 96)[places])}) == [
        cycles
    ]
    correlation = np.fft.ifft2(power).real[0] / power.sum() * 96**2
    assert correlation[check] == pytest.approx(correlation.min()) and correlation[check] < -0.8
    assert correlation[2 * check] == pytest.approx(correlation.max())
    assert correlation[check // 2] == pytest.approx(0, abs=0.06)  # half a check: a grating of bars twice as wide is not
    wrong = np.abs(np.fft.fft2(_grey(checkerboards(check=check * 2, size=96)) - 0.5)) ** 2  # control
    assert wrong[rows, places].max() < 0.1 * power.max()


def test_checks_of_any_size_and_in_degrees() -> None:
    line = _grey(checkerboards(check=0.7, size=400, degrees=8))[200] - 0.5
    crossings = np.flatnonzero(np.diff(np.sign(line[np.abs(line) > 0.1]))).size
    assert crossings == pytest.approx(8 / 0.7, abs=1)
    degrees, pixels = checkerboards(check=0.7, size=100, degrees=8, x=1), checkerboards(check=8.75, x=12.5, size=100)
    torch.testing.assert_close(degrees.images([0]), pixels.images([0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("contrast", [0, 0.3, 1])
def test_contrast_and_phase(contrast: float) -> None:
    shown = checkerboards(check=8, contrast=contrast, phase=[0, 0.25, 0.5, 1], size=64)
    picture = _grey(shown)
    assert (picture.max() - picture.min()) / (picture.max() + picture.min()) == pytest.approx(contrast, abs=1e-7)
    assert (picture[24:32, 32:40] == np.float32(0.5 + contrast / 2)).all()  # up and right of the middle
    assert (picture[24:32, 24:32] == np.float32(0.5 - contrast / 2)).all()
    np.testing.assert_allclose(_grey(shown, 2), 1 - picture, atol=1e-7)
    np.testing.assert_allclose(_grey(shown, 3), picture, atol=1e-7)
    np.testing.assert_allclose(_grey(shown, 1)[:, :-4], picture[:, 4:], atol=1e-7)  # a quarter cycle, to the left


def test_reversal() -> None:
    common: dict[str, Any] = {"check": 4, "n_frames": 12, "frame_rate": 60, "size": 32}
    sudden = _grey(checkerboards(temporal_frequency=10, **common))
    sign = ((sudden - 0.5) * (sudden[0] - 0.5)).sum((1, 2)) / ((sudden[0] - 0.5) ** 2).sum()
    np.testing.assert_allclose(sign, [1, 1, 1, -1, -1, -1] * 2, atol=1e-6)
    smooth = _grey(checkerboards(temporal_frequency=5, reversal="sine", **common))
    gain = ((smooth - 0.5) * (smooth[0] - 0.5)).sum((1, 2)) / ((smooth[0] - 0.5) ** 2).sum()
    np.testing.assert_allclose(gain, np.cos(2 * np.pi * 5 * np.arange(12) / 60), atol=1e-6)
    fastest = _grey(checkerboards(temporal_frequency=30, **common))
    np.testing.assert_allclose(fastest[1], 1 - fastest[0], atol=1e-6)


def test_a_checkerboard_through_a_window_alone_and_in_a_batch() -> None:
    shown = checkerboards(check=[3, 4.4], diameter=40, inner_diameter=10, window="circle", size=48)
    both = shown.images([0, 1])
    assert torch.equal(shown.images([1])[0], both[1]) and both.dtype == torch.float32
    assert (both[:, :, 0, 0] == 0.5).all() and (both[:, :, 23, 23] == 0.5).all()
    assert (both[:, 0] != 0.5).float().mean((1, 2)).numpy() == pytest.approx(math.pi * (20**2 - 5**2) / 48**2, rel=0.1)
    assert shown.ids[1] == "checkerboard-k4.4-ph0-c1-di40-in10-circle-px48"


def test_checks_that_cannot_be_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OptionError, match=r"1 / \(2 check\)=1 cycles a pixel: above 0.5 it"):
        checkerboards(check=0.5, size=32)
    with pytest.raises(OptionError, match="it aliases to a slower one"):
        checkerboards(check=4, size=32, temporal_frequency=31, n_frames=8)
    with pytest.raises(OptionError, match="no reversal='triangle'; near: 'sine'"):
        checkerboards(check=4, size=32, reversal="triangle")
    with caplog.at_level(logging.WARNING):
        checkerboards(check=1.5, size=32)
    assert "fewer than 4 pixels a cycle" in caplog.text
