"""rsatoolbox's Dataset and TemporalDataset: what it saves comes back, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from rsatoolbox.data import Dataset, TemporalDataset
from rsatoolbox.data.dataset import load_dataset
from rsatoolbox.io.hdf5 import write_dict_hdf5

from netphys.errors import NetphysError, NeuralDataError
from netphys.neural import average_repetitions, load_neural
from netphys.neural.files.hdf5 import read_descriptors
from netphys.neural.files.saved_datasets import is_saved_dataset


@pytest.fixture
def parts() -> dict[str, Any]:
    """A data set of 6 observations and 3 channels."""
    return {
        "measurements": np.random.default_rng(0).normal(size=(6, 3)),
        "descriptors": {"subject": "m1", "session": 2, "notes": None},
        "obs_descriptors": {"stimulus_id": ["b", "a", "10", "b", "a", "2"], "run": np.arange(6) // 3, "empty": None},
        "channel_descriptors": {"names": ["n2", "n1", "n10"], "roi": ["V4", "IT", "IT"], "depth": [0.1, 0.2, 0.3]},
    }


def _saved(path: Path, parts: dict[str, Any]) -> Path:
    """Save as rsatoolbox does; None is written as it is there, though a Dataset refuses it among observations."""
    kind = TemporalDataset if "time_descriptors" in parts else Dataset
    table = {key: value for key, value in parts["obs_descriptors"].items() if value is not None}
    made = kind(**{**parts, "obs_descriptors": table})
    write_dict_hdf5(str(path), {**made.to_dict(), "obs_descriptors": parts["obs_descriptors"]})
    return path


def test_a_dataset_comes_back(tmp_path: Path, parts):
    path = _saved(tmp_path / "d.h5", parts)
    data = load_neural(path)
    assembly = data.assembly
    np.testing.assert_array_equal(assembly.values, parts["measurements"])
    assert assembly.dims == ("presentation", "neuroid") and assembly.dtype == np.float64
    assert assembly["stimulus_id"].values.tolist() == parts["obs_descriptors"]["stimulus_id"]
    assert data.stimulus_ids == ("b", "a", "10", "2") and data.source.endswith("Dataset of rsatoolbox, by stimulus_id")
    assert assembly["repetition"].values.tolist() == [0, 0, 0, 1, 1, 0]
    assert assembly["run"].values.tolist() == [0, 0, 0, 1, 1, 1] and "empty" not in assembly.coords
    assert assembly["neuroid_id"].values.tolist() == ["n2", "n1", "n10"]
    assert assembly["region"].values.tolist() == ["V4", "IT", "IT"] and assembly["depth"].values.tolist() == [
        0.1,
        0.2,
        0.3,
    ]
    assert data.subjects == ("m1",) and data.region == "V4+IT"
    assert assembly.attrs == {"subject": "m1", "session": 2} and set(assembly["session"].values) == {"2"}
    chosen = load_neural(f"{path}?region=IT&where=run == 1&repetition=run")
    np.testing.assert_array_equal(chosen.assembly.values, parts["measurements"][3:, 1:])
    assert chosen.assembly["repetition"].values.tolist() == [1, 1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_random_sets_agree_with_rsatoolbox(tmp_path: Path, seed: int):
    """Round trip against its own reader: numbers, order, names."""
    rng = np.random.default_rng(seed)
    n, p = rng.integers(12, 40), rng.integers(2, 9)
    conds = [f"c{each}" for each in rng.integers(0, 7, size=n)]
    theirs = Dataset(
        rng.normal(size=(n, p)).astype(rng.choice(["f4", "f8"])),
        obs_descriptors={"conds": conds, "run": rng.integers(0, 3, size=n).tolist()},
        channel_descriptors={"voxel": rng.permutation(p)},
        descriptors={"subject": f"s{seed}"},
    )
    theirs.save(str(tmp_path / "d.hdf5"), file_type="hdf5")
    mine = load_neural(tmp_path / "d.hdf5").assembly
    again = load_dataset(str(tmp_path / "d.hdf5"), file_type="hdf5")
    np.testing.assert_array_equal(mine.values, again.measurements)
    assert mine.dtype == theirs.measurements.dtype
    assert mine["stimulus_id"].values.tolist() == again.obs_descriptors["conds"].tolist() == conds
    assert mine["run"].values.tolist() == again.obs_descriptors["run"].tolist()
    assert mine["voxel"].values.tolist() == again.channel_descriptors["voxel"].tolist()
    ids, means = average_repetitions(mine)
    for each, mean in zip(ids, means):  # means of a condition, by their subset
        there = again.subset_obs("conds", each).measurements.astype(np.float64)
        np.testing.assert_allclose(mean, there.mean(axis=0), rtol=1e-12)  # sums in another order


def test_twelve_entries_that_are_keyed_by_position_come_back_in_order(tmp_path: Path, parts):
    """A ragged list is a group with the keys "0", "1", "10", "11", "2", ...; control: that order is another."""
    entries = [np.arange(at + 1) for at in range(12)]
    with h5py.File(tmp_path / "ragged.h5", "w") as file:
        group = file.create_group("table/ragged")
        for at, each in enumerate(entries):
            group[str(at)] = each  # as rsatoolbox's _write_list does
        file["table"].create_group("words")
        for at in range(12):
            file[f"table/words/{at}"] = f"w{at}"
        read = read_descriptors(file["table"])
        assert list(group) == sorted(map(str, range(12))) != list(map(str, range(12)))
    assert [len(np.atleast_1d(each)) for each in read["ragged"]] == list(range(1, 13))
    assert read["words"] == [f"w{at}" for at in range(12)]
    assert [int(key) for key in sorted(map(str, range(12)))] != list(range(12))  # read by name, entry 2 would be 10


def test_ids_that_are_keyed_by_position_name_their_own_rows(tmp_path: Path):
    path = tmp_path / "d.h5"
    Dataset(np.arange(24.0).reshape(12, 2)).save(str(path), file_type="hdf5")
    with h5py.File(path, "a") as file:
        for at in range(12):
            file[f"obs_descriptors/stimulus_id/{at}"] = f"s{at}"
    assembly = load_neural(path).assembly
    assert assembly["stimulus_id"].values.tolist() == [f"s{at}" for at in range(12)]
    assert assembly.values[10, 0] == 20 and assembly["stimulus_id"].values[10] == "s10"


def test_a_temporal_dataset_has_bins(tmp_path: Path, parts):
    values = np.random.default_rng(1).normal(size=(6, 3, 4))
    path = _saved(tmp_path / "t.h5", {**parts, "measurements": values, "time_descriptors": {"time": [-10, 0, 10, 20]}})
    assembly = load_neural(path).assembly
    np.testing.assert_array_equal(assembly.values, values)
    assert assembly.dims == ("presentation", "neuroid", "time_bin")
    assert assembly["time_bin_start"].values.tolist() == [-10, 0, 10, 20]
    assert assembly["time_bin_end"].values.tolist() == [0, 10, 20, 30]
    said = load_neural(f"{path}?time=0:400:100&window=100,300&values=rate").assembly
    np.testing.assert_allclose(said.values, values[..., 1:3].mean(axis=2))
    assert (said["time_bin_start"].item(), said["time_bin_end"].item()) == (100, 300)
    theirs = load_dataset(str(path), file_type="hdf5")
    np.testing.assert_array_equal(theirs.measurements, assembly.values)
    theirs.bin_time("time", [np.array([-10, 0]), np.array([10, 20])]).save(
        str(tmp_path / "binned.h5"), file_type="hdf5"
    )
    with pytest.raises(NeuralDataError, match=r"the times are means of bins.*say time=START:STOP:WIDTH"):
        load_neural(tmp_path / "binned.h5")
    binned = load_neural(f"{tmp_path / 'binned.h5'}?time=-10:30:20").assembly
    assert binned["time_bin_start"].values.tolist() == [-10, 10]
    np.testing.assert_allclose(binned.values[..., 0], values[..., :2].mean(axis=2))


def test_times_in_seconds_are_asked_about(tmp_path: Path, parts):
    values = np.zeros((6, 3, 4))
    path = _saved(
        tmp_path / "t.h5", {**parts, "measurements": values, "time_descriptors": {"time": [0, 0.01, 0.02, 0.03]}}
    )
    with pytest.raises(NeuralDataError, match=r"these may be seconds; say time=START:STOP:WIDTH in ms"):
        load_neural(path)
    assert load_neural(f"{path}?time=0:40:10").assembly.sizes["time_bin"] == 4


def test_which_descriptor_is_the_stimulus(tmp_path: Path, parts):
    table = parts["obs_descriptors"]
    table["picture"] = table.pop("stimulus_id")
    path = _saved(tmp_path / "one.h5", parts)
    with pytest.raises(
        NeuralDataError, match=r"is the stimulus by \?stimulus=NAME: picture \(4 values\), run \(2 values\)"
    ):
        load_neural(path)
    assert load_neural(f"{path}?stimulus=picture").stimulus_ids == ("b", "a", "10", "2")
    table["stim"], table["conds"] = table.pop("picture"), list("abcabc")
    path = _saved(tmp_path / "two.h5", parts)
    with pytest.raises(NeuralDataError, match=r"is the stimulus by \?stimulus=NAME"):
        load_neural(path)  # two that may be
    del table["conds"]
    assert load_neural(_saved(tmp_path / "three.h5", parts)).stimulus_ids == ("b", "a", "10", "2")
    table.clear()
    path = _saved(tmp_path / "bare.h5", parts)
    with pytest.raises(NeuralDataError, match=r"it has none: name the list that they follow, --ids FILE:COLUMN"):
        load_neural(path)
    listed = load_neural(path, ids=list("aabbcd"))
    assert listed.stimulus_ids == tuple("abcd") and "by order" in listed.source


def test_a_group_of_a_file_may_be_one(tmp_path: Path, parts):
    first = _saved(tmp_path / "d.h5", parts)
    with h5py.File(tmp_path / "all.h5", "w") as file, h5py.File(first) as one:
        for name in ("monkey/day1", "monkey/day2"):
            one.copy(one["/"], file, name)
        file["monkey/day2/measurements"][...] *= 2
        file["rates"] = np.zeros((2, 2))
    assert is_saved_dataset(first) and is_saved_dataset(first, "/") and not is_saved_dataset(tmp_path / "all.h5")
    assert is_saved_dataset(tmp_path / "all.h5", "/monkey/day1/")
    for not_one in ("monkey", "rates", "monkey/day1/descriptors"):
        assert not is_saved_dataset(tmp_path / "all.h5", not_one)
    data = load_neural(f"{tmp_path / 'all.h5'}?group=monkey/day2")
    np.testing.assert_array_equal(data.assembly.values, parts["measurements"] * 2)
    with pytest.raises(NeuralDataError, match=r"has no group 'monkeys'; near: 'monkey'"):
        load_neural(f"{tmp_path / 'all.h5'}?group=monkeys")
    assert not is_saved_dataset(Path(__file__))


def test_changed_bytes_load_or_are_one_line(tmp_path: Path, parts):
    path = _saved(tmp_path / "d.h5", parts)
    good, rng, refused = path.read_bytes(), np.random.default_rng(3), 0
    for _ in range(100):
        changed = bytearray(good)
        for at in rng.integers(len(good), size=rng.integers(1, 9)):
            changed[at] = rng.integers(256)
        path.write_bytes(bytes(changed))
        try:
            load_neural(path)
        except NetphysError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert refused > 10  # control: many of the changes are seen
