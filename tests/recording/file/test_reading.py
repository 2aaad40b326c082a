"""Recording: each axis named, selections that copy nothing, features computed elsewhere."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import FileError, LayerNotFound, MatchError, RecordingError
from netphys.recording import Recording, load_recording

IDS = [f"s{index}" for index in range(12)]


@pytest.fixture(scope="module", params=["file", "memory", "arrays"])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One recording of layers (12, 20, 6, 6) and (12, 20), wherever it lies."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 20, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pixels = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
    shown = netphys.StimulusSet.from_arrays(pixels, ids=IDS)
    memory = netphys.record(net, shown, layers=["0", "2"])
    if request.param == "memory":
        return memory
    if request.param == "arrays":
        return Recording.from_arrays({layer: memory.array(layer) for layer in memory.layers}, IDS, name="mine")
    path = tmp_path_factory.mktemp("reading") / "rec.h5"
    netphys.record(net, shown, layers=["0", "2"], into=path)
    _rechunk(path)
    return load_recording(path)


def _rechunk(path: Path) -> None:
    """Give the maps chunks of 5 stimuli x 3 units, so that small arrays are cut as large ones are."""
    with h5py.File(path, "r+") as file:
        group = file["layers"]["0"]
        values, labels = group["activation"][:], [dim.label for dim in group["activation"].dims]
        del group["activation"]
        data = group.create_dataset("activation", data=values, chunks=(5, 3, 6, 6))
        for axis, label in enumerate(labels):
            data.dims[axis].attach_scale(group[label])
            data.dims[axis].label = label
        data.attrs["coordinates"] = "stimulus_id"


def test_what_is_in_it(recording: Recording) -> None:
    assert recording.layers == ("0", "2") and len(recording) == 12 and recording.stimulus_ids == tuple(IDS)
    assert recording.shape("0") == (12, 20, 6, 6) and recording.dims("0") == ("stimulus", "unit", "y", "x")
    assert recording.shape("2") == (12, 20) and recording.dims("2") == ("stimulus", "unit")
    assert "2 layers x 12 stimuli" in repr(recording)
    assert np.allclose(recording.array("0").mean((2, 3)), recording.array("2"), atol=1e-6)  # sums in another order


def test_labelled_arrays_carry_their_stimuli(recording: Recording) -> None:
    labelled = recording["0"]
    assert labelled.dims == ("stimulus", "unit", "y", "x") and labelled["stimulus_id"].values.tolist() == IDS
    assert np.array_equal(labelled.values, recording.array("0"))


@pytest.mark.parametrize("units", [None, [3], [19, 0, 7, 7, 3], list(range(19, -1, -1)), []])
@pytest.mark.parametrize("stimuli", [None, ["s7"], ["s11", "s0", "s5"]])
def test_selections_are_what_numpy_gives(recording: Recording, units: Any, stimuli: Any) -> None:
    chosen = recording.select(stimuli=stimuli, units=units)
    for layer in recording.layers:
        expected = recording.array(layer)
        if stimuli is not None:
            expected = expected[[IDS.index(each) for each in stimuli]]
        if units is not None:
            expected = expected[:, units]
        assert chosen.shape(layer) == expected.shape and np.array_equal(chosen.array(layer), expected)
        labelled = chosen[layer]
        assert np.array_equal(labelled.values, expected)
        assert labelled["stimulus_id"].values.tolist() == (stimuli or IDS) == list(chosen.stimulus_ids)


@pytest.mark.parametrize("max_bytes", [1, 500, 3000, 10_000, 1 << 30])
@pytest.mark.parametrize("units", [None, [19, 0, 7, 7, 3]])
def test_blocks_of_units_make_the_whole(recording: Recording, max_bytes: int, units: Any) -> None:
    chosen = recording.select(units=units, stimuli=["s3", "s1"]) if units else recording
    for layer in recording.layers:
        blocks = list(chosen.unit_blocks(layer, max_bytes))
        whole = chosen.array(layer)
        assert np.array_equal(np.concatenate(blocks, axis=1), whole.reshape(len(whole), -1))
        assert all(block.ndim == 2 for block in blocks)
        if max_bytes < 1 << 30 and layer == "0":  # at least one column of chunks: three units
            assert max(block.nbytes for block in blocks) <= max(max_bytes, 3 * 12 * 36 * 4) < whole.nbytes or units


def test_selections_of_selections(recording: Recording) -> None:
    once = recording.select(stimuli=["s9", "s4", "s2"], units=[5, 1, 9])
    twice = once.select(stimuli=["s2", "s9"], units=[2, 0], layers="0")
    assert twice.layers == ("0",) and twice.stimulus_ids == ("s2", "s9")
    assert np.array_equal(twice.array("0"), recording.array("0")[[2, 9]][:, [9, 5]])
    assert np.array_equal(twice["0"].values, twice.array("0"))


def test_what_is_not_there_is_named(recording: Recording) -> None:
    with pytest.raises(MatchError, match="1 of 2 stimuli of the selection are not among the 12 of recording .*'s99'"):
        recording.select(stimuli=["s1", "s99"])
    with pytest.raises(MatchError, match="occur more than once: 's1'"):
        recording.select(stimuli=["s1", "s1"])
    with pytest.raises(LayerNotFound, match="no layer '7'"):
        recording.select(layers=["0", "7"])
    with pytest.raises(LayerNotFound, match="no layer '7'"):
        recording["7"]
    with pytest.raises(LayerNotFound, match=r"'\*' is a pattern, first match '0'; recording.select\(layers=...\)"):
        recording.array("*")
    for units, said in (([20], "not 20"), ([-1, 3], "not -1"), ([0, 21, 3], "not 21")):
        with pytest.raises(RecordingError, match=f"layer '0' has units 0 to 19, {said}"):
            recording.select(units=units)
    for odd in (np.ones(20, bool), [0.5], ["a"]):
        with pytest.raises(RecordingError, match="units are selected by number, not by"):
            recording.select(units=odd)
    with pytest.raises(RecordingError, match="layer '0' has units 0 to 1, not 2"):
        recording.select(units=[3, 4]).select(units=[2])


def test_features_computed_elsewhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps, dense = rng.normal(size=(4, 3, 2, 2)), rng.normal(size=(4, 5)).astype("f4")
    mine = Recording.from_arrays(
        {"maps": maps, "dense": dense}, ["a", "b", "c", "d"], name="mine", training="pretrained"
    )
    assert mine.layers == ("maps", "dense") and mine.dims("maps") == ("stimulus", "unit", "y", "x")
    assert mine.training == "pretrained" and np.array_equal(mine.array("maps"), maps)
    np.save(tmp_path / "fc7.npy", dense)
    np.savez(tmp_path / "both.npz", maps=maps, dense=dense)
    for path, layers in ((tmp_path / "fc7.npy", ("fc7",)), (tmp_path / "both.npz", ("maps", "dense"))):
        loaded = load_recording(path, stimulus_ids=["a", "b", "c", "d"])
        assert loaded.layers == layers and np.array_equal(loaded.array(layers[-1]), dense)
        with pytest.raises(RecordingError, match=r"names no stimuli; .* \(--ids FILE:COLUMN\)"):
            load_recording(path)
        with pytest.raises(RecordingError, match="3 stimuli need"):
            load_recording(path, stimulus_ids=["a", "b", "c"])
    with pytest.raises(RecordingError, match=r"layer 'x' is \(4,\); 4 stimuli need \(4, unit\)"):
        Recording.from_arrays({"x": np.zeros(4)}, ["a", "b", "c", "d"])
    with pytest.raises(MatchError, match="occur more than once"):
        Recording.from_arrays({"x": dense}, ["a", "b", "c", "a"])
    with pytest.raises(RecordingError, match="no recording at"):
        load_recording(tmp_path / "absent.npy", stimulus_ids=["a"])


class _Mine:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_pickles_in_numpy_files_are_never_opened(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    odd = np.array([_Mine(trap)] * 2, dtype=object)
    np.save(tmp_path / "a.npy", odd, allow_pickle=True)
    np.savez(tmp_path / "a.npz", layer=odd)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(_Mine(trap)))
    for path in sorted(tmp_path.glob("*.np?")):
        with pytest.raises(FileError, match="pickled Python objects|no .npy array") as caught:
            load_recording(path, stimulus_ids=["a", "b"])
        assert "\n" not in str(caught.value)
    assert not trap.exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert trap.exists()  # control: the trap works


def test_damaged_numpy_files_are_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "whole.npy", np.zeros((2, 300)))
    np.savez_compressed(tmp_path / "whole.npz", layer=np.random.default_rng(0).normal(size=(2, 300)))
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "text.npz").write_bytes(b"text")
    for name in ("whole.npy", "whole.npz"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(data[: len(data) // 2])
    flipped = bytearray((tmp_path / "whole.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "whole.npz") as file:
        start = file.infolist()[0].header_offset
    flipped[start + 400 : start + 440] = bytes(40)
    (tmp_path / "flipped.npz").write_bytes(flipped)
    for name in ("empty.npy", "text.npz", "cut-whole.npy", "cut-whole.npz", "flipped.npz"):
        with pytest.raises(FileError, match=name) as caught:
            load_recording(tmp_path / name, stimulus_ids=["a", "b"])
        assert "\n" not in str(caught.value)


def test_a_replaced_file_is_never_shown_under_the_old_ones_name(tmp_path: Path) -> None:
    net, path = nn.Sequential(nn.Conv2d(3, 2, 1)), tmp_path / "rec.h5"
    one, two = (netphys.StimulusSet.from_arrays(np.full((2, 3, 4, 4), value, np.uint8)) for value in (10, 200))
    old = netphys.record(net, one, layers="0", into=path)
    labelled, values = old["0"], old.array("0")
    new = netphys.record(net, two, layers="0", into=path, force=True)
    assert not np.array_equal(new["0"].values, values)
    for read in (lambda: old.array("0"), lambda: labelled.values):
        with pytest.raises(RecordingError, match="is another recording than the one that was opened; open it again"):
            read()
    path.unlink()
    with pytest.raises(RecordingError, match="rec.h5 is not there any more"):
        new.array("0")


def test_units_of_several_layers(recording: Recording) -> None:
    first, *_, last = recording.layers
    chosen = recording.select(units={first: [2, 0], last: [1]})
    assert chosen.shape(first)[1] == 2 and chosen.shape(last)[1] == 1
    assert np.array_equal(chosen.array(first), recording.array(first)[:, [2, 0]])
    again = chosen.select(units={first: [1]})
    assert np.array_equal(again.array(first), recording.array(first)[:, [0]]) and again.shape(last)[1] == 1
    assert again[first]["unit"].values.tolist() == [0] and chosen[first]["unit"].values.tolist() == [2, 0]
    with pytest.raises(LayerNotFound, match="no layer 'nowhere'"):
        recording.select(units={"nowhere": [0]})
    with pytest.raises(RecordingError, match=f"layer {first!r} has units 0 to 1, not 2"):
        chosen.select(units={first: [2]})


def test_parts_of_a_labelled_array_are_what_numpy_gives(recording: Recording) -> None:
    """Whatever xarray asks for: numbers, slices, steps, lists, backwards, of each axis by itself."""
    rng = np.random.default_rng(0)
    layer = "0"
    whole, labelled = recording.array(layer), recording[layer]
    assert whole.ndim == 4
    for _ in range(60):
        keys, expected = {}, whole
        for axis, (dim, n) in reversed(list(enumerate(zip(labelled.dims, whole.shape)))):
            key = [
                slice(None), int(rng.integers(-n, n)), slice(int(rng.integers(0, n)), None), slice(None, None, -2),
                rng.integers(0, n, 3), slice(2, 2),
            ][rng.integers(6)]  # fmt: skip
            keys[dim] = key
            expected = expected[(*(slice(None),) * axis, key)]
        assert np.array_equal(labelled.isel(keys).values, expected)
    assert np.array_equal(pickle.loads(pickle.dumps(labelled)).values, whole)
    assert np.array_equal(labelled.sel(unit=3).values, whole[:, 3])


def test_tensors_and_data_sets_of_torch(recording: Recording) -> None:
    from torch.utils.data import DataLoader

    layer = recording.layers[0]
    whole = recording.array(layer)
    tensor = recording.tensor(layer)
    assert np.array_equal(tensor.numpy(), whole)
    tensor.zero_()
    assert recording.array(layer).any()  # memory of its own
    shown = recording.select(stimuli=["s7", "s0", "s3"], units=[4, 1]).dataset(layer)
    assert len(shown) == 3
    activation, stimulus = shown[-1]
    assert stimulus == "s3" and np.array_equal(activation.numpy(), whole[3][[4, 1]])
    for n_workers in (0, 1):
        (batch,) = DataLoader(shown, batch_size=3, num_workers=n_workers)
        assert list(batch[1]) == ["s7", "s0", "s3"] and np.array_equal(batch[0].numpy(), whole[[7, 0, 3]][:, [4, 1]])
    assert recording.dataset(layer, "stimulus_id")[2][1] == "s2"
    with pytest.raises(RecordingError, match=r"have no column 'stimulus'; near: 'stimulus_id'"):
        recording.dataset(layer, "stimulus")
    with pytest.raises(IndexError):
        shown[3]


def test_several_threads_read_from_one_recording(recording: Recording) -> None:
    from concurrent.futures import ThreadPoolExecutor

    whole = {layer: recording.array(layer) for layer in recording.layers}

    def read(row: int) -> bool:
        layer = recording.layers[row % len(recording.layers)]
        return np.array_equal(recording.read(layer, np.array([row])), whole[layer][[row]])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, list(range(len(recording))) * 5))


def test_it_shows_itself(recording: Recording) -> None:
    with recording as same:
        assert same is recording
    shown = recording._repr_html_()
    assert "12 stimuli" in shown and shown.count("<tr>") == 1 + len(recording.layers)
    entry = recording.entry(recording.layers[0])
    odd = Recording.from_arrays({"<b>": np.zeros((1, 2))}, ["a"], name="<script>")
    assert "<b>" not in odd._repr_html_() and "<script>" not in odd._repr_html_()
    assert recording.measured(entry.name) == {}
