"""Assemblies from files: BrainIO netCDF, and plain arrays of responses with ids that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.array_files import carried_ids, held_variables, read_variable
from netphys.neural.arrays import ID_COLUMNS, Table, read_table
from netphys.neural.assemblies import first_presentations, read_assembly
from netphys.neural.contents import Variable, choose
from netphys.neural.data import NeuralData
from netphys.neural.ids import follow_ids

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.options import FileOptions

__all__ = ["load_netcdf", "load_responses"]


def load_netcdf(path: Path, options: FileOptions, ids: str | Sequence[str] | None, name: str) -> NeuralData:
    """Load an assembly of a netCDF file, restricted to a region and subjects where it has several."""
    assembly = read_assembly(path, variable=options.variable, group=options.group)
    own, _ = first_presentations(assembly["stimulus_id"].values)
    follow_ids(path, len(own), own, ids)
    if options.region is not None:
        assembly = _restrict(path, assembly, "region", (options.region,))
    if options.subject is not None:
        assembly = _restrict(path, assembly, "animal", options.subject)
    what = [f"group {options.group}"] if options.group else []
    what += [f"variable {options.variable}"] if options.variable else []
    return _data(assembly, name, ", ".join([path.name, *what, "by stimulus_id"]))


def load_responses(
    path: Path, suffix: str, options: FileOptions, ids: str | Sequence[str] | None, name: str
) -> NeuralData:
    """Load an array of responses (stimulus x neuroid unless ``axes=`` says otherwise) as an assembly."""
    if (
        options.index is not None
        or options.average is not None
        or options.stack is not None
        or options.field is not None
    ):
        raise NeuralDataError(
            f"{path}: index=, average=, stack= and field= choose RDMs; leave them out with kind=responses"
        )
    axes = options.axes or ("stimulus", "neuroid")
    table = _table(path, options) if suffix == ".csv" else None
    held = held_variables(path, suffix, first=options.first)
    variable = choose(
        path,
        held,
        options.variable,
        lambda each: _may_be_responses(each, len(axes)),
        what=f"responses ({' x '.join(axes)})",
    )
    value, _ = read_variable(path, suffix, variable, first=options.first)
    if value.ndim != len(axes) or value.dtype.kind not in "fiub" or value.size == 0:
        raise NeuralDataError(
            f"{path}: {variable.name} of shape {value.shape} and {value.dtype} is not {' x '.join(axes)}; say axes="
        )
    order = [axes.index(each) for each in ("repetition", "stimulus", "neuroid") if each in axes]
    cube = value.transpose(order) if len(axes) == 3 else value.transpose(order)[None]
    own: Sequence[str] | None
    if table is None:
        own, neuroids = carried_ids(path, suffix, held, variable, cube.shape[1]), None
    else:
        own, neuroids = (table.row_ids, table.column_ids)[:: 1 if axes[0] == "stimulus" else -1]
    stimulus_ids, joined = follow_ids(path, cube.shape[1], own, ids)
    if np.isinf(cube).any():
        raise NeuralDataError(f"{path}: {variable.name} holds infinity; a response that is missing is NaN")
    assembly = _long_form(cube, stimulus_ids, neuroids, options)
    what = f"variable {variable.name}" if suffix not in (".npy", ".csv") else ""
    return _data(assembly, name, ", ".join(part for part in (path.name, what, joined) if part))


def _data(assembly: xr.DataArray, name: str, source: str) -> NeuralData:
    """Put an assembly and what its coordinates say together."""
    ids, _ = first_presentations(assembly["stimulus_id"].values)
    return NeuralData(
        kind="assembly",
        stimulus_ids=ids,
        subjects=_unique(assembly, "animal"),
        region="+".join(_unique(assembly, "region")),
        name=name,
        source=source,
        assembly=assembly,
    )


def _unique(assembly: xr.DataArray, coordinate: str) -> tuple[str, ...]:
    """Values of a coordinate in the order of first appearance; () where there is none."""
    if coordinate not in assembly.coords:
        return ()
    return tuple(dict.fromkeys(str(each) for each in np.atleast_1d(assembly[coordinate].values).tolist()))


def _restrict(path: Path, assembly: xr.DataArray, coordinate: str, wanted: tuple[str, ...]) -> xr.DataArray:
    """Keep the neuroids of the wanted values; where the file does not say, take the user's word for all of them."""
    if coordinate not in assembly.coords:
        if len(wanted) > 1:
            raise NeuralDataError(
                f"{path} does not say which neuroid is whose (no coordinate {coordinate!r}); name one"
            )
        return assembly.assign_coords({coordinate: ("neuroid", np.array([wanted[0]] * assembly.sizes["neuroid"]))})
    there = _unique(assembly, coordinate)
    missing = [each for each in wanted if each not in there]
    if missing:
        raise NeuralDataError(f"{path} has no neuroids of {coordinate} {missing[0]!r}{near(missing[0], there)}")
    if assembly[coordinate].dims != ("neuroid",):
        return assembly
    return assembly.isel(neuroid=np.isin(assembly[coordinate].values.astype(str), wanted))


def _may_be_responses(variable: Variable, n_axes: int) -> bool:
    """Tell from a header whether a variable can be responses."""
    return variable.kind == "numbers" and len(variable.shape) == n_axes and 0 not in variable.shape


def _table(path: Path, options: FileOptions) -> Table:
    """Read a CSV table of responses; refuse columns that may be ids and would be read as neuroids."""
    table = read_table(path, first=options.first)
    names = table.column_ids or []
    stray = next((name for name in names if name.lower() in ID_COLUMNS and name), None)
    if stray is not None and options.first != "values":
        raise NeuralDataError(f"{path}: column {stray!r} holds ids and is not the first; put it first, or take it out")
    if options.first is not None or table.row_ids is not None or not names:
        return table
    column, others = table.values[:, 0], table.values[:, 1:]
    whole = bool((column == np.round(column)).all())
    if whole and (len(set(column)) == len(column) or (others != np.round(others)).any()):
        raise NeuralDataError(
            f"{path}: its first column, {names[0]!r}, may be ids (whole numbers, all different or unlike the columns "
            "beside it); say first=ids, or first=values if it is responses"
        )
    return table


def _long_form(
    cube: np.ndarray, stimulus_ids: tuple[str, ...], neuroids: Sequence[str] | None, options: FileOptions
) -> xr.DataArray:
    """One row a presentation, of (repetition, stimulus, neuroid); rows that are NaN throughout are left out."""
    import xarray as xr

    n_repetitions, n_stimuli, n_neuroids = cube.shape
    values = cube.reshape(-1, n_neuroids)
    shown = (
        ~np.isnan(values).all(axis=1) if values.dtype.kind == "f" and n_repetitions > 1 else np.ones(len(values), bool)
    )
    coords = {
        "stimulus_id": ("presentation", np.tile(np.array(stimulus_ids), n_repetitions)[shown]),
        "repetition": ("presentation", np.repeat(np.arange(n_repetitions), n_stimuli)[shown]),
        "neuroid_id": (
            "neuroid",
            np.array(neuroids if neuroids is not None else [str(at) for at in range(n_neuroids)]),
        ),
    }
    if options.subject is not None:
        coords["animal"] = ("neuroid", np.array(_animals(options.subject, n_neuroids)))
    if options.region is not None:
        coords["region"] = ("neuroid", np.array([options.region] * n_neuroids))
    return xr.DataArray(values[shown], dims=("presentation", "neuroid"), coords=coords)


def _animals(named: tuple[str, ...], n_neuroids: int) -> tuple[str, ...]:
    """The animal of each neuroid: one for all, or one each."""
    if len(named) not in (1, n_neuroids):
        raise NeuralDataError(
            f"subject= names {len(named)}, there are {n_neuroids} neuroids; name one for all, or one each"
        )
    return named if len(named) == n_neuroids else named * n_neuroids
