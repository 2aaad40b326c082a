"""What an address may say of a file of neural data, and which kinds of file take what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netphys.addresses import Query, integer
from netphys.errors import near
from netphys.neural.arrays import FirstColumn

__all__ = ["SUFFIXES", "FileOptions", "take_options"]


@dataclass(frozen=True)
class FileOptions:
    """What an address says of a file of neural data; None where it says nothing."""

    variable: str | None = None
    field: str | None = None
    index: tuple[int | slice, ...] | None = None
    average: int | None = None
    stack: str | None = None
    kind: str | None = None
    axes: tuple[str, ...] | None = None
    group: str | None = None
    subject: tuple[str, ...] | None = None
    region: str | None = None
    name: str | None = None
    ids: str | None = None
    first: FirstColumn | None = None


_AXES = ("stimulus", "neuroid", "repetition")


def _one_of(*words: str) -> Callable[[str], Any]:
    """Make a converter that takes one of the words."""

    def convert(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}{near(text, words)}")
        return text

    return convert


def _words(text: str) -> tuple[str, ...]:
    """Split at commas."""
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise ValueError("a list with commas, without empty entries")
    return words


def _axes(text: str) -> tuple[str, ...]:
    """Read the order of axes."""
    axes = _words(text)
    if not {"stimulus", "neuroid"} <= set(axes) <= set(_AXES) or len(set(axes)) != len(axes):
        raise ValueError("stimulus and neuroid, and repetition where there is one, in the file's order")
    return axes


def _index(text: str) -> tuple[int | slice, ...]:
    """Read an index: integers and slices, one an axis, as in ``0``, ``:,1`` or ``0:2``."""
    taken: list[int | slice] = []
    for part in text.split(","):
        if ":" not in part:
            taken.append(int(part))
            continue
        ends = [int(end) if end.strip() else None for end in part.split(":")]
        if len(ends) > 3 or any(end is not None and end < 0 for end in ends) or (len(ends) == 3 and ends[2] == 0):
            raise ValueError("integers from 0 and slices START:STOP[:STEP], one an axis")
        taken.append(slice(*ends))
    return tuple(taken)


_CONVERT: dict[str, Callable[[str], Any]] = {
    "variable": str,
    "field": str,
    "index": _index,
    "average": integer(0),
    "stack": _one_of("first", "last"),
    "kind": _one_of("rdms", "responses"),
    "axes": _axes,
    "group": str,
    "subject": _words,
    "region": str,
    "name": str,
    "ids": str,
    "first": _one_of("ids", "values"),
}
_ARRAYS = ("variable", "index", "average", "stack", "kind", "axes", "subject", "region", "name", "ids")
_NETCDF = ("variable", "group", "subject", "region", "name", "ids")
SUFFIXES: dict[str, tuple[str, ...]] = {  # which options a kind of file takes
    ".mat": ("field", *_ARRAYS),
    ".npz": _ARRAYS,
    ".npy": _ARRAYS[1:],
    ".csv": ("kind", "axes", "subject", "region", "name", "ids", "first"),
    ".h5": _ARRAYS,
    ".hdf5": _ARRAYS,
    ".nc": _NETCDF,
    ".nc4": _NETCDF,
}


def take_options(query: Query, suffix: str) -> FileOptions:
    """Take the options that a kind of file knows from a query; others are refused."""
    options = FileOptions(**{key: query.take(key, _CONVERT[key], None) for key in SUFFIXES[suffix]})
    query.finish()
    return options
