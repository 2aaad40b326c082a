"""Classic stimuli by address: ``classic:gratings?orientation=0:180:15&spatial_frequency=0.05,0.1&size=64&degrees=8``.

The keys are the parameters of the function of that name. A value is a number, a word, ``true`` or ``false``, ``none``;
several values are ``a,b,c``; ``start:stop:step`` is a range, and its stop is left out, as in Python.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netphys.addresses import Query, integer
from netphys.errors import AddressError, near
from netphys.stimuli.classic import CLASSIC

if TYPE_CHECKING:
    from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["load_classic", "values_of"]

_LONGEST = 1_000_000  # values of one range


def load_classic(name: str, query: Query, *, seed: int = 0) -> StimulusSet:
    """Make the classic stimuli that an address asks for.

    Parameters
    ----------
    name : str
        One of :data:`netphys.stimuli.classic.CLASSIC`.
    query : Query
        Parameters of that function, as text.
    seed : int
        Where the function has a seed and the query names none.

    Raises
    ------
    AddressError
        If there is no such generator or parameter, or a value is not understood.
    OptionError
        If a value is out of range.

    Examples
    --------
    >>> from netphys.addresses import split_address
    >>> body, query = split_address("classic:gratings?orientation=0:180:45&size=64")
    >>> load_classic("gratings", query).metadata["orientation"].tolist()
    [0.0, 45.0, 90.0, 135.0]
    """
    if name not in CLASSIC:
        raise AddressError(f"no classic stimuli 'classic:{name}'{near(name, CLASSIC)}")
    make = CLASSIC[name]
    given: dict[str, Any] = {}
    for key, parameter in inspect.signature(make).parameters.items():
        if key == "seed":
            given[key] = query.take(key, integer(0), seed)
        elif key in query.values:
            given[key] = query.take(key, _converter(str(parameter.annotation)), None)
        else:
            query.known.append(key)
    _require_known(query, make)
    return make(**given)


def values_of(text: str) -> Any:
    """Return the value, or the list of values, that a text says.

    Raises
    ------
    ValueError
        If a range is not ``start:stop:step`` or holds nothing.

    Examples
    --------
    >>> values_of("0:180:45"), values_of("0.05,0.1"), values_of("circle"), values_of("0:2:1,5")
    ([0, 45, 90, 135], [0.05, 0.1], 'circle', [0, 1, 5])
    """
    found = [value for part in text.split(",") for value in _part(part.strip())]
    return found if "," in text or ":" in text else found[0]


def _require_known(query: Query, make: Callable[..., Any]) -> None:
    """Refuse options that nobody took; where none that there is is near, list all."""
    odd = next(iter(query.values), "")
    if odd and odd == odd.strip() and not near(odd, query.known):
        options = ", ".join(inspect.signature(make).parameters)
        raise AddressError(f"{query.address!r} takes no option {odd!r}; its options: {options}")
    query.finish()


def _converter(annotation: str) -> Callable[[str], Any]:
    """Return what turns text into the values of a parameter, by its annotation."""
    several = any(word in annotation for word in ("Numbers", "Words", "Sequence", "tuple", "list"))

    def convert(text: str) -> Any:
        value = values_of(text)
        if isinstance(value, list) and not several:
            raise ValueError("one value is wanted")
        if "None" in annotation:  # elsewhere "none" is a word: window=none
            value = [_or_none(each) for each in value] if isinstance(value, list) else _or_none(value)
        wrong = _wrong_kind(value, annotation)
        if wrong:
            raise ValueError(f"{wrong} is wanted")
        return value

    return convert


def _or_none(value: Any) -> Any:
    return None if value == "none" else value


def _wrong_kind(value: Any, annotation: str) -> str:
    """Say what is wanted of a parameter that takes one kind of value only, if this is another."""
    kind = annotation.removesuffix("| None").strip()
    if value is None:
        return "" if "None" in annotation else "a value"
    if kind == "bool":
        return "" if isinstance(value, bool) else "true or false"
    if kind == "int":
        return "" if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if kind == "float":
        return "" if isinstance(value, int | float) and not isinstance(value, bool) else "a number"
    return ""


def _part(text: str) -> list[Any]:
    """Return the values of one part between commas."""
    if text in ("true", "false"):
        return [text == "true"]
    if text.count(":") == 2:
        return _range(*(_number(each) for each in text.split(":")))
    if not text or ":" in text:
        raise ValueError("a value, several with commas, or a range start:stop:step are wanted")
    number = _number(text)
    return [text if number is None else number]


def _number(text: str) -> int | float | None:
    """Return the number that a text is, whole where it is written so; None for a word."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _range(start: float | None, stop: float | None, step: float | None) -> list[Any]:
    """Return start, start + step, ... before stop; the digits as they are written: 0:0.3:0.1 is 0, 0.1, 0.2."""
    if start is None or stop is None or not step or not all(map(math.isfinite, (start, stop, step))):
        raise ValueError("a range is start:stop:step of numbers, its step not 0")
    n = math.ceil(round((stop - start) / step, 9))
    if not 0 < n <= _LONGEST:
        raise ValueError(f"this range holds {max(n, 0)} values; 1 to {_LONGEST} are wanted")
    return [
        start + index * step if isinstance(start + step, int) else round(start + index * step, 12) for index in range(n)
    ]
