"""Exact histogram specification: a picture's pixels are ranked, and the k-th gets the k-th value of the histogram.

Ties are broken the same way each time. Pixels of equal value are ranked by the mean of the 3 x 3 pixels around them,
then of the 7 x 7; what is still equal (a uniform ground) by a fixed order of positions, shuffled once for each size of
picture, so that a ground that takes several values becomes fine noise and no gradient.

References
----------
Coltuc D., Bolon P., Chassery J.-M. (2006). Exact histogram specification. IEEE Trans Image Process 15:1143,
doi:10.1109/TIP.2005.864170 (order by means over growing neighbourhoods).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from netphys.seeds import generator
from netphys.stimuli.treating.steady import rounded

__all__ = ["LEVELS", "HistogramSum", "MeanHistogram", "commonest", "histogram_of", "ranked"]

LEVELS = 65_536  # of a target's values in [0, 1]; 8-bit values lie exactly on them, for 65535 = 255 * 257


@dataclass(frozen=True, eq=False)
class MeanHistogram:
    """The mean histogram of a set, each picture weighing the same.

    Parameters
    ----------
    cumulated : array of float64 (LEVELS,)
        Share of pixels at or below each level.
    notice : str
        What the user should know of the pictures it was measured on; empty: nothing.
    """

    cumulated: np.ndarray
    notice: str = ""
    _values: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data and arrays."""
        return {"cumulated": self.cumulated}

    def values(self, n: int) -> np.ndarray:
        """Return the n values, in rising order, of a picture of n pixels that has this histogram.

        The k-th (from 0) is the quantile at (k + 1/2) / n.
        """
        if n not in self._values:
            wanted = (np.arange(n) + 0.5) / n - 1e-9  # rounding of the sums, 5e-10, must not skip a level
            level = np.searchsorted(self.cumulated, wanted).clip(max=LEVELS - 1)
            self._values[n] = level / (LEVELS - 1)
        return self._values[n]

    def given_to(self, plane: np.ndarray, figure: np.ndarray | None = None) -> np.ndarray:
        """Give a picture (y, x), or those of its pixels that are the figure, this histogram."""
        order = ranked(plane)
        if figure is not None:
            order = order[figure.ravel()[order]]
        out = plane.copy().ravel()
        out[order] = self.values(len(order))
        return out.reshape(plane.shape)


class HistogramSum:
    """Adds up the histograms of pictures, in whole numbers, so that their order does not matter."""

    def __init__(self) -> None:
        self._counts: dict[int, np.ndarray] = {}  # by the number of pixels of a picture
        self._n = 0

    def add(self, plane: np.ndarray) -> None:
        """Add the pixels of a picture, in whatever order."""
        self._n += 1
        self._counts[plane.size] = self._counts.get(plane.size, 0) + histogram_of(plane)

    def mean(self, notice: str = "") -> MeanHistogram:
        """Return the mean: each picture weighs the same, whatever its size."""
        shares = sum(self._counts[n] / n for n in sorted(self._counts)) / self._n
        return MeanHistogram(rounded(np.cumsum(shares)), notice)


def histogram_of(plane: np.ndarray) -> np.ndarray:
    """Count the pixels of a picture at each of the levels of [0, 1]; what is outside counts at its end."""
    return np.bincount(_level(plane).ravel(), minlength=LEVELS)


def commonest(values: np.ndarray, least: float) -> tuple[float, float]:
    """Return the value that most pixels have, and their share; (nan, 0) where the share is not above `least`."""
    level = _level(values)
    found, share = np.nan, 0.0
    for each in np.flatnonzero(np.bincount(level) > least * len(values)):  # what is outside [0, 1] shares its ends
        distinct, counts = np.unique(values[level == each], return_counts=True)
        if counts.max() > max(least, share) * len(values):
            found, share = float(distinct[counts.argmax()]), float(counts.max() / len(values))
    return found, share


def ranked(plane: np.ndarray) -> np.ndarray:
    """Return the pixels of a picture (y, x), as numbers in reading order, from the darkest to the lightest."""
    flat = plane.ravel()
    order = np.argsort(flat)
    in_order = flat[order]
    if not (in_order[1:] == in_order[:-1]).any():
        return order
    rank = np.empty(plane.size, dtype=np.int64)
    rank[order] = np.concatenate([[0], np.cumsum(in_order[1:] != in_order[:-1])])
    spare = max(0, plane.size.bit_length() - 21)  # a sum over 3 x 3 has 20 bits, over 7 x 7 22, a key 63
    keys = (((rank << 20) | _box_sum(plane, 3)) << (22 - spare)) | (_box_sum(plane, 7) >> spare)
    shuffled = _shuffled(plane.size)
    return shuffled[np.argsort(keys[shuffled], kind="stable")]


def _level(plane: np.ndarray) -> np.ndarray:
    return np.rint(plane.clip(0, 1) * (LEVELS - 1)).astype(np.int64)


def _box_sum(plane: np.ndarray, side: int) -> np.ndarray:
    """Sum the side x side pixels around each, mirrored at the border, in whole levels (so that ties are ties); flat."""
    half = min(side // 2, min(plane.shape) - 1)
    height, width = plane.shape
    padded = np.pad(_level(plane).astype(np.int32), half, mode="reflect")
    rows = padded[:height].copy()
    for first in range(1, 2 * half + 1):
        rows += padded[first : first + height]
    total = rows[:, :width].copy()
    for first in range(1, 2 * half + 1):
        total += rows[:, first : first + width]
    return total.ravel().astype(np.int64)


@lru_cache(maxsize=8)
def _shuffled(n: int) -> np.ndarray:
    """Return the fixed order of n positions."""
    return generator(0, "ties", n).permutation(n)
