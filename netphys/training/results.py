"""What came of a training: the network, its objective, the curve, and the losses of those who learned nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.training.drawing import plot_curve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from netphys.networks import Network
    from netphys.objectives.contract import Objective

__all__ = ["TrainingResult"]


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """A finished training.

    Parameters
    ----------
    network : Network
        The trunk, trained, in eval mode on the CPU; its `training` is the objective's name.
    objective : Objective or None
        The trunk with all that helped it to learn, in eval mode on the CPU. None where it was read from a folder and
        its class is not one of netphys.
    curve : pandas.DataFrame
        A row a number of steps done: ``step, epoch, loss`` (of the batch of that step, before it), ``held_out`` (where
        it was evaluated), ``rate, seconds, bits_offered, bits_used`` (a held-out sample), the objective's logs,
        measures of collapse, what callbacks said. The last row has no batch.
    references : dict of float
        Losses on the held-out stimuli of ``untrained`` and, where the objective knows them, ``chance``, ``prior``,
        ``oracle``.
    plan : dict
        All that the result depends on.
    """

    network: Network
    objective: Objective | None
    curve: pd.DataFrame
    references: Mapping[str, float]
    plan: Mapping[str, Any]

    def __repr__(self) -> str:
        beside = [
            f"{name} {self.references[name]:.3g}"
            for name in ("untrained", "chance", "prior")
            if name in self.references
        ]
        return (
            f"TrainingResult({self.network.name}, {self.plan['objective']}: held-out loss {self.held_out:.3g} after "
            f"{self.plan['n_steps']} steps ({', '.join(beside)}); {self.seconds:.0f} s)"
        )

    @property
    def held_out(self) -> float:
        """The loss on held-out stimuli at the end."""
        return float(self.curve["held_out"].iloc[-1])

    @property
    def loss(self) -> float:
        """The mean loss of the last twentieth of the steps (one batch alone is noisy)."""
        losses = self.curve["loss"].dropna()
        return float(losses.tail(max(1, math.ceil(len(losses) / 20))).mean()) if len(losses) else math.nan

    @property
    def seconds(self) -> float:
        """How long it took, evaluations included."""
        return float(self.curve["seconds"].iloc[-1])

    @property
    def n_views(self) -> int:
        """How many views of a stimulus a step makes."""
        if self.objective is None:
            return 1
        return max((spec.group for spec in self.objective.needs.values() if spec.kind == "image"), default=1)

    def to_frame(self) -> pd.DataFrame:
        """Return the curve with what made it: ``network``, ``training``, and a column a reference."""
        frame = self.curve.copy()
        frame.insert(0, "network", self.network.name)
        frame.insert(1, "training", self.plan["objective"])
        for name, value in self.references.items():
            frame[f"reference_{name}"] = value
        return frame

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw loss and held-out loss against steps, with those who learned nothing as dashed lines."""
        return plot_curve(self.curve, self.references, ax)

    def save(self, folder: Path | str) -> Path:
        """Write everything into a folder, which is then an address of the network, and is read by `load_training`.

        Raises
        ------
        OptionError
            If the network has no address, so that no file can say its architecture.
        OutputError
            If the folder cannot be written.
        """
        from netphys.training.store import write_training

        return write_training(Path(folder), self)
