"""What the columns of a CSV table are, from its first rows: whether it is a matrix of numbers or a table of text."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from netphys.neural.files.columns import MISSING, number
from netphys.neural.files.ids import open_csv

__all__ = ["text_table"]

_ROWS = 50  # that are looked at: a column of text has no number among them


def text_table(path: Path) -> dict[str, str]:
    """Kinds (``"text"``, ``"numbers"``) of the columns of a table that has columns of text behind its first.

    Parameters
    ----------
    path : Path
        A CSV file.

    Returns
    -------
    dict
        By the names in the header, in order; empty of a matrix of numbers, with or without ids before them, and of what
        is no table (no header of names, rows of other lengths): its reader says what is wrong.

    Raises
    ------
    NeuralDataError
        If the file is no CSV file in UTF-8.
    """
    with open_csv(path) as rows:
        header = [cell.strip() for cell in next(rows, [])]
        below = [[cell.strip() for cell in row] for row in islice(rows, _ROWS)]
    if not below or len(set(header)) < len(header) or any(len(row) != len(header) for row in below):
        return {}
    if any(number(cell) is not None and cell not in MISSING for cell in header):
        return {}
    kinds = {name: _kind([row[at] for row in below]) for at, name in enumerate(header)}
    return kinds if "text" in list(kinds.values())[1:] else {}


def _kind(cells: list[str]) -> str:
    """Text, where no cell is a number and one at least is something."""
    there = [cell for cell in cells if cell not in MISSING]
    return "text" if there and all(number(cell) is None for cell in there) else "numbers"
