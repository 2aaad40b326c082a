"""The gradient of a loss over the joined batch is that of one process; a plain gather's is not.

definitions/objectives.md, C6: a gather that keeps only its own rank's gradient has a right loss and a wrong gradient.
Words reach all ranks, and so does the error of one: nobody waits for who has ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from netphys.ranks import Alone, joined, own_device, part_of


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("ranks")
    program = Path(__file__).with_name("ranks_child.py")
    subprocess.run([sys.executable, str(program), str(folder)], check=True, timeout=120)
    said = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    return said | {path.stem: torch.load(path, weights_only=True) for path in folder.glob("*.pt")}


def error(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("loss", ["contrast", "moments"])
def test_the_gradient_is_that_of_one_process(found, n: int, loss: str) -> None:
    for rank in range(n):
        assert error(found[f"{n}-{rank}"]["right"][loss], found["alone"]["right"][loss]) < 1e-12  # float64


@pytest.mark.parametrize("n", [2, 3])
def test_a_gather_that_keeps_its_own_gradient_is_seen(found, n: int) -> None:
    """Control."""
    assert error(found[f"{n}-0"]["local"]["contrast"], found["alone"]["right"]["contrast"]) > 1e-2


@pytest.mark.parametrize("n", [2, 3])
def test_rows_come_in_the_order_of_ranks_and_counts_carry_no_gradient(found, n: int) -> None:
    for rank in range(n):
        said = found[f"{n}-{rank}"]
        assert said["joined"]["rows"].flatten().tolist() == list(range(n))
        assert said["counts"]["total"].tolist() == [sum(range(1, n + 1))] * 2
        assert not said["counts"]["flows"]


def test_alone_all_verbs_are_identities() -> None:
    ranks, values = Alone(), torch.ones(2, 3, requires_grad=True)
    assert ranks.gather(values) is values and ranks.sum(values) is values
    assert torch.equal(ranks.sum_without_gradient(values), values)
    assert not ranks.sum_without_gradient(values).requires_grad
    assert (ranks.rank, ranks.n) == (0, 1)
    assert ranks.share("word") == ["word"] and ranks.fail(ValueError())


def test_words_reach_all_ranks_and_a_group_that_was_opened_is_closed(found) -> None:
    for rank, part in enumerate(([0, 1, 2], [3, 4], [5, 6])):
        heard = [rank, 3, "cpu", part, {"rank": 2, "much": "ü" * 100}, True]
        assert found[f"well-{rank}"] == [*heard, False]
        assert found[f"twice-{rank}"] == [*heard, *heard, False]  # the second group meets nothing of the first


@pytest.mark.parametrize(
    ("case", "culprit", "own", "others"),
    [
        ("fails", 1, "OptionError: no such thing", "RanksError: rank 1: no such thing"),
        ("breaks", 2, "ValueError: a bug", "RanksError: rank 2: ValueError: a bug"),
        ("late", 0, "OptionError: too late", "RanksError: rank 0: too late"),
    ],
)
def test_an_error_of_one_rank_ends_all(found, case: str, culprit: int, own: str, others: str) -> None:
    for rank in range(3):
        assert found[f"{case}-{rank}"] == (own if rank == culprit else others)


def test_a_rank_that_is_killed_or_does_not_answer_ends_all(found) -> None:
    assert "killed-1" not in found
    for rank in (0, 2):
        assert found[f"killed-{rank}"] == "RanksError: another rank has ended, or did not answer within 0:01:00"
        assert found[f"silent-{rank}"] == "RanksError: another rank has ended, or did not answer within 0:00:03"
    assert found["silent-1"].startswith("RanksError: another rank has ended")


def test_alone_nothing_is_opened_and_parts_are_whole() -> None:
    with joined() as ranks, joined() as inner:
        assert inner is ranks and isinstance(ranks, Alone) and not torch.distributed.is_initialized()
        assert own_device("cuda", ranks) == "cuda" and part_of([1, 2], ranks) == [1, 2]
