"""Tables of NWB files, opened by pynwb once the file was seen to point nowhere but into itself.

pynwb leaves columns on disk; each is checked again when it is read (its bytes are this file's own, its claim honest),
because object references may lead to what no link leads to.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import FileError, NeuralDataError
from netphys.guards import first_line, guarded_hdf5, is_hdf5, require_claim, translating
from netphys.neural.assemblies import as_text

__all__ = ["ends_of", "interval_tables", "is_scalar", "opened_nwb", "read_column", "row_ids", "scalar_columns"]

_log = logging.getLogger(__name__)
_WHOLE = 1 << 60  # a file may hold a raw recording of any size: what is read of it is checked when it is read
_TEXT = 2**28  # bytes of text a column may become: entries may all point to the same long one


@contextmanager
def opened_nwb(path: Path) -> Iterator[Any]:
    """Open an NWB 2 file (HDF5); yields pynwb's ``NWBFile``, its columns not yet read.

    Extensions and older versions of the schema are read by the definitions that the file carries. pynwb's warnings go
    to the log.

    Raises
    ------
    NeuralDataError
        If it is no NWB 2 file in HDF5, or pynwb is not installed.
    FileError
        If it is damaged or points elsewhere.
    """
    if path.is_dir():
        raise NeuralDataError(
            f"{path} is NWB in Zarr, which is not read; save it as HDF5 (hdmf-zarr: NWBZarrIO, export to NWBHDF5IO)"
        )
    if not is_hdf5(path):
        raise NeuralDataError(f"{path} is no NWB file (no HDF5 signature); fetch it again or mend its suffix")
    pynwb = _pynwb(path)
    with guarded_hdf5(path, budget=_WHOLE, ratio=_WHOLE, soft_links=True) as file, translating(path, "NWB"):
        _require_version(path, file)
        with _warnings_logged(path), pynwb.NWBHDF5IO(file=file, mode="r", load_namespaces=True) as opened:
            yield _read(path, opened)


def interval_tables(nwbfile: Any) -> dict[str, Any]:
    """Tables of times by name: trials, presentations, epochs; without ``invalid_times``."""
    from pynwb.epoch import TimeIntervals

    found = {str(name): table for name, table in (nwbfile.intervals or {}).items()}
    found |= {str(name): each for name, each in (nwbfile.stimulus or {}).items() if isinstance(each, TimeIntervals)}
    for name in ("trials", "epochs"):
        table = getattr(nwbfile, name)
        if table is not None:
            found.setdefault(name, table)
    found.pop("invalid_times", None)
    return found


def row_ids(path: Path, table: Any) -> np.ndarray:
    """The ids of a table's rows (row,)."""
    return read_column(path, table, table.id)


def is_scalar(column: Any) -> bool:
    """Whether a column has one number or text a row, by its header: no list, no reference, no array."""
    from hdmf.common import DynamicTableRegion, VectorIndex

    if isinstance(column, VectorIndex | DynamicTableRegion):
        return False
    data = column.data
    shape = getattr(data, "shape", None) or np.shape(data)
    if len(shape) != 1:
        return False
    dtype = getattr(data, "dtype", None)
    if not isinstance(dtype, np.dtype):  # of compound data, and of lists in memory
        return isinstance(data, list)
    import h5py

    return dtype.kind in "fiubSU" or h5py.check_string_dtype(dtype) is not None


def scalar_columns(path: Path, table: Any, *, but: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Read all columns of one number or text a row; each must be as long as the table."""
    n, found = len(row_ids(path, table)), {}
    for name in table.colnames:
        column = table[name]
        if name in but or not is_scalar(column):
            continue
        found[str(name)] = read_column(path, table, column)
        if len(found[str(name)]) != n:
            what = f"{path}: column {name!r} of {table.name}"
            raise NeuralDataError(f"{what} has {len(found[str(name)])} entries for {n} rows; mend the file")
    return found


def ends_of(path: Path, table: Any, index: Any) -> np.ndarray:
    """Where the lists of a ragged column end, int64 (row,), after seeing that they fit.

    Raises
    ------
    NeuralDataError
        If they decrease, or do not end where the column ends, or are not one a row.
    """
    ends = read_column(path, table, index)
    n, length = len(row_ids(path, table)), len(index.target.data)
    what = f"{path}: the index of column {index.target.name!r} of {table.name}"
    if ends.dtype.kind not in "iu" or ends.ndim != 1 or len(ends) != n:
        raise NeuralDataError(f"{what} has {len(ends)} entries of {ends.dtype} for {n} rows; mend the file")
    ends = ends.astype(np.int64)
    if (np.diff(ends, prepend=0) < 0).any():
        raise NeuralDataError(f"{what} decreases; lists of a ragged column follow one another: mend the file")
    if (ends[-1] if n else 0) != length:
        raise NeuralDataError(f"{what} ends at {ends[-1] if n else 0}, the column at {length}; mend the file")
    return ends


def read_column(path: Path, table: Any, column: Any) -> np.ndarray:
    """Read a column, text as str, after seeing that its bytes are the file's own and its claim honest."""
    import h5py

    data = column.data
    if not isinstance(data, h5py.Dataset):
        return np.asarray(data)
    data = getattr(data, "dset", data)  # hdmf wraps text; as_text decodes it
    what = f"{table.name}/{column.name}"
    if data.external or data.is_virtual or Path(data.file.filename) != path:
        raise FileError(f"{path}: {what} keeps its bytes in another file, which is not read; copy them in")
    stored, claimed = int(data.id.get_storage_size()), int(data.dtype.itemsize)
    for length in data.shape:
        claimed *= int(length)
    require_claim(path, what, claimed=claimed, stored=stored)
    if h5py.check_string_dtype(data.dtype) is None:
        values = np.asarray(data[()])
        return as_text(values) if values.dtype.kind == "S" else values
    return _text(path, what, data)


def _text(path: Path, what: str, data: Any) -> np.ndarray:
    """Read text piece by piece: no header says how long the entries are."""
    piece = max(256, _TEXT // path.stat().st_size)  # an entry is not longer than the file
    found: list[str] = []
    longest = 0
    for start in range(0, len(data), piece):
        part = np.asarray(data[start : start + piece], dtype=object).reshape(-1)
        longest = max(longest, *map(len, part))
        if longest * len(data) > _TEXT:  # numpy gives every entry the room of the longest
            raise FileError(f"{path}: {what} has {len(data)} entries of up to {longest} bytes; save what is needed")
        found += [each.decode() if isinstance(each, bytes) else str(each) for each in part.tolist()]
    return np.array(found, dtype=str).reshape(data.shape)


def _read(path: Path, opened: Any) -> Any:
    """Let pynwb read, and say what it says of a file that it cannot: hdmf's errors print half the file first."""
    try:
        return opened.read()
    except Exception as error:
        where = getattr(error.args[0], "path", None) if len(error.args) > 1 else None
        if not isinstance(where, str):
            raise
        reason = first_line(error.__cause__ or error)
        raise NeuralDataError(f"{path} cannot be read as NWB: {where} is malformed ({reason})") from None


def _pynwb(path: Path) -> Any:
    """Import pynwb, or say how it is installed."""
    try:
        import pynwb
    except ModuleNotFoundError as error:
        if error.name != "pynwb":
            raise
        raise NeuralDataError(f"{path}: NWB files are read by pynwb; pip install 'netphys[nwb]'") from None
    return pynwb


def _require_version(path: Path, file: Any) -> None:
    """Refuse other HDF5 files, and NWB 1, which pynwb does not read."""
    version = file.attrs.get("nwb_version", file["nwb_version"][()] if "nwb_version" in file else None)
    if version is None:
        raise NeuralDataError(f"{path} is HDF5 but no NWB file (no attribute nwb_version); rename it to .h5")
    text = (version.decode(errors="replace") if isinstance(version, bytes) else str(version)).removeprefix("NWB-")
    if not text[:1].isdigit() or int(text.split(".")[0]) < 2:
        raise NeuralDataError(f"{path} is NWB of version {text[:20]!r}; versions from 2 on are read: convert it")


@contextmanager
def _warnings_logged(path: Path) -> Iterator[None]:
    """Log what pynwb warns of: what matters for the numbers is checked here and is an error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for each in caught:
                _log.debug("%s: %s", path, str(each.message).splitlines()[0] if str(each.message) else each.category)
