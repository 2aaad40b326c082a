"""A set of stimuli becomes one HDF5 file, and an HDF5 file, ours or a stranger's, becomes a set.

The file that is written opens with plain h5py: ``/fields/image`` (:mod:`netphys.stimuli.readers.hdf5_layouts`), the
metadata a column a dataset in ``/stimuli`` (:mod:`netphys.hdf5_columns`), ``/record`` a JSON text with the name, the
treatment, what was left out and what made the file. What the source says of each stimulus for the digest is kept, so
that the set that is read has the digest of the set that was written.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys._version import __version__
from netphys.errors import FileError, NetphysError, OptionError, OutputError, StimulusError, near
from netphys.files import committing, ensure_folder, reserve, sweep_file
from netphys.guards import guarded_hdf5, is_hdf5
from netphys.hdf5_columns import (
    Columns,
    fixed_text,
    plain_columns,
    stored_bytes,
    table_digest,
    writable,
    write_columns,
    write_fixed_text,
)
from netphys.progress import bar, quiet
from netphys.provenance import digest, provenance
from netphys.stimuli.readers.folder import Found
from netphys.stimuli.readers.hdf5_foreign import read_foreign
from netphys.stimuli.readers.hdf5_kept import FORMAT, read_kept, statement_digest
from netphys.stimuli.readers.hdf5_layouts import FieldWriter, append_bytes, flat_group
from netphys.stimuli.sources import conversions_of

if TYPE_CHECKING:
    import pandas as pd

    from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["read_hdf5", "write_hdf5"]

log = logging.getLogger(__name__)

_BATCH_BYTES = 1 << 25  # of stimuli in memory while they are written; twice, for the next ones are read meanwhile
_MOST_BATCH = 64
_CACHED_BYTES = 1 << 25  # that HDF5 holds of what was written, some chunks of each dataset
_MARGIN_BYTES = 1 << 20  # HDF5's own metadata
_COMPRESSIONS = ("auto", "gzip", "lzf")


def write_hdf5(
    stimuli: StimulusSet,
    path: Path | str,
    *,
    compression: str | None = "auto",
    fields: Sequence[str] | None = None,
    force: bool = False,
) -> Path:
    """Write a set into one HDF5 file; memory does not grow with the set.

    Parameters
    ----------
    stimuli : StimulusSet
        Generated ones are computed, treated ones treated: the file holds what is shown.
    path : Path
        The file; folders above it are made.
    compression : {"auto", "gzip", "lzf"} or None
        Lossless: ``"gzip"`` at its fastest, which every HDF5 library reads; ``"lzf"``, faster, for h5py alone;
        ``"auto"``: gzip for fields whose first stimuli shrink to half, as drawings do and photographs do not.
    fields : sequence of str, optional
        Fields to keep. Default: all.
    force : bool
        Replace another file of that name. A file that holds this set with its metadata already is taken as it is.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StimulusError
        If a stimulus cannot be read, or holds what HDF5 does not keep, or there is no such field.
    OptionError
        If the compression is unknown.
    OutputError
        If another file has that name, or the system refuses.

    Notes
    -----
    Missing texts of the metadata stay missing. Columns that are no texts, numbers or booleans are left out, and the log
    says which.
    """
    path = Path(path)
    if compression is not None and compression not in _COMPRESSIONS:
        raise OptionError(f"compression is 'auto', 'gzip', 'lzf' or None, not {compression!r}")
    chosen = _chosen(stimuli, fields)
    odd = next((each for each in stimuli.ids if not writable(each)), None)
    if odd is not None:
        raise StimulusError(f"stimulus_id {odd!r} of {stimuli.name} is not text that HDF5 keeps (UTF-8 without NUL)")
    columns = plain_columns(stimuli.metadata, stimuli.ids, keeper="the stimuli")
    if path.exists() and not force:
        difference = _difference(path, stimuli, chosen, columns)
        if not difference:
            log.info("%s holds these stimuli already", path)
            return path
        raise OutputError(f"{path} {difference}; choose another name, or force=True replaces it")
    ensure_folder(path.parent)
    sweep_file(path)  # what a killed writer left
    import h5py

    with committing(path) as temporary:
        with h5py.File(temporary, "w") as file:
            _write(file, stimuli, chosen, columns, compression, _Room(temporary, file))
            file.flush()
            n_bytes = file.id.get_filesize()
        os.truncate(temporary, n_bytes)
    return path


def read_hdf5(
    path: Path | str,
    *,
    dataset: str | None = None,
    ids: str | Sequence[str] | None = None,
    metadata: Sequence[str] | pd.DataFrame | None = None,
    order: str | None = None,
) -> Found:
    """Read stimuli from an HDF5 file, when they are asked for.

    Parameters
    ----------
    path : Path
        What :func:`write_hdf5` wrote: nothing more is to be said. Or a file from elsewhere (MATLAB's v7.3 too), to
        which the other parameters belong.
    dataset : str, optional
        The images' path in the file. Default: the only dataset that looks like images.
    ids : str or sequence of str, optional
        The path of a dataset of strings or integers, one a stimulus, or the ids themselves. Default: the dataset
        ``stimulus_id``, else ``"0"``, ``"1"``, ...
    metadata : sequence of str or pandas.DataFrame, optional
        Paths of datasets (stimulus,) that become columns, or the table. Default: all there are.
    order : str, optional
        The axes: ``"nyxc"``, ``"ncyx"``, ``"nyx"`` (grey), or any other order of stimulus, y, x, colour. Default:
        found out, where only one is possible.

    Returns
    -------
    Found
        Its stimuli are those that were written, bit for bit: each is compared with its checksum when it is read.

    Raises
    ------
    StimulusError
        If there is no such file, nothing in it is images, or several things may be.
    FileError
        If it is damaged, points elsewhere or claims what it cannot hold.
    OptionError
        If one of our own files is read with parameters of others.

    Notes
    -----
    Images from elsewhere are uint8, or floats in [0, 1]. Grey ones are repeated in three channels.
    """
    path = Path(path)
    if not path.is_file():
        raise StimulusError(f"no HDF5 file {path}")
    if not is_hdf5(path):
        raise StimulusError(f"{path} is no HDF5 file, or its beginning is damaged")
    said = {"dataset": dataset, "ids": ids, "metadata": metadata, "order": order}
    if not _is_ours(path):
        return read_foreign(path, dataset=dataset, ids=ids, metadata=metadata, order=order)
    given = next((name for name, value in said.items() if value is not None), None)
    if given is not None:
        raise OptionError(f"{path} was written by netphys and says itself what it holds; leave out {given}=")
    return read_kept(path)


def _is_ours(path: Path) -> bool:
    with guarded_hdf5(path, budget=1 << 60, ratio=1 << 60) as file:
        said = fixed_text(file, "format")
        if said is not None and said.startswith(FORMAT.rstrip("0123456789")) and said != FORMAT:
            raise FileError(f"{path} is of the format {said!r}; this version of netphys reads {FORMAT!r}")
        return said == FORMAT or {"record", "checksums", "fields", "digests"} <= set(file)


def _chosen(stimuli: StimulusSet, fields: Sequence[str] | None) -> tuple[str, ...]:
    if fields is None:
        return stimuli.fields
    chosen = tuple(dict.fromkeys([fields] if isinstance(fields, str) else fields))
    absent = next((each for each in chosen if each not in stimuli.fields), None)
    if absent is not None or not chosen:
        raise StimulusError(f"{stimuli.name} has no field {absent!r}{near(str(absent), stimuli.fields)}")
    return chosen


def _difference(path: Path, stimuli: StimulusSet, fields: tuple[str, ...], columns: Columns) -> str:
    """Say what a file that is there holds other than this set; empty where it is the same."""
    try:
        there = read_kept(path)
    except (NetphysError, OSError):
        return "is there and holds something else"
    if there.source.fields != fields or tuple(there.table["stimulus_id"]) != stimuli.ids:
        return "holds other stimuli"
    values = [_said(each, stimuli.fields, fields) for each in stimuli._source.digests(stimuli._rows)]
    if there.source.digest != digest(list(zip(stimuli.ids, values))) or there.treatment != stimuli.treatment:
        return "holds other stimuli"
    same = table_digest(plain_columns(there.table, stimuli.ids)) == table_digest(columns)
    return "" if same else "holds these stimuli with other metadata"


class _Room:
    """Takes the space of what will be written: a disk that fills while HDF5 writes ends the process.

    Parameters
    ----------
    path : Path
        The file; whoever writes it cuts it to its true size at the end.
    file : h5py.File
        It, open to write.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self._written = self._taken = 0

    def take(self, n_bytes: int) -> None:
        """Take space for further bytes; what HDF5 may still hold in its caches is counted."""
        held = min(self._written, _CACHED_BYTES)
        needed = self._file.id.get_filesize() + held + n_bytes + n_bytes // 50 + _MARGIN_BYTES
        if needed > self._taken:
            self._taken = needed + held
            reserve(self._path, self._taken)
        self._written += n_bytes


def _write(
    file: Any, stimuli: StimulusSet, fields: tuple[str, ...], columns: Columns, compression: str | None, room: _Room
) -> None:
    """Fill the file."""
    n = len(stimuli)
    room.take(n * (32 * len(fields) + 200) + stored_bytes(columns))
    for name, text in (("format", FORMAT), ("netphys", __version__), ("name", stimuli.name[:1000])):
        write_fixed_text(file, name, text)
    writers = {field: FieldWriter(file, field, n, compression, room.take) for field in fields}
    digests = flat_group(file, "digests", n, {"compression": "gzip" if compression == "auto" else compression})
    codes: dict[tuple[str, ...], int] = {}
    coded = file.create_dataset("conversions", (n,), "i4")
    with bar(n, label="writing stimuli") as progress:
        for rows, values, said, words in _batches(stimuli, fields):
            for field, writer in writers.items():
                writer.append(values[field])
            texts = [json.dumps(each, allow_nan=False).encode() for each in said]
            room.take(sum(map(len, texts)))
            append_bytes(digests, texts, int(rows[0]))
            coded[rows[0] : rows[-1] + 1] = [codes.setdefault(each, len(codes)) for each in words]
            progress.update(len(rows))
    write_columns(file, columns, fixed=True)
    whole = _digest_of(digests, stimuli.ids)
    record = {
        "name": stimuli.name, "treatment": stimuli.treatment, "digest": whole, "fields": list(fields), "n_stimuli": n,
        "conversions": [list(each) for each in codes], "left_out": list(stimuli.left_out),
        "provenance": provenance(
            "StimulusSet.to_hdf5", {"fields": list(fields), "compression": compression}, {"stimuli": whole}
        ),
    }  # fmt: skip
    said_of_all = json.dumps(record).encode()
    room.take(len(said_of_all))
    file.create_dataset("record", data=np.frombuffer(said_of_all, np.uint8))
    write_fixed_text(file, "digest", whole)
    write_fixed_text(file, "treatment", stimuli.treatment[:8000])
    write_fixed_text(file, "sha256", statement_digest(file, columns, fields))


def _digest_of(digests: Any, ids: Sequence[str]) -> str:
    """Digest the set from what was written of each of its stimuli."""
    ends, data = digests["offsets"][:], digests["bytes"][:].tobytes()
    return digest([[each, json.loads(data[a:b])] for each, a, b in zip(ids, ends[:-1], ends[1:])])


def _batches(
    stimuli: StimulusSet, fields: tuple[str, ...]
) -> Iterator[tuple[np.ndarray, dict[str, list[Any]], list[Any], list[tuple[str, ...]]]]:
    """Read the set piece by piece, the next while one is written: rows, values by field, digests, conversions."""

    def read(rows: np.ndarray) -> tuple[np.ndarray, dict[str, list[Any]], list[Any], list[tuple[str, ...]]]:
        places = stimuli._rows[rows]
        with quiet():
            values = {field: list(stimuli.get(rows, field)) for field in fields}
            said = [_said(each, stimuli.fields, fields) for each in stimuli._source.digests(places)]
            return rows, values, said, conversions_of(stimuli._source, places)

    first = read(np.arange(1))
    size = sum(getattr(each[0], "nbytes", 0) for each in first[1].values())
    step = int(np.clip(_BATCH_BYTES // max(size, 1), 1, _MOST_BATCH))
    parts = [np.arange(start, min(start + step, len(stimuli))) for start in range(1, len(stimuli), step)]
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(read, parts[0]) if parts else None
        yield first
        for after in [*parts[1:], None]:
            if coming is None:
                return
            now = coming.result()
            coming = pool.submit(read, after) if after is not None else None
            yield now


def _said(value: Any, fields: tuple[str, ...], chosen: tuple[str, ...]) -> Any:
    """Keep of what a source says of a stimulus what belongs to the fields that are kept.

    A source of files or arrays says a digest a field; the recipe of a generated stimulus stands for all its fields.
    """
    if chosen == fields or not isinstance(value, dict) or set(value) != set(fields):
        return value
    return value["image"] if chosen == ("image",) else {field: value[field] for field in chosen}
