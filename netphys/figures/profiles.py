"""Scores layer by layer from the tidy frame, several networks on one Axes, beside the noise ceiling.

Networks of one or two layers (pixels, Gabor energy) stand at the left as points, deep ones follow as lines over their
layers; other neural data taken as a model are dashed lines. Filled markers: above 0 (or chance) at a false discovery
rate of 5 % over everything in the panel. Works for any comparison that leaves the tidy frame. What the levels are
called is written by :mod:`netphys.figures.labels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.inference import above_zero

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["DEEP", "plot_scores"]

DEEP = 3  # layers; fewer make no line
_BAND, _GREY = "#E3E3E3", "#595959"
_SMALLER, _SMALL, _PLAIN = 4.6, 6.0, 7.0  # points
_MANY = 18  # layers on one panel, from which their names would touch


def plot_scores(
    scores: pd.DataFrame,
    ax: Axes,
    *,
    colours: Mapping[str, str],
    references: pd.DataFrame | None = None,
    chance: float | None = None,
) -> Axes:
    """Draw several networks' scores on the same data.

    Parameters
    ----------
    scores : pandas.DataFrame
        The tidy frame (:mod:`netphys.scores`) of one set of data and one measure.
    ax : matplotlib Axes
        Where.
    colours : mapping
        Network → colour.
    references : pandas.DataFrame, optional
        One row each: other neural data, or the truth of simulated data, taken as a model.
    chance : float, optional
        The score that says nothing, where that is not 0: a dotted line. The column ``p`` is against it.

    Returns
    -------
    matplotlib Axes
    """
    networks = {str(name): rows for name, rows in scores.groupby("network", sort=False)}
    columns = _Columns(networks)
    found = dict(zip(scores.index, above_zero(scores["p"].to_numpy(dtype=float))))
    ax.axhline(0, color=_GREY, linewidth=0.5, zorder=1)
    for name, rows in networks.items():
        _draw(ax, columns.of(name), rows, [found[each] for each in rows.index], colours[name])
    columns.name(ax)
    low, high = scores["ceiling_low"].iloc[0], scores["ceiling_high"].iloc[0]
    if np.isfinite(low):
        ax.axhspan(low, high, color=_BAND, linewidth=0, zorder=0)
    if chance is not None:
        ax.axhline(chance, color=_GREY, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=2)
    for score in references["score"].astype(float) if references is not None else ():
        ax.axhline(score, color="black", linewidth=0.8, linestyle=(0, (4, 2)), zorder=2)
    ax.tick_params(axis="y", labelsize=_PLAIN, width=0.5, length=2)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


class _Columns:
    """Which place on the x axis each layer of each network has."""

    def __init__(self, networks: Mapping[str, pd.DataFrame]) -> None:
        self._layers = {name: tuple(rows["layer"]) for name, rows in networks.items()}
        self._starts: dict[tuple[str, ...], float] = {}
        self._labels: list[tuple[float, str]] = []
        at = 0.0
        for name in sorted(self._layers, key=self._is_deep):  # a stable sort: shallow ones first
            key, layers = self._key(name), self._layers[name]
            if key in self._starts:
                continue  # a twin with the same layers shares their places
            if self._starts and self._is_deep(name):
                at += 0.6
            self._starts[key] = at
            self._labels += [(at + i, name if len(layers) == 1 else layer) for i, layer in enumerate(layers)]
            at += len(layers)
        self._end = at

    def _is_deep(self, name: str) -> bool:
        return len(self._layers[name]) >= DEEP

    def _key(self, name: str) -> tuple[str, ...]:
        return self._layers[name] if self._is_deep(name) else (name, *self._layers[name])

    def of(self, name: str) -> np.ndarray:
        """Return the places of a network's layers."""
        return self._starts[self._key(name)] + np.arange(len(self._layers[name]))

    def name(self, ax: Axes) -> None:
        """Write the layers' names."""
        size = _SMALL if len(self._labels) <= _MANY else _SMALLER
        ax.set_xticks([at for at, _ in self._labels], [name for _, name in self._labels], rotation=90, fontsize=size)
        ax.tick_params(axis="x", width=0.5, length=2, pad=1.5)
        ax.set_xlim(-0.6, self._end - 0.4)


def _draw(ax: Axes, x: np.ndarray, rows: pd.DataFrame, found: Sequence[bool], colour: str) -> None:
    """Draw one network: a line over its layers, or points; hollow markers where it is not above 0."""
    score, low, high = (rows[column].to_numpy(dtype=float) for column in ("score", "ci_low", "ci_high"))
    if len(x) >= DEEP:
        ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)
        ax.plot(x, score, color=colour, linewidth=1.1, zorder=3)
    else:
        ax.vlines(x, low, high, color=colour, linewidth=1.0, zorder=3)
    faces = [colour if each else "white" for each in found]
    ax.scatter(x, score, s=12, c=faces, edgecolors=colour, linewidths=0.8, zorder=4)
