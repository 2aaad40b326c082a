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
    behind_identity,
    first_presentations,
    regions_of,
    repetitions_of,
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

_APART = ("session", "animal", "subject", "block", "run")  # coordinates of presentations within which repetitions count


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
        ``subject``, ``region``, ``session``, ``where``, ``neuroid_where``, ``values``, ``window``, ``bins``, ``unit``
        are done here, in this order; others are the reader's.
    name : str
        The dataset's name.
    source : str
        Where the data come from, as a sentence; what the options chose is added.
    binned : bool
        The reader counted spikes in the windows that the options name; they are not applied again.

    Raises
    ------
    NeuralDataError
        If an option does not fit the data; if a stimulus has no id, two neuroids have one that neither animal nor
        session tells apart, or two presentations are one repetition of a stimulus in one session.
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
    if not behaviour:
        assembly = _sound(path, assembly)
    assembly = _of_time(path, assembly, options, binned)
    ids, _ = first_presentations(assembly["stimulus_id"].values)
    return NeuralData(
        kind="behaviour" if behaviour else "assembly",
        stimulus_ids=ids,
        subjects=subjects_of(assembly),
        region="+".join(regions_of(assembly)),
        name=name,
        source=_told(source, options),
        assembly=assembly,
    )


def _told(source: str, options: FileOptions) -> str:
    """Add what the options chose of the file, as the user wrote it; how ids were joined stays the last part."""
    out = []
    for name in ("subject", "region", "session", "where", "neuroid_where", "values", "window", "bins", "unit"):
        value = getattr(options, name)
        if isinstance(value, tuple):
            value = (":" if name == "bins" else ",").join(
                each if isinstance(each, str) else f"{each:g}" for each in value
            )
        if value is not None:
            out.append(f"{name}={value}")
    file, _, joined = source.rpartition(", ")
    return ", ".join(each for each in (file, *out, joined) if each)


def _of_time(path: Path, assembly: xr.DataArray, options: FileOptions, binned: bool) -> xr.DataArray:
    """Do what the options say of units and time."""
    from netphys.neural.operations.windows import binned_as

    if options.values is not None and "choice" in assembly.dims:
        raise NeuralDataError(f"{path}: values={options.values} is of responses; these are choices")
    window, bins = options.window, options.bins
    if binned and isinstance(assembly.attrs.get("unit"), str):
        if options.values == "rate" and assembly.attrs["unit"] == "spikes":
            raise NeuralDataError(
                f"{path} holds spikes, which are counted: values=rate is wrong; unit=rate makes rates"
            )
        return assembly
    if binned:  # the reader took means of what it does not know
        window = bins = None
    if (window, bins, options.unit, options.values) == (None, None, None, None):
        return assembly
    with _naming(path):
        return binned_as(assembly, window=window, bins=bins, unit=options.unit, values=options.values)


def _sound(path: Path, assembly: xr.DataArray) -> xr.DataArray:
    """See that stimuli have ids, presentations and neuroids one of their own; animals tell neuroids of one id apart."""
    empty = next((each for each in unique_values(assembly, "stimulus_id") if not each.strip()), None)
    if empty is not None:
        at = assembly["stimulus_id"].values.astype(str).tolist().index(empty)
        raise NeuralDataError(f"{path}: presentation {at} (from 0) has an empty stimulus_id; each shows a stimulus")
    if path.suffix.lower() not in (".nc", ".nc4"):  # BrainIO's own files have repetitions that return
        _require_repetitions(path, assembly)
    ids = assembly["neuroid_id"].values.astype(str)
    if len(set(ids.tolist())) == len(ids):
        return assembly
    columns = {
        name: np.broadcast_to(assembly[name].values, len(ids))
        for name in ("animal", "session")
        if name in assembly.coords and assembly[name].dims in ((), ("neuroid",))
    }
    named = behind_identity(ids, columns)
    if named is None:
        twice = ids[np.flatnonzero(repetitions_of(ids))[0]]
        raise NeuralDataError(
            f"{path}: neuroid_id {str(twice)!r} is there more than once, and animal and session do not tell them "
            "apart; a neuroid has an id of its own"
        )
    return assembly.assign_coords(neuroid_id=("neuroid", named))


def _require_repetitions(path: Path, assembly: xr.DataArray) -> None:
    """Refuse two presentations that are one repetition of a stimulus, in one session where it is known."""
    if "repetition" not in assembly.coords or assembly["repetition"].dims != ("presentation",):
        return
    codes = np.zeros(assembly.sizes["presentation"], dtype=np.int64)
    for name in ("stimulus_id", "repetition", *_APART):
        if name in assembly.coords and assembly[name].dims == ("presentation",):
            _, own = first_presentations(assembly[name].values)
            codes = np.unique(codes * (own.max() + 1) + own, return_inverse=True)[1]
    again = np.flatnonzero(repetitions_of(codes))
    if again.size:
        at = again[0]
        before = np.flatnonzero(codes == codes[at])[0]
        stimulus, repetition = (str(assembly[name].values[at]) for name in ("stimulus_id", "repetition"))
        raise NeuralDataError(
            f"{path}: presentations {before} and {at} (from 0) are both repetition {repetition} of stimulus "
            f"{stimulus!r}; each presentation of a stimulus in a session has a number of its own"
        )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in the message of what is done with its assembly."""
    try:
        yield
    except NeuralDataError as error:
        raise NeuralDataError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _restricted(path: Path, assembly: xr.DataArray, coordinate: str, wanted: tuple[str, ...]) -> xr.DataArray:
    """Keep the wanted values of a coordinate; where the file does not say, take the user's word for all of them.

    Animal and region of presentations say nothing of neuroids; they are kept as ``presentation_animal``, ....
    """
    if (
        coordinate in ("animal", "region")
        and "neuroid" in assembly.dims
        and coordinate in assembly.coords
        and "presentation" in assembly[coordinate].dims
    ):
        assembly = assembly.rename({coordinate: f"presentation_{coordinate}"})
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
