"""The processes that work together on one training or recording, and the three verbs by which they share tensors.

Objectives are written once, with these verbs; on one process they are identities. The gradient of a loss over the
joined batch is right only if the backward of a gather, and of a sum, sums over ranks; the verbs here do that.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, distributed

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
        self.rank: int = distributed.get_rank()
        self.n: int = distributed.get_world_size()

    def gather(self, values: Tensor) -> Tensor:
        """Join the rows of all ranks, in their order; gradients reach every rank's own rows, summed over ranks."""
        return _Gather.apply(values.contiguous(), self.rank, self.n)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks; the gradient is summed over ranks, too."""
        return _Sum.apply(values.contiguous())

    def sum_without_gradient(self, values: Tensor) -> Tensor:
        """Sum over ranks; no gradient flows."""
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total


class _Gather(torch.autograd.Function):
    """Join rows of all ranks; backward, each rank takes its own rows of the gradients of all ranks, summed."""

    @staticmethod
    def forward(context: Any, values: Tensor, rank: int, n: int) -> Tensor:
        context.own = slice(rank * len(values), (rank + 1) * len(values))
        parts = [torch.empty_like(values) for _ in range(n)]
        distributed.all_gather(parts, values)
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total[context.own], None, None


class _Sum(torch.autograd.Function):
    """Sum over ranks; backward, the gradients of all ranks, summed."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor]:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return (total,)
