"""Flat events of a netCDF file, one value each, told from presentation x neuroid and read as a long table.

BrainIO stores what an experiment's hardware logged as a flat dim ``event``. Events are responses only where their
coordinates say which stimulus and which neuroid each of them is of.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.assemblies import as_text
from netphys.neural.files.columns import Column
from netphys.neural.files.long_tables import STIMULUS_NAMES

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["columns_of_events", "say_events"]


def columns_of_events(path: Path, dataset: xr.Dataset, variable: str | None) -> tuple[dict[str, Column], str | None]:
    """Take the flat variables of a dataset as columns of a long table.

    Parameters
    ----------
    path : Path
        The file, for messages.
    dataset : xarray.Dataset
        Its contents, in memory.
    variable : str or None
        Which data variable holds the values, where there are several.

    Returns
    -------
    (dict of Column, str or None)
        All variables of the dim of the values, and the name of the values where one data variable can be them.

    Raises
    ------
    NeuralDataError
        If there is no flat variable, or several dims have some.
    """
    flat = {str(name): each for name, each in dataset.variables.items() if each.ndim == 1}
    values = [str(name) for name in dataset.data_vars if str(name) in flat]
    if variable is not None:
        if variable not in flat:
            raise NeuralDataError(f"{path} has no flat variable {variable!r}{near(variable, flat)}")
        values = [variable]
    dims = list(dict.fromkeys(str(flat[name].dims[0]) for name in values))
    if len(dims) != 1:
        held = "; ".join(
            f"{name} ({' x '.join(map(str, dataset[name].dims))})" for name in list(dataset.data_vars)[:20]
        )
        which = "no flat variable" if not dims else f"flat variables of {' and '.join(dims)}"
        raise NeuralDataError(f"{path}: form=long reads events of one dim, and it has {which}; it holds: {held}")
    columns = {
        name: Column.of(name, as_text(each.values) if each.dtype.kind in "OS" else np.asarray(each.values))
        for name, each in flat.items()
        if str(each.dims[0]) == dims[0] and name != dims[0]
    }
    return columns, values[0] if len(values) == 1 else None


def say_events(dataset: xr.Dataset) -> str:
    """Say what the flat events of a dataset are, and what an address could say of them; ``""`` where there are none."""
    for name, each in dataset.data_vars.items():
        if each.ndim != 1 or str(each.dims[0]) in ("presentation", "neuroid", "choice", "time_bin"):
            continue
        dim = str(each.dims[0])
        beside = [str(key) for key, one in dataset.variables.items() if one.dims == (dim,) and key not in (name, dim)]
        said = {
            "stimulus": any(key in beside for key in STIMULUS_NAMES),
            "neuroid": "neuroid_id" in beside,
        }
        lacking = [option for option, there in said.items() if not there]
        listed = ", ".join(beside[:16]) + (", ..." if len(beside) > 16 else "") or "nothing"
        if not lacking:
            return f"; its {each.size} {dim}s say stimulus and neuroid: say form=long if each is one response"
        names = "&".join(f"{option}=NAME" for option in lacking)
        return (
            f"; its {each.size} {dim}s do not say which {' and '.join(lacking)} each is of (they have {listed}): "
            f"say form=long&{names} if one of these does"
        )
    return ""
