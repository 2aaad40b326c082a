"""Time bins of an axis of time: from an array of starts or edges that a file holds, or as the user spells them."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["SHORTEST", "bins_of", "spelt_bins"]

SHORTEST = 0.5  # ms; neural data have bins of 1 ms and more: shorter ones are seconds
_EVEN = 1e-6  # of a width: starts that are float32, or sums of 0.1, are even within it


def spelt_bins(text: str) -> np.ndarray | None:
    """Read ``START:STOP:WIDTH`` in ms as bins, float64 (bin, 2); None where the text is something else.

    Raises
    ------
    ValueError
        If it is three numbers that are no bins, or bins shorter than 0.5 ms: they are in seconds.

    Examples
    --------
    >>> spelt_bins("0:100:50").tolist()
    [[0.0, 50.0], [50.0, 100.0]]
    """
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        return None
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        return None
    start, stop, width = numbers
    if 0 < width < SHORTEST:
        raise ValueError(_seconds(width))
    n = (stop - start) / width if width > 0 else 0.0
    if not 0.999 < n <= 1_000_000 or abs(n - round(n)) > 1e-6:
        raise ValueError("STOP - START is a whole number of WIDTHs, at least one")
    edges = start + width * np.arange(round(n) + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def bins_of(values: np.ndarray, n: int) -> np.ndarray:
    """Read the bins of an axis of n values from an array.

    Parameters
    ----------
    values : numpy.ndarray, ms
        Starts (n), even; or edges (n + 1); or starts and ends (n, 2).
    n : int
        Bins.

    Returns
    -------
    float64 (n, 2)
        Starts and ends.

    Raises
    ------
    ValueError
        If it is none of these, if starts are uneven (their widths are then unknown), or bins are shorter than 0.5 ms:
        they are in seconds.

    Examples
    --------
    >>> bins_of(np.array([0, 10, 20]), 3).tolist()
    [[0.0, 10.0], [10.0, 20.0], [20.0, 30.0]]
    """
    if values.dtype.kind not in "fiu":
        raise ValueError("times are numbers in ms")
    flat = values.astype(np.float64)
    if flat.shape != (n, 2):
        flat = flat.squeeze()
        flat = flat[None] if flat.ndim == 0 else flat
    if not np.isfinite(flat).all():
        raise ValueError("times are finite numbers in ms")
    if flat.shape == (n + 1,):
        bins = np.stack([flat[:-1], flat[1:]], axis=1)
    elif flat.shape == (n, 2):
        bins = flat
    elif flat.shape == (n,):
        bins = _even(flat)
    else:
        raise ValueError(f"{n} bins have {n} even starts, {n + 1} edges, or ({n}, 2) starts and ends, not {flat.shape}")
    if (bins[:, 1] <= bins[:, 0]).any() or (np.diff(bins[:, 0]) <= 0).any():
        raise ValueError("times do not grow from bin to bin")
    width = float(np.diff(bins, axis=1).min())
    if width < SHORTEST:
        raise ValueError(_seconds(width))
    return bins


def _seconds(width: float) -> str:
    """Say that bins are too short."""
    return f"bins of {width:g} ms are too short to be neural; times are in ms, these may be seconds"


def _even(starts: np.ndarray) -> np.ndarray:
    """Bins from starts: each ends where the next one starts."""
    if len(starts) < 2:
        raise ValueError("one start does not tell how long its bin is; give its two edges")
    widths = np.diff(starts)
    width = (starts[-1] - starts[0]) / (len(starts) - 1)
    if (np.abs(widths - width) > max(_EVEN * abs(width), 1e-4 * abs(width))).any():
        raise ValueError("the starts are uneven, so the bins' ends are unknown; give edges, one more than bins")
    return np.stack([starts, np.append(starts[1:], starts[-1] + width)], axis=1)
