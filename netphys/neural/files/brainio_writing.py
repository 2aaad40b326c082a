"""Assemblies written as netCDF4 of the same structure as BrainIO's own files, whole or not at all.

One data variable over dims without coordinates of their own; flat coordinates beside it, named by its attribute
``coordinates``; attributes at the dataset. A ``choice`` is written as ``choice_`` (a MultiIndex may hold no level with
the name of its dim), and one bin of time as a dim of length 1, as BrainIO does; reading takes both back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError
from netphys.files import committing, ensure_folder, require_free
from netphys.neural.assemblies import BEHAVIOUR_DIMS, DIMS, as_text, require_assembly
from netphys.provenance import array_digest, provenance

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["write_assembly"]

_COORDINATE_BYTES = 8 << 20  # room for coordinates; HDF5 crashes the process when a disk is full
_BIN = ("time_bin_start", "time_bin_end")


def write_assembly(assembly: xr.DataArray, path: Path | str) -> Path:
    """Write an assembly as netCDF4 with BrainIO's names and structure, whole or not at all.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or (presentation, choice) of behaviour
        A MultiIndex is written as the flat coordinates that it is made of; True and False among attributes, for which
        netCDF has no type, as 1 and 0.
    path : Path
        Where the file will be.

    Returns
    -------
    Path
        `path`. The file holds the variable ``data``; attributes stand at the dataset, with a record ``netphys`` of
        what wrote it. :func:`read_assembly` gives the assembly back bit for bit; text is str then, and dates are of
        nanoseconds, as in every assembly that is read.

    Raises
    ------
    NeuralDataError
        If it is no assembly, or holds what netCDF has no type for (objects that are no text, float16, complex).
    OutputError
        If the system refuses the file.
    """
    dims = BEHAVIOUR_DIMS if "choice" in assembly.dims else DIMS
    require_assembly(assembly, what="the assembly", dims=dims)
    flat = _flat(assembly, dims)
    dataset = flat.drop_attrs().to_dataset(name="data")
    record = provenance("neural.write_assembly", {}, {"assembly": array_digest(flat.values)})
    attrs = {
        str(key): _attribute(value) for key, value in assembly.attrs.items() if value is not None and key != "netphys"
    }
    dataset.attrs = {**attrs, "netphys": json.dumps(record, sort_keys=True)}
    encoding = {str(name): {"_FillValue": None} for name in dataset.variables}
    folder = ensure_folder(Path(path).parent)
    require_free(folder, dataset.nbytes + _COORDINATE_BYTES, what=f"the assembly {Path(path).name}")
    from h5netcdf import CompatibilityError

    with committing(path) as temporary:
        try:
            dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
        except (TypeError, ValueError, CompatibilityError) as error:
            raise NeuralDataError(
                f"the assembly cannot be written to {path}: {str(error).splitlines()[0][:120]}; "
                "coordinates and attributes are numbers and text"
            ) from error
    return Path(path)


def _attribute(value: Any) -> Any:
    """An attribute as it is written: netCDF has no booleans."""
    if isinstance(value, bool | np.bool_):
        return int(value)
    flags = isinstance(value, np.ndarray) and value.dtype.kind == "b"
    if isinstance(value, list | tuple) and value:
        flags = all(isinstance(each, bool | np.bool_) for each in value)
    if flags:
        return np.asarray(value).astype(np.int64)
    return value


def _flat(assembly: xr.DataArray, dims: tuple[str, str]) -> xr.DataArray:
    """Bring an assembly into the form that is written."""
    indexed = {str(dim) for dim in assembly.dims if getattr(assembly.indexes.get(dim), "nlevels", 1) > 1}
    flat = assembly.reset_index(sorted(indexed)) if indexed else assembly
    flat = flat.transpose(*[dim for dim in (*dims, "time_bin") if dim in flat.dims])
    _require_number("the assembly", flat.dtype)
    flat = flat.assign_coords(
        {name: (each.dims, _writable(str(name), each.values)) for name, each in flat.coords.items()}
    )
    if "choice" in flat.dims and "choice" in flat.coords:  # of a presentation it is a coordinate as others are
        if "choice_" in flat.coords:
            raise NeuralDataError(
                "the assembly has coordinates 'choice' and 'choice_'; BrainIO's files have one of them"
            )
        flat = flat.drop_vars("choice").assign_coords(choice_=("choice", flat["choice"].values))
    if "time_bin" in flat.coords and "time_bin" not in flat.dims and flat["time_bin"].ndim:
        raise NeuralDataError("coordinate 'time_bin' of the assembly has the name of the dim of time; rename it")
    if "time_bin" in flat.dims or not all(name in flat.coords and flat[name].ndim == 0 for name in _BIN):
        return flat
    scalars = {str(name): each.values for name, each in flat.coords.items() if each.ndim == 0}
    of_time = {name: ("time_bin", value[None]) for name, value in scalars.items() if name.startswith("time_bin")}
    return flat.drop_vars(list(of_time)).expand_dims("time_bin", axis=-1).assign_coords(of_time)


def _writable(name: str, values: np.ndarray) -> np.ndarray:
    """Return a coordinate as it is written; refuse what netCDF has no name or type for."""
    what = f"coordinate {name!r} of the assembly"
    if name == "data" or not name or any(mark in name for mark in " /\t\n") or name != name.strip():
        raise NeuralDataError(f"{what} cannot be written by that name; BrainIO's files part names by spaces: rename it")
    if values.dtype.kind == "M":
        return _nanoseconds(what, values)
    if values.dtype.kind == "m":
        return values
    if values.dtype.kind not in "OSU":
        _require_number(what, values.dtype)
        return values
    odd = next((each for each in values.reshape(-1).tolist() if not isinstance(each, (str, bytes))), None)
    if values.dtype.kind == "O" and any(not isinstance(each, (str, bytes)) for each in values.reshape(-1).tolist()):
        raise NeuralDataError(
            f"{what} holds {odd!r} among text; netCDF has text without missing values: write '' for it"
        )
    try:
        text = as_text(values)
    except UnicodeDecodeError:
        raise NeuralDataError(f"{what} holds bytes that are no UTF-8; decode them") from None
    if any("\0" in each for each in text.reshape(-1).tolist()):
        raise NeuralDataError(f"{what} holds a character of zero; netCDF ends text there: take it out")
    return text


def _nanoseconds(what: str, values: np.ndarray) -> np.ndarray:
    """Dates of nanoseconds, as they are read back; refuse those that are out of their range."""
    exact: Any = values.astype("datetime64[ns]")
    if not np.array_equal(exact.astype(values.dtype), values, equal_nan=True):
        raise NeuralDataError(f"{what} holds dates outside of 1678 to 2262, which cannot be counted in nanoseconds")
    return exact


def _require_number(what: str, dtype: np.dtype) -> None:
    """Refuse numbers that netCDF has no type for."""
    if dtype.kind not in "fiub" or (dtype.kind == "f" and dtype.itemsize not in (4, 8)):
        raise NeuralDataError(f"{what} holds {dtype}, which netCDF has no type for; make it float32 or float64")
