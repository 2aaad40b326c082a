"""Addresses that might read a file, from what it holds and what was said: which of them do is found out by trying."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from netphys.errors import NetphysError
from netphys.neural.files.array_files import ID_NAMES
from netphys.neural.files.dissimilarities import n_stimuli_of
from netphys.neural.files.ids import read_ids
from netphys.neural.files.options import FOLDER, SUFFIXES
from netphys.neural.telling.layouts_told import HINTS, Beside, layouts

__all__ = ["candidates"]

_ORDER = ("variable", "group", "trials", "kind", "form", "axes", "first", "stimulus", "neuroid", "repetition", "time")
_OF_RESPONSES = {"axes", "stimulus", "neuroid", "repetition", "time", "window", "bins", "unit", "values", "where"}
_WINDOWS = ({"window": "70,170"}, {"bins": "-100:400:50"})
_COLUMNS = {
    **HINTS,
    "repetition": re.compile(r"^rep|trial", re.I),
    "value": re.compile(r"value|rate|resp|count|spike|fr$|activ", re.I),
    "choice": re.compile(r"choice|chose|resp|answer|pick", re.I),
}
_ONSET = re.compile(r"onset|_on$|stim.*(time|start)", re.I)
_NO_STIMULUS = re.compile(r"time|start|stop|duration|onset|offset|_on$|_off$|correct|repetition|^rt$|^id$", re.I)
_SUBJECTS = 64  # rows of a table above which they are no subjects
_MANY = 4  # variables from which on one has few ways


def candidates(
    address: str, held: dict[str, Any], *, ids: str | Sequence[str] | None = None, problem: str = ""
) -> list[str]:
    """Addresses that might read what a file holds, the likeliest first; what was said is kept where it can be right.

    Parameters
    ----------
    address : str
        What was asked for.
    held : dict
        What the file holds (:func:`netphys.neural.describe_file`).
    ids : str or sequence of str, optional
        The list that rows follow: their number tells which axis is the stimuli's.
    problem : str
        What was wrong with the address: names that it says are near are tried.
    """
    body, _, query = address.partition("?")
    said = {key: value for key, _, value in (part.partition("=") for part in query.split("&") if part)}
    suffix = Path(body).suffix.lower()
    taken = SUFFIXES.get(suffix, FOLDER)
    found = [*_mended(said, problem), *_of_kind(suffix, said, held, ids, problem)]
    if "ids" in problem and (suffix != ".csv" or "kind" in said):
        found.append({})  # the same, with the ids that are missing
    made = [_written(body, {**said, **changes}) for changes in found if set(changes) <= set(taken)]
    return list(dict.fromkeys(each for each in made if each != address or "carries no stimulus ids" in problem))


def _written(body: str, said: Mapping[str, str | None]) -> str:
    """Write an address, what is read first; None takes an option away."""
    there = {key: value for key, value in said.items() if value is not None}
    keys = sorted(there, key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER))
    return body + ("?" + "&".join(f"{key}={there[key]}" for key in keys) if keys else "")


def _mended(said: Mapping[str, str], problem: str) -> Iterator[dict[str, str]]:
    """What was said, with the name that there is not replaced by those near it."""
    wrong, _, right = re.sub(r"there are: ", "near: ", problem).partition("near: ")
    for name in re.findall(r"'([^']+)'", wrong):
        for key, value in said.items():
            if name and name in value:
                yield from ({key: value.replace(name, near)} for near in re.findall(r"'([^']+)'", right)[:3])


def _of_kind(
    suffix: str, said: dict[str, str], held: dict[str, Any], ids: str | Sequence[str] | None, problem: str
) -> Iterator[dict[str, Any]]:
    """What reads the kind of data that the file holds."""
    kind = held.get("kind")
    if kind == "spikes":
        yield from _of_spikes(said, held)
    elif kind == "rasters":
        yield from _of_rasters(said, held)
    elif kind == "table":
        yield from _of_table(said, held)
    elif kind == "rdms":
        yield from ({"region": each} for each in held.get("region", "").split("+") if each and "region" not in said)
    elif suffix in (".nc", ".nc4"):
        yield from _of_netcdf(said, held, problem)
    elif suffix == ".csv":
        yield from _of_matrix(said, held)
    else:
        yield from _of_arrays(suffix, said, held, _count(ids))


def _of_spikes(said: dict[str, str], held: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Say when spikes count, and which column of which table is the stimulus."""
    tables = [name for name in held.get("columns", {}) if name != "units"]
    tables = [said["trials"]] if said.get("trials") in tables else tables
    when = [{}] if {"window", "bins"} & set(said) else list(_WINDOWS)
    found: list[dict[str, Any]] = []
    columns = {table: [each for each in held["columns"][table] if not _NO_STIMULUS.search(each)] for table in tables}
    named = {table: [each for each in columns[table] if HINTS["stimulus"].search(each)] for table in tables}
    if not any(named.values()):
        named = columns
    for table in sorted(tables, key=lambda each: (not HINTS["stimulus"].search(each), each != "trials")):
        asked = said.get("stimulus", "")
        trials = {"trials": table} if len(tables) > 1 else {}
        stimuli = [asked] if asked in held["columns"][table] else sorted(named[table], key=_is_vague)
        onsets = [each for each in held["columns"][table] if _ONSET.search(each)] if "align" not in said else []
        for each in stimuli[:3]:
            found += [{**trials, "stimulus": each, **align} for align in ({}, *({"align": onset} for onset in onsets))]
    yield from ({**each, **when[0]} for each in [*([{}] if not found else []), *found[:6]])
    yield from ({**each, **when[-1]} for each in found[:2] if len(when) > 1)


def _is_vague(name: str) -> bool:
    """Tell a column that is a stimulus' less surely than one with stimulus or image in its name."""
    return re.search(r"stim|im", name, re.I) is None


def _of_rasters(said: dict[str, str], held: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Say when rasters count, and which label is the stimulus."""
    labels = [said["stimulus"]] if "stimulus" in said else list(held.get("labels", ())) or [None]
    for label in labels:
        for when in [{}] if {"window", "bins"} & set(said) else _WINDOWS:
            yield {**({"stimulus": label} if label else {}), **when}


def _of_table(said: dict[str, str], held: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Say what the columns of a table of text are: responses in long form, or choices."""
    kinds = held["kinds"]
    texts = [name for name, kind in kinds.items() if kind == "text"]
    numbers = [name for name, kind in kinds.items() if kind != "text"]
    stimulus = _column("stimulus", [*texts, *numbers]) or texts[0]
    ids = {} if "stimulus_id" in kinds or "image_id" in kinds else {"stimulus": stimulus}
    if (choice := _column("choice", [each for each in texts if each != stimulus])) is not None:
        yield {"kind": "behaviour", **ids, **({} if choice == "choice" else {"value": choice})}
    neuroid = _column("neuroid", [each for each in kinds if each != stimulus])
    value = _column("value", [each for each in numbers if each not in (neuroid, stimulus)])
    if neuroid is None or value is None:
        return
    long = {"form": "long", **ids, **({} if neuroid == "neuroid_id" else {"neuroid": neuroid})}
    long |= {} if value == "value" else {"value": value}
    repetition = _column("repetition", [each for each in numbers if each not in (neuroid, stimulus, value)])
    if repetition not in (None, "repetition"):
        yield {**long, "repetition": repetition}
    yield long


def _column(role: str, names: Sequence[str]) -> str | None:
    """The first column whose name says that it is that."""
    return next((name for name in names if _COLUMNS[role].search(name)), None)


def _of_matrix(said: dict[str, str], held: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Say what a CSV matrix is: a square is an RDM first, another table is responses."""
    rows, columns = held["variables"].get("table", (0, 0))
    square = abs(rows - columns) <= 1  # with or without a column of ids
    if square or said.get("kind") == "rdms":
        yield {}
    if said.get("kind") != "rdms":
        for first in [{}] if "first" in said else [{}, {"first": "ids"}]:
            yield {"kind": said.get("kind", "responses"), **first}
    if said.get("kind", "rdms") == "rdms" and not _OF_RESPONSES & set(said) and rows <= _SUBJECTS:
        yield {"kind": "rdms"}
    if said.get("kind") != "rdms" and "axes" not in said:
        yield {"kind": "responses", "axes": "neuroid,stimulus"}


def _of_netcdf(said: dict[str, str], held: dict[str, Any], problem: str) -> Iterator[dict[str, Any]]:
    """Name the variable of several, or the coordinate of stimuli that has another name."""
    names: list[str | None] = [name for name, shape in held.get("variables", {}).items() if len(shape) >= 2]
    names = [None] if said.get("variable") in held.get("variables", {}) or len(names) < 2 else names
    coordinates: list[str | None] = [None]
    if "stimulus_id" in problem and "stimulus" not in said:
        coordinates += [each for each in held.get("coordinates", ()) if HINTS["stimulus"].search(each)]
    for name in names:
        for stimulus in coordinates:
            yield {**({"variable": name} if name else {}), **({"stimulus": stimulus} if stimulus else {})}


def _of_arrays(suffix: str, said: dict[str, str], held: dict[str, Any], n: int | None) -> Iterator[dict[str, Any]]:
    """Name the variable, whether it is RDMs or responses, and what its axes are."""
    shapes, kinds = held.get("variables", {}), held.get("kinds", {})
    beside = [each for name in shapes if (each := _beside(name, held)) is not None]
    wanted = [said["variable"]] if said.get("variable") in shapes else list(shapes)
    wanted = [each for each in wanted if kinds.get(each, "numbers") in ("numbers", "struct", "cell")]
    wanted.sort(key=lambda each: -sum(size > 1 for size in shapes[each]))
    for name in wanted:
        variable = {"variable": name} if len(shapes) > 1 else {"variable": None} if "variable" in said else {}
        variable = {} if variable == {"variable": None} and "variable" not in SUFFIXES.get(suffix, ()) else variable
        own = ID_NAMES if suffix != ".mat" else ()
        ways = list(_ways(name, held, [each for each in beside if each.name != name], n, said, own))
        for way in ways[: 2 if len(wanted) > _MANY else None]:
            yield {**variable, **way}


def _ways(
    name: str, held: dict[str, Any], beside: list[Beside], n: int | None, said: dict[str, str], own: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Ways to read a variable: as RDMs, where nothing that was said is of responses, and as responses."""
    shape, kind = tuple(held["variables"][name]), held.get("kinds", {}).get(name, "numbers")
    as_rdms = said.get("kind", "rdms") == "rdms" and not _OF_RESPONSES & set(said) and "." not in name
    if as_rdms and (kind in ("struct", "cell") or _square(shape, n)):
        yield {}
    if kind == "numbers" and said.get("kind") != "rdms" and not (_square(shape, n) and n is not None):
        for each in layouts(shape, beside, n_stimuli=n, said=said, own=own):
            yield {**each, "kind": said.get("kind", "responses")}
    if as_rdms and kind == "numbers" and _vectors(shape, n):
        yield {}
        if sum(size > 1 for size in shape) > 1:
            yield {"kind": "rdms"}


def _beside(name: str, held: dict[str, Any]) -> Beside | None:
    """Describe a vector; None of what is none."""
    shape, kind = held["variables"][name], held.get("kinds", {}).get(name, "numbers")
    sizes = [size for size in shape if size != 1]
    if kind == "text" and len(shape) == 2:  # rows of a matrix of chars
        sizes = [shape[0]]
    if len(sizes) != 1 or kind not in ("text", "cell", "numbers"):
        return None
    return Beside(name, sizes[0], kind != "numbers", held.get("grows", {}).get(name, ""))


def _count(ids: str | Sequence[str] | None) -> int | None:
    """How many ids a list has; None where there is none, or it cannot be read."""
    if ids is None:
        return None
    try:
        return len(read_ids(ids) if isinstance(ids, str) else ids)
    except NetphysError:
        return None


def _square(shape: tuple[int, ...], n: int | None) -> bool:
    """Tell whether the shape is of square matrices."""
    sides = {shape[-1]} if len(shape) >= 2 and shape[-1] == shape[-2] else set()
    sides |= {shape[0]} if len(shape) >= 2 and shape[0] == shape[1] else set()
    return any(side >= 3 and n in (None, side) for side in sides)


def _vectors(shape: tuple[int, ...], n: int | None) -> bool:
    """Tell whether the shape is of triangles."""
    if not shape or len(shape) > 2:
        return False
    stimuli = {n_stimuli_of(shape[-1]), n_stimuli_of(max(shape))} - {None}
    return any(each is not None and each >= 3 and n in (None, each) for each in stimuli)
