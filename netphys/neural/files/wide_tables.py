"""Responses in wide form: one row a stimulus or presentation, one column a neuroid, or the other way round.

The first column is ids where it can be told (see :func:`netphys.neural.files.arrays.read_table`); columns of text
beside it, and those that are called ``repetition`` or ``session``, are coordinates of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.files.arrays import ID_COLUMNS, floats, read_cells
from netphys.neural.files.columns import MISSING, Column, number

__all__ = ["WideTable", "read_wide"]

_COORDINATES = ("repetition", "session")  # leading columns of these names are coordinates, numbers or not


@dataclass(frozen=True, eq=False)
class WideTable:
    """Numbers of a wide table, with what it says of its rows and columns."""

    values: np.ndarray  # float64 (row, column)
    row_ids: list[str] | None
    column_ids: list[str] | None
    coordinates: dict[str, np.ndarray] = field(default_factory=dict)  # of rows


def read_wide(
    path: Path, *, first: str | None = None, ids: str | None = None, repetition: str | None = None
) -> WideTable:
    """Read a wide CSV table.

    Parameters
    ----------
    path : Path
    first : {"ids", "values"}, optional
        What the first column is, where nothing tells.
    ids, repetition : str, optional
        Names of the columns of ids and of numbers of repetitions.

    Raises
    ------
    NeuralDataError
        If a column that is named is not there, text stands among numbers, or the first column may be ids.
    """
    header, cells = read_cells(path)
    if not cells:
        raise NeuralDataError(f"{path} has no numbers below its header; save a matrix of numbers")
    if header is None:
        if ids is not None or repetition is not None:
            raise NeuralDataError(f"{path} has no header; a column can only be named in a table that has one")
        return _bare(path, cells, first)
    for option in (ids, repetition):
        if option is not None and option not in header:
            raise NeuralDataError(f"{path} has no column {option!r}{near(option, header)}")
    named = header.index(ids) if ids is not None else (0 if _first_is_ids(header, cells, first) else None)
    taken = [named] if named is not None else []
    coordinates: dict[str, np.ndarray] = {}
    for at, name in enumerate(header):
        if at == named:
            continue
        if name == repetition or (name == "repetition" and repetition is None):
            coordinates["repetition"] = _coordinate(cells, at)
            taken.append(at)
        elif named is not None and _leads(at, taken) and (name in _COORDINATES or _is_text([row[at] for row in cells])):
            coordinates[name] = _coordinate(cells, at)
            taken.append(at)
    kept = [at for at in range(len(header)) if at not in taken]
    names = [header[at] for at in kept]
    _require_no_ids(path, names, first)
    if not kept:
        raise NeuralDataError(f"{path} has no numbers beside its columns of text ({', '.join(header[:6])})")
    _require_numbers(path, header, cells, kept)
    table = WideTable(
        floats(path, [[row[at] for at in kept] for row in cells]),
        [row[named] for row in cells] if named is not None else None,
        names,
        coordinates,
    )
    if named is None and first is None:
        _require_no_hidden_ids(path, table)
    return table


def _bare(path: Path, cells: list[list[str]], first: str | None) -> WideTable:
    """Read a table without a header."""
    if first == "ids" or (first is None and any(number(row[0]) is None or row[0] == "" for row in cells)):
        return WideTable(floats(path, [row[1:] for row in cells]), [row[0] for row in cells], None)
    return WideTable(floats(path, cells), None, None)


def _first_is_ids(header: list[str], cells: list[list[str]], first: str | None) -> bool:
    """Tell whether the first column is ids: it is said, or named so, or not numbers."""
    if first is not None:
        return first == "ids"
    return header[0].lower() in ID_COLUMNS or any(number(row[0]) is None or row[0] == "" for row in cells)


def _leads(at: int, taken: list[int]) -> bool:
    """Tell whether nothing but columns that were taken stands before a column."""
    return set(range(at)) <= set(taken) if at <= len(taken) else False


def _coordinate(cells: list[list[str]], at: int) -> np.ndarray:
    """A column as the values of a coordinate."""
    return Column.of("", np.array([row[at] for row in cells], dtype=str)).values


def _is_text(cells: list[str]) -> bool:
    """Tell whether no cell of a column is a number, and one is text; a column of both is a mistake, no text."""
    texts = [cell for cell in cells if cell not in MISSING]
    return bool(texts) and all(number(cell) is None for cell in texts)


def _require_no_ids(path: Path, names: list[str], first: str | None) -> None:
    """Refuse columns of ids that would be read as neuroids."""
    stray = next((name for name in names if name and name.lower() in ID_COLUMNS), None)
    if stray is not None and first != "values":
        raise NeuralDataError(
            f"{path}: column {stray!r} holds ids and is not the first; put it first, say stimulus={stray}, or take it "
            "out"
        )


def _require_numbers(path: Path, header: list[str], cells: list[list[str]], kept: list[int]) -> None:
    """Refuse a column of text among the neuroids."""
    for at in kept:
        if number(cells[0][at]) is None and _is_text([row[at] for row in cells]):
            raise NeuralDataError(
                f"{path}: column {header[at]!r} holds text and stands among the neuroids; put it beside the ids, where "
                "it becomes a coordinate, or take it out"
            )


def _require_no_hidden_ids(path: Path, table: WideTable) -> None:
    """Refuse a first column that may be ids and would be read as a neuroid."""
    column, others = table.values[:, 0], table.values[:, 1:]
    whole = bool((column == np.round(column)).all())
    if whole and (len(set(column)) == len(column) or (others != np.round(others)).any()):
        name = (table.column_ids or [""])[0]
        raise NeuralDataError(
            f"{path}: its first column, {name!r}, may be ids (whole numbers, all different or unlike the columns "
            "beside it); say first=ids, or first=values if it is responses"
        )
