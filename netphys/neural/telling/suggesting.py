"""From what a file holds to the addresses that read it: each is tried before it is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netphys.errors import NetphysError
from netphys.neural.loading import load_neural
from netphys.neural.telling.candidates import candidates

__all__ = ["IDS_WANTED", "suggest"]

IDS_WANTED = " --ids FILE.csv:COLUMN"  # behind an address that reads as soon as a list of ids is named
_MOST = 8  # addresses that are tried; more are no help
_LARGEST = 200 * 2**20  # bytes of a file that is read so often
_LARGEST_TEXT = 30 * 2**20
_ALIKE = re.compile(r"[?&](first=ids|kind=rdms)")  # what is said more than another address, which reads without it
_ROWS = re.compile(r"its (\d+) (?:rows|presentations)")


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
        What was wrong with the address.

    Returns
    -------
    tuple of str
        Arguments of ``netphys neural`` that were seen to read the file, those that only lack ids with ``--ids``; of a
        file of more than 200 MiB (of text, 30), or that is not there, what is likely.

    Examples
    --------
    >>> suggest("rates.npz", {"kind": "arrays", "variables": {"it": [92, 168]}}, ids=["x"] * 92)
    ('rates.npz?kind=responses&axes=stimulus,neuroid',)
    """
    found = candidates(address, held, ids=ids, problem=problem)[:_MOST]
    path = Path(address.partition("?")[0])
    if not path.exists() or _size(path) > (_LARGEST_TEXT if path.suffix.lower() == ".csv" else _LARGEST):
        return tuple(each for each in found if each != address)
    reads: dict[str, str] = {}
    for each in found:
        alike = _ALIKE.sub("", each.replace("presentation", "stimulus"))
        if alike not in reads and (read := _tried(each, ids)):
            reads[alike] = read
    return tuple(reads.values())


def _tried(address: str, ids: str | Sequence[str] | None) -> str:
    """The address, if it reads; with ``--ids`` if they are all that it lacks; else nothing."""
    try:
        load_neural(address, ids=ids)
        return address
    except NetphysError as error:
        missing = _ROWS.search(str(error)) if ids is None and "--ids" in str(error) else None
    if missing is None:
        return ""
    try:
        load_neural(address, ids=[f"stimulus{at}" for at in range(int(missing[1]))])
    except NetphysError:
        return ""
    return address + IDS_WANTED


def _size(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    return path.stat().st_size if path.is_file() else sum(each.stat().st_size for each in path.glob("*"))
