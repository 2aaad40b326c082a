"""A table in HDF5: columns of strings, numbers and booleans, one row a stimulus.

In the file it is a group: a plain dataset a column (strings as UTF-8 of fixed length: those of any length may claim any
memory), its true name the attribute ``column``, the order of columns the group's attribute ``columns``. Texts that are
missing are empty there, and a dataset of booleans beside it, ``NAME?missing``, says which; older files have none, and
what was missing is empty in them. Recordings and sets of stimuli keep the stimuli's metadata so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from netphys.errors import FileError
from netphys.provenance import digest

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Columns", "GROUP", "escaped", "fixed_text", "metadata_frame", "plain_columns", "read_columns", "stored_bytes",
    "table_digest", "writable", "write_columns", "write_fixed_text",
]  # fmt: skip

log = logging.getLogger(__name__)

Columns = Mapping[str, np.ndarray]  # strings are arrays of Python's strings (dtype object), None where one is missing

GROUP = "stimuli"
_MOST = 10_000  # columns; a table of more is no description of stimuli
_MISSING = "?missing"  # after a column's name: no escaped name holds a question mark
_NAME_BYTES = 200  # of a column's name: HDF5 keeps it as a link and an attribute


def plain_columns(
    table: pd.DataFrame, stimulus_ids: Sequence[str], *, keeper: str = "the file"
) -> dict[str, np.ndarray]:
    """Return the columns that can be kept: ``stimulus_id`` first, then strings, numbers and booleans.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a stimulus, in the order of `stimulus_ids`; its own column ``stimulus_id`` is not used.
    stimulus_ids : sequence of str
        One a row.
    keeper : str
        What they are kept with, for the log.

    Returns
    -------
    dict of str to array (stimulus,)
        Missing strings are None, missing whole numbers and booleans make a column of floats with NaN. Columns of
        anything else are left out, and the log says which.
    """
    found = {"stimulus_id": np.array(list(stimulus_ids), dtype=object)}
    left_out = []
    for place, name in enumerate(map(str, table.columns)):
        if name == "stimulus_id":
            continue
        values = _plain(table.iloc[:, place])
        odd = name in found or not writable(name) or not name or len(name.encode(errors="replace")) > _NAME_BYTES
        if values is None or odd or len(found) >= _MOST:
            left_out.append(name)
        else:
            found[name] = values
    if left_out:
        log.warning(
            "%d column(s) of the stimuli's metadata are not strings, numbers or booleans of one name each and are not "
            "kept with %s: %s",
            len(left_out),
            keeper,
            ", ".join(map(repr, left_out[:3])),
        )
    return found


def metadata_frame(columns: Columns, rows: np.ndarray | None) -> pd.DataFrame:
    """Make the table of some rows; a copy. Missing strings are NaN, as where pandas reads a CSV."""
    import pandas as pd

    text = pd.Series([""]).dtype  # of a column of strings, which pandas does not see in one where all are missing
    chosen = {name: values if rows is None else values[rows] for name, values in columns.items()}
    return pd.DataFrame(
        {
            name: pd.Series([np.nan if each is None else each for each in values], dtype=text)
            if values.dtype.kind == "O"
            else values
            for name, values in chosen.items()
        },
        copy=True,
    )


def table_digest(columns: Columns) -> str:
    """Digest the columns, with their names, kinds and values; their order does not count."""
    return digest({name: _said(values) for name, values in columns.items()})


def write_columns(root: Any, columns: Columns, *, fixed: bool = False) -> None:
    """Write the group ``/stimuli`` into an open HDF5 file.

    Parameters
    ----------
    root : h5py.File
        Open to write.
    columns : mapping
        Of :func:`plain_columns`.
    fixed : bool
        Write the attributes, too, as texts of fixed length.
    """
    import h5py

    group = root.create_group(GROUP)
    names = list(columns)
    for name in names:
        values = columns[name]
        if values.dtype.kind == "O":
            texts = [(each or "").encode() for each in values]
            kind = h5py.string_dtype("utf-8", max([1, *map(len, texts)]))
            data = group.create_dataset(escaped(name), data=np.array(texts, dtype=kind))
            if None in values:
                group.create_dataset(escaped(name) + _MISSING, data=np.array([each is None for each in values]))
        else:
            data = group.create_dataset(escaped(name), data=values)
        _write_text(data, "column", name, fixed)
    _write_text(group, "columns", json.dumps(names) if len(json.dumps(names)) < 32_000 else "", fixed)


def _write_text(item: Any, name: str, text: str, fixed: bool) -> None:
    if fixed:
        write_fixed_text(item, name, text)
    else:
        item.attrs[name] = text


def write_fixed_text(item: Any, name: str, text: str) -> None:
    """Write an attribute as UTF-8 of fixed length."""
    import h5py

    data = text.encode()
    item.attrs[name] = np.array(data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


def fixed_text(item: Any, name: str) -> str | None:
    """Read an attribute that is a text of fixed length; None where there is none.

    A text of any length counts as none: of 6 kB files with bytes changed about its place, HDF5 hangs in reading many.
    """
    import h5py

    if name not in item.attrs:
        return None
    known = h5py.check_string_dtype(item.attrs.get_id(name).dtype)
    value = item.attrs[name] if known is not None and known.length is not None else None
    return value.decode(errors="replace") if isinstance(value, bytes) else None


def stored_bytes(columns: Columns) -> int:
    """Bytes that the group takes in the file, with room to spare."""
    texts = sum(
        len(v) * (1 + max([1, *(len((each or "").encode()) for each in v)]))
        for v in columns.values()
        if v.dtype.kind == "O"
    )
    return texts + sum(v.nbytes for v in columns.values() if v.dtype.kind != "O") + 8192 * (len(columns) + 1)


def read_columns(
    path: Path,
    file: Any,
    n_stimuli: int,
    *,
    error: type[FileError] = FileError,
    remedy: str = "write it again",
    fixed: bool = False,
) -> dict[str, np.ndarray] | None:
    """Read the group ``/stimuli`` of an open, guarded file; None where there is none.

    Parameters
    ----------
    path : Path
        The file, for messages.
    file : h5py.File
        It, open.
    n_stimuli : int
        Rows that every column has.
    error : type
        What is raised.
    remedy : str
        What the user can do, the end of each message.
    fixed : bool
        Read no attribute that is a text of any length: see :func:`fixed_text`.

    Raises
    ------
    FileError
        Or the `error` that is asked for, if something in it is not what :func:`write_columns` writes.
    """
    import h5py

    if GROUP not in file:
        return None
    group = file[GROUP]
    if not isinstance(group, h5py.Group) or len(group) > 2 * _MOST:
        raise error(f"{path}: /{GROUP} is no group of at most {_MOST} columns; {remedy}")
    found, keys = {}, set(group)
    gaps = {key for key in keys if key.endswith(_MISSING) and key.removesuffix(_MISSING) in keys}
    for key in (each for each in group if each not in gaps):
        try:
            name, values = _read(group[key], key, n_stimuli, fixed)
            if key + _MISSING in gaps:
                values[_gaps(group[key + _MISSING], values)] = None
        except _Odd as odd:
            raise error(f"{path}: column {key!r} of /{GROUP} {odd}; {remedy}") from None
        found[name] = values
    if len(found) != len(keys - gaps) or "stimulus_id" not in found or None in found["stimulus_id"]:
        raise error(f"{path}: /{GROUP} does not name its stimuli; {remedy}")
    order = _order(group, found, fixed)
    return {name: found[name] for name in order}


def _plain(column: pd.Series) -> np.ndarray | None:
    """Return a column as plain values; None if it has other things in it."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    missing = column.isna().to_numpy()
    kind = getattr(column.dtype, "kind", "O")
    if kind in "biu" and missing.any():
        return column.astype("float64").to_numpy(dtype=np.float64, na_value=np.nan)
    if kind in "biuf":
        values = column.to_numpy(dtype=getattr(column.dtype, "numpy_dtype", None))
        return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="))) if values.itemsize <= 8 else None
    if kind not in "OTU":
        return None
    texts = [None if gone else each for each, gone in zip(column, missing)]
    known = all(each is None or (isinstance(each, str) and writable(each)) for each in texts)
    return np.array(texts, dtype=object) if known else None


def writable(text: str) -> bool:
    """Tell whether HDF5 gives a text back as it was: UTF-8, no NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _said(values: np.ndarray) -> list[Any]:
    if values.dtype.kind != "O":
        return [values.dtype.str, values]
    return ["str", [None if each is None else str(each) for each in values]]


def escaped(name: str) -> str:
    """Make a column's name one HDF5 name.

    Examples
    --------
    >>> escaped("left/eye")
    'left%2Feye'
    """
    return quote(name, safe="#:[]() ").replace(".", "%2E")


class _Odd(Exception):
    """A column that :func:`write_columns` would not write; the text says why."""


def _read(data: Any, key: str, n: int, fixed: bool) -> tuple[str, np.ndarray]:
    """Check and read one column."""
    import h5py

    other = _Odd(f"is no plain column of {n} rows")
    if not isinstance(data, h5py.Dataset) or data.shape != (n,):
        raise other
    name = fixed_text(data, "column") if fixed else data.attrs.get("column")
    if not isinstance(name, str) or escaped(name) != key:
        raise _Odd("does not say its name")
    text = h5py.check_string_dtype(data.dtype)
    if text is None:
        if data.dtype.kind not in "biuf" or data.dtype.itemsize > 8:
            raise other
        return name, data[:]
    if text.length is None:  # a string of any length may claim any memory
        raise other
    try:
        return name, np.array([each.decode() for each in data[:]], dtype=object)
    except UnicodeDecodeError:
        raise _Odd("is not UTF-8") from None


def _gaps(data: Any, values: np.ndarray) -> np.ndarray:
    """Check and read which texts of a column are missing."""
    import h5py

    if not isinstance(data, h5py.Dataset) or data.shape != values.shape or data.dtype != bool:
        raise _Odd("does not say which of its texts are missing")
    found = data[:]
    if values.dtype.kind != "O" or any(values[found]):
        raise _Odd("holds what it says is missing")
    return found


def _order(group: Any, found: Mapping[str, Any], fixed: bool) -> list[str]:
    """Return the columns in the order that the group says; in the file's order where it does not."""
    try:
        said = json.loads((fixed_text(group, "columns") or "") if fixed else group.attrs.get("columns", ""))
    except (ValueError, TypeError, RecursionError):
        said = []
    known = [each for each in said if isinstance(each, str) and each in found] if isinstance(said, list) else []
    return list(dict.fromkeys([*known, *found]))
