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
from netphys.guards import Visits, guarded_hdf5, is_hdf5, require_dataset
from netphys.neural.files.contents import Kind, Variable, kind_of
from netphys.neural.files.matlab_73 import matlab_text

__all__ = ["SavedRDMs", "hdf5_variables", "read_descriptors", "read_hdf5", "read_saved_rdms"]

_LABEL = 10_000  # characters of a label that is referred to
_PIECE = 2**28  # bytes of text that are read at once: an entry is not longer than the file
_MATLAB = b"MATLAB 7.3"  # what the user block of its files begins with
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
    """List the datasets of an HDF5 file by their paths within it.

    Raises
    ------
    NeuralDataError
        If it is no HDF5 file, or one of MATLAB 7.3, whose axes are reversed.
    FileError
        If it points elsewhere or claims too much.
    """
    import h5py

    _require_hdf5(path)
    found: dict[str, Variable] = {}
    with guarded_hdf5(path) as file:
        held = _datasets(file)
        if _of_matlab(path, [*file.items(), *held]):
            raise NeuralDataError(f"{path} is a MATLAB 7.3 file, whose axes are reversed here: name it .mat")
        for name, item in held:
            kind: Kind = "text" if h5py.check_string_dtype(item.dtype) else kind_of(item.dtype)
            found[name] = Variable(name, tuple(item.shape or ()), kind)
    return found


def read_hdf5(path: Path, name: str) -> np.ndarray:
    """Read one dataset of an HDF5 file; text becomes str, object references what they refer to (labels).

    Raises
    ------
    NeuralDataError
        If it is empty, holds lists of their own lengths, or refers to more than labels.
    """
    import h5py

    with guarded_hdf5(path) as file:
        item = file[name]
        if item.shape is None:
            raise NeuralDataError(f"{path}: {name} is empty; choose another variable")
        if _lists(item):
            raise NeuralDataError(
                f"{path}: {name} holds a list of its own length in each entry; save an array of one value an entry"
            )
        if h5py.check_string_dtype(item.dtype) is not None:
            return np.array(_text_of(item, Visits(path, name))).reshape(item.shape)
        refers = h5py.check_ref_dtype(item.dtype)
        if refers is h5py.RegionReference:
            raise NeuralDataError(f"{path}: {name} refers to parts of arrays; choose another variable")
        return np.asarray(item[()]) if refers is None else _referred(path, file, name, item)


def _referred(path: Path, file: Any, name: str, item: Any) -> np.ndarray:
    """Follow references to short arrays (labels): text in whatever form, or numbers; as an array of objects."""
    import h5py

    visits = Visits(path, name)
    visits.count(objects=item.size)
    references = np.asarray(item[()])
    out = np.empty(references.size, dtype=object)
    kept: dict[int, tuple[Any, int]] = {}  # by address: what was read, and the bytes that it takes
    for at, reference in enumerate(references.reshape(-1)):
        if not reference:
            raise NeuralDataError(f"{path}: {name} refers to no array in entry {at + 1}")
        address = h5py.h5o.get_info(h5py.h5r.dereference(reference, file.id)).addr
        if address not in kept:
            kept[address] = _label(path, name, at, file[reference], visits)
        else:
            visits.count(claimed=kept[address][1])
        out[at] = kept[address][0]
    return out.reshape(references.shape)


def _label(path: Path, name: str, at: int, item: Any, visits: Visits) -> tuple[Any, int]:
    """Read what one reference leads to; its value, and the bytes that it takes."""
    import h5py

    if not isinstance(item, h5py.Dataset):
        raise NeuralDataError(f"{path}: {name} refers to no array in entry {at + 1}")
    if item.shape is None or item.size > _LABEL or _lists(item):
        raise NeuralDataError(f"{path}: {name} refers to more than a label in entry {at + 1}")
    # a reference may lead to what no name leads to, so to what was not looked at when the file was opened
    require_dataset(path, item, what=f"what {name} refers to in entry {at + 1}")
    before = visits.claimed
    if item.attrs.get("MATLAB_empty", 0):
        return "", 0
    if h5py.check_string_dtype(item.dtype) is not None:
        value: Any = np.array(_text_of(item, visits))
    else:
        visits.count(claimed=4 * item.size * item.dtype.itemsize)
        value = np.asarray(item[()])
        if item.attrs.get("MATLAB_class", b"") in (b"char", "char"):
            try:
                value = matlab_text(value.reshape(-1))
            except ValueError as error:
                raise NeuralDataError(f"{path}: {name} refers to no text in entry {at + 1}: {error}") from None
    return value, visits.claimed - before


def _lists(item: Any) -> bool:
    """Whether every entry of a dataset is a list of its own length; text is none."""
    import h5py

    return h5py.check_vlen_dtype(item.dtype) is not None and h5py.check_string_dtype(item.dtype) is None


def _text_of(item: Any, visits: Visits) -> list[str]:
    """Read text piece by piece and counted: no header says how long entries are, and all may point to one long one."""
    import h5py

    info = h5py.check_string_dtype(item.dtype)
    n = int(item.size)
    if info.length is not None or item.ndim == 0:
        visits.count(claimed=4 * n * (info.length or 0))
        return _texts(np.asarray(item[()]))
    step = max(1, max(256, _PIECE // visits.path.stat().st_size) // max(1, n // max(1, len(item))))
    found: list[str] = []
    longest = 0
    for start in range(0, len(item), step):
        part = _texts(np.asarray(item[start : start + step], dtype=object))
        longer = max(longest, max(map(len, part), default=0))
        visits.count(claimed=4 * n * (longer - longest))  # numpy gives every entry the room of the longest
        longest = longer
        found += part
    return found


def _require_hdf5(path: Path) -> None:
    """Refuse what has no HDF5 signature."""
    if not is_hdf5(path):
        raise NeuralDataError(f"{path} is no HDF5 file (its signature is missing); fetch it again or mend its suffix")


def _of_matlab(path: Path, held: list[tuple[str, Any]]) -> bool:
    """Whether MATLAB saved a file, or a part of it: by the text before HDF5's own bytes, or by its attributes."""
    with path.open("rb") as raw:
        if raw.read(len(_MATLAB)) == _MATLAB:
            return True
    return any("MATLAB_class" in item.attrs for name, item in held if not name.startswith("#refs#"))


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
