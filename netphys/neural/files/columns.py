"""Columns of a long table: every word once, and for every row which of them it holds.

A table of a million rows has few different words in most columns; what is asked of a column (is it a number, does it
follow from another column) is asked of its words, or of codes, never of a million strings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.assemblies import BEHAVIOUR_DIMS, DIMS
from netphys.neural.files.ids import NO_ID, open_csv, require_commas, without_empty_end

__all__ = [
    "MISSING",
    "Column",
    "beside_dims",
    "named",
    "no_number",
    "number",
    "numbers",
    "numbers_rows",
    "read_columns",
    "take_column",
    "what_is_right",
    "without_row_numbers",
]

MISSING = ("", "NA", "nan", "NaN", "NAN")  # cells that say that there is no number: empty, R's NA, numpy's nan
_BLOCK = 20_000  # rows that are taken apart at once
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, eq=False)
class Column:
    """One column: `words` in the order of first appearance, and for each row the code of its word."""

    name: str
    codes: np.ndarray  # int64 (row,)
    words: tuple[str, ...]
    stored: np.ndarray | None = None  # the values themselves, where the file holds more than words
    start: int = 2  # how the first row is counted in messages: below a header, or 1

    @classmethod
    def of(cls, name: str, values: np.ndarray) -> Column:
        """Make a column of an array of text, numbers or dates, which keeps its dtype."""
        index: dict[str, int] = {}
        words = values.astype(str) if values.dtype.kind in "mM" else values
        codes = [index.setdefault(str(each), len(index)) for each in words.reshape(-1).tolist()]
        return cls(
            name, np.array(codes, dtype=np.int64), tuple(index), None if values.dtype.kind in "OSU" else values, 1
        )

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """float64 (row,), NaN where a cell says that there is none; None if a cell is text."""
        if self.stored is not None:
            return self.stored.astype(np.float64) if self.stored.dtype.kind in "fiub" else None
        found = numbers(self.words)
        if None in found or all(word in MISSING for word in self.words):
            return None
        return np.array(found, dtype=np.float64)[self.codes]

    @cached_property
    def values(self) -> np.ndarray:
        """What a coordinate holds: int64 where all cells are whole numbers, float64 of other numbers, else str."""
        if self.stored is not None:
            return self.stored
        if all(re.fullmatch(r"-?(0|[1-9]\d{0,17})", word) for word in self.words):
            return np.array([int(word) for word in self.words], dtype=np.int64)[self.codes]
        return self.numbers if self.numbers is not None else self.text

    @cached_property
    def text(self) -> np.ndarray:
        """The words themselves, str (row,)."""
        return np.array(self.words, dtype=str)[self.codes]

    def rows(self, kept: np.ndarray) -> Column:
        """Keep some rows (bool): words that no row holds are gone."""
        there, codes = np.unique(self.codes[kept], return_inverse=True)
        words = tuple(self.words[at] for at in there)
        stored = None if self.stored is None else self.stored[kept]
        return Column(self.name, codes.reshape(-1), words, stored, self.start)

    def follows_from(self, keys: np.ndarray, n: int) -> bool:
        """Tell whether rows of one key (int64, 0 to n - 1, each there) always hold the same word."""
        first = np.zeros(n, dtype=np.int64)
        first[keys[::-1]] = self.codes[::-1]
        return bool((first[keys] == self.codes).all())


def number(word: str) -> float | None:
    """Read a word as a number; NaN of one that says that there is none, None of text.

    What Python takes and no laboratory writes (``1_000``, digits of other scripts) is text.

    Examples
    --------
    >>> number("2.5"), number("NA"), number("=1+1")
    (2.5, nan, None)
    """
    if word in MISSING:
        return float("nan")
    if "_" in word or not word.isascii():
        return None
    try:
        return float(word)
    except ValueError:
        return None


def numbers(words: Sequence[str]) -> Sequence[float | None]:
    """Read words as :func:`number` does, fast where all are plain numbers."""
    try:
        found = list(map(float, words))
    except ValueError:
        return [number(word) for word in words]
    joint = "".join(words)
    return [number(word) for word in words] if "_" in joint or not joint.isascii() else found


def beside_dims(name: str) -> str:
    """Name a coordinate so that it is no dim's: ``presentation`` becomes ``presentation_``, as in BrainIO's files."""
    return f"{name}_" if name in (*DIMS, *BEHAVIOUR_DIMS, "time_bin") else name


def read_columns(path: Path) -> dict[str, Column]:
    """Read the columns of a CSV file with a header.

    Raises
    ------
    NeuralDataError
        If it is no such file, a column has no name or one twice, or a row is shorter or longer than the header.
    """
    with open_csv(path) as rows:
        header = [cell.strip() for cell in next(rows, [])]
        _require_header(path, header)
        indices: list[dict[str, int]] = [{} for _ in header]
        coded: list[dict[str, int]] = [{} for _ in header]  # with the blanks around a word, which a word has not
        blocks: list[list[np.ndarray]] = [[] for _ in header]
        row, below = 2, without_empty_end(rows)
        while block := list(islice(below, _BLOCK)):
            if set(map(len, block)) != {len(header)}:
                short = next(at for at, each in enumerate(block) if len(each) != len(header))
                raise NeuralDataError(
                    f"{path}: row {row + short} has {len(block[short])} cells, the header has {len(header)}; mend the "
                    "table"
                )
            for at, cells in enumerate(zip(*block)):
                code = coded[at]
                for cell in dict.fromkeys(cells):  # each word of the block once; the rest runs without Python's loops
                    if cell not in code:
                        code[cell] = indices[at].setdefault(cell.strip(), len(indices[at]))
                blocks[at].append(np.fromiter(map(code.__getitem__, cells), dtype=np.int64, count=len(cells)))
            row += len(block)
    if row == 2:
        raise NeuralDataError(f"{path} has a header and no rows below it; a long table has one row a response")
    return {
        name: Column(name, np.concatenate(each), tuple(index)) for name, each, index in zip(header, blocks, indices)
    }


def _require_header(path: Path, header: Sequence[str]) -> None:
    """Refuse a header that does not name every column once."""
    if not header:
        raise NeuralDataError(f"{path} has no rows; a CSV file of neural data has a header and values")
    require_commas(path, header)
    numbers = [cell for cell in header if cell and number(cell) is not None]
    if len(numbers) == len(header):
        raise NeuralDataError(f"{path} has no header ({header[0]!r}, ...): a long table names its columns in row 1")
    for at, cell in enumerate(header):
        if not cell and at > 0:  # pandas writes its index without a name
            raise NeuralDataError(f"{path}: column {at + 1} has no name; a long table names its columns in row 1")
        if cell in header[:at]:
            raise NeuralDataError(f"{path}: two columns are called {cell!r}; give each a name of its own")


def named(
    path: Path, columns: dict[str, Column], asked: str | None, usual: Sequence[str], option: str
) -> Column | None:
    """Find the column that an option names, else the one of a usual name; None where there is none of those.

    Raises
    ------
    NeuralDataError
        If the option names a column that is not there, or two usual names are.
    """
    if asked is not None:
        if asked not in columns:
            raise NeuralDataError(f"{path} has no column {asked!r} ({option}=){near(asked, columns)}")
        return columns[asked]
    found = [name for name in usual if name in columns]
    if len(found) > 1:
        raise NeuralDataError(f"{path} has columns {' and '.join(map(repr, found))}; say {option}=NAME, one of them")
    return columns[found[0]] if found else None


def without_row_numbers(columns: dict[str, Column]) -> dict[str, Column]:
    """Leave out a column without a name that numbers the rows: pandas writes one, in any order."""
    index = columns.get("")
    if index is None or not numbers_rows(index.words, len(index.codes)):
        return dict(columns)
    return {name: column for name, column in columns.items() if name}


def numbers_rows(words: Sequence[str], n_rows: int) -> bool:
    """Tell whether the words of a column number rows: whole numbers, all different."""
    return len(set(words)) == n_rows and all(word.isascii() and word.isdigit() for word in words)


def take_column(
    path: Path, columns: dict[str, Column], asked: str | None, usual: Sequence[str], option: str, what: str
) -> Column:
    """Find a column that there must be, without an empty cell, and take it out of `columns`."""
    column = named(path, columns, asked, usual, option)
    if column is None:
        raise NeuralDataError(
            f"{path} has no column {usual[0]!r} that says {what}; say {option}=NAME, one of {', '.join(columns)}"
        )
    lost = next((word for word in column.words if word in NO_ID), None)
    if lost is not None:
        row = int(np.flatnonzero(column.codes == column.words.index(lost))[0])
        says = f" ({lost!r})" if lost else ""
        raise NeuralDataError(
            f"{path}: column {column.name!r} is empty in row {row + column.start}{says}; every row says {what}"
        )
    del columns[column.name]
    return column


def no_number(path: Path, column: Column, *, right: str | None = None) -> NeuralDataError:
    """Say which cell of a column is no number."""
    bad = next((each for each in column.words if number(each) is None), column.words[0])
    row = int(np.flatnonzero(column.codes == column.words.index(bad))[0]) + column.start
    return NeuralDataError(
        f"{path}: column {column.name!r} holds {bad[:40]!r} in row {row}, which is no number: "
        f"{right or what_is_right(bad)}"
    )


def what_is_right(word: str) -> str:
    """Say of a cell that is no number what would be right."""
    if word in MISSING:
        return "no cell is one; name the column of numbers"
    if word.startswith("="):
        return "it is a spreadsheet's formula; save the values"
    if _DECIMAL_COMMA.fullmatch(word):
        return "decimals are written with a point"
    return "leave a missing response empty"
