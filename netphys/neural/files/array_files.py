"""One way into every file that holds arrays by name (.mat, .npz, .npy, .csv, .h5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.files.arrays import FirstColumn, npy_variables, npz_variables, read_npy, read_npz, read_table
from netphys.neural.files.contents import Variable
from netphys.neural.files.hdf5 import hdf5_variables, read_hdf5
from netphys.neural.files.matlab import matlab_variables, read_matlab

__all__ = ["ID_NAMES", "carried_ids", "held_variables", "read_variable"]

ID_NAMES = ("stimulus_id", "stimulus_ids")  # an array of that name beside the data holds their ids


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
