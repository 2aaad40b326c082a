"""What every objective is: views of a batch in, a loss and logs out.

An objective owns the network that learns (its *trunk*, which is recorded afterwards) and whatever helps it to learn and
is thrown away (heads, projectors, queues). All state is in parameters and buffers, so that a checkpoint, a resume and a
move to a device need no code of their own. The training loop hands in the batch, the *turn* (adversarial objectives
have several, each with an optimizer), the *clock* (every schedule is a pure function of it) and the *ranks* (the
processes that work together; on one process their verbs are identities).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from netphys.networks import Preprocess
    from netphys.ranks import Ranks
    from netphys.stimuli.views import ViewLaw

__all__ = ["Bits", "Clock", "Couples", "Group", "Objective", "Spec", "Step"]


class Spec(NamedTuple):
    """One named input that the loader must deliver.

    `shape` is without the batch, None where free. `group` 2 is a pair, n a sequence, delivered as (batch, group, ...).
    `law` says which views are made of it; each member of a group is a view of its own.
    """

    kind: str  # "image", "label"
    shape: tuple[int | None, ...]
    group: int = 1
    law: ViewLaw | None = None


class Step(NamedTuple):
    """What a forward of an objective gives back."""

    loss: Tensor | None  # None: a turn without gradient
    logs: dict[str, Tensor]  # on the device, detached; never Python floats, which would wait for the device
    # f (features), z (projections), p (predictions), partner (row of the other view): what monitors and `after` read
    out: dict[str, Tensor] = {}


class Couples(Enum):
    """How the samples of a batch depend on each other in the loss, and so what several ranks must exchange."""

    NONE = "none"
    NEGATIVES = "negatives"
    MOMENTS = "moments"
    ASSIGNMENTS = "assignments"
    MEMORY = "memory"


class Clock(NamedTuple):
    """When it is: every schedule is a pure function of this."""

    step: int  # of the optimizer, from 0
    n_steps: int
    epoch: int

    @property
    def fraction(self) -> float:
        """How much of the training is done, in [0, 1)."""
        return self.step / max(self.n_steps, 1)


class Group(NamedTuple):
    """Parameters that one optimizer treats alike."""

    parameters: list[nn.Parameter]
    decay: bool = True  # weight decay; never on norms and biases
    rate: float = 1.0  # factor of the learning rate


class Bits(NamedTuple):
    """Information a sample: what the target offers, and how much of it the network uses; NaN where not countable."""

    offered: float
    used: float


class Objective(nn.Module):
    """What a network is trained to do.

    Parameters
    ----------
    trunk : torch.nn.Module
        The network that learns: float32 (n, 3, y, x) → maps (n, channel, y, x) or features (n, feature).
    size : (int, int)
        Size (y, x) of the images that the trunk sees, pixels.
    normalise : callable, optional
        What the network wants done to images in [0, 1] before the trunk (mean and sd, lightness); applied here, on the
        device, because targets are made of the images as they are.
    """

    name: ClassVar[str] = ""  # as users say it
    couples: ClassVar[Couples] = Couples.NONE
    turns: ClassVar[tuple[str, ...]] = ("main",)
    reference_paper: ClassVar[str] = ""  # for the methods section

    def __init__(self, trunk: nn.Module, *, size: tuple[int, int], normalise: Any = None) -> None:
        super().__init__()
        self.trunk = trunk
        self.size = size
        self.normalise = normalise

    @property
    def needs(self) -> dict[str, Spec]:
        """Which inputs the loader must deliver, by name; checked before the first step."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Say every option that the result depends on, as plain data."""
        raise NotImplementedError

    def forward(self, batch: Mapping[str, Tensor], turn: str, at: Clock, ranks: Ranks) -> Step:
        """Look at a batch, and say the loss."""
        raise NotImplementedError

    def trunks(self) -> dict[str, nn.Module]:
        """Return what is recorded and probed."""
        return {"trunk": self.trunk}

    @classmethod
    def preprocess(cls, given: Preprocess) -> Preprocess:
        """Say how the trained network wants its images, given what the untrained one wanted."""
        return given

    def groups(self, turn: str) -> Iterable[Group]:
        """Say which parameters a turn changes: matrices and kernels decay, norms and biases do not."""
        parameters = [each for each in self.parameters() if each.requires_grad]
        yield Group([each for each in parameters if each.ndim >= 2])
        yield Group([each for each in parameters if each.ndim < 2], decay=False)

    @torch.no_grad()
    def after(self, turn: str, step: Step, at: Clock, ranks: Ranks) -> None:
        """Do what follows the optimizer: moving averages, queues, centres."""

    def fit_targets(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Learn what targets are made of (bins, priors) from batches of the training set, before the first step."""

    def reference(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """Say the loss of those who learn nothing (``chance``, ``prior``) and, where there is one, of an ``oracle``."""
        return {}

    def bits(self, losses: Mapping[str, float]) -> Bits:
        """Say how much information the target offers and the network uses.

        Parameters
        ----------
        losses : mapping
            ``held_out`` (the loss on held-out samples, nats) and what :meth:`reference` said.
        """
        return Bits(float("nan"), float("nan"))

    def control(self) -> dict[str, dict[str, Any]]:
        """Name negative controls: options of the same objective under which it must fail."""
        return {}
