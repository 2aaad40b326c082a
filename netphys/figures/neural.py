"""A set of neural data at a glance: the panels that it has of itself, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netphys.figures.style import COLUMN, PAGE, paper_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["neural_figure"]


def neural_figure(understood: Any) -> Figure:
    """Arrange the panels of :class:`netphys.neural.Understanding` in rows of two.

    Parameters
    ----------
    understood : Understanding
        What was understood of neural data; one that could not be read has nothing to draw and says so.
    """
    from matplotlib.figure import Figure

    panels = understood.panels()
    columns = min(len(panels), 2) if len(panels) != 3 else 3
    rows = -(-len(panels) // columns)
    with paper_style():
        figure = Figure(figsize=(PAGE if columns > 1 else COLUMN, 2.5 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for letter, ax, (title, draw) in zip("ABCDEF", axes, panels):
            draw(ax)
            ax.set_title(f"{letter}  {title}", loc="left", fontsize=8, fontweight="bold")
        for ax in list(axes)[len(panels) :]:
            ax.set_axis_off()
        figure.suptitle(understood.title, fontsize=8, x=0.01, ha="left")
    return figure
