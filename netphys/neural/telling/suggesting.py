"""From what a file holds to the addresses that would read it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

from netphys.errors import NetphysError
from netphys.neural.files.dissimilarities import n_stimuli_of
from netphys.neural.files.ids import read_ids

__all__ = ["suggest"]

_MOST = 8  # suggestions; more are no help


def suggest(
    address: str, held: dict[str, Any], *, ids: str | Sequence[str] | None = None, problem: str = ""
) -> tuple[str, ...]:
    """Suggest addresses that read what a file holds.

    Parameters
    ----------
    address : str
        What was asked for.
    held : dict
        What the file holds (:func:`netphys.neural.describe_file`).
    ids : str or sequence of str, optional
        The list that rows follow: their number tells which axis is the stimuli's.
    problem : str
        What was wrong with the address; where only ids are missing, that is what is suggested.

    Returns
    -------
    tuple of str
        Arguments of ``netphys neural``; with `held` of arrays one or two a variable that can be RDMs or responses.

    Examples
    --------
    >>> suggest("rates.npz", {"kind": "arrays", "variables": {"it": [92, 168]}}, ids=["x"] * 92)
    ('rates.npz?variable=it&kind=responses&axes=stimulus,neuroid',)
    """
    body, _, query = address.partition("?")
    if "carries no stimulus ids" in problem:
        return (f"{address} --ids FILE.csv:COLUMN",)
    if held.get("kind") in ("spikes", "rasters"):
        return _of_spikes(address, held)
    n = _count(ids)
    said = [part for part in query.split("&") if part and part.partition("=")[0] not in ("variable", "kind", "axes")]
    found: list[str] = []
    for name, shape in held.get("variables", {}).items():
        if held.get("kinds", {}).get(name, "numbers") not in ("numbers", "struct"):
            continue
        several = len(held["variables"]) > 1
        for way in _ways(tuple(shape), held.get("kinds", {}).get(name) == "struct", n):
            parts = [*([f"variable={name}"] if several else []), *way, *said]
            found.append(body + ("?" + "&".join(parts) if parts else ""))
    return tuple(dict.fromkeys(each for each in found if each != address))[:_MOST]


def _of_spikes(address: str, held: dict[str, Any]) -> tuple[str, ...]:
    """Suggest what reads spikes: a window, or bins, and the label or column of stimuli."""
    body, _, query = address.partition("?")
    said = dict(part.partition("=")[::2] for part in query.split("&") if part)
    labels = [said["stimulus"]] if "stimulus" in said else list(held.get("labels", ())) or [""]
    rest = [f"{key}={value}" for key, value in said.items() if key not in ("stimulus", "window", "bins")]
    when = [f"{key}={said[key]}" for key in ("window", "bins") if key in said] or ["window=70,170", "bins=-100:400:50"]
    made = ["&".join([*([f"stimulus={label}"] if label else []), each, *rest]) for label in labels for each in when]
    return tuple(f"{body}?{each}" for each in made if f"{body}?{each}" != address)[:_MOST]


def _count(ids: str | Sequence[str] | None) -> int | None:
    """How many ids a list has; None where there is none, or it cannot be read."""
    if ids is None:
        return None
    try:
        return len(read_ids(ids) if isinstance(ids, str) else ids)
    except NetphysError:
        return None


def _ways(shape: tuple[int, ...], is_struct: bool, n: int | None) -> list[list[str]]:
    """Ways to read a variable of that shape, as options."""
    if is_struct:
        return [[]]
    sizes = tuple(size for size in shape if size != 1)
    ways: list[list[str]] = []
    if _square(shape, n) or _vectors(shape, n):
        ways.append([])
    if len(sizes) in (2, 3) and not _square(shape, n) and len(shape) == len(sizes):
        names = ("stimulus", "neuroid", "repetition")[: len(sizes)]
        for axes in permutations(names):
            if n is None or shape[axes.index("stimulus")] == n:
                ways.append(["kind=responses", f"axes={','.join(axes)}"])
    return ways[:2]


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
