"""Features that were computed elsewhere, as a recording: numpy's files, any HDF5, folders of thingsvision.

Nothing is unpickled, claims are compared with the bytes that are there, links to elsewhere are not followed. What comes
in is a :class:`netphys.recording.Recording` in memory (.npy is mapped), of which nothing but the numbers is known:
``training`` is ``"unknown"``.

======================================================  ==============================================================
``features.npy``                                        (stimulus, unit, ...), one layer of the file's name
``features.npz``                                        an array a layer
``features.h5?layer=a/b,c&ids=names&axis=0&unit=1``     datasets by their paths (of a group all in it), and of the ids;
                                                        which axes hold stimuli and units
``folder/``                                             what thingsvision wrote: ``features.npy`` (or .txt, .csv, .hdf5,
                                                        .mat) or its pieces ``features_0-64.npy``, in the folder or one
                                                        folder a layer, and ``file_names.txt``
======================================================  ==============================================================

``ids=FILE.csv:COLUMN`` or ``ids=FILE.txt`` (a line a stimulus) names the stimuli where the file does not. Tokens of
thingsvision, (stimulus, token, unit), are turned to (stimulus, unit, token). ``root=DIR`` takes a folder off the names
in ``file_names.txt``; ``suffix=_train`` chooses among features of several suffixes.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from netphys.addresses import Query, split_address
from netphys.errors import RecordingError, near
from netphys.guards import BUDGET, guarded_hdf5, require_claim, translating
from netphys.numpy_files import npz_headers, read_npy, read_npz
from netphys.recording.file.reading import Recording
from netphys.recording.file.texts import read_texts

__all__ = ["import_features", "is_foreign"]

_LIST_BYTES = 1 << 28  # of a list of ids
_TEXT_BYTES = 1 << 31  # of a table of features as text
_FEATURES = re.compile(r"features(?P<suffix>.*?)(_(?P<first>\d+)(-(?P<last>\d+))?)?\.(?P<kind>[a-z0-9]+)")
_PICKLED = ("pt", "pth", "pkl")
_KINDS = ("npy", "txt", "csv", "hdf5", "h5", "mat")


def is_foreign(path: Path | str) -> bool:
    """Tell whether an address is of features from elsewhere."""
    body = _body(path)
    if body != str(path) or Path(body).suffix in (".npy", ".npz"):
        return True
    return os.path.isdir(body)  # noqa: PTH112 - False where a name is too long


def import_features(address: Path | str, stimulus_ids: Sequence[str] | None = None) -> Recording:
    """Read features that were computed elsewhere.

    Parameters
    ----------
    address : Path or address
        See the module's text.
    stimulus_ids : sequence of str, optional
        The ids of the rows, where the file does not say them.

    Raises
    ------
    RecordingError
        If there are no such features, they name no stimuli, or another number of them.
    AddressError
        If the address asks for what is not known.
    FileError
        If a file is damaged, claims too much, points elsewhere, or holds pickles.
    """
    body = _body(address)
    _, query = split_address(str(address)) if body != str(address) else (body, Query(str(address), {}))
    path = Path(body)
    if not os.path.exists(path):  # noqa: PTH110 - False where a name is too long
        raise RecordingError(f"no recording at {path}")
    where = query.take("ids", str, "")
    read = _of_folder if path.is_dir() else _of_numpy if path.suffix in (".npy", ".npz") else _of_hdf5
    arrays, own = read(path, query, where)
    query.finish()
    ids = own if own is not None else _listed(where) if where else stimulus_ids
    if ids is None:
        raise RecordingError(f"{path} names no stimuli; name the list that its rows follow (--ids FILE:COLUMN)")
    name = path.name if path.is_dir() else path.stem
    return Recording.from_arrays({layer: _native(each) for layer, each in arrays.items()}, ids, name=name)


def _body(address: Path | str) -> str:
    """The path in an address; a file whose name holds a question mark is one."""
    text = str(address)
    there = "?" not in text or os.path.exists(text)  # noqa: PTH110 - False where a name is too long
    return text if there else text.partition("?")[0]


def _native(array: np.ndarray) -> np.ndarray:
    """Bring numbers into this machine's order of bytes; what is in it already is not copied."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


# Ids


def _listed(where: str) -> list[str]:
    """Read ids from ``FILE.txt``, a line each, or a column of a table, ``FILE.csv:COLUMN``."""
    file, colon, column = where.rpartition(":")
    path = Path(file if colon and not Path(where).is_file() else where)
    if not path.is_file():
        raise RecordingError(f"ids={where!r}: there is no file {path}; say FILE.txt or FILE.csv:COLUMN")
    if path.suffix != ".csv":
        return _lines(path)
    require_claim(path, "the list", claimed=path.stat().st_size, stored=path.stat().st_size, budget=_LIST_BYTES)
    with translating(path, "a table"), path.open(newline="", encoding="utf-8-sig") as opened:
        header, *rows = [row for row in csv.reader(opened, strict=True) if row]
    if not colon or column not in header:
        raise RecordingError(f"{path} has no column {column!r}{near(column, header)}; say FILE.csv:COLUMN")
    return [row[header.index(column)] if len(row) > header.index(column) else "" for row in rows]


def _lines(path: Path) -> list[str]:
    """Read the lines of a text."""
    require_claim(path, "the list", claimed=path.stat().st_size, stored=path.stat().st_size, budget=_LIST_BYTES)
    with translating(path, "a list"):
        return [each.strip() for each in path.read_text(encoding="utf-8").splitlines() if each.strip()]


# numpy


def _of_numpy(path: Path, _: Query, __: str) -> tuple[dict[str, np.ndarray], None]:
    """Read numpy's files; pickles are refused."""
    if path.suffix == ".npy":
        return {path.stem: read_npy(path, mapped=True)}, None
    return {name: read_npz(path, name) for name in npz_headers(path)}, None


# HDF5


def _of_hdf5(path: Path, query: Query, where: str) -> tuple[dict[str, np.ndarray], list[str] | None]:
    """Read datasets of an HDF5 file of any layout."""
    none: list[str] = []
    layers = query.take("layer", lambda text: [each.strip("/ ") for each in text.split(",")], none)
    stimuli, units = query.take("axis", int, 0), query.take("unit", int, 1)
    with guarded_hdf5(path) as file:
        if not layers:
            raise RecordingError(f"{path}: which features? say ?layer=DATASET{near('', _numbers_in(file))}")
        ids = _texts(path, file[where]) if where in file else None  # first: without ids nothing need be read
        found = {name: data for each in layers for name, data in _datasets(path, file, each)}
        claimed = sum(data.size * data.dtype.itemsize for data in found.values())  # of one that has two names twice
        require_claim(path, "what was asked for", claimed=claimed, stored=claimed, budget=BUDGET)
        return {name: _arranged(path, name, data[()], stimuli, units) for name, data in found.items()}, ids


def _datasets(path: Path, file: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Find a dataset of numbers, or those of a group."""
    import h5py

    found = file.get(name) if name else None
    if isinstance(found, h5py.Group):
        held = {f"{name}/{each}": found[each] for each in found if _is_features(found[each])}
        if held:
            yield from held.items()
            return
    if not _is_features(found):
        raise RecordingError(f"{path} has no features {name!r}{near(name, _numbers_in(file))}")
    yield name, found


def _is_features(item: Any) -> bool:
    import h5py

    return isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and 2 <= len(item.shape or ()) <= 5


def _numbers_in(file: Any) -> list[str]:
    """List the datasets that may be features; the file is guarded, so that each is visited once."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if _is_features(item) and len(found) < 100 else None)
    return found


def _arranged(path: Path, name: str, values: np.ndarray, stimuli: int, units: int) -> np.ndarray:
    """Turn an array to (stimulus, unit, ...); the other axes keep their order."""
    n = values.ndim
    if not (-n <= stimuli < n and -n <= units < n) or stimuli % n == units % n:
        raise RecordingError(f"{path}: {name!r} has {n} axes, of which {stimuli} cannot be stimuli and {units} units")
    return np.moveaxis(values, (stimuli % n, units % n), (0, 1))


def _texts(path: Path, data: Any) -> list[str]:
    """Read ids: texts or whole numbers."""
    import h5py

    if isinstance(data, h5py.Dataset) and data.ndim == 1:
        if h5py.check_string_dtype(data.dtype) is not None:
            return list(read_texts(path, data))
        if data.dtype.kind in "iu":
            return [str(each) for each in data[:].tolist()]
    raise RecordingError(f"{path}: {data.name} is no list of stimuli (texts or whole numbers, one a row)")


# thingsvision


def _of_folder(path: Path, query: Query, _: str) -> tuple[dict[str, np.ndarray], list[str] | None]:
    """Read what thingsvision wrote: pieces of features, of one layer or in a folder a layer."""
    suffix = query.take("suffix", str, None)
    root = query.take("root", str, "")
    names = path / "file_names.txt"
    ids = [_below(each, root) for each in _lines(names)] if names.is_file() else None
    folders = [path, *sorted(each for each in path.iterdir() if each.is_dir() and not each.is_symlink())]
    found = {each.name: _pieces(each, suffix) for each in folders}
    arrays = {name: _joined(path, pieces, ids) for name, pieces in found.items() if pieces}
    if not arrays:
        raise RecordingError(f"{path} holds no features of thingsvision (features.npy, features_0-64.npy, ...)")
    return arrays, ids


def _below(name: str, root: str) -> str:
    """Take a folder off a name."""
    path = PurePath(name)
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else name


def _pieces(folder: Path, suffix: str | None) -> list[tuple[Path, int, int | None]]:
    """Find the pieces of one layer in order: file, first stimulus or number, end; of one suffix and one kind."""
    found, others = [], set()
    for file in sorted(folder.iterdir()):
        match = _FEATURES.fullmatch(file.name)
        if match is None or file.is_symlink() or not file.is_file():
            continue
        if match["kind"] in _PICKLED:
            raise RecordingError(f"{file} is pickled, which is never read; save it as .npy (output_type='ndarray')")
        if match["kind"] not in _KINDS or (suffix is not None and match["suffix"] != suffix):
            continue
        others.add((match["suffix"], match["kind"], match["first"] is None))
        found.append((file, int(match["first"] or 0), int(match["last"]) if match["last"] else None))
    if len(others) > 1:
        said = sorted({f"features{one}....{kind}" for one, kind, _ in others})
        raise RecordingError(f"{folder} holds several features ({', '.join(said)}); say ?suffix=, or keep one of them")
    return sorted(found, key=lambda each: each[1])


def _joined(path: Path, pieces: Sequence[tuple[Path, int, int | None]], ids: Sequence[str] | None) -> np.ndarray:
    """Read the pieces of a layer, and see that none is missing; units are brought in front of tokens."""
    blocks, n_rows = [], 0
    for file, first, last in pieces:
        block = _table(file, ids)
        if last is not None and (first != n_rows or last - first != len(block)):
            raise RecordingError(
                f"{file} holds {len(block)} stimuli, the {n_rows} before it leave a gap; extract again"
            )
        blocks.append(block)
        n_rows += len(block)
    if len({each.shape[1:] for each in blocks}) > 1:
        raise RecordingError(f"{path}: features of {pieces[0][0].name} and its kin have several shapes; extract again")
    joined = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return np.moveaxis(joined, -1, 1) if joined.ndim == 3 else joined


def _table(file: Path, ids: Sequence[str] | None) -> np.ndarray:
    """Read one piece."""
    size = file.stat().st_size
    if file.suffix == ".npy":
        return read_npy(file, mapped=True)
    if file.suffix in (".txt", ".csv"):
        require_claim(file, "the table", claimed=size, stored=size, budget=_TEXT_BYTES)
        with translating(file, "a table of numbers"):
            return np.loadtxt(file, delimiter="," if file.suffix == ".csv" else None, ndmin=2)
    if file.suffix == ".mat":
        return _of_matlab(file, ids)
    with guarded_hdf5(file) as opened:
        names = sorted(each for each in opened if each.startswith("features") and _is_features(opened[each]))
        if not names:
            raise RecordingError(f"{file} has no features")
        return np.concatenate([opened[each][()] for each in names])


def _of_matlab(file: Path, ids: Sequence[str] | None) -> np.ndarray:
    """Read a .mat of version 5: one matrix, or a variable a stimulus, named after its file."""
    from scipy.io import loadmat, whosmat

    with translating(file, ".mat"):
        known = {name: shape for name, shape, kind in whosmat(file) if kind in ("double", "single")}
        claimed = 8 * sum(int(np.prod(shape, dtype=object)) for shape in known.values())
        require_claim(file, "the file", claimed=claimed, stored=file.stat().st_size, budget=BUDGET)
        values: Mapping[str, Any] = loadmat(file, variable_names=list(known))
    if "features" in known:
        return values["features"]
    wanted = [re.sub(r"\.(eps|jpg|JPG|jpeg|JPEG|png|PNG|tif|tiff)$", "", each) for each in ids or known]
    missing = [each for each in wanted if each not in known]
    if missing or not wanted:
        raise RecordingError(f"{file} has no features of {missing[:1]}, which file_names.txt lists")
    rows = [values[each] for each in wanted]
    return np.stack([each[0] if each.ndim == 2 and len(each) == 1 else each for each in rows])
