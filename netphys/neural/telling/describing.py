"""What a file of neural data holds, for ``netphys info``: from its headers, without loading the data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.assemblies import BEHAVIOUR_DIMS, DIMS
from netphys.neural.files.array_files import ArrayFile, held_variables
from netphys.neural.files.contents import Variable, kind_of
from netphys.neural.files.dissimilarities import n_stimuli_of
from netphys.neural.files.hdf5 import hdf5_variables, read_saved_rdms
from netphys.neural.files.ids import open_csv
from netphys.neural.files.matlab import read_matlab, struct_fields
from netphys.neural.files.netcdf import opened_netcdf
from netphys.neural.files.options import SUFFIXES
from netphys.neural.files.paths import existing
from netphys.neural.files.text_tables import text_table

__all__ = ["describe_file", "growing"]

_SMALL = 64 * 2**20  # bytes of a .mat file whose struct arrays are looked into: their headers tell no sizes
_KINDS = {"assembly": set(DIMS), "behaviour": set(BEHAVIOUR_DIMS)}
_SHORTEST = 0.5  # ms; bins that are shorter are in seconds
_LONGEST = 100_000  # values of a vector that is looked at
_COORDINATES = ("stimulus_id", "image_id", "animal", "region")


def describe_file(path: Path | str) -> dict[str, Any] | None:
    """Describe a file of neural data.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict or None
        ``kind`` (``"rdms"``, ``"assembly"``, ``"dataset"``, ``"spikes"``, ``"rasters"``, ``"table"`` of text and
        numbers, or ``"arrays"``),
        ``variables`` (name to shape), ``n_stimuli``, ``subjects`` and ``region`` where the file says them; None for
        what is no neural data: another suffix, a folder without rasters.

    Raises
    ------
    NeuralDataError
        If it has such a suffix and cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".zip":
        return _rasters(path)
    if suffix not in SUFFIXES:
        return None
    existing(path)
    if suffix == ".nwb":
        return _nwb(path)
    if suffix in (".nc", ".nc4"):
        return _netcdf(path)
    if suffix in (".h5", ".hdf5") and (saved := read_saved_rdms(path, numbers=False)) is not None:
        return {
            "kind": "rdms",
            "variables": {"dissimilarities": list(hdf5_variables(path)["dissimilarities"].shape)},
            "n_stimuli": n_stimuli_of(saved.dissimilarities.shape[-1]),
            "subjects": [str(each) for each in saved.rdm_descriptors.get("subject", [])],
            "region": "+".join(dict.fromkeys(str(each) for each in saved.rdm_descriptors.get("region", []))),
        }
    if suffix == ".csv" and (columns := text_table(path)):
        return _table(path, columns)
    held = held_variables(path, suffix)
    sizes = {n for each in held.values() if (n := _size(each)) is not None}
    if suffix == ".mat" and path.stat().st_size < _SMALL:
        structs = [each.name for each in held.values() if each.kind == "struct"]
        sizes |= {n for name in structs if (n := _size_within(path, name)) is not None}
        for name in structs:
            held |= struct_fields(path, name)
    return {
        "kind": "arrays",
        "variables": {name: list(each.shape) for name, each in held.items()},
        "kinds": {name: each.kind for name, each in held.items()},
        "n_stimuli": sizes.pop() if len(sizes) == 1 else None,
        "subjects": [],
        "region": "",
    }


def growing(path: Path, held: dict[str, Any]) -> dict[str, str]:
    """Vectors of numbers that grow from entry to entry, as times do, and what ``time=`` would say of them.

    Parameters
    ----------
    path : Path
    held : dict
        What the file holds (:func:`describe_file`); other kinds than ``"arrays"`` have none.

    Returns
    -------
    dict
        Name to name; of even numbers nearer than half a millisecond, which are seconds, to START:STOP:WIDTH in ms.
    """
    suffix = path.suffix.lower()
    if held.get("kind") != "arrays" or suffix not in (".mat", ".npz", ".h5", ".hdf5"):
        return {}
    file, found = ArrayFile(path, suffix), {}
    for name, shape in held["variables"].items():
        n = math.prod(shape)
        if held["kinds"].get(name) != "numbers" or not 2 <= n == max(shape, default=0) <= _LONGEST:
            continue
        values = file.read(file.find(name)).reshape(-1).astype(np.float64)
        if bool((np.diff(values) > 0).all()):
            found[name] = _in_ms(values) or name
    return found


def _in_ms(values: np.ndarray) -> str:
    """START:STOP:WIDTH in ms of even starts in seconds; ``""`` of what is no such thing."""
    width = float(values[-1] - values[0]) / (len(values) - 1)
    if not 0 < width < _SHORTEST or (np.abs(np.diff(values) - width) > 1e-4 * width).any():
        return ""
    start, wide = round(1000 * float(values[0]), 6), round(1000 * width, 6)
    return f"{start:.10g}:{round(start + len(values) * wide, 6):.10g}:{wide:.10g}"


def _table(path: Path, columns: dict[str, str]) -> dict[str, Any]:
    """Describe a table of text and numbers by its columns."""
    with open_csv(path) as rows:
        n = sum(1 for _ in rows) - 1
    return {
        "kind": "table",
        "variables": {name: [n] for name in columns},
        "kinds": columns,
        "n_stimuli": None,
        "subjects": [],
        "region": "",
    }


def _rasters(path: Path) -> dict[str, Any] | None:
    """Describe a folder or archive of rasters; None if it holds none."""
    from netphys.neural.files.raster_files import describe_rasters

    try:
        return describe_rasters(path)
    except NeuralDataError:
        return None


def _nwb(path: Path) -> dict[str, Any]:
    """Describe an NWB file: its units and its tables of intervals."""
    from netphys.neural.files.nwb import nwb_contents

    found = nwb_contents(path)
    tables = {name: [n] for name, (n, _) in found.tables.items()}
    columns = {name: list(columns) for name, (_, columns) in found.tables.items()}
    return {
        "kind": "spikes" if found.has_spike_times else "NWB without spikes",
        "variables": {"units": [found.n_units], **tables},
        "columns": {"units": list(found.unit_columns), **columns},
        "n_stimuli": None,
        "subjects": [found.animal] if found.animal else [],
        "region": "+".join(found.regions),
    }


def _netcdf(path: Path) -> dict[str, Any]:
    """Describe a netCDF file: of its numbers only the coordinates are read."""
    with opened_netcdf(path) as dataset:
        arrays = {
            str(name): each for name, each in dataset.variables.items() if each.ndim >= 2 or name in dataset.data_vars
        }
        coordinate = {name: dataset[name].values for name in _COORDINATES if name in dataset.variables}
        dims = [set(each.dims) for each in arrays.values()]
        beside = [str(name) for name, each in dataset.variables.items() if each.dims == ("presentation",)]
        kind = next((name for name, wanted in _KINDS.items() if any(wanted <= each for each in dims)), "arrays")
    texts = {name: list(dict.fromkeys(map(str, values.reshape(-1).tolist()))) for name, values in coordinate.items()}
    ids = texts.get("stimulus_id", texts.get("image_id"))
    return {
        "kind": kind,
        "variables": {name: list(each.shape) for name, each in arrays.items()},
        "dims": {name: [str(dim) for dim in each.dims] for name, each in arrays.items()},
        "coordinates": beside,
        "n_stimuli": len(ids) if ids is not None else None,
        "subjects": texts.get("animal", []),
        "region": "+".join(texts.get("region", [])),
    }


def _size_within(path: Path, name: str) -> int | None:
    """Number of stimuli of the RDMs within a struct array; None if it has none."""
    value = read_matlab(path, name, fields=("RDM",))
    if "RDM" not in (value.dtype.names or ()) or value.size == 0:
        return None
    first = value["RDM"].reshape(-1)[0]
    return _size(Variable(name, first.shape, kind_of(first.dtype)))


def _size(variable: Variable) -> int | None:
    """Number of stimuli of a variable whose shape is that of RDMs, from its header."""
    shape = variable.shape
    if variable.kind != "numbers" or not shape:
        return None
    if len(shape) >= 2 and shape[-1] == shape[-2]:
        return shape[-1]
    if len(shape) >= 2 and shape[0] == shape[1]:
        return shape[0]
    return n_stimuli_of(shape[-1]) if len(shape) <= 2 and max(shape) == shape[-1] else None
