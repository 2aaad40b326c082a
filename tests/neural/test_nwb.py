"""NWB files written by pynwb, read back: known counts, equality with a loop, whose they are, where they were."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from nwb_files import COUNTS, TRAINS, TRIALS, write_nwb

from netphys.errors import FileError, NeuralDataError
from netphys.neural import load_neural, read_assembly, write_assembly
from netphys.neural.files.nwb import nwb_contents
from netphys.neural.files.nwb_tables import read_column


def test_known_answer(tmp_path: Path):
    data = load_neural(f"{write_nwb(tmp_path / 'a.nwb')}?window=70,170")
    found = data.assembly
    assert found.values.tolist() == COUNTS
    assert found.dims == ("presentation", "neuroid") and found.dtype == np.int64
    assert found["stimulus_id"].values.tolist() == ["b", "a", "b", "c"]
    assert found["repetition"].values.tolist() == [0, 0, 1, 0]
    assert found["neuroid_id"].values.tolist() == ["0", "1", "2"]
    assert found["start_time"].values.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert float(found["time_bin_start"]) == 70 and float(found["time_bin_end"]) == 170
    assert found.attrs == {"unit": "spikes", "identifier": "file-1"}
    assert set(found["animal"].values) == {"m1"} and set(found["session"].values) == {"s1"}
    assert data.subjects == ("m1",) and data.name == "a" and data.stimulus_ids == ("b", "a", "c")
    said = "a.nwb, trials by stimulus_id, counts in [70, 170) ms from start_time, window=70,170, by stimulus_id"
    assert data.source.startswith(said)
    wrong = load_neural(f"{tmp_path / 'a.nwb'}?window=70,171").assembly  # control: 1.17 is within
    assert wrong.values.tolist() != COUNTS


def test_counts_and_rates(tmp_path: Path):
    path = write_nwb(tmp_path / "a.nwb")
    rates = load_neural(f"{path}?window=70,170&unit=rate").assembly
    assert rates.values.tolist() == (10.0 * np.array(COUNTS)).tolist() and rates.attrs["unit"] == "spikes/s"
    bins = load_neural(f"{path}?bins=-500:500:250").assembly
    assert bins.dims == ("presentation", "neuroid", "time_bin") and bins.attrs["unit"] == "spikes/s"
    assert bins["time_bin_start"].values.tolist() == [-500, -250, 0, 250]
    assert bins["time_bin_end"].values.tolist() == [-250, 0, 250, 500]
    assert bins.values[0, 0].tolist() == [4.0, 0.0, 12.0, 0.0]  # 1 and 3 spikes in 250 ms
    counts = load_neural(f"{path}?bins=-500:500:250&unit=count").assembly
    assert counts.values[0, 0].tolist() == [1, 0, 3, 0] and counts.attrs["unit"] == "spikes"


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_loop_over_pynwb(tmp_path: Path, seed):
    from pynwb import NWBHDF5IO

    rng = np.random.default_rng(seed)
    trains = [np.sort(rng.uniform(0, 60, rng.integers(0, 400))) for _ in range(9)]
    onsets = np.sort(rng.uniform(0, 59, 80))
    stimuli = [f"image {each}" for each in rng.integers(0, 20, 80)]
    path = write_nwb(
        tmp_path / "a.nwb", trains, {"start_time": onsets, "stop_time": onsets + 0.1, "stimulus_id": stimuli}
    )
    found = load_neural(f"{path}?bins=-100:400:50&unit=count").assembly
    edges = np.arange(-100, 401, 50)
    with NWBHDF5IO(path, "r") as opened:
        file = opened.read()
        for unit in range(9):
            times = np.asarray(file.units.get_unit_spike_times(unit))
            for trial, onset in enumerate(file.trials["start_time"][:]):
                counted = np.histogram(times, np.r_[onset + edges / 1000, np.inf])[0][:-1]
                assert np.array_equal(found.values[trial, unit], counted)


def test_order_of_trials(tmp_path: Path):
    order = [2, 0, 3, 1]
    first = load_neural(f"{write_nwb(tmp_path / 'a.nwb')}?window=70,170").assembly
    permuted = {name: [each[at] for at in order] for name, each in TRIALS.items()}
    second = load_neural(f"{write_nwb(tmp_path / 'b.nwb', trials=permuted)}?window=70,170").assembly
    assert np.array_equal(second.values, first.values[order])
    assert second["stimulus_id"].values.tolist() == first["stimulus_id"].values[order].tolist()
    assert second["repetition"].values.tolist() == [0, 1, 0, 0]


def test_regions_by_electrodes_groups_and_columns(tmp_path: Path):
    path = write_nwb(
        tmp_path / "a.nwb",
        locations=["V1", "V4", "V4"],
        electrodes=[[0], [1, 2], [0, 2]],
        units={"quality": ["good", "mua", "good"], "snr": [1.0, 2.0, 3.0]},
    )
    found = load_neural(f"{path}?window=70,170")
    assert found.assembly["region"].values.tolist() == ["V1", "V4", "V1+V4"]
    assert found.assembly["electrode_group"].values.tolist() == ["group V1", "group V4", "group V1+group V4"]
    assert found.assembly["rel_y"].values.tolist() == [0.0, 150.0, 100.0]
    assert found.assembly["quality"].values.tolist() == ["good", "mua", "good"]
    assert found.assembly["snr"].dtype == np.float64
    v4 = load_neural(f"{path}?window=70,170&region=V4")
    assert v4.region == "V4" and v4.assembly["neuroid_id"].values.tolist() == ["1"]
    grouped = write_nwb(tmp_path / "b.nwb", locations=["IT"], grouped=True)
    found = load_neural(f"{grouped}?window=70,170")
    assert found.region == "IT" and set(found.assembly["electrode_group"].values) == {"group IT"}
    own = write_nwb(
        tmp_path / "c.nwb", locations=["V1"], electrodes=[[0]] * 3, units={"brain_region": ["MT", "MT", "V2"]}
    )
    assert load_neural(f"{own}?window=70,170").assembly["region"].values.tolist() == ["MT", "MT", "V2"]
    none = write_nwb(tmp_path / "d.nwb", locations=["V1"], electrodes=[[0], [], [0]])
    assert load_neural(f"{none}?window=70,170").assembly["region"].values.tolist() == ["V1", "unknown", "V1"]
    assert (
        load_neural(f"{write_nwb(tmp_path / 'e.nwb', subject=None)}?window=70,170&subject=Ann&region=IT").region == "IT"
    )


def test_files_as_the_allen_institute_writes_them(tmp_path: Path):
    shown = {"start_time": [1.0, 2.0, 3.0], "stop_time": [1.2, 2.2, 3.2], "frame": [17.0, -1.0, 17.0]}
    path = write_nwb(
        tmp_path / "a.nwb",
        trials=None,
        tables={
            "natural_scenes_presentations": {**shown, "stimulus_name": ["natural_scenes"] * 3},
            "gabors_presentations": {"start_time": [4.0], "stop_time": [4.2], "orientation": [45.0]},
        },
        locations=["VISp", "LGd"],
        units={"peak_channel_id": [1, 0, 1], "quality": ["good"] * 3},
    )
    with pytest.raises(NeuralDataError, match=r"no table trials; name .*: .*gabors_presentations \(1 rows: start"):
        load_neural(f"{path}?window=70,170")
    with pytest.raises(NeuralDataError, match=r"2 columns .* may say .*\?stimulus=COLUMN: stimulus_name, frame"):
        load_neural(f"{path}?window=70,170&trials=natural_scenes_presentations")
    found = load_neural(f"{path}?window=70,170&trials=natural_scenes_presentations&stimulus=frame").assembly
    assert found["stimulus_id"].values.tolist() == ["17.0", "-1.0", "17.0"]  # ids are what str makes of them
    assert found["frame"].values.tolist() == [17.0, -1.0, 17.0]
    assert found["region"].values.tolist() == ["LGd", "VISp", "LGd"]
    assert found.values.tolist() == COUNTS[:3]
    other = load_neural(f"{path}?window=70,170&trials=gabors_presentations&stimulus=orientation").assembly
    assert other.values.tolist() == COUNTS[3:] and other["stimulus_id"].values.tolist() == ["45.0"]


def test_another_column_of_onsets_and_rows_that_show_nothing(tmp_path: Path):
    trials = {
        **TRIALS,
        "go_cue": [1.0, np.nan, 3.0, 4.0],
        "image_name": ["x.png", "y.png", "  ", "x.png"],
        "contrast": [0.5, 1.0, 1.0, 1.0],
        "correct": [True, False, True, True],
    }
    path = write_nwb(tmp_path / "a.nwb", trials=trials, ragged={"touches": [[1.0], [], [2.0, 3.0], []]}, series=True)
    data = load_neural(f"{path}?window=70,170&align=go_cue&stimulus=image_name")
    assert data.assembly.values.tolist() == [COUNTS[0], COUNTS[3]]
    assert data.assembly["stimulus_id"].values.tolist() == ["x.png", "x.png"]
    assert data.assembly["trials_stimulus_id"].values.tolist() == ["b", "c"]
    assert data.assembly["presentation_id"].values.tolist() == [0, 3]
    assert data.assembly["contrast"].values.tolist() == [0.5, 1.0]
    assert data.assembly["correct"].values.tolist() == [True, True]
    assert "touches" not in data.assembly.coords
    assert "1 rows without go_cue left out, 1 rows without image_name left out" in data.source


def test_names_that_units_and_trials_share(tmp_path: Path):
    trials = {**TRIALS, "quality": [1, 2, 3, 4], "repetition": [9, 9, 9, 9], "neuroid": [0, 0, 0, 0]}
    path = write_nwb(tmp_path / "a.nwb", trials=trials, units={"quality": ["a", "b", "c"], "session": ["x"] * 3})
    found = load_neural(f"{path}?window=70,170").assembly
    assert found["quality"].dims == ("neuroid",) and found["trials_quality"].values.tolist() == [1, 2, 3, 4]
    assert found["repetition"].values.tolist() == [0, 0, 1, 0] and set(found["trials_repetition"].values) == {9}
    assert set(found["session"].values) == {"s1"} and set(found["unit_session"].values) == {"x"}
    assert found["trials_neuroid"].dims == ("presentation",)


def test_neuroids_named_by_a_column(tmp_path: Path):
    path = write_nwb(tmp_path / "a.nwb", units={"label": ["n1", "n2", "n3"], "shank": [1, 1, 2]})
    found = load_neural(f"{path}?window=70,170&neuroid=label").assembly
    assert found["neuroid_id"].values.tolist() == ["n1", "n2", "n3"]
    with pytest.raises(NeuralDataError, match="2 units are named '1'"):
        load_neural(f"{path}?window=70,170&neuroid=shank")


def test_written_as_netcdf_and_read_back(tmp_path: Path):
    path = write_nwb(tmp_path / "a.nwb", trials={**TRIALS, "correct": [True, False, True, True]})
    found = load_neural(f"{path}?bins=0:200:100").assembly
    again = read_assembly(write_assembly(found, tmp_path / "a.nc"))
    assert np.array_equal(again.values, found.values)
    assert again["stimulus_id"].values.tolist() == found["stimulus_id"].values.tolist()
    assert again["correct"].values.tolist() == [True, False, True, True]


def test_contents_from_headers(tmp_path: Path):
    path = write_nwb(
        tmp_path / "a.nwb",
        tables={"gabors": {"start_time": [1.0], "stop_time": [2.0], "orientation": [3.0]}},
        ragged={"touches": [[1.0], [], [2.0, 3.0], []]},
        locations=["V1"],
        electrodes=[[0]] * 3,
        invalid=[(5.0, 6.0)],
    )
    found = nwb_contents(path)
    assert found.n_units == 3 and found.regions == ("V1",) and found.animal == "m1" and found.session == "s1"
    assert found.tables == {
        "trials": (4, ("start_time", "stop_time", "stimulus_id")),
        "gabors": (1, ("start_time", "stop_time", "orientation")),
    }
    assert "3 units; regions V1; animal m1" in str(found) and "gabors: 1 rows" in str(found)
    empty = nwb_contents(write_nwb(tmp_path / "b.nwb", None, None, subject=None))
    assert empty.n_units == 0 and not empty.has_spike_times and empty.animal is None and not empty.tables


def test_definitions_that_the_file_carries(tmp_path: Path):
    path = write_nwb(tmp_path / "a.nwb", cache_spec=True, series=True)
    assert load_neural(f"{path}?window=70,170").assembly.values.tolist() == COUNTS


@pytest.mark.slow  # another process that knows the extension writes it: 3 s
def test_an_extension_that_is_not_installed(tmp_path: Path):
    script = f"""
import sys, os
sys.path.insert(0, {str(Path(__file__).parent)!r})
os.chdir({str(tmp_path)!r})
from pynwb import load_namespaces, get_class, NWBHDF5IO
from pynwb.spec import NWBNamespaceBuilder, NWBGroupSpec, NWBDatasetSpec
builder = NWBNamespaceBuilder("made up", "ndx-made-up", version="0.1.0", author="x", contact="x@y.z")
builder.include_type("LabMetaData", namespace="core")
spec = NWBGroupSpec(doc="x", neurodata_type_def="Made", neurodata_type_inc="LabMetaData",
                    datasets=[NWBDatasetSpec(name="value", doc="x", dtype="float64", shape=(None,))])
builder.add_spec("made.extensions.yaml", spec)
builder.export("made.namespace.yaml")
load_namespaces("made.namespace.yaml")
from nwb_files import write_nwb
from pathlib import Path
path = write_nwb(Path("a.nwb"))
with NWBHDF5IO(path, "r") as source, NWBHDF5IO("b.nwb", "w") as out:
    file = source.read()
    file.add_lab_meta_data(get_class("Made", "ndx-made-up")(name="made", value=[1.0, 2.0]))
    file.set_modified()
    out.export(src_io=source, nwbfile=file)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=120)
    with h5py.File(tmp_path / "b.nwb") as file:
        assert "ndx-made-up" in file["specifications"] and "made" in file["general"]
    assert load_neural(f"{tmp_path / 'b.nwb'}?window=70,170").assembly.values.tolist() == COUNTS


def test_pynwb_is_imported_when_used_and_named_when_absent(tmp_path: Path, monkeypatch):
    asked = "import sys, netphys.neural, netphys.neural.spikes, netphys.neural.files.nwb; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True, timeout=120)
    assert not {"pynwb", "hdmf", "h5py", "xarray"} & set(done.stdout.split())
    path = write_nwb(tmp_path / "a.nwb")
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(NeuralDataError, match=r"read by pynwb; pip install 'netphys\[nwb\]'"):
        load_neural(f"{path}?window=70,170")


def test_no_warning_reaches_the_user(tmp_path: Path):
    path = write_nwb(tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:  # a date without a time zone: pynwb warns of it
        del file["session_start_time"]
        file["session_start_time"] = "2020-01-01T00:00:00"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_neural(f"{path}?window=70,170")


def test_signals_without_spikes_are_named(tmp_path: Path):
    from pynwb import NWBHDF5IO, TimeSeries

    path = write_nwb(tmp_path / "a.nwb", None, series=True)
    with NWBHDF5IO(path, "r+") as opened:
        file = opened.read()
        module = file.create_processing_module(name="ophys", description="x")
        module.add(TimeSeries(name="dff", data=np.zeros((5, 2)), unit="1", rate=10.0))
        opened.write(file, cache_spec=False)
    told = r"holds no units .* pupil \(TimeSeries\), running \(TimeSeries\), ophys/dff \(TimeSeries\); only spike times"
    with pytest.raises(NeuralDataError, match=told):
        load_neural(f"{path}?window=70,170")
    assert "0 units without spike times" in str(nwb_contents(path))


def test_references_that_lead_out_of_the_file(tmp_path: Path):
    """Object references lead to what no link leads to: a column whose bytes are another file's is not read."""
    path = write_nwb(tmp_path / "a.nwb", locations=["V1"], electrodes=[[0]] * 3)
    (tmp_path / "secret.bin").write_bytes(b"secret!!")
    with h5py.File(path, "r+") as file:
        hidden = file.create_group(None)  # has no name in the file
        hidden["itself"] = hidden  # what keeps it there
        hidden.attrs.update(file["general/extracellular_ephys/electrodes"].attrs)
        file.copy("general/extracellular_ephys/electrodes/id", hidden)
        hidden.create_dataset("location", (1,), "S8", external=[(str(tmp_path / "secret.bin"), 0, 8)])
        hidden["location"].attrs.update(file["general/extracellular_ephys/electrodes/location"].attrs)
        hidden.attrs["colnames"] = ["location"]
        file["units/electrodes"].attrs["table"] = hidden.ref
        column = SimpleNamespace(name="location", data=hidden["location"])
        assert column.data[0] == b"secret!!"  # control: h5py reads it
        with pytest.raises(FileError, match="electrodes/location keeps its bytes in another file"):
            read_column(path, SimpleNamespace(name="electrodes"), column)
    with pytest.raises(FileError, match="cannot be read as NWB"):  # pynwb fails on objects without a name
        load_neural(f"{path}?window=70,170")


def test_entries_that_all_point_to_one_long_text(tmp_path: Path):
    n = 3000
    trials = {"start_time": [1.0] * n, "stop_time": [1.5] * n, "stimulus_id": ["x" * 100_000] + ["y"] * (n - 1)}
    path = write_nwb(tmp_path / "a.nwb", trials=trials)
    with h5py.File(path, "r+") as file:
        old = file["intervals/trials/stimulus_id"]
        values, attrs = old[:], dict(old.attrs)
        del file["intervals/trials/stimulus_id"]
        made = file.create_dataset("intervals/trials/stimulus_id", data=values)
        made.attrs.update(attrs)
        file.flush()
        at = made.id.get_offset()
    raw = bytearray(path.read_bytes())
    raw[at : at + 16 * n] = raw[at : at + 16] * n  # each entry says where its text is: all at the first
    path.write_bytes(raw)
    assert path.stat().st_size < 10**6
    with pytest.raises(FileError, match="trials/stimulus_id has 3000 entries of up to 100000 bytes"):
        load_neural(f"{path}?window=70,170")


@pytest.mark.slow  # 300 units, 5,000 presentations, 5 million spikes: 5 s to write, 2 s to read
def test_real_size(tmp_path: Path):
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, 2600, 16_667)) for _ in range(300)]
    onsets = np.arange(5000) * 0.5 + 1
    trials = {"start_time": onsets, "stop_time": onsets + 0.25, "stimulus_id": [f"im{at % 500}" for at in range(5000)]}
    path = write_nwb(tmp_path / "a.nwb", trains, trials)
    start = time.perf_counter()
    found = load_neural(f"{path}?window=70,170").assembly
    assert time.perf_counter() - start < 20  # 1.5 s alone on the machine where it was written
    assert found.shape == (5000, 300)
    expected = sum(((train >= 1.07) & (train < 1.17)).sum() for train in trains)
    assert found.values[0].sum() == expected
    assert abs(found.values.mean() - 16_667 / 2600 * 0.1) < 0.01  # 6.4 spikes/s in 100 ms; standard error .0007


def test_a_silent_file_of_trains_is_one_line_and_a_silent_unit_none(tmp_path: Path):
    found = load_neural(f"{write_nwb(tmp_path / 'a.nwb')}?window=70,170").assembly
    assert TRAINS[1] == [] and found.values[:, 1].tolist() == [0, 0, 0, 0]
    with pytest.raises(NeuralDataError, match="3 units and not one spike"):
        load_neural(f"{write_nwb(tmp_path / 'b.nwb', [[], [], []])}?window=70,170")
