"""Variables of .mat files of version 7.3: HDF5 with dimensions reversed, chars as UTF-16 and cells as references.

All of it is undone here. An object reference may lead to what no name leads to, and any number of them to one object:
what each leads to is checked before it is read, read once, and counted each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import NeuralDataError
from netphys.guards import Visits, require_dataset, require_hard_links
from netphys.neural.files.contents import Kind, Variable

__all__ = ["File73", "matlab_text"]

_NUMBERS = {"double", "single", "logical"} | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_CODES = {1: "latin1", 2: "utf-16-le", 4: "utf-32-le"}  # encoding of chars by their bytes
_DEPTH = 16  # structs within structs
_AXES = 32  # of an array


@dataclass(frozen=True)
class _Read:
    """A value that was read, and what it counted."""

    value: np.ndarray
    claimed: int
    objects: int
    height: int  # levels below it


class File73:
    """An open file, guarded: what it holds, and one variable of it.

    Parameters
    ----------
    path : Path
        The file, for messages.
    file : h5py.File
        As :func:`netphys.guards.guarded_hdf5` yields it.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self._path = path
        self._file = file
        self._visits = Visits(path, "the file")
        self._kept: dict[int, _Read] = {}  # by address
        self._open: set[int] = set()  # addresses of what is being read
        self._arrays: dict[int, tuple[int, ...] | None] = {}  # shapes of struct arrays; None: no struct array

    def variables(self) -> dict[str, Variable]:
        """List the variables with their shapes."""
        return {name: self._variable(name, self._file[name]) for name in self._file if not name.startswith("#")}

    def fields(self, variable: str, *, depth: int, most: int) -> dict[str, Variable]:
        """List the fields of a struct of one element by dotted names, at most so many, to so many levels."""
        found: dict[str, Variable] = {}
        if variable in self._file:
            self._list(self._file[variable], variable, depth, most, found)
        return found

    def read(self, variable: str, fields: tuple[str, ...] = ()) -> np.ndarray:
        """Read a variable in MATLAB's dimensions; of a struct all fields are named, those in `fields` filled.

        Raises
        ------
        NeuralDataError
            If it is of a kind that is not read, holds itself, or is nested deeper than 16 levels.
        FileError
            If a reference leads to bytes that are not the file's own, or it becomes more than the file can mean.
        """
        self._visits = Visits(self._path, variable)
        return self._value(self._file[variable], fields, 0)[0]

    def _variable(self, name: str, item: Any) -> Variable:
        """Describe one object from its header."""
        import h5py

        matlab_class = _class(item)
        if isinstance(item, h5py.Group):
            if _odd(item):
                return Variable(name, (), "other")
            return Variable(name, self._array_shape(item) or (1, 1), "struct")
        if not isinstance(item, h5py.Dataset):
            return Variable(name, (), "other")
        if item.attrs.get("MATLAB_empty", 0):
            few = item[()].reshape(-1) if 0 < (item.size or 0) <= _AXES else np.zeros(1)
            return Variable(name, tuple(int(each) for each in few), _kind(matlab_class))
        shape = tuple(reversed(item.shape or ()))
        return Variable(name, shape, _kind(matlab_class or ("double" if item.dtype.kind in "fiub" else "object")))

    def _list(self, item: Any, above: str, depth: int, most: int, found: dict[str, Variable]) -> None:
        """Add the fields of a struct of one element."""
        import h5py

        if not isinstance(item, h5py.Group) or _odd(item) or self._array_shape(item) is not None:
            return
        for field in item:
            if len(found) >= most:
                return
            name = f"{above}.{field}"
            found[name] = self._variable(name, item[field])
            if depth > 1:
                self._list(item[field], name, depth - 1, most, found)

    def _array_shape(self, group: Any) -> tuple[int, ...] | None:
        """Shape of a struct array (every field a dataset of references); None of a struct (every field a value)."""
        import h5py

        address = _address(group.id)
        if address not in self._arrays:
            require_hard_links(self._path, group)
            fields = list(group.values())
            is_array = bool(fields) and all(
                isinstance(each, h5py.Dataset) and _refers(each) and not _class(each) for each in fields
            )
            if is_array and len({each.shape for each in fields}) > 1:
                raise NeuralDataError(
                    f"{self._path}: the fields of {group.name} are of different shapes; fetch it again"
                )
            self._arrays[address] = tuple(reversed(fields[0].shape)) if is_array else None
        return self._arrays[address]

    def _value(self, item: Any, fields: tuple[str, ...], depth: int) -> tuple[np.ndarray, int]:
        """Read an object once; the value and the levels below it."""
        address = _address(item.id)
        if kept := self._again(address, depth):
            return kept.value, kept.height
        if depth > _DEPTH:
            raise self._too_deep()
        before = (self._visits.claimed, self._visits.objects)
        self._open.add(address)
        value, height = self._whole(item, fields, depth)
        self._open.remove(address)
        claimed, objects = self._visits.claimed - before[0], self._visits.objects - before[1]
        self._kept[address] = _Read(value, claimed, objects, height)
        return value, height

    def _again(self, address: int, depth: int) -> _Read | None:
        """What was read of an object before, counted again; None if it was not."""
        if address in self._open:
            raise NeuralDataError(f"{self._path}: {self._visits.what} holds itself; fetch the file again")
        kept = self._kept.get(address)
        if kept is None:
            return None
        if depth + kept.height > _DEPTH:
            raise self._too_deep()
        self._visits.count(claimed=kept.claimed, objects=kept.objects)
        kept.value.flags.writeable = False  # it is in two places now
        return kept

    def _too_deep(self) -> NeuralDataError:
        """What to say of structs within structs without end."""
        what = self._visits.what
        return NeuralDataError(f"{self._path}: {what} is nested deeper than {_DEPTH}; save the part that is needed")

    def _whole(self, item: Any, fields: tuple[str, ...], depth: int) -> tuple[np.ndarray, int]:
        """Read an object as it would come from an earlier version."""
        import h5py

        if odd := _odd(item):
            raise NeuralDataError(f"{self._path}: {_name(item)} is a {odd}; save it as a full array of numbers")
        if isinstance(item, h5py.Group):
            return self._struct(item, fields, depth)
        if not isinstance(item, h5py.Dataset):
            raise NeuralDataError(f"{self._path}: {_name(item)} is a type without data; choose another variable")
        if item.attrs.get("MATLAB_empty", 0):
            return np.empty(0), 0
        if _refers(item):
            return self._followed(item, depth)
        claimed = require_dataset(self._path, item)
        if _class(item) == "char" and item.dtype.kind in "iuf":
            self._visits.count(claimed=max(2, 4 // item.dtype.itemsize) * claimed)  # a character takes 4 bytes
            return self._text(item), 0
        if item.dtype.kind not in "fiub":
            told = f"{_name(item)} is {item.dtype}; save it as a full array of real numbers"
            raise NeuralDataError(f"{self._path}: {told}")
        self._visits.count(claimed=claimed)
        return item[()].T, 0

    def _text(self, item: Any) -> np.ndarray:
        """Read a matrix of chars: one str a row."""
        try:
            rows = np.atleast_2d(item[()].T)
            return np.array([matlab_text(row) for row in rows])
        except ValueError as error:
            raise NeuralDataError(f"{self._path}: {_name(item)} is no text: {error}; save it as chars") from None

    def _struct(self, item: Any, fields: tuple[str, ...], depth: int) -> tuple[np.ndarray, int]:
        """Read a struct or a struct array as a structured array of objects, all its names, the wanted fields filled."""
        names = list(item)
        if not names:
            return np.empty((0, 0)), 0
        shape = self._array_shape(item)
        self._visits.count(claimed=8 * len(names) * math.prod(shape or (1,)), objects=len(names))
        out = np.empty(shape or (1, 1), dtype=[(name, object) for name in names])
        height = 0
        for name in names:
            if fields and name not in fields:
                continue
            if shape is None:
                out[name][0, 0], below = self._value(item[name], (), depth + 1)
                below += 1
            else:
                out[name], below = self._followed(item[name], depth)
            height = max(height, below)
        return out, height

    def _followed(self, item: Any, depth: int) -> tuple[np.ndarray, int]:
        """Follow a dataset of object references to the values (within the file: references cannot leave it)."""
        import h5py

        claimed = require_dataset(self._path, item)
        self._visits.count(claimed=claimed, objects=item.size or 0)
        references = np.asarray(item[()]).T
        out, height = np.empty(references.shape, dtype=object), 0
        for at in np.ndindex(*references.shape):
            if not references[at]:
                raise NeuralDataError(f"{self._path}: a cell or field refers to nothing; fetch the file again")
            address = _address(h5py.h5r.dereference(references[at], self._file.id))
            kept = self._again(address, depth + 1)  # without opening it: that is slow
            if kept is not None:
                out[at], below = kept.value, kept.height
            else:
                out[at], below = self._value(self._file[references[at]], (), depth + 1)
            height = max(height, below + 1)
        return out, height


def matlab_text(codes: np.ndarray) -> str:
    """Decode one row of MATLAB's chars: UTF-16 units; of Octave also bytes, or whole code points.

    Raises
    ------
    ValueError
        If they are no characters.

    Examples
    --------
    >>> matlab_text(np.array([0x68, 0xE4, 0xD83D, 0xDE00], dtype=np.uint16))
    'hä😀'
    """
    if codes.ndim != 1 or codes.dtype.kind not in "iu" or codes.dtype.itemsize not in _CODES:
        raise ValueError(f"{codes.dtype} of shape {codes.shape} are no characters")
    little = codes.astype(codes.dtype.newbyteorder("<"))
    return little.tobytes().decode(_CODES[codes.dtype.itemsize])


def _kind(matlab_class: str) -> Kind:
    """Name the kind of one of MATLAB's classes."""
    if matlab_class in _NUMBERS:
        return "numbers"
    if matlab_class == "char":
        return "text"
    if matlab_class == "struct":
        return "struct"
    return "cell" if matlab_class == "cell" else "other"


def _class(item: Any) -> str:
    """MATLAB's class of an object, ``""`` where it has none (the fields of a struct array)."""
    found = item.attrs.get("MATLAB_class", b"")
    return found.decode() if isinstance(found, bytes) else str(found)


def _odd(item: Any) -> str:
    """What an object is that is neither numbers, text, a cell nor a struct; ``""`` of one of these."""
    import h5py

    if "MATLAB_sparse" in item.attrs:
        return "sparse matrix"
    matlab_class = _class(item)
    known = ("struct", "") if isinstance(item, h5py.Group) else (*_NUMBERS, "char", "cell", "struct", "")
    return "" if matlab_class in known else matlab_class


def _refers(dataset: Any) -> bool:
    """Whether a dataset holds object references (text of variable length has the same dtype to numpy)."""
    import h5py

    return h5py.check_ref_dtype(dataset.dtype) is h5py.Reference


def _name(item: Any) -> str:
    """What to call an object in a message."""
    return str(item.name or "what a reference leads to")


def _address(identifier: Any) -> int:
    """Where an object stands in its file."""
    import h5py

    return int(h5py.h5o.get_info(identifier).addr)
