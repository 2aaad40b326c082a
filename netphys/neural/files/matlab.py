"""Variables of .mat files: versions 4 to 7 by :mod:`~netphys.neural.files.levels`, 7.3 by `matlab_73` beside it.

A variable reads the same whichever version holds it (definitions: neural data, 1.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from netphys.guards import guarded_hdf5, is_hdf5, translating
from netphys.neural.files.contents import Variable
from netphys.neural.files.levels import level_fields, level_variables, read_level
from netphys.neural.files.matlab_73 import File73

__all__ = ["matlab_variables", "read_matlab", "struct_fields"]

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
            return File73(path, file).variables()
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
            return File73(path, file).read(variable, tuple(fields))
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
    with guarded_hdf5(path) as file:
        return File73(path, file).fields(variable, depth=_LISTED_LEVELS, most=_LISTED)
