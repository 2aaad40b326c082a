"""Gradients of several ranks are those of the joined batch, for every objective; wrong gathers are seen."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from netphys.objectives import OBJECTIVES, Couples
from netphys.ranks import Alone

CHILD = Path(__file__).with_name("rank_child.py")


@pytest.fixture(scope="module")
def child() -> Any:
    spec = importlib.util.spec_from_file_location("rank_child", CHILD)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Run three processes, which work together as two and then as three."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    children = [
        subprocess.Popen([sys.executable, CHILD, folder, str(rank)], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(3)
    ]
    try:
        said = [each.communicate(timeout=120)[1] for each in children]
    finally:
        for each in children:
            each.kill()
    assert [each.returncode for each in children] == [0, 0, 0], "\n".join(said)
    return torch.load(folder / "found.pt", weights_only=True)


def error(name: str, found: torch.Tensor, child: Any) -> float:
    """Largest error of the gradient, relative to its largest entry."""
    expected = child.gradient(name, slice(None), Alone())[1:]
    return float((found[1:] - expected).abs().max() / expected.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_gradient_of_ranks_is_that_of_the_joined_batch(name: str, n: int, found: Any, child: Any) -> None:
    assert error(name, found[f"{name} {n} right"], child) < 1e-9
    joined = child.gradient(name, slice(None), Alone())[0]
    assert abs(found[f"{name} {n} right"][0] - joined) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
def test_wrong_gathers_are_seen(n: int, found: Any, child: Any) -> None:
    """Control: own gradient only (the loss is right, the gradient is not), and no gather at all."""
    for name in (each for each, kind in OBJECTIVES.items() if kind.couples is not Couples.NONE):
        joined = child.gradient(name, slice(None), Alone())[0]
        assert abs(found[f"{name} {n} own"][0] - joined) < 1e-9
        assert error(name, found[f"{name} {n} own"], child) > 1e-2
        assert error(name, found[f"{name} {n} alone"], child) > 1e-2
