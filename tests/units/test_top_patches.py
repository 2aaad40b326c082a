"""Top patches: a search through stored activations finds the same, ties included, whatever the batches."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import FileError, LayerNotFound, OptionError, RecordingError
from netphys.recording import Sink
from netphys.recording.file import shards
from netphys.units import TopPatches, TopPatchesResult, load_top_patches, top_patches

DUPLICATED = 60  # stimuli, every one of 20 shown three times


def stimuli(seed: int = 0, *, side: int = 12) -> netphys.StimulusSet:
    """Images of few grey levels, each shown three times, in a shuffled order: ties between and within images."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 3, (DUPLICATED // 3, 3, side, side), dtype=np.uint8) * 100
    order = rng.permutation(np.repeat(np.arange(len(images)), 3))
    return netphys.StimulusSet.from_arrays(images[order])


def net(seed: int = 0) -> nn.Sequential:
    """A small network whose maps have many equal values, also negative ones only; in-place rectifiers."""
    torch.manual_seed(seed)
    steps = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(2, 1), nn.Conv2d(6, 5, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(45, 7),
    )  # fmt: skip
    with torch.no_grad():
        for each in steps:
            if hasattr(each, "weight"):
                each.weight.copy_((each.weight * 8).round() / 8)
        steps[0].bias[0] = -50.0  # a dead unit
        steps[3].weight[2] = 0.0  # a unit whose activations are all the same
        steps[3].bias[2] = 0.5
    return steps.eval()


def brute_force(activation: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Search stored activations (stimulus, unit, ...): by value, then stimulus, then position in row order."""
    flat = activation.reshape(*activation.shape[:2], -1)
    peaks, places = flat.max(2), flat.argmax(2)  # numpy's argmax is the first
    order = np.lexsort((np.broadcast_to(np.arange(len(flat))[:, None], peaks.shape), -peaks), axis=0)[:k]
    return (np.take_along_axis(each, order, 0).T for each in (peaks, order_of(order), places))  # type: ignore[return-value]


def order_of(order: np.ndarray) -> np.ndarray:
    """Numbers of stimuli, so that taking along `order` returns `order` itself."""
    n = order.max() + 1
    return np.broadcast_to(np.arange(n)[:, None], (n, order.shape[1]))


def same(a: TopPatchesResult, b: TopPatchesResult) -> bool:
    """Compare two tables bit for bit."""
    return list(a.layers) == list(b.layers) and all(
        np.array_equal(getattr(a[name], kind), getattr(b[name], kind), equal_nan=kind == "value")
        for name in a.layers
        for kind in ("value", "stimulus", "position")
    )


def assert_equals_brute_force(result: TopPatchesResult, arrays: dict[str, np.ndarray]) -> None:
    for name, activation in arrays.items():
        layer = result[name]
        value, stimulus, place = brute_force(activation, result.k)
        assert np.array_equal(layer.value, value) and np.array_equal(layer.stimulus, stimulus), name
        if activation.ndim > 2:
            found = np.ravel_multi_index(np.moveaxis(layer.position, -1, 0), activation.shape[2:])
            assert np.array_equal(found, place), name
        assert np.array_equal(layer.dead, activation.reshape(len(activation), activation.shape[1], -1).max((0, 2)) <= 0)


@pytest.mark.parametrize(("seed", "batch_size", "k"), [(0, 32, 9), (1, 7, 9), (2, 1, 4), (3, 60, 60), (4, 13, 1)])
def test_a_search_through_the_recording_finds_the_same(seed: int, batch_size: int, k: int) -> None:
    shown, sink = stimuli(seed), TopPatches(k)
    assert isinstance(sink, Sink)
    recording = netphys.record(net(seed), shown, layers="leaves", batch_size=batch_size, sinks=[sink])
    result = sink.close()
    assert_equals_brute_force(result, {name: recording.array(name) for name in recording.layers})
    dead = result["1"]
    assert dead.dead[0] and not dead.dead.all() and result["0"].dead[0]


def test_one_tensor_that_several_layers_return_and_one_that_is_overwritten() -> None:
    """A block returns its last rectifier's tensor, which lies where its convolution's did."""
    block = nn.Sequential(nn.Sequential(net()[0], net()[1]), nn.ReLU(inplace=True))
    shown, sink = stimuli(), TopPatches(5)
    recording = netphys.record(block, shown, layers="all", batch_size=16, sinks=[sink])
    assert recording.layers == ("0.0", "0.1", "0", "1")
    assert_equals_brute_force(sink.close(), {name: recording.array(name) for name in recording.layers})
    assert (sink.close()["0.0"].value < 0).any() and not (sink.close()["0.1"].value < 0).any()


@pytest.mark.parametrize("shape", [(11, 4), (11, 4, 6), (11, 4, 3, 5), (11, 4, 2, 3, 3)])
def test_layers_of_every_kind_in_batches_in_any_order_and_split(shape: tuple[int, ...]) -> None:
    """(stimulus, unit), tokens, maps and clips; memory in any order of axes."""
    rng = np.random.default_rng(len(shape))
    activation = rng.integers(-3, 3, shape).astype(np.float32)
    tables = []
    for trial in range(6):
        sink = TopPatches(4)
        sink.open([layer("a", shape)], [str(each) for each in range(len(activation))])
        rows = rng.permutation(len(activation)) if trial else np.arange(len(activation))
        for some in np.array_split(rows, rng.integers(1, 8)):
            part = torch.from_numpy(activation[some])
            sink.write("a", some, part if trial % 2 else part.movedim(1, -1).contiguous().movedim(-1, 1))
        tables.append(sink.close())
    assert all(same(tables[0], each) for each in tables)
    assert_equals_brute_force(tables[0], {"a": activation})


def test_control_an_unstable_choice_among_ties_depends_on_the_batches() -> None:
    """What torch.topk keeps of equal values is nobody's rule: a merge by it differs between splits."""
    values = torch.zeros(40, 3)
    rows = torch.arange(40)

    def merged(size: int) -> torch.Tensor:
        best, who = torch.full((3, 0), -1.0), torch.zeros((3, 0), dtype=torch.int64)
        for some in rows.split(size):
            best = torch.cat([best, values[some].T], 1)
            who = torch.cat([who, some.expand(3, -1)], 1)
            best, at = best.topk(min(9, best.shape[1]), dim=1)
            who = who.gather(1, at)
        return who

    assert not torch.equal(merged(40).sort(1).values, rows[:9].expand(3, -1))
    sink = TopPatches(9)
    sink.open([layer("a", (40, 3))], [str(each) for each in rows])
    for some in rows.split(40):
        sink.write("a", some.numpy(), values[some])
    assert np.array_equal(sink.close()["a"].stimulus, np.tile(np.arange(9), (3, 1)))


def test_half_precision_and_infinities() -> None:
    activation = torch.tensor([[1.0, -np.inf], [np.inf, -np.inf], [1.0, -np.inf]], dtype=torch.bfloat16)
    sink = TopPatches(3)
    sink.open([layer("a", (3, 2))], list("abc"))
    sink.write("a", np.arange(3), activation)
    found = sink.close()["a"]
    assert found.stimulus.tolist() == [[1, 0, 2], [0, 1, 2]] and found.value.dtype == np.float32
    assert found.dead.tolist() == [False, True]


def test_fewer_stimuli_than_entries() -> None:
    result = top_patches(net(), stimuli().subset([3, 1]), layers="0", k=5)
    assert (result["0"].stimulus[:, 2:] == -1).all() and np.isnan(result["0"].value[:, 2:]).all()
    assert len(result.to_frame()) == 6 * 2


def test_not_a_number_is_an_error() -> None:
    broken = net()
    broken[3].weight.data[4] = float("nan")
    with pytest.raises(RecordingError, match=r"unit 4 of layer '3' is not a number \(NaN\) for stimulus '0'; "):
        top_patches(broken, stimuli(), layers=["1", "3"])
    with pytest.raises(OptionError, match="k=0: at least one patch a unit"):
        TopPatches(0)


def test_a_hand_built_unit_finds_every_copy_of_its_patch() -> None:
    """A filter matched to one patch; ten images hold it, each at a place of its own."""
    rng = np.random.default_rng(5)
    patch = rng.uniform(-1, 1, (3, 5, 5)).astype(np.float32)
    images = rng.uniform(0.3, 0.7, (50, 3, 32, 32)).astype(np.float32)
    planted = {}
    for index in rng.permutation(50)[:10]:
        y, x = rng.integers(0, 28, 2)
        images[index, :, y : y + 5, x : x + 5] = 0.5 + 0.5 * patch
        planted[int(index)] = (int(y), int(x))
    conv = nn.Conv2d(3, 1, 5, bias=False)
    conv.weight.data[0] = torch.from_numpy(patch - patch.mean())
    found = top_patches(conv, netphys.StimulusSet.from_arrays(images), layers="all", k=10)["output"]
    assert {int(s): tuple(p.tolist()) for s, p in zip(found.stimulus[0], found.position[0])} == planted


# Going on


def test_a_saved_state_goes_on_as_if_nothing_had_happened() -> None:
    shown, module = stimuli(), net()
    activation = {name: torch.tensor(netphys.record(module, shown, layers=name).array(name)) for name in ("0", "6")}
    tables = []
    for cut in (0, 17, 40):
        sinks = [TopPatches(9), TopPatches(9)]
        for sink in sinks:
            sink.open([layer("0", activation["0"].shape), layer("6", activation["6"].shape)], shown.ids)
        for rows, sink in ((np.arange(cut), sinks[0]), (np.arange(cut, DUPLICATED), sinks[1])):
            if sink is sinks[1] and cut:
                sink.load_state_dict(sinks[0].state_dict())
            for name, values in activation.items():
                if len(rows):
                    sink.write(name, rows, values[rows])
        tables.append(sinks[1].close())
    assert all(same(tables[0], each) for each in tables)
    state = sinks[0].state_dict()
    assert sum(each.nbytes for each in state.values()) == (6 + 7) * 9 * (4 + 8 + 4)


KILLED = """
import os, signal, sys
import torch
sys.path.insert(0, {here!r})
import netphys
from netphys.recording.file import shards
from test_top_patches import TopPatches, net, stimuli
shards.SHARD_BYTES = {shard_bytes}
append, calls = shards.Shards.append, []
def dying(self, *given):
    append(self, *given)
    calls.append(0)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
shards.Shards.append = dying
netphys.record(net(), stimuli(), layers="leaves", batch_size=8, into={into!r}, sinks=[TopPatches(9)])
"""
SHARD_BYTES = 1 << 14


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a pass left that was killed after its second shard."""
    folder = tmp_path_factory.mktemp("killed")
    here, into = str(Path(__file__).parent), str(folder / "rec.h5")
    source = KILLED.format(here=here, into=into, shard_bytes=SHARD_BYTES)
    ended = subprocess.run([sys.executable, "-c", source], env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == -signal.SIGKILL and (folder / "rec.h5.partial").is_dir()
    return folder


@pytest.mark.parametrize("forget", [False, True])
def test_a_killed_pass_goes_on_with_its_lists(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: bool
) -> None:
    """Control: a pass that forgets the lists on the way gives another table."""
    monkeypatch.setattr(shards, "SHARD_BYTES", SHARD_BYTES)
    if forget:
        monkeypatch.setattr(shards.Shards, "states", lambda self: {})
    shutil.copytree(killed, tmp_path / "run")
    resumed, undisturbed = TopPatches(9), TopPatches(9)
    given = {"layers": "leaves", "batch_size": 8}
    netphys.record(net(), stimuli(), **given, into=tmp_path / "run" / "rec.h5", sinks=[resumed])
    netphys.record(net(), stimuli(), **given, sinks=[undisturbed])
    assert same(resumed.close(), undisturbed.close()) != forget


# The result


@pytest.fixture(scope="module")
def result() -> TopPatchesResult:
    return top_patches(net(), stimuli(), layers=["1", "6"], k=3)


def test_the_frame(result: TopPatchesResult) -> None:
    frame = result.to_frame()
    assert list(frame.columns) == ["layer", "unit", "rank", "stimulus_id", "y", "x", "value", "dead"]
    assert len(frame) == (6 + 7) * 3 and frame["dead"].sum() >= 3
    row = frame[(frame["layer"] == "1") & (frame["unit"] == 2) & (frame["rank"] == 2)].iloc[0]
    layer = result["1"]
    assert row["stimulus_id"] == result.stimulus_ids[layer.stimulus[2, 1]] and row["value"] == layer.value[2, 1]
    assert [row["y"], row["x"]] == layer.position[2, 1].tolist()
    assert frame[frame["layer"] == "6"]["y"].isna().all()
    assert len(result.to_frame("6")) == 21


def test_what_it_says(result: TopPatchesResult) -> None:
    n_dead = sum(each.n_dead for each in result.layers.values())
    assert repr(result) == f"TopPatchesResult(Sequential: 13 units of 2 layers, 3 of 60 stimuli each, {n_dead} dead)"
    assert repr(result["1"]) == f"LayerPatches(1: 6 units, {result['1'].n_dead} dead)"
    with pytest.raises(LayerNotFound, match="no layer '2' among the top patches; "):
        result["2"]
    assert result.made["made_by"] == "netphys.record" and result.made["seed"] == 0


def test_the_file_gives_back_the_same(result: TopPatchesResult, tmp_path: Path) -> None:
    path = result.save(tmp_path / "deep" / "top.h5")
    read = load_top_patches(path)
    assert same(read, result) and read.stimulus_ids == result.stimulus_ids
    assert (read.network, read.k, read.made) == (result.network, result.k, result.made)
    assert read["1"].dims == ("unit", "y", "x") and read["1"].kind == "ReLU"
    with pytest.raises(OptionError, match="top patches are an HDF5 file: top.h5, not top.csv"):
        result.save("top.csv")
    assert replace(result, made={}).save(tmp_path / "bare.h5").is_file()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.__delitem__("header"), "holds no top patches; "),
        (
            lambda file: file["layers/00000/stimulus"].__setitem__((0, 0), 60),
            "names stimuli that are not in its list of 60",
        ),
        (lambda file: file["layers/00000/position"].__setitem__((0, 0, 1), 99), "names positions outside its map"),
        (lambda file: file["layers/00000"].__delitem__("value"), "cannot be read as HDF5: "),
        (lambda file: resized(file), "is damaged: value of layer '1' is float32"),
        (lambda file: file["layers"].__setitem__("link", h5py.SoftLink("/x")), "is a link to elsewhere"),
    ],
)
def test_a_damaged_file_is_one_line(result: TopPatchesResult, tmp_path: Path, damage: Any, said: str) -> None:
    path = result.save(tmp_path / "top.h5")
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(FileError, match=said) as error:
        load_top_patches(path)
    assert "\n" not in str(error.value)


def test_a_file_with_random_edits_is_read_or_refused(result: TopPatchesResult, tmp_path: Path) -> None:
    """Bytes changed, the end cut off: a table, or one line; never another exception, nor a reader that hangs."""
    path, rng = result.save(tmp_path / "top.h5"), np.random.default_rng(0)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    refused = 0
    for trial in range(60):
        damaged = whole.copy()
        damaged[rng.integers(len(whole), size=rng.integers(1, 6))] ^= np.uint8(rng.integers(1, 256))
        path.write_bytes(damaged[: rng.integers(len(whole)) if trial % 5 == 0 else None].tobytes())
        try:
            load_top_patches(path).to_frame()
        except FileError as error:
            refused += "\n" not in str(error)
    assert refused >= 12  # those that were cut, at least


def resized(file: h5py.File) -> None:
    values = file["layers/00000/value"][:, :2]
    del file["layers/00000/value"]
    file["layers/00000/value"] = values


def layer(name: str, shape: tuple[int, ...]) -> Any:
    """Describe a layer as a recording does."""
    from netphys.recording.layers import Layer

    dims = {2: ("unit",), 3: ("unit", "token"), 4: ("unit", "y", "x"), 5: ("unit", "time", "y", "x")}[len(shape)]
    return Layer(name, "Test", tuple(shape[1:]), dims)
