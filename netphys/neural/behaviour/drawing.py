"""How behaviour is drawn, each result on one Axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.colours import COLOURS
from netphys.neural.telling.drawing import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from netphys.neural.behaviour.choices import Signature
    from netphys.neural.behaviour.confusion import Confusion
    from netphys.neural.behaviour.consistency import Consistency

__all__ = ["draw_confusion", "draw_consistency", "draw_signature"]

_NONE = "#D9D9D9"  # pairs without a number
_SMALL = 6.0  # points
_NAMED = 30  # objects whose names fit beside a map


def draw_confusion(result: Confusion, row: int | None, ax: Axes | None) -> Axes:
    """Rates as a heat map from 0; cells on the diagonal, which are right, are framed."""
    ax = ax if ax is not None else new_axes()
    rates = result.rates[row] if row is not None else _mean(result.rates)
    image = ax.imshow(rates, cmap="viridis", vmin=0, vmax=max(float(np.nanmax(rates)), 1e-12), interpolation="nearest")
    ax.set_facecolor(_NONE)
    from matplotlib.patches import Rectangle

    for at in range(len(rates)):
        ax.add_patch(Rectangle((at - 0.5, at - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=0.6))
    _names(ax, result.objects, result.objects)
    ax.set(xlabel="choice", ylabel="object")
    ax.figure.colorbar(image, ax=ax, shrink=0.8).set_label("share of trials")
    return ax


def draw_signature(result: Signature, ax: Axes | None) -> Axes:
    """A map of pairs with grey where there is no task, or values by object."""
    ax = ax if ax is not None else new_axes()
    label = "d′" if result.kind[-1] != "n" else "d′ less the object's mean"
    if result.values.ndim == 2:
        _map(result, ax, label)
    elif result.kind == "o1":
        at = np.arange(len(result.choices))
        ax.plot(at, result.values, "o", color=COLOURS[0], markersize=4)
        _ticks(ax, "x", result.choices)
        ax.set(ylabel=label, xlabel="object")
    else:
        _by_object(result, ax)
        ax.set(ylabel=label.replace("d′", "d′ of images"), xlabel="object")
    return ax


def _map(result: Signature, ax: Axes, label: str) -> None:
    """Images (sorted by object) or objects, against distractors; colours around 0 where some are below."""
    rows = np.arange(len(result.values))
    names: Sequence[str] = result.choices
    if result.kind[0] == "i":
        where = np.array([result.choices.index(each) for each in result.objects])
        rows = np.argsort(where, kind="stable")
    top = float(np.nanmax(np.abs(result.values)))
    less = result.kind.endswith("n") or bool((result.values < 0).any())
    image = ax.imshow(
        result.values[rows],
        cmap="RdBu_r" if less else "viridis",
        vmin=-top if less else 0,
        vmax=top,
        aspect="auto",
        interpolation="nearest",
    )
    ax.set_facecolor(_NONE)
    if result.kind[0] == "i":
        edges = np.flatnonzero(np.diff(where[rows])) + 0.5
        ax.hlines(edges, -0.5, len(result.choices) - 0.5, color="black", linewidth=0.3)
        bounds = np.concatenate([[-0.5], edges, [len(rows) - 0.5]])
        shown = [result.choices[each] for each in dict.fromkeys(where[rows].tolist())]
        _ticks(ax, "y", shown, (bounds[:-1] + bounds[1:]) / 2)
        ax.set_ylabel(f"{len(rows)} images, by object")
    else:
        _ticks(ax, "y", names)
        ax.set_ylabel("object")
    _ticks(ax, "x", names)
    ax.set_xlabel("distractor")
    ax.figure.colorbar(image, ax=ax, shrink=0.8).set_label(label)


def _by_object(result: Signature, ax: Axes) -> None:
    """One dot an image, in the column of its object; a bar at the object's mean."""
    where = np.array([result.choices.index(each) for each in result.objects])
    for at in range(len(result.choices)):
        values = np.sort(result.values[where == at])
        if not len(values):
            continue
        ax.plot(at + np.linspace(-0.25, 0.25, len(values)), values, "o", color=COLOURS[0], markersize=2.5, mew=0)
        ax.plot([at - 0.35, at + 0.35], [np.nanmean(values)] * 2, color=COLOURS[2], linewidth=1)
    _ticks(ax, "x", result.choices)


def draw_consistency(result: Consistency, ax: Axes | None) -> Axes:
    """Draw one signature against the other, with the correlation and what it is without noise."""
    ax = ax if ax is not None else new_axes()
    n = len(result.values_a)
    ax.plot(
        result.values_a, result.values_b, "o", color=COLOURS[0], mew=0, alpha=float(np.clip(60 / n, 0.15, 0.8)),
        markersize=3, rasterized=n > 2000,
    )  # fmt: skip
    both = np.concatenate([result.values_a, result.values_b])
    edge = 0.05 * max(float(np.ptp(both)), 1e-12)
    ends = (float(both.min()) - edge, float(both.max()) + edge)
    ax.plot(ends, ends, color=COLOURS[2], linewidth=0.8, linestyle="--")
    ax.set(xlim=ends, ylim=ends, xlabel=f"{result.kind} of the first (d′)", ylabel=f"{result.kind} of the second (d′)")
    ax.set_title(f"r = {result.correlation:.2f}; without noise {result.score:.2f}", fontsize="medium")
    return ax


def _mean(rates: np.ndarray) -> np.ndarray:
    """Mean over subjects, of those that have a value."""
    there = np.isfinite(rates)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(there, rates, 0.0).sum(axis=0) / there.sum(axis=0)


def _names(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Write names at both sides of a map, where they fit."""
    _ticks(ax, "y", rows)
    _ticks(ax, "x", columns)


def _ticks(ax: Axes, side: str, names: Sequence[str], at: np.ndarray | None = None) -> None:
    """Write names along one side; none where they are too many."""
    places = np.arange(len(names)) if at is None else at
    if len(names) > _NAMED:
        places, names = places[:0], ()
    size = None if len(names) <= 8 else _SMALL
    short = [each if len(each) <= 24 else f"{each[:23]}…" for each in names]
    if side == "x":
        turned = len(names) > 6 or max((len(each) for each in short), default=0) > 8
        ax.set_xticks(places, short, rotation=90 if turned else 0, fontsize=size)
    else:
        ax.set_yticks(places, short, fontsize=size)
