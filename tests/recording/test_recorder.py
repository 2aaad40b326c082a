"""record: one pass in fixed batches, no further than the deepest layer; the same call goes on where it stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import LayerNotFound, OptionError, RecordingError, StimulusError
from netphys.networks import Network, Preprocess
from netphys.recording.file import shards as sharding
from netphys.recording.recorder import recording_digest, recording_plan

COUNTING: list[Any] = []  # handles of torch's own hooks


def _chain(n: int = 6) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(n)))


def _shown(n: int, side: int = 8, seed: int = 0) -> netphys.StimulusSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(pixels)


@pytest.fixture(autouse=True)
def _nothing_is_counted_afterwards() -> Iterator[None]:
    yield
    while COUNTING:
        COUNTING.pop().remove()


def _count_calls(net: nn.Module) -> Counter[str]:
    """Count calls by path; not by hooks of the network's own, which would make it another network."""
    calls: Counter[str] = Counter()
    paths = {id(each): path for path, each in net.named_modules()}
    count = lambda module, _: calls.update([paths[id(module)]] if id(module) in paths else [])  # noqa: E731
    COUNTING.append(torch.nn.modules.module.register_module_forward_pre_hook(count))
    return calls


# Stopping early


@pytest.mark.parametrize("deepest", range(6))
def test_nothing_deeper_than_the_deepest_layer_runs(deepest: int) -> None:
    net = _chain()
    calls = _count_calls(net)
    netphys.record(net, _shown(10), layers=[str(deepest), "0"], batch_size=3)
    expected = [1 + 6 * (each <= deepest) for each in range(6)]  # probing, two to see that stimuli do not mix, batches
    assert [calls[str(each)] for each in range(6)] == expected


def test_without_an_early_stop_the_count_differs() -> None:
    """Control: hooks of a script run the whole network."""
    net = _chain()
    calls = _count_calls(net)
    with netphys.hooks(net, "0"):
        net(torch.rand(3, 3, 8, 8))
    assert calls["5"] == 1


class Loop(nn.Module):
    """A module called five times, inside code that swallows exceptions."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.after = nn.Conv2d(3, 3, 3, padding=1), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            for _ in range(5):
                x = self.step(x)
        except Exception:
            x = x * 0
        return self.after(x)


def test_a_module_called_again_stops_at_its_last_wanted_call() -> None:
    net = Loop()
    calls = _count_calls(net)
    recording = netphys.record(net, _shown(4), layers=["step#3", "step"], batch_size=4)
    assert recording.layers == ("step", "step#3") and calls["step"] == 5 + 2 * 3 + 3 and calls["after"] == 1


# Batches


@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
def test_a_stimulus_is_recorded_the_same_alone_and_among_others(name: str, photographs: Any) -> None:
    network = netphys.load_network(f"torchvision:{name}?resize=64")
    layers = ["kind:Conv2d", "kind:Linear"]
    whole = netphys.record(network, photographs, layers=layers, keep="mean")
    alone = netphys.record(network, photographs.subset([7]), layers=layers, keep="mean")
    turned = netphys.record(network, photographs.subset(range(39, -1, -1)), layers=layers, keep="mean")
    for layer in whole.layers:
        assert np.array_equal(whole.array(layer)[7], alone.array(layer)[0])
        assert np.array_equal(whole.array(layer)[::-1], turned.array(layer))


def test_results_do_not_depend_on_the_number_of_stimuli() -> None:
    net, shown = _chain(2), _shown(70)
    whole = netphys.record(net, shown, layers="all").array("1")
    for n in (1, 31, 32, 33, 64, 65):
        assert np.array_equal(netphys.record(net, shown.subset(range(n)), layers="all").array("1"), whole[:n])


def test_the_last_batch_is_padded_and_every_batch_has_the_same_size() -> None:
    sizes = []

    class Sees(nn.Identity):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            return x

    netphys.record(Sees(), _shown(10), layers="output", batch_size=4)
    assert sizes == [3, 2, 2, 4, 4, 4]  # the probing forward has three, each of the two that compare two
    sizes.clear()
    netphys.record(Sees(), _shown(4), layers="output", batch_size=3)
    assert sizes == [4, 2, 2, 3, 3]  # never the number that the recording has


def _mixed() -> Any:
    """Three images of three sizes, as a folder gives them."""

    class Source:
        fields = ("image",)
        sizes = ((8, 8), (12, 16), (20, 10))

        def read(self, field: str, indices: np.ndarray) -> list[torch.Tensor]:
            return [torch.full((3, *self.sizes[index]), 50 * index, dtype=torch.uint8) for index in indices]

        def digests(self, indices: np.ndarray) -> list[int]:
            return [int(index) for index in indices]

    import pandas as pd

    return netphys.StimulusSet(Source(), pd.DataFrame({"stimulus_id": ["a", "b", "c"]}), name="mixed")


def test_images_of_several_sizes_are_resized_or_refused_in_one_line() -> None:
    resized = netphys.record(Network(_chain(), Preprocess(resize=(8, 8))), _mixed(), layers="0")
    assert resized.shape("0") == (3, 3, 8, 8)
    with pytest.raises(StimulusError, match=r"images differ in size .* add \?resize=224") as caught:
        netphys.record(_chain(), _mixed(), layers="0")
    assert "\n" not in str(caught.value)


# What cannot be recorded


class Windows(nn.Module):
    """Folds four windows into the batch, as Swin and video networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.inside, self.after = nn.Identity(), nn.Conv2d(3, 3, 1), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(x)
        windows = torch.cat([x[..., :4, :4], x[..., 4:, :4], x[..., :4, 4:], x[..., 4:, 4:]])
        return self.after(self.inside(windows)[: len(x)])


def test_a_layer_that_folds_windows_into_the_batch_is_refused() -> None:
    with pytest.raises(
        RecordingError, match=r"'inside' .* its first dimension is not the batch: \(12, 3, 4, 4\) for 3"
    ):
        netphys.record(Windows(), _shown(8), layers="inside", batch_size=8)
    assert netphys.record(Windows(), _shown(8), layers=["before", "after"]).layers == ("before", "after")


class Varies(nn.Module):
    """Calls a module only for bright images."""

    def __init__(self) -> None:
        super().__init__()
        self.always, self.sometimes, self.last = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.always(x)
        return self.last(self.sometimes(x) if x.max() > 0.5 else x)


def test_a_network_that_calls_its_modules_differently_is_refused() -> None:
    pixels = np.full((4, 3, 4, 4), 200, dtype=np.uint8)
    pixels[2:] = 10
    with pytest.raises(RecordingError, match="'sometimes' of Varies did not answer to stimuli 2 to 3: .* differently"):
        netphys.record(Varies(), netphys.StimulusSet.from_arrays(pixels), layers="sometimes", batch_size=2)


def test_a_network_that_cannot_look_at_the_images_says_so() -> None:
    with pytest.raises(RecordingError, match=r"Linear cannot look at images of \(3, 8, 8\) \(.*\); \?resize=224"):
        netphys.record(nn.Linear(5, 2), _shown(2), layers="output")
    with pytest.raises(RecordingError, match="alexnet.* cannot look at images"):
        netphys.record(netphys.load_network("torchvision:alexnet?resize=8"), _shown(2), layers="features.0")


def test_options_are_checked() -> None:
    for options, said in (
        ({"batch_size": 0}, "batch_size=0: at least 1"),
        ({"keep": "meen"}, "keep='meen' is not known; near: 'mean'"),
        ({"dtype": "float64"}, "dtype='float64' is not known"),
        ({"into": "rec.zarr"}, "a recording is an HDF5 file: rec.h5, not rec.zarr"),
    ):
        with pytest.raises(OptionError, match=said):
            netphys.record(_chain(), _shown(2), layers="0", **options)
    with pytest.raises(LayerNotFound, match="no layer '6' in Sequential"):
        netphys.record(_chain(), _shown(2), layers="6")


def test_a_recording_larger_than_memory_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from netphys.recording.sinks import buffers

    monkeypatch.setattr(buffers, "_available_memory", lambda: 2000)
    with pytest.raises(RecordingError, match=r"4 stimuli x 1 layers take .* record to a file \(into='rec.h5'\)"):
        netphys.record(_chain(), _shown(4), layers="0")


# Into a file


def test_the_file_equals_memory_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "SHARD_BYTES", 1 << 14)  # several shards
    network, shown = netphys.load_network("torchvision:squeezenet1_1?resize=64"), _shown(40, 32)
    for keep in ("all", "mean", "max", "centre"):
        options = {"layers": ["features.*", "classifier.1"], "keep": keep, "batch_size": 16}
        memory = netphys.record(network, shown, **options)
        file = netphys.record(network, shown, into=tmp_path / f"{keep}.h5", **options)
        assert memory.layers == file.layers and memory.stimulus_ids == file.stimulus_ids
        for layer in memory.layers:
            assert np.array_equal(memory.array(layer), file.array(layer)) and memory.dims(layer) == file.dims(layer)
        assert memory.header["digest"] == file.header["digest"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["all.h5", "centre.h5", "max.h5", "mean.h5"]


def test_the_same_recording_is_not_made_twice_and_another_is_in_the_way(tmp_path: Path) -> None:
    net, shown, path = _chain(), _shown(5), tmp_path / "rec.h5"
    calls = _count_calls(net)
    netphys.record(net, shown, layers="3", into=path)
    before = path.stat()
    calls.clear()
    netphys.record(net, shown, layers="3", into=path)
    assert calls["3"] == 1 and path.stat().st_mtime_ns == before.st_mtime_ns  # the probing forward alone
    said = r"rec.h5 holds another recording \(of Sequential, with other layers\); --force replaces it, --extend adds"
    with pytest.raises(RecordingError, match=said):
        netphys.record(net, shown, layers="2", into=path)
    assert netphys.record(net, shown, layers="2", into=path, force=True).layers == ("2",)
    path.write_text("no recording")
    with pytest.raises(RecordingError, match=r"rec.h5 is in the way \(.*not HDF5.*\); --force replaces it"):
        netphys.record(net, shown, layers="2", into=path)
    assert netphys.record(net, shown, layers="2", into=path, force=True).layers == ("2",)


class Moments:
    """Mean and count of each layer: a sink whose state must come back when a recording resumes."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.sums, self.result = stop_at, {}, None

    def plan(self) -> dict[str, Any]:
        return {}

    def open(self, layers: Any, stimulus_ids: Any) -> None:
        self.sums = {layer.name: np.zeros(1 + layer.n_units) for layer in layers}

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        if self.stop_at is not None and rows[-1] >= self.stop_at:
            raise KeyboardInterrupt
        self.sums[layer][0] += len(rows)
        self.sums[layer][1:] += activation.double().flatten(2).mean(-1).sum(0).numpy()

    def close(self) -> dict[str, np.ndarray]:
        self.result = {name: values[1:] / values[0] for name, values in self.sums.items()}
        return self.result

    def state_dict(self) -> dict[str, np.ndarray]:
        return self.sums

    def load_state_dict(self, state: Any) -> None:
        self.sums = {name: values.copy() for name, values in state.items()}


def _begun(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """Record until stimulus 20, then stop."""
    monkeypatch.setattr(sharding, "SHARD_BYTES", 1)  # a shard a batch
    options = {"layers": ["1", "2"], "batch_size": 4, "into": path, "sinks": [Moments(stop_at=20)], **options}
    with pytest.raises(KeyboardInterrupt):
        netphys.record(_chain(), _shown(30), **options)
    assert len(list(Path(f"{path}.partial").glob("shard-*.bin"))) == 5 and not path.exists()


def test_a_stopped_recording_goes_on_with_the_states_of_its_sinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, net, sink, undisturbed = tmp_path / "rec.h5", _chain(), Moments(), Moments()
    _begun(path, monkeypatch)
    calls = _count_calls(net)
    resumed = netphys.record(net, _shown(30), layers=["1", "2"], batch_size=4, into=path, sinks=[sink])
    assert calls["1"] == 3 + 3 + 1  # three forwards before, three batches that were left, one for receptive fields
    memory = netphys.record(net, _shown(30), layers=["1", "2"], batch_size=4, sinks=[undisturbed])
    for layer in ("1", "2"):
        assert np.array_equal(resumed.array(layer), memory.array(layer))
        assert sink.sums[layer][0] == 30 and np.array_equal(sink.result[layer], undisturbed.result[layer])
    assert [each.name for each in tmp_path.iterdir()] == ["rec.h5"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch_size": 5}, "batch_size"),
        ({"seed": 1}, "seed"),
        ({"layers": ["1"]}, "layers"),
        ({"keep": "mean"}, "keep, layers"),
        ({"dtype": "float16"}, "dtype"),
        ({"sinks": []}, "sinks"),
        ({"stimuli": 1}, "stimuli"),
        ({"network": 1}, "network"),
    ],
)
def test_a_stopped_recording_of_other_things_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], named: str
) -> None:
    path = tmp_path / "rec.h5"
    _begun(path, monkeypatch)
    net, shown = _chain(), _shown(30, seed=change.pop("stimuli", 0))
    if change.pop("network", 0):
        net[0].weight.data[0, 0, 0, 0] += 1e-3
    options = {"layers": ["1", "2"], "batch_size": 4, "into": path, "sinks": [Moments()], **change}
    with pytest.raises(RecordingError, match=rf"was begun with other {named}; remove it \(or --force\)"):
        netphys.record(net, shown, **options)
    forced = netphys.record(net, shown, **options, force=True)
    del options["into"]
    options["sinks"] = []
    memory = netphys.record(net, shown, **options)
    assert all(np.array_equal(forced.array(layer), memory.array(layer)) for layer in memory.layers)


def test_force_goes_on_with_the_same_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, net = tmp_path / "rec.h5", _chain()
    _begun(path, monkeypatch)
    calls = _count_calls(net)
    netphys.record(net, _shown(30), layers=["1", "2"], batch_size=4, into=path, sinks=[Moments()], force=True)
    assert calls["1"] == 3 + 3 + 1


def test_a_recording_begun_without_a_shard_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rec.h5"
    monkeypatch.setattr(sharding, "SHARD_BYTES", 1)
    with pytest.raises(KeyboardInterrupt):
        netphys.record(_chain(), _shown(8), layers="1", into=path, batch_size=4, sinks=[Moments(stop_at=0)])
    assert not list(tmp_path.iterdir())
    assert netphys.record(_chain(), _shown(8), layers="2", into=path, batch_size=4).layers == ("2",)


class Top(Moments):
    """A sink with an option, or one that does not say what its options are."""

    def __init__(self, k: int, *, stop_at: int | None = None) -> None:
        super().__init__(stop_at)
        self.k = k

    def plan(self) -> dict[str, Any]:
        return {"k": self.k}


def test_a_sink_goes_on_only_with_the_options_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rec.h5"
    _begun(path, monkeypatch, sinks=[Top(2, stop_at=20)])
    options = {"layers": ["1", "2"], "batch_size": 4, "into": path}
    with pytest.raises(RecordingError, match=r"was begun with other options of the sink Top; remove it \(or --force\)"):
        netphys.record(_chain(), _shown(30), **options, sinks=[Top(6)])
    sink = Top(2)
    netphys.record(_chain(), _shown(30), **options, sinks=[sink])
    assert sink.sums["1"][0] == 30


def test_a_sink_without_a_plan_is_fed_but_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Moments, "plan")
    path, options = tmp_path / "rec.h5", {"layers": ["1", "2"], "batch_size": 4}
    _begun(path, monkeypatch)
    with pytest.raises(RecordingError, match=r"cannot go on with the sink .*Moments, which has no plan\(\) that says"):
        netphys.record(_chain(), _shown(30), **options, into=path, sinks=[Moments()])
    sink = Moments()
    netphys.record(_chain(), _shown(30), **options, into=path, sinks=[sink], force=True)
    assert sink.sums["1"][0] == 30


def test_a_damaged_shard_is_named_and_begun_anew_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, options = tmp_path / "rec.h5", {"layers": ["1", "2"], "batch_size": 4}
    _begun(path, monkeypatch)
    shard = Path(f"{path}.partial", "shard-00001.bin")
    data = bytearray(shard.read_bytes())
    data[5] ^= 1
    shard.write_bytes(data)
    with pytest.raises(RecordingError, match=r"shard-00001.bin is not what was written \(checksum\)"):
        netphys.record(_chain(), _shown(30), **options, into=path, sinks=[Moments()])
    forced = netphys.record(_chain(), _shown(30), **options, into=path, sinks=[Moments()], force=True)
    assert np.array_equal(forced.array("2"), netphys.record(_chain(), _shown(30), **options).array("2"))


def test_an_error_in_the_first_shard_leaves_nothing_and_later_ones_leave_whole_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Large(nn.Identity):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 1e6

    with pytest.raises(RecordingError, match="too large for float16"):
        netphys.record(Large(), _shown(4), layers="output", dtype="float16", into=tmp_path / "rec.h5")
    assert not list(tmp_path.iterdir())
    _begun(tmp_path / "rec.h5", monkeypatch)  # control: what can go on stays


def test_a_partial_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    (tmp_path / "rec.h5.partial").symlink_to(elsewhere)
    for force in (False, True):
        with pytest.raises(RecordingError, match="rec.h5.partial is a link to elsewhere"):
            netphys.record(_chain(), _shown(4), layers="1", into=tmp_path / "rec.h5", force=force)
    assert (elsewhere / "mine.txt").read_text() == "mine"


def test_shards_of_another_network_are_never_taken_whatever_of_the_folder_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, options = tmp_path / "rec.h5", {"layers": ["1", "2"], "batch_size": 4, "sinks": []}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        other = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(6)))
    expected = netphys.record(other, _shown(30), **options).array("2")
    for left in ("journal.jsonl", "plan.json"):
        _begun(path, monkeypatch)
        Path(f"{path}.partial", left).unlink()
        assert np.array_equal(netphys.record(other, _shown(30), **options, into=path).array("2"), expected)
        path.unlink()


def test_a_module_of_two_names_is_called_by_the_first() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.ReLU()
            self.b, self.c = self.a, nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.c(self.a(x)))

    for pattern in ("b", "b#2"):
        with pytest.raises(LayerNotFound, match="'b' is the same module as 'a'; its calls are a, a#2"):
            netphys.record(Twice(), _shown(2), layers=pattern)
        with pytest.raises(LayerNotFound, match="'b' is the same module as 'a'"), netphys.hooks(Twice(), pattern):
            pass
    assert netphys.record(Twice(), _shown(2), layers="a*").layers == ("a", "a#2")


def test_no_space_is_refused_in_advance_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(netphys.errors.OutputError, match="no space for the recording rec.h5"):
        netphys.record(_chain(), _shown(8), layers="1", into=tmp_path / "rec.h5")
    assert not list(tmp_path.iterdir())


def test_a_finished_file_with_the_shards_of_its_making_beside_it_is_taken(tmp_path: Path) -> None:
    """A kill between the rename and the removal of the shards."""
    path = tmp_path / "rec.h5"
    netphys.record(_chain(), _shown(4), layers="1", into=path)
    (tmp_path / "rec.h5.partial").mkdir()
    netphys.record(_chain(), _shown(4), layers="1", into=path)
    assert [each.name for each in tmp_path.iterdir()] == ["rec.h5"]


def test_networks_that_draw_at_random_are_repeatable_and_leave_the_generator() -> None:
    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x + torch.rand_like(x))

    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one = netphys.record(Noise(), _shown(6), layers="layer", batch_size=2).array("layer")
    assert torch.equal(torch.rand(2), expected)
    assert np.array_equal(one, netphys.record(Noise(), _shown(6), layers="layer", batch_size=2).array("layer"))
    assert not np.array_equal(
        one, netphys.record(Noise(), _shown(6), layers="layer", batch_size=2, seed=1).array("layer")
    )
    assert not np.array_equal(
        one[:2] - one[2:4], (_shown(6).images([0, 1]) / 255 - _shown(6).images([2, 3]) / 255).numpy()
    )


def test_the_plan_says_what_the_numbers_depend_on_and_records_nothing(tmp_path: Path) -> None:
    plan = recording_plan(_chain(), _shown(3), layers="2", keep="mean")
    recording = netphys.record(_chain(), _shown(3), layers="2", keep="mean")
    assert recording.header["digest"] == recording_digest(plan)
    assert plan["layers"] == [["2", 3]] and plan["batch_size"] == 32 and plan["device"] in ("cpu", "cuda")
    carried = recording.header["provenance"]
    assert carried["inputs"] == {"network": plan["network"], "stimuli": plan["stimuli"]}
    assert carried["seed"] == 0 and "batches of 32" in carried["batch_plan"] and carried["tf32"] in (True, False)


def test_addresses_and_arrays_are_taken_for_networks_and_stimuli() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    one = netphys.record("netphys:gabor_energy", images, layers="energy")
    two = netphys.record(
        netphys.load_network("netphys:gabor_energy"), netphys.StimulusSet.from_arrays(images), layers="energy"
    )
    np.testing.assert_array_equal(one.array("energy"), two.array("energy"))
    with pytest.raises(StimulusError, match="stimuli are a StimulusSet, an address, an array of images"):
        netphys.record("netphys:pixels", 3, layers="pixels")


@pytest.mark.parametrize("odd", ["a\0b", "\udcff"])
def test_ids_that_no_file_holds_are_refused_before_anything_is_recorded(tmp_path: Path, odd: str) -> None:
    pixels = np.zeros((2, 3, 8, 8), np.uint8)
    with pytest.raises(netphys.errors.NetphysError) as caught:
        shown = netphys.StimulusSet.from_arrays(pixels, ids=["k", odd])
        netphys.record(torch.nn.Identity(), shown, layers="all", into=tmp_path / "a.h5")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
