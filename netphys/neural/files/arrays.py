"""Arrays of .npy, .npz and CSV files, read as if a stranger had written them.

Headers are read first: a claim is compared with the bytes that are there before memory is taken. Nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.files.columns import number, numbers, what_is_right
from netphys.neural.files.contents import Variable, kind_of
from netphys.neural.files.ids import read_rows, require_commas, without_empty_end
from netphys.numpy_files import npy_header, npz_headers, read_npy, read_npz

__all__ = [
    "ID_COLUMNS",
    "FirstColumn",
    "Table",
    "floats",
    "npy_variables",
    "npz_variables",
    "read_cells",
    "read_npy",
    "read_npz",
    "read_table",
]


# headers of a first column of ids; image_id is BrainIO's old name, no name at all is that of pandas' index
ID_COLUMNS = ("", "stimulus_id", "image_id", "presentation", "file", "neuroid_id")
FirstColumn = Literal["ids", "values"]


def npy_variables(path: Path) -> dict[str, Variable]:
    """Describe the one array of a .npy file, under the name ``array``."""
    shape, dtype = npy_header(path)
    return {"array": Variable("array", shape, kind_of(dtype))}


def npz_variables(path: Path) -> dict[str, Variable]:
    """Describe the arrays of a .npz file from their headers."""
    return {name: Variable(name, shape, kind_of(dtype)) for name, (shape, dtype) in npz_headers(path).items()}


class Table:
    """The numbers of a CSV file with the ids of its rows and columns, where it has them."""

    def __init__(self, values: np.ndarray, row_ids: list[str] | None, column_ids: list[str] | None) -> None:
        self.values = values  # float64 (row, column)
        self.row_ids = row_ids
        self.column_ids = column_ids


def read_table(path: Path, *, first: FirstColumn | None = None) -> Table:
    """Read a CSV file of numbers, with or without a header of ids and a first column of ids.

    A first row that is not all numbers is a header; so is one of numbers above a square of them. A first column is
    ids where `first` says so, else where its header is empty or a name of ids (:data:`ID_COLUMNS`), or where its cells
    are not numbers.
    """
    header, cells = read_cells(path, square=True)
    rows: list[str] | None = None
    column = [row[0] for row in cells]
    named = header is not None and header[0].lower() in ID_COLUMNS
    if cells and (first == "ids" or (first is None and (named or not all(_is_number(cell) for cell in column)))):
        rows, cells = column, [row[1:] for row in cells]
        header = header[1:] if header else None
    if not cells or not cells[0]:
        raise NeuralDataError(f"{path} has no numbers below its header; save a matrix of numbers")
    return Table(floats(path, cells), rows, header)


def read_cells(path: Path, *, square: bool = False) -> tuple[list[str] | None, list[list[str]]]:
    """Read the cells of a CSV matrix, all rows of one length: its header, None where it has none, and the rest.

    A first row that is not all numbers is a header; where the matrix must be `square`, so is one of numbers above a
    square of them. Empty rows at the end are left out below a header.

    Raises
    ------
    NeuralDataError
        If rows differ in length, or cells are parted by something else than commas.
    """
    cells = [[cell.strip() for cell in row] for row in read_rows(path)]
    require_commas(path, cells[0])
    if not all(_is_number(cell) for cell in cells[0]):
        cells = list(without_empty_end(cells))
    width = max(len(row) for row in cells)
    short = next((at for at, row in enumerate(cells) if len(row) != width), None)
    if short is not None:
        raise NeuralDataError(
            f"{path}: row {short + 1} has {len(cells[short])} cells, others have {width}; mend the table"
        )
    if not all(_is_number(cell) for cell in cells[0]) or (square and len(cells) == width + 1 > 2):
        return cells[0], cells[1:]
    return None, cells


def _is_number(cell: str) -> bool:
    """Tell whether a cell reads as a number; an empty one does not."""
    return cell != "" and number(cell) is not None


def floats(path: Path, cells: list[list[str]]) -> np.ndarray:
    """Read cells as float64; one that is empty or says NA is NaN.

    Raises
    ------
    NeuralDataError
        If a cell is text; the line names the first.
    """
    found = [numbers(row) for row in cells]
    for row, read in zip(cells, found):
        if None in read:
            cell = row[read.index(None)]
            raise NeuralDataError(f"{path} holds a cell that is no number ({cell[:40]!r}): {what_is_right(cell)}")
    return np.array(found, dtype=np.float64)
