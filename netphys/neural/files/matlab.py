"""Variables of .mat files: versions 4 to 7 by :mod:`netphys.neural.files.levels`, version 7.3 (HDF5) by h5py.

Version 7.3 is HDF5 with dimensions reversed, chars as uint16 and struct arrays as groups of object references; all of
it is undone here, so that a variable reads the same whichever version holds it (definitions: neural data, 1.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import NeuralDataError
from netphys.guards import guarded_hdf5, is_hdf5, translating
from netphys.neural.files.contents import Kind, Variable
from netphys.neural.files.levels import level_fields, level_variables, read_level

__all__ = ["matlab_variables", "read_matlab", "struct_fields"]

_NUMBERS = {"double", "single", "logical"} | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_DEPTH = 16  # structs within structs
_LISTED_LEVELS = 2  # of fields: those of a struct and those of the structs within it
_LISTED = 1000  # fields of one struct that are listed


def matlab_variables(path: Path) -> dict[str, Variable]:
    """List the variables of a .mat file with their shapes, from headers alone.

    Raises
    ------
    NeuralDataError
        If it is no .mat file, damaged, or claims more than it can hold.
    """
    if is_hdf5(path):
        with guarded_hdf5(path) as file:
            return {name: _variable_73(name, file[name]) for name in file if not name.startswith("#")}
    with translating(path, "a .mat file"):
        return level_variables(path)


def read_matlab(path: Path, variable: str, *, fields: Sequence[str] = ()) -> np.ndarray:
    """Read one variable in MATLAB's own dimensions.

    Parameters
    ----------
    path : Path
        A .mat file of any version.
    variable : str
        One of :func:`matlab_variables`.
    fields : sequence of str
        The fields of a struct array that are needed; others may be left unread.

    Returns
    -------
    numpy.ndarray
        Numbers or text; a struct array as a structured array of objects; a cell array as an array of objects.
    """
    if is_hdf5(path):
        with guarded_hdf5(path) as file:
            return _value_73(file, file[variable], tuple(fields), 0)
    with translating(path, "a .mat file"):
        return read_level(path, variable, fields=fields)


def struct_fields(path: Path, variable: str) -> dict[str, Variable]:
    """List the fields of a struct of one element with their shapes and kinds, from headers alone.

    Parameters
    ----------
    path : Path
        A .mat file of any version.
    variable : str
        One of :func:`matlab_variables`.

    Returns
    -------
    dict
        By dotted names: ``data.rates``, and one level further ``data.info.animal``. Empty where the variable is
        another kind or a struct array, or (versions 5 to 7) a struct of more than 64 MiB.

    Raises
    ------
    NeuralDataError
        If the file is damaged, or claims more than it can hold.
    """
    if not is_hdf5(path):
        with translating(path, "a .mat file"):
            return level_fields(path, variable, depth=_LISTED_LEVELS, most=_LISTED)
    found: dict[str, Variable] = {}
    with guarded_hdf5(path) as file:
        if variable in file:
            _list_fields_73(file[variable], variable, _LISTED_LEVELS, found)
    return found


def _list_fields_73(item: Any, above: str, depth: int, found: dict[str, Variable]) -> None:
    """Add the fields of a struct of one element of a version 7.3 file."""
    import h5py

    if not isinstance(item, h5py.Group) or _odd_73(item) or _struct_array(item):
        return
    for field in item:
        if len(found) >= _LISTED:
            return
        name = f"{above}.{field}"
        found[name] = _variable_73(name, item[field])
        if depth > 1:
            _list_fields_73(item[field], name, depth - 1, found)


def _kind(matlab_class: str) -> Kind:
    """Name the kind of one of MATLAB's classes."""
    if matlab_class in _NUMBERS:
        return "numbers"
    if matlab_class == "char":
        return "text"
    if matlab_class == "struct":
        return "struct"
    return "cell" if matlab_class == "cell" else "other"


def _variable_73(name: str, item: Any) -> Variable:
    """Describe one variable of a version 7.3 file."""
    import h5py

    matlab_class = _class_73(item)
    if isinstance(item, h5py.Group):
        if _odd_73(item):
            return Variable(name, (), "other")
        return Variable(name, _struct_shape(item), "struct")
    if item.attrs.get("MATLAB_empty", 0):
        return Variable(name, tuple(int(each) for each in item[()].reshape(-1)), _kind(matlab_class))
    shape = tuple(reversed(item.shape or ()))
    return Variable(name, shape, _kind(matlab_class or ("double" if item.dtype.kind in "fiub" else "object")))


def _class_73(item: Any) -> str:
    """MATLAB's class of an object, ``""`` where it has none (the fields of a struct array)."""
    found = item.attrs.get("MATLAB_class", b"")
    return found.decode() if isinstance(found, bytes) else str(found)


def _odd_73(item: Any) -> str:
    """What an object is that is neither numbers, text, a cell nor a struct; ``""`` of one of these."""
    import h5py

    if "MATLAB_sparse" in item.attrs:
        return "sparse matrix"
    matlab_class = _class_73(item)
    known = ("struct", "") if isinstance(item, h5py.Group) else (*_NUMBERS, "char", "cell", "struct", "")
    return "" if matlab_class in known else matlab_class


def _struct_array(item: Any) -> bool:
    """Tell a struct array (every field a dataset of references) from a single struct (every field a value)."""
    import h5py

    fields = list(item.values())
    return bool(fields) and all(
        isinstance(each, h5py.Dataset) and each.dtype == h5py.ref_dtype and not _class_73(each) for each in fields
    )


def _struct_shape(item: Any) -> tuple[int, ...]:
    """Shape of a struct, in MATLAB's order."""
    return tuple(reversed(next(iter(item.values())).shape)) if _struct_array(item) else (1, 1)


def _value_73(file: Any, item: Any, fields: tuple[str, ...], depth: int) -> np.ndarray:
    """Read one object of a version 7.3 file as scipy would give it from an earlier version."""
    import h5py

    if depth > _DEPTH:
        raise NeuralDataError(
            f"{file.filename}: {item.name} is nested deeper than {_DEPTH}; save the part that is needed"
        )
    if odd := _odd_73(item):
        raise NeuralDataError(f"{file.filename}: {item.name} is a {odd}; save it as a full array of numbers")
    if isinstance(item, h5py.Group):
        return _struct_73(file, item, fields, depth)
    matlab_class = _class_73(item)
    if item.attrs.get("MATLAB_empty", 0):
        return np.empty(0)
    if item.dtype == h5py.ref_dtype:
        return _dereferenced(file, item[()].T, depth)
    if matlab_class == "char":
        rows = np.atleast_2d(item[()].T)
        return np.array(["".join(map(chr, row)) for row in rows])
    if item.dtype.kind not in "fiub":
        raise NeuralDataError(f"{file.filename}: {item.name} is {item.dtype}; save it as a full array of real numbers")
    return item[()].T


def _struct_73(file: Any, item: Any, fields: tuple[str, ...], depth: int) -> np.ndarray:
    """Read a struct or a struct array as a structured array of objects, all its names, the wanted fields filled."""
    names = list(item)
    if not names:
        return np.empty((0, 0))
    if _struct_array(item) and len({each.shape for each in item.values()}) > 1:
        raise NeuralDataError(f"{file.filename}: the fields of {item.name} are of different shapes; fetch it again")
    out = np.empty(_struct_shape(item), dtype=[(name, object) for name in names])
    for name in names:
        if fields and name not in fields:
            continue
        if _struct_array(item):
            out[name] = _dereferenced(file, item[name][()].T, depth)
        else:
            out[name][0, 0] = _value_73(file, item[name], (), depth + 1)
    return out


def _dereferenced(file: Any, references: np.ndarray, depth: int) -> np.ndarray:
    """Follow an array of object references to the values (within the file: references cannot leave it)."""
    out = np.empty(references.shape, dtype=object)
    for at in np.ndindex(*references.shape):
        if not references[at]:
            raise NeuralDataError(f"{file.filename}: a cell or field refers to nothing; fetch the file again")
        out[at] = _value_73(file, file[references[at]], (), depth + 1)
    return out
