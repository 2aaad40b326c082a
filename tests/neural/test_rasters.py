"""Packed rasters, one file a neuron: a pseudo-population whose presentations are never aligned."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from netphys.errors import NeuralDataError
from netphys.neural import load_neural, read_assembly, write_assembly
from netphys.neural.files.raster_files import describe_rasters
from netphys.neural.operations.windows import rebin, window

ONSET, N_MS = 6, 20  # column 6, counted from 1, is 0 ms: the rasters reach from -5 to 15 ms


def _cell(texts: list[str]) -> np.ndarray:
    """A row of MATLAB's cells."""
    out = np.empty((1, len(texts)), dtype=object)
    out[0, :] = texts
    return out


def _neuron(seed: int, n: int = 9) -> dict[str, Any]:
    """A raster of 3 objects at 2 places in an order of its own, labels and site."""
    draw = np.random.default_rng(seed)
    objects = [("car", "face", "hand")[at % 3] for at in draw.permutation(n)]
    places = [{"car": "upper", "face": "lower", "hand": "lower"}[each] for each in objects]
    trial = [f"t{at % 2}" for at in range(n)]
    return {
        "raster_data": draw.integers(0, 4, size=(n, N_MS)).astype(np.uint8),
        "raster_labels": {"object": _cell(objects), "place": _cell(places), "trial": _cell(trial)},
        "raster_site_info": {
            "session_ID": 1000.0 + seed,
            "unit": "ABC"[seed % 3],
            "alignment_event_time": float(ONSET),
        },
    }


@pytest.fixture
def neurons() -> dict[str, dict[str, Any]]:
    """Three neurons; the last one saw fewer presentations."""
    return {"n2": _neuron(2), "n10": _neuron(10), "n7": _neuron(7, n=7)}


@pytest.fixture
def folder(tmp_path: Path, neurons) -> Path:
    """The neurons as a folder of .mat files, with a file that is none of them beside."""
    made = tmp_path / "rasters"
    made.mkdir()
    for name, each in neurons.items():
        savemat(made / f"{name}_raster_data.mat", each, do_compression=True)
    (made / "README.txt").write_text("132 neurons")
    return made


def _by_hand(neurons: dict[str, dict[str, Any]], start: int, stop: int) -> dict[tuple[str, int, str], int]:
    """Spikes of (stimulus, repetition, neuron) in a window, counted by loops in each neuron's own order."""
    found: dict[tuple[str, int, str], int] = {}
    for name, each in neurons.items():
        seen: dict[str, int] = {}
        for row, shown in enumerate(each["raster_labels"]["object"][0]):
            count = sum(int(each["raster_data"][row, ms + ONSET - 1]) for ms in range(start, stop))
            found[shown, seen.setdefault(shown, 0), name] = count
            seen[shown] += 1
    return found


def test_counts_in_a_window_equal_those_by_hand(folder, neurons):
    data = load_neural(f"{folder}?stimulus=object&window=0,12&region=IT&subject=m")
    assembly, wanted = data.assembly, _by_hand(neurons, 0, 12)
    assert assembly.dims == ("presentation", "neuroid") and assembly.dtype == np.float64
    assert assembly["neuroid_id"].values.tolist() == ["n10", "n2", "n7"]  # in the order of the files' names
    for row, (shown, repetition) in enumerate(zip(assembly["stimulus_id"].values, assembly["repetition"].values)):
        for column, name in enumerate(assembly["neuroid_id"].values):
            held = assembly.values[row, column]
            assert held == wanted.pop((shown, repetition, name), held) or np.isnan(held)
    assert not wanted  # every presentation of every neuron has its place
    assert np.isnan(assembly.values).sum() == 2  # n7 saw 7 of 9
    assert assembly.attrs == {"pseudo_population": 1, "unit": "spikes"}
    assert (assembly["time_bin_start"].item(), assembly["time_bin_end"].item()) == (0, 12)
    assert data.region == "IT" and data.subjects == ("m",)
    assert "pseudo-population" in data.source and "by stimulus_id (object)" in data.source


def test_presentations_are_not_aligned_by_row(folder, neurons):
    """Control: taking row r of every file for one presentation gives other responses."""
    assembly = load_neural(f"{folder}?stimulus=object&window=0,12").assembly
    first = assembly.isel(presentation=(assembly["stimulus_id"].values == "car") & (assembly["repetition"].values == 0))
    where = {name: each["raster_labels"]["object"][0].tolist().index("car") for name, each in neurons.items()}
    assert len(set(where.values())) > 1  # the neurons saw their first car in different rows
    for name, row in where.items():
        spikes = neurons[name]["raster_data"][:, ONSET - 1 : ONSET + 11].sum(axis=1, dtype=int)
        at = first["neuroid_id"].values.tolist().index(name)
        assert first.values[0, at] == spikes[row]
    shown = [each["raster_labels"]["object"][0][:7] for each in neurons.values()]
    assert sum(len(set(row)) > 1 for row in zip(*shown)) > 3  # one row of the files shows different stimuli


def test_onset_is_counted_from_one(tmp_path):
    (tmp_path / "set").mkdir()
    raster = _neuron(0)
    raster["raster_data"][:] = 0
    raster["raster_data"][:, ONSET - 1] = 1  # MATLAB's column 6
    savemat(tmp_path / "set" / "n.mat", raster)
    for span, spikes in {"0,1": 1, "-1,0": 0, "1,2": 0, "-5,15": 1}.items():  # read from 0 it would be in -1,0
        assert (load_neural(f"{tmp_path / 'set'}?stimulus=object&window={span}").assembly.values == spikes).all()


def test_sums_are_not_held_in_a_byte(tmp_path):
    (tmp_path / "set").mkdir()
    raster = _neuron(0)
    raster["raster_data"][:] = 200
    savemat(tmp_path / "set" / "n.mat", raster)
    assert (load_neural(f"{tmp_path / 'set'}?stimulus=object&window=0,10").assembly.values == 2000).all()
    assert (raster["raster_data"][:, :10].sum(axis=1, dtype=np.uint8) != 2000).all()  # control


def test_bins_are_rates_and_unit_overrides(folder, neurons):
    counts = load_neural(f"{folder}?stimulus=object&bins=-5:15:5&unit=count").assembly
    rates = load_neural(f"{folder}?stimulus=object&bins=-5:15:5").assembly
    assert counts.attrs["unit"] == "spikes" and rates.attrs["unit"] == "spikes/s"
    np.testing.assert_allclose(rates.values, counts.values / 0.005)
    assert rates["time_bin_start"].values.tolist() == [-5, 0, 5, 10]
    assert rates["time_bin_end"].values.tolist() == [0, 5, 10, 15]
    one = load_neural(f"{folder}?stimulus=object&window=0,10&unit=rate").assembly
    two = load_neural(f"{folder}?stimulus=object&window=0,10").assembly
    np.testing.assert_allclose(one.values, two.values * 100)
    assert "time_bin" not in load_neural(f"{folder}?stimulus=object&bins=0:5:5").assembly.dims


def test_without_a_window_every_ms_is_a_bin_and_can_be_cut_later(folder):
    whole = load_neural(f"{folder}?stimulus=object").assembly
    assert whole.sizes == {"presentation": 9, "neuroid": 3, "time_bin": N_MS} and whole.dtype == np.float32
    cut = window(whole, 0, 12)
    there = load_neural(f"{folder}?stimulus=object&window=0,12").assembly
    np.testing.assert_array_equal(cut.values, there.values)
    np.testing.assert_allclose(
        rebin(whole, np.arange(-5, 16, 5), unit="rate").values,
        load_neural(f"{folder}?stimulus=object&bins=-5:15:5").assembly.values,
    )
    per_second = load_neural(f"{folder}?stimulus=object&unit=rate").assembly
    np.testing.assert_array_equal(per_second.values, whole.values * 1000)


def test_other_labels_are_columns_where_a_stimulus_has_one_value(folder, neurons):
    assembly = load_neural(f"{folder}?stimulus=object&window=0,5").assembly
    place = {"car": "upper", "face": "lower", "hand": "lower"}
    assert assembly["place"].dims == ("presentation",)
    assert [place[each] for each in assembly["stimulus_id"].values] == assembly["place"].values.tolist()
    assert "trial" not in assembly.coords  # it differs between presentations of one object
    assert assembly["session"].values.tolist() == ["1010", "1002", "1007"]
    assert assembly["session_ID"].values.tolist() == [1010, 1002, 1007]
    assert assembly["unit"].values.tolist() == ["B", "C", "B"]
    assert "alignment_event_time" not in assembly.coords
    by_place = load_neural(f"{folder}?stimulus=place&window=0,5").assembly
    assert set(by_place["stimulus_id"].values) == {"upper", "lower"} and "object" not in by_place.coords


def test_without_a_session_of_its_own_each_file_is_one(folder, neurons):
    for name, each in neurons.items():
        del each["raster_site_info"]["session_ID"]
        savemat(folder / f"{name}_raster_data.mat", each)
    assert load_neural(f"{folder}?stimulus=object&window=0,5").assembly["session"].values.tolist() == [
        "n10",
        "n2",
        "n7",
    ]


def test_every_kind_of_file_and_an_archive_say_the_same(tmp_path, folder, neurons, save_73):
    wanted = load_neural(f"{folder}?stimulus=object&bins=-5:15:5")
    v73, npz, records = tmp_path / "v73", tmp_path / "npz", tmp_path / "records"
    for made in (v73, npz, records):
        made.mkdir()
    for name, each in neurons.items():
        texts = {key: np.array(cell[0].tolist()) for key, cell in each["raster_labels"].items()}
        site = each["raster_site_info"]
        save_73(v73 / f"{name}_raster_data.mat", each)
        flat = {f"raster_labels.{key}": value for key, value in texts.items()}
        flat |= {f"raster_site_info/{key}": np.array(value) for key, value in site.items()}
        np.savez(npz / f"{name}.npz", raster_data=each["raster_data"], **flat)
        labels = np.empty(len(texts["object"]), dtype=[(key, value.dtype) for key, value in texts.items()])
        for key, value in texts.items():
            labels[key] = value
        facts = np.array(
            [tuple(site.values())], dtype=[("session_ID", "f8"), ("unit", "U1"), ("alignment_event_time", "f8")]
        )
        np.savez(records / f"{name}.npz", raster_data=each["raster_data"], raster_labels=labels, raster_site_info=facts)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", "three neurons")
        archive.writestr("__MACOSX/._n2_raster_data.mat", b"not a raster")
        for file in folder.glob("*.mat"):
            archive.write(file, f"IT/monkey one/{file.name}")
    for made in (v73, npz, records, tmp_path / "set.zip"):
        found = load_neural(f"{made}?stimulus=object&bins=-5:15:5")
        assert found.digest == wanted.digest, made
    assert list((tmp_path).glob("netphys-*")) == []


def test_names_that_occur_in_two_folders_keep_their_folders(tmp_path, neurons):
    for animal in ("a", "b"):
        (tmp_path / "set" / animal).mkdir(parents=True)
        savemat(tmp_path / "set" / animal / "n1_raster_data.mat", neurons["n2"])
    assembly = load_neural(f"{tmp_path / 'set'}?stimulus=object&window=0,5").assembly
    assert assembly["neuroid_id"].values.tolist() == ["a/n1", "b/n1"]
    np.testing.assert_array_equal(assembly.values[:, 0], assembly.values[:, 1])


def test_onset_by_another_field_or_by_a_column(folder, neurons):
    for name, each in neurons.items():
        each["raster_site_info"]["saccade"] = ONSET + 3.0
        savemat(folder / f"{name}_raster_data.mat", each)
    wanted = load_neural(f"{folder}?stimulus=object&window=3,8").assembly.values
    for align in ("saccade", "9", "9.0"):
        found = load_neural(f"{folder}?stimulus=object&window=0,5&align={align}").assembly
        np.testing.assert_array_equal(found.values, wanted)
    assert not np.array_equal(
        load_neural(f"{folder}?stimulus=object&window=0,5").assembly.values, wanted, equal_nan=True
    )


def test_onsets_that_differ_between_files_are_undone(folder, neurons):
    """A raster cut two columns later says so, and its spikes stay where they were."""
    wanted = load_neural(f"{folder}?stimulus=object&window=0,12").assembly.values
    later = neurons["n2"]
    later["raster_data"] = later["raster_data"][:, 2:]
    later["raster_site_info"]["alignment_event_time"] = ONSET - 2.0
    savemat(folder / "n2_raster_data.mat", later)
    np.testing.assert_array_equal(load_neural(f"{folder}?stimulus=object&window=0,12").assembly.values, wanted)
    with pytest.raises(NeuralDataError, match=r"n2_raster_data.mat reaches from -3 to 15 ms .* say window= or bins="):
        load_neural(f"{folder}?stimulus=object")


def test_what_are_no_counts_is_averaged(tmp_path):
    (tmp_path / "set").mkdir()
    raster = _neuron(0)
    raster["raster_data"] = np.random.default_rng(0).normal(size=(9, N_MS))
    raster["raster_labels"] = {"object": raster["raster_labels"]["object"]}
    savemat(tmp_path / "set" / "n.mat", raster)
    data = load_neural(f"{tmp_path / 'set'}?window=0,10")  # one label: it is the stimulus
    assert "unit" not in data.assembly.attrs and "(object)" in data.source
    means = raster["raster_data"][:, ONSET - 1 : ONSET + 9].mean(axis=1)
    assert sorted(data.assembly.values[:, 0]) == pytest.approx(sorted(means))
    rates = load_neural(f"{tmp_path / 'set'}?window=0,10&values=rate").assembly
    np.testing.assert_array_equal(rates.values, data.assembly.values)
    assert rates.attrs["unit"] == "spikes/s"
    with pytest.raises(NeuralDataError, match=r"n\.mat holds other numbers than counts; leave unit=count out"):
        load_neural(f"{tmp_path / 'set'}?window=0,10&unit=count")


def test_conditions_choose_and_the_assembly_is_written_back(tmp_path, folder):
    data = load_neural(f"{folder}?stimulus=object&window=0,5&session=1002&where=place == 'lower'")
    assert data.assembly["neuroid_id"].values.tolist() == ["n2"] and set(data.stimulus_ids) == {"face", "hand"}
    back = read_assembly(write_assembly(data.assembly, tmp_path / "back.nc"))
    np.testing.assert_array_equal(back.values, data.assembly.values)
    assert back.attrs["pseudo_population"] == 1 and back["unit"].values.tolist() == ["C"]
    ids = list(load_neural(f"{folder}?stimulus=object&window=0,5").stimulus_ids)
    assert load_neural(f"{folder}?stimulus=object&window=0,5", ids=ids).digest
    with pytest.raises(NeuralDataError, match=r"carries its own stimulus ids"):
        load_neural(f"{folder}?stimulus=object&window=0,5", ids=ids[::-1])


def test_rasters_are_not_all_kept_when_a_window_is_asked(tmp_path):
    (tmp_path / "set").mkdir()
    raster = _neuron(0, n=30)
    raster["raster_data"] = np.zeros((30, 20000), dtype=np.uint8)
    raster["raster_data"][:, 100] = 1
    for at in range(12):
        savemat(tmp_path / "set" / f"n{at}.mat", raster)
    tracemalloc.start()
    counts = load_neural(f"{tmp_path / 'set'}?stimulus=object&window=0,200").assembly
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (counts.values == 1).all() and counts.shape == (30, 12)
    assert peak < 4e6, peak  # a raster of 0.6 MB as it is read, compared and cut; all 12 would be 7.2 MB


def test_what_a_folder_holds_is_told_from_its_first_file(folder):
    told = describe_rasters(folder)
    assert told["kind"] == "rasters" and told["n_neurons"] == 3
    assert told["variables"]["raster_data"] == [9, N_MS] and told["variables"]["raster_labels.place"] == [9]
    assert told["labels"] == {"object": 3, "place": 2, "trial": 2}
