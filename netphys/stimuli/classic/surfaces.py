"""What each of two eyes sees of a surface in depth: which point along a line of sight, and how it is stretched there.

A surface is a disparity at every place of the cyclopean screen: a point at (x, y) of disparity d is drawn at x + d/2
for the left eye and at x - d/2 for the right eye, so that d above 0 is near (crossed). Where several points of a
surface are drawn at one place of an eye, that eye sees the nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["LEFT", "RIGHT", "Surface"]

LEFT, RIGHT = 1.0, -1.0
_HALVINGS = 24  # of the interval between two samples of a line of sight, which moves it by 1/8 pixel: 1e-8 is left
_AT_ONCE = 1 << 20  # samples of lines of sight: arrays of 8 MB


@dataclass(frozen=True)
class Surface:
    """A surface in depth.

    Parameters
    ----------
    depth : callable
        Arrays x, y (units of the screen, y up) → disparity (units), of their common shape.
    low, high : float
        Least and largest disparity.
    pixel : float
        A pixel, units.
    """

    depth: Callable[[np.ndarray, np.ndarray], np.ndarray]
    low: float
    high: float
    pixel: float

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Disparity at cyclopean places."""
        return np.clip(self.depth(x, y), self.low, self.high)

    def paired(self, at: np.ndarray, y: np.ndarray, eye: float) -> np.ndarray:
        """Disparity of what an eye sees at places of its picture; NaN where the other eye does not see it, too."""
        here = self.seen(at, y, eye)
        there = self.seen(at - eye * np.where(np.isfinite(here), here, 0), y, -eye)
        return np.where(np.abs(there - here) < 1e-5 * self.pixel, here, np.nan)

    def seen(self, at: np.ndarray, y: np.ndarray, eye: float) -> np.ndarray:
        """Disparity of what an eye sees; NaN where it sees past an edge of the surface, what the middle does not see.

        Parameters
        ----------
        at, y : array of float, (point,)
            Places in the eye's picture, units.
        eye : float
            :data:`LEFT` or :data:`RIGHT`.
        """
        per_part = max(1, _AT_ONCE // self._samples())
        parts = [self._seen(at[i : i + per_part], y[i : i + per_part], eye) for i in range(0, len(at), per_part)]
        return np.concatenate(parts) if parts else np.empty(0)

    def stretch(self, x: np.ndarray, y: np.ndarray, eye: float) -> np.ndarray:
        """How many times as wide the surface is drawn for an eye as on the cyclopean screen, at cyclopean places."""
        step = 1e-4 * self.pixel  # the share of points within it of an edge, where there is no slope, is negligible
        return np.abs(1 + eye * (self(x + step, y) - self(x - step, y)) / (4 * step))

    def _samples(self) -> int:
        return int(np.ceil(4 * (self.high - self.low) / self.pixel)) + 2  # a sample moves the line 1/8 pixel

    def _seen(self, at: np.ndarray, y: np.ndarray, eye: float) -> np.ndarray:
        """Follow lines of sight from the nearest depth to where they enter the surface."""
        tiny = 1e-9 * self.pixel
        depths = np.linspace(self.high, self.low, self._samples())
        entered = self(at[:, None] - eye * depths / 2, y[:, None]) >= depths - tiny
        first = entered.argmax(1)
        inside, outside = depths[first], depths[np.maximum(first - 1, 0)]
        for _ in range(_HALVINGS if self.high > self.low else 0):
            middle = (inside + outside) / 2
            hit = self(at - eye * middle / 2, y) >= middle - tiny
            inside, outside = np.where(hit, middle, inside), np.where(hit, outside, middle)
        met = self(at - eye * inside / 2, y)
        return np.where(np.abs(met - inside) < 1e-6 * self.pixel, met, np.nan)
