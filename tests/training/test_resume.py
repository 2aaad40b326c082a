"""A training survives SIGKILL at any moment: the same call goes on and ends with the undisturbed one's bits.

definitions/trust.md, 4, and objectives.md, C5. The children are those of ``training_server.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from training_server import KILLED, Server

from netphys.objectives import OBJECTIVES

TOY = {"objective": "toy", "n_steps": 60, "save_every": 7}


def check(folder: Path, reference: Path) -> list[str]:
    """Say what differs from the undisturbed training; nothing should."""
    ours, theirs = folder / "out", reference / "out"
    faults = [
        name
        for name in ("weights.safetensors", "objective.safetensors", "objective.json")
        if (ours / name).read_bytes() != (theirs / name).read_bytes()
    ]
    curves = [pd.read_csv(each / "curve.csv", dtype=str) for each in (ours, theirs)]
    if not curves[0].drop(columns="seconds").equals(curves[1].drop(columns="seconds")):
        faults.append("curve")
    said = [json.loads((each / "training.json").read_text()) for each in (ours, theirs)]
    faults += [key for key in ("plan", "references") if said[0][key] != said[1][key]]
    if {each.name for each in ours.iterdir()} != {each.name for each in theirs.iterdir()}:
        faults.append("something left behind")
    return faults


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert server.run(folder, TOY) == 0
    return folder


@pytest.mark.parametrize("objective", ["toy", *OBJECTIVES])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_ten_steps_a_new_process_and_ten_steps_are_twenty(
    server: Server, tmp_path: Path, objective: str, precision: str
) -> None:
    """The checkpoint is in mid-epoch: an epoch has four steps."""
    order = {"objective": objective, "n_steps": 20, "precision": precision}
    if objective == "colorization":
        order["options"] = {"target_side": 4}
    assert server.run(tmp_path / "whole", {**order, "save_every": 1000}) == 0
    assert server.run(tmp_path / "parts", {**order, "save_every": 10, "die_after_save": 1}) == KILLED
    assert (tmp_path / "parts/out/checkpoint.safetensors").is_file()
    assert server.run(tmp_path / "parts", {**order, "save_every": 1000}) == 0
    assert check(tmp_path / "parts", tmp_path / "whole") == []


@pytest.mark.parametrize(
    ("sabotage", "seen"),
    [
        ("forget the optimizers", {"weights.safetensors", "objective.safetensors", "curve"}),
        ("forget the random state", {"weights.safetensors", "objective.safetensors", "curve"}),
        ("forget the targets", {"weights.safetensors", "objective.safetensors", "curve"}),
        ("forget the cursor", {"weights.safetensors", "objective.safetensors", "curve"}),
    ],
)
def test_the_check_sees_a_trainer_that_forgets(
    server: Server, undisturbed: Path, tmp_path: Path, sabotage: str, seen: set[str]
) -> None:
    """Controls: each thing that is saved is needed."""
    folder = tmp_path / "run"
    assert server.run(folder, {**TOY, "die_after_save": 2}) == KILLED
    assert server.run(folder, {**TOY, "sabotage": sabotage}) == 0
    assert set(check(folder, undisturbed)) == seen


def test_the_check_sees_a_checkpoint_that_is_written_over_the_old_one(server: Server, tmp_path: Path) -> None:
    """Control: dead in the midst of it, the training cannot go on."""
    folder = tmp_path / "run"
    assert server.run(folder, {**TOY, "sabotage": "write over the old one"}) == KILLED
    with pytest.raises(AssertionError, match="checkpoint.safetensors is damaged"):
        server.run(folder, TOY)


def _killed_at_random(server: Server, undisturbed: Path, tmp_path: Path, runs: range) -> int:
    """Kill up to five times a run at U(0, T); return how many kills there were."""
    started = time.monotonic()
    assert server.run(tmp_path / "timed", TOY) == 0
    duration = time.monotonic() - started
    total = 0
    for run in runs:
        rng, folder = np.random.default_rng(run), tmp_path / f"run{run}"
        kills = 0
        while server.run(folder, TOY, kill_after=rng.uniform(0, duration) if kills < 5 else None) != 0:
            kills += 1
        assert check(folder, undisturbed) == [], f"run {run} after {kills} kills"
        shutil.rmtree(folder)
        total += kills
    return total


def test_killed_at_random_moments(server: Server, undisturbed: Path, tmp_path: Path) -> None:
    assert _killed_at_random(server, undisturbed, tmp_path, range(10)) >= 10  # it is killed in earnest


@pytest.mark.slow
def test_killed_at_random_moments_often(server: Server, undisturbed: Path, tmp_path: Path) -> None:
    n_runs = int(os.environ.get("NETPHYS_KILLS", "50"))  # the nightly script asks for more
    assert _killed_at_random(server, undisturbed, tmp_path, range(100, 100 + n_runs)) >= n_runs


def _killed_before_calls(server: Server, tmp_path: Path, order: dict[str, Any], every: int) -> None:
    """Kill before every so-manyth sync, rename, unlink, write and folder; then let the same call finish."""
    assert server.run(tmp_path / "counted", {**order, "die_at": 0}) == 0
    n_calls = int((tmp_path / "counted/calls").read_text())
    assert n_calls > 20
    for number in range(1, n_calls + 1, every):
        folder = tmp_path / f"call{number}"
        assert server.run(folder, {**order, "die_at": number}) == KILLED, number
        assert server.run(folder, order) == 0
        assert check(folder, tmp_path / "counted") == [], f"killed before call {number} of {n_calls}"
        shutil.rmtree(folder)


def test_killed_inside_the_saves(server: Server, tmp_path: Path) -> None:
    _killed_before_calls(server, tmp_path, {"objective": "toy", "n_steps": 4, "save_every": 2}, 5)


@pytest.mark.slow
@pytest.mark.parametrize("save_every", [2, 1000])
def test_killed_before_every_system_call(server: Server, tmp_path: Path, save_every: int) -> None:
    """With and without a checkpoint: the folder of the result is half-written, too."""
    _killed_before_calls(server, tmp_path, {"objective": "toy", "n_steps": 4, "save_every": save_every}, 1)
