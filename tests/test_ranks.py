"""The gradient of a loss over the joined batch is that of one process; a plain gather's is not.

definitions/objectives.md, C6: a gather that keeps only its own rank's gradient has a right loss and a wrong gradient.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from netphys.ranks import Alone


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("ranks")
    program = Path(__file__).with_name("ranks_child.py")
    subprocess.run([sys.executable, str(program), str(folder)], check=True, timeout=120)
    return {path.stem: torch.load(path, weights_only=True) for path in folder.glob("*.pt")}


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
