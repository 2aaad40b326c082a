"""Grounds and other flat regions: which pixels are ground, and in how many pictures many pixels have one value.

Matching a histogram gives equal pixels values that differ: a flat region becomes noise. So it is said.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from netphys.stimuli.treating.histograms import commonest
from netphys.stimuli.treating.step import Picture

__all__ = ["FlatRegions", "is_ground", "same_ground"]

_HALF_LEVEL = 0.505 / 255  # nearer to the ground than this is its 8-bit value; 127 and 128 are both of mean grey 0.5
_MANY = 0.2  # share of a picture's pixels


def is_ground(values: Tensor, ground: float) -> np.ndarray:
    """Say which pixels (y, x) of a picture (3, y, x) are ground: in all colours, to half of an 8-bit level."""
    return ((values - ground).abs() <= _HALF_LEVEL).all(0).numpy()


def same_ground(value: float, ground: float) -> bool:
    """Say whether pixels of a value are ground."""
    return abs(value - ground) <= _HALF_LEVEL


class FlatRegions:
    """Counts the pictures of which more than a fifth of the pixels have one value.

    Parameters
    ----------
    step : str
        What is done to them.
    ground : float, optional
        What the step leaves out already.
    takes_ground : bool
        Whether the step can leave a ground out.
    """

    def __init__(self, step: str, ground: float | None, *, takes_ground: bool = True) -> None:
        self._step, self._ground, self._takes_ground = step, ground, takes_ground
        self._n = self._flat = 0
        self._first = self._hint = ""

    def add(self, picture: Picture, plane: np.ndarray, figure: np.ndarray) -> None:
        """Look at the pixels (y, x) of a picture that are matched."""
        self._n += 1
        value, share = commonest(plane[figure], _MANY)
        if share <= _MANY:
            return
        self._flat += 1
        if self._flat == 1:
            self._first = f"{picture.name}, {100 * share:.0f} % at {value:.3g}"
            self._hint = self._hinted(picture.values[:, (plane == value) & figure][:, 0])

    @property
    def notice(self) -> str:
        """What is to be said, in a line; empty where there is nothing."""
        if not self._flat:
            return ""
        pictures = "1 picture" if self._n == 1 else f"{self._n} pictures"
        pixels = "pixels" if self._ground is None else "pixels that are not ground"
        return (
            f"{self._step}: in {self._flat} of {pictures} more than a fifth of the {pixels} have one value, "
            f"and become noise (first: {self._first}){self._hint}"
        )

    def _hinted(self, colour: Tensor) -> str:
        """Say how to leave a region of this colour (3,) out, if that can be."""
        ground = round(float(colour.mean()), 3) + 0.0  # no -0
        if self._ground is not None or not 0 <= ground <= 1 or not is_ground(colour[:, None, None], ground).all():
            return ""
        if not self._takes_ground:
            return f"; {self._step} leaves no ground out, histogram(ground={ground:g}) does"
        return f"; ground={ground:g} leaves such a ground out"
