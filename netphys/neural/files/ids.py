"""The stimulus ids that rows of data follow: those in the file, else those of a list that the user names."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from netphys.errors import MatchError, NeuralDataError, near
from netphys.matching import require_unique
from netphys.neural.files.paths import existing

__all__ = ["NO_ID", "follow_ids", "open_csv", "read_ids", "read_rows", "require_commas", "without_empty_end"]

# words that say that there is no id: numpy's, pandas', R's; in a CSV file they are what a lost id was saved as
NO_ID = frozenset(("", "nan", "NaN", "NAN", "NA", "<NA>", "NaT", "None", "null"))
_CSV_BYTES = 2**30  # a table of a gigabyte is no table of ids and no matrix that fits a figure
_CSV_COLUMNS = 1_000_000
_BLOCK = 1 << 20  # bytes read at once
_DECIMAL_COMMAS = re.compile(r"\s*[+-]?\d+,\d+(\s*[;\t]\s*[+-]?\d+,\d+)+\s*")  # 0,5;0,7


def read_ids(where: str) -> tuple[str, ...]:
    """Read ids from a column of a CSV file.

    Parameters
    ----------
    where : str
        ``FILE:COLUMN``, the path relative to the working directory: ``"metadata.csv:file"``.

    Raises
    ------
    NeuralDataError
        If it is not FILE:COLUMN, or there is no such file or column.
    """
    file, colon, column = where.rpartition(":")
    if not colon or not file or not column:
        raise NeuralDataError(f"ids={where!r} is not FILE:COLUMN; say for example --ids metadata.csv:file")
    if not Path(file).is_file():
        raise NeuralDataError(f"ids={where!r}: there is no file {file}; it is a CSV file with the column {column!r}")
    path = existing(Path(file))
    rows = read_rows(path)
    if column not in rows[0]:
        raise NeuralDataError(f"{path} has no column {column!r}{near(column, rows[0])}")
    at = rows[0].index(column)
    found = tuple(row[at].strip() if at < len(row) else "" for row in rows[1:])
    lost = next((at for at, each in enumerate(found) if each in NO_ID), None)
    if lost is not None:
        says = f" ({found[lost]!r})" if found[lost] else ""
        raise NeuralDataError(f"{path}: column {column!r} is empty in row {lost + 2}{says}; every row needs an id")
    return found


def read_rows(path: Path) -> list[list[str]]:
    """Read the cells of a CSV file (UTF-8, commas); rows without cells are left out.

    Raises
    ------
    NeuralDataError
        If it is not such a file.
    """
    with open_csv(path) as lines:
        rows = list(lines)
    if not rows:
        raise NeuralDataError(f"{path} has no rows; a CSV file of neural data or ids has a header and values")
    if max(len(row) for row in rows) > _CSV_COLUMNS:
        raise NeuralDataError(f"{path} has more than {_CSV_COLUMNS} columns; save it as .npy or .npz")
    return rows


@contextmanager
def open_csv(path: Path) -> Iterator[Iterator[list[str]]]:
    """Open a CSV file (UTF-8 with or without a byte-order mark, commas, any line ends) to be read row by row.

    Yields an iterator of its rows that have cells. What is found wrong inside the block becomes one line.

    Raises
    ------
    NeuralDataError
        If it is not such a file.
    """
    if path.stat().st_size > _CSV_BYTES:
        raise NeuralDataError(f"{path} is larger than {_CSV_BYTES // 2**20} MiB; save it as .npy or .npz")
    with path.open("rb") as raw:
        start = raw.read(2)
        nul = b"\0" in start or any(b"\0" in block for block in iter(lambda: raw.read(_BLOCK), b""))
    if nul or start in (b"\xff\xfe", b"\xfe\xff"):
        why = "it is UTF-16" if start in (b"\xff\xfe", b"\xfe\xff") else "it holds bytes of zero"
        raise NeuralDataError(f"{path} is not a CSV file in UTF-8 with commas ({why}); save it as CSV UTF-8")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield filter(None, csv.reader(file, strict=True))
    except UnicodeDecodeError as error:
        raise NeuralDataError(
            f"{path} is not a CSV file in UTF-8 with commas ({str(error)[:100]}); save it as CSV UTF-8"
        ) from None
    except csv.Error as error:
        raise NeuralDataError(f"{path} is not a CSV file in UTF-8 with commas ({str(error)[:100]})") from None


def without_empty_end(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """Leave out rows at the end of a table whose cells are all empty: spreadsheets save them.

    A row of one cell stays: in a table of one column, an empty cell is a value that is missing.
    """
    held: list[list[str]] = []
    for row in rows:
        if len(row) > 1 and not row[0].strip() and not "".join(row).strip():
            held.append(row)
            continue
        if held:
            yield from held
            held = []
        yield row


def require_commas(path: Path, first: Sequence[str]) -> None:
    """Refuse a first row that shows that cells are parted by tabs or semicolons."""
    for mark, what in (("\t", "tabs"), (";", "semicolons")):
        if any(mark in cell for cell in first) and (len(first) == 1 or _DECIMAL_COMMAS.fullmatch(",".join(first))):
            raise NeuralDataError(
                f"{path}: its cells are parted by {what}; a CSV file has commas between cells and decimals with a "
                "point: save it again as that"
            )


def follow_ids(
    path: Path, n: int, own: Sequence[object] | None, ids: str | Sequence[str] | None
) -> tuple[tuple[str, ...], str]:
    """Settle which stimuli the n rows of a file are.

    Parameters
    ----------
    path : Path
        The file of data, for messages.
    n : int
        How many stimuli it has.
    own : sequence or None
        The ids that it carries.
    ids : str, sequence of str or None
        The list that the user names: ``FILE:COLUMN`` or the ids themselves.

    Returns
    -------
    (tuple of str, str)
        The ids, and how they were joined: ``"by stimulus_id"`` or ``"by order to FILE:COLUMN"``.

    Raises
    ------
    NeuralDataError
        If there are none, or their number is not n, or one occurs twice, or the file's own say otherwise.
    """
    if own is not None:
        carried = _unique(str(path), own)
        if len(carried) != n:
            raise NeuralDataError(f"{path} has {n} stimuli but carries {len(carried)} stimulus ids; mend the file")
        if ids is not None and _listed(ids) != carried:
            raise NeuralDataError(
                f"{path} carries its own stimulus ids ({carried[0]!r}, ...), and ids= names others; leave ids out"
            )
        return carried, "by stimulus_id"
    if ids is None:
        raise NeuralDataError(
            f"{path} carries no stimulus ids; name the list that its {n} rows follow: --ids FILE:COLUMN "
            "(for example metadata.csv:file)"
        )
    listed = _listed(ids)
    what = ids if isinstance(ids, str) else "the given ids"
    if len(listed) != n:
        raise NeuralDataError(
            f"{path} has {n} stimuli, but {what} lists {len(listed)}; name the list that its rows follow"
        )
    return _unique(what, listed), f"by order to {what}"


def _listed(ids: str | Sequence[str]) -> tuple[str, ...]:
    """The ids of a list that the user names; refuse one that has an entry without an id."""
    if isinstance(ids, str):
        return read_ids(ids)
    lost = next((at for at, each in enumerate(ids) if str(each).strip() in NO_ID), None)
    if lost is not None:
        raise NeuralDataError(
            f"entry {lost + 1} of {len(ids)} of the given ids is {ids[lost]!r}; each names a stimulus"
        )
    return tuple(map(str, ids))


def _unique(what: str, ids: Sequence[object]) -> tuple[str, ...]:
    """Return ids as strings, or say which occur twice."""
    try:
        return tuple(require_unique(ids, what=what))
    except MatchError as error:
        raise NeuralDataError(f"{error}; every stimulus has an id of its own") from None
