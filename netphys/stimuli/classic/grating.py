"""Gratings, plaids and Gabors, still or moving: a cosine or square wave through a window.

The bars' orientation is in degrees counter-clockwise from horizontal as seen, [0, 180); a direction, [0, 360), is where
the pattern moves to, perpendicular to the bars: a grating of orientation 0 (level bars) has direction 90 (up). Phase is
in cycles at the window's centre: ``cos(2 pi (f u - g t + phase))`` with u along the direction, so phase 0 has a light
bar at the centre. Contrast is Michelson's about mean grey 0.5 in pixel values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from netphys.stimuli.classic.factorial import Columns, Numbers, Recipe, Words, colour_names, column, crossed, frames_of
from netphys.stimuli.classic.limits import numbers, require_spatial, require_temporal, whole_cycles, words
from netphys.stimuli.classic.screen import Screen
from netphys.stimuli.classic.waves import exact_cos, frame_times, headings, plane_wave
from netphys.stimuli.classic.windows import AUTO, require_windows, seen_through, window_factors, windows_of

if TYPE_CHECKING:
    from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["gabors", "gratings"]

_CODE = ("grating", "waves", "windows")
_TAGS = {
    "orientation": "o",
    "direction": "d",
    "spatial_frequency": "sf",
    "phase": "ph",
    "contrast": "c",
    "sigma": "sd",
    "aspect": "as",
    "temporal_frequency": "tf",
    "diameter": "di",
    "inner_diameter": "in",
    "edge": "ed",
    "window": "",
    "x": "x",
    "y": "y",
    "plaid_angle": "plaid",
    "waveform": "",
    "motion": "",
    "colour": "",
    "size": "px",
    "degrees": "deg",
    "n_frames": "nf",
    "frame_rate": "hz",
}
_ALWAYS = ("orientation", "direction", "spatial_frequency", "phase", "contrast", "sigma")


def gratings(
    *,
    orientation: Numbers | None = None,
    direction: Numbers | None = None,
    spatial_frequency: Numbers = 0.1,
    phase: Numbers = 0.0,
    contrast: Numbers = 1.0,
    temporal_frequency: Numbers = 0.0,
    diameter: Numbers | None = None,
    inner_diameter: Numbers | None = None,
    edge: Numbers | None = None,
    window: Words = AUTO,
    x: Numbers = 0.0,
    y: Numbers = 0.0,
    plaid_angle: Numbers | None = None,
    waveform: Words = "sine",
    motion: Words = "drift",
    colour: Words = "achromatic",
    size: int = 224,
    degrees: float | None = None,
    n_frames: int | None = None,
    frame_rate: float = 60.0,
    paired: bool = False,
    blank: bool = False,
) -> StimulusSet:
    """Make gratings of every combination of the parameters, the last one fastest.

    Lengths are in degrees of visual angle where `degrees` is said, else in pixels; frequencies in cycles a degree, or
    a pixel. Each parameter down to `colour` is one value or several.

    Parameters
    ----------
    orientation : float or sequence
        Of the bars, degrees counter-clockwise from horizontal, [0, 180). Default: 0.
    direction : float or sequence
        In place of `orientation`: where the grating moves to, degrees, [0, 360); 0 is to the right, 90 up.
    spatial_frequency : float or sequence
        Above 0.25 cycles a pixel a warning is logged, above 0.5 they are refused.
    phase : float or sequence
        Cycles, at (`x`, `y`); 0: a light bar there.
    contrast : float or sequence
        (Lmax - Lmin)/(Lmax + Lmin), [0, 1]; of each gun times its weight where there is colour.
    temporal_frequency : float or sequence
        Hz; below half of `frame_rate`.
    diameter, inner_diameter : float or sequence
        Of the window, and of the hole in it: an annulus, for surrounds, is the window of the one diameter less that of
        the other. None: the whole screen; no hole.
    edge : float or sequence
        Width of the raised cosine's edge, inside the diameter. Default: an eighth of the diameter.
    window : str or sequence
        ``"raised-cosine"``, ``"circle"``, ``"gaussian"`` (standard deviation a sixth of the diameter), ``"none"``.
        Default: a raised cosine where there is a diameter, else none.
    x, y : float or sequence
        Centre of the window, to the right of and above the middle of the screen.
    plaid_angle : float or sequence
        Add a second grating whose direction is turned by so many degrees; each then has half the contrast.
    waveform : str or sequence
        ``"sine"`` or ``"square"`` (edges antialiased over a pixel).
    motion : str or sequence
        ``"drift"``, or ``"counterphase"``: the contrast follows ``cos(2 pi g t)``.
    colour : str, (r, g, b) or a sequence of them
        Axis of modulation: ``"achromatic"``, ``"red-green"``, ``"blue-yellow"``, ``"red"``, ``"green"``, ``"blue"`` or
        weights of the guns in [-1, 1]. They are axes of pixel values, not equiluminant for any observer.
    size : int
        Side of the screen, pixels.
    degrees : float, optional
        Side of the screen, degrees.
    n_frames : int, optional
        Make clips (field ``clip``) of so many frames; frame k is at ``k / frame_rate`` seconds. None: images.
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
        If a value is out of range, aliases, or contradicts another.

    Examples
    --------
    >>> shown = gratings(orientation=[0, 45, 90, 135], spatial_frequency=[1, 2], size=64, degrees=8)
    >>> len(shown), shown.ids[0]
    (8, 'grating-o0-sf1-ph0-c1-px64-deg8')
    >>> tuple(shown.images([0]).shape)
    (1, 3, 64, 64)
    """
    screen = Screen(size, degrees)
    windows = window_factors(
        screen, window=window, diameter=diameter, inner_diameter=inner_diameter, edge=edge, x=x, y=y
    )
    factors: dict[str, Sequence[Any]] = {
        **headings(orientation, direction, what="grating"),
        "spatial_frequency": numbers("spatial_frequency", spatial_frequency, low=0),
        "phase": numbers("phase", phase),
        "contrast": numbers("contrast", contrast, low=0, high=1),
        "temporal_frequency": numbers("temporal_frequency", temporal_frequency, low=0),
        **windows,
        "plaid_angle": [None] if plaid_angle is None else numbers("plaid_angle", plaid_angle, low=-360, high=360),
        "waveform": words("waveform", waveform, ("sine", "square")),
        "motion": words("motion", motion, ("drift", "counterphase")),
        "colour": colour_names(colour),
    }
    columns = _timed(seen_through(crossed(factors, paired=paired)), screen, n_frames, frame_rate)
    require_windows(columns, screen)
    times = frame_times(n_frames, float(frame_rate))
    recipe = _recipe("grating", screen, gratings, partial(_gratings, screen=screen, times=times), columns)
    return recipe.stimuli(columns, name="classic:gratings", blank=blank)


def gabors(
    *,
    orientation: Numbers | None = None,
    direction: Numbers | None = None,
    spatial_frequency: Numbers = 0.1,
    phase: Numbers = 0.0,
    contrast: Numbers = 1.0,
    sigma: Numbers | None = None,
    aspect: Numbers = 1.0,
    temporal_frequency: Numbers = 0.0,
    x: Numbers = 0.0,
    y: Numbers = 0.0,
    colour: Words = "achromatic",
    size: int = 224,
    degrees: float | None = None,
    n_frames: int | None = None,
    frame_rate: float = 60.0,
    paired: bool = False,
    blank: bool = False,
) -> StimulusSet:
    """Make Gabors, ``contrast * exp(-u^2/2s^2 - v^2/2(a s)^2) * cos(2 pi (f u - g t + phase))`` about grey.

    u lies along the direction, v along the bars, both from (`x`, `y`). The envelope is not cut off. What is not listed
    is as for :func:`gratings`; a drifting Gabor moves behind a window that stays.

    Parameters
    ----------
    contrast : float or sequence
        Of the carrier at the peak of the envelope.
    sigma : float or sequence
        Standard deviation s of the envelope across the bars, degrees or pixels. Default: an eighth of the screen.
    aspect : float or sequence
        a: standard deviation along the bars over that across them.

    Returns
    -------
    StimulusSet
        float32 in [0, 1]; one column a parameter.

    Raises
    ------
    OptionError
        If a value is out of range, aliases, or contradicts another.

    Examples
    --------
    >>> gabors(orientation=[0, 90], spatial_frequency=0.1, sigma=6, size=64).ids
    ('gabor-o0-sf0.1-ph0-c1-sd6-px64', 'gabor-o90-sf0.1-ph0-c1-sd6-px64')
    """
    screen = Screen(size, degrees)
    half = screen.extent / 2
    factors: dict[str, Sequence[Any]] = {
        **headings(orientation, direction, what="Gabor"),
        "spatial_frequency": numbers("spatial_frequency", spatial_frequency, low=0),
        "phase": numbers("phase", phase),
        "contrast": numbers("contrast", contrast, low=0, high=1),
        "sigma": numbers("sigma", screen.extent / 8 if sigma is None else sigma, low=0, rule="(]"),
        "aspect": numbers("aspect", aspect, low=0, rule="(]"),
        "temporal_frequency": numbers("temporal_frequency", temporal_frequency, low=0),
        "x": numbers("x", x, low=-half, high=half),
        "y": numbers("y", y, low=-half, high=half),
        "colour": colour_names(colour),
    }
    columns = _timed(crossed(factors, paired=paired), screen, n_frames, frame_rate)
    times = frame_times(n_frames, float(frame_rate))
    recipe = _recipe("gabor", screen, gabors, partial(_gabors, screen=screen, times=times), columns)
    return recipe.stimuli(columns, name="classic:gabors", blank=blank)


def _timed(columns: Columns, screen: Screen, n_frames: Any, frame_rate: Any) -> Columns:
    """Check frequencies in space and time, and add what follows from what is given."""
    frames, rate = frames_of(n_frames, frame_rate)
    require_spatial(columns["spatial_frequency"], screen)
    drifts = "drift" in columns.get("motion", ["drift"])
    require_temporal(columns["temporal_frequency"], frames, rate, drifts=drifts)
    if "direction" in columns:
        columns = {"orientation": [(each + 90) % 180 for each in columns["direction"]], **columns}
    if frames is not None:
        whole_cycles(columns["temporal_frequency"], frames, rate)
        for name, value in (("n_frames", frames), ("frame_rate", rate)):
            columns[name] = [value] * len(columns["contrast"])
    return columns


def _recipe(
    kind: str, screen: Screen, function: Callable[..., Any], draw: Callable[[Columns], Tensor], columns: Columns
) -> Recipe:
    """Return a recipe whose ids say what is not the function's default, and a direction in place of an orientation."""
    tags = {key: tag for key, tag in _TAGS.items() if key != "orientation" or "direction" not in columns}
    usual: dict[str, Any] = {
        name: each.default for name, each in inspect.signature(function).parameters.items() if name not in _ALWAYS
    }
    usual["window"] = "raised-cosine"
    return Recipe(kind, screen, draw, _CODE, tags, usual, columns["n_frames"][0] if "n_frames" in columns else None)


def _gratings(columns: Columns, *, screen: Screen, times: Tensor) -> Tensor:
    """Draw gratings: waves, plaids of two, through windows, at their contrast."""
    columns = _headed(columns)
    wave = plane_wave(columns, screen, times)
    plaids = [row for row, each in enumerate(columns["plaid_angle"]) if each is not None]
    if plaids:
        some = {name: [values[row] for row in plaids] for name, values in columns.items()}
        wave[plaids] = (wave[plaids] + plane_wave(some, screen, times, turned=column(some, "plaid_angle"))) / 2
    return wave.mul_(column(columns, "contrast") * windows_of(columns, screen))


def _gabors(columns: Columns, *, screen: Screen, times: Tensor) -> Tensor:
    """Draw Gabors."""
    n = len(columns["contrast"])
    columns = _headed({**columns, "waveform": ["sine"] * n, "motion": ["drift"] * n})
    toward = torch.deg2rad(column(columns, "direction"))
    across, up = screen.grid()
    right, above = across - column(columns, "x"), up - column(columns, "y")
    cos, sin = exact_cos(toward), exact_cos(toward - torch.pi / 2)
    sigma = column(columns, "sigma")
    u, v = (right * cos + above * sin) / sigma, (above * cos - right * sin) / (sigma * column(columns, "aspect"))
    envelope = torch.exp(-0.5 * (u**2 + v**2))
    return plane_wave(columns, screen, times).mul_(column(columns, "contrast") * envelope)


def _headed(columns: Columns) -> Columns:
    """Add the direction of those that have an orientation only: a quarter turn counter-clockwise from the bars."""
    if "direction" in columns:
        return columns
    return {**columns, "direction": [each + 90 for each in columns["orientation"]]}
