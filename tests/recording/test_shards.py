"""Shards and their journal: a kill loses no whole shard, damage is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netphys.errors import RecordingError
from netphys.recording.shards import Shards, agrees

PLAN = {"network": "abc", "layers": [["a", 3], ["b", 2, 2]], "batch_size": 4}
SHAPES = {"a": (3,), "b": (2, 2)}


def _blocks(seed: int, n: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(n, *shape)).astype("f4") for name, shape in SHAPES.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of 4, 4 and 2 stimuli, each with a state of a sink."""
    shards = Shards(tmp_path / "rec.h5.partial", PLAN, SHAPES, "float32")
    for seed, n_rows in enumerate((4, 4, 2)):
        shards.append(_blocks(seed), n_rows, {"0/sum": np.array([seed])})
    return tmp_path / "rec.h5.partial"


def _opened(folder: Path, **plan: Any) -> Shards:
    return Shards(folder, {**PLAN, **plan}, SHAPES, "float32")


@pytest.mark.parametrize("step", [1, 3, 4, 5, 100])
def test_rows_come_back_in_blocks_of_any_size(folder: Path, step: int) -> None:
    shards = _opened(folder)
    assert shards.n_rows == 10 and shards.states()["0/sum"].tolist() == [2]
    shards.verify()
    expected = np.concatenate([_blocks(0)["b"], _blocks(1)["b"], _blocks(2)["b"][:2]])
    starts, parts = zip(*shards.rows("b", step))
    assert list(starts) == list(range(0, 10, step)) and np.array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize(
    "tail", [b'{"file": "shard-000', b"\xff\x00 torn", b'{"file": 3}\n', b"[]\n", b"3\n", b"null\n"]
)
def test_a_torn_line_of_the_journal_is_dropped(folder: Path, tail: bytes) -> None:
    journal = folder / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)
    shards = _opened(folder)
    assert shards.n_rows == 10 and journal.read_bytes() == whole  # else it would glue itself to the next line
    shards.append(_blocks(3), 4, {})
    assert _opened(folder).n_rows == 14


def test_a_line_that_is_torn_in_the_midst_drops_its_shard(folder: Path) -> None:
    journal = folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-1])  # the newline alone is missing: not known to be whole
    assert _opened(folder).n_rows == 8


def test_without_dropping_the_torn_line_the_next_one_is_lost(folder: Path) -> None:
    """Control: what the rewriting is for."""
    journal = folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"torn')
    with journal.open("ab") as file:
        file.write(json.dumps({"file": "shard-00003.bin"}).encode() + b"\n")
    assert len(journal.read_bytes().split(b"\n")) - 1 == 4 and _opened(folder).n_rows == 10


def test_a_shard_without_its_line_or_a_line_without_its_shard_is_dropped(folder: Path) -> None:
    (folder / "shard-00003.bin").write_bytes(b"x" * 1000)
    assert _opened(folder).n_rows == 10
    (folder / "shard-00001.bin").unlink()
    shards = _opened(folder)
    assert shards.n_rows == 4
    shards.append(_blocks(9), 4, {})
    assert np.array_equal(np.concatenate([part for _, part in shards.rows("a", 4)])[4:], _blocks(9)["a"])


def test_a_shard_that_is_cut_short_is_dropped(folder: Path) -> None:
    path = folder / "shard-00002.bin"
    path.write_bytes(path.read_bytes()[:10])
    assert _opened(folder).n_rows == 8


@pytest.mark.parametrize("at", [0, 17, -1])
def test_one_changed_bit_is_found_before_packing(folder: Path, at: int) -> None:
    path = folder / "shard-00001.bin"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=r"shard-00001.bin is not what was written \(checksum\); remove .*partial"):
        _opened(folder).verify()


def test_damaged_states_are_found_before_they_are_used(folder: Path) -> None:
    path = folder / "shard-00002.bin"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RecordingError, match="shard-00002.bin is not what was written"):
        _opened(folder).states()


def test_another_plan_is_refused_by_what_differs(folder: Path) -> None:
    with pytest.raises(RecordingError, match=r"was begun with other batch_size, keep; remove it \(or --force\)"):
        _opened(folder, batch_size=5, keep="mean")
    assert agrees(folder, PLAN) and not agrees(folder, {**PLAN, "batch_size": 5}) and not agrees(folder / "x", PLAN)
    (folder / "plan.json").write_text("{")
    with pytest.raises(RecordingError, match="plan.json is damaged; remove"):
        _opened(folder)


def test_another_plan_takes_over_where_no_shard_was_written(tmp_path: Path) -> None:
    Shards(tmp_path / "p", PLAN, SHAPES, "float32")
    _opened(tmp_path / "p", batch_size=5)
    assert agrees(tmp_path / "p", {**PLAN, "batch_size": 5})


def test_remove_leaves_nothing(folder: Path) -> None:
    _opened(folder).remove()
    assert not folder.exists()


def test_a_folder_that_lost_its_plan_is_begun_anew(folder: Path) -> None:
    """A user's rm, or a removal that was killed: its shards are of nobody knows which recording."""
    (folder / "plan.json").unlink()
    shards = _opened(folder, network="another")
    assert shards.n_rows == 0 and sorted(each.name for each in folder.iterdir()) == ["plan.json"]


def test_a_line_of_another_plan_is_dropped(folder: Path) -> None:
    """Another's journal beside our plan, whatever brought it there."""
    plan = json.dumps({**PLAN, "network": "another"})
    (folder / "plan.json").write_text(plan)
    assert _opened(folder, network="another").n_rows == 0
    journal = (folder / "journal.jsonl").read_bytes()
    assert not journal  # and does not come back when the next shard is written


def test_without_the_plan_in_its_lines_the_others_shards_would_be_taken(folder: Path) -> None:
    """Control: all else about the lines fits."""
    lines = (folder / "journal.jsonl").read_text().splitlines()
    ours = Shards(folder.with_name("ours"), {**PLAN, "network": "another"}, SHAPES, "float32")
    ours.append(_blocks(0), 4, {"0/sum": np.array([0])})
    own, other = json.loads((folder.with_name("ours") / "journal.jsonl").read_text()), json.loads(lines[0])
    assert own.pop("plan") != other.pop("plan") and own == other


@pytest.mark.parametrize("n_removed", range(1, 5))
def test_a_removal_that_is_killed_leaves_nothing_that_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, n_removed: int
) -> None:
    import os

    real, calls = os.unlink, [0]

    def unlink(*given: Any, **more: Any) -> None:
        if calls[0] == n_removed:
            raise KeyboardInterrupt
        calls[0] += 1
        real(*given, **more)

    shards = _opened(folder)
    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(KeyboardInterrupt):
        shards.remove()
    monkeypatch.undo()
    assert folder.exists() and _opened(folder).n_rows == 0
    assert _opened(folder, network="another").n_rows == 0


@pytest.mark.parametrize("plan", ["[]", "3", "null", '"x"', "{", "\udcff"])
def test_a_plan_that_is_no_table_is_damage(folder: Path, plan: str) -> None:
    (folder / "plan.json").write_bytes(plan.encode(errors="surrogateescape"))
    with pytest.raises(RecordingError, match=r"plan.json is damaged; remove .* \(or --force\)"):
        _opened(folder)
    assert not agrees(folder, PLAN)


@pytest.mark.parametrize(
    "change",
    [
        {"first": "0"}, {"n_rows": True}, {"n_rows": 0}, {"n_bytes": -1}, {"file": "../x"}, {"file": "/dev/zero"},
        {"plan": 3},
    ],
)  # fmt: skip
def test_odd_lines_of_the_journal_are_dropped(folder: Path, change: dict[str, Any]) -> None:
    journal = folder / "journal.jsonl"
    lines = journal.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    journal.write_text("\n".join(lines) + "\n")
    assert _opened(folder).n_rows == 4


def test_links_are_not_followed(folder: Path) -> None:
    link = folder.with_name("link.h5.partial")
    link.symlink_to(folder)
    with pytest.raises(RecordingError, match=r"link.h5.partial is a link to elsewhere, which is not followed"):
        _opened(link)
    moved = folder.with_name("elsewhere.bin")
    (folder / "shard-00001.bin").rename(moved)
    (folder / "shard-00001.bin").symlink_to(moved)
    assert _opened(folder).n_rows == 4


def test_options_of_a_sink_are_named(tmp_path: Path) -> None:
    begun = {**PLAN, "sinks": {"0 room.TopPatches": {"k": "9"}}}
    Shards(tmp_path / "p", begun, SHAPES, "float32").append(_blocks(0), 4, {})
    with pytest.raises(RecordingError, match="was begun with other options of the sink TopPatches; remove"):
        _opened(tmp_path / "p", sinks={"0 room.TopPatches": {"k": "4"}})
    with pytest.raises(RecordingError, match="was begun with other sinks; remove"):
        _opened(tmp_path / "p", sinks={})
