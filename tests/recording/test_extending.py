"""A finished recording gains what it lacks; the end is the recording of everything, bit for bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import OptionError, RecordingError
from netphys.recording import extending
from netphys.recording.file.schema import verify
from netphys.recording.sinks import Moments


class Chain(nn.Module):
    """Three convolutions; counts how many images each has seen."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.a, self.b, self.c = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        SEEN["images"] += len(x)
        return self.c(self.b(self.a(x)))


SEEN: Counter[str] = Counter()
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)


def _shown(*rows: int) -> netphys.StimulusSet:
    rows = rows or tuple(range(20))
    return netphys.StimulusSet.from_arrays(PIXELS[list(rows)], ids=[f"s{row}" for row in rows])


def _record(path: Path | None, layers: Any, shown: Any, **options: Any) -> Any:
    return netphys.record(Chain(), shown, layers=layers, into=path, **{"keep": "all", "batch_size": 4, **options})


@pytest.mark.parametrize(
    ("begun", "then", "n_shown"),
    [
        ((["a"], range(20)), (["a", "c"], range(20)), 20),  # layers: all are shown again
        ((["a", "b"], range(8)), (["a", "b"], range(20)), 12),  # stimuli: what is new alone
        ((["b"], range(8)), (["a", "c"], range(20)), 20 + 12),  # both
        ((["a", "b"], range(20)), (["b"], range(3)), 0),  # nothing
    ],
)
def test_the_end_is_the_recording_of_everything(tmp_path: Path, begun: Any, then: Any, n_shown: int) -> None:
    path, everything = tmp_path / "rec.h5", sorted({*begun[0], *then[0]})
    _record(path, begun[0], _shown(*begun[1]))
    before = path.stat().st_mtime_ns
    SEEN.clear()
    checked = n_shown and (len(begun[1]) < 20)  # whether it looks for networks that draw at random
    made = _record(path, then[0], _shown(*then[1]), extend=True)
    # 3 to see which layers there are; before each part 4 to see that stimuli do not mix, 1 for receptive fields; twice
    # a batch of 4, and 3 to see the layers of the file again
    n_parts = {0: 0, 12: 1, 20: 1, 32: 2}[n_shown]
    assert SEEN["images"] == n_shown + 3 + n_parts * 8 + 11 * bool(checked)
    assert sorted(made.layers) == everything
    whole = _record(None, everything, _shown())
    for layer in everything:
        assert np.array_equal(made.array(layer), whole.array(layer))
    assert made.header["digest"] == whole.header["digest"] and made.stimulus_ids == whole.stimulus_ids
    verify(path)
    assert (path.stat().st_mtime_ns == before) == (n_shown == 0)
    assert [each.name for each in tmp_path.iterdir()] == ["rec.h5"]
    again = path.stat().st_mtime_ns
    _record(path, then[0], _shown(*then[1]), extend=True)  # nothing is missing now
    assert path.stat().st_mtime_ns == again


def test_without_extend_it_is_in_the_way_and_where_nothing_is_it_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "rec.h5"
    _record(path, ["a"], _shown(), extend=True)
    with pytest.raises(RecordingError, match="holds another recording"):
        _record(path, ["b"], _shown())


def test_what_was_made_in_another_way_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "rec.h5"
    _record(path, ["a"], _shown(0, 1, 2))
    for options, named in (
        ({"batch_size": 5}, "batch_size"),
        ({"keep": "mean"}, "keep"),
        ({"dtype": "float16"}, "dtype"),
        ({"seed": 1}, "seed"),
        ({"gradient_of": "c[0]"}, "gradient_of"),
    ):
        with pytest.raises(RecordingError, match=f"rec.h5 was made with other {named} and cannot be extended"):
            _record(path, ["a", "b"], _shown(), extend=True, **options)
    other = netphys.StimulusSet.from_arrays(PIXELS[3:], ids=[f"s{row}" for row in range(17)])
    with pytest.raises(RecordingError, match="stimulus 's0' is another than that of .*rec.h5"):
        _record(path, ["a"], other, extend=True)
    with pytest.raises(RecordingError, match="holds 1 stimuli that are not shown now, first 's2'; show them, too"):
        _record(path, ["a", "b"], _shown(0, 1, 5), extend=True)
    with pytest.raises(OptionError, match="feeds no sinks"):
        _record(path, ["a", "b"], _shown(), extend=True, sinks=[Moments()])
    assert _record(path, ["a"], _shown(0, 1, 2)).layers == ("a",)  # untouched


def test_a_file_that_does_not_say_its_plan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rec.h5"
    _record(path, ["a"], _shown())
    with h5py.File(path, "r+") as file:
        del file.attrs["plan"]
    with pytest.raises(RecordingError):
        _record(path, ["b"], _shown(), extend=True)


class Draws(Chain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x + torch.rand(1))


def test_stimuli_are_not_added_to_a_network_that_draws_at_random(tmp_path: Path) -> None:
    path, options = tmp_path / "rec.h5", {"layers": "a", "batch_size": 4, "into": tmp_path / "rec.h5"}
    netphys.record(Draws(), _shown(0, 1, 2), **options)
    with pytest.raises(RecordingError, match="stimuli cannot be added: layer 'a' of Draws draws at random"):
        netphys.record(Draws(), _shown(), **options, extend=True)
    netphys.record(Draws(), _shown(0, 1, 2), **{**options, "layers": ["a", "b"]}, extend=True)  # layers can
    whole = netphys.record(Draws(), _shown(0, 1, 2), layers=["a", "b"], batch_size=4)
    assert np.array_equal(netphys.load_recording(path).array("b"), whole.array("b"))


def test_without_that_check_the_end_would_be_another_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    monkeypatch.setattr(extending, "_require_repeatable", lambda run: None)
    options = {"layers": "a", "batch_size": 4, "into": tmp_path / "rec.h5"}
    netphys.record(Draws(), _shown(0, 1, 2), **options)
    made = netphys.record(Draws(), _shown(), **options, extend=True)
    assert not np.array_equal(made.array("a"), netphys.record(Draws(), _shown(), layers="a", batch_size=4).array("a"))


@pytest.mark.parametrize("where", ["into_file", "merge_recordings", "remove_tree"])
def test_killed_while_it_is_extended_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    path, real = tmp_path / "rec.h5", getattr(extending, where)
    _record(path, ["a"], _shown(*range(8)))

    def stopped(*given: Any, **more: Any) -> None:
        if where == "into_file":
            real(*given, **more)  # after the first part
        raise KeyboardInterrupt

    monkeypatch.setattr(extending, where, stopped)
    with pytest.raises(KeyboardInterrupt):
        _record(path, ["a", "b"], _shown(), extend=True)
    monkeypatch.undo()
    assert netphys.load_recording(path).layers == (("a", "b") if where == "remove_tree" else ("a",))
    made, whole = _record(path, ["a", "b"], _shown(), extend=True), _record(None, ["a", "b"], _shown())
    assert all(np.array_equal(made.array(layer), whole.array(layer)) for layer in ("a", "b"))
    assert [each.name for each in tmp_path.iterdir()] == ["rec.h5"]


def test_gradients_are_extended_with_their_layers(tmp_path: Path) -> None:
    path, options = tmp_path / "rec.h5", {"gradient_of": "c[0]"}
    _record(path, ["a"], _shown(*range(6)), **options)
    made = _record(path, ["a", "b"], _shown(), extend=True, **options)
    whole = _record(None, ["a", "b"], _shown(), **options)
    assert made.layers == whole.layers == ("a", "a/gradient", "b", "b/gradient")
    assert all(np.array_equal(made.array(layer), whole.array(layer)) for layer in made.layers)


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_a_compressed_file_holds_the_same(tmp_path: Path, compression: str) -> None:
    layers = ["a", "b"]
    plain = _record(tmp_path / "plain.h5", layers, _shown())
    packed = _record(tmp_path / "packed.h5", layers, _shown(), compression=compression)
    assert all(np.array_equal(plain.array(layer), packed.array(layer)) for layer in layers)
    assert plain.header["digest"] == packed.header["digest"]
    with h5py.File(packed.path) as file:
        assert file["layers/a/activation"].compression == compression
    with pytest.raises(OptionError, match="compression='zip' is not known; near: 'gzip'"):
        _record(tmp_path / "other.h5", layers, _shown(), compression="zip")


class Drawing(nn.Module):
    """Two layers; the second draws at random in eval mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.noise = nn.Identity(), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.noise(self.a(x) + torch.rand(x.shape))


def test_the_layers_of_the_file_are_looked_at_for_draws(tmp_path: Path) -> None:
    """Only a layer without draws is wanted; the one that draws gains stimuli all the same."""
    path = tmp_path / "rec.h5"
    netphys.record(Drawing(), _shown(*range(8)), layers=["a", "noise"], into=path, batch_size=4)
    with pytest.raises(RecordingError, match="stimuli cannot be added: layer 'noise' of Drawing draws at random"):
        netphys.record(Drawing(), _shown(), layers=["a"], into=path, batch_size=4, extend=True)


def test_projections_gain_stimuli(tmp_path: Path) -> None:
    options = {"keep": "projection?k=20&s=3"}
    _record(tmp_path / "rec.h5", ["a"], _shown(*range(8)), **options)
    made = _record(tmp_path / "rec.h5", ["a"], _shown(), extend=True, **options)
    whole = _record(tmp_path / "whole.h5", ["a"], _shown(), **options)
    assert np.array_equal(made.array("a"), whole.array("a")) and made.header["digest"] == whole.header["digest"]
    assert {key: made.measured("a")[key] for key in ("n_pairs", "epsilon", "n_stimuli")} == {
        key: whole.measured("a")[key] for key in ("n_pairs", "epsilon", "n_stimuli")
    }
    assert np.isclose(made.measured("a")["epsilon_rms"], whole.measured("a")["epsilon_rms"], rtol=1e-12)


@pytest.mark.parametrize("what", ["a link", "a folder"])
def test_what_lies_where_parts_are_recorded_is_never_removed(tmp_path: Path, what: str) -> None:
    path, own = tmp_path / "rec.h5", tmp_path / "own"
    _record(path, ["a"], _shown(*range(8)))
    place = tmp_path / "rec.h5.extending" if what == "a folder" else own
    place.mkdir()
    (place / "thesis.txt").write_text("precious")
    if what == "a link":
        (tmp_path / "rec.h5.extending").symlink_to(own)
    for shown in (_shown(), _shown(*range(8))):
        with pytest.raises(
            RecordingError, match="is a link to elsewhere|thesis.txt is nothing that netphys has written"
        ):
            _record(path, ["a"], shown, extend=True)
    assert (place / "thesis.txt").read_text() == "precious"


def test_one_lock_is_held_around_the_whole_extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    path, lock = tmp_path / "rec.h5", tmp_path / ".rec.h5.lock"
    _record(path, ["a"], _shown(*range(8)))
    seen = []
    for name in ("_require_alike", "_record_missing", "merge_recordings", "remove_tree"):
        real = getattr(extending, name)

        def looked(*args: Any, _real: Any = real, **more: Any) -> Any:
            with lock.open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            seen.append(_real)
            return _real(*args, **more)

        monkeypatch.setattr(extending, name, looked)
    _record(path, ["a"], _shown(), extend=True)
    assert len(seen) == 4 and not lock.exists()


def test_a_finished_recording_leaves_anothers_beginnings_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, partial = tmp_path / "rec.h5", tmp_path / "rec.h5.partial"
    _record(path, ["a"], _shown())
    partial.mkdir()
    (partial / "plan.json").write_text('{"another": 1}')
    _record(path, ["a"], _shown())
    assert (partial / "plan.json").exists()
