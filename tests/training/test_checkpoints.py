"""A checkpoint comes back bit for bit, damage is said, and not one thing in it can be lost unseen."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from test_loop import begun
from toy_objective import Toy

from netphys.errors import TrainingError
from netphys.training.checkpoints import (
    Checkpoint,
    capture,
    differences,
    objective_state,
    read_checkpoint,
    restore,
    write_checkpoint,
)
from netphys.training.optimizers import Optimizers

STEPS, MORE = 6, 8  # an epoch has four; the first evaluation after the checkpoint comes at 8, the last at 14


def advanced(loop, n):
    for _ in range(n):
        loop.step()
    return loop


def resumed(checkpoint: Checkpoint):
    """A new training that goes on from a checkpoint."""
    loop = begun(n_steps=STEPS + MORE, evaluate_every=4)
    loop.objective.load_state_dict(objective_state(checkpoint))
    loop.optimizers = Optimizers(loop.objective, weight_decay=loop.plan["weight_decay"])
    restore(loop, checkpoint)
    return loop


def final(loop) -> dict[str, bytes]:
    """Everything at the end, but the seconds."""
    end = capture(loop)
    found = {name: each.numpy().tobytes() for name, each in end.tensors.items() if name != "curve/rows"}
    rows = end.tensors["curve/rows"].numpy()
    found["curve"] = np.delete(rows, 3, axis=1).tobytes()
    said = {key: value for key, value in end.said.items() if key != "seconds"}
    found["said"] = json.dumps(said, sort_keys=True).encode()
    return found


@pytest.fixture(scope="module")
def half():
    """A checkpoint in mid-epoch, what it would hold at the very beginning, and the undisturbed end."""
    loop = begun(n_steps=STEPS + MORE, evaluate_every=4)
    start = capture(loop)
    checkpoint = capture(advanced(loop, STEPS))
    checkpoint = Checkpoint(checkpoint.plan, json.loads(json.dumps(checkpoint.said)), dict(checkpoint.tensors))
    checkpoint.tensors.update({name: each.clone() for name, each in checkpoint.tensors.items()})
    return checkpoint, start, final(advanced(loop, MORE))


def test_it_comes_back_bit_for_bit(half, tmp_path) -> None:
    checkpoint, _, end = half
    write_checkpoint(tmp_path / "c.safetensors", checkpoint)
    again = read_checkpoint(tmp_path / "c.safetensors")
    assert again.said == checkpoint.said and again.plan == checkpoint.plan
    assert all(torch.equal(again.tensors[name], each) for name, each in checkpoint.tensors.items())
    assert final(advanced(resumed(again), MORE)) == end


def names_of_tensors():
    return sorted(capture(advanced(begun(), 1)).tensors)


@pytest.mark.parametrize("name", names_of_tensors())
def test_a_tensor_that_is_lost_is_seen(half, name: str) -> None:
    """Control, for each of them: what it holds goes back to its beginning, and the end differs."""
    checkpoint, start, end = half
    lost = start.tensors[name] if name in start.tensors else torch.zeros_like(checkpoint.tensors[name])
    if torch.equal(lost, checkpoint.tensors[name]):  # fitted before the first step, so that it did not change since
        lost = torch.zeros_like(lost)
    tensors = {**checkpoint.tensors, name: lost}
    if name == "curve/rows":
        tensors[name] = checkpoint.tensors[name][:-1]
    assert final(advanced(resumed(Checkpoint(checkpoint.plan, checkpoint.said, tensors)), MORE)) != end


@pytest.mark.parametrize(("key", "value"), [("done", 0), ("evaluations", {}), ("references", {"chance": 1.0})])
def test_a_fact_that_is_lost_is_seen(half, key: str, value) -> None:
    """Control: the cursor, the evaluations and the references."""
    checkpoint, _, end = half
    said = {**checkpoint.said, key: value}
    loop = resumed(Checkpoint(checkpoint.plan, said, checkpoint.tensors))
    assert final(advanced(loop, MORE)) != end


def test_every_damaged_byte_is_noticed(half, tmp_path) -> None:
    checkpoint = half[0]
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, checkpoint)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(8, len(data), 60):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x15]) + data[place + 1 :])
        with pytest.raises(TrainingError, match="damaged|no checkpoint of netphys"):
            read_checkpoint(path)
    for n in (0, 7, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:n])
        with pytest.raises(TrainingError, match="is damaged .*--force begins anew"):
            read_checkpoint(path)


def test_what_differs_is_named() -> None:
    plan = {"seed": 1, "n_steps": 5, "network": "a" * 64}
    assert differences(plan, dict(plan)) == ""
    said = differences(plan, {"seed": 1, "n_steps": 7, "network": "b" * 64})
    assert said == "n_steps (7 there, 5 asked for), network" or said == "network, n_steps (7 there, 5 asked for)"


def test_only_kernels_decay() -> None:
    loop = begun(Toy)
    groups = loop.optimizers._by_turn["main"].param_groups
    assert all(each.ndim >= 2 for each in groups[0]["params"]) and groups[0]["weight_decay"] == 0.05
    assert all(each.ndim < 2 for each in groups[1]["params"]) and groups[1]["weight_decay"] == 0
    assert loop.optimizers._factors == {"main": [1.0, 1.0], "critic": [0.5]}
