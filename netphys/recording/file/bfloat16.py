"""bfloat16 in files and arrays: the upper half of a float32, for which numpy and HDF5 have no type of their own.

In memory it is uint16 (what ``torch.Tensor.view(torch.uint16)`` shows), made by torch, which rounds to nearest even. In
a file it is a float of HDF5 with 1 bit of sign, 8 of exponent and 7 of mantissa, so that plain h5py and xarray read
floats. HDF5 converts them one by one, slowly; :class:`Stored` reads the two bytes and widens them, which is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Stored", "hdf5_dtype", "is_bfloat16", "storage_dtype", "to_float32"]

_FIELDS = (15, 7, 8, 0, 7)  # of the type: where the sign is, exponent and its bits, mantissa and its bits
_BIAS = 127


def storage_dtype(name: str) -> np.dtype:
    """Return numpy's dtype of what is stored under a dtype's name: uint16 for bfloat16.

    Examples
    --------
    >>> storage_dtype("bfloat16"), storage_dtype("float16")
    (dtype('uint16'), dtype('float16'))
    """
    return np.dtype(np.uint16 if name == "bfloat16" else name)


def to_float32(values: np.ndarray) -> np.ndarray:
    """Widen bfloat16 (as uint16) to float32: exact, also of NaN and infinity.

    Examples
    --------
    >>> to_float32(np.array([0x3FC0, 0x7F80], dtype=np.uint16))
    array([1.5, inf], dtype=float32)
    """
    wide = values.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def hdf5_dtype(name: str) -> Any:
    """Return what ``create_dataset`` takes as the dtype of that name."""
    import h5py

    return h5py.Datatype(_type()) if name == "bfloat16" else np.dtype(name)


def is_bfloat16(dataset: Any) -> bool:
    """Tell whether a dataset's floats are bfloat16."""
    import h5py

    stored = dataset.id.get_type()
    if not isinstance(stored, h5py.h5t.TypeFloatID) or stored.get_size() != 2:
        return False
    return stored.get_fields() == _FIELDS and stored.get_ebias() == _BIAS


class Stored:
    """A dataset of floats as it is stored: bfloat16 is read and written as uint16, all else as it is.

    Parameters
    ----------
    dataset : h5py.Dataset
        Open.
    widened : bool
        Read bfloat16 as float32.
    """

    def __init__(self, dataset: Any, *, widened: bool = False) -> None:
        self._dataset = dataset
        self._halved, self._widened = is_bfloat16(dataset), widened
        stored = storage_dtype("bfloat16") if self._halved else dataset.dtype
        self.dtype = np.dtype(np.float32) if self._halved and widened else stored
        self.shape: tuple[int, ...] = dataset.shape
        self.chunks: tuple[int, ...] | None = dataset.chunks

    def __getitem__(self, part: slice | tuple[slice, ...]) -> np.ndarray:
        """Read a block: slices of step 1."""
        if not self._halved:
            return np.asarray(self._dataset[part])
        start, count = self._box(part)
        values = np.empty(count, np.uint16)
        if values.size:
            self._dataset.id.read(*_spaces(self._dataset, start, count), values, mtype=_type())
        return to_float32(values) if self._widened else values

    def write(self, first: int, values: np.ndarray) -> None:
        """Write rows from `first` on."""
        if not self._halved:
            self._dataset[first : first + len(values)] = values
        elif values.size:
            start = (first, *(0 for _ in self.shape[1:]))
            part = np.ascontiguousarray(values, dtype=np.uint16)
            self._dataset.id.write(*_spaces(self._dataset, start, part.shape), part, mtype=_type())

    def _box(self, part: slice | tuple[slice, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        given = part if isinstance(part, tuple) else (part,)
        whole = (*given, *(slice(None) for _ in self.shape[len(given) :]))
        spans = [each.indices(size) for each, size in zip(whole, self.shape)]
        return tuple(low for low, _, _ in spans), tuple(max(high - low, 0) for low, high, _ in spans)


def _type() -> Any:
    """Make HDF5's type."""
    from h5py import h5t

    made = h5t.IEEE_F16LE.copy()
    made.set_fields(*_FIELDS)
    made.set_ebias(_BIAS)
    return made


def _spaces(dataset: Any, start: tuple[int, ...], count: tuple[int, ...]) -> tuple[Any, Any]:
    """Make the dataspaces of a block, in memory and in the file."""
    from h5py import h5s

    chosen = dataset.id.get_space()
    chosen.select_hyperslab(start, count)
    return h5s.create_simple(count), chosen
