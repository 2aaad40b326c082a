"""The recording file: one HDF5, written whole, that plain h5py and xarray open.

Layout: ``/layers/<escaped name>/activation`` with the dimension scales ``stimulus unit y x`` (or ``window``, ``token``,
``time``, ``query``, ``key``) and ``stimulus_id`` in the same group, beside ``token_kind``, ``patch_y`` and ``patch_x``
where they are known; the layer's true name is the attribute ``layer``, what else is known of it the JSON text
``facts``. Root attributes: ``format``, ``digest``, ``complete``, ``provenance`` (JSON). ``sha256`` of each layer is
that of its stored values in C order, the root's that of everything that is said about them:
:func:`netphys.recording.verify` compares. Each chunk has a Fletcher-32 of its own, which HDF5 compares whenever it
reads one. ``/stimuli`` holds the stimuli's metadata, a dataset a column (:mod:`netphys.recording.file.tables`).

bfloat16 is stored in two bytes, as a float that HDF5 converts (:mod:`netphys.recording.file.bfloat16`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import OptionError, near
from netphys.files import committing, reserve, writing
from netphys.progress import bar
from netphys.recording.file.bfloat16 import Stored, hdf5_dtype, storage_dtype
from netphys.recording.file.entries import Entry, coordinates, entry_of, said_facts
from netphys.recording.file.schema import FORMAT, MORE, STATEMENTS, escape, statement_digest
from netphys.recording.file.shards import Shards
from netphys.recording.file.tables import Columns, stored_bytes, write_columns
from netphys.recording.file.texts import contents_digest
from netphys.recording.keep import Keep
from netphys.recording.layers import Layer

__all__ = ["COMPRESSIONS", "FORMAT", "Written", "chunk_shape", "pack", "write_recording"]

COMPRESSIONS = (None, "gzip", "lzf")

_CHUNK_BYTES = (1 << 18, 1 << 20)  # smaller ones cost a seek each, larger ones more than is wanted
_CHUNK_SIDE = 8  # stimuli and units of a chunk: reading one stimulus, or one unit, reads 8x the bytes wanted
_GZIP_LEVEL = 1  # of 9: of rectified maps higher ones save a few percent more in several times the time
_CHUNK_OVERHEAD = 64  # bytes of a chunk in the index, its checksum, and what compression may add
_MARGIN_BYTES = 1 << 20  # HDF5's own metadata
_CACHE_BYTES = 64 << 20  # a row of chunks must fit, or each is read and written again


def chunk_shape(n_stimuli: int, shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Choose chunks that suit reading by stimulus (all units) and by unit (all stimuli) alike.

    Examples
    --------
    >>> chunk_shape(1000, (64, 56, 56), 4)
    (8, 8, 56, 56)
    """
    n_units, a_map = shape[0], int(np.prod(shape[1:])) * itemsize
    least, most = (n_bytes / a_map for n_bytes in _CHUNK_BYTES)  # maps a chunk
    stimuli, units = min(n_stimuli, _CHUNK_SIDE), min(n_units, _CHUNK_SIDE)
    if stimuli * units < least:  # small maps: the smallest chunk, as many units as stimuli
        units = _evenly(n_units, max(units, round(least**0.5)))
        stimuli = _evenly(n_stimuli, max(stimuli, math.ceil(least / units)))
        units = _evenly(n_units, max(units, math.ceil(least / stimuli)))
    elif stimuli * units > most:  # large maps
        units = min(units, max(1, int(most**0.5)))
        stimuli = min(stimuli, max(1, int(most / units)))
        units = min(n_units, max(units, min(_CHUNK_SIDE, int(most / stimuli))))
    return (stimuli, units, *shape[1:])


def _evenly(total: int, side: int) -> int:
    """Enlarge a side so that whole chunks cover `total` with little beyond it: HDF5 stores the rest of a chunk, too."""
    return math.ceil(total / max(1, total // side))


@dataclass(frozen=True)
class Written:
    """A layer that is to be written.

    Attributes
    ----------
    entry : Entry
        What it is.
    rows : callable
        Goes through it in blocks of so many stimuli: (first row, values (stimulus, ...) of the stored dtype).
    """

    entry: Entry
    rows: Callable[[int], Iterator[tuple[int, np.ndarray]]]


def pack(
    path: Path,
    shards: Shards,
    layers: Sequence[Layer],
    keep: Keep,
    columns: Columns,
    header: Mapping[str, Any],
    *,
    compression: str | None = None,
) -> None:
    """Pack verified shards into the one file, committed by rename.

    Parameters
    ----------
    path : Path
        The recording's file.
    shards : Shards
        Complete.
    layers : sequence of Layer
        In order of execution.
    keep : Keep
        What was kept of each, and measured on the way.
    columns : mapping of str to array (stimulus,)
        The stimuli's metadata, ``stimulus_id`` among them.
    header : mapping
        ``digest``, ``network``, ``training``, ``keep``, ``dtype``, ``provenance``; and where they are known ``plan``
        (all that the digest is of), ``contents`` (a plain value a stimulus, of which the digest of the stimuli is made
        together with their ids), ``measured`` and ``fields`` (layer → what was measured, its receptive field).
    compression : {"gzip", "lzf"}, optional
        How chunks are compressed, their bytes shuffled before.
    """
    shards.verify()
    measured, fields = header.get("measured", {}), header.get("fields", {})
    written = [
        Written(
            entry_of(each, keep, measured=measured.get(each.name), receptive_field=fields.get(each.name)),
            partial(shards.rows, each.name),
        )
        for each in layers
    ]
    write_recording(path, written, columns, header, compression=compression)


def write_recording(
    path: Path,
    layers: Sequence[Written],
    columns: Columns,
    header: Mapping[str, Any],
    *,
    compression: str | None = None,
) -> None:
    """Write a recording's file, committed by rename; see :func:`pack`.

    Raises
    ------
    OptionError
        If there is no such compression.
    OutputError
        If the system refuses.
    """
    import h5py

    if compression not in COMPRESSIONS:
        known = [each for each in COMPRESSIONS if each]
        raise OptionError(f"compression={compression!r} is not known{near(str(compression), known)}")
    ids = list(columns["stimulus_id"])
    contents = _contents(header)
    with committing(path) as temporary, writing(path):
        with (
            h5py.File(temporary, "w", libver=("v110", "latest"), rdcc_nbytes=_CACHE_BYTES) as file,
            bar(len(layers), label=f"writing {path.name}", unit="layer") as progress,
        ):
            # a disk that fills while HDF5 writes its metadata crashes the process at the next garbage collection
            itemsize = storage_dtype(header["dtype"]).itemsize
            needed = sum(_stored_bytes((len(ids), *each.entry.shape), itemsize, ids) for each in layers)
            reserve(temporary, needed + stored_bytes(columns) + contents.nbytes + _MARGIN_BYTES)
            _write_attributes(file, layers, header, compression)
            write_columns(file, columns)
            if contents.size:
                file.create_dataset("contents", data=contents).make_scale("contents")  # so that xarray knows its axis
                file.attrs["contents_sha256"] = contents_digest(contents.tolist())
            root = file.create_group("layers")
            for layer in layers:
                _write_layer(root, layer, ids, header["dtype"], compression)
                progress.update(1)
            _seal(file, layers, tuple(ids), columns)
            file.flush()
            n_bytes = file.id.get_filesize()
        os.truncate(temporary, n_bytes)


def _write_layer(root: Any, layer: Written, ids: Sequence[str], dtype: str, compression: str | None) -> None:
    """Write one layer: each chunk once, with its checksum, and the checksum of all values."""
    entry = layer.entry
    group, shape = root.create_group(escape(entry.name)), (len(ids), *entry.shape)
    options: dict[str, Any] = {}
    if math.prod(shape):  # nothing has no chunks
        options = {"chunks": chunk_shape(shape[0], shape[1:], storage_dtype(dtype).itemsize), "fletcher32": True}
        options |= {"compression": compression, "shuffle": compression is not None}
        options |= {"compression_opts": _GZIP_LEVEL} if compression == "gzip" else {}
    data = group.create_dataset("activation", shape, hdf5_dtype(dtype), **options)
    stored, sha = Stored(data), hashlib.sha256()
    for first, values in layer.rows(data.chunks[0] if data.chunks else 1):
        values = np.ascontiguousarray(values, dtype=stored.dtype)
        stored.write(first, values)
        sha.update(values.reshape(-1).view(np.uint8).data)
    group.attrs["sha256"] = sha.hexdigest()
    _describe(group, data, entry, ids)


def _seal(file: Any, layers: Sequence[Written], ids: tuple[str, ...], columns: Columns) -> None:
    """Write the checksum of what the file says, and that it is complete."""
    groups = {each.entry.name: file["layers"][escape(each.entry.name)] for each in layers}
    sums = {name: group.attrs["sha256"] for name, group in groups.items()}
    facts = {name: group.attrs["facts"] for name, group in groups.items()}
    more = {key: file.attrs[key] for key in MORE if key in file.attrs}
    statements = {key: file.attrs[key] for key in STATEMENTS}
    file.attrs["sha256"] = statement_digest(statements, sums, ids, columns, facts, more)
    file.attrs["complete"] = True


def _stored_bytes(shape: Sequence[int], itemsize: int, stimulus_ids: Sequence[str]) -> int:
    """Bytes that a layer takes in the file: whole chunks, and its scales and ids with room to spare."""
    chunks = chunk_shape(shape[0], shape[1:], itemsize) if math.prod(shape) else shape
    n_chunks = math.prod(math.ceil(size / max(1, chunk)) for size, chunk in zip(shape, chunks))
    values = n_chunks * (math.prod(chunks) * itemsize + _CHUNK_OVERHEAD)
    return values + 8 * sum(shape) + sum(len(each.encode()) + 64 for each in stimulus_ids) + (1 << 16)


def _contents(header: Mapping[str, Any]) -> np.ndarray:
    """Write what each stimulus is as JSON, of one length: strings of any length may claim any memory."""
    import h5py

    texts = [json.dumps(each, sort_keys=True).encode() for each in header.get("contents", ())]
    return np.array(texts, dtype=h5py.string_dtype("utf-8", max([1, *map(len, texts)])))


def _write_attributes(file: Any, layers: Sequence[Written], header: Mapping[str, Any], compression: str | None) -> None:
    """Say what the recording is, all but that it is complete."""
    for key in ("digest", "network", "training", "keep", "dtype"):
        file.attrs[key] = header[key]
    file.attrs["format"] = FORMAT
    file.attrs["layers"] = json.dumps([each.entry.name for each in layers])
    file.attrs["provenance"] = json.dumps(header["provenance"], sort_keys=True)
    if compression:
        file.attrs["compression"] = compression
    if header.get("plan"):
        file.attrs["plan"] = json.dumps(header["plan"], sort_keys=True)


def _describe(group: Any, data: Any, entry: Entry, stimulus_ids: Sequence[str]) -> None:
    """Attach dimension scales, coordinates and what the layer is."""
    import h5py

    for axis, dim in enumerate(("stimulus", *entry.dims)):
        scale = group.create_dataset(dim, data=np.arange(data.shape[axis], dtype=np.int32))
        scale.make_scale(dim)
        data.dims[axis].attach_scale(scale)
        data.dims[axis].label = dim
    ids = np.array(list(stimulus_ids), dtype=object)
    known: dict[str, tuple[tuple[str, ...], np.ndarray]] = {"stimulus_id": (("stimulus",), ids), **coordinates(entry)}
    for name, (dims, values) in known.items():
        kind = h5py.string_dtype() if values.dtype == object else values.dtype
        beside = group.create_dataset(name, data=values, dtype=kind)
        for axis, dim in enumerate(dims):
            beside.dims[axis].attach_scale(group[dim])
    data.attrs["coordinates"] = " ".join(known)  # so that xarray takes them for coordinates
    data.attrs["long_name"] = f"activation of {entry.name}"
    data.attrs["units"] = "arbitrary"
    group.attrs["layer"] = entry.name
    group.attrs["kind"] = entry.kind
    group.attrs["n_parameters"] = entry.n_parameters
    group.attrs["index"] = entry.index
    group.attrs["facts"] = said_facts(entry)
