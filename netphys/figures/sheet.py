"""A contact sheet of stimuli: pictures, pairs, clips, sounds or texts in rows, with captions where they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import OptionError, near
from netphys.figures.style import PAGE, paper_style
from netphys.stimuli.drawing import draw_stimulus

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from netphys.stimuli import StimulusSet

__all__ = ["sheet_figure"]

_CAPTION = 0.12  # inches below a stimulus


def sheet_figure(
    stimuli: StimulusSet, *, n: int = 60, columns: int = 12, caption: str | None = None, field: str | None = None
) -> Figure:
    """Show stimuli as a sheet: all of them, or `n` spread evenly over a larger set.

    Parameters
    ----------
    stimuli : StimulusSet
        What is shown.
    n, columns : int
        How many, and how many in a row.
    caption : str, optional
        A column of the metadata (``stimulus_id``, ``category``) that is written below each stimulus.
    field : str, optional
        What is drawn of a stimulus. Default: its image, else its pair, clip, text or sound.

    Raises
    ------
    OptionError
        If there is no such column, or nothing would be on the sheet.
    """
    from matplotlib.figure import Figure

    metadata = stimuli.metadata
    if n < 1 or columns < 1:
        raise OptionError(f"n={n}, columns={columns}: a sheet has at least 1 stimulus")
    if caption is not None and caption not in metadata:
        raise OptionError(f"{stimuli.name} has no column {caption!r}{near(caption, map(str, metadata.columns))}")
    places = np.unique(np.linspace(0, len(stimuli) - 1, min(n, len(stimuli))).round().astype(int))
    columns = min(columns, len(places))
    rows = -(-len(places) // columns)
    side = PAGE / max(columns, 3)
    below = _CAPTION if caption else 0.0
    width, height = side * columns, (side + below) * rows
    with paper_style():
        figure = Figure(figsize=(width, height))
        for index, place in enumerate(places):
            row, column = divmod(index, columns)
            bottom = 1 - (row + 1) * (side + below) / height
            box = (column * side / width, bottom + below / height, side / width, side / height)
            ax = figure.add_axes(_within(box, 0.015))
            draw_stimulus(stimuli, int(place), ax, field=field)
            if caption:
                words = _short(metadata[caption].iloc[place], side)
                middle, line = (column + 0.5) * side / width, bottom + 0.93 * below / height
                figure.text(middle, line, words, ha="center", va="top", fontsize=5, parse_math=False)
    return figure


def _within(box: tuple[float, float, float, float], share: float) -> tuple[float, float, float, float]:
    """Shrink a box about its middle."""
    left, bottom, width, height = box
    return (left + share * width, bottom + share * height, (1 - 2 * share) * width, (1 - 2 * share) * height)


def _short(value: object, inches: float) -> str:
    """Shorten a caption to what fits below a stimulus; numbers to four digits."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    room = max(int(inches * 24), 4)  # characters of 5 points
    return text if len(text) <= room else f"{text[: room - 1]}…"
