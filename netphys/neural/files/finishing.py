"""What every reader of responses ends with: what the address says of region, animal, trials and time is done here.

A reader builds the assembly of the whole file and calls :func:`assembled`; options that choose among neuroids,
presentations and time bins mean the same for every kind of file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.assemblies import (
    BEHAVIOUR_DIMS,
    DIMS,
    first_presentations,
    require_assembly,
    subjects_of,
    unique_values,
    whose,
)
from netphys.neural.data import NeuralData

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.files.options import FileOptions

__all__ = ["assembled"]


def assembled(
    path: Path, assembly: xr.DataArray, options: FileOptions, name: str, source: str, *, binned: bool = False
) -> NeuralData:
    """Do what the options say of an assembly, whatever file it came from, and say what it is.

    Parameters
    ----------
    path : Path
        The file, for messages.
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or (presentation, choice) of behaviour
        All that the file holds.
    options : FileOptions
        ``subject``, ``region``, ``session``, ``where``, ``neuroid_where``, ``window``, ``bins``, ``unit`` are done
        here, in this order; others are the reader's.
    name : str
        The dataset's name.
    source : str
        Where the data come from, as a sentence.
    binned : bool
        The reader counted spikes in the windows that the options name; they are not applied again.
    """
    behaviour = "choice" in assembly.dims
    require_assembly(assembly, what=str(path), dims=BEHAVIOUR_DIMS if behaviour else DIMS)
    for coordinate, wanted in (
        (whose(assembly), options.subject),
        ("region", options.region),
        ("session", options.session),
    ):
        if wanted is not None:
            wanted = (wanted,) if isinstance(wanted, str) else wanted
            assembly = _restricted(path, assembly, coordinate, wanted)
    if options.where is not None or options.neuroid_where is not None:
        from netphys.neural.operations.selecting import where

        with _naming(path):
            assembly = where(assembly, presentations=options.where, neuroids=options.neuroid_where)
    if not binned and (options.window is not None or options.bins is not None or options.unit is not None):
        from netphys.neural.operations.windows import binned_as

        with _naming(path):
            assembly = binned_as(assembly, window=options.window, bins=options.bins, unit=options.unit)
    ids, _ = first_presentations(assembly["stimulus_id"].values)
    return NeuralData(
        kind="behaviour" if behaviour else "assembly",
        stimulus_ids=ids,
        subjects=subjects_of(assembly),
        region="+".join(unique_values(assembly, "region")),
        name=name,
        source=source,
        assembly=assembly,
    )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in the message of what is done with its assembly."""
    try:
        yield
    except NeuralDataError as error:
        raise NeuralDataError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _restricted(path: Path, assembly: xr.DataArray, coordinate: str, wanted: tuple[str, ...]) -> xr.DataArray:
    """Keep the wanted values of a coordinate; where the file does not say, take the user's word for all of them."""
    if coordinate not in assembly.coords:
        dim = "presentation" if "choice" in assembly.dims else "neuroid"
        n = assembly.sizes[dim]
        if len(wanted) not in (1, n):
            raise NeuralDataError(
                f"{path} does not say which {dim} is whose (no coordinate {coordinate!r}); name one for all, or one "
                f"each ({n})"
            )
        named = wanted if len(wanted) == n else wanted * n
        return assembly.assign_coords({coordinate: (dim, np.array(named))})
    there = unique_values(assembly, coordinate)
    missing = [each for each in wanted if each not in there]
    if missing:
        dim = str(assembly[coordinate].dims[0]) if assembly[coordinate].dims else "neuroid"
        raise NeuralDataError(f"{path} has no {dim}s of {coordinate} {missing[0]!r}{near(missing[0], there)}")
    if assembly[coordinate].ndim == 0:
        return assembly
    dim = assembly[coordinate].dims[0]
    return assembly.isel({dim: np.isin(assembly[coordinate].values.astype(str), wanted)})
