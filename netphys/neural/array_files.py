"""One way into every file that holds arrays by name (.mat, .npz, .npy, .csv, .h5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.arrays import npy_variables, npz_variables, read_npy, read_npz, read_table
from netphys.neural.contents import Variable
from netphys.neural.hdf5 import hdf5_variables, read_hdf5
from netphys.neural.matlab import matlab_variables, read_matlab

__all__ = ["carried_ids", "held_variables", "read_variable"]

_ID_NAMES = ("stimulus_id", "stimulus_ids")  # an array of that name beside the data holds their ids


def held_variables(path: Path, suffix: str) -> dict[str, Variable]:
    """List what a file holds, from its headers (a CSV file has none and is read)."""
    if suffix == ".mat":
        return matlab_variables(path)
    if suffix == ".npz":
        return npz_variables(path)
    if suffix == ".npy":
        return npy_variables(path)
    if suffix == ".csv":
        return {"table": Variable("table", read_table(path).values.shape, "numbers")}
    return hdf5_variables(path)


def read_variable(
    path: Path, suffix: str, variable: Variable, *, fields: Sequence[str] = ()
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
    table = read_table(path)
    if table.row_ids is not None and table.values.shape[0] == table.values.shape[1]:
        columns = table.column_ids
        if columns is not None and columns != table.row_ids:
            raise NeuralDataError(
                f"{path}: its rows and its columns have different ids; an RDM has the same in the same order"
            )
    square = table.values.shape[0] == table.values.shape[1]
    return table.values, table.row_ids if table.row_ids is not None else (table.column_ids if square else None)


def carried_ids(path: Path, suffix: str, held: Mapping[str, Variable], n: int) -> Sequence[str] | None:
    """Ids that a file carries beside its data: an array of n texts called ``stimulus_id``; None if there is none."""
    if suffix not in (".npz", ".h5", ".hdf5"):
        return None
    for name, variable in held.items():
        if name.rsplit("/", 1)[-1] in _ID_NAMES and variable.kind == "text" and variable.shape == (n,):
            values = read_npz(path, name) if suffix == ".npz" else read_hdf5(path, name)
            return [each.decode() if isinstance(each, bytes) else str(each) for each in values.tolist()]
    return None
