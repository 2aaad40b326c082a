"""HDF5 files of neural data: RDMs as rsatoolbox saves them, and plain datasets.

rsatoolbox keeps strings in attributes, lists of strings as bytes, None as an empty dataset, and lists that are not
rectangular as groups keyed by position, which are read by integer order ("10" sorts before "2").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import NeuralDataError
from netphys.guards import guarded_hdf5, is_hdf5
from netphys.neural.files.contents import Kind, Variable, kind_of

__all__ = ["SavedRDMs", "hdf5_variables", "read_descriptors", "read_hdf5", "read_saved_rdms"]

_LABEL = 10_000  # characters of a label that is referred to
_SAVED = ("dissimilarities", "rdm_descriptors", "pattern_descriptors")  # what makes a file one of rsatoolbox's RDMs


@dataclass(frozen=True)
class SavedRDMs:
    """RDMs as rsatoolbox saved them."""

    dissimilarities: np.ndarray  # (rdm, pair), as saved
    measure: str
    rdm_descriptors: dict[str, list[Any]]
    pattern_descriptors: dict[str, list[Any]]


def read_saved_rdms(path: Path, *, numbers: bool = True) -> SavedRDMs | None:
    """Read a file that rsatoolbox's ``RDMs.save(file_type="hdf5")`` wrote; None if it is another HDF5 file.

    Without `numbers` the dissimilarities are left unread: none of their rows come back.

    Raises
    ------
    NeuralDataError
        If it is no HDF5 file, or one that points elsewhere or claims too much.
    """
    _require_hdf5(path)
    with guarded_hdf5(path) as file:
        if not all(name in file for name in _SAVED):
            return None
        measure = file.attrs.get("dissimilarity_measure", "")
        return SavedRDMs(
            file["dissimilarities"][() if numbers else slice(0)],
            measure if isinstance(measure, str) else "",
            read_descriptors(file["rdm_descriptors"]),
            read_descriptors(file["pattern_descriptors"]),
        )


def hdf5_variables(path: Path) -> dict[str, Variable]:
    """List the datasets of an HDF5 file by their paths within it."""
    import h5py

    _require_hdf5(path)
    found: dict[str, Variable] = {}
    with guarded_hdf5(path) as file:
        for name, item in _datasets(file):
            kind: Kind = "text" if h5py.check_string_dtype(item.dtype) else kind_of(item.dtype)
            found[name] = Variable(name, tuple(item.shape or ()), kind)
    return found


def read_hdf5(path: Path, name: str) -> np.ndarray:
    """Read one dataset of an HDF5 file; text becomes str, object references (a cell of MATLAB) what they refer to."""
    import h5py

    with guarded_hdf5(path) as file:
        item = file[name]
        if item.shape is None:
            raise NeuralDataError(f"{path}: {name} is empty; choose another variable")
        value = item[()]
        if h5py.check_ref_dtype(item.dtype) is not None:
            return _referred(path, file, name, np.asarray(value))
        return np.array(_texts(value)).reshape(item.shape) if item.dtype.kind in "SO" else np.asarray(value)


def _referred(path: Path, file: Any, name: str, references: np.ndarray) -> np.ndarray:
    """Follow references to short arrays (labels): text in whatever form, or numbers; as an array of objects."""
    out = np.empty(references.size, dtype=object)
    for at, reference in enumerate(references.reshape(-1)):
        if not reference or not hasattr(file[reference], "dtype"):
            raise NeuralDataError(f"{path}: {name} refers to no array in entry {at + 1}")
        item = file[reference]
        # a reference may lead to what no name leads to, so to what was not looked at when the file was opened
        if item.external or item.is_virtual or item.shape is None or item.size > _LABEL:
            raise NeuralDataError(f"{path}: {name} refers to more than a label in entry {at + 1}")
        value = np.asarray(item[()])
        if item.attrs.get("MATLAB_empty", 0):
            out[at] = ""
        elif value.dtype == np.uint16 and value.ndim == 2:  # chars of MATLAB
            out[at] = "".join(map(chr, value.reshape(-1)))
        elif value.dtype.kind in "SO":
            out[at] = np.array(_texts(value))
        else:
            out[at] = value
    return out.reshape(references.shape)


def _require_hdf5(path: Path) -> None:
    """Refuse what has no HDF5 signature."""
    if not is_hdf5(path):
        raise NeuralDataError(f"{path} is no HDF5 file (its signature is missing); fetch it again or mend its suffix")


def _datasets(file: Any) -> list[tuple[str, Any]]:
    """All datasets by their paths, in the order of names; a group that is held twice counts once."""
    import h5py

    found: list[tuple[str, Any]] = []
    waiting, seen = [("", file)], {h5py.h5o.get_info(file.id).addr}
    while waiting:
        above, group = waiting.pop()
        for name in group:
            item, where = group[name], f"{above}{name}"
            if isinstance(item, h5py.Dataset):
                found.append((where, item))
            elif isinstance(item, h5py.Group) and (address := h5py.h5o.get_info(item.id).addr) not in seen:
                seen.add(address)
                waiting.append((f"{where}/", item))
    return sorted(found, key=lambda each: each[0])


def read_descriptors(group: Any) -> dict[str, list[Any]]:
    """Read a group of descriptors as rsatoolbox saves them: name to list; one that is None to an empty list.

    Raises
    ------
    ValueError
        If a group is not keyed by position.
    """
    found = {name: _entries(group[name]) for name in group}
    return {**found, **{name: _listed(value) for name, value in group.attrs.items()}}


def _entries(item: Any) -> list[Any]:
    """Read one descriptor: a dataset, or a group keyed by position."""
    import h5py

    if isinstance(item, h5py.Group):
        keys = sorted({*item, *item.attrs}, key=int)  # "10" stands before "2" in the file
        if [int(key) for key in keys] != list(range(len(keys))):
            raise ValueError(f"{item.name} has the keys {', '.join(keys[:4])}; a list has 0, 1, 2, ...")
        return [item.attrs[key] if key in item.attrs else _single(_entries(item[key])) for key in keys]
    if item.shape is None:
        return []
    return _listed(item[()])


def _single(entries: list[Any]) -> Any:
    """Unwrap an entry that is one value."""
    return entries[0] if len(entries) == 1 else entries


def _listed(value: Any) -> list[Any]:
    """List the values of an array, text as str."""
    array = np.atleast_1d(np.asarray(value))
    if array.dtype.kind in "SO":
        return _texts(array)
    return list(array.tolist())


def _texts(values: np.ndarray) -> list[str]:
    """Decode bytes as UTF-8."""
    flat = np.atleast_1d(values).reshape(-1)
    return [each.decode() if isinstance(each, bytes) else str(each) for each in flat]
