"""Checkerboards, still or reversing in contrast, through windows."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from netphys.stimuli.classic.factorial import Columns, Numbers, Recipe, Words, colour_names, column, crossed, frames_of
from netphys.stimuli.classic.limits import numbers, require_spatial, require_temporal, whole_cycles, words
from netphys.stimuli.classic.screen import Screen
from netphys.stimuli.classic.waves import frame_times, square
from netphys.stimuli.classic.windows import AUTO, require_windows, seen_through, window_factors, windows_of

if TYPE_CHECKING:
    from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["checkerboards"]

_TAGS = {
    "check": "k",
    "phase": "ph",
    "contrast": "c",
    "temporal_frequency": "tf",
    "diameter": "di",
    "inner_diameter": "in",
    "edge": "ed",
    "window": "",
    "x": "x",
    "y": "y",
    "reversal": "",
    "colour": "",
    "size": "px",
    "degrees": "deg",
    "n_frames": "nf",
    "frame_rate": "hz",
}
_ALWAYS = ("check", "phase", "contrast")


def checkerboards(
    *,
    check: Numbers | None = None,
    phase: Numbers = 0.0,
    contrast: Numbers = 1.0,
    temporal_frequency: Numbers = 0.0,
    diameter: Numbers | None = None,
    inner_diameter: Numbers | None = None,
    edge: Numbers | None = None,
    window: Words = AUTO,
    x: Numbers = 0.0,
    y: Numbers = 0.0,
    reversal: Words = "square",
    colour: Words = "achromatic",
    size: int = 224,
    degrees: float | None = None,
    n_frames: int | None = None,
    frame_rate: float = 60.0,
    paired: bool = False,
    blank: bool = False,
) -> StimulusSet:
    """Make checkerboards of every combination of the parameters, the last one fastest.

    What is not listed is as for :func:`netphys.stimuli.classic.gratings`.

    Parameters
    ----------
    check : float or sequence
        Side of a check, degrees or pixels; at least a pixel, and below two a warning is logged. Default: an eighth of
        the screen.
    phase : float or sequence
        Cycles (a cycle is two checks) by which the pattern is moved to the left. At 0 four checks meet at (`x`, `y`),
        the upper right one light; at 0.5 light and dark have changed places.
    contrast : float or sequence
        (Lmax - Lmin)/(Lmax + Lmin), [0, 1].
    temporal_frequency : float or sequence
        Hz; a cycle is two reversals. At most half of `frame_rate`.
    reversal : str or sequence
        ``"square"``: light and dark change places at once, first after half a cycle; ``"sine"``: the contrast follows
        ``cos(2 pi g t)``.

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
    >>> checkerboards(check=[0.5, 1], size=64, degrees=8).ids
    ('checkerboard-k0.5-ph0-c1-px64-deg8', 'checkerboard-k1-ph0-c1-px64-deg8')
    """
    screen = Screen(size, degrees)
    factors: dict[str, Sequence[Any]] = {
        "check": numbers("check", screen.extent / 8 if check is None else check, low=0, rule="(]"),
        "phase": numbers("phase", phase),
        "contrast": numbers("contrast", contrast, low=0, high=1),
        "temporal_frequency": numbers("temporal_frequency", temporal_frequency, low=0),
        **window_factors(screen, window=window, diameter=diameter, inner_diameter=inner_diameter, edge=edge, x=x, y=y),
        "reversal": words("reversal", reversal, ("square", "sine")),
        "colour": colour_names(colour),
    }
    columns = seen_through(crossed(factors, paired=paired))
    frames, rate = frames_of(n_frames, frame_rate)
    require_spatial([1 / (2 * each) for each in columns["check"]], screen, name="1 / (2 check)")
    require_temporal(columns["temporal_frequency"], frames, rate, drifts=False)
    require_windows(columns, screen)
    if frames is not None:
        whole_cycles(columns["temporal_frequency"], frames, rate)
        for name, value in (("n_frames", frames), ("frame_rate", rate)):
            columns[name] = [value] * len(columns["check"])
    draw = partial(_checkerboards, screen=screen, times=frame_times(frames, rate))
    signature = inspect.signature(checkerboards).parameters
    usual = {name: each.default for name, each in signature.items() if name not in _ALWAYS}
    usual["window"] = "raised-cosine"
    recipe = Recipe("checkerboard", screen, draw, ("checkerboard", "waves", "windows"), _TAGS, usual, frames)
    return recipe.stimuli(columns, name="classic:checkerboards", blank=blank)


def _checkerboards(columns: Columns, *, screen: Screen, times: Tensor) -> Tensor:
    """Draw checkerboards: a square wave along x times one along y, reversing in time."""
    across, up = screen.grid()
    cycle = 2 * column(columns, "check")
    pixel = 1 / (cycle * screen.pixels_per_unit)
    corner = 0.25  # a quarter of a cycle from a check's middle; edges are then between the pixels of an even screen
    on_x = square((across - column(columns, "x")) / cycle + column(columns, "phase") - corner, pixel)
    on_y = square((up - column(columns, "y")) / cycle - corner, pixel)
    turns = (column(columns, "temporal_frequency") * times).round(decimals=9)  # a reversal falls on its frame
    sudden = torch.tensor([each == "square" for each in columns["reversal"]]).reshape(-1, 1, 1, 1)
    sign = torch.where(sudden, 1.0 - 2.0 * (turns % 1 >= 0.5), torch.cos(2 * torch.pi * turns))
    return on_x * on_y * (sign * column(columns, "contrast") * windows_of(columns, screen))
