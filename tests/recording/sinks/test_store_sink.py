"""Store: a second recording of the same pass is the one that `record` makes by itself, also after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import LayerNotFound, OptionError, RecordingError
from netphys.recording.file import shards as sharding
from netphys.recording.sinks.store import Store


def _chain() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)))


def _shown(n: int = 30) -> netphys.StimulusSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(pixels)


OPTIONS: dict[str, Any] = {"layers": ["0", "1", "2"], "batch_size": 4}
SECOND: list[dict[str, Any]] = [
    {"keep": "all"},
    {"keep": "max", "dtype": "float16", "layers": ["0", "2"]},
    {"keep": "window?size=3", "dtype": "bfloat16", "layers": "2", "compression": "gzip"},
    {"keep": "projection?k=20&s=3"},
]


def _by_itself(path: Path, **options: Any) -> bytes:
    netphys.record(_chain(), _shown(), into=path, **{**OPTIONS, **options})
    return path.read_bytes()


@pytest.mark.parametrize("options", SECOND)
@pytest.mark.parametrize("into", [True, False])
def test_the_file_is_that_of_record(tmp_path: Path, options: dict[str, Any], into: bool) -> None:
    sink = Store(tmp_path / "second.h5", **options)
    first = netphys.record(
        _chain(), _shown(), keep="mean", into=tmp_path / "first.h5" if into else None, sinks=[sink], **OPTIONS
    )
    assert (tmp_path / "second.h5").read_bytes() == _by_itself(tmp_path / "alone.h5", **options)
    assert np.array_equal(first.array("1"), netphys.record(_chain(), _shown(), keep="mean", **OPTIONS).array("1"))
    assert sink.close().path == tmp_path / "second.h5"
    left = {"second.h5", "alone.h5"} | ({"first.h5"} if into else set())
    assert {each.name for each in tmp_path.iterdir()} == left


class Stops:
    """A sink that stops the pass."""

    def __init__(self, at: int | None) -> None:
        self.at = at

    def plan(self) -> dict[str, Any]:
        return {}

    def open(self, layers: Any, stimulus_ids: Any) -> None: ...

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        if self.at is not None and rows[0] >= self.at:
            raise KeyboardInterrupt

    def close(self) -> None: ...

    def state_dict(self) -> dict[str, np.ndarray]:
        return {}

    def load_state_dict(self, state: Any) -> None: ...


def _stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    monkeypatch.setattr(sharding, "SHARD_BYTES", 1)  # a shard a batch
    sinks = [Store(tmp_path / "second.h5", **options), Stops(20)]
    with pytest.raises(KeyboardInterrupt):
        netphys.record(_chain(), _shown(), keep="mean", into=tmp_path / "first.h5", sinks=sinks, **OPTIONS)
    assert not (tmp_path / "second.h5").exists()
    assert len(list((tmp_path / "second.h5.partial").glob("shard-*"))) == 5


def _gone_on(tmp_path: Path, **options: Any) -> None:
    sinks = [Store(tmp_path / "second.h5", **options), Stops(None)]
    netphys.record(_chain(), _shown(), keep="mean", into=tmp_path / "first.h5", sinks=sinks, **OPTIONS)


@pytest.mark.parametrize("options", SECOND)
def test_a_stopped_pass_goes_on_in_both_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    _stopped(tmp_path, monkeypatch, **options)
    _gone_on(tmp_path, **options)
    assert (tmp_path / "second.h5").read_bytes() == _by_itself(tmp_path / "alone.h5", **options)


def test_rows_beyond_the_state_are_written_again_and_lost_ones_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stopped(tmp_path, monkeypatch)
    journal = tmp_path / "first.h5.partial" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:3]))  # killed between the sink's shard and the recording's
    _gone_on(tmp_path)
    assert (tmp_path / "second.h5").read_bytes() == _by_itself(tmp_path / "alone.h5")
    for name in ("first.h5", "second.h5"):
        (tmp_path / name).unlink()
    _stopped(tmp_path, monkeypatch)
    (tmp_path / "second.h5.partial" / "shard-00001.bin").unlink()
    with pytest.raises(RecordingError, match=r"second.h5.partial has lost shard 1, which the pass relies on"):
        _gone_on(tmp_path)


def test_without_its_state_the_file_is_wrong_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: what the saved number of rows is for."""
    _stopped(tmp_path, monkeypatch)
    monkeypatch.setattr(Store, "load_state_dict", lambda self, state: None)
    with pytest.raises((RecordingError, AssertionError, IndexError, RuntimeError, TypeError)):
        _gone_on(tmp_path)


def test_a_pass_killed_between_the_sinks_file_and_the_end_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sharding.Shards.remove

    def remove(self: Any) -> None:
        if self._folder.name == "first.h5.partial":
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(sharding.Shards, "remove", remove)
    with pytest.raises(KeyboardInterrupt):
        _gone_on(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "first.h5.partial").exists() and (tmp_path / "second.h5").exists()
    _gone_on(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"first.h5", "second.h5"}
    assert (tmp_path / "second.h5").read_bytes() == _by_itself(tmp_path / "alone.h5")


def test_other_options_of_the_sink_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stopped(tmp_path, monkeypatch)
    with pytest.raises(RecordingError, match="was begun with other options of the sink Store"):
        _gone_on(tmp_path, keep="max")


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    _by_itself(other)
    for sink, error, text in (
        (lambda: Store("rec.zarr"), OptionError, "a recording is an HDF5 file: rec.h5"),
        (lambda: Store(tmp_path / "a.h5", keep="meen"), OptionError, "keep='meen' is not known"),
        (lambda: Store(tmp_path / "a.h5", dtype="float64"), OptionError, "dtype='float64' is not known"),
        (lambda: Store(tmp_path / "a.h5", layers="3"), LayerNotFound, "no layer '3'"),
        (lambda: Store(other, keep="max"), RecordingError, r"holds another recording; Store\(force=True\) replaces it"),
    ):
        with pytest.raises(error, match=text):
            netphys.record(_chain(), _shown(), keep="mean", sinks=[sink()], **OPTIONS)
    with pytest.raises(RecordingError, match="it cannot be fed by hand"):
        Store(tmp_path / "a.h5").open([], [])
    netphys.record(_chain(), _shown(), keep="mean", sinks=[Store(other, keep="max", force=True)], **OPTIONS)
    assert netphys.load_recording(other).header["keep"] == "max"
    assert {each.name for each in tmp_path.iterdir()} == {"other.h5"}


def test_one_file_has_one_writer(tmp_path: Path) -> None:
    second, first = tmp_path / "second.h5", tmp_path / "first.h5"
    for into, sinks in (
        (first, [Store(first, keep="max")]),
        (first, [Store(second), Store(tmp_path / "." / "second.h5", keep="max")]),
        (None, [Store(second), Store(second)]),
    ):
        with pytest.raises(RecordingError, match="this pass writes into that file already; give it another path"):
            netphys.record(_chain(), _shown(), keep="mean", into=into, sinks=sinks, **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_the_file_is_locked_while_the_pass_runs(tmp_path: Path) -> None:
    import fcntl

    class Looks(Stops):
        def write(self, layer: str, rows: np.ndarray, activation: Any) -> None:
            with (tmp_path / ".second.h5.lock").open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    for into in (None, tmp_path / "first.h5"):
        sinks = [Store(tmp_path / "second.h5"), Looks(None)]
        netphys.record(_chain(), _shown(), keep="mean", into=into, sinks=sinks, **OPTIONS)
    assert not list(tmp_path.glob(".*"))


def test_a_pass_killed_while_the_sinks_shards_are_removed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sharding.remove_tree

    def remove(folder: Path) -> None:
        if folder.name == "second.h5.partial" and (left := list(folder.glob("shard-*"))):
            left[0].unlink()
            raise KeyboardInterrupt
        real(folder)

    monkeypatch.setattr(sharding, "remove_tree", remove)
    with pytest.raises(KeyboardInterrupt):
        _gone_on(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "first.h5.partial").exists() and (tmp_path / "second.h5.partial").exists()
    _gone_on(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"first.h5", "second.h5"}
    assert (tmp_path / "second.h5").read_bytes() == _by_itself(tmp_path / "alone.h5")


def test_a_fit_is_stored_under_the_digest_of_record(tmp_path: Path) -> None:
    others = netphys.StimulusSet.from_arrays(
        np.random.default_rng(7).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8), ids=[f"o{n}" for n in range(12)]
    )
    netphys.record(_chain(), others, into=tmp_path / "fit.h5", **OPTIONS)
    keep = f"pca?k=3&fit={tmp_path / 'fit.h5'}"
    netphys.record(_chain(), _shown(), keep="mean", sinks=[Store(tmp_path / "second.h5", keep=keep)], **OPTIONS)
    netphys.record(_chain(), _shown(), keep=keep, into=tmp_path / "alone.h5", **OPTIONS)
    assert (tmp_path / "second.h5").read_bytes() == (tmp_path / "alone.h5").read_bytes()
