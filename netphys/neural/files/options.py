"""What an address may say of a file of neural data, and which kinds of file take what."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netphys.addresses import Query, integer
from netphys.errors import AddressError, near
from netphys.neural.files.arrays import FirstColumn

__all__ = ["FOLDER", "SUFFIXES", "FileOptions", "take_options"]


@dataclass(frozen=True)
class FileOptions:
    """What an address says of a file of neural data; None where it says nothing."""

    # which part of the file
    variable: str | None = None
    field: str | None = None
    group: str | None = None
    kind: str | None = None  # rdms, responses, behaviour
    form: str | None = None  # wide, long
    # RDMs
    index: tuple[int | slice, ...] | None = None
    average: int | None = None
    stack: str | None = None
    # what the axes, columns or tables are
    axes: tuple[str, ...] | None = None
    first: FirstColumn | None = None
    stimulus: str | None = None  # the variable, column or label that says which stimulus
    neuroid: str | None = None
    repetition: str | None = None
    time: str | None = None  # the variable of time bins, or START:STOP:WIDTH in ms of an axis of time
    value: str | None = None  # the column of responses, or of choices
    trials: str | None = None  # the table of presentations of an NWB file
    align: str | None = None  # its column of onsets
    # whose they are, which of them, when
    subject: tuple[str, ...] | None = None
    region: str | None = None
    session: str | None = None
    where: str | None = None  # a condition on the coordinates of presentations
    neuroid_where: str | None = None  # and of neuroids
    window: tuple[float, float] | None = None  # ms from onset, [start, stop)
    bins: tuple[float, float, float] | None = None  # start, stop, width, ms from onset
    values: str | None = None  # count, rate (spikes/s): what the file's numbers are, where it does not say
    unit: str | None = None  # count, rate: what they become
    name: str | None = None
    ids: str | None = None


_SHORTEST = 0.5  # ms: no response is counted in less; times in seconds are
_AXES = ("stimulus", "presentation", "neuroid", "repetition", "time")


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
    shown = {"stimulus", "presentation"} & set(axes)
    if len(shown) != 1 or "neuroid" not in axes or not set(axes) <= set(_AXES) or len(set(axes)) != len(axes):
        raise ValueError("stimulus or presentation, neuroid, then repetition, time if there are; in the file's order")
    if "presentation" in shown and "repetition" in axes:
        raise ValueError("an axis of presentations holds the repetitions already")
    return axes


def _window(text: str) -> tuple[float, float]:
    """Read START,STOP in ms."""
    start, stop = _numbers(text, ",", 2, "START,STOP in ms from the onset of the stimulus")
    if not start < stop:
        raise ValueError("START before STOP")
    if stop - start < _SHORTEST:
        raise ValueError(f"{stop - start:g} ms are shorter than {_SHORTEST:g}: these may be seconds, say ms")
    return start, stop


def _bins(text: str) -> tuple[float, float, float]:
    """Read START:STOP:WIDTH in ms."""
    start, stop, width = _numbers(text, ":", 3, "START:STOP:WIDTH in ms from the onset of the stimulus")
    if 0 < width < _SHORTEST:
        raise ValueError(f"bins of {width:g} ms are shorter than {_SHORTEST:g}: these may be seconds, say ms")
    n = (stop - start) / width if width > 0 else 0.0
    if not 0.999 < n <= 100_000 or abs(n - round(n)) > 1e-6:
        raise ValueError("STOP - START is a whole number of WIDTHs, at least one")
    return start, stop, width


def _numbers(text: str, at: str, n: int, what: str) -> tuple[float, ...]:
    """Read n finite numbers."""
    try:
        found = tuple(float(part) for part in text.split(at))
    except ValueError:
        raise ValueError(what) from None
    if len(found) != n or not all(math.isfinite(each) for each in found):
        raise ValueError(what)
    return found


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
    "index": _index,
    "average": integer(0),
    "stack": _one_of("first", "last"),
    "kind": _one_of("rdms", "responses", "behaviour"),
    "form": _one_of("wide", "long"),
    "axes": _axes,
    "subject": _words,
    "first": _one_of("ids", "values"),
    "window": _window,
    "bins": _bins,
    "values": _one_of("count", "rate"),
    "unit": _one_of("count", "rate"),
}  # every other option is text
_CHOICE = ("subject", "region", "session", "where", "neuroid_where", "window", "bins", "values", "unit", "name", "ids")
_LAYOUT = ("kind", "axes", "stimulus", "neuroid", "repetition", "time")
_ARRAYS = ("variable", "index", "average", "stack", *_LAYOUT, *_CHOICE)
_NETCDF = ("variable", "group", "kind", "form", "stimulus", "neuroid", "repetition", "value", *_CHOICE)
_RASTERS = ("variable", "stimulus", "align", *_CHOICE)
SUFFIXES: dict[str, tuple[str, ...]] = {  # which options a kind of file takes
    ".mat": ("field", *_ARRAYS),
    ".npz": _ARRAYS,
    ".npy": tuple(each for each in _ARRAYS if each != "variable"),
    ".csv": ("kind", "axes", "first", "form", "stimulus", "neuroid", "repetition", "value", *_CHOICE),
    ".h5": ("group", *_ARRAYS),
    ".hdf5": ("group", *_ARRAYS),
    ".nc": _NETCDF,
    ".nc4": _NETCDF,
    ".nwb": ("trials", "align", "stimulus", "neuroid", *_CHOICE),
    ".zip": _RASTERS,
}
FOLDER: tuple[str, ...] = _RASTERS  # a folder of packed rasters, one file a neuron


def take_options(query: Query, suffix: str) -> FileOptions:
    """Take the options that a kind of file (``""``: a folder) knows from a query; others are refused."""
    taken = SUFFIXES[suffix] if suffix else FOLDER
    options = FileOptions(**{key: query.take(key, _CONVERT.get(key, str), None) for key in taken})
    if options.window is not None and options.bins is not None:
        raise AddressError(f"{query.address!r} says window= (one value) and bins= (several); say one of them")
    query.finish()
    return options
