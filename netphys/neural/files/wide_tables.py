"""Responses in wide form: one row a stimulus or presentation, one column a neuroid, or the other way round.

The first column is ids where it can be told (see :func:`netphys.neural.files.arrays.read_table`); columns of text
beside it, and those that are called ``repetition`` or ``session``, are coordinates of its rows. A first column
without a name that numbers the rows is pandas' index, and no ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.files.arrays import ID_COLUMNS, floats, read_cells
from netphys.neural.files.columns import Column, number
from netphys.neural.files.wide_columns import (
    is_index,
    is_text,
    matching,
    require_known,
    require_no_trials,
    require_plain,
    takes_ids_elsewhere,
)

__all__ = ["WideTable", "read_wide"]

_COORDINATES = ("repetition", "session")  # leading columns of these names are coordinates, numbers or not


@dataclass(frozen=True, eq=False)
class WideTable:
    """Numbers of a wide table, with what it says of its rows and columns."""

    values: np.ndarray  # float64 (row, column)
    row_ids: list[str] | None
    column_ids: list[str] | None
    coordinates: dict[str, np.ndarray] = field(default_factory=dict)  # of rows
    told: str = ""  # where its ids are, if that had to be found out


def read_wide(
    path: Path,
    *,
    first: str | None = None,
    ids: str | None = None,
    repetition: str | None = None,
    neuroids: str | None = None,
    across: bool = False,
    choices: bool = False,
) -> WideTable:
    """Read a wide CSV table.

    Parameters
    ----------
    path : Path
    first : {"ids", "values"}, optional
        What the first column is, where nothing tells.
    ids, repetition : str, optional
        Names of the columns of ids and of numbers of repetitions, anywhere in the table.
    neuroids : str, optional
        Which columns are read as numbers, as patterns of their names; all others become coordinates of rows.
    across, choices : bool
        Whether a row is a neuroid; whether the columns are choices.

    Raises
    ------
    NeuralDataError
        If a column that is named is not there, text stands among numbers, or the first column may be ids.
    """
    header, cells = read_cells(path)
    if not cells:
        raise NeuralDataError(f"{path} has no numbers below its header; save a matrix of numbers")
    if header is None:
        if ids is not None or repetition is not None or neuroids is not None:
            raise NeuralDataError(f"{path} has no header; a column can only be named in a table that has one")
        return _bare(path, cells, first)
    for option in (ids, repetition):
        if option is not None and option not in header:
            raise NeuralDataError(f"{path} has no column {option!r}{near(option, header)}")
    if choices and ids is None and first is None:
        require_no_trials(path, header, cells)
    named, index = _ids(path, header, cells, first, ids, across=across)
    taken = [at for at in (named, index) if at is not None]
    chosen = None
    if neuroids is not None:
        if named is None and first != "values":
            raise NeuralDataError(
                f"{path}: which column says the stimulus? say stimulus=COLUMN, one of {', '.join(header[:6])}, or "
                "first=values if rows follow a list (ids=)"
            )
        chosen = matching(path, header, neuroids, but={*taken, *([header.index(repetition)] if repetition else [])})
    coordinates: dict[str, np.ndarray] = {}
    for at, name in enumerate(header):
        if at in taken:
            continue
        if name == repetition or (name == "repetition" and repetition is None and at not in (chosen or [])):
            coordinates["repetition"] = _coordinate(cells, at)
            taken.append(at)
        elif _is_coordinate(header, cells, at, taken, named) if chosen is None else at not in chosen:
            coordinates[name] = _coordinate(cells, at)
            taken.append(at)
    kept = [at for at in range(len(header)) if at not in taken]
    names = [header[at] for at in kept]
    if chosen is None:
        _require_no_ids(path, names, first)
    if not kept:
        raise NeuralDataError(f"{path} has no numbers beside its columns of text ({', '.join(header[:6])})")
    _require_numbers(path, header, cells, kept)
    table = WideTable(
        floats(path, [[row[at] for at in kept] for row in cells]),
        [row[named] for row in cells] if named is not None else None,
        names,
        coordinates,
        f"ids in column {header[named]!r}, " if named is not None and index is not None else "",
    )
    if named is None and first is None:
        _require_no_hidden_ids(path, table)
    if chosen is None:
        require_known(path, names[first == "values" :], across=across, choices=choices, named=named is not None)
    return table


def _bare(path: Path, cells: list[list[str]], first: str | None) -> WideTable:
    """Read a table without a header."""
    if first == "ids" or (first is None and any(number(row[0]) is None or row[0] == "" for row in cells)):
        return WideTable(floats(path, [row[1:] for row in cells]), [row[0] for row in cells], None)
    table = WideTable(floats(path, cells), None, None)
    if first is None:
        _require_no_hidden_ids(path, table)
    return table


def _ids(
    path: Path, header: list[str], cells: list[list[str]], first: str | None, ids: str | None, *, across: bool
) -> tuple[int | None, int | None]:
    """Say which column has the ids of rows, and which is pandas' index and no part of the data."""
    index = 0 if is_index(header, cells) else None
    if ids is not None:
        named = header.index(ids)
        return named, index if named != 0 else None
    if first is not None:
        return (0, None) if first == "ids" else (None, index)
    if index is not None:
        named_beside = takes_ids_elsewhere(path, header, cells, across=across)
        return (0, None) if named_beside is None else (named_beside, index)
    if header[0].lower() in ID_COLUMNS:
        return 0, None
    if any(number(row[0]) is None or row[0] == "" for row in cells):
        require_plain(path, header, cells)
        return 0, None
    return None, None


def _is_coordinate(header: list[str], cells: list[list[str]], at: int, taken: list[int], named: int | None) -> bool:
    """Tell whether a column leads the numbers and is of text, or called a coordinate."""
    if named is None or not _leads(at, taken):
        return False
    return header[at] in _COORDINATES or is_text([row[at] for row in cells])


def _leads(at: int, taken: list[int]) -> bool:
    """Tell whether nothing but columns that were taken stands before a column."""
    return set(range(at)) <= set(taken) if at <= len(taken) else False


def _coordinate(cells: list[list[str]], at: int) -> np.ndarray:
    """A column as the values of a coordinate."""
    return Column.of("", np.array([row[at] for row in cells], dtype=str)).values


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
        if number(cells[0][at]) is None and is_text([row[at] for row in cells]):
            raise NeuralDataError(
                f"{path}: column {header[at]!r} holds text and stands among the neuroids; put it beside the ids, where "
                "it becomes a coordinate, take it out, or say which columns are neuroids: neuroid=PATTERN"
            )


def _require_no_hidden_ids(path: Path, table: WideTable) -> None:
    """Refuse a first column that may be ids and would be read as a neuroid."""
    column, others = table.values[:, 0], table.values[:, 1:]
    whole = bool((column == np.round(column)).all())
    if whole and (len(set(column)) == len(column) or (others != np.round(others)).any()):
        name = f", {table.column_ids[0]!r}," if table.column_ids else " (it has no header)"
        raise NeuralDataError(
            f"{path}: its first column{name} may be ids (whole numbers, all different or unlike the columns "
            "beside it); say first=ids, or first=values if it is responses"
        )
