"""Files of arrays (.mat, .npz, .npy, .csv, .h5): what they hold, one variable of them, and the ids beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.guards import first_line
from netphys.neural.files.arrays import FirstColumn, npy_variables, npz_variables, read_npy, read_npz, read_table
from netphys.neural.files.contents import Kind, Variable, choose, kind_of
from netphys.neural.files.hdf5 import hdf5_variables, read_hdf5
from netphys.neural.files.labels import texts_of
from netphys.neural.files.matlab import matlab_variables, read_matlab

__all__ = ["ID_NAMES", "ArrayFile", "carried_ids", "held_variables", "read_variable"]

ID_NAMES = ("stimulus_id", "stimulus_ids")  # an array of that name beside the data holds their ids
_TEXT = 2**28  # bytes that the labels of an axis may become
_NO_FIELD = ("\0",)  # of a struct whose field names alone are wanted


def held_variables(path: Path, suffix: str, *, first: FirstColumn | None = None) -> dict[str, Variable]:
    """List what a file holds, from its headers (a CSV file has none and is read; `first`: what its first column is)."""
    if suffix == ".mat":
        return matlab_variables(path)
    if suffix == ".npz":
        return npz_variables(path)
    if suffix == ".npy":
        return npy_variables(path)
    if suffix == ".csv":
        return {"table": Variable("table", read_table(path, first=first).values.shape, "numbers")}
    return hdf5_variables(path)


def read_variable(
    path: Path, suffix: str, variable: Variable, *, fields: Sequence[str] = (), first: FirstColumn | None = None
) -> tuple[np.ndarray, Sequence[str] | None]:
    """Read one variable; of a CSV file also the ids of its rows (of a square table, of its columns)."""
    if suffix == ".mat":
        return read_matlab(path, variable.name, fields=fields), None
    if suffix == ".npz":
        return read_npz(path, variable.name), None
    if suffix == ".npy":
        return read_npy(path), None
    if suffix != ".csv":
        return read_hdf5(path, variable.name), None
    table = read_table(path, first=first)
    if table.row_ids is not None and table.values.shape[0] == table.values.shape[1]:
        columns = table.column_ids
        if columns is not None and columns != table.row_ids:
            raise NeuralDataError(
                f"{path}: its rows and its columns have different ids; an RDM has the same in the same order"
            )
    square = table.values.shape[0] == table.values.shape[1]
    return table.values, table.row_ids if table.row_ids is not None else (table.column_ids if square else None)


def carried_ids(path: Path, suffix: str, held: Mapping[str, Variable], variable: Variable, n: int) -> list[str] | None:
    """Ids that a file carries beside a variable: an array of n texts or numbers called ``stimulus_id``.

    In the variable's own group, else in the nearest group above that has one; what lies in other groups is of other
    data. None if there is none.

    Raises
    ------
    NeuralDataError
        If one group holds two such arrays that differ.
    """
    if suffix not in (".npz", ".h5", ".hdf5"):
        return None
    group = variable.name
    while group:
        group = group.rpartition("/")[0]
        names = [name for each in ID_NAMES if (name := f"{group}/{each}".lstrip("/")) in held]
        fitting = [name for name in names if held[name].kind in ("text", "numbers") and held[name].shape == (n,)]
        if names:
            return _agreed(path, [_read_ids(path, suffix, name) for name in fitting], fitting)
    return None


def _read_ids(path: Path, suffix: str, name: str) -> list[str]:
    """Read an array of ids as str."""
    values = read_npz(path, name) if suffix == ".npz" else read_hdf5(path, name)
    return [each.decode() if isinstance(each, bytes) else str(each) for each in values.tolist()]


def _agreed(path: Path, found: list[list[str]], names: list[str]) -> list[str] | None:
    """Give the one list that all are; None of none."""
    if any(each != found[0] for each in found):
        raise NeuralDataError(f"{path}: {' and '.join(names)} differ; rows follow one list of ids, rename the other")
    return found[0] if found else None


class ArrayFile:
    """The variables of one file: found by name, or by what they can be.

    Names are paths within the file: of HDF5 ``group/name``, relative to `group` where that is given; of MATLAB
    ``struct.field``, at any depth. The field of a struct array is the values of its elements, stacked where they are
    numbers of one shape, as ``{s.field}`` in MATLAB.
    """

    def __init__(self, path: Path, suffix: str, group: str | None = None) -> None:
        self.path = path
        self.suffix = suffix
        self.held = held_variables(path, suffix)
        self._prefix = f"{group.strip('/')}/" if group and group.strip("/") else ""
        if self._prefix and not any(name.startswith(self._prefix) for name in self.held):
            groups = {name.rpartition("/")[0] for name in self.held} - {""}
            raise NeuralDataError(f"{path} has no group {group!r} that holds an array{near(str(group), groups)}")
        self._read: dict[str, np.ndarray] = {}  # fields of structs: looked at before they are chosen

    def choose(self, wanted: str | None, fits: Callable[[Variable], bool], *, what: str) -> Variable:
        """Choose the variable that the user names, or the only one that fits."""
        if wanted is None:
            inside = {name: each for name, each in self.held.items() if name.startswith(self._prefix)}
            return choose(self.path, inside, None, fits, what=what)
        found = self.find(wanted)
        if found.kind == "struct":
            raise NeuralDataError(
                f"{self.path}: {wanted} is a struct; name one of its fields by variable={wanted}.FIELD: "
                f"{', '.join(self._fields(wanted)[:20]) or 'it has none'}"
            )
        return found

    def find(self, name: str, *, missing: Any = NeuralDataError) -> Any:
        """Find a variable; where there is none, `missing` is raised, or given back if it is None."""
        for each in (self._prefix + name, name):
            if each in self.held:
                return self.held[each]
        try:
            if self.suffix == ".mat" and "." in name:
                value = self._field(name)
                return Variable(name, value.shape, _kind_within(value))
        except NeuralDataError:
            if missing is not None:
                raise
        if missing is None:
            return None
        inside = [each.removeprefix(self._prefix) for each in self.held if each.startswith(self._prefix)]
        raise missing(f"{self.path} has no variable {name!r}{near(name, inside)}")

    def entries(self, variable: Variable) -> int | None:
        """How many values a variable lists along one axis; None where it has several axes, or is no list."""
        if variable.kind == "struct" or not variable.shape:
            return None
        if self.suffix == ".mat" and variable.kind == "text" and len(variable.shape) == 2:
            return variable.shape[0]  # the rows of a char matrix
        sizes = [size for size in variable.shape if size != 1]
        return None if len(sizes) > 1 else (sizes or [1])[0]

    def read(self, variable: Variable) -> np.ndarray:
        """Read a variable."""
        if variable.name in self._read:
            return self._read[variable.name]
        return read_variable(self.path, self.suffix, variable)[0]

    def labels(self, name: str, n: int, *, option: str, axis: str) -> list[str]:
        """Read one text or number for each of n entries of an axis, as text."""
        variable = self.find(name)
        try:
            texts = texts_of(self.read(variable), matlab=self.suffix == ".mat")
        except (ValueError, UnicodeDecodeError) as error:
            raise NeuralDataError(
                f"{self.path}: {option}={name}: {first_line(error)}; it has one text or number a {axis}"
            ) from None
        if len(texts) != n:
            raise NeuralDataError(f"{self.path}: {option}={name} has {len(texts)} values, there are {n} {axis}s")
        longest = max(map(len, texts), default=0)
        if 4 * n * longest > _TEXT:  # numpy gives every entry the room of the longest
            told = f"{option}={name} has a text of {longest} characters among {n}"
            raise NeuralDataError(f"{self.path}: {told}; a name of a {axis} is short")
        if "" in texts:
            raise NeuralDataError(f"{self.path}: {option}={name} is empty at {axis} {texts.index('') + 1}; name all")
        return texts

    def _fields(self, name: str) -> list[str]:
        """Names of the fields of a struct."""
        value = self._field(name) if "." in name else read_matlab(self.path, name, fields=_NO_FIELD)
        return list(value.dtype.names or ())

    def _field(self, name: str) -> np.ndarray:
        """Follow a path into structs."""
        if name in self._read:
            return self._read[name]
        head, *inner = name.split(".")
        if head not in self.held:
            raise NeuralDataError(f"{self.path} has no variable {head!r}{near(head, self.held)}")
        if self.held[head].kind != "struct":
            raise NeuralDataError(f"{self.path}: {head} is no struct and has no field {inner[0]!r}")
        value = read_matlab(self.path, head, fields=(inner[0],))
        walked = head
        for field in inner:
            if value.dtype.names is None:
                raise NeuralDataError(f"{self.path}: {walked} is no struct and has no field {field!r}")
            if field not in value.dtype.names:
                raise NeuralDataError(f"{self.path}: {walked} has no field {field!r}{near(field, value.dtype.names)}")
            value, walked = _field_of(value, field), f"{walked}.{field}"
        self._read[name] = value if value.flags.writeable else value.copy()  # two fields may share one array
        return self._read[name]


def _kind_within(value: np.ndarray) -> Kind:
    """Name the kind of what a struct holds."""
    if value.dtype.names is not None:
        return "struct"
    return "cell" if value.dtype == object else kind_of(value.dtype)


def _field_of(struct: np.ndarray, field: str) -> np.ndarray:
    """One field: of a single struct its value; of a struct array the values of all, stacked where they are alike."""
    parts = [np.asarray(each) for each in struct[field].reshape(-1, order="F")]
    if len(parts) == 1:
        return parts[0]
    if parts and all(each.dtype.kind in "fiub" and each.shape == parts[0].shape for each in parts):
        stacked = np.stack(parts)
        return stacked.reshape(len(parts), *[size for size in stacked.shape[1:] if size != 1])
    out = np.empty(len(parts), dtype=object)
    for at, each in enumerate(parts):
        out[at] = each
    return out
