"""How probes are drawn, each on one Axes; no global style is read or set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from netphys.colours import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from netphys.probes.layers import ProbeResult

__all__ = ["plot_confusion", "plot_layers"]

_GREY = "#595959"
_SMALL, _PLAIN, _LARGE = 6.0, 7.0, 8.0  # points
_WRITTEN = 12  # classes, up to which each share is written in its cell


class Confused(Protocol):
    """What is drawn: :class:`netphys.probes.LinearProbe` is one."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def confusion(self) -> np.ndarray: ...

    @property
    def accuracy(self) -> float: ...


def plot_layers(result: ProbeResult, ax: Axes | None = None) -> Axes:
    """Draw accuracy layer by layer, its 95 % interval, and the chance line."""
    ax = _axes(ax)
    frame, x = result.to_frame(), np.arange(len(result.layers))
    ax.fill_between(x, frame["ci_low"], frame["ci_high"], color=COLOURS[0], alpha=0.18, linewidth=0)
    ax.plot(x, frame["score"], color=COLOURS[0], linewidth=1.1, marker="o", markersize=3.5)
    if len(x) == 1:  # a band of one layer has no width
        ax.vlines(x, frame["ci_low"], frame["ci_high"], color=COLOURS[0], linewidth=1.0)
    ax.axhline(result.chance, color=_GREY, linewidth=0.8, linestyle=(0, (1, 1.5)))
    ax.annotate(
        f"chance {result.chance:.2f}", (0.98, result.chance), xycoords=("axes fraction", "data"), xytext=(0, 2),
        textcoords="offset points", ha="right", fontsize=_SMALL, color=_GREY,
    )  # fmt: skip
    ax.set_xticks(x, result.layers, rotation=90, fontsize=_SMALL)
    ax.set_xlim(-0.5, len(x) - 0.5)
    ax.set_ylim(0, 1.02)
    ax.set_ylabel(f"{result.label}: share told right", fontsize=_LARGE)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def plot_confusion(probe: Confused, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix: of each class (row) the percentage of each answer (column)."""
    ax = _axes(ax)
    counts = probe.confusion.sum(1)
    shares = 100 * probe.confusion / np.maximum(counts, 1)[:, None]
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    n = len(probe.classes)
    size = _PLAIN if n <= _WRITTEN else max(4.0, _PLAIN * _WRITTEN / n)
    ax.set_xticks(range(n), probe.classes, rotation=90, fontsize=size)
    ax.set_yticks(range(n), _with_counts(probe.classes, counts), fontsize=size)
    ax.tick_params(length=0)
    ax.set_xlabel("answer of the probe", fontsize=_LARGE)
    ax.set_ylabel("class (test stimuli)", fontsize=_LARGE)
    if n <= _WRITTEN:
        for row, column in np.ndindex(n, n):
            value = shares[row, column]
            if value >= 0.5:
                shade = "white" if value > 55 else "black"
                ax.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=_SMALL, color=shade)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03, ticks=[0, 50, 100])
    bar.set_label("% of the class", fontsize=_PLAIN)
    bar.ax.tick_params(labelsize=_SMALL, width=0.5, length=2)
    bar.outline.set_linewidth(0.5)
    return ax


def _with_counts(classes: Sequence[str], counts: np.ndarray) -> list[str]:
    return [f"{name} ({n})" for name, n in zip(classes, counts)]


def _axes(ax: Axes | None) -> Axes:
    """Return the given Axes, or those of a new figure outside pyplot."""
    if ax is not None:
        return ax
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()
