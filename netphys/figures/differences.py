"""What training changed: differences between trained networks and their untrained twins, layer by layer.

One panel a set of neural data or probe, each with its own measure; zero is no difference. Bands are 95 % intervals of
the paired difference; filled markers: it differs from 0 at a false discovery rate of 5 % over the layers of a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from netphys.colours import colours_of
from netphys.figures.style import PAGE, paper_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["differences_figure"]

_GREY = "#595959"


def differences_figure(table: pd.DataFrame, *, colours: Mapping[str, str] | None = None) -> Figure:
    """Arrange one panel a dataset.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``network, control, layer, layer_index, dataset, measure, difference, ci_low, ci_high, p_adjusted``.
    colours : mapping, optional
        Network → colour; give those of the other figures.
    """
    from matplotlib.figure import Figure

    panels = list(table.groupby("dataset", sort=False))
    names = list(dict.fromkeys(table["network"]))
    colours = colours or colours_of(names)
    with paper_style():
        figure = Figure(figsize=(min(PAGE, 0.7 + 2.4 * len(panels)), 2.7), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, (title, rows) in zip(axes, panels):
            _draw(ax, rows, colours)
            ax.set_title(str(title), loc="left", fontsize=8, fontweight="bold")
            ax.set_ylabel(f"Δ {_measure(str(rows['measure'].iloc[0]))}", fontsize=7)
        _legend(figure, names, colours, str(table["control"].iloc[0]) if table["control"].nunique() == 1 else "control")
    return figure


def _draw(ax: Axes, rows: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Draw the networks of one panel over their layers."""
    order = rows.sort_values("layer_index").drop_duplicates("layer")["layer"].tolist()
    place = {layer: at for at, layer in enumerate(order)}
    ax.axhline(0, color=_GREY, linewidth=0.6, zorder=1)
    for name, own in rows.groupby("network", sort=False):
        x = np.array([place[layer] for layer in own["layer"]], dtype=float)
        colour = colours[str(name)]
        ax.fill_between(
            x, own["ci_low"].astype(float), own["ci_high"].astype(float), color=colour, alpha=0.16, linewidth=0
        )
        ax.plot(x, own["difference"], color=colour, linewidth=1.1, zorder=3)
        faces = [colour if p <= 0.05 else "white" for p in own["p_adjusted"]]
        ax.scatter(x, own["difference"], s=12, c=faces, edgecolors=colour, linewidths=0.8, zorder=4)
    ax.set_xticks(range(len(order)), order, rotation=90, fontsize=6)
    ax.tick_params(axis="both", width=0.5, length=2, pad=1.5)
    ax.tick_params(axis="y", labelsize=7)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _measure(measure: str) -> str:
    """Shorten a measure to an axis label."""
    return measure.split(" of ")[0]


def _legend(figure: Figure, names: list[str], colours: Mapping[str, str], control: str) -> None:
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=colours[name], label=f"{name} − {control}", marker="o", markersize=3.5, linewidth=1.1)
        for name in names
    ]
    figure.legend(
        handles=lines, loc="outside lower center", ncols=min(len(lines), 3), frameon=False, fontsize=7, handlelength=1.6
    )
