"""What a classic stimulus may be: parameters checked before anything is drawn, and what a screen can show of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from netphys.errors import OptionError, near
from netphys.stimuli.classic.screen import Screen

__all__ = ["counted", "numbers", "require_spatial", "require_temporal", "seed_of", "whole", "whole_cycles", "words"]

_LOG = logging.getLogger(__name__)
_FINEST = 0.5  # cycles a pixel: above it another, coarser grating is seen (Nyquist)
_FAIR = 0.25  # cycles a pixel: above it fewer than 4 pixels a cycle, and the contrast shown hangs on the phase
_MOST_FRAMES = 100_000


def counted(n: float, one: str, several: str = "") -> str:
    """Return a number and the name of what it counts.

    Examples
    --------
    >>> counted(1, "pixel"), counted(2.5, "degree"), counted(0, "stimulus", "stimuli")
    ('1 pixel', '2.5 degrees', '0 stimuli')
    """
    return f"{n:.6g} {one if n == 1 else several or one + 's'}"


def numbers(name: str, value: Any, *, low: float = -math.inf, high: float = math.inf, rule: str = "[]") -> list[float]:
    """Return a parameter's values as floats, a number being one value.

    Parameters
    ----------
    name : str
        The parameter.
    value : float or sequence of float
        What the user gave.
    low, high : float
        Its range.
    rule : str
        Which ends belong to the range, as ``"[)"``.

    Raises
    ------
    OptionError
        If it is empty, no number, not finite or out of range.
    """
    found = []
    for each in _listed(name, value):
        if isinstance(each, bool | str) or not isinstance(each, int | float | np.integer | np.floating):
            raise OptionError(f"{name}={each!r}: a number, or several, are wanted")
        number = float(each)
        below = number < low or (number == low and rule[0] == "(")
        if below or number > high or (number == high and rule[1] == ")") or not math.isfinite(number):
            raise OptionError(f"{name}={number:g}: {_range(low, high, rule)}")
        found.append(number + 0.0)  # -0.0 and 0.0 are one value
    return found


def words(name: str, value: Any, known: Sequence[str]) -> list[str]:
    """Return a parameter's values as words that are known.

    Raises
    ------
    OptionError
        If one is not.
    """
    found = [str(each) for each in _listed(name, value)]
    for each in found:
        if each not in known:
            raise OptionError(f"no {name}={each!r}{near(each, known)}")
    return found


def whole(name: str, value: Any, low: int, high: int) -> int:
    """Return a whole number in [low, high].

    Raises
    ------
    OptionError
        If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise OptionError(f"{name}={value!r}: a whole number from {low} to {high} is wanted")
    return int(value)


def seed_of(value: Any) -> int:
    """Return a seed, which is a whole number.

    Raises
    ------
    OptionError
        If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise OptionError(f"seed={value!r}: a whole number is wanted")
    return int(value)


def require_spatial(frequencies: Iterable[float], screen: Screen, *, name: str = "spatial_frequency") -> None:
    """Refuse frequencies that alias, and log a warning of those that are drawn poorly.

    Parameters
    ----------
    frequencies : iterable of float
        Cycles a unit of the screen.
    screen : Screen
        Where they are to be shown.
    name : str
        What messages call them.

    Raises
    ------
    OptionError
        Above 0.5 cycles a pixel.
    """
    largest = max(frequencies, default=0.0)
    a_pixel = largest / screen.pixels_per_unit
    said = f"{name}={largest:g} cycles a {screen.unit}"
    said += f" is {a_pixel:.3g} cycles a pixel on {counted(screen.size, 'pixel')}" * (screen.unit == "degree")
    if a_pixel > _FINEST * (1 + 1e-9):
        best = _FINEST * screen.pixels_per_unit
        raise OptionError(f"{said}: above {_FINEST} it aliases to a coarser one; at most {best:g} here")
    if a_pixel > _FAIR * (1 + 1e-9):
        _LOG.warning("%s: fewer than 4 pixels a cycle, and the contrast that is shown depends on the phase", said)


def require_temporal(frequencies: Iterable[float], n_frames: int | None, rate: float, *, drifts: bool = True) -> None:
    """Refuse temporal frequencies that the frames cannot show.

    Parameters
    ----------
    frequencies : iterable of float
        Hz.
    n_frames : int or None
        Frames of a clip; None for a still image.
    rate : float
        Frames a second.
    drifts : bool
        What moves; at half the frame rate its direction is lost.

    Raises
    ------
    OptionError
        Above half the frame rate (for what moves, also at it), or if a still image is to move.
    """
    largest = max(frequencies, default=0.0)
    if largest and n_frames is None:
        raise OptionError(f"temporal_frequency={largest:g}: what changes is a clip; say n_frames")
    if largest > rate / 2 or (drifts and largest == rate / 2):
        what = "its direction is lost" if drifts else "it aliases to a slower one"
        raise OptionError(f"temporal_frequency={largest:g} Hz at {rate:g} frames a second: from half of it on {what}")


def whole_cycles(frequencies: Iterable[float], n_frames: int | None, rate: float) -> None:
    """Log a warning if a clip holds no whole number of cycles: its mean and its F1 then hang on the phase."""
    cycles = [each * (n_frames or 0) / rate for each in frequencies]
    odd = [each for each in cycles if abs(each - round(each)) > 1e-6]
    if odd:
        frames = counted(n_frames or 0, "frame")
        _LOG.warning("a clip of %s holds %.4g cycles; F0 and F1 are exact over whole ones", frames, odd[0])


def _listed(name: str, value: Any) -> list[Any]:
    """Return one value or several as a list."""
    if isinstance(value, str) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        return [value.item() if hasattr(value, "item") else value]
    found = [each.item() if hasattr(each, "item") else each for each in value]
    if not found:
        raise OptionError(f"{name} holds no value")
    return found


def _range(low: float, high: float, rule: str) -> str:
    """Say a range in words."""
    least = "" if low == -math.inf else f"above {low:g}" if rule[0] == "(" else f"at least {low:g}"
    most = "" if high == math.inf else f"below {high:g}" if rule[1] == ")" else f"at most {high:g}"
    return " and ".join(each for each in (least, most) if each) or "a finite number is wanted"
