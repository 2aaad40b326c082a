"""What a step of a treatment is: a frozen dataclass whose options are checked, that makes a picture of a picture.

A picture is worked on alone, never in a batch, so that its bits do not depend on what is read beside it. Between steps
its values may leave [0, 1]; they are clipped once, at the end.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError, StimulusError, near
from netphys.stimuli.calls import Call

__all__ = ["Picture", "Step", "Target", "a_size", "number", "one_of", "option", "or_none", "whole"]

_LARGEST = 8192  # pixels a side; a float64 picture of three colours then takes 1.6 GB


@dataclass(frozen=True)
class Picture:
    """One picture on its way through the steps.

    Parameters
    ----------
    values : tensor (3, y, x)
        float32, or float64 after a step that needs it.
    name : str
        Of the stimulus, for messages.
    pixels_per_degree : float, optional
        None where nothing says how large the stimulus is shown.
    figures : mapping of float to tensor of bool (y, x)
        Ground that a step left out → the pixels that were none of it: a pixel that a step makes as grey as the ground
        is figure still. They follow what moves.
    """

    values: Tensor
    name: str = "the stimulus"
    pixels_per_degree: float | None = None
    figures: Mapping[float, Tensor] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(y, x), pixels."""
        return self.values.shape[-2], self.values.shape[-1]

    @property
    def is_grey(self) -> bool:
        """Whether its three channels are equal."""
        first, second, third = self.values
        return torch.equal(first, second) and torch.equal(first, third)

    def with_values(self, values: Tensor | np.ndarray) -> Picture:
        """Return it with other values; an array (y, x) stands for three equal channels."""
        made = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
        return replace(self, values=made.expand(3, -1, -1) if made.ndim == 2 else made)

    def each_channel(self, change: Callable[[np.ndarray], np.ndarray]) -> Picture:
        """Change its channels, float64 (y, x), one by one; equal ones once."""
        channels = self.values.to(torch.float64).numpy()
        if self.is_grey:
            return self.with_values(change(channels[0]))
        return self.with_values(np.stack([change(each) for each in channels]))

    def in_pixels(self, length: float, unit: str, step: str) -> float:
        """Turn a length in ``"pixel"``, ``"degree"`` or ``"image"`` (shares of the shorter side) into pixels."""
        if unit == "degree":
            return length * self.scale(step)
        return length * min(self.size) if unit == "image" else length

    def scale(self, step: str) -> float:
        """Return the pixels a degree, or say that they are not known."""
        if self.pixels_per_degree is None:
            how = "stimulus_degrees=" if step == "field" else "field(degrees, size, stimulus_degrees) before it"
            raise StimulusError(
                f"{step} needs the visual angle of {self.name}: say {how}, or give the metadata a column 'degrees' "
                "(the width of the image)"
            )
        return self.pixels_per_degree


class Target(Protocol):
    """What a step measured on a set."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data and arrays: all that the result depends on."""


@dataclass(frozen=True)
class Step:
    """One thing done to a picture. Its fields are its options, in the order in which text gives them.

    Raises
    ------
    OptionError
        If an option has a value that it does not take.
    """

    keyword: ClassVar[str] = ""
    moves: ClassVar[bool] = False  # whether things change their places, so that maps must follow

    def __post_init__(self) -> None:
        for each in fields(self):
            given = getattr(self, each.name)
            try:
                value = each.metadata["check"](given)
            except ValueError as error:
                raise OptionError(f"{self.keyword}: {each.name}={given!r} {error}") from None
            object.__setattr__(self, each.name, value)

    @property
    def needs_set(self) -> bool:
        """Whether something must be measured on the whole set first."""
        return False

    @property
    def may_leave_range(self) -> bool:
        """Whether values can lie outside [0, 1] after it."""
        return False

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        """Do it to one picture; `target` is what :meth:`measure` returned."""
        raise NotImplementedError

    def measure(self, pictures: Iterator[Picture]) -> Target:
        """Measure on a set, in one pass, what :attr:`needs_set`."""
        raise NotImplementedError

    def to_call(self) -> Call:
        """Write it as a call; options that have their defaults are left out."""
        required, changed = [], {}
        for each in fields(self):
            value = getattr(self, each.name)
            written = int(value) if isinstance(value, float) and value.is_integer() else value
            if each.default is dataclasses.MISSING:
                required.append(written)
            elif value != each.default:
                changed[each.name] = written
        return Call(self.keyword, tuple(required), changed)

    @classmethod
    def from_options(cls, args: tuple[Any, ...], options: Mapping[str, Any]) -> Self:
        """Make one of values by position and by name.

        Raises
        ------
        OptionError
            If there are too many, an unknown one, one twice, or one lacks.
        """
        known = [each.name for each in fields(cls)]
        if len(args) > len(known):
            takes = "1 option" if len(known) == 1 else f"{len(known)} options"
            raise OptionError(f"{cls.keyword} takes {takes} ({', '.join(known)}), not {len(args)}")
        given = dict(zip(known, args))
        for name, value in options.items():
            if name not in known:
                raise OptionError(f"{cls.keyword} has no option {name!r}{near(name, known)}")
            if name in given:
                raise OptionError(f"{cls.keyword} is told {name} twice")
            given[name] = value
        for each in fields(cls):
            if each.default is dataclasses.MISSING and each.name not in given:
                raise OptionError(f"{cls.keyword} needs {each.name}: {cls.keyword}({', '.join(known)})")
        return cls(**given)


def option(check: Callable[[Any], Any], default: Any = dataclasses.MISSING) -> Any:
    """Declare an option of a step, with what checks its value."""
    return field(default=default, metadata={"check": check})


def number(low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> Callable[[Any], float]:
    """Make a check for a number in [low, high], or in (low, high] if `above`."""

    def check(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not low <= value <= high or (above and value == low):
            least = f" above {low:g}" if above else f" of {low:g} or more" if low > -math.inf else ""
            most = f", at most {high:g}" if high < math.inf else ""
            raise ValueError(f"is not a number{least}{most}")
        return float(value)

    return check


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Make a check for a whole number in [low, high]."""

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"is not a whole number from {low} to {high}")
        return int(value)

    return check


def a_size(value: Any) -> int | tuple[int, int]:
    """Check a size in pixels: one number, or (y, x)."""
    side = whole(1, _LARGEST)
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError("is not a size in pixels, or two: (y, x)")
        return (side(value[0]), side(value[1]))
    return side(value)


def one_of(*choices: str) -> Callable[[Any], str]:
    """Make a check for one of some words."""

    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"is not one of {', '.join(choices)}")
        return str(value)

    return check


def or_none(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a check that lets None pass."""
    return lambda value: None if value is None else check(value)
