"""Bars: stated width, length, place, orientation, polarity and sweep, measured by the moments of what is drawn."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch

from netphys.errors import OptionError
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic import Screen, bars


def _drawn(shown: StimulusSet, index: int = 0) -> np.ndarray:
    """Return how far a picture, or each frame, is from grey: 1 on a light bar of contrast 1."""
    return (shown.get([index], shown.fields[0])[0].select(-3, 0).double().numpy() - 0.5) * 2


def _moments(picture: np.ndarray, screen: Screen) -> tuple[float, np.ndarray, float, float, float]:
    """Measure area, centre, orientation of the long axis, and length and width of a strip of those second moments."""
    x, y = (each.numpy() for each in screen.grid())
    weight = picture / picture.sum()
    centre = np.array([(weight * x).sum(), (weight * y).sum()])
    dx, dy = x - centre[0], y - centre[1]
    xx, yy, xy = ((weight * each).sum() for each in (dx**2 + 0 * dy, dy**2 + 0 * dx, dx * dy))
    theta = 0.5 * math.degrees(math.atan2(2 * xy, xx - yy)) % 180
    both = np.linalg.eigvalsh([[xx, xy], [xy, yy]])
    area = picture.sum() / screen.pixels_per_unit**2
    return area, centre, theta, math.sqrt(12 * both[1]), math.sqrt(12 * both[0])


@pytest.mark.parametrize("orientation", [0, 27, 45, 90, 100, 155])
@pytest.mark.parametrize(("width", "length"), [(0.5, 3), (1, 4), (0.3, 1.7)])
def test_area_and_second_moments_are_those_stated(orientation: float, width: float, length: float) -> None:
    shown = bars(orientation=orientation, width=width, length=length, x=0.5, y=-1, size=192, degrees=8)
    area, centre, theta, long, wide = _moments(_drawn(shown), Screen(192, 8))
    assert area == pytest.approx(width * length, rel=0.01)
    np.testing.assert_allclose(centre, [0.5, -1], atol=0.01)  # a quarter of a pixel
    assert abs((theta - orientation + 90) % 180 - 90) < 0.3
    assert long == pytest.approx(length, rel=0.01)
    assert wide == pytest.approx(math.sqrt(width**2 + 1 / 24**2), rel=0.02)  # a pixel's box is on the edges
    if orientation in (27, 155):  # control: y down
        mirrored = _moments(_drawn(shown)[::-1], Screen(192, 8))[2]
        assert abs((mirrored - orientation + 90) % 180 - 90) > 40


def test_edges_are_the_share_of_a_pixel_that_is_covered() -> None:
    row = _drawn(bars(orientation=90, width=2.5, length=40, size=21))[10]
    assert row.tolist() == [0.0] * 9 + [0.75, 1.0, 0.75] + [0.0] * 9
    thin = _drawn(bars(orientation=90, width=0.25, length=40, size=21))[10]
    assert thin.sum() == thin[10] == 0.25


def test_polarity_contrast_and_colour() -> None:
    shown = bars(contrast=[0.4, 1], polarity=["light", "dark"], colour="red-green", width=4, length=8, size=20)
    expected = torch.tensor([[0.7, 0.3, 0.5], [0.3, 0.7, 0.5], [1, 0, 0.5], [0, 1, 0.5]])
    torch.testing.assert_close(shown.images(range(4))[:, :, 9, 9], expected)
    assert shown.metadata["polarity"].tolist() == ["light", "dark"] * 2  # the last parameter is the fastest


@pytest.mark.parametrize("direction", [0, 60, 135, 270])
def test_a_sweep_goes_where_it_is_said_to_at_its_speed(direction: float) -> None:
    shown = bars(
        direction=direction, width=0.4, length=1.5, speed=12, n_frames=9, x=0.3, size=128, degrees=8, frame_rate=60
    )
    clip = _drawn(shown)
    centres = np.array([_moments(frame, Screen(128, 8))[1] for frame in clip])
    steps = np.diff(centres, axis=0)
    toward = np.array([math.cos(math.radians(direction)), math.sin(math.radians(direction))])
    np.testing.assert_allclose(steps, np.tile(toward * 12 / 60, (8, 1)), atol=0.006)  # a tenth of a pixel
    np.testing.assert_allclose(centres[4], [0.3, 0], atol=0.006)  # half-way
    assert (steps @ -toward < 0).all()  # control: not the reverse
    orientation = _moments(clip[0], Screen(128, 8))[2]
    assert abs((orientation - direction) % 180 - 90) < 0.5
    assert shown.metadata["orientation"][0] == (direction + 90) % 180


def test_degrees_and_pixels_are_the_same_bar_alone_and_in_a_batch() -> None:
    degrees = bars(orientation=[30, 31], width=0.5, length=3, x=1, size=112, degrees=8)
    pixels = bars(orientation=[30, 31], width=7, length=42, x=14, size=112)
    torch.testing.assert_close(degrees.images([0, 1]), pixels.images([0, 1]), atol=1e-6, rtol=0)
    assert torch.equal(degrees.images([1])[0], degrees.images([0, 1])[1])
    assert degrees.ids[0] == "bar-o30-w0.5-l3-x1-y0-light-px112-deg8"
    assert degrees[[1]].digest == bars(orientation=31, width=0.5, length=3, x=1, size=112, degrees=8).digest


def test_bars_that_cannot_be_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"width": 0}, "width=0: above 0"),
        ({"speed": 3}, "speed=3: what moves is a clip; say n_frames"),
        ({"orientation": 3, "direction": 4}, "both are given"),
        ({"polarity": "white"}, "no polarity='white'; there are: 'light', 'dark'"),
        ({"x": 40}, "x=40: at least -16 and at most 16"),
    ]
    for options, text in wrong:
        with pytest.raises(OptionError) as caught:
            bars(size=32, **options)
        assert text in str(caught.value)
    with caplog.at_level(logging.WARNING):
        bars(size=32, width=2, speed=150, n_frames=4)
    assert "a bar of width 2 at speed 150 moves by more than its width a frame" in caplog.text
