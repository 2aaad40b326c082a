"""Measurements as rsatoolbox saves them (``Dataset``, ``TemporalDataset``) in HDF5.

Descriptors are arrays; text stands in attributes, lists of text as bytes, None as an empty dataset, and lists that are
not rectangular are groups keyed by position, read by integer order ("10" sorts before "2").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.guards import guarded_hdf5, is_hdf5
from netphys.neural.assemblies import repetitions_of
from netphys.neural.data import NeuralData
from netphys.neural.files.finishing import assembled
from netphys.neural.files.hdf5 import read_descriptors
from netphys.neural.files.ids import read_ids
from netphys.neural.files.responses import refuse_choices
from netphys.neural.files.time_bins import bins_of, spelt_bins

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.files.options import FileOptions

__all__ = ["is_saved_dataset", "load_saved_dataset"]

_SAVED = ("measurements", "obs_descriptors", "channel_descriptors")
_STIMULI: tuple[str, ...] = (
    "stimulus_id",
    "stimulus",
    "stimuli",
    "stim",
    "image_id",
    "image",
    "conds",
    "cond",
    "condition",
)
_STIMULI += ("conditions", "pattern")  # descriptors that say the stimulus, as rsatoolbox's own examples call them
_NEUROIDS = ("neuroid_id", "names", "name", "neuroid", "channel", "channels")
_KEPT = ("presentation", "neuroid", "time_bin", "stimulus_id", "neuroid_id", "time_bin_start", "time_bin_end")
_OF_NEUROIDS = ("animal", "region", "subject")  # of the recording: an observation's that is called so is a picture's
_OF_ALL = {"subject": "animal", "animal": "animal", "session": "session", "region": "region", "roi": "region"}


@dataclass(frozen=True)
class _Saved:
    """What a file holds, as it was saved."""

    measurements: np.ndarray
    descriptors: dict[str, list[Any]]
    obs: dict[str, list[Any]]
    channels: dict[str, list[Any]]
    times: dict[str, list[Any]]


def is_saved_dataset(path: Path, group: str | None = None) -> bool:
    """Tell whether rsatoolbox's ``Dataset.save(file_type="hdf5")`` wrote a file, or a group of it.

    Raises
    ------
    NeuralDataError
        If there is no such group.
    """
    import h5py

    if not is_hdf5(path):
        return False
    with guarded_hdf5(path) as file:
        if group is not None and group.strip("/") and group.strip("/") not in file:
            groups = [name for name in file if isinstance(file[name], h5py.Group)]
            raise NeuralDataError(f"{path} has no group {group!r}{near(group, groups)}")
        held = file[group.strip("/")] if group is not None and group.strip("/") else file
        return isinstance(held, h5py.Group) and all(name in held for name in _SAVED)


def load_saved_dataset(path: Path, options: FileOptions, ids: str | Sequence[str] | None, name: str) -> NeuralData:
    """Load a ``Dataset`` or ``TemporalDataset`` of rsatoolbox as an assembly.

    Parameters
    ----------
    path : Path
        The file.
    options : FileOptions
        ``group``: of the file. ``stimulus``, ``repetition``: descriptors of observations; ``neuroid``: of channels;
        ``time``: of time (starts of even bins, ms), or START:STOP:WIDTH.
    ids : str, sequence of str, or None
        One id an observation, where no descriptor says the stimulus.
    name : str
        The dataset's name.

    Returns
    -------
    NeuralData
        Descriptors of observations, channels and time are coordinates; those of the whole are attributes, and
        ``subject``, ``session``, ``region`` coordinates of the neuroids as well, where channels do not say them.
        ``animal``, ``region`` and ``subject`` of observations are of what was shown: ``presentation_animal``, ...

    Raises
    ------
    NeuralDataError
        If the file does not say enough, or its parts do not fit.
    """
    refuse_choices(path, options)
    if options.axes is not None:
        raise NeuralDataError(f"{path}: rsatoolbox saves observation x channel [x time]; leave axes= out")
    saved = _read(path, options.group)
    shown, joined, label = _shown(path, saved, options, ids)
    assembly = _assembly(path, saved, options, shown, label)
    kind = "TemporalDataset" if saved.measurements.ndim == 3 else "Dataset"
    parts = [path.name, f"group {options.group}" if options.group else "", f"{kind} of rsatoolbox"]
    odd = [key for key in _OF_NEUROIDS if key in saved.obs and key != label]
    parts += [f"{key} of observations as presentation_{key}" for key in odd]
    parts.append(joined)
    return assembled(path, assembly, options, name, ", ".join(part for part in parts if part))


def _read(path: Path, group: str | None) -> _Saved:
    """Read the parts and see that they fit."""
    import h5py

    inside = group.strip("/") if group else ""
    with guarded_hdf5(path) as file:
        held = file[inside] if inside else file
        measured = held["measurements"]
        if not isinstance(measured, h5py.Dataset) or measured.dtype.kind not in "fiub":
            raise NeuralDataError(f"{path}: measurements is no array of real numbers; it is observation x channel")
        if measured.shape is None or len(measured.shape) not in (2, 3) or 0 in measured.shape:
            raise NeuralDataError(
                f"{path}: measurements has the shape {measured.shape}; it is observation x channel [x time]"
            )
        tables = {}
        for which in ("descriptors", "obs_descriptors", "channel_descriptors", "time_descriptors"):
            if which in held and not isinstance(held[which], h5py.Group):
                raise NeuralDataError(f"{path}: {which} is no group of descriptors; save it by Dataset.save again")
            try:
                tables[which] = read_descriptors(held[which]) if which in held else {}
            except (ValueError, TypeError) as error:
                raise NeuralDataError(
                    f"{path}: {which} holds a list that is not keyed by position ({str(error)[:80]}); save it again"
                ) from None
        values = measured[()]
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise NeuralDataError(f"{path}: measurements holds infinity; a response that is missing is NaN")
    for which, n in zip(("obs_descriptors", "channel_descriptors", "time_descriptors"), values.shape):
        odd = next((key for key, each in tables[which].items() if len(each) not in (0, n)), None)
        if odd is not None:
            held = f"{which}/{odd} has {len(tables[which][odd])} entries"
            raise NeuralDataError(f"{path}: {held}, measurements has {n} there; mend the file")
    there = {which: {key: each for key, each in table.items() if each} for which, table in tables.items()}
    return _Saved(
        values, there["descriptors"], *(there[f"{which}_descriptors"] for which in ("obs", "channel", "time"))
    )


def _shown(
    path: Path, saved: _Saved, options: FileOptions, ids: str | Sequence[str] | None
) -> tuple[list[str], str, str]:
    """The stimulus of each observation, how it is known, and by which descriptor."""
    label = options.stimulus
    if label is not None and label not in saved.obs:
        raise NeuralDataError(f"{path} has no descriptor {label!r} of observations{near(label, saved.obs)}")
    fitting = [each for each in _STIMULI if each in saved.obs]
    if label is None and (fitting[:1] == ["stimulus_id"] or len(fitting) == 1):
        label = fitting[0]
    if label is not None:
        shown = [_text(each) for each in saved.obs[label]]
        if ids is not None and (list(read_ids(ids)) if isinstance(ids, str) else list(map(str, ids))) != shown:
            raise NeuralDataError(f"{path} says its stimuli by {label}, and ids= names others; leave ids out")
        return shown, f"by {label}" if label == "stimulus_id" else f"by stimulus_id ({label})", label
    if ids is None:
        told = ", ".join(f"{key} ({len(set(map(_text, each)))} values)" for key, each in list(saved.obs.items())[:12])
        raise NeuralDataError(
            f"{path}: say which descriptor of observations is the stimulus by ?stimulus=NAME"
            f"{f': {told}' if told else '; it has none: name the list that they follow, --ids FILE:COLUMN'}"
        )
    listed = list(read_ids(ids)) if isinstance(ids, str) else list(map(str, ids))
    if len(listed) != len(saved.measurements):
        raise NeuralDataError(
            f"{path} has {len(saved.measurements)} observations, but the list has {len(listed)} ids; name one for each"
        )
    return listed, "by order to the list of observations", ""


def _assembly(path: Path, saved: _Saved, options: FileOptions, shown: list[str], label: str) -> xr.DataArray:
    """Put coordinates around the measurements."""
    import xarray as xr

    n_channels = saved.measurements.shape[1]
    neuroids, by = _neuroids(path, saved, options.neuroid)
    taken = {*_KEPT, "repetition"}
    coords: dict[str, Any] = {
        "stimulus_id": ("presentation", np.array(shown)),
        "repetition": ("presentation", _repetition(path, saved, options, shown)),
        "neuroid_id": ("neuroid", np.array(neuroids)),
    }
    gone = {label, "repetition"} if options.repetition in (None, "repetition") else {label}
    columns = {key: each for key, each in saved.obs.items() if key not in gone}
    coords |= _columns(columns, "presentation", {*taken, *_OF_NEUROIDS})
    taken |= set(coords)
    coords |= _columns({key: each for key, each in saved.channels.items() if key != by}, "neuroid", taken)
    for key, coordinate in _OF_ALL.items():
        if key in saved.channels and coordinate not in coords:
            coords[coordinate] = coords[key]
        elif key in saved.descriptors and coordinate not in coords and len(saved.descriptors[key]) == 1:
            coords[coordinate] = ("neuroid", np.array([_text(saved.descriptors[key][0])] * n_channels))
    attrs = {key: each[0] if len(each) == 1 else each for key, each in saved.descriptors.items()}
    if saved.measurements.ndim == 2:
        if options.time is not None:
            bins = _bins(path, saved, options, 1)
            coords |= {"time_bin_start": bins[0, 0], "time_bin_end": bins[0, 1]}
        return xr.DataArray(saved.measurements, dims=("presentation", "neuroid"), coords=coords, attrs=attrs)
    bins = _bins(path, saved, options, saved.measurements.shape[2])
    if len(bins) == 1:
        coords |= {"time_bin_start": bins[0, 0], "time_bin_end": bins[0, 1]}
        return xr.DataArray(saved.measurements[..., 0], dims=("presentation", "neuroid"), coords=coords, attrs=attrs)
    coords |= {"time_bin_start": ("time_bin", bins[:, 0]), "time_bin_end": ("time_bin", bins[:, 1])}
    coords |= _columns({key: each for key, each in saved.times.items() if key != "time"}, "time_bin", {*coords, *_KEPT})
    return xr.DataArray(saved.measurements, dims=("presentation", "neuroid", "time_bin"), coords=coords, attrs=attrs)


def _columns(table: Mapping[str, Sequence[Any]], dim: str, taken: set[str]) -> dict[str, tuple[str, np.ndarray]]:
    """Descriptors as coordinates; one whose name is taken gets that of its axis before it."""
    found = {}
    for key, entries in table.items():
        plain = all(isinstance(each, int | float | np.number) for each in entries)
        column = np.array(entries) if plain else np.array([_text(each) for each in entries])
        found[f"{dim}_{key}" if key in taken else key] = (dim, column)
    return found


def _neuroids(path: Path, saved: _Saved, wanted: str | None) -> tuple[list[str], str]:
    """Names of the channels, and the descriptor that says them: the one named, else the first known that is unique."""
    n = saved.measurements.shape[1]
    if wanted is not None and wanted not in saved.channels:
        raise NeuralDataError(f"{path} has no descriptor {wanted!r} of channels{near(wanted, saved.channels)}")
    for key in (wanted,) if wanted is not None else _NEUROIDS:
        names = [_text(each) for each in saved.channels.get(key, [])]
        if names and len(set(names)) == n:
            return names, key
        if names and key == wanted:
            twice = next(each for each in names if names.count(each) > 1)
            raise NeuralDataError(f"{path}: {key} names {twice!r} twice; a neuroid has a name of its own")
    return [str(at) for at in range(n)], ""


def _repetition(path: Path, saved: _Saved, options: FileOptions, shown: list[str]) -> np.ndarray:
    """Repetition of each observation: as a descriptor says, else counted for each stimulus."""
    key = options.repetition or "repetition"
    if key not in saved.obs:
        if options.repetition is not None:
            raise NeuralDataError(f"{path} has no descriptor {key!r} of observations{near(key, saved.obs)}")
        return repetitions_of(shown)
    values = np.array(saved.obs[key])
    if values.dtype.kind not in "fiu" or not (values == np.round(values)).all() or values.min() < 0:
        raise NeuralDataError(f"{path}: {key} is not the repetition of each observation, whole numbers from 0")
    return values.astype(np.int64)


def _bins(path: Path, saved: _Saved, options: FileOptions, n: int) -> np.ndarray:
    """Starts and ends of the time bins, ms."""
    key = options.time
    try:
        bins = spelt_bins(key) if key is not None else None
        if bins is not None and len(bins) != n:
            raise ValueError(f"{len(bins)} bins, measurements has {n}")
        if bins is None:
            bins = _held_bins(saved, key, n)
    except ValueError as error:
        raise NeuralDataError(f"{path}: time={key or 'time'}: {error}; say time=START:STOP:WIDTH in ms") from None
    return bins


def _held_bins(saved: _Saved, key: str | None, n: int) -> np.ndarray:
    """Bins as descriptors of time say them."""
    if key is None and {"time_bin_start", "time_bin_end"} <= set(saved.times):
        edges = [saved.times[f"time_bin_{which}"] for which in ("start", "end")]
        return bins_of(np.stack([np.array(each) for each in edges], axis=1), n)
    key = key or "time"
    if key not in saved.times:
        raise ValueError(f"there is no descriptor {key!r} of time{near(key, saved.times)}")
    if key == "time" and "bins" in saved.times:  # bin_time() replaces the times of a bin by their mean
        raise ValueError("the times are means of bins, which do not tell where those begin")
    return bins_of(np.array(saved.times[key]), n)


def _text(value: Any) -> str:
    """One entry as text; an entry that is a list as Python writes it."""
    return str(value)
