"""Make NWB files of spikes and presentations with pynwb, as laboratories write them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

TRAINS = ([0.5, 1.07, 1.169, 1.17, 3.1], [], [2.08, 2.09, 4.1, 4.15])  # s; three units, the second is silent
TRIALS = {"start_time": [1.0, 2.0, 3.0, 4.0], "stop_time": [1.5, 2.5, 3.5, 4.5], "stimulus_id": ["b", "a", "b", "c"]}
COUNTS = [[2, 0, 0], [0, 0, 2], [1, 0, 0], [0, 0, 2]]  # in [70, 170) ms, by hand: 1.07 is within, 1.17 is not


def interval_table(name: str, columns: Mapping[str, Sequence[Any]], ragged: Mapping[str, Any] | None = None) -> Any:
    """A table of intervals of whole columns (a row at a time takes a millisecond); `ragged`: lists, one a row."""
    from hdmf.common import VectorData, VectorIndex
    from pynwb.epoch import TimeIntervals

    made: list[Any] = [VectorData(name=key, description=key, data=list(each)) for key, each in columns.items()]
    for key, lists in (ragged or {}).items():
        data = VectorData(name=key, description=key, data=[each for one in lists for each in one])
        index = VectorIndex(name=f"{key}_index", data=np.cumsum([len(each) for each in lists]).tolist(), target=data)
        made += [index, data]
    return TimeIntervals(name=name, description=name, columns=made)


def write_nwb(
    path: Path,
    trains: Sequence[Any] | None = TRAINS,
    trials: Mapping[str, Sequence[Any]] | None = TRIALS,
    *,
    tables: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
    ragged: Mapping[str, Any] | None = None,
    units: Mapping[str, Sequence[Any]] | None = None,
    locations: Sequence[str] | None = None,
    electrodes: Sequence[Sequence[int]] | None = None,
    grouped: bool = False,
    observed: Sequence[Any] | None = None,
    invalid: Sequence[tuple[float, float]] = (),
    subject: str | None = "m1",
    session: str | None = "s1",
    series: bool = False,
    cache_spec: bool = False,
) -> Path:
    """Write a file.

    Parameters
    ----------
    path : Path
    trains : list of lists or None
        Spike times of each unit, s; None: no units.
    trials, tables : columns of ``trials`` and of other interval tables
    ragged : lists, one a trial
    units : further columns of units
    locations : the location of each electrode
    electrodes : the electrodes of each unit
    grouped : whether units say their electrode group, that of their first electrode's location
    observed : intervals of observation of each unit
    invalid : ``invalid_times``
    subject, session : ids
    series : whether there is a running signal, which links to its timestamps
    cache_spec : whether the definitions are kept in the file (300 kB)
    """
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.file import Subject

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = NWBFile("made by a test", "file-1", datetime(2020, 1, 1, tzinfo=UTC), session_id=session)
        if subject is not None:
            file.subject = Subject(subject_id=subject, species="Macaca mulatta", age="P5Y")
        groups = _add_electrodes(file, locations) if locations is not None else {}
        if trains is not None:
            _add_units(file, trains, units or {}, electrodes, groups if grouped else {}, locations, observed)
        if trials is not None:
            file.trials = interval_table("trials", trials, ragged)
        for name, columns in (tables or {}).items():
            table = interval_table(name, columns)
            if name == "epochs":
                file.epochs = table
            else:
                file.add_time_intervals(table)
        for start, stop in invalid:
            file.add_invalid_time_interval(start_time=start, stop_time=stop)
        if series:
            _add_series(file)
        with NWBHDF5IO(path, "w") as out:
            out.write(file, cache_spec=cache_spec)
    return path


def _add_electrodes(file: Any, locations: Sequence[str]) -> dict[str, Any]:
    device = file.create_device(name="probe")
    groups: dict[str, Any] = {}
    for at, location in enumerate(locations):
        if location not in groups:
            groups[location] = file.create_electrode_group(
                name=f"group {location}", description="x", location=location, device=device
            )
        file.add_electrode(location=location, group=groups[location], x=0.0, y=0.0, z=0.0, rel_y=100.0 * at)
    return groups


def _add_units(file, trains, columns, electrodes, groups, locations, observed) -> None:
    for name in columns:
        file.add_unit_column(name, name)
    for at, train in enumerate(trains):
        row: dict[str, Any] = {name: values[at] for name, values in columns.items()}
        if electrodes is not None:
            row["electrodes"] = list(electrodes[at])
        if groups:
            row["electrode_group"] = groups[locations[electrodes[at][0] if electrodes else 0]]
        if observed is not None:
            row["obs_intervals"] = np.asarray(observed[at], dtype=np.float64).reshape(-1, 2)
        file.add_unit(spike_times=np.asarray(train, dtype=np.float64), **row)


def _add_series(file: Any) -> None:
    from pynwb import TimeSeries

    first = TimeSeries(name="running", data=np.arange(5.0), unit="cm/s", timestamps=np.arange(5.0))
    file.add_acquisition(first)
    file.add_acquisition(TimeSeries(name="pupil", data=np.arange(5.0), unit="mm", timestamps=first))
