"""Assemblies in netCDF, versions 3 and 4, with BrainIO's names: read as if a stranger wrote them."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.guards import guarded_hdf5, is_hdf5, require_claim, translating
from netphys.neural.assemblies import (
    BEHAVIOUR_DIMS,
    DIMS,
    as_text,
    first_presentations,
    require_assembly,
)
from netphys.neural.data import NeuralData
from netphys.neural.files.behaviour_trials import assembly_of_trials, trials_of_columns
from netphys.neural.files.brainio_writing import write_assembly
from netphys.neural.files.events import columns_of_events, say_events
from netphys.neural.files.finishing import assembled
from netphys.neural.files.ids import follow_ids
from netphys.neural.files.long_tables import assembly_of_columns
from netphys.neural.files.netcdf_meaning import as_meant, require_ms

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.files.options import FileOptions

__all__ = ["load_netcdf", "opened_netcdf", "read_assembly", "write_assembly"]

log = logging.getLogger(__name__)

_NETCDF3 = (b"CDF\x01", b"CDF\x02")  # classic and 64-bit offset
_GROUPS = "groups beside the root's variables"  # key of an encoding, for messages
_IDS = {"stimulus": "stimulus_id", "neuroid": "neuroid_id", "repetition": "repetition"}


def load_netcdf(path: Path, options: FileOptions, ids: str | Sequence[str] | None, name: str) -> NeuralData:
    """Load an assembly of a netCDF file, as :func:`netphys.neural.load_neural` gives it.

    ``kind=responses`` looks for presentation x neuroid, ``kind=behaviour`` for presentation x choice or one choice a
    presentation; without it the first of these that is there. ``form=long`` reads flat events as a long table.
    ``stimulus``, ``neuroid`` and ``repetition`` name the coordinates that say them, ``value`` that of choices or of
    the events' responses. Of responses, coordinates ``animal``, ``region`` and ``subject`` of presentations are of
    what was shown: ``presentation_animal``, ...; CF's attribute ``units`` is ``unit`` where that is missing.
    """
    if options.kind == "rdms":
        raise NeuralDataError(f"{path}: RDMs are not read from netCDF; save them as .npz or .h5, or leave kind= out")
    if options.form == "long":
        assembly, told = _events(path, options)
    else:
        dims = {"responses": DIMS, "behaviour": BEHAVIOUR_DIMS}.get(options.kind or "")
        renamed = {getattr(options, option): into for option, into in _IDS.items() if getattr(options, option)}
        with opened_netcdf(path, options.group) as dataset:
            loaded = dataset.load()
            assembly = _assembly_of(path, loaded, options.variable, dims, renamed=renamed, choice=options.value)
        told = ""
    _require_sound(path, assembly)
    require_ms(path, assembly)
    assembly, said = as_meant(path, assembly) if "choice" not in assembly.dims else (assembly, [])
    own, _ = first_presentations(assembly["stimulus_id"].values)
    follow_ids(path, len(own), own, ids)
    what = [f"group {options.group}"] if options.group else []
    what += [f"variable {options.variable}"] if options.variable else []
    what += [*([told] if told else []), *said]
    return assembled(path, assembly, options, name, ", ".join([path.name, *what, "by stimulus_id"]))


def read_assembly(
    path: Path | str, *, variable: str | None = None, group: str | None = None, dims: tuple[str, str] | None = None
) -> xr.DataArray:
    """Read an assembly from a BrainIO netCDF file, version 3 or 4.

    Parameters
    ----------
    path : Path
        The file.
    variable : str, optional
        Which data variable; needed only where several have the dims.
    group : str, optional
        A group of a netCDF4 file.
    dims : (str, str), optional
        The first two dims: presentation x neuroid of neurons, presentation x choice of behaviour; default: the first
        of these that the file has.

    Returns
    -------
    xarray.DataArray
        In memory, with flat coordinates, text as str, numbers in their own dtype (native byte order), ``image_id``
        renamed to ``stimulus_id`` and ``choice_`` to ``choice``; a ``time_bin`` of length 1 is squeezed, its times stay
        as coordinates without a dim. Absolute paths of another machine are left out. One choice a presentation
        becomes presentation x choice.

    Raises
    ------
    NeuralDataError
        If it is no such file.
    """
    path = Path(path)
    with opened_netcdf(path, group) as dataset:
        return _assembly_of(path, dataset.load(), variable, dims)


@contextmanager
def opened_netcdf(path: Path, group: str | None = None) -> Iterator[xr.Dataset]:
    """Open a netCDF file of version 3 or 4, its numbers not yet read, after seeing that its claims are honest.

    Raises
    ------
    NeuralDataError
        If it is no netCDF file, damaged, or claims or points to what is not in it.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if magic in _NETCDF3:
        opening = _opened_netcdf3
    elif is_hdf5(path):
        opening = _opened_netcdf4
    else:
        raise NeuralDataError(f"{path} is no netCDF file (it begins with {magic!r}); fetch it again or mend its suffix")
    with translating(path, "netCDF"), opening(path, group) as dataset:
        yield dataset


@contextmanager
def _opened_netcdf3(path: Path, group: str | None) -> Iterator[xr.Dataset]:
    """Open a netCDF3 file after comparing what its header claims with its size."""
    if group is not None:
        raise NeuralDataError(f"{path} is netCDF3, which has no groups; leave group= out")
    import xarray as xr

    stored = path.stat().st_size
    require_claim(path, "the file", claimed=stored, stored=stored)
    # from memory: scipy would map the file, and a map outlives an error with a warning of its own
    with xr.open_dataset(io.BytesIO(path.read_bytes()), engine="scipy", decode_cf=False) as raw:
        claimed = sum(int(each.nbytes) for each in raw.variables.values())
        if claimed > stored:
            raise NeuralDataError(
                f"{path} claims {claimed} bytes of data and has {stored}; it is truncated: fetch it again"
            )
        yield xr.decode_cf(raw, decode_timedelta=_durations())


@contextmanager
def _opened_netcdf4(path: Path, group: str | None) -> Iterator[xr.Dataset]:
    """Open a netCDF4 file, or a group of it, after seeing that it points nowhere but into itself."""
    import xarray as xr

    with guarded_hdf5(path) as file:
        groups = [name for name in file if hasattr(file[name], "keys")]
        if group is not None and group.strip("/") not in file:
            raise NeuralDataError(f"{path} has no group {group!r}{near(group, groups)}")
    with xr.open_dataset(
        path, engine="h5netcdf", group=group, phony_dims="sort", decode_timedelta=_durations()
    ) as opened:
        opened.encoding[_GROUPS] = groups if group is None else []
        yield opened


def _durations() -> Any:
    """Durations are those that xarray wrote; the times of bins with units of ms stay numbers."""
    from xarray.coders import CFTimedeltaCoder

    return CFTimedeltaCoder(decode_via_units=False)


def _events(path: Path, options: FileOptions) -> tuple[xr.DataArray, str]:
    """Read flat events as a long table."""
    from dataclasses import replace

    with opened_netcdf(path, options.group) as dataset:
        columns, values = columns_of_events(path, dataset.load(), options.variable)
    if options.kind == "behaviour":
        return trials_of_columns(path, columns, options), "one event a trial"
    if options.value is None:
        options = replace(options, value=values)
    found = assembly_of_columns(path, columns, options)
    return found.assembly, f"one event a response, {found.told}"


def _assembly_of(
    path: Path,
    dataset: xr.Dataset,
    variable: str | None,
    dims: tuple[str, str] | None,
    *,
    renamed: dict[str, str] | None = None,
    choice: str | None = None,
) -> xr.DataArray:
    """Take the assembly out of a loaded dataset, with the names and types of ours."""
    axes = {*(dims or (*DIMS, "choice")), "time_bin"}
    loose = [name for name, each in dataset.data_vars.items() if len(each.dims) == 1 and each.dims[0] in axes]
    if set(loose) != set(dataset.data_vars):  # coordinates that lack netCDF's attribute "coordinates"
        dataset = dataset.set_coords(loose)
    array = _main_variable(path, dataset, variable, dims, choice)
    _require_dims(path, dataset)
    trials = array.ndim == 1
    dims = dims or (BEHAVIOUR_DIMS if "choice" in array.dims or trials else DIMS)
    order = [*dims[: 1 if trials else 2], *(["time_bin"] if "time_bin" in array.dims else [])]
    if set(array.dims) != set(order):
        raise NeuralDataError(
            f"{path} has dims {' x '.join(map(str, array.dims))}; an assembly has {' x '.join(order)}"
        )
    array = array.transpose(*order)
    if array.sizes.get("time_bin") == 1:
        array = array.squeeze("time_bin")
    array = _plain(path, array, renamed or {})
    array.attrs = {**dataset.attrs, **array.attrs}
    if trials:
        array = _one_hot(path, array, choice)
    require_assembly(array, what=str(path), dims=dims)
    if "choice" in dims and "choice" not in array.coords:
        raise NeuralDataError(f"{path} has no coordinate 'choice'{near('choice', map(str, array.coords))}")
    return array


def _require_dims(path: Path, dataset: xr.Dataset) -> None:
    """Refuse variables that belong to no dim of the file: as coordinates they would be lost without a word."""
    for name, each in dataset.variables.items():
        if any(str(dim).startswith("phony_dim") for dim in each.dims):
            raise NeuralDataError(
                f"{path}: variable {name} ({' x '.join(map(str, each.shape))}) belongs to no dim of the file; attach "
                "its dims (HDF5's dimension scales), or take it out"
            )


def _plain(path: Path, array: xr.DataArray, renamed: dict[str, str]) -> xr.DataArray:
    """Give coordinates our names and types: text as str, native numbers, no paths of other machines, no encoding."""
    for name, into in renamed.items():
        if name not in array.coords:
            raise NeuralDataError(f"{path} has no coordinate {name!r}{near(name, map(str, array.coords))}")
        if name != into and into in array.coords:
            raise NeuralDataError(f"{path} has a coordinate {into!r} already; leave the option that names {name!r} out")
    renamed = {name: into for name, into in renamed.items() if name != into}
    if "stimulus_id" not in {*map(str, array.coords), *renamed.values()} and "image_id" in array.coords:
        renamed["image_id"] = "stimulus_id"
    held = {renamed.get(str(name), str(name)): (each.dims, each.values) for name, each in array.coords.items()}
    if "choice" in array.dims and "choice_" in held and "choice" not in held:
        held["choice"] = held.pop("choice_")  # a level of a MultiIndex may not have the name of its dim
    coords = {}
    for name, (dims, values) in held.items():
        if values.dtype.kind in "SO" or name in ("stimulus_id", "choice"):
            values = as_text(values)
        if values.dtype.kind == "U" and _foreign_paths(name, values):
            log.info("%s: coordinate %s holds paths of another machine and is left out", path, name)
            continue
        coords[name] = (dims, values.astype(values.dtype.newbyteorder("="), copy=False))
    values = array.values.astype(array.dtype.newbyteorder("="), copy=False)
    return type(array)(values, dims=array.dims, coords=coords, attrs=array.attrs)


def _foreign_paths(name: str, values: np.ndarray) -> bool:
    """Tell whether a coordinate is nothing but absolute paths: they lead nowhere here, and are not followed."""
    if not name.endswith(("path", "file", "filename")) or name == "stimulus_id" or values.size == 0:
        return False
    return all(each.startswith("/") or bool(PureWindowsPath(each).drive) for each in values.reshape(-1).tolist())


def _one_hot(path: Path, array: xr.DataArray, choice: str | None) -> xr.DataArray:
    """Turn one choice a presentation into presentation x choice."""
    if "stimulus_id" not in array.coords:
        raise NeuralDataError(f"{path} has no coordinate 'stimulus_id'{near('stimulus_id', map(str, array.coords))}")
    if choice is not None and choice not in array.coords:
        raise NeuralDataError(f"{path} has no coordinate {choice!r} (value=){near(choice, map(str, array.coords))}")
    made = array[choice].values if choice is not None else array.values
    own = {str(name): each.values for name, each in array.coords.items() if each.dims == ("presentation",)}
    taken = ("stimulus_id", "choice", choice)
    others = {name: each for name, each in own.items() if name not in taken}
    found = assembly_of_trials(path, own["stimulus_id"], as_text(made), others)
    return found.assign_attrs(array.attrs)


def _main_variable(
    path: Path, dataset: xr.Dataset, variable: str | None, dims: tuple[str, str] | None, choice: str | None
) -> xr.DataArray:
    """Choose the data variable: the one named, or the only one with both dims, or of one choice a presentation."""
    names = [str(name) for name in dataset.data_vars]
    if variable is not None:
        if variable not in names:
            raise NeuralDataError(f"{path} has no variable {variable!r}{near(variable, names)}")
        return dataset[variable]
    for wanted in (dims,) if dims else (DIMS, BEHAVIOUR_DIMS):
        fitting = [name for name in names if set(wanted) <= set(dataset[name].dims)]
        if not fitting and "choice" in wanted:
            fitting = [name for name in names if _is_of_choices(dataset[name], choice)]
        if len(fitting) == 1:
            return dataset[fitting[0]]
        if fitting:
            raise NeuralDataError(
                f"{path} holds several assemblies; name one by ?variable=NAME: {_listed(dataset, fitting)}"
            )
    wanted = dims or DIMS
    groups = dataset.encoding.get(_GROUPS, [])
    raise NeuralDataError(
        f"{path} holds no assembly ({' x '.join(wanted)} [x time_bin]); it holds: {_listed(dataset, names)}"
        f"{f'; groups (group=NAME): {chr(32).join(groups[:10])}' if groups else ''}"
        f"{say_events(dataset) or _say_trials(dataset, names)}"
    )


def _is_of_choices(array: xr.DataArray, choice: str | None) -> bool:
    """Tell whether a variable is of behaviour with one choice a presentation: text, or numbers with choices beside."""
    return array.dims == ("presentation",) and (choice is not None or array.dtype.kind in "OSU")


def _say_trials(dataset: xr.Dataset, names: list[str]) -> str:
    """Say how one number a presentation would be read as behaviour."""
    if any(dataset[name].dims == ("presentation",) for name in names):
        return "; if these are trials of behaviour, name the coordinate of choices: kind=behaviour&value=NAME"
    return ""


def _listed(dataset: xr.Dataset, names: list[str]) -> str:
    """List variables with their dims."""
    return "; ".join(f"{name} ({' x '.join(map(str, dataset[name].dims))})" for name in names[:20]) or "nothing"


def _require_sound(path: Path, assembly: xr.DataArray) -> None:
    """Refuse presentations without an id, choices that are there twice, and infinite responses."""
    ids = assembly["stimulus_id"].values.reshape(-1)
    empty = np.flatnonzero(np.isin(ids, ["", "nan", "None"]))
    if len(empty):
        raise NeuralDataError(f"{path}: presentation {empty[0] + 1} of {len(ids)} has no stimulus_id; mend the file")
    if assembly["stimulus_id"].dims != ("presentation",):
        dims = " x ".join(map(str, assembly["stimulus_id"].dims)) or "no dim"
        raise NeuralDataError(f"{path}: stimulus_id is of {dims}, not of presentation; mend the file")
    if "choice" in assembly.dims:
        names, counts = np.unique(assembly["choice"].values, return_counts=True)
        if counts.max() > 1:
            raise NeuralDataError(
                f"{path}: choice {str(names[counts.argmax()])!r} is there {counts.max()} times; mend the file"
            )
    if assembly.dtype.kind == "f" and np.isinf(assembly.values).any():
        raise NeuralDataError(f"{path} holds infinity; a response that is missing is NaN")
