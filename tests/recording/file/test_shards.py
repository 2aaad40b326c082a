"""Shards and their journal: a kill loses no whole shard, damage is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netphys.errors import RecordingError
from netphys.recording.file.shards import Cut, Shards, agrees, cut_into, remove_shards

PLAN = {"network": "abc", "layers": [["a", 3], ["b", 2, 2]], "batch_size": 4}
SHAPES = {"a": (3,), "b": (2, 2)}
CUT = Cut(n_rows=10, shard_rows=4)


def _blocks(seed: int, n: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(n, *shape)).astype("f4") for name, shape in SHAPES.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of 4, 4 and 2 stimuli, each with a state of a sink."""
    shards = Shards(tmp_path / "rec.h5.partial", PLAN, SHAPES, "float32", cut=CUT)
    for index in range(3):
        shards.append(index, _blocks(index), {"0/sum": np.array([index])})
    return tmp_path / "rec.h5.partial"


def _opened(folder: Path, *, in_order: bool = True, rank: int = 0, **plan: Any) -> Shards:
    return Shards(folder, {**PLAN, **plan}, SHAPES, "float32", cut=CUT, in_order=in_order, rank=rank)


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
    (folder / "shard-00002.bin").unlink()
    assert _opened(folder).missing == [2]
    _opened(folder).append(2, _blocks(3))
    assert _opened(folder).n_rows == 10


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
    assert _opened(folder, in_order=False).missing == [1]
    shards = _opened(folder)
    assert shards.missing == [1, 2]
    shards.append(1, _blocks(9))
    assert shards.missing == [2] and _opened(folder).missing == [2]
    shards.append(2, _blocks(8))
    expected = np.concatenate([_blocks(0)["a"], _blocks(9)["a"], _blocks(8)["a"][:2]])
    assert np.array_equal(np.concatenate([part for _, part in shards.rows("a", 3)]), expected)


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
    _opened(tmp_path / "p")
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
    ours = _opened(folder.with_name("ours"), network="another")
    ours.append(0, _blocks(0), {"0/sum": np.array([0])})
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
    Shards(tmp_path / "p", begun, SHAPES, "float32", cut=CUT).append(0, _blocks(0))
    with pytest.raises(RecordingError, match="was begun with other options of the sink TopPatches; remove"):
        _opened(tmp_path / "p", sinks={"0 room.TopPatches": {"k": "4"}})
    with pytest.raises(RecordingError, match="was begun with other sinks; remove"):
        _opened(tmp_path / "p", sinks={})


# Several ranks


def test_every_rank_has_a_journal_of_its_own_and_all_are_read(tmp_path: Path) -> None:
    first = _opened(tmp_path / "p", in_order=False)
    second = _opened(tmp_path / "p", in_order=False, rank=1)
    second.append(2, _blocks(2))
    first.append(0, _blocks(0))
    assert first.missing == [1, 2] and second.missing == [0, 1]  # what each knows of
    first.refresh()
    assert first.missing == [1] and first.n_rows == 6
    assert sorted(each.name for each in (tmp_path / "p").glob("*.jsonl")) == ["journal-1.jsonl", "journal.jsonl"]
    again = _opened(tmp_path / "p", in_order=False)  # by another number of ranks
    again.append(1, _blocks(1))
    again.verify()
    expected = np.concatenate([_blocks(0)["b"], _blocks(1)["b"], _blocks(2)["b"][:2]])
    assert np.array_equal(np.concatenate([part for _, part in again.rows("b", 7)]), expected)


def test_shards_beyond_a_gap_are_dropped_where_states_stand_for_all_before(tmp_path: Path) -> None:
    shards = _opened(tmp_path / "p", in_order=False)
    for index in (0, 2):
        shards.append(index, _blocks(index), {"0/sum": np.array([index])})
    assert _opened(tmp_path / "p", in_order=False).states(2)["0/sum"].tolist() == [2]
    assert _opened(tmp_path / "p").missing == [1, 2]
    assert _opened(tmp_path / "p", in_order=False).missing == [1, 2]  # and do not come back


def test_only_rank_0_mends_a_journal(folder: Path) -> None:
    journal = folder / "journal-1.jsonl"
    journal.write_bytes(b'{"torn')
    assert _opened(folder, rank=1).n_rows == 10 and journal.read_bytes() == b'{"torn'
    _opened(folder)
    assert journal.read_bytes() == b""


def test_a_journal_that_two_write_to_can_be_torn_in_its_midst(folder: Path) -> None:
    """Control: what the journals of their own are for; a torn line takes the next one with it."""
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "journal.jsonl").write_bytes(lines[0] + lines[1][:50] + lines[2] + lines[1][50:])
    assert _opened(folder, in_order=False).missing == [1, 2]


def test_shards_are_cut_by_bytes_and_so_that_ranks_have_work() -> None:
    assert cut_into(10, 32, 1) == Cut(10, 10) and cut_into(33, 32, 1) == Cut(33, 32)
    large = cut_into(100_000, 32, 1 << 20)
    assert large.shard_rows == 32 and len(large) == 3125
    for n_rows in (1, 31, 32, 1000, 99_999):
        cut = cut_into(n_rows, 32, 100)
        rows = [row for index in range(len(cut)) for row in cut.rows(index)]
        assert rows == list(range(n_rows)) and len(cut) <= 32 and (cut.shard_rows % 32 == 0 or len(cut) == 1)


def test_shards_of_another_cut_are_dropped(folder: Path) -> None:
    other = Shards(folder, PLAN, SHAPES, "float32", cut=Cut(10, 5), in_order=False)
    assert other.missing == [0, 1]


def test_a_users_own_folder_is_never_removed(tmp_path: Path) -> None:
    own = tmp_path / "rec.h5.partial"
    own.mkdir()
    (own / "thesis.txt").write_text("precious")
    for act in (_opened, remove_shards):
        with pytest.raises(RecordingError, match="is in the way: thesis.txt is nothing that netphys has written"):
            act(own)
    assert (own / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("what", ["a nested plan", "a folder for a plan", "a folder for a journal", "a nested line"])
def test_damage_of_any_kind_is_one_line(folder: Path, what: str) -> None:
    if what == "a nested plan":
        (folder / "plan.json").write_text("[" * 200_000)
    elif what == "a nested line":
        (folder / "journal.jsonl").write_text("[" * 200_000 + "\n")
        assert _opened(folder).n_rows == 0
        return
    else:
        path = folder / ("plan.json" if "plan" in what else "journal.jsonl")
        path.unlink()
        path.mkdir()
    with pytest.raises(RecordingError) as caught:
        _opened(folder)
    assert "\n" not in str(caught.value)


def test_a_line_with_another_number_of_bytes_is_dropped(folder: Path) -> None:
    """The states of sinks are read from behind so many bytes."""
    journal = folder / "journal.jsonl"
    lines = journal.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), "n_bytes": json.loads(lines[1])["n_bytes"] - 1})
    journal.write_text("\n".join(lines) + "\n")
    assert _opened(folder).n_rows == 4
