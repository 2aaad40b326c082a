"""NWB files: spike times of units and a table of presentations become counts or rates in windows from stimulus onset.

A presentation is a row of an interval table (``trials``, or the one that ``?trials=NAME`` names). Rows without an onset
or without a stimulus show nothing and are left out; `source` says how many. Where a unit was not observed (its
``obs_intervals``) or times are marked as invalid (``invalid_times``) the response is NaN, never 0 spikes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.assemblies import as_text, first_presentations, repetitions_of
from netphys.neural.data import NeuralData
from netphys.neural.files.finishing import assembled
from netphys.neural.files.ids import follow_ids
from netphys.neural.files.nwb_choosing import NWBChoice
from netphys.neural.files.nwb_tables import (
    interval_tables,
    is_scalar,
    opened_nwb,
    read_column,
    row_ids,
    scalar_columns,
)
from netphys.neural.files.nwb_units import Units, animal_of, read_units, regions_of, session_of
from netphys.neural.spikes import count_spikes, observed_bins, spike_rates

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.files.options import FileOptions

__all__ = ["NWBContents", "load_nwb", "nwb_contents"]

_log = logging.getLogger(__name__)
_OF_NEUROIDS = ("animal", "region", "subject")  # of the recording: a column of trials that is called so is of pictures
_TAKEN = frozenset(
    ("stimulus_id", "repetition", "presentation_id", "presentation", "neuroid", "time_bin")
    + ("time_bin_start", "time_bin_end", *_OF_NEUROIDS)
)  # names of dims and of coordinates of ours: a column of the file that has one gets the table's name before it
_SPARSE = 0.005  # of the recording: presentations that take less of it may be on another clock, or in another unit


@dataclass(frozen=True)
class NWBContents:
    """What an NWB file holds, from its headers and the columns of regions."""

    n_units: int
    unit_columns: tuple[str, ...]
    has_spike_times: bool
    regions: tuple[str, ...]
    animal: str | None
    session: str | None
    tables: Mapping[str, tuple[int, tuple[str, ...]]]  # interval tables: number of rows, columns of one value a row

    def __str__(self) -> str:
        parts = [f"{self.n_units} units"] if self.has_spike_times else [f"{self.n_units} units without spike times"]
        parts += [f"regions {', '.join(self.regions)}"] if self.regions else []
        parts += [f"animal {self.animal}"] if self.animal else []
        parts += [f"{name}: {n} rows ({', '.join(columns)})" for name, (n, columns) in self.tables.items()]
        return "; ".join(parts)


def load_nwb(path: Path, options: FileOptions, ids: str | Sequence[str] | None, name: str) -> NeuralData:
    """Load spikes of an NWB file about the onsets of stimuli, as :func:`netphys.neural.load_neural` gives it.

    Parameters
    ----------
    path : Path
        An NWB 2 file in HDF5.
    options : FileOptions
        ``window`` (counts unless ``unit`` says rate) or ``bins`` (rates unless ``unit`` says count) must be said;
        ``trials``: the interval table; ``align``: its column of onsets, default ``start_time``; ``stimulus``: its
        column of stimuli; ``neuroid``: the column of units that names them, default their id. ``trials`` must be
        said where several tables name stimuli, ``align`` where a column beside ``start_time`` is called an onset.
    ids : str, sequence of str or None
        As for other files that carry their own ids: only to be checked against them.
    name : str
        The dataset's name.

    Raises
    ------
    NeuralDataError
        If the file lacks what is asked for; one line that says what it has.
    """
    with opened_nwb(path) as nwbfile:
        chosen = NWBChoice.of(path, nwbfile, options)
        edges, rates = _binning(path, options, chosen.align)
        units = read_units(path, nwbfile, options.neuroid)
        coords, onsets, said = _presentations(path, chosen)
        invalid = _invalid_times(path, nwbfile)
        identifier = str(nwbfile.identifier)
    said += _require_meeting(path, units, onsets, edges, chosen)
    several = [each for each in units.coords.get("region", []) if "+" in each]
    if several:
        said.append(f"{len(several)} of several regions ({several[0]}), which region= of one leaves out")
    values, n_unseen = _responses(path, units, onsets, edges, invalid)
    if n_unseen:
        said.append(f"{n_unseen} of {values.size} responses NaN: not observed")
    assembly = _assembly(values, edges, rates, units, coords, chosen.table.name)
    assembly.attrs = {"unit": "spikes/s" if rates else "spikes", "identifier": identifier}
    own, _ = first_presentations(assembly["stimulus_id"].values)
    follow_ids(path, len(own), own, ids)
    what = f"{'rates' if rates else 'counts'} in {_shown(edges)} ms from {chosen.align}"
    source = [path.name, f"{chosen.table.name} by {chosen.stimulus}", what, *said, "by stimulus_id"]
    return assembled(path, assembly, options, name, ", ".join(source), binned=True)


def nwb_contents(path: Path) -> NWBContents:
    """Say what an NWB file holds, without reading spikes.

    Raises
    ------
    NeuralDataError, FileError
        If it is no NWB 2 file, or damaged.
    """
    with opened_nwb(path) as nwbfile:
        units = nwbfile.units
        tables = {}
        for name, table in interval_tables(nwbfile).items():
            columns = tuple(str(each) for each in table.colnames if is_scalar(table[each]))
            tables[name] = (len(table.id.data), columns)
        return NWBContents(
            n_units=len(units.id.data) if units is not None else 0,
            unit_columns=tuple(map(str, units.colnames)) if units is not None else (),
            has_spike_times=units is not None and "spike_times" in units.colnames,
            regions=tuple(dict.fromkeys(regions_of(path, nwbfile, units))) if units is not None else (),
            animal=animal_of(nwbfile),
            session=session_of(nwbfile),
            tables=tables,
        )


def _binning(path: Path, options: FileOptions, align: str) -> tuple[np.ndarray, bool]:
    """Edges of the bins in ms, and whether rates are wanted."""
    if options.window is not None:
        return np.array(options.window), options.unit == "rate"
    if options.bins is not None:
        start, stop, width = options.bins
        return start + width * np.arange(round((stop - start) / width) + 1), options.unit != "count"
    raise NeuralDataError(
        f"{path} holds spike times; say when they count, in ms from {align}: ?window=70,170 (counts) or "
        "?bins=-100:400:50 (rates)"
    )


def _presentations(path: Path, chosen: NWBChoice) -> tuple[dict[str, np.ndarray], np.ndarray, list[str]]:
    """Coordinates of presentations, their onsets in s, and what was left out."""
    columns = scalar_columns(path, chosen.table)
    onsets, stimulus = columns[chosen.align], columns[chosen.stimulus]
    where = f"{path}: column {chosen.align!r} of {chosen.table.name}"
    if onsets.dtype.kind not in "fiu":
        raise NeuralDataError(f"{where} holds {onsets.dtype}; onsets are times in s")
    onsets = onsets.astype(np.float64)
    if np.isinf(onsets).any():
        raise NeuralDataError(f"{where} holds infinite times; onsets are times in s, NaN where there was none")
    shown = ~np.isnan(stimulus) if stimulus.dtype.kind == "f" else np.char.strip(as_text(stimulus)) != ""
    timed = ~np.isnan(onsets)
    said = [
        f"{n} rows without {what} left out"
        for n, what in ((int((~timed).sum()), chosen.align), (int((timed & ~shown).sum()), chosen.stimulus))
        if n
    ]
    kept = timed & shown
    if not kept.any():
        raise NeuralDataError(f"{path}: no row of {chosen.table.name} has both {chosen.align} and {chosen.stimulus}")
    for each in said:
        _log.info("%s: %s", path, each)
    coords = {"stimulus_id": as_text(stimulus[kept]), "presentation_id": row_ids(path, chosen.table)[kept]}
    coords["repetition"] = repetitions_of(coords["stimulus_id"])
    for name, values in columns.items():
        coords[f"{chosen.table.name}_{name}" if name in _TAKEN else name] = values[kept]
        if name in _OF_NEUROIDS:
            said.append(f"column {name} of {chosen.table.name} as {chosen.table.name}_{name}")
    if chosen.stimulus == "stimulus_id":
        del coords[f"{chosen.table.name}_stimulus_id"]
    return coords, onsets[kept], said


def _invalid_times(path: Path, nwbfile: Any) -> np.ndarray:
    """Intervals that the file marks as not to be analysed, s (interval, 2)."""
    table = nwbfile.invalid_times
    if table is None or not len(table.id.data):
        return np.zeros((0, 2))
    found = np.stack([read_column(path, table, table[each]) for each in ("start_time", "stop_time")], axis=1)
    if found.dtype.kind not in "fiu" or not np.isfinite(found).all() or (found[:, 1] < found[:, 0]).any():
        raise NeuralDataError(f"{path}: invalid_times have a start and a stop after it, in s; mend the file")
    return found.astype(np.float64)


def _require_meeting(path: Path, units: Units, onsets: np.ndarray, edges: np.ndarray, chosen: NWBChoice) -> list[str]:
    """Refuse presentations most of which lie beyond the recording: not of one clock with the spikes, or not in s.

    The recording reaches over all spikes and all intervals of observation. Where fewer windows lie beyond it, 0 spikes
    are counted there, and what is given back says how many they are.
    """
    borders = [units.times, *(each.reshape(-1) for each in units.observed if each is not None and len(each))]
    first, last = min(each.min() for each in borders), max(each.max() for each in borders)
    starts, stops = onsets + edges[0] / 1000, onsets + edges[-1] / 1000
    beyond = int(np.count_nonzero((starts > last) | (stops <= first)))
    if beyond > len(onsets) / 2:
        how = "none meets" if beyond == len(onsets) else f"{beyond} of {len(onsets)} lie beyond"
        raise NeuralDataError(
            f"{path}: the recording lies between {first:g} and {last:g} s, the windows about {chosen.align} of "
            f"{chosen.table.name} between {starts.min():g} and {stops.max():g} s: {how}; times are in s on one "
            "clock, onsets are said by ?align=COLUMN, windows in ms"
        )
    said = [f"{beyond} presentations beyond the recording ({first:g} to {last:g} s)"] if beyond else []
    if len(onsets) > 1 and stops.max() - starts.min() < _SPARSE * (last - first):
        part = (stops.max() - starts.min()) / (last - first)
        said.append(f"presentations take {part:.2g} of the recording: see that both are in s")
    for each in said:
        _log.warning("%s: %s", path, each)
    return said


def _responses(
    path: Path, units: Units, onsets: np.ndarray, edges: np.ndarray, invalid: np.ndarray
) -> tuple[np.ndarray, int]:
    """Counts (presentation, neuroid, bin), NaN where a bin was not observed; and how many are NaN."""
    try:
        counts = count_spikes(units.times, onsets, edges, index=units.ends)
        if not len(invalid) and all(each is None for each in units.observed):
            return counts, 0
        seen = np.ones(counts.shape, dtype=bool)
        for at, intervals in enumerate(units.observed):
            if intervals is not None:
                seen[:, at] = observed_bins(intervals, onsets, edges)
    except NeuralDataError as error:
        raise NeuralDataError(f"{path}: {error}") from None
    borders = onsets[:, None] + edges / 1000
    for start, stop in invalid:
        seen &= ((borders[:, :-1] >= stop) | (borders[:, 1:] <= start))[:, None]
    if not seen.any():
        raise NeuralDataError(
            f"{path}: no unit was observed in any window of the presentations (obs_intervals, invalid_times)"
        )
    n_unseen = seen.size - int(np.count_nonzero(seen))
    return (np.where(seen, counts, np.nan) if n_unseen else counts), n_unseen


def _assembly(
    values: np.ndarray, edges: np.ndarray, rates: bool, units: Units, coords: Mapping[str, np.ndarray], table: str
) -> xr.DataArray:
    """Put counts or rates and coordinates together; a column of presentations gives way to a neuroid's of its name."""
    import xarray as xr

    if rates:
        values = spike_rates(values, edges)
    held: dict[str, Any] = {name: ("neuroid", each) for name, each in units.coords.items()}
    for name, each in coords.items():
        held[f"{table}_{name}" if name in held else name] = ("presentation", each)
    starts, stops = edges[:-1].astype(np.float64), edges[1:].astype(np.float64)
    if len(starts) == 1:
        held |= {"time_bin_start": starts[0], "time_bin_end": stops[0]}
        return xr.DataArray(values[:, :, 0], dims=("presentation", "neuroid"), coords=held)
    held |= {"time_bin_start": ("time_bin", starts), "time_bin_end": ("time_bin", stops)}
    return xr.DataArray(values, dims=("presentation", "neuroid", "time_bin"), coords=held)


def _shown(edges: np.ndarray) -> str:
    """Bins in words: ``[70, 170)`` or ``10 bins of [-100, 400)``."""
    whole = f"[{edges[0]:g}, {edges[-1]:g})"
    return whole if len(edges) == 2 else f"{len(edges) - 1} bins of {whole}"
