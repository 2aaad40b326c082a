"""The screen: where pixels lie, and what a screen may be."""

from __future__ import annotations

from typing import Any

import pytest

from netphys.errors import OptionError
from netphys.stimuli.classic import Screen


def test_x_goes_right_and_y_up_about_the_middle() -> None:
    x, y = Screen(4, degrees=2).grid()
    assert x.tolist() == [[-0.75, -0.25, 0.25, 0.75]]
    assert y.tolist() == [[0.75], [0.25], [-0.25], [-0.75]]
    assert Screen(3).grid()[0].tolist() == [[-1, 0, 1]]


def test_lengths_are_in_degrees_only_where_the_extent_is_said() -> None:
    assert (Screen(224, 8).pixels_per_unit, Screen(224, 8).extent, Screen(224, 8).unit) == (28, 8, "degree")
    assert (Screen(224).pixels_per_unit, Screen(224).extent, Screen(224).unit) == (1, 224, "pixel")


@pytest.mark.parametrize("size", [0, -1, 5000, 64.0, True, "64"])
def test_a_side_is_a_whole_number_of_pixels(size: Any) -> None:
    with pytest.raises(OptionError, match="a screen has a whole number of pixels a side, 1 to 4096"):
        Screen(size)


@pytest.mark.parametrize("degrees", [0, -8, 400, float("nan")])
def test_an_extent_is_above_0(degrees: float) -> None:
    with pytest.raises(OptionError, match="between 0 and 360 degrees"):
        Screen(64, degrees)
