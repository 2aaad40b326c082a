"""Units of an NWB file: their spikes, where they were recorded, and when they were observed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.assemblies import as_text
from netphys.neural.files.nwb_tables import ends_of, read_column, row_ids, scalar_columns

__all__ = ["Units", "animal_of", "read_units", "regions_of", "session_of"]

# columns of units that say the region; where none is there, the electrodes' location does
_REGION = ("region", "brain_region", "brain_area", "area", "location", "ecephys_structure_acronym")
_DEPTH = ("depth", "probe_vertical_position", "rel_y")  # columns of electrodes that become coordinates of units
_TAKEN = frozenset(("neuroid_id", "animal", "session", "presentation", "neuroid", "time_bin"))
_UNKNOWN = "unknown"  # region of a unit without electrodes


@dataclass(frozen=True)
class Units:
    """Units as they were read."""

    times: np.ndarray  # spikes of all units, s
    ends: np.ndarray  # where each unit's end
    observed: tuple[np.ndarray | None, ...]  # a unit's intervals of observation, s (interval, 2); None: throughout
    coords: dict[str, np.ndarray]  # name -> (neuroid,)


def read_units(path: Path, nwbfile: Any, named_by: str | None) -> Units:
    """Read spikes and coordinates of all units.

    Parameters
    ----------
    path : Path
        The file, for messages.
    nwbfile : pynwb.NWBFile
    named_by : str, optional
        The column that names the neuroids; default the ids of the units.
    """
    units = nwbfile.units
    if units is None:
        raise NeuralDataError(f"{path} holds no units (sorted spikes); {_other_data(nwbfile)}")
    if "spike_times" not in units.colnames:
        raise NeuralDataError(f"{path}: units have no spike_times; they have: {', '.join(units.colnames) or 'nothing'}")
    index = units["spike_times"]
    if not hasattr(index, "target") or hasattr(index.target, "target"):
        raise NeuralDataError(f"{path}: spike_times of units are no lists of times, one a unit (spike_times_index)")
    if not len(units.id.data):
        raise NeuralDataError(f"{path}: the table of units has no rows")
    times, ends = read_column(path, units, index.target), ends_of(path, units, index)
    if times.ndim != 1 or times.dtype.kind not in "fiu":
        raise NeuralDataError(f"{path}: spike_times hold {times.dtype} of {times.ndim} axes; they are times in s")
    if not len(times):
        raise NeuralDataError(f"{path}: {len(ends)} units and not one spike; the file is unfinished")
    if not np.isfinite(times).all():
        row = int(np.searchsorted(ends, np.flatnonzero(~np.isfinite(times))[0], side="right"))
        raise NeuralDataError(f"{path}: spike_times of unit {row_ids(path, units)[row]} are not all finite")
    coords = _coords(path, nwbfile, units, named_by)
    return Units(times.astype(np.float64), ends, _observed(path, units, ends), coords)


def regions_of(path: Path, nwbfile: Any, units: Any) -> list[str]:
    """Region of each unit; [] where the file does not say it.

    A column of units says it (``region``, ``brain_region``, ...), else the ``location`` of their electrodes (several:
    joined by "+"), else that of their electrode group.
    """
    own = next((name for name in _REGION if name in units.colnames), None)
    if own is not None:
        values = scalar_columns(path, units, but=tuple(each for each in units.colnames if each != own)).get(own)
        if values is not None:
            return [str(each) for each in values]
    rows = _electrode_rows(path, nwbfile, units)
    if rows is not None and "location" in rows[0].colnames:
        table, lists = rows
        places = as_text(read_column(path, table, table["location"]))
        return [_joined(places[each]) for each in lists]
    return [_UNKNOWN if each is None else str(each.location) for each in _groups(path, units)]


def animal_of(nwbfile: Any) -> str | None:
    """The animal, where the file says it."""
    subject = getattr(nwbfile.subject, "subject_id", None)
    return str(subject) if subject else None


def session_of(nwbfile: Any) -> str | None:
    """The session's id, else the file's identifier."""
    found = nwbfile.session_id or nwbfile.identifier
    return str(found) if found else None


def _coords(path: Path, nwbfile: Any, units: Any, named_by: str | None) -> dict[str, np.ndarray]:
    """Coordinates of neuroids: name, animal, session, region, group, depth, and the units' own columns."""
    own = scalar_columns(path, units)
    if named_by is not None and named_by not in own:
        raise NeuralDataError(f"{path}: units have no column {named_by!r} of one value each{near(named_by, own)}")
    ids = as_text(own[named_by] if named_by is not None else row_ids(path, units))
    names, counts = np.unique(ids, return_counts=True)
    if counts.max() > 1:
        raise NeuralDataError(
            f"{path}: {counts.max()} units are named {str(names[counts.argmax()])!r}; name them by ?neuroid=COLUMN"
        )
    coords: dict[str, Any] = {"neuroid_id": ids}
    for name, value in (("animal", animal_of(nwbfile)), ("session", session_of(nwbfile))):
        if value is not None:
            coords[name] = np.full(len(ids), value)
    regions = regions_of(path, nwbfile, units)
    if regions:
        coords["region"] = np.array(regions)
    coords |= _of_electrodes(path, nwbfile, units)
    for name, values in own.items():
        if name != "region" or not regions:
            coords[f"unit_{name}" if name in _TAKEN else name] = values
    return coords


def _of_electrodes(path: Path, nwbfile: Any, units: Any) -> dict[str, np.ndarray]:
    """Group and depth of units, by their electrodes: groups joined by "+", depths averaged."""
    found: dict[str, np.ndarray] = {}
    groups = _groups(path, units)
    if groups:
        found["electrode_group"] = np.array([_UNKNOWN if each is None else str(each.name) for each in groups])
    rows = _electrode_rows(path, nwbfile, units)
    if rows is None:
        return found
    table, lists = rows
    columns = scalar_columns(path, table, but=tuple(set(table.colnames) - {*_DEPTH, "group_name"}))
    if "group_name" in columns and not groups:
        found["electrode_group"] = np.array([_joined(as_text(columns["group_name"])[each]) for each in lists])
    for name in _DEPTH:
        if name in columns and columns[name].dtype.kind in "fiu":
            values = columns[name].astype(np.float64)
            found[name] = np.array([values[each].mean() if len(each) else np.nan for each in lists])
    return found


def _electrode_rows(path: Path, nwbfile: Any, units: Any) -> tuple[Any, list[np.ndarray]] | None:
    """The table of electrodes and, for each unit, its rows in it; None where units do not say them.

    Files of the Allen Institute say one electrode a unit by its id, in the column ``peak_channel_id``.
    """
    if "electrodes" in units.colnames:
        column = units["electrodes"]
        ragged = hasattr(column, "target")
        region = column.target if ragged else column
        table, rows = region.table, read_column(path, units, region)
        if table is None:
            raise NeuralDataError(f"{path}: units name electrodes, but there is no table of electrodes; mend the file")
        ends = ends_of(path, units, column) if ragged else np.arange(1, len(rows) + 1)
        n = len(row_ids(path, table))
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) and (rows.min() < 0 or rows.max() >= n):
            raise NeuralDataError(f"{path}: units name electrodes that are not among the {n} rows of {table.name}")
        if len(ends) != len(units.id.data):
            raise NeuralDataError(f"{path}: {len(ends)} electrodes for {len(units.id.data)} units; mend the file")
        return table, np.split(rows, ends[:-1])
    if "peak_channel_id" in units.colnames and nwbfile.electrodes is not None:
        table = nwbfile.electrodes
        place = {int(each): at for at, each in enumerate(row_ids(path, table))}
        peaks = read_column(path, units, units["peak_channel_id"])
        return table, [np.array([place[int(each)]] if int(each) in place else [], dtype=np.int64) for each in peaks]
    return None


def _groups(path: Path, units: Any) -> list[Any]:
    """The electrode group of each unit; [] where units do not say it."""
    if "electrode_group" not in units.colnames:
        return []
    found = list(units["electrode_group"].data[:])
    if len(found) != len(units.id.data):
        raise NeuralDataError(f"{path}: {len(found)} electrode groups for {len(units.id.data)} units; mend the file")
    return found


def _joined(values: np.ndarray) -> str:
    """Distinct values in the order of their names, joined by "+": one name whatever electrode was first."""
    return "+".join(sorted({str(each) for each in values})) or _UNKNOWN


def _observed(path: Path, units: Any, ends: np.ndarray) -> tuple[np.ndarray | None, ...]:
    """Intervals of observation of each unit.

    A unit without any is taken as observed throughout if it has spikes, and never if it has none, where other units
    do have intervals.
    """
    n_spikes = np.diff(ends, prepend=0)
    if "obs_intervals" not in units.colnames:
        return (None,) * len(ends)
    index = units["obs_intervals"]
    if not hasattr(index, "target"):
        raise NeuralDataError(f"{path}: obs_intervals of units are no lists of intervals (obs_intervals_index)")
    intervals, stops = read_column(path, units, index.target), ends_of(path, units, index)
    if not len(intervals):
        return (None,) * len(ends)
    if intervals.ndim != 2 or intervals.shape[1] != 2 or intervals.dtype.kind not in "fiu":
        raise NeuralDataError(f"{path}: obs_intervals have the shape {intervals.shape}; they are (interval, 2), in s")
    if not np.isfinite(intervals).all() or (intervals[:, 1] < intervals[:, 0]).any():
        raise NeuralDataError(f"{path}: obs_intervals have a start and a stop after it, in s; mend the file")
    parts = np.split(intervals.astype(np.float64), stops[:-1])
    return tuple(None if not len(part) and n else part for part, n in zip(parts, n_spikes))


def _other_data(nwbfile: Any) -> str:
    """What the file holds instead."""
    held = [(name, each) for name, each in nwbfile.acquisition.items()]
    for module, part in nwbfile.processing.items():
        held += [(f"{module}/{name}", each) for name, each in part.data_interfaces.items()]
    shown = [f"{name} ({type(each).__name__})" for name, each in held[:12]]
    return f"it holds: {', '.join(shown) or 'nothing of that kind'}; only spike times of units are read"
