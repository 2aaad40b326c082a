"""A unit that was not recorded during a presentation fired no spike there, and that is no response of 0."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from netphys.errors import NeuralDataError
from netphys.neural import average_repetitions, load_neural


def written(path: Path, *, observed=None, invalid=()) -> Path:
    """Two units that fire 10 spikes/s, the first while it was held: 0 to 20 of 40 s; 40 presentations of 2 stimuli."""
    from pynwb import NWBHDF5IO, NWBFile

    file = NWBFile("made by a test", "file", datetime(2020, 1, 1, tzinfo=UTC))
    times = np.arange(0.05, 40, 0.1)
    for at, train in enumerate((times[times < 20], times)):
        intervals = {} if observed is None else {"obs_intervals": np.array(observed[at])}
        file.add_unit(spike_times=train, **intervals)
    file.add_trial_column("stimulus_id", "x")
    for at in range(40):
        file.add_trial(start_time=float(at), stop_time=at + 0.5, stimulus_id="ab"[at % 2])
    for start, stop in invalid:
        file.add_invalid_time_interval(start_time=start, stop_time=stop)
    with NWBHDF5IO(path, "w") as out:
        out.write(file, cache_spec=False)
    return path


def test_units_not_observed_taken_for_silent(tmp_path: Path):
    path = written(tmp_path / "said.nwb", observed=[[[0.0, 20.0]], [[0.0, 20.0], [20.0, 40.0]]])
    data = load_neural(f"{path}?window=0,500")
    values = data.assembly.values
    assert (values[:20] == 5).all() and (values[:, 1] == 5).all()
    assert np.isnan(values[20:, 0]).all()  # nobody listened
    assert "20 of 80 responses NaN: not observed" in data.source
    assert average_repetitions(data.assembly)[1].tolist() == [[5.0, 5.0], [5.0, 5.0]]
    # the mistake: without intervals the unit seems to respond half as much
    silent = load_neural(f"{written(tmp_path / 'unsaid.nwb')}?window=0,500").assembly
    assert average_repetitions(silent)[1].tolist() == [[2.5, 5.0], [2.5, 5.0]]


def test_bins_that_reach_out_of_the_observed_time(tmp_path: Path):
    path = written(tmp_path / "a.nwb", observed=[[[0.0, 20.0]], [[0.0, 40.0]]])
    rates = load_neural(f"{path}?bins=-200:1200:200").assembly.values
    assert np.isnan(rates[0, :, 0]).all()  # before the recording
    assert np.isnan(rates[19, 0]).tolist() == [False] * 6 + [True]  # 19.0 s + 1000 ms is the end
    assert not np.isnan(rates[1:39, 1]).any()


def test_invalid_times_and_nothing_observed(tmp_path: Path):
    path = written(tmp_path / "a.nwb", invalid=[(10.4, 12.0)])
    values = load_neural(f"{path}?window=0,500").assembly.values
    assert np.flatnonzero(np.isnan(values[:, 0])).tolist() == [10, 11]
    assert np.isnan(values[:, 1]).sum() == 2
    path = written(tmp_path / "b.nwb", observed=[[[50.0, 60.0]], [[50.0, 60.0]]])
    with pytest.raises(NeuralDataError, match="no unit was observed in any window"):
        load_neural(f"{path}?window=0,500")
