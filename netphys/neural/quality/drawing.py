"""How reliability is drawn: every neuroid with its interval, or the population in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netphys.colours import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from netphys.neural.quality.reliability import Reliability

__all__ = ["draw_in_time", "draw_sorted"]

_GREY = "#595959"
_LOWEST = -0.35  # a neuroid of pure noise may have any negative value; the axis ends here


def draw_sorted(measured: Reliability, ax: Axes | None) -> Axes:
    """Draw neuroids from the least to the most reliable, each with its interval, and the median."""
    from netphys.neural.telling.drawing import new_axes

    ax = ax if ax is not None else new_axes()
    order = np.argsort(measured.rho)
    order = order[np.isfinite(measured.rho[order])]
    rho, low, high = (each[order] for each in (measured.rho, measured.low, measured.high))
    at = np.arange(1, len(order) + 1)
    ax.vlines(at, np.maximum(low, _LOWEST), high, color=COLOURS[0], alpha=0.35, linewidth=_width(len(at)))
    ax.plot(at, rho, "o", color=COLOURS[0], markersize=3.5 if len(at) < 100 else 1.8, markeredgewidth=0)
    below = rho < _LOWEST
    ax.plot(at[below], np.full(below.sum(), _LOWEST + 0.02), "v", color=COLOURS[0], markersize=3.5, markeredgewidth=0)
    if len(at):
        median = float(np.median(rho))
        ax.axhline(median, color=_GREY, linewidth=0.8, linestyle="--", label=f"median {median:.2f}")
        # sorted values leave the corner below high ones empty, or the one above low ones
        ax.legend(frameon=False, fontsize="small", loc="lower right" if median > 0.5 else "upper left")
    ax.set_xlim(0, len(at) + 1)
    interval = f"reliability of the mean response\nand its {100 * measured.confidence:g} % interval"
    return _finished(ax, f"neuroid, sorted (of {len(measured.rho)})", low, interval)


def draw_in_time(measured: Reliability, ax: Axes | None) -> Axes:
    """Draw the median over neuroids and its quartiles in time."""
    from netphys.neural.telling.drawing import new_axes

    ax = ax if ax is not None else new_axes()
    assert measured.time_bins is not None
    bins = list(measured.time_bins.values())
    centres = (bins[0] + bins[-1]) / 2
    first, median, third = np.nanquantile(measured.rho, [0.25, 0.5, 0.75], axis=0)
    ax.fill_between(centres, first, third, color=COLOURS[0], alpha=0.25, linewidth=0, label="quartiles of neuroids")
    ax.plot(centres, median, "o-", color=COLOURS[0], markersize=3, linewidth=1.3, label="median")
    ax.axhline(0.0, color="black", linewidth=0.5)
    ax.legend(frameon=False, fontsize="small")
    timed = "time_bin_start" in measured.time_bins
    return _finished(ax, "time from onset (ms)" if timed else "time bin", first)


def _width(n: int) -> float:
    """Line width of an interval, so that neighbours do not touch."""
    return float(np.clip(120 / max(n, 1), 0.4, 2.0))


def _finished(ax: Axes, xlabel: str, low: np.ndarray, ylabel: str = "reliability of the mean response") -> Axes:
    """Label the axes; 0 and 1 are always seen."""
    least = float(np.nanmin(low, initial=0.0))
    if least < 0:
        ax.axhline(0.0, color="black", linewidth=0.5)
    ax.set_ylim(max(least - 0.05, _LOWEST) if least < 0 else 0.0, 1.0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
