"""Figures of several panels: agreement layer by layer, RDMs side by side.

Each returns a matplotlib Figure made without pyplot, so that nothing global is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.colours import colours_of
from netphys.figures.labels import label_levels
from netphys.figures.profiles import DEEP, plot_scores
from netphys.figures.style import COLUMN, PAGE, paper_style
from netphys.rsa.comparison import MEASURE_NAMES
from netphys.rsa.drawing import agreement_label, plot_rdm

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["agreement_figure", "rdm_figure", "result_figure"]


def agreement_figure(
    scores: pd.DataFrame,
    *,
    references: str = "neural",
    ylabel: str | None = None,
    colours: Mapping[str, str] | None = None,
    chance: float | Mapping[str, float] | None = None,
) -> Figure:
    """Arrange one panel a set of neural data (or a probe): every network layer by layer, references, the noise ceiling.

    Parameters
    ----------
    scores : pandas.DataFrame
        The tidy frame (:mod:`netphys.scores`); one panel a value of ``dataset``.
    references : str
        The value of ``training`` that marks rows to be drawn as dashed lines.
    ylabel : str, optional
        Default: the measure.
    colours : mapping, optional
        Network → colour, where a network keeps its colour over several figures. Default: by order of appearance.
    chance : float or mapping, optional
        The score that says nothing, of measures whose level is not 0 (the accuracy of a probe): a dotted line, in the
        place of a noise ceiling that such measures do not have; filled markers are above it. A mapping gives it by
        ``dataset``, where panels have several measures; each then has its own scale.
    """
    from matplotlib.figure import Figure

    panels = list(scores.groupby("dataset", sort=False))
    is_network = scores["training"] != references
    networks = list(dict.fromkeys(scores.loc[is_network, "network"]))
    colours = colours_of(networks) if colours is None else colours
    with paper_style():
        figure = Figure(figsize=(min(PAGE, 0.9 + 3.0 * len(panels)), 3.1), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        before = ""
        for ax, (title, rows) in zip(axes, panels):
            marks = rows["training"] == references
            plot_scores(rows[~marks], ax, colours=colours, references=rows[marks], chance=_of(chance, str(title)))
            ax.set_title(str(title), loc="left", fontsize=8, fontweight="bold")
            measure = str(rows["measure"].iloc[0])
            ax.set_ylim(*_limits(scores[scores["measure"] == measure]))  # panels of one measure have one scale
            if measure == before:
                ax.tick_params(labelleft=False)
            else:
                ax.set_ylabel(ylabel or _measure(measure))
            before = measure
        layers = scores[is_network].groupby("network", sort=False)["layer"].nunique()
        _legend(figure, sorted(networks, key=lambda name: layers[name] < DEEP), colours)
        figure.draw_without_rendering()  # settles the layout: only now is known how much room words have
        for ax, (title, rows) in zip(axes, panels):
            label_levels(ax, rows, references=rows["training"] == references, chance=_of(chance, str(title)))
    return figure


def rdm_figure(
    entries: Sequence[tuple[str, Any]], *, groups: Sequence[str] | Mapping[str, str] | None, columns: int = 4
) -> Figure:
    """Arrange RDMs side by side, sorted by category, one colour scale.

    Parameters
    ----------
    entries : sequence of (title, RDM)
        As :func:`netphys.rsa.plot_rdm` takes them.
    groups : sequence or mapping, optional
        Category of each stimulus.
    columns : int
        How many in a row.
    """
    from matplotlib.figure import Figure

    rows = -(-len(entries) // columns)
    columns = -(-len(entries) // rows)  # rows of equal length, as far as it goes
    with paper_style():
        margins = 1.15 + 0.55  # inches: names at the left, the scale at the right
        side = (PAGE - margins) / max(columns, 3)
        width, height = margins + side * columns, (side + 0.36) * rows + 0.06
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(
            left=1.15 / width,
            right=1 - 0.55 / width,
            bottom=0.06 / height,
            top=1 - 0.36 / height,
            wspace=0.07,
            hspace=0.24,
        )
        axes = figure.subplots(rows, columns, squeeze=False)
        for index, ax in enumerate(axes.flat):
            if index >= len(entries):
                ax.set_axis_off()
                continue
            title, rdm = entries[index]
            plot_rdm(rdm, ax, groups=groups or None, names=index % columns == 0, scale=index == columns - 1)
            ax.set_title(title, fontsize=7, linespacing=1.1, pad=3)
    return figure


def result_figure(result: Any, *, width: float = COLUMN, height: float | None = None) -> Figure:
    """Draw one result on one panel.

    Parameters
    ----------
    result : object with ``plot(ax)``
        What is shown.
    width, height : float
        Inches. Default: one column of a page, and not quite as high.
    """
    from matplotlib.figure import Figure

    with paper_style():
        figure = Figure(figsize=(width, 0.88 * width if height is None else height), layout="constrained")
        result.plot(figure.add_subplot())
    return figure


def _of(chance: float | Mapping[str, float] | None, dataset: str) -> float | None:
    """Return the level of chance of one panel."""
    return chance.get(dataset) if isinstance(chance, Mapping) else chance


def _measure(measure: str) -> str:
    """Write a measure as an axis label."""
    method = measure.split(" of ")[0]
    label = agreement_label(method) if method in MEASURE_NAMES else measure.replace("_", " ")
    return label[:1].upper() + label[1:]


def _limits(scores: pd.DataFrame) -> tuple[float, float]:
    """From below the lowest of what is drawn to above the highest, with room for its words."""
    drawn = scores[["score", "ci_low", "ci_high", "ceiling_high"]].to_numpy(dtype=float)
    low, high = min(0.0, float(np.nanmin(drawn))), float(np.nanmax(drawn))
    return low - 0.04 * (high - low), high + 0.08 * (high - low)


def _legend(figure: Figure, names: Sequence[str], colours: Mapping[str, str]) -> None:
    """One legend for all panels, below them."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=colours[name], label=name, marker="o", markersize=3.5, linewidth=1.1) for name in names
    ]
    figure.legend(
        handles=lines, loc="outside lower center", ncols=min(len(lines), 4), frameon=False, fontsize=7, handlelength=1.6
    )
