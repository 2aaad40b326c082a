"""What a training is worth so far: its loss on held-out stimuli, beside the losses of those who learned nothing.

The objective is in eval mode, the views are the same each time, the precision is that of the training. Every rank
evaluates all of it, alone: the batch is that of the training, and so are the number of negatives and the chance level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from netphys.errors import OptionError
from netphys.objectives.collapse import collapse
from netphys.objectives.contract import Step
from netphys.ranks import Alone
from netphys.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

    from netphys.objectives.contract import Clock, Objective
    from netphys.training.batches import Batches
    from netphys.training.engine import Engine

__all__ = ["evaluate", "references", "reseed"]

_STEP_COLUMNS = ("step", "epoch", "rate", "seconds", "loss")  # of the curve, beside what is evaluated
_MONITORED = ("f", "z")  # features and projections, of whose collapse the curve tells


@torch.no_grad()
def evaluate(
    objective: Objective,
    batches: Batches,
    engine: Engine,
    at: Clock,
    *,
    seed: int,
    references: Mapping[str, float],
    callbacks: Mapping[str, Callable[[int, Objective], Mapping[str, float] | None]] = {},
) -> dict[str, float]:
    """Evaluate an objective on the held-out stimuli.

    Returns
    -------
    dict
        ``held_out`` (nats, or what the loss is in), the objective's logs as ``held_out_NAME``, ``bits_offered`` and
        ``bits_used`` a sample, measures of collapse of the features and projections, and what the callbacks say.
    """
    said_by: list[dict[str, Tensor]] = []  # each held-out batch
    sizes: list[int] = []
    outs: dict[str, list[Tensor]] = {}
    with evaluating(objective):
        reseed(derive_seed(seed, "evaluate"), engine.device)
        for batch in batches.held_out():
            made = _looked(objective, batch, engine, at)
            said_by.append(_named(made))
            sizes.append(len(next(iter(batch.values()))))
            for name in _MONITORED:
                if name in made.out:
                    outs.setdefault(name, []).append(made.out[name].detach().float())
            if "partner" in made.out:  # numbers of rows, which count on from batch to batch
                before = sum(len(each) for each in outs.get("partner", ()))
                outs.setdefault("partner", []).append(made.out["partner"] + before)
        said = _averaged(said_by, sizes)
        offered, used = objective.bits({**references, "held_out": said["held_out"]})
        said |= {"bits_offered": float(offered), "bits_used": float(used)}
        said |= _collapse({name: torch.cat(each) for name, each in outs.items()})
        for name, callback in callbacks.items():
            more = callback(at.step, objective) or {}
            of_steps = {*_STEP_COLUMNS, *(f"loss_{turn}" for turn in objective.turns)}
            of_steps |= {each.removeprefix("held_out_") for each in said}
            taken = sorted({*said, *of_steps} & set(more))
            if taken:
                raise OptionError(
                    f"callback {name} says {taken[0]!r}, which the curve has already; give it another name"
                )
            said |= {key: float(value) for key, value in more.items()}
    return said


@torch.no_grad()
def references(objective: Objective, batches: Batches, engine: Engine, *, seed: int) -> dict[str, float]:
    """Say the losses of those who learn nothing (and of an oracle), averaged over the held-out batches."""
    total: dict[str, float] = {}
    n = 0
    with evaluating(objective):
        reseed(derive_seed(seed, "reference"), engine.device)
        for batch in batches.held_out():
            size = len(next(iter(batch.values())))
            with engine.autocast():
                said = objective.reference(batch)
            total = {name: total.get(name, 0.0) + size * float(value) for name, value in said.items()}
            n += size
    return {name: value / n for name, value in total.items()}


def reseed(seed: int, device: torch.device) -> None:
    """Seed the generators that modules draw from; on CUDA nothing waits."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextmanager
def evaluating(objective: Objective) -> Iterator[None]:
    """Put an objective in eval mode for a while; each of its modules is as it was afterwards."""
    modes = {each: each.training for each in objective.modules()}
    objective.eval()
    try:
        yield
    finally:
        for each, training in modes.items():
            each.training = training


def _looked(objective: Objective, batch: Mapping[str, Tensor], engine: Engine, at: Clock) -> Step:
    """Show a batch, and return what the first turn that has a loss makes of it."""
    made = Step(None, {})
    for turn in objective.turns:
        with engine.autocast():
            made = objective(batch, turn, at, Alone())
        if made.loss is not None:
            break
    return made


def _named(made: Step) -> dict[str, Tensor]:
    """Name what a held-out batch says."""
    logs = {f"held_out_{name}": value for name, value in made.logs.items() if name != "loss"}
    loss = torch.full((), math.nan) if made.loss is None else made.loss
    return {"held_out": loss} | logs


def _averaged(said_by: list[dict[str, Tensor]], sizes: list[int]) -> dict[str, float]:
    """Average what batches say, each counted by its size; one copy from the device."""
    names = list(said_by[0])
    rows = torch.stack([torch.stack([said[name].detach().float().reshape(()) for name in names]) for said in said_by])
    weights = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    return dict(zip(names, (rows.double().cpu() * weights[:, None]).sum(0).tolist()))


def _collapse(outs: Mapping[str, Tensor]) -> dict[str, float]:
    """Measure the collapse of features and projections, if the objective shows any that are numbers."""
    if "f" not in outs or outs["f"].ndim != 2 or len(outs["f"]) < 2:
        return {}
    if not all(bool(each.isfinite().all()) for each in outs.values()):
        return {}
    return {key: float(value) for key, value in collapse(outs["f"], outs.get("z"), outs.get("partner")).items()}
