"""Bars, still or sweeping, light or dark on grey; their edges are antialiased over a pixel."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from netphys.errors import OptionError
from netphys.stimuli.classic.factorial import Columns, Numbers, Recipe, Words, colour_names, column, crossed, frames_of
from netphys.stimuli.classic.limits import numbers, words
from netphys.stimuli.classic.screen import Screen
from netphys.stimuli.classic.waves import exact_cos, frame_times, headings

if TYPE_CHECKING:
    from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["bars"]

_LOG = logging.getLogger(__name__)
_TAGS = {
    "orientation": "o",
    "direction": "d",
    "width": "w",
    "length": "l",
    "x": "x",
    "y": "y",
    "contrast": "c",
    "polarity": "",
    "speed": "v",
    "colour": "",
    "size": "px",
    "degrees": "deg",
    "n_frames": "nf",
    "frame_rate": "hz",
}
_ALWAYS = ("orientation", "width", "length", "x", "y", "polarity")


def bars(
    *,
    orientation: Numbers | None = None,
    direction: Numbers | None = None,
    width: Numbers | None = None,
    length: Numbers | None = None,
    x: Numbers = 0.0,
    y: Numbers = 0.0,
    contrast: Numbers = 1.0,
    polarity: Words = "light",
    speed: Numbers = 0.0,
    colour: Words = "achromatic",
    size: int = 224,
    degrees: float | None = None,
    n_frames: int | None = None,
    frame_rate: float = 60.0,
    paired: bool = False,
    blank: bool = False,
) -> StimulusSet:
    """Make bars of every combination of the parameters, the last one fastest.

    Lengths are in degrees of visual angle where `degrees` is said, else in pixels. Each parameter down to `colour` is
    one value or several.

    Parameters
    ----------
    orientation : float or sequence
        Of the bar's length, degrees counter-clockwise from horizontal, [0, 180). Default: 0.
    direction : float or sequence
        In place of `orientation`: where the bar sweeps to, perpendicular to its length, degrees, [0, 360).
    width, length : float or sequence
        Default: a sixteenth, and a quarter, of the screen.
    x, y : float or sequence
        The bar's centre, to the right of and above the middle of the screen; of a sweep, where it is half-way.
    contrast : float or sequence
        ``|L - 0.5| / 0.5`` of the bar, [0, 1] (Weber's).
    polarity : str or sequence
        ``"light"`` or ``"dark"``.
    speed : float or sequence
        Degrees (or pixels) a second along the direction.
    colour : str, (r, g, b) or a sequence of them
        Axis of modulation, as for :func:`netphys.stimuli.classic.gratings`.
    size : int
        Side of the screen, pixels.
    degrees : float, optional
        Side of the screen, degrees.
    n_frames : int, optional
        Make clips (field ``clip``) of so many frames. None: images.
    frame_rate : float
        Frames a second.
    paired : bool
        Take the values side by side instead of combining them.
    blank : bool
        Add a grey field.

    Returns
    -------
    StimulusSet
        float32 in [0, 1]; one column a parameter.

    Raises
    ------
    OptionError
        If a value is out of range or contradicts another.

    Examples
    --------
    >>> bars(orientation=[0, 90], width=2, length=20, size=64).ids
    ('bar-o0-w2-l20-x0-y0-light-px64', 'bar-o90-w2-l20-x0-y0-light-px64')
    """
    screen = Screen(size, degrees)
    half = screen.extent / 2
    factors: dict[str, Sequence[Any]] = {
        **headings(orientation, direction, what="bar"),
        "width": numbers("width", screen.extent / 16 if width is None else width, low=0, rule="(]"),
        "length": numbers("length", screen.extent / 4 if length is None else length, low=0, rule="(]"),
        "x": numbers("x", x, low=-half, high=half),
        "y": numbers("y", y, low=-half, high=half),
        "contrast": numbers("contrast", contrast, low=0, high=1),
        "polarity": words("polarity", polarity, ("light", "dark")),
        "speed": numbers("speed", speed, low=0),
        "colour": colour_names(colour),
    }
    columns = _moving(crossed(factors, paired=paired), n_frames, frame_rate)
    draw = partial(_bars, screen=screen, times=frame_times(n_frames, float(frame_rate)))
    tags = {key: tag for key, tag in _TAGS.items() if key != "orientation" or direction is None}
    usual = {name: each.default for name, each in inspect.signature(bars).parameters.items() if name not in _ALWAYS}
    recipe = Recipe("bar", screen, draw, ("bar", "waves"), tags, usual, columns["n_frames"][0] if n_frames else None)
    return recipe.stimuli(columns, name="classic:bars", blank=blank)


def _moving(columns: Columns, n_frames: int | None, frame_rate: float) -> Columns:
    """Check what moves, and add the orientation of what has a direction."""
    frames, rate = frames_of(n_frames, frame_rate)
    if frames is None and any(columns["speed"]):
        raise OptionError(f"speed={max(columns['speed']):g}: what moves is a clip; say n_frames")
    jumps = [each for each in zip(columns["speed"], columns["width"], strict=True) if each[0] > each[1] * rate]
    if jumps:
        _LOG.warning("a bar of width %g at speed %g moves by more than its width a frame: it jumps", *jumps[0][::-1])
    if "direction" in columns:
        columns = {"orientation": [(each + 90) % 180 for each in columns["direction"]], **columns}
    if frames is not None:
        for name, value in (("n_frames", frames), ("frame_rate", rate)):
            columns[name] = [value] * len(columns["speed"])
    return columns


def _bars(columns: Columns, *, screen: Screen, times: Tensor) -> Tensor:
    """Draw bars: how much of each pixel lies on the bar, a pixel turned with the bar."""
    directions = columns["direction"] if "direction" in columns else [each + 90 for each in columns["orientation"]]
    toward = torch.deg2rad(column({"direction": directions}, "direction"))
    cos, sin = exact_cos(toward), exact_cos(toward - torch.pi / 2)
    across, up = screen.grid()
    right, above = across - column(columns, "x"), up - column(columns, "y")
    travelled = column(columns, "speed") * (times - times.mean())
    shown = _covered(right * cos + above * sin - travelled, column(columns, "width"), screen)
    shown = shown * _covered(above * cos - right * sin, column(columns, "length"), screen)
    sign = torch.tensor([1.0 if each == "light" else -1.0 for each in columns["polarity"]], dtype=torch.float64)
    return shown.mul_(column(columns, "contrast") * sign.reshape(-1, 1, 1, 1))


def _covered(distance: Tensor, wide: Tensor, screen: Screen) -> Tensor:
    """Return the share of a pixel, `distance` from the middle, that lies on a strip."""
    place, half = distance * screen.pixels_per_unit, wide * screen.pixels_per_unit / 2
    return (torch.minimum(place + 0.5, half) - torch.maximum(place - 0.5, -half)).clamp(min=0)
