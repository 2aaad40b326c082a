"""Assemblies in netCDF, versions 3 and 4, with BrainIO's names: read as if a stranger wrote them, written whole."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from netphys.errors import NeuralDataError, near
from netphys.files import committing, ensure_folder, require_free
from netphys.guards import guarded_hdf5, is_hdf5, require_claim, translating
from netphys.neural.assemblies import DIMS, as_text, first_presentations, require_assembly
from netphys.neural.data import NeuralData
from netphys.neural.files.finishing import assembled
from netphys.neural.files.ids import follow_ids
from netphys.provenance import array_digest, provenance

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.files.options import FileOptions

__all__ = ["load_netcdf", "opened_netcdf", "read_assembly", "write_assembly"]

_COORDINATE_BYTES = 8 << 20  # room for coordinates; HDF5 crashes the process when a disk is full
_NETCDF3 = (b"CDF\x01", b"CDF\x02")  # classic and 64-bit offset


def load_netcdf(path: Path, options: FileOptions, ids: str | Sequence[str] | None, name: str) -> NeuralData:
    """Load an assembly of a netCDF file, as :func:`netphys.neural.load_neural` gives it."""
    assembly = read_assembly(path, variable=options.variable, group=options.group)
    own, _ = first_presentations(assembly["stimulus_id"].values)
    follow_ids(path, len(own), own, ids)
    what = [f"group {options.group}"] if options.group else []
    what += [f"variable {options.variable}"] if options.variable else []
    return assembled(path, assembly, options, name, ", ".join([path.name, *what, "by stimulus_id"]))


def read_assembly(
    path: Path | str, *, variable: str | None = None, group: str | None = None, dims: tuple[str, str] = DIMS
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
    dims : (str, str)
        The first two dims: presentation x neuroid of neurons (default), presentation x choice of behaviour.

    Returns
    -------
    xarray.DataArray
        In memory, with flat coordinates, text as str, ``image_id`` renamed to ``stimulus_id``; a ``time_bin`` of
        length 1 is squeezed. Numbers keep their dtype.

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


def write_assembly(assembly: xr.DataArray, path: Path | str) -> Path:
    """Write an assembly as netCDF4 with BrainIO's names, whole or not at all.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin])
        A MultiIndex is written as the flat coordinates that it is made of.
    path : Path
        Where the file will be.

    Returns
    -------
    Path
        `path`. The file holds the variable ``data``; attributes stand at the dataset, with a record ``netphys`` of
        what wrote it.
    """
    require_assembly(assembly, what="the assembly")
    indexed = {str(dim) for dim in assembly.dims if getattr(assembly.indexes.get(dim), "nlevels", 1) > 1}
    flat = assembly.reset_index(sorted(indexed)) if indexed else assembly
    flat = flat.transpose(*[dim for dim in (*DIMS, "time_bin") if dim in flat.dims])
    dataset = flat.drop_attrs().to_dataset(name="data")
    record = provenance("neural.write_assembly", {}, {"assembly": array_digest(flat.values)})
    attrs = {str(key): value for key, value in assembly.attrs.items() if value is not None and key != "netphys"}
    dataset.attrs = {**attrs, "netphys": json.dumps(record, sort_keys=True)}
    encoding = {str(name): {"_FillValue": None} for name in dataset.variables}
    folder = ensure_folder(Path(path).parent)
    require_free(folder, flat.nbytes + _COORDINATE_BYTES, what=f"the assembly {Path(path).name}")
    with committing(path) as temporary:
        try:
            dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
        except (TypeError, ValueError) as error:
            raise NeuralDataError(
                f"the assembly cannot be written to {path}: {str(error).splitlines()[0][:120]}; "
                "coordinates and attributes are numbers and text"
            ) from error
    return Path(path)


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
        yield xr.decode_cf(raw)


@contextmanager
def _opened_netcdf4(path: Path, group: str | None) -> Iterator[xr.Dataset]:
    """Open a netCDF4 file, or a group of it, after seeing that it points nowhere but into itself."""
    import xarray as xr

    with guarded_hdf5(path) as file:
        groups = [name for name in file if hasattr(file[name], "keys")]
        if group is not None and group.strip("/") not in file:
            raise NeuralDataError(f"{path} has no group {group!r}{near(group, groups)}")
    with xr.open_dataset(path, engine="h5netcdf", group=group) as opened:
        yield opened


def _assembly_of(path: Path, dataset: xr.Dataset, variable: str | None, dims: tuple[str, str]) -> xr.DataArray:
    """Take the assembly out of a loaded dataset, with the names and types of ours."""
    axes = {*dims, "time_bin"}
    loose = [name for name, each in dataset.data_vars.items() if len(each.dims) == 1 and each.dims[0] in axes]
    if set(loose) != set(dataset.data_vars):  # coordinates that lack netCDF's attribute "coordinates"
        dataset = dataset.set_coords(loose)
    array = _main_variable(path, dataset, variable, dims)
    order = [*dims, *(["time_bin"] if "time_bin" in array.dims else [])]
    require_dims = set(array.dims) == set(order)
    if not require_dims:
        raise NeuralDataError(
            f"{path} has dims {' x '.join(map(str, array.dims))}; an assembly has {' x '.join(order)}"
        )
    array = array.transpose(*order)
    if array.sizes.get("time_bin") == 1:
        array = array.squeeze("time_bin")
    if "stimulus_id" not in array.coords and "image_id" in array.coords:
        array = array.rename(image_id="stimulus_id")
    texts = [name for name, each in array.coords.items() if each.dtype.kind in "SO" or name == "stimulus_id"]
    array = array.assign_coords({name: (array[name].dims, as_text(array[name].values)) for name in texts})
    array.attrs = {**dataset.attrs, **array.attrs}
    array.encoding = {}
    for coordinate in array.coords.values():
        coordinate.encoding = {}
    require_assembly(array, what=str(path), dims=dims)
    return array


def _main_variable(path: Path, dataset: xr.Dataset, variable: str | None, dims: tuple[str, str]) -> xr.DataArray:
    """Choose the data variable: the one named, or the only one with both dims."""
    names = [str(name) for name in dataset.data_vars]
    if variable is not None:
        if variable not in names:
            raise NeuralDataError(f"{path} has no variable {variable!r}{near(variable, names)}")
        return dataset[variable]
    fitting = [name for name in names if set(dims) <= set(dataset[name].dims)]
    if len(fitting) == 1:
        return dataset[fitting[0]]
    listed = "; ".join(f"{name} ({' x '.join(map(str, dataset[name].dims))})" for name in names[:20]) or "nothing"
    if fitting:
        raise NeuralDataError(f"{path} holds several assemblies; name one by ?variable=NAME: {listed}")
    raise NeuralDataError(f"{path} holds no assembly ({' x '.join(dims)} [x time_bin]); it holds: {listed}")
