"""A contact sheet of stimuli: pictures, pairs, clips, sounds or texts in rows, with captions where they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, near
from netphys.figures.style import PAGE, paper_style
from netphys.stimuli.drawing import draw, pictures_of, shown_field

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from netphys.stimuli import StimulusSet

__all__ = ["sheet_figure"]

_CAPTION = 0.13  # inches below a stimulus
_FOOT = 0.16  # inches for the line that says what is on the sheet
_COLUMNS = {"image": 12, "left": 6, "clip": 3, "text": 5, "sound": 8}  # wide things want wide cells
_FLAT = 0.4  # height over width of a waveform's or a text's cell
_GAP = 0.03  # of a cell's width
_FILLED = 0.9  # of it by a caption: letters are a little wider where a figure is saved at another resolution


def sheet_figure(
    stimuli: StimulusSet,
    *,
    n: int = 60,
    columns: int | None = None,
    caption: str | None = None,
    field: str | None = None,
) -> Figure:
    """Show stimuli as a sheet: all of them, or `n` spread evenly over a larger set.

    Parameters
    ----------
    stimuli : StimulusSet
        What is shown.
    n, columns : int
        How many, and how many in a row; the default is by what is shown, 12 for images.
    caption : str, optional
        A column of the metadata (``stimulus_id``, ``category``) that is written below each stimulus.
    field : str, optional
        What is drawn of a stimulus. Default: its image, else its pair, clip, text or sound.

    Raises
    ------
    OptionError
        If there is no such column, or nothing would be on the sheet.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metadata, field = stimuli.metadata, field or shown_field(stimuli)
    if n < 1 or (columns is not None and columns < 1):
        raise OptionError(f"n={n}, columns={columns}: a sheet has at least 1 stimulus")
    if caption is not None and caption not in metadata:
        raise OptionError(f"{stimuli.name} has no column {caption!r}{near(caption, map(str, metadata.columns))}")
    places = np.unique(np.linspace(0, len(stimuli) - 1, min(n, len(stimuli))).round().astype(int))
    pictures = pictures_of(stimuli, places, field)
    columns = min(columns or _COLUMNS.get(field, 12), len(places))
    rows, side, said = -(-len(places) // columns), PAGE / max(columns, 3), _said(stimuli, field, len(places))
    below, foot = _CAPTION if caption else 0.0, _FOOT if said else 0.0
    cell = side * max(_aspect(each) for each in pictures) + _GAP * side
    width, height = side * columns, (cell + below) * rows + foot
    with paper_style():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)  # measures captions
        for index, (place, drawn) in enumerate(zip(places, pictures, strict=True)):
            row, column = divmod(index, columns)
            top = height - row * (cell + below)
            left, bottom = column * side + _GAP / 2 * side, top - cell
            inside = (left / width, bottom / height, (1 - _GAP) * side / width, (cell - _GAP * side) / height)
            draw(drawn, figure.add_axes(inside))
            if caption:
                at = ((column + 0.5) * side / width, (bottom - 0.01) / height)
                _write(figure, at, metadata[caption].iloc[place], (1 - _GAP) * side)
        if said:
            figure.text(0.5, 0.03 / height, said, ha="center", va="bottom", fontsize=5.5, color="0.35")
    return figure


def _aspect(drawn: np.ndarray | str) -> float:
    """Height over width of what is drawn."""
    return _FLAT if isinstance(drawn, str) or drawn.ndim == 1 else drawn.shape[0] / drawn.shape[1]


def _said(stimuli: StimulusSet, field: str, n: int) -> str:
    """Say what a sheet leaves out; nothing where it shows all."""
    parts = [f"{n} of {len(stimuli)} stimuli, spread evenly over the set"] * (n < len(stimuli))
    if field == "clip":
        n_frames = len(stimuli.get([0], field)[0])
        parts += [f"4 of {n_frames} frames of each clip, the first to the last, from left to right"] * (n_frames > 4)
    return "; ".join(parts)


def _write(figure: Figure, at: tuple[float, float], value: object, inches: float) -> None:
    """Write a caption, shortened in its middle to what fits; of a path the file's name is kept."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    written = figure.text(*at, text, ha="center", va="top", fontsize=5, parse_math=False)
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]

    def fits() -> bool:
        return bool(written.get_window_extent(renderer).width <= _FILLED * inches * figure.dpi)

    if not fits() and "/" in text:
        text = text.rsplit("/", 1)[1]
        written.set_text(text)
    room = len(text) - 1
    while not fits() and room > 2:
        written.set_text(f"{text[: -(-room // 2)]}…{text[len(text) - room // 2 :]}")
        room -= 1
