"""The loop: batches in, parameters changed, a curve out.

One loop serves all objectives. For each of its turns a step computes the loss, its gradient, averages it over ranks,
changes the parameters, and lets the objective do what follows (moving averages, queues). A step asks nothing of the
device: losses and logs stay on it and are fetched in one copy every few steps, which is where a loss that is no number
is found. Each step draws from generators seeded by (seed, step), so that a resumed training needs no generator's state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from netphys.errors import TrainingError
from netphys.objectives.contract import Clock
from netphys.seeds import derive_seed
from netphys.training.evaluation import evaluate, references, reseed
from netphys.training.schedule import rate_at

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from netphys.objectives.contract import Objective, Step
    from netphys.training.batches import Batches
    from netphys.training.engine import Engine
    from netphys.training.optimizers import Optimizers

__all__ = ["Loop"]

_FETCH_EVERY = 20  # steps whose losses wait on the device
_FIXED_COLUMNS = ("step", "epoch", "rate", "seconds")


class Loop:
    """A training that runs.

    Parameters
    ----------
    objective : Objective
        On its device, its targets fitted.
    optimizers : Optimizers
        Of its turns.
    batches : Batches
        What it sees.
    engine : Engine
        Where it computes.
    plan : mapping
        ``n_steps``, ``rate``, ``warm_up``, ``evaluate_every``, ``seed``.
    callbacks : mapping
        Called at every evaluation with the number of steps done and the objective; what they return joins the curve.
    """

    def __init__(
        self,
        objective: Objective,
        optimizers: Optimizers,
        batches: Batches,
        engine: Engine,
        plan: Mapping[str, Any],
        callbacks: Mapping[str, Callable[[int, Objective], Mapping[str, float] | None]] = {},
    ) -> None:
        self.objective, self.optimizers, self.batches, self.engine = objective, optimizers, batches, engine
        self.plan, self.callbacks = plan, callbacks
        self.n_steps, self.seed = int(plan["n_steps"]), int(plan["seed"])
        self.done = 0  # steps
        self.columns: list[str] = []  # of what a step says: losses and logs
        self.rows: list[list[float]] = []  # a row a step: what is fixed, then what it says
        self.evaluations: dict[int, dict[str, float]] = {}  # by the number of steps done
        self.references: dict[str, float] = {}
        self.seconds = 0.0  # of this training before this process
        self._began = time.monotonic()
        self._waiting: list[tuple[int, float, float, Tensor]] = []
        self._parameters = [each for each in objective.parameters() if each.requires_grad]

    def begin(self) -> None:
        """Measure those who learn nothing, before the first step."""
        self.references = references(self.objective, self.batches, self.engine, seed=self.seed)
        self._evaluate()
        self.references["untrained"] = self.evaluations[0]["held_out"]

    def run(self) -> Iterator[int]:
        """Train to the end; yields the number of steps done after each of them.

        Raises
        ------
        TrainingError
            If a loss is no number.
        """
        self._began = time.monotonic()
        self.objective.train()
        while self.done < self.n_steps:
            self.step()
            yield self.done
        self.fetch()
        if self.n_steps not in self.evaluations:
            self._evaluate()

    def step(self) -> None:
        """Do one step, and evaluate where it is due."""
        if self.done % self.plan["evaluate_every"] == 0 and self.done not in self.evaluations:
            self._evaluate()
        at = Clock(self.done, self.n_steps, self.batches.epoch(self.done))
        reseed(derive_seed(self.seed, "step", at.step, self.engine.ranks.rank), self.engine.device)
        batch = self.batches.at(at.step, last=at.step + 1 == self.n_steps)
        rate = rate_at(at.step, n_steps=self.n_steps, rate=self.plan["rate"], warm_up=self.plan["warm_up"])
        said: dict[str, Tensor] = {}
        for turn in self.objective.turns:
            said |= self._turn(batch, turn, at, rate)
        if not self.columns:
            self.columns = list(said)
        self.done += 1
        self._waiting.append((at.step, rate, self._elapsed(), torch.stack([said[name] for name in self.columns])))
        if len(self._waiting) >= _FETCH_EVERY:
            self.fetch()

    def fetch(self) -> None:
        """Fetch what waits on the device.

        Raises
        ------
        TrainingError
            If a loss is no number, naming the step.
        """
        if not self._waiting:
            return
        values = torch.stack([each[-1] for each in self._waiting]).double().cpu().numpy()
        for (step, rate, seconds, _), row in zip(self._waiting, values):
            if self.columns[0] == "loss":
                self._require_number("loss", row[0], step)
            self.rows.append([step, self.batches.epoch(step), rate, seconds, *row.tolist()])
        self._waiting.clear()

    @property
    def n_waiting(self) -> int:
        """How many steps' losses wait on the device."""
        return len(self._waiting)

    @property
    def last_loss(self) -> float:
        """The loss of the last step that was fetched."""
        return self.rows[-1][len(_FIXED_COLUMNS)] if self.rows else math.nan

    def curve(self) -> pd.DataFrame:
        """Return the curve: a row a number of steps done, the last one with no loss but the held-out one."""
        import pandas as pd

        frame = pd.DataFrame(self.rows, columns=[*_FIXED_COLUMNS, *self.columns])
        if self.done == self.n_steps and len(self.rows) == self.n_steps:
            frame.loc[len(frame), ["step", "epoch", "rate", "seconds"]] = [
                self.n_steps, self.batches.epoch(self.n_steps), 0.0, self.rows[-1][3] if self.rows else 0.0,
            ]  # fmt: skip
        said = pd.DataFrame.from_dict(self.evaluations, orient="index").rename_axis("step").reset_index()
        frame = frame.merge(said, on="step", how="left").astype({"step": int, "epoch": int})
        first = ["step", "epoch", "loss", "held_out", "rate", "seconds", "bits_offered", "bits_used"]
        present = [name for name in first if name in frame]
        return frame[[*present, *(name for name in frame if name not in present)]]

    def _turn(self, batch: Mapping[str, Tensor], turn: str, at: Clock, rate: float) -> dict[str, Tensor]:
        """Do one turn of a step; return its loss and logs, on the device."""
        for parameter in self._parameters:
            parameter.grad = None
        with self.engine.autocast():
            made: Step = self.objective(batch, turn, at, self.engine.ranks)
        if made.loss is not None:
            made.loss.backward()
        said = self._named(made, turn)
        if self.engine.ranks.n > 1:
            values = torch.stack(list(said.values())) if said else torch.zeros(0)
            gradients = [each.grad for each in self.optimizers.parameters(turn) if each.grad is not None]
            self.engine.average([*gradients, values])
            said = dict(zip(said, values))
        self.optimizers.step(turn, rate)
        self.objective.after(turn, made, at, self.engine.ranks)
        return said

    def _named(self, made: Step, turn: str) -> dict[str, Tensor]:
        """Name what a turn says: the first turn's loss is ``loss``, the others' carry the turn's name."""
        first = turn == self.objective.turns[0]
        said = {} if made.loss is None else {"loss" if first else f"loss_{turn}": made.loss.detach().float()}
        return said | {
            (name if first else f"{name}_{turn}"): value.detach().float().reshape(())
            for name, value in made.logs.items()
            if name != "loss"
        }

    def _evaluate(self) -> None:
        """Evaluate, and leave the objective as it was."""
        self.fetch()
        at = Clock(self.done, self.n_steps, self.batches.epoch(self.done))
        self.evaluations[self.done] = evaluate(
            self.objective, self.batches, self.engine, at,
            seed=self.seed, references=self.references, callbacks=self.callbacks,
        )  # fmt: skip
        if self.done:
            self._require_number("held-out loss", self.evaluations[self.done]["held_out"], self.done)

    def _require_number(self, what: str, value: float, step: int) -> None:
        if not np.isfinite(value):
            raise TrainingError(
                f"the {what} of {self.plan['objective']} became {value} at step {step}; try a smaller rate "
                f"(rate={self.plan['rate'] / 3:.1g}), a longer warm-up (warm_up=0.2), or precision='float32'"
            )

    def _elapsed(self) -> float:
        """Seconds of training so far, evaluations included."""
        return self.seconds + time.monotonic() - self._began
