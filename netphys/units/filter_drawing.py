"""How filters and their fits are drawn, each on one Axes; no global style is read or set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.colours import COLOURS
from netphys.errors import OptionError, near

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from netphys.units.filters import FilterBank
    from netphys.units.gabor import GaborFits

__all__ = ["plot_filters", "plot_fits"]

_GREY = "#595959"
_NULL = "#A6A6A6"
_TITLE, _TEXT = 8.0, 7.0  # points
_ENLARGED = 6  # image pixels to a weight, so that the gap between filters can be thinner than a weight
_GAP = 4  # image pixels
_ORDERS = ("unit", "norm", "frequency", "orientation")
_SCALES = ("shared", "each")


def plot_filters(
    bank: FilterBank, ax: Axes | None = None, *, scale: str = "shared", order: str | Sequence[int] = "unit"
) -> Axes:
    """Draw filters in a grid, row by row: weight 0 is mid-grey, every weight a square, nothing smoothed.

    Parameters
    ----------
    bank : FilterBank
        What is drawn.
    ax : matplotlib Axes, optional
        Where; a new figure by default.
    scale : {"shared", "each"}
        The largest weight of the whole grid, or of each filter, takes the full range from grey; the title says which.
    order : {"unit", "norm", "frequency", "orientation"} or sequence of int
        See :meth:`netphys.units.filters.FilterBank.plot`.
    """
    if scale not in _SCALES:
        raise OptionError(f"scale={scale!r} is none of 'shared', 'each'{near(str(scale), _SCALES)}")
    rows = _ordered(bank, order)
    filters = bank.filters[rows].astype(np.float64)
    largest = np.abs(filters).max((1, 2, 3), keepdims=True)
    if scale == "shared":
        largest = np.full_like(largest, largest.max())
    shown = 0.5 + 0.5 * np.divide(filters, largest, out=np.zeros_like(filters), where=largest > 0)
    ax = _axes(ax, (3.4, 3.5))
    ax.imshow(_grid(shown), interpolation="nearest", vmin=0, vmax=1)
    ax.set_axis_off()
    n, _, y, x = filters.shape
    how = f"one scale, ±{largest.max():.2g}" if scale == "shared" else "each filter on its own scale"
    said = "" if bank.colour == "rgb" else ", lightness"
    ax.set_title(f"{bank.network} {bank.layer}", fontsize=_TITLE, loc="left", pad=23)
    text = f"{n} filters of {y} × {x}{said}\n{how}"
    style: dict[str, Any] = {"fontsize": _TEXT, "color": _GREY, "va": "bottom"}
    ax.annotate(text, (0, 1), (0, 3.5), xycoords="axes fraction", textcoords="offset points", **style)  # points above
    return ax


def plot_fits(fits: GaborFits, ax: Axes | None = None) -> Axes:
    """Draw how R² of filters and of noise of the same spectrum are distributed, per cent of each, and the threshold."""
    ax = _axes(ax, (3.4, 2.3))
    bins = np.linspace(min(0, float(np.nanmin(fits.r2))), 1, 26).tolist()
    r2 = fits.r2[np.isfinite(fits.r2)]
    for values, colour, label in (
        (fits.null_r2, _NULL, f"{len(fits.null_r2)} noise filters, same spectrum"),
        (r2, COLOURS[0], f"{len(r2)} filters"),
    ):
        share = np.full(len(values), 100 / len(values))
        ax.hist(values, bins, weights=share, color=colour, alpha=0.35, linewidth=0)
        ax.hist(values, bins, weights=share, color=colour, histtype="step", linewidth=1.2, label=label)
    label = f"threshold, R² = {fits.threshold:.2f}"
    ax.axvline(fits.threshold, color=_GREY, linewidth=0.8, linestyle=(0, (4, 2)), label=label)
    ax.set_xlim(bins[0], 1)
    ax.set_xlabel("R² of the Gabor fit", fontsize=_TITLE)
    ax.set_ylabel("filters (%)", fontsize=_TITLE)
    ax.tick_params(labelsize=_TEXT)
    ax.spines[["top", "right"]].set_visible(False)
    blobs = int(fits.is_blob.sum())
    more = f", {blobs} blob{'s' if blobs > 1 else ''}" if blobs else ""
    ax.set_title(f"{int(fits.is_gabor.sum())} of {len(fits.r2)} Gabor-like{more}", fontsize=_TITLE, loc="left", pad=36)
    above: dict[str, Any] = {
        "loc": "lower left",
        "bbox_to_anchor": (0, 1),
        "borderaxespad": 0.0,
    }  # bars may be anywhere
    ax.legend(frameon=False, fontsize=_TEXT, handlelength=1.4, labelspacing=0.25, **above)
    return ax


def _ordered(bank: FilterBank, order: str | Sequence[int]) -> np.ndarray:
    """Return units in the order of drawing."""
    if not isinstance(order, str):
        rows = np.asarray(order)
        if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(bank):
            raise OptionError(f"order is a list of units from 0 to {len(bank) - 1}, or one of {', '.join(_ORDERS)}")
        return rows
    if order not in _ORDERS:
        raise OptionError(f"order={order!r} is none of {', '.join(_ORDERS)}{near(order, _ORDERS)}")
    if order == "unit":
        return np.arange(len(bank))
    if order == "norm":
        return np.argsort(-np.square(bank.filters).sum((1, 2, 3)), kind="stable")
    fits = bank.fit_gabors()
    return np.lexsort((fits[order], ~fits.is_gabor))


def _grid(shown: np.ndarray) -> np.ndarray:
    """Lay filters (unit, channel, y, x) in [0, 1] out in a white grid (y, x, 3), nearly square."""
    n, channels, height, width = shown.shape
    columns = int(np.ceil(np.sqrt(n * height / width)))
    rows = int(np.ceil(n / columns))
    tall, wide = height * _ENLARGED, width * _ENLARGED
    canvas = np.ones((rows * (tall + _GAP) - _GAP, columns * (wide + _GAP) - _GAP, 3))
    for at, each in enumerate(shown):
        top, left = (at // columns) * (tall + _GAP), (at % columns) * (wide + _GAP)
        picture = np.repeat(np.repeat(each.transpose(1, 2, 0), _ENLARGED, axis=0), _ENLARGED, axis=1)
        canvas[top : top + tall, left : left + wide] = picture  # one channel spreads over the three
    return canvas


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Take the given Axes, else those of a new figure: two results in a row must not be drawn over each other."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size, layout="constrained").subplots()
