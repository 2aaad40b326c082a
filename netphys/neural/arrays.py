"""Arrays of .npy, .npz and CSV files, read as if a stranger had written them.

Headers are read first: a claim is compared with the bytes that are there before memory is taken. Nothing is unpickled.
"""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.contents import Variable, kind_of
from netphys.neural.guards import require_claim, translating
from netphys.neural.ids import read_rows

__all__ = ["Table", "npy_variables", "npz_variables", "read_npy", "read_npz", "read_table"]

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes
_HEADER = 65_535  # bytes of a .npy header; numpy's own are below 1,000


def npy_variables(path: Path) -> dict[str, Variable]:
    """Describe the one array of a .npy file, under the name ``array``."""
    with translating(path, ".npy"), path.open("rb") as file:
        return {"array": _variable(path, "array", file, path.stat().st_size)}


def read_npy(path: Path) -> np.ndarray:
    """Read the array of a .npy file."""
    npy_variables(path)
    with translating(path, ".npy"):
        return np.load(path, allow_pickle=False)


def npz_variables(path: Path) -> dict[str, Variable]:
    """Describe the arrays of a .npz file from their headers.

    Raises
    ------
    NeuralDataError
        If it is no .npz file, or its members claim more than they can hold.
    """
    with translating(path, ".npz"), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        total = sum(each.file_size for each in members)
        require_claim(path, "the archive", claimed=total, stored=path.stat().st_size)
        found = {}
        for each in members:
            if not each.filename.endswith(".npy") or each.compress_type not in _COMPRESSIONS:
                raise NeuralDataError(f"{path} holds {each.filename[:80]!r}; a .npz file holds arrays (.npy) only")
            name = each.filename.removesuffix(".npy")
            with archive.open(each) as member:
                found[name] = _variable(path, name, member, each.file_size)
        return found


def read_npz(path: Path, name: str) -> np.ndarray:
    """Read one array of a .npz file, after :func:`npz_variables` has seen what the file claims."""
    npz_variables(path)
    with translating(path, ".npz"), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        value = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):
            raise NeuralDataError(f"{path}: {name} has more bytes than its header says; fetch it again")
        return value


class Table:
    """The numbers of a CSV file with the ids of its rows and columns, where it has them."""

    def __init__(self, values: np.ndarray, row_ids: list[str] | None, column_ids: list[str] | None) -> None:
        self.values = values  # float64 (row, column)
        self.row_ids = row_ids
        self.column_ids = column_ids


def read_table(path: Path) -> Table:
    """Read a CSV file of numbers, with or without a header of ids and a first column of ids.

    A first row that is not all numbers is a header; so is one of numbers above a square of them. A first column is
    ids where its header is empty or ``stimulus_id``, or where its cells are not numbers.
    """
    cells = [[cell.strip() for cell in row] for row in read_rows(path)]
    width = max(len(row) for row in cells)
    short = next((at for at, row in enumerate(cells) if len(row) != width), None)
    if short is not None:
        raise NeuralDataError(
            f"{path}: row {short + 1} has {len(cells[short])} cells, others have {width}; mend the table"
        )
    header: list[str] | None = None
    if not all(_is_number(cell) for cell in cells[0]) or (len(cells) == width + 1 and width > 1):
        header, cells = cells[0], cells[1:]
    rows: list[str] | None = None
    first = [row[0] for row in cells]
    if cells and ((header and header[0].lower() in ("", "stimulus_id")) or not all(_is_number(cell) for cell in first)):
        rows, cells = first, [row[1:] for row in cells]
        header = header[1:] if header else None
    if not cells or not cells[0]:
        raise NeuralDataError(f"{path} has no numbers below its header; save a matrix of numbers")
    return Table(_floats(path, cells), rows, header)


def _is_number(cell: str) -> bool:
    """Tell whether a cell reads as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _floats(path: Path, cells: list[list[str]]) -> np.ndarray:
    """Read cells as float64; an empty one is NaN."""
    try:
        return np.array([[float(cell) if cell else np.nan for cell in row] for row in cells], dtype=np.float64)
    except ValueError as error:
        raise NeuralDataError(
            f"{path} holds a cell that is no number ({str(error)[:80]}); save a matrix of numbers"
        ) from None


def _variable(path: Path, name: str, file: IO[bytes], size: int) -> Variable:
    """Describe an array from its header, and see that its bytes are there."""
    shape, dtype, offset = _header(path, name, file)
    if dtype.hasobject:
        raise NeuralDataError(f"{path}: {name} holds pickled Python objects, which are never read; save it as numbers")
    claimed = int(dtype.itemsize)
    for length in shape:
        claimed *= length
    if claimed != size - offset:
        raise NeuralDataError(
            f"{path}: the header of {name} claims {claimed} bytes of data, {size - offset} are there; fetch it again"
        )
    require_claim(path, name, claimed=claimed, stored=claimed)
    return Variable(name, shape, kind_of(dtype))


def _header(path: Path, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, int]:
    """Read shape, dtype and length of a .npy header (versions 1 to 3) without trusting it."""
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY" or len(magic) < 8 or magic[6] not in (1, 2, 3):
        raise NeuralDataError(f"{path}: {name} is no .npy array (it begins with {magic[:6]!r}); save it by numpy.save")
    n_bytes = 2 if magic[6] == 1 else 4
    length = int.from_bytes(file.read(n_bytes), "little")
    if length > _HEADER:
        raise NeuralDataError(
            f"{path}: {name} has a header of {length} bytes, at most {_HEADER} is honest; fetch it again"
        )
    text = file.read(length)
    if len(text) != length:
        raise NeuralDataError(f"{path}: {name} is truncated within its header; fetch it again")
    told = ast.literal_eval(text.decode("latin1" if magic[6] < 3 else "utf8").strip())
    shape, descr = told["shape"], told["descr"]
    if not isinstance(shape, tuple) or not all(type(each) is int and each >= 0 for each in shape):
        raise NeuralDataError(f"{path}: {name} claims the shape {shape!r}; fetch it again")
    return shape, np.lib.format.descr_to_dtype(descr), 8 + n_bytes + length
