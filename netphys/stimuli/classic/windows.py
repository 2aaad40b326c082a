"""Windows through which classic stimuli are seen: hard and soft discs, Gaussians, annuli; in the screen's units."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from netphys.errors import OptionError
from netphys.stimuli.classic.factorial import Columns, column
from netphys.stimuli.classic.limits import numbers, words
from netphys.stimuli.classic.screen import Screen

__all__ = [
    "AUTO",
    "WINDOWS",
    "circle",
    "gaussian",
    "raised_cosine",
    "require_windows",
    "seen_through",
    "window_factors",
    "windows_of",
]

WINDOWS = ("none", "circle", "raised-cosine", "gaussian")
AUTO = "auto"  # a raised cosine where there is a diameter, else none
_LOG = logging.getLogger(__name__)
_EDGE = 0.125  # of the diameter, where no edge is said
_SIGMAS = 6  # a Gaussian window's diameter: 3 standard deviations each way, where it is down to .011


def circle(radius: Tensor, diameter: Tensor, *, pixel: float) -> Tensor:
    """Return a disc: 1 inside, 0 outside, half at ``diameter / 2``; the edge is one pixel wide (antialiased)."""
    return ((diameter / 2 - radius) / pixel + 0.5).clamp(0, 1)


def raised_cosine(radius: Tensor, diameter: Tensor, edge: Tensor) -> Tensor:
    """Return a disc with a soft edge: 1 up to ``diameter/2 - edge``, then half a cosine down to 0 at ``diameter/2``.

    Notes
    -----
    ``w(r) = (1 + cos(pi (r - D/2 + e) / e)) / 2`` on the edge; half height at ``D/2 - e/2``.
    """
    along = ((radius - diameter / 2 + edge) / edge).clamp(0, 1)
    return (1 + torch.cos(math.pi * along)) / 2


def gaussian(radius: Tensor, diameter: Tensor) -> Tensor:
    """Return ``exp(-r^2 / 2 s^2)`` with ``s = diameter / 6``; it is not cut off at the diameter."""
    return torch.exp(-0.5 * (radius * _SIGMAS / diameter) ** 2)


def window_factors(
    screen: Screen, *, window: Any, diameter: Any, inner_diameter: Any, edge: Any, x: Any, y: Any
) -> dict[str, Sequence[Any]]:
    """Check what a window is made of and return its values by parameter.

    Raises
    ------
    OptionError
        If a length is not above 0, a window unknown or without effect, or a centre off the screen.
    """
    half = screen.extent / 2
    found: dict[str, Sequence[Any]] = {
        "window": words("window", window, (AUTO, *WINDOWS)),
        "diameter": _lengths("diameter", diameter),
        "inner_diameter": _lengths("inner_diameter", inner_diameter),
        "edge": _lengths("edge", edge),
        "x": numbers("x", x, low=-half, high=half),
        "y": numbers("y", y, low=-half, high=half),
    }
    bounded = any(each is not None for key in ("diameter", "inner_diameter") for each in found[key])
    found["window"] = [("raised-cosine" if bounded else "none") if each == AUTO else each for each in found["window"]]
    odd = next((each for each in found["window"] if each != "none"), "")
    if odd and not bounded:
        raise OptionError(f"window={odd!r} needs a diameter, or an inner_diameter; without, the whole screen is shown")
    if bounded and "none" in found["window"]:
        raise OptionError(f"window='none' has no diameter; windows are {', '.join(WINDOWS[1:])}")
    if found["edge"] != [None] and (not bounded or "raised-cosine" not in found["window"]):
        raise OptionError("edge is that of a raised cosine with a diameter; here it would have no effect")
    if "gaussian" in found["window"] and found["diameter"] == [None]:
        raise OptionError("window='gaussian' needs a diameter (6 standard deviations)")
    return found


def seen_through(columns: Columns) -> Columns:
    """Say that rows without a diameter have no window, whatever the window of the others is.

    Raises
    ------
    OptionError
        If rows of several windows then are one picture.
    """
    bare = [outer is None and inner is None for outer, inner in zip(columns["diameter"], columns["inner_diameter"])]
    kinds = {*columns["window"]}
    made = {**columns, "window": ["none" if no else kind for no, kind in zip(bare, columns["window"], strict=True)]}
    if any(bare) and len(kinds) > 1 and len({*zip(*made.values())}) < len(bare):
        raise OptionError(
            f"without a diameter the whole screen is shown, and windows {', '.join(sorted(kinds))} are one picture; "
            "say a diameter for all, or one window"
        )
    return made


def require_windows(columns: Columns, screen: Screen) -> None:
    """Refuse windows that cannot be, row by row, and log a warning of those that the screen cuts.

    Raises
    ------
    OptionError
        If an annulus is wider inside than outside, or an edge wider than half its window.
    """
    cut, half = 0, screen.extent / 2
    for outer, inner, edge, x, y in {*zip(*(columns[key] for key in ("diameter", "inner_diameter", "edge", "x", "y")))}:
        if outer is not None and inner is not None and inner >= outer:
            raise OptionError(f"inner_diameter={inner:g} is not below diameter={outer:g}")
        smallest = min((each for each in (outer, inner) if each is not None), default=math.inf)
        if edge is not None and edge > smallest / 2:
            raise OptionError(f"edge={edge:g} is wider than half the diameter, {smallest:g}")
        cut += outer is not None and max(abs(x), abs(y)) + outer / 2 > half * (1 + 1e-9)
    if cut:
        _LOG.warning("windows of %d kinds reach beyond the screen, %g %ss wide: cut", cut, screen.extent, screen.unit)


def windows_of(columns: Columns, screen: Screen) -> Tensor:
    """Return the windows of rows, float64 (stimulus, 1, y, x) in [0, 1].

    An annulus is the window of its outer diameter (or the whole screen) less that of its inner one, whatever the kind
    of window and its edge: centre and annulus together are the whole.
    """
    across, up = screen.grid()
    n = len(columns["window"])
    if all(each is None for key in ("diameter", "inner_diameter") for each in columns[key]):
        return torch.ones((n, 1, 1, 1), dtype=torch.float64)
    radius = ((across - column(columns, "x")) ** 2 + (up - column(columns, "y")) ** 2).sqrt()
    made = torch.ones_like(radius)
    for row, kind in enumerate(columns["window"]):
        outer, inner, edge = (columns[key][row] for key in ("diameter", "inner_diameter", "edge"))
        if outer is not None:
            made[row] = _window(kind, radius[row], outer, edge, screen)
        if inner is not None:
            made[row] -= _window(kind, radius[row], inner, edge, screen)
    return made


def _window(kind: str, radius: Tensor, diameter: float, edge: float | None, screen: Screen) -> Tensor:
    """Return one window of one diameter."""
    wide = torch.tensor(diameter, dtype=torch.float64)
    if kind == "circle":
        return circle(radius, wide, pixel=1 / screen.pixels_per_unit)
    if kind == "gaussian":
        return gaussian(radius, wide)
    return raised_cosine(radius, wide, torch.tensor(_EDGE * diameter if edge is None else edge, dtype=torch.float64))


def _lengths(name: str, value: Any) -> Sequence[float | None]:
    """Return lengths above 0; None, alone or among them, stands for none."""
    if value is None:
        return [None]
    if isinstance(value, list | tuple) and None in value:
        return [None if each is None else numbers(name, each, low=0, rule="(]")[0] for each in value]
    return list(numbers(name, value, low=0, rule="(]"))
