"""The state of a training as one file: what is needed to go on as if nothing had happened.

One safetensors file holds every tensor of the objective (its trunk, heads and buffers) and of its optimizers, and the
curve so far; its metadata say how far the training is and what it depends on. It is committed by rename, so that a kill
leaves the last good one or the new one. No generator's state is in it: every step is seeded by (seed, step).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from netphys.errors import TrainingError
from netphys.files import committing
from netphys.guards import first_line

if TYPE_CHECKING:
    from torch import Tensor

    from netphys.training.loop import Loop

__all__ = ["CHECKPOINT", "Checkpoint", "capture", "differences", "read_checkpoint", "restore", "write_checkpoint"]

CHECKPOINT = "checkpoint.safetensors"
_FORMAT = "netphys-checkpoint-1"
_OBJECTIVE, _OPTIMIZER, _CURVE = "objective/", "optimizer/", "curve/rows"


@dataclass(frozen=True)
class Checkpoint:
    """A training so far.

    Parameters
    ----------
    plan : dict
        What it depends on.
    said : dict
        ``done`` (steps), ``seconds``, ``columns``, ``evaluations``, ``references``.
    tensors : dict of tensors
        ``objective/NAME``, ``optimizer/TURN/PARAMETER/KEY``, ``curve/rows``.
    """

    plan: dict[str, Any]
    said: dict[str, Any]
    tensors: dict[str, Tensor]


def capture(loop: Loop) -> Checkpoint:
    """Take the state of a training between two steps; what waited on the device is fetched first."""
    loop.fetch()
    said = {
        "done": loop.done,
        "seconds": loop.rows[-1][3] if loop.rows else loop.seconds,
        "columns": loop.columns,
        "evaluations": {str(step): values for step, values in loop.evaluations.items()},
        "references": loop.references,
    }
    tensors = {_OBJECTIVE + name: each for name, each in loop.objective.state_dict().items()}
    tensors |= {_OPTIMIZER + name: each for name, each in loop.optimizers.state().items()}
    tensors[_CURVE] = torch.tensor(loop.rows, dtype=torch.float64)
    # parameters that are one tensor under two names are written twice; views and strides do not reach the file
    return Checkpoint(dict(loop.plan), said, {name: each.detach().cpu().contiguous() for name, each in tensors.items()})


def restore(loop: Loop, checkpoint: Checkpoint) -> None:
    """Bring a training that has just been made to where a checkpoint is; its objective's state is loaded already."""
    said = checkpoint.said
    loop.optimizers.load(part(checkpoint.tensors, _OPTIMIZER))
    loop.done, loop.seconds, loop.columns = int(said["done"]), float(said["seconds"]), list(said["columns"])
    loop.rows = checkpoint.tensors[_CURVE].tolist()
    loop.evaluations = {int(step): dict(values) for step, values in said["evaluations"].items()}
    loop.references = dict(said["references"])


def objective_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the state dict of the objective."""
    return part(checkpoint.tensors, _OBJECTIVE)


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Commit a checkpoint.

    Raises
    ------
    OutputError
        If the system refuses.
    """
    from safetensors.torch import save

    tensors = {name: each.clone() for name, each in checkpoint.tensors.items()}  # safetensors refuses shared memory
    state = json.dumps({"plan": checkpoint.plan, "said": checkpoint.said})  # columns stay in their order
    metadata = {"format": _FORMAT, "state": state, "sha256": _digest(state, tensors)}
    with committing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    TrainingError
        If it is damaged, in whatever way.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except Exception as error:
        raise TrainingError(f"{path} is damaged ({first_line(error)}); --force begins anew") from None
    if metadata.get("format") != _FORMAT:
        raise TrainingError(f"{path} is no checkpoint of netphys, or of another version of it; --force begins anew")
    if metadata.get("sha256") != _digest(metadata.get("state", ""), tensors):
        raise TrainingError(f"{path} is damaged (checksum); --force begins anew")
    state = json.loads(metadata["state"])
    return Checkpoint(state["plan"], state["said"], tensors)


def differences(plan: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Say in what two plans differ, as the part of a message: ``n_steps (300, not 500), network``.

    Parameters
    ----------
    plan : mapping
        What is asked for.
    other : mapping
        What is there.
    """
    found = []
    for key in sorted(plan.keys() | other.keys()):
        asked, there = plan.get(key), other.get(key)
        if asked == there:
            continue
        short = all(len(json.dumps(each)) <= 24 for each in (asked, there))
        found.append(f"{key} ({json.dumps(there)} there, {json.dumps(asked)} asked for)" if short else key)
    return ", ".join(found)


def _digest(said: str, tensors: Mapping[str, Tensor]) -> str:
    """Digest what a checkpoint says and holds."""
    sha = hashlib.sha256(said.encode())
    for name in sorted(tensors):
        each = tensors[name]
        sha.update(f"{name}\0{each.dtype}\0{tuple(each.shape)}\0".encode())
        sha.update(each.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
