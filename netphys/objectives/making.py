"""An objective by its name, with options as a study file or a command line gives them."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from torch import nn

from netphys.errors import OptionError, near
from netphys.objectives.colorization import Colorization
from netphys.objectives.contract import Objective
from netphys.objectives.simclr import SimCLR
from netphys.objectives.supervised import Supervised

__all__ = ["OBJECTIVES", "check_options", "make_objective"]

OBJECTIVES: dict[str, type[Objective]] = {each.name: each for each in (Supervised, Colorization, SimCLR)}


def make_objective(
    name: str,
    trunk: nn.Module,
    *,
    size: tuple[int, int],
    normalise: Any = None,
    options: Mapping[str, Any] | None = None,
) -> Objective:
    """Make an objective of a trunk; heads draw their weights from torch's generator.

    Parameters
    ----------
    name : str
        One of :data:`OBJECTIVES`.
    trunk : torch.nn.Module
        The network that learns.
    size : (int, int)
        Size (y, x) of the images that it sees, pixels.
    normalise : callable, optional
        What the network wants done to images in [0, 1] before the trunk: mean and sd.
    options : mapping, optional
        Options of the objective by name: numbers, booleans, strings, lists.

    Raises
    ------
    OptionError
        If there is no such objective or option, or a value is not of its kind; near names are listed.

    Examples
    --------
    >>> trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    >>> make_objective("simclr", trunk, size=(16, 16), options={"temperature": 0.1}).options()["temperature"]
    0.1
    """
    given = check_options(name, options or {})
    return OBJECTIVES[name](trunk, size=size, normalise=normalise, **given)


def check_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check names and kinds of an objective's options before anything is built, and return them as it takes them.

    Raises
    ------
    OptionError
        If there is no such objective or option, or a value is not of its kind.
    """
    if name not in OBJECTIVES:
        raise OptionError(f"no objective {name!r}{near(name, OBJECTIVES)}")
    kinds = _kinds(OBJECTIVES[name])
    for option in options:
        if option not in kinds:
            raise OptionError(f"the objective {name} has no option {option!r}{near(option, kinds)}")
    return {option: _checked(name, option, value, kinds[option]) for option, value in options.items()}


def _kinds(objective: type[Objective]) -> dict[str, Any]:
    """Return the annotations of the options of an objective's constructor."""
    hints = get_type_hints(objective.__init__)
    own = inspect.signature(objective.__init__).parameters
    return {name: hints[name] for name in own if name not in ("self", "trunk", "size", "normalise")}


def _checked(objective: str, option: str, value: Any, kind: Any) -> Any:
    """Return a value as a constructor takes it, or say what would be right."""
    if value is None and type(None) in get_args(kind):
        return None
    found, said = _as_kind(value, kind)
    if found is None:
        raise OptionError(f"{option} of the objective {objective} is {said}, not {value!r:.60}")
    return found


def _as_kind(value: Any, kind: Any) -> tuple[Any, str]:
    """Return the value as this kind (None where it is not), and what the kind is called."""
    if get_origin(kind) in (types.UnionType, Union):  # of None and one other
        return _as_kind(value, next(each for each in get_args(kind) if each is not type(None)))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        said = f"a list of {len(kinds)} numbers"
        if not isinstance(value, list | tuple) or len(value) != len(kinds):
            return None, said
        found = tuple(_as_kind(each, its)[0] for each, its in zip(value, kinds))
        return (None if None in found else found), said
    if kind is bool:
        return (value if isinstance(value, bool) else None), "true or false"
    if isinstance(value, bool):
        return None, _NAMES[kind]
    if kind is float:
        return (float(value) if isinstance(value, int | float) else None), _NAMES[kind]
    return (value if isinstance(value, kind) else None), _NAMES[kind]


_NAMES = {int: "a whole number", float: "a number", str: "a word"}
