"""Learning curves side by side: each training draws its own loss, beside what those reach who learn nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from netphys.figures.style import PAGE, paper_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from netphys.training import TrainingResult

__all__ = ["curves_figure"]


def curves_figure(results: Mapping[str, TrainingResult], *, columns: int = 3) -> Figure:
    """Arrange one panel a trained network.

    Parameters
    ----------
    results : mapping
        Network → :class:`netphys.training.TrainingResult`.
    columns : int
        How many in a row.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(results))
    rows = -(-len(results) // columns)
    with paper_style():
        figure = Figure(figsize=(min(PAGE, 0.4 + 2.3 * columns), 2.1 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax in axes.flat:
            ax.set_visible(False)
        for ax, (name, result) in zip(axes.flat, results.items()):
            ax.set_visible(True)
            result.plot(ax)
            ax.set_title(name, loc="left", fontsize=8, fontweight="bold")
    return figure
