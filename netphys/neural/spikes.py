"""From spike times to counts: how often did each neuroid fire in each bin about each presentation?

A bin is [start, stop): a spike at its start counts, one at its stop belongs to the next. Times are compared in whole
nanoseconds, so that the decimal fractions in which onsets, bins and spikes are written meet where they should: 1234.1 s
+ 70 ms is 1234.17 s, which it is not in binary floating point. (Exact below 4e6 s, where doubles still tell
nanoseconds apart; later times are rounded to what doubles hold, and bins that share a border still share it.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from netphys.errors import NeuralDataError
from netphys.guards import BUDGET

__all__ = ["count_spikes", "observed_bins", "spike_rates"]

_NS = 1e9  # nanoseconds a second
_NS_MS = 1e6  # nanoseconds a millisecond


def count_spikes(
    spike_times: Sequence[Any] | np.ndarray,
    onsets: Float[np.ndarray, " presentation"],
    edges: Sequence[float] | np.ndarray,
    *,
    index: Sequence[int] | np.ndarray | None = None,
) -> Int[np.ndarray, "presentation neuroid bin"]:
    """Count spikes in bins about the onsets of stimuli.

    Parameters
    ----------
    spike_times : list of arrays, one a neuroid, or one flat array with `index`
        Times of spikes in s; their order does not matter. A neuroid without spikes is an empty array.
    onsets : array (presentation,)
        Times of onsets in s, on the same clock, in any order; windows may overlap.
    edges : array (bin + 1,)
        Borders of the bins in ms from onset, increasing.
    index : array (neuroid,), optional
        Where each neuroid's times end in the flat array, as NWB's ragged columns say it.

    Returns
    -------
    array (presentation, neuroid, bin), int64

    Raises
    ------
    NeuralDataError
        If times, onsets or edges are not finite, edges do not increase, or the index does not fit.

    Examples
    --------
    >>> count_spikes([[1.07, 1.1, 1.17], []], onsets=[1.0], edges=[70, 120, 170]).tolist()
    [[[2, 0], [0, 0]]]
    """
    trains = _trains(spike_times, index)
    shape = (np.size(onsets), len(trains), max(np.size(edges) - 1, 1))
    if 8 * shape[0] * shape[1] * shape[2] > BUDGET:
        raise NeuralDataError(
            f"counts of {shape[0]} presentations x {shape[1]} neuroids x {shape[2]} bins take more than "
            f"{BUDGET / 1e9:.1f} GB; ask for fewer or wider bins"
        )
    borders = _borders(onsets, edges)
    flat = borders.reshape(-1)
    order = None if (flat[1:] >= flat[:-1]).all() else np.argsort(flat, kind="stable")
    ordered = flat if order is None else flat[order]
    counts = np.empty(shape, dtype=np.int64)
    below = np.empty(flat.size, dtype=np.int64)
    for at, train in enumerate(trains):
        if order is None:
            below = _below(train, ordered)
        else:
            below[order] = _below(train, ordered)
        counts[:, at] = np.diff(below.reshape(borders.shape), axis=1)
    return counts


def spike_rates(
    counts: Int[np.ndarray, "presentation neuroid bin"], edges: Sequence[float] | np.ndarray
) -> Float[np.ndarray, "presentation neuroid bin"]:
    """Turn counts into rates in spikes/s: counts / width x 1000, with `edges` (bin + 1,) in ms."""
    rates = counts / np.diff(np.asarray(edges, dtype=np.float64))
    rates *= 1000.0  # in place: counts of fine bins take gigabytes
    return rates


def observed_bins(
    intervals: Float[np.ndarray, "interval 2"],
    onsets: Float[np.ndarray, " presentation"],
    edges: Sequence[float] | np.ndarray,
) -> Bool[np.ndarray, "presentation bin"]:
    """Tell which bins lie wholly within the intervals in which a neuroid was observed.

    A count of 0 outside of them is no silence: nobody listened.

    Parameters
    ----------
    intervals : array (interval, 2)
        Starts and stops in s, in any order; those that touch or overlap are one.
    onsets, edges
        As for :func:`count_spikes`.

    Raises
    ------
    NeuralDataError
        If an interval is not finite or stops before it starts.
    """
    borders = _borders(onsets, edges)
    found = np.asarray(intervals, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(found).all() or (found[:, 1] < found[:, 0]).any():
        raise NeuralDataError("intervals of observation have a start and a stop after it, in s")
    starts, stops = _merged(np.rint(found * _NS))
    if not len(starts):
        return np.zeros((borders.shape[0], borders.shape[1] - 1), dtype=bool)
    within = np.searchsorted(starts, borders[:, :-1], side="right") - 1
    return (within >= 0) & (borders[:, 1:] <= stops[within])


def _borders(onsets: Any, edges: Any) -> np.ndarray:
    """Borders of all bins of all presentations, whole nanoseconds as float64 (presentation, bin + 1)."""
    at = np.asarray(onsets, dtype=np.float64)
    borders = np.asarray(edges, dtype=np.float64)
    if at.ndim != 1 or not np.isfinite(at).all():
        raise NeuralDataError("onsets are one finite time in s a presentation; leave out presentations without one")
    if borders.ndim != 1 or len(borders) < 2 or not np.isfinite(borders).all() or (np.diff(borders) <= 0).any():
        raise NeuralDataError("edges of bins are two or more increasing times in ms from onset")
    return np.rint(at * _NS)[:, None] + np.rint(borders * _NS_MS)


def _trains(spike_times: Any, index: Any) -> list[np.ndarray]:
    """Take spike times apart by neuroid, in whole nanoseconds."""
    if index is None:
        parts = [np.asarray(each, dtype=np.float64) for each in spike_times]
    else:
        flat, ends = np.asarray(spike_times, dtype=np.float64), np.asarray(index)
        if flat.ndim != 1 or ends.ndim != 1 or (ends.size and ends.dtype.kind not in "iu"):
            raise NeuralDataError("spike times with an index are one flat array, the index whole numbers")
        ends = ends.astype(np.int64)
        if (np.diff(ends, prepend=0) < 0).any() or (ends[-1] if len(ends) else 0) != len(flat):
            raise NeuralDataError(
                f"the index of spike times must not decrease and must end at their number, {len(flat)}; it does not"
            )
        parts = np.split(flat, ends[:-1]) if len(ends) else []
    for at, part in enumerate(parts):
        if part.ndim != 1 or not np.isfinite(part).all():
            raise NeuralDataError(f"spike times of neuroid {at} (from 0) are not all finite times in s")
    return [np.rint(part * _NS) for part in parts]


def _below(train: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """How many spikes lie below each border; borders increase."""
    if len(train) < len(borders):  # fewer searches that way round, and the spikes need no order
        passed = np.searchsorted(borders, train, side="right")  # borders that are at or below the spike
        return np.cumsum(np.bincount(passed, minlength=len(borders) + 1)[:-1])
    if (train[1:] < train[:-1]).any():
        train = np.sort(train)
    return np.searchsorted(train, borders, side="left")


def _merged(intervals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops of the union of intervals, in order; those that touch are one."""
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    if not len(intervals):
        return intervals[:, 0], intervals[:, 1]
    reach = np.maximum.accumulate(intervals[:, 1])
    first = np.r_[True, intervals[1:, 0] > reach[:-1]]
    return intervals[first, 0], reach[np.r_[np.flatnonzero(first)[1:] - 1, len(intervals) - 1]]
