"""One stimulus on one Axes, be it a picture, a pair, frames of a clip, a waveform or a text; and a set as HTML."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.stimuli.summary import column_summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from netphys.stimuli import StimulusSet

__all__ = ["draw", "draw_stimulus", "html_of", "pictures_of", "shown_field"]

_FRAMES = 4  # of a clip that are drawn, from left to right
_THUMBNAILS = 10
_SIDE = 96  # pixels of a thumbnail in a notebook
_GAP = 2  # pixels between the two of a pair, or the frames of a clip


def shown_field(stimuli: StimulusSet) -> str:
    """Return the field that is drawn where nobody says which."""
    fields = stimuli.fields
    return next((each for each in ("image", "left", "clip", "text", "sound") if each in fields), fields[0])


def pictures_of(stimuli: StimulusSet, indices: Any, field: str | None = None) -> list[np.ndarray | str]:
    """Return what is drawn of some stimuli: pictures float (y, x, 3) in [0, 1], waves (samples,), or texts.

    A pair (fields ``left`` and ``right``) is one picture, the two side by side; a clip is one picture of four frames,
    from left to right. Numbers in a map are scaled from their least to their largest.
    """
    field = field or shown_field(stimuli)
    if field == "left" and "right" in stimuli.fields:
        pairs = zip(stimuli.get(indices, "left"), stimuli.get(indices, "right"), strict=True)
        return [_beside([_picture(left), _picture(right)]) for left, right in pairs]
    return [_drawn(each) for each in stimuli.get(indices, field)]


def draw_stimulus(stimuli: StimulusSet, index: int = 0, ax: Axes | None = None, *, field: str | None = None) -> Axes:
    """Draw one stimulus.

    Parameters
    ----------
    stimuli : StimulusSet
        The set.
    index : int
        Position in it.
    ax : Axes, optional
        Where. Default: a figure of its own.
    field : str, optional
        What of it. Default: the image, else the pair, the clip, the text, the sound.

    Returns
    -------
    Axes
    """
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(2, 2), layout="constrained").add_subplot()
    return draw(pictures_of(stimuli, [index], field)[0], ax)


def draw(drawn: np.ndarray | str, ax: Axes) -> Axes:
    """Draw what :func:`pictures_of` returns of a stimulus."""
    ax.set_axis_off()
    if isinstance(drawn, str):
        lines = textwrap.wrap(drawn, 24, max_lines=8, placeholder=" ...")
        ax.text(0.03, 0.97, "\n".join(lines), va="top", ha="left", fontsize=5, transform=ax.transAxes, parse_math=False)
    elif drawn.ndim == 1:
        _draw_wave(ax, drawn)
    else:
        ax.imshow(drawn, interpolation="antialiased", vmin=0, vmax=1)
    return ax


def html_of(stimuli: StimulusSet) -> str:
    """Show a set in a notebook: what it is, its columns, and some of its stimuli."""
    places = np.unique(np.linspace(0, len(stimuli) - 1, min(_THUMBNAILS, len(stimuli))).round().astype(int))
    rows = [("fields", ", ".join(stimuli.fields))]
    rows += [("treated", stimuli.treatment)] * bool(stimuli.treatment)
    rows += [("left out", f"{len(stimuli.left_out)} broken")] * bool(stimuli.left_out)
    metadata = stimuli.metadata
    rows += [(str(name), column_summary(metadata[name])) for name in metadata.columns if name != "stimulus_id"]
    table = "".join(
        f"<tr><td style='text-align:left'><b>{html.escape(key)}</b></td>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for key, value in rows
    )
    tiles = "".join(_tile(drawn, stimuli.ids[place]) for place, drawn in zip(places, pictures_of(stimuli, places)))
    title = html.escape(f"{stimuli.name}: {len(stimuli)} {'stimulus' if len(stimuli) == 1 else 'stimuli'}")
    return f"<div><b>{title}</b><div>{tiles}</div><table>{table}</table></div>"


def _drawn(value: Any) -> np.ndarray | str:
    """Say how a value is drawn, by its shape."""
    if isinstance(value, str):
        return value
    if value.ndim == 4:  # frames of a clip
        places = np.unique(np.linspace(0, len(value) - 1, _FRAMES).round().astype(int))
        frames = [_picture(value[int(place)]) for place in places]
        return _beside(frames)
    if value.ndim == 3 and value.shape[0] == 3:
        return _picture(value)
    if value.ndim == 1:
        return np.asarray(value, dtype=np.float32)
    if value.ndim == 0:
        return str(value.item())
    return _map(np.asarray(value, dtype=np.float64).reshape(-1, value.shape[-1]))


def _picture(image: Any) -> np.ndarray:
    """Bring an image (3, y, x) to (y, x, 3) in [0, 1]."""
    values = image.detach().cpu().numpy().transpose(1, 2, 0)
    return values / np.float32(255) if values.dtype == np.uint8 else np.clip(values, 0, 1)


def _map(values: np.ndarray) -> np.ndarray:
    """Draw numbers of a map in grey; what is not finite is white."""
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 1.0)
    grey = np.where(known, (values - low) / ((high - low) or 1.0), 1.0)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def _beside(pictures: list[np.ndarray]) -> np.ndarray:
    """Put pictures side by side, a white gap between them."""
    gap = np.ones((pictures[0].shape[0], _GAP, 3), dtype=np.float32)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)


def _draw_wave(ax: Axes, wave: np.ndarray) -> None:
    """Draw the envelope of a sound: from the least to the largest sample of each of 200 pieces."""
    pieces = np.array_split(wave, min(200, len(wave)))
    low, high = (np.array([each(piece) for piece in pieces]) for each in (np.min, np.max))
    ax.fill_between(np.arange(len(pieces)), low, high, color="0.25", linewidth=0.2)
    ax.set_xlim(0, max(len(pieces) - 1, 1))
    ax.set_ylim(-1, 1)


def _tile(drawn: np.ndarray | str, name: str) -> str:
    """One stimulus of the HTML: a PNG in the page, or a text."""
    title = html.escape(name, quote=True)
    if isinstance(drawn, str):
        text = html.escape(textwrap.shorten(drawn, 80, placeholder=" ..."))
        return f"<span title='{title}' style='display:inline-block;max-width:{_SIDE * 2}px;margin:2px'>{text}</span>"
    return f"<img title='{title}' style='margin:1px' src='data:image/png;base64,{_png(drawn)}'>"


def _png(drawn: np.ndarray) -> str:
    from PIL import Image

    pixels = _wave_picture(drawn) if drawn.ndim == 1 else (drawn * 255).round().astype(np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE))
    written = io.BytesIO()
    image.save(written, format="PNG")
    return base64.b64encode(written.getvalue()).decode()


def _wave_picture(wave: np.ndarray) -> np.ndarray:
    """Draw a sound's envelope in pixels, uint8 (y, x, 3)."""
    pieces = np.array_split(wave, min(_SIDE, len(wave)))
    levels = (np.arange(_SIDE)[:, None] + 0.5) / _SIDE * -2 + 1  # from 1 at the top to -1
    low, high = (np.array([[each(piece) for piece in pieces]]) for each in (np.min, np.max))
    inside = (levels >= low - 1 / _SIDE) & (levels <= high + 1 / _SIDE)
    return np.repeat(np.where(inside, 64, 255).astype(np.uint8)[..., None], 3, axis=2)
