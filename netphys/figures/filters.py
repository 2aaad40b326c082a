"""First-layer filters of several networks side by side; each grid is drawn by the units room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from netphys.figures.style import PAGE, paper_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from netphys.units.filters import FilterBank

__all__ = ["filters_figure"]


def filters_figure(banks: Mapping[str, FilterBank], *, columns: int = 4) -> Figure:
    """Arrange one grid of filters a network, each with a scale of its own, symmetric about 0.

    Parameters
    ----------
    banks : mapping
        Network → :class:`netphys.units.filters.FilterBank`.
    columns : int
        How many in a row.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(banks))
    rows = -(-len(banks) // columns)
    side = PAGE / max(columns, 3)
    with paper_style():
        figure = Figure(figsize=(side * columns, (side + 0.3) * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, (name, bank) in zip(axes.flat, banks.items()):
            bank.plot(ax)
            for text in list(ax.texts):
                text.remove()  # the caption says it once for all
            ax.set_title(f"{name} (±{np.abs(bank.filters).max():.2g})", loc="left", fontsize=7, pad=3)
    return figure
