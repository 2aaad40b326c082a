"""The recording file: one HDF5, written whole, that plain h5py and xarray open.

Layout: ``/layers/<escaped name>/activation`` with the dimension scales ``stimulus unit y x`` (or ``token``, ``time``)
and ``stimulus_id`` in the same group; the layer's true name is the attribute ``layer``. Root attributes: ``format``,
``digest``, ``complete``, ``provenance`` (JSON). ``sha256`` of each layer is that of its values in C order, the root's
that of everything that is said about them: :func:`netphys.recording.verify` compares. ``/stimuli`` holds the metadata
of the stimuli, a dataset a column (:mod:`netphys.recording.tables`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netphys.files import committing, reserve, writing
from netphys.progress import bar
from netphys.recording.keep import Keep
from netphys.recording.layers import Layer
from netphys.recording.schema import FORMAT, STATEMENTS, escape, statement_digest
from netphys.recording.shards import Shards
from netphys.recording.tables import Columns, stored_bytes, write_columns

__all__ = ["FORMAT", "chunk_shape", "pack"]

_CHUNK_BYTES = (1 << 18, 1 << 20)  # smaller ones cost a seek each, larger ones more than is wanted
_CHUNK_SIDE = 8  # stimuli and units of a chunk: reading one stimulus, or one unit, reads 8x the bytes wanted
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


def pack(
    path: Path, shards: Shards, layers: Sequence[Layer], keep: Keep, columns: Columns, header: Mapping[str, Any]
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
        What was kept of each.
    columns : mapping of str to array (stimulus,)
        The stimuli's metadata, ``stimulus_id`` among them.
    header : mapping
        ``digest``, ``network``, ``training``, ``keep``, ``dtype``, ``provenance``.
    """
    import h5py

    shards.verify()
    stimulus_ids = list(columns["stimulus_id"])
    dtype = np.dtype(header["dtype"])
    shapes = {layer.name: (len(stimulus_ids), *keep.shape(layer)) for layer in layers}
    with committing(path) as temporary, writing(path):
        with (
            h5py.File(temporary, "w", libver=("v110", "latest"), rdcc_nbytes=_CACHE_BYTES) as file,
            bar(len(layers), label=f"writing {path.name}", unit="layer") as progress,
        ):
            # a disk that fills while HDF5 writes its metadata crashes the process at the next garbage collection
            needed = sum(_stored_bytes(each, dtype, stimulus_ids) for each in shapes.values())
            reserve(temporary, needed + stored_bytes(columns) + _MARGIN_BYTES)
            _write_attributes(file, layers, header)
            write_columns(file, columns)
            root, sums = file.create_group("layers"), {}
            for layer in layers:
                group, shape = root.create_group(escape(layer.name)), shapes[layer.name]
                chunks = chunk_shape(shape[0], shape[1:], dtype.itemsize)
                data = group.create_dataset("activation", shape, dtype, chunks=chunks)
                sha = hashlib.sha256()
                for first, values in shards.rows(layer.name, chunks[0]):
                    data[first : first + len(values)] = values
                    sha.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
                sums[layer.name] = group.attrs["sha256"] = sha.hexdigest()
                _describe(group, data, layer, ("stimulus", *keep.dims(layer)), stimulus_ids)
                progress.update(1)
            statements = {key: file.attrs[key] for key in STATEMENTS}
            file.attrs["sha256"] = statement_digest(statements, sums, tuple(stimulus_ids), columns)
            file.attrs["complete"] = True
            file.flush()
            n_bytes = file.id.get_filesize()
        os.truncate(temporary, n_bytes)


def _stored_bytes(shape: Sequence[int], dtype: np.dtype, stimulus_ids: Sequence[str]) -> int:
    """Bytes that a layer takes in the file: whole chunks, and its scales and ids with room to spare."""
    chunks = chunk_shape(shape[0], shape[1:], dtype.itemsize)
    values = math.prod(math.ceil(size / chunk) * chunk for size, chunk in zip(shape, chunks)) * dtype.itemsize
    return values + 8 * sum(shape) + sum(len(each.encode()) + 64 for each in stimulus_ids) + (1 << 16)


def _write_attributes(file: Any, layers: Sequence[Layer], header: Mapping[str, Any]) -> None:
    """Say what the recording is, all but that it is complete."""
    for key in ("digest", "network", "training", "keep", "dtype"):
        file.attrs[key] = header[key]
    file.attrs["format"] = FORMAT
    file.attrs["layers"] = json.dumps([layer.name for layer in layers])
    file.attrs["provenance"] = json.dumps(header["provenance"], sort_keys=True)


def _describe(group: Any, data: Any, layer: Layer, dims: Sequence[str], stimulus_ids: Sequence[str]) -> None:
    """Attach dimension scales and what the layer is."""
    import h5py

    for axis, dim in enumerate(dims):
        scale = group.create_dataset(dim, data=np.arange(data.shape[axis], dtype=np.int32))
        scale.make_scale(dim)
        data.dims[axis].attach_scale(scale)
        data.dims[axis].label = dim
    ids = group.create_dataset("stimulus_id", data=list(stimulus_ids), dtype=h5py.string_dtype())
    ids.dims[0].attach_scale(group["stimulus"])
    data.attrs["coordinates"] = "stimulus_id"  # so that xarray takes it for a coordinate
    data.attrs["long_name"] = f"activation of {layer.name}"
    data.attrs["units"] = "arbitrary"
    group.attrs["layer"] = layer.name
    group.attrs["kind"] = layer.kind
    group.attrs["n_parameters"] = layer.n_parameters
    group.attrs["index"] = layer.index
