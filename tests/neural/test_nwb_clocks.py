"""NWB files that could be read in two ways: which table, which onset, which clock, whose columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nwb_files import COUNTS, TRIALS, write_nwb

from netphys.errors import NeuralDataError
from netphys.neural import load_neural

SHOWN = {"start_time": [1.0, 2.0, 3.0, 4.0], "stop_time": [1.2, 2.2, 3.2, 4.2], "image_name": ["b", "a", "b", "c"]}
FIXED = {**TRIALS, "start_time": [0.9, 1.9, 2.9, 3.9]}  # trials begin with fixation


def _many(path: Path, onsets: Any, n_spikes: int = 4000, last: float = 200.0) -> Path:
    """Five units that fire from 0 to `last` s."""
    rng = np.random.default_rng(0)
    onsets = np.asarray(onsets, dtype=np.float64)
    trials = {
        "start_time": onsets,
        "stop_time": onsets + 0.5,
        "stimulus_id": [f"s{at % 10}" for at in range(len(onsets))],
    }
    return write_nwb(path, [np.sort(rng.uniform(0, last, n_spikes)) for _ in range(5)], trials)


def test_several_tables_that_name_stimuli_are_asked_about(tmp_path: Path):
    path = write_nwb(tmp_path / "a.nwb", trials=FIXED, tables={"stimulus_presentations": SHOWN})
    told = (
        r"2 tables name stimuli; .*\?trials=NAME: .*stimulus_presentations \(4 rows: start_time, stop_time, image_name"
    )
    with pytest.raises(NeuralDataError, match=told) as raised:
        load_neural(f"{path}?window=70,170")
    assert "trials (4 rows: start_time, stop_time, stimulus_id)" in str(raised.value)
    with pytest.raises(NeuralDataError, match=told):  # a column named does not say which table
        load_neural(f"{path}?window=70,170&stimulus=image_name")
    found = load_neural(f"{path}?window=70,170&trials=stimulus_presentations")
    assert found.assembly.values.tolist() == COUNTS and "stimulus_presentations by image_name" in found.source
    other = load_neural(f"{path}?window=70,170&trials=trials")  # control: fixation gives other counts
    assert other.assembly.values.tolist() != COUNTS


def test_tables_that_name_no_stimuli_are_no_question(tmp_path: Path):
    mapping = {"start_time": [4.5], "stop_time": [4.6], "x": [1.0]}
    blocks = {"start_time": [0.0], "stop_time": [9.0], "stimulus_name": ["main"]}
    path = write_nwb(tmp_path / "a.nwb", tables={"rf_mapping": mapping, "epochs": blocks})
    assert load_neural(f"{path}?window=70,170").assembly.values.tolist() == COUNTS
    bare = {key: FIXED[key] for key in ("start_time", "stop_time")}
    only = write_nwb(tmp_path / "b.nwb", trials=bare, tables={"presentations": SHOWN})
    found = load_neural(f"{only}?window=70,170")  # trials name none: the other table does
    assert found.assembly.values.tolist() == COUNTS and "presentations by image_name" in found.source


@pytest.mark.parametrize("name", ["stim_on", "stimulus_onset", "stim_onset", "onset", "stimOn_times", "image_on_time"])
def test_several_onsets_are_asked_about(tmp_path: Path, name: str):
    path = write_nwb(tmp_path / "a.nwb", trials={**FIXED, name: TRIALS["start_time"]})
    with pytest.raises(NeuralDataError, match=rf"several times .* say which by \?align=COLUMN: start_time, {name}$"):
        load_neural(f"{path}?window=70,170")
    assert load_neural(f"{path}?window=70,170&align={name}").assembly.values.tolist() == COUNTS
    assert load_neural(f"{path}?window=70,170&align=start_time").assembly.values.tolist() != COUNTS


def test_a_second_onset_of_the_same_times_or_of_words_is_no_question(tmp_path: Path):
    trials = {**TRIALS, "onset": TRIALS["start_time"], "image_on": ["yes"] * 4, "go_cue": [1.2, 2.2, 3.2, 4.2]}
    found = load_neural(f"{write_nwb(tmp_path / 'a.nwb', trials=trials)}?window=70,170")
    assert found.assembly.values.tolist() == COUNTS


def test_onsets_in_ms_are_refused_though_one_meets_spikes(tmp_path: Path):
    path = _many(tmp_path / "a.nwb", np.arange(199) * 1000.0)
    with pytest.raises(NeuralDataError, match=r"198 of 199 lie beyond; times are in s on one clock, .*align=COLUMN"):
        load_neural(f"{path}?window=70,170")
    good = load_neural(f"{_many(tmp_path / 'b.nwb', np.arange(199))}?window=70,170")  # control: s
    assert good.assembly.values.mean() == pytest.approx(2.0, abs=0.2)  # 20 spikes/s in .1 s; standard error .05
    assert "recording" not in good.source


def test_a_few_presentations_beyond_the_recording_are_said(tmp_path: Path):
    path = _many(tmp_path / "a.nwb", [*range(199), 300.0, 301.0])
    data = load_neural(f"{path}?window=70,170")
    assert "2 presentations beyond the recording (0.0" in data.source and (data.assembly.values[-2:] == 0).all()
    quiet = {**TRIALS, "start_time": [1.0, 2.0, 3.0, 40.0], "stop_time": [1.5, 2.5, 3.5, 40.5]}
    observed = write_nwb(tmp_path / "b.nwb", trials=quiet, observed=[[[0.0, 50.0]]] * 3)
    assert "beyond" not in load_neural(f"{observed}?window=70,170").source  # units were observed, and silent
    unsaid = write_nwb(tmp_path / "c.nwb", trials=quiet)
    assert "1 presentations beyond" in load_neural(f"{unsaid}?window=70,170").source


def test_spikes_in_ms_are_hinted_at(tmp_path: Path):
    path = _many(tmp_path / "a.nwb", range(1, 199), last=200_000.0)
    assert "presentations take 0.00099 of the recording: see that both are in s" in (
        load_neural(f"{path}?window=70,170").source
    )


def test_columns_of_pictures_are_not_the_monkeys(tmp_path: Path):
    trials = {
        **TRIALS,
        "animal": [True, False, True, False],
        "region": ["up", "down", "up", "down"],
        "subject": ["a dog", "a car", "a dog", "a cat"],
    }
    data = load_neural(f"{write_nwb(tmp_path / 'a.nwb', trials=trials, subject=None)}?window=70,170")
    assert data.subjects == () and data.region == ""
    assert data.assembly["trials_animal"].values.tolist() == [True, False, True, False]
    assert data.assembly["trials_region"].dims == ("presentation",) and "subject" not in data.assembly.coords
    assert "column animal of trials as trials_animal" in data.source
    told = load_neural(f"{tmp_path / 'a.nwb'}?window=70,170&region=V4&subject=m2&where=trials_region == 'up'")
    assert told.region == "V4" and told.subjects == ("m2",) and told.assembly.values.tolist() == COUNTS[::2]
    both = load_neural(f"{write_nwb(tmp_path / 'b.nwb', trials=trials)}?window=70,170")
    assert both.subjects == ("m1",)


def test_units_of_several_regions(tmp_path: Path):
    path = write_nwb(tmp_path / "a.nwb", locations=["V4", "IT"], electrodes=[[0, 1], [1, 0], [0]])
    data = load_neural(f"{path}?window=70,170")
    assert data.assembly["region"].values.tolist() == ["IT+V4", "IT+V4", "V4"]  # one name, whichever was first
    assert "2 of several regions (IT+V4), which region= of one leaves out" in data.source
    assert load_neural(f"{path}?window=70,170&region=V4").assembly["neuroid_id"].values.tolist() == ["2"]
    mixed = load_neural(f"{path}?window=70,170&region=IT+V4")
    assert mixed.assembly["neuroid_id"].values.tolist() == ["0", "1"]
