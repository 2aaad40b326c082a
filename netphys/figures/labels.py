"""Names of levels (the noise ceiling, dashed lines) where they overlap neither each other nor, if it can be, the data.

Each name stands just above or below its level, at the left, in the middle or at the right, where it covers least; where
several levels are too close for that it moves away until it is free. A white halo keeps it readable over lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["label_levels"]

_GREY = "#595959"
_SIZE = 6.0  # points
_GAP = 1.5  # points between a level and its name
_STEPS = 40  # how many places above and below a level are tried, half the height of a name apart
_FURTHER = 3.0  # what a step away from the level costs, in points of what is drawn there
_EVERY = 5.0  # pixels between the points of a level


@dataclass(frozen=True)
class _Label:
    """One name, and what it belongs to."""

    text: str
    above: float  # the level in scores that it may stand above
    below: float  # and the one that it may stand below; of the ceiling the other bound
    colour: str = "black"
    style: str = "normal"


def label_levels(ax: Axes, rows: pd.DataFrame, *, references: pd.Series, chance: float | None = None) -> Axes:
    """Name the noise ceiling and other neural data on one panel, whose limits and size are settled.

    Parameters
    ----------
    ax : matplotlib Axes
        A panel that :func:`netphys.figures.profiles.plot_scores` drew.
    rows : pandas.DataFrame
        The tidy frame (:mod:`netphys.scores`) of the panel.
    references : bool series
        Which rows are dashed lines.
    chance : float, optional
        The level of chance, named in the place of the ceiling.

    Returns
    -------
    matplotlib Axes
    """
    points, taken = _drawn(ax), list[np.ndarray]()
    for label in _labels(ax, rows[~references].iloc[0], rows[references], chance):
        taken.append(_place(ax, label, points, taken))
    return ax


def _labels(ax: Axes, row: pd.Series, references: pd.DataFrame, chance: float | None) -> Iterator[_Label]:
    """What is to be named: the ceiling first, then dashed lines from the highest on."""
    low, high = row["ceiling_low"], row["ceiling_high"]
    if np.isfinite(low):
        yield _Label(f"noise ceiling {low:.2f}–{high:.2f}", high, low, colour=_GREY)
    elif chance is None:
        reason = str(row["ceiling_rule"]).removeprefix("none: ")
        top = ax.get_ylim()[1]
        yield _Label(f"no noise ceiling: {reason}", top, top, colour=_GREY, style="italic")
    if chance is not None:
        yield _Label(f"chance {chance:.2f}", chance, chance, colour=_GREY)
    for _, each in references.sort_values("score", ascending=False).iterrows():
        score = float(each["score"])
        yield _Label(f"{each['network']}: {score:.2f}", score, score)


def _drawn(ax: Axes) -> np.ndarray:
    """What is drawn, in pixels: points along each line over layers, each bar and each level."""
    across = np.arange(ax.bbox.x0, ax.bbox.x1, _EVERY)
    found = [np.empty((0, 2))]
    for line in ax.lines:
        if line.get_transform() == ax.get_yaxis_transform():
            level = ax.transData.transform(np.array([0.0, np.asarray(line.get_ydata())[0]]))[1]
            found.append(np.stack([across, np.full(len(across), level)], axis=1))
    lines = [line.get_xydata() for line in ax.lines if line.get_transform() == ax.transData]
    bars = [segment for each in ax.collections if hasattr(each, "get_segments") for segment in each.get_segments()]
    for corners in [each for each in (*lines, *bars) if len(each)]:  # a bar without an interval has no corners
        at = np.linspace(0, len(corners) - 1, 20 * len(corners))
        steps = np.arange(len(corners))
        along = np.stack([np.interp(at, steps, np.asarray(corners)[:, axis]) for axis in (0, 1)], axis=1)
        found.append(ax.transData.transform(along[np.isfinite(along).all(axis=1)]))
    return np.concatenate(found)


def _place(ax: Axes, label: _Label, points: np.ndarray, taken: list[np.ndarray]) -> np.ndarray:
    """Write one name at its best place; return its box (x0, y0, x1, y1) in pixels."""
    from matplotlib.patheffects import withStroke

    text = ax.text(0, 0, label.text, fontsize=_SIZE, color=label.colour, style=label.style, zorder=5)
    text.set_path_effects([withStroke(linewidth=1.8, foreground="white")])
    text.set_in_layout(False)
    size = text.get_window_extent()
    boxes = list(_places(ax, label, np.array([size.width, size.height])))
    costs = [_cost(box, step, ax, points, taken) for step, box in boxes]
    box = boxes[int(np.argmin(costs))][1]
    text.set(position=ax.transAxes.inverted().transform((box[0], box[1])), transform=ax.transAxes, va="bottom")
    return box


def _places(ax: Axes, label: _Label, size: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield boxes from the nearest to the level on, with how many steps they are away."""
    panel, pixels = ax.bbox, ax.figure.dpi / 72
    margin = 0.02 * panel.width
    lefts = (panel.x0 + margin, (panel.x0 + panel.x1 - size[0]) / 2, panel.x1 - margin - size[0])
    above, below = (ax.transData.transform((0, level))[1] for level in (label.above, label.below))
    for step in range(_STEPS):
        away = _GAP * pixels + step * size[1] / 2
        for bottom in (above + away, below - away - size[1]):
            for left in lefts:
                corner = np.array([left, bottom])
                yield step, np.concatenate([corner, corner + size])


def _cost(box: np.ndarray, step: int, ax: Axes, points: np.ndarray, taken: list[np.ndarray]) -> float:
    """Say how bad a place is: never over another name or outside the panel, if possible not over data."""
    outside = box[1] < ax.bbox.y0 or box[3] > ax.bbox.y1
    others = sum(box[0] < each[2] and each[0] < box[2] and box[1] < each[3] and each[1] < box[3] for each in taken)
    covered = ((points >= box[:2]) & (points <= box[2:])).all(axis=1).sum() if len(points) else 0
    return 1e6 * others + 1e4 * outside + covered + _FURTHER * step
