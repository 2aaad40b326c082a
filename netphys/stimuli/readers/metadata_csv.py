"""A CSV of metadata becomes a table: what is text stays as it is written, what is numbers becomes numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import StimulusError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_table"]

log = logging.getLogger(__name__)

_MOST_COLUMNS = 10_000
_NAMES = ("stimulus_id", "image_id", "file", "filename", "image_file_name")  # columns that are text, as written


def read_table(file: Any, *, name: str, written: Iterable[str] = ()) -> pd.DataFrame:
    """Read a CSV of metadata.

    Parameters
    ----------
    file : open binary file
        Can be sought in.
    name : str
        What messages call it.
    written : iterable of str
        Columns that are text, as they are written, besides ids and files: a film may be called "007".

    Returns
    -------
    pandas.DataFrame
        A column whose cells are numbers (or true and false) but for those that are empty or say that nothing is there,
        as pandas knows it (``NA``, ``N/A``, ``NaN``, ``nan``, ``null``, ``None``, ...), is one of numbers, and those
        are missing. In any other column an empty cell is missing, and ``NA`` is a text as any other.

    Raises
    ------
    StimulusError
        If it is no CSV table in UTF-8, its columns are not separated by commas, or two of them have one name.
    """
    import pandas as pd

    try:
        _require_commas(_require_text(file, name), name)
        # two rows: pandas would take the first fields of a second one that is longer for row labels, and shift the rest
        header = pd.read_csv(file, encoding="utf-8", header=None, nrows=2, dtype=str, keep_default_na=False)
        names = [str(each) for each in header.iloc[0]] if len(header) else []
        _require_apart([each.strip() for each in names], name)
        file.seek(0)
        table = pd.read_csv(file, encoding="utf-8", low_memory=False)
        _restore_texts(table, file, {*_NAMES, *written})
    except StimulusError:
        raise
    except (ValueError, UnicodeDecodeError, OverflowError) as error:
        raise StimulusError(f"{name} is not a CSV table in UTF-8: {str(error).splitlines()[0]}") from None
    spaced = [each for each in names if each != each.strip()]
    if spaced:
        log.warning(
            "%s: spaces about the names of columns are left out, first %r; in values they stay", name, spaced[0]
        )
    return table.rename(columns=str.strip)


def _require_text(file: Any, name: str) -> bytes:
    """Look at the bytes of a CSV before it is parsed: pandas takes half a minute and 1.4 GB for 10^6 columns."""
    start = file.tell()
    first = file.readline(1 << 20).partition(b"\r")[0]  # old Mac files end lines with \r alone
    if first.count(b",") >= _MOST_COLUMNS:
        raise StimulusError(f"{name} has more than {_MOST_COLUMNS} columns")
    file.seek(start)
    while part := file.read(1 << 20):
        if b"\0" in part:
            raise StimulusError(f"{name} is not a CSV table in UTF-8: it holds NUL bytes")
    file.seek(start)
    return first.strip()


def _require_commas(first: bytes, name: str) -> None:
    """Refuse a table of one column whose name holds what others separate columns by."""
    mark = next((each for each in (";", "\t") if each.encode() in first and b"," not in first), None)
    if mark is not None:
        called = first.decode(errors="replace")[:80]
        raise StimulusError(f"{name} has one column, {called!r}; is it separated by {mark!r}? columns are by ','")


def _require_apart(names: list[str], name: str) -> None:
    twice = next((each for index, each in enumerate(names) if each in names[:index]), None)
    if twice is not None:
        raise StimulusError(f"{name} has two columns of the name {twice!r}")


def _restore_texts(table: pd.DataFrame, file: Any, names: set[str]) -> None:
    """Put back what pandas took for missing in columns that are no numbers; in those of `names` all, as written."""
    import pandas as pd

    texts = [each for each in table.columns if each.strip() in names or _may_be_text(table[each])]
    if not texts:
        return
    file.seek(0)
    as_written = pd.read_csv(file, encoding="utf-8", usecols=texts, dtype=str, na_filter=False)
    for each in texts:
        cells = as_written[each]
        if each.strip() in names:
            table[each] = cells
        elif cells.ne("").any():
            table[each] = cells.where(cells.ne(""), np.nan)


def _may_be_text(column: pd.Series) -> bool:
    """Tell whether a column that pandas read holds texts, or nothing but what it took for missing."""
    if column.dtype.kind in "biufc":
        return bool(column.isna().all())
    return any(isinstance(each, str) for each in column) or bool(column.isna().all())
