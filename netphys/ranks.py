"""The processes that work together on one training or recording, and the three verbs by which they share tensors.

Objectives are written once, with these verbs; on one process they are identities. The gradient of a loss over the joined
batch is right only if the backward of a gather, and of a sum, sums over ranks; the verbs here do that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Alone", "Ranks", "Together"]


class Ranks(Protocol):
    """How many processes there are, which this is, and how they share tensors of equal shapes."""

    @property
    def rank(self) -> int:
        """Which this is, from 0."""

    @property
    def n(self) -> int:
        """How many there are."""

    def gather(self, values: Tensor) -> Tensor:
        """Join the rows of all ranks, in their order; gradients reach every rank's own rows, summed over ranks."""

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks; the gradient is summed over ranks, too."""

    def sum_without_gradient(self, values: Tensor) -> Tensor:
        """Sum over ranks; no gradient flows."""


class Alone:
    """One process: all verbs are identities."""

    rank = 0
    n = 1

    def gather(self, values: Tensor) -> Tensor:
        """Return the rows as they are."""
        return values

    def sum(self, values: Tensor) -> Tensor:
        """Return the values as they are."""
        return values

    def sum_without_gradient(self, values: Tensor) -> Tensor:
        """Return the values, detached."""
        return values.detach()


class Together:
    """The ranks of a process group that is already open (torchrun, Fabric)."""

    def __init__(self) -> None:
        import torch.distributed as distributed

        self.rank: int = distributed.get_rank()
        self.n: int = distributed.get_world_size()

    def gather(self, values: Tensor) -> Tensor:
        """Join the rows of all ranks, in their order; gradients reach every rank's own rows, summed over ranks."""
        import torch

        return torch.cat(_functional().all_gather(values.contiguous()))

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks; the gradient is summed over ranks, too."""
        return _functional().all_reduce(values.contiguous())

    def sum_without_gradient(self, values: Tensor) -> Tensor:
        """Sum over ranks; no gradient flows."""
        import torch.distributed as distributed

        total = values.detach().clone()
        distributed.all_reduce(total)
        return total


def _functional() -> Any:
    """Return torch's collectives whose backward sums over ranks."""
    import torch.distributed.nn.functional as functional

    return functional
