"""How a field of stimuli lies in an HDF5 file: written batch by batch, read by rows, every value with its checksum.

Values of one shape and dtype are one dataset ``/fields/NAME`` (stimulus, ...), in chunks of one or a few stimuli. Where
they differ it is a group: ``bytes``, one value after another, ``offsets`` (stimulus + 1) into them, ``shapes``
(stimulus, axis; -1 where a value has fewer axes) and ``dtypes``. Texts are such a group of UTF-8 without shapes: HDF5's
own strings of any length may claim any memory, and a damaged file can hang there. ``/checksums/NAME`` (stimulus, 32) is
the SHA-256 of each value (:func:`netphys.stimuli.sources.value_digest`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import FileError, StimulusError
from netphys.hdf5_columns import escaped, fixed_text, writable, write_fixed_text
from netphys.stimuli.sources import value_digest

__all__ = ["Even", "FieldWriter", "Flat", "append_bytes", "flat_group", "open_field", "plain_value", "runs"]

_CHUNK_BYTES = 1 << 18  # of small stimuli together: a shuffled reader unpacks little that it does not need
_MOST_CHUNK_BYTES = 1 << 22  # a large stimulus is cut, so that HDF5's cache of chunks stays small
_FLAT_CHUNK = 1 << 18
_MOST_VALUE_BYTES = 1 << 31  # of one stimulus: as much as a member of an archive
_MOST_AXES = 16
_TRIED = 16  # values that are packed for a trial
_WORTH = 0.5  # photographs shrink to 0.75, and unpacking them takes longer than decoding a JPEG; drawings to 0.01
_AXES = {"clip": "stimulus frame colour y x", "sound": "stimulus sample"} | dict.fromkeys(
    ("image", "left", "right"), "stimulus colour y x"
)


def plain_value(value: Any, *, field: str) -> np.ndarray | str:
    """Return a value of a stimulus as HDF5 keeps it: a text, or an array of numbers.

    Raises
    ------
    StimulusError
        If it is neither.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise StimulusError(f"field {field!r} holds a text that is not Unicode; HDF5 does not keep it") from None
        return value
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # bfloat16, lists that are not rectangular
        raise StimulusError(f"field {field!r} holds {type(value).__name__}s; HDF5 keeps numbers and texts") from None
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise StimulusError(f"field {field!r} holds {type(value).__name__} ({array.dtype}); HDF5 keeps numbers, texts")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


class FieldWriter:
    """Writes one field of a set, batch by batch.

    Parameters
    ----------
    root : h5py.File
        Open to write.
    field : str
        Its name.
    n_stimuli : int
        How many values will come.
    compression : str or None
        ``"auto"``, ``"gzip"``, ``"lzf"`` or None.
    room : callable
        Called with bytes before they are written: it takes the space, or says that there is none.
    """

    def __init__(
        self, root: Any, field: str, n_stimuli: int, compression: str | None, room: Callable[[int], None]
    ) -> None:
        if not writable(field) or not 0 < len(field.encode()) <= 200:
            raise StimulusError(f"field {field!r} has a name that HDF5 does not keep")
        self._parent, self._field, self._key = root.require_group("fields"), field, escaped(field)
        self._n, self._done = n_stimuli, 0
        self._compression = compression
        self._data: Any = None
        self._room = room
        self._sums = root.require_group("checksums").create_dataset(self._key, (n_stimuli, 32), dtype="u1")
        write_fixed_text(self._sums, "field", field)

    def append(self, values: Sequence[Any]) -> None:
        """Write the values of the next stimuli."""
        plain = [plain_value(each, field=self._field) for each in values]
        if not plain:
            return
        self._room(sum(len(each.encode()) if isinstance(each, str) else each.nbytes for each in plain))
        if self._data is None:
            packer = _worth_it(plain) if self._compression == "auto" else self._compression
            self._packed = {"compression": packer, "compression_opts": 1 if packer == "gzip" else None}
            self._data = self._first(plain[0])
        if hasattr(self._data, "chunks") and not all(_fits(each, self._data) for each in plain):
            self._flatten()
        if hasattr(self._data, "chunks"):
            self._data[self._done : self._done + len(plain)] = np.stack(plain)
        else:
            self._append_flat(plain)
        sums = b"".join(bytes.fromhex(value_digest(each)) for each in plain)
        self._sums[self._done : self._done + len(plain)] = np.frombuffer(sums, np.uint8).reshape(-1, 32)
        self._done += len(plain)

    def _first(self, value: np.ndarray | str) -> Any:
        """Begin with the layout that the first value suggests."""
        if isinstance(value, str):
            return self._group("texts", value)
        chunks = _chunks(value)
        data = self._parent.create_dataset(
            self._key,
            (self._n, *value.shape),
            dtype=value.dtype,
            chunks=None if chunks is None else (min(chunks[0], self._n), *chunks[1:]),
            shuffle=None if chunks is None or value.dtype.itemsize == 1 else True,
            **({} if chunks is None else self._packed),
        )
        write_fixed_text(data, "field", self._field)
        axes = _AXES.get(self._field, "")
        if len(axes.split()) == data.ndim:
            write_fixed_text(data, "axes", axes)
        return data

    def _group(self, kind: str, value: np.ndarray | str) -> Any:
        group = flat_group(self._parent, self._key, self._n, self._packed)
        write_fixed_text(group, "field", self._field)
        write_fixed_text(group, "kind", kind)
        if isinstance(value, np.ndarray):
            axes = max(value.ndim, 1)
            group.create_dataset(
                "shapes",
                (self._n, axes),
                "i8",
                maxshape=(self._n, None),
                chunks=(min(self._n, 4096), axes),
                fillvalue=-1,
            )
            group.create_dataset("dtypes", (self._n,), "S4")
        return group

    def _flatten(self) -> None:
        """Go over to the layout for values that differ; what is written is copied, its space used again."""
        old = self._data
        self._room(self._done * math.prod(old.shape[1:]) * old.dtype.itemsize)
        self._parent.move(self._key, f"{self._key}.even")
        first = np.empty(old.shape[1:], old.dtype) if old.size == 0 else old[0]
        self._data, done, self._done = self._group("arrays", first), self._done, 0
        for row in range(done):
            self._append_flat([old[row]])
            self._done += 1
        del self._parent[f"{self._key}.even"]

    def _append_flat(self, values: Sequence[np.ndarray | str]) -> None:
        group, first, last = self._data, self._done, self._done + len(values)
        if any(isinstance(each, str) != ("dtypes" not in group) for each in values):
            raise StimulusError(f"field {self._field!r} holds texts of some stimuli and numbers of others")
        packed = [each.encode() if isinstance(each, str) else np.ascontiguousarray(each).tobytes() for each in values]
        append_bytes(group, packed, first)
        if "dtypes" in group:
            arrays = [each for each in values if isinstance(each, np.ndarray)]
            axes = max([group["shapes"].shape[1], *(each.ndim for each in arrays)])
            group["shapes"].resize(axes, axis=1)
            padded = [[*each.shape, *[-1] * (axes - each.ndim)] for each in arrays]
            group["shapes"][first:last] = np.array(padded, np.int64)
            group["dtypes"][first:last] = np.array([each.dtype.str.encode() for each in arrays])


def flat_group(parent: Any, name: str, n_stimuli: int, packed: Mapping[str, Any]) -> Any:
    """Make a group of ``bytes`` and ``offsets`` for one text, or array, a stimulus."""
    group = parent.create_group(name)
    group.create_dataset("bytes", (0,), "u1", maxshape=(None,), chunks=(_FLAT_CHUNK,), **packed)
    group.create_dataset("offsets", data=np.zeros(n_stimuli + 1, np.int64))
    return group


def append_bytes(group: Any, values: Sequence[bytes], start: int) -> None:
    """Append to a :func:`flat_group`; the first of the values is number `start`."""
    first = int(group["offsets"][start])
    ends = first + np.cumsum([len(each) for each in values], dtype=np.int64)
    group["bytes"].resize((int(ends[-1]),))
    group["bytes"][first:] = np.frombuffer(b"".join(values), np.uint8)
    group["offsets"][start + 1 : start + 1 + len(values)] = ends


@dataclass(frozen=True)
class Even:
    """A field whose values are of one shape: one dataset (stimulus, ...)."""

    where: str

    def read(self, file: Any, rows: np.ndarray) -> list[Any]:
        """Read the values of some stimuli."""
        data, found = file[self.where], []
        for first, last in runs(rows):
            found += list(data[first:last])
        return [np.asarray(each) for each in found]


@dataclass(frozen=True)
class Flat:
    """A field whose values differ in shape, or texts: bytes one after another."""

    where: str
    offsets: np.ndarray  # int64 (stimulus + 1,)
    texts: bool

    def read(self, file: Any, rows: np.ndarray) -> list[Any]:
        """Read the values of some stimuli."""
        group, found = file[self.where], []
        for first, last in runs(rows):
            ends = self.offsets[first : last + 1]
            whole = group["bytes"][int(ends[0]) : int(ends[-1])].tobytes()
            parts = [whole[a - ends[0] : b - ends[0]] for a, b in zip(ends[:-1], ends[1:])]
            if self.texts:
                found += [each.decode() for each in parts]
            else:
                kinds, shapes = group["dtypes"][first:last], group["shapes"][first:last]
                found += [_value(part, kind, shape) for part, kind, shape in zip(parts, kinds, shapes)]
        return found


def open_field(path: Path, file: Any, where: str, n_stimuli: int) -> Even | Flat:
    """Look at how a field lies in an open, guarded file, and see that it can be read in pieces.

    Raises
    ------
    FileError
        If it does not lie there as :class:`FieldWriter` writes.
    """
    import h5py

    odd = FileError(f"{path}: /{where} is no field of {n_stimuli} stimuli; write the file again")
    item = file.get(where)
    if isinstance(item, h5py.Dataset):
        if not item.ndim or item.shape[0] != n_stimuli or item.dtype.kind not in "biuf" or item.dtype.itemsize > 8:
            raise odd
        if math.prod(item.shape[1:]) * item.dtype.itemsize > _MOST_VALUE_BYTES:
            raise FileError(f"{path}: a stimulus of /{where} claims more than {_MOST_VALUE_BYTES >> 30} GiB")
        return Even(where)
    if not isinstance(item, h5py.Group) or fixed_text(item, "kind") not in ("texts", "arrays"):
        raise odd
    texts = fixed_text(item, "kind") == "texts"
    parts = (
        {"bytes": "u1", "offsets": "i8"} if texts else {"bytes": "u1", "offsets": "i8", "shapes": "i8", "dtypes": "S4"}
    )
    if any(not isinstance(item.get(part), h5py.Dataset) or item[part].dtype != kind for part, kind in parts.items()):
        raise odd
    if item["offsets"].shape != (n_stimuli + 1,) or item["bytes"].ndim != 1:
        raise odd
    offsets = item["offsets"][:]
    lengths = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != item["bytes"].shape[0] or (lengths < 0).any():
        raise odd
    if lengths.max(initial=0) > _MOST_VALUE_BYTES:
        raise FileError(f"{path}: a stimulus of /{where} claims more than {_MOST_VALUE_BYTES >> 30} GiB")
    shapes = None if texts else item["shapes"].shape
    if shapes is not None and (item["dtypes"].shape != (n_stimuli,) or shapes[:1] != (n_stimuli,) or len(shapes) != 2):
        raise odd
    if shapes is not None and shapes[1] > _MOST_AXES:
        raise odd
    return Flat(where, offsets, texts)


def runs(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cut row numbers, in their order, into runs of consecutive ones: (first, last + 1).

    Examples
    --------
    >>> list(runs(np.array([3, 4, 5, 1, 1])))
    [(3, 6), (1, 2), (1, 2)]
    """
    rows = np.asarray(rows, dtype=np.int64)
    if len(rows):
        cuts = np.flatnonzero(np.diff(rows) != 1) + 1
        for part in np.split(rows, cuts):
            yield int(part[0]), int(part[-1]) + 1


def _value(data: bytes, kind: Any, shape: np.ndarray) -> np.ndarray:
    """Make an array of its bytes."""
    dtype = np.dtype(bytes(kind).decode())
    sizes = tuple(int(each) for each in shape if each >= 0)
    if dtype.kind not in "biuf" or math.prod(sizes) * dtype.itemsize != len(data):
        raise ValueError("its shape is not that of its bytes")
    return np.frombuffer(data, dtype).reshape(sizes).copy()


def _worth_it(values: Sequence[np.ndarray | str]) -> str | None:
    """Say whether the first values shrink enough for what unpacking costs at every reading."""
    packed = raw = 0
    for value in values[:_TRIED]:
        data = value.encode() if isinstance(value, str) else _shuffled(value)
        packed, raw = packed + len(zlib.compress(data, 1)), raw + len(data)
    return "gzip" if packed <= _WORTH * raw else None


def _shuffled(value: np.ndarray) -> bytes:
    """Return an array's bytes as HDF5 packs them: first bytes of all numbers, then second ones."""
    values = np.ascontiguousarray(value).reshape(-1)
    return np.ascontiguousarray(values.view(np.uint8).reshape(-1, values.itemsize).T).tobytes()


def _fits(value: np.ndarray | str, data: Any) -> bool:
    return isinstance(value, np.ndarray) and value.shape == data.shape[1:] and value.dtype == data.dtype


def _chunks(value: np.ndarray) -> tuple[int, ...] | None:
    """Choose chunks (stimulus, ...): a few small stimuli, one, or a part of a large one; None for empty values."""
    if not value.nbytes:
        return None
    shape = list(value.shape)
    axis = 0
    while math.prod(shape) * value.dtype.itemsize > _MOST_CHUNK_BYTES and axis < len(shape):
        if shape[axis] == 1:
            axis += 1
        else:
            shape[axis] = -(-shape[axis] // 2)
    return (max(1, _CHUNK_BYTES // value.nbytes), *shape)
