"""Addresses: one line of text that leads to a network, stimuli or neural data, tuned by a query.

``SCHEME:NAME?key=value&key=value``. The same in Python, on the command line and in a study file. A misspelt key is
refused; what an address says wins over general options.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from netphys.errors import AddressError, near

__all__ = ["Query", "integer", "number", "split_address"]

T = TypeVar("T")


@dataclass
class Query:
    """The part of an address behind ``?``: options taken by name, what is left over refused."""

    address: str
    values: dict[str, str]
    known: list[str] = field(default_factory=list)

    def take(self, key: str, convert: Callable[[str], T], default: T) -> T:
        """Take an option, converted; `default` where the address does not name it.

        Raises
        ------
        AddressError
            If the value cannot be converted.
        """
        self.known.append(key)
        if key not in self.values:
            return default
        text = self.values.pop(key)
        try:
            return convert(text)
        except ValueError as error:
            raise AddressError(f"{self.address!r}: {key}={text} is not understood ({error})") from None

    def finish(self) -> None:
        """Refuse options that nobody took.

        Raises
        ------
        AddressError
            Naming the first of them, and the options that there are.
        """
        if self.values:
            odd = next(iter(self.values))
            ands = "; & separates options, a condition says 'and'" if odd != odd.strip() else ""
            raise AddressError(f"{self.address!r} takes no option {odd!r}{ands or near(odd, self.known)}")


def split_address(address: str) -> tuple[str, Query]:
    """Split an address into its body and its query.

    Examples
    --------
    >>> body, query = split_address("world:scenes?n=100&seed=1")
    >>> body, query.values
    ('world:scenes', {'n': '100', 'seed': '1'})
    """
    body, mark, tail = str(address).partition("?")
    values: dict[str, str] = {}
    for part in tail.split("&") if mark else []:
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise AddressError(f"{address!r}: {part!r} is not key=value")
        if key in values:
            raise AddressError(f"{address!r} says {key} twice")
        values[key] = value
    return body, Query(str(address), values)


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    """Make a converter to an integer that is at least `low` (and at most `high`)."""

    def convert(text: str) -> Any:
        try:
            value = int(text)
        except ValueError:
            raise ValueError("a whole number is wanted") from None
        if value < low or (high is not None and value > high):
            raise ValueError(f"at least {low}" + (f", at most {high}" if high is not None else ""))
        return value

    return convert


def number(text: str) -> float:
    """Convert to a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError("a number is wanted") from None
    if not 0 < value < float("inf"):
        raise ValueError("above 0")
    return value
