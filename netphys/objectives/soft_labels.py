"""Cross-entropy against targets that share their weight among a few of many classes, without a table of them all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["soft_cross_entropy"]


def soft_cross_entropy(logits: Tensor, indices: Tensor, shares: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean over rows of ``-weight Σ_k share_k ln softmax(logits)[index_k]``.

    Parameters
    ----------
    logits : tensor (row, class)
        Computed with in float32, or float64 where they are.
    indices, shares : tensors (row, k)
        Which classes (all different), and how much of the target each has.
    weights : tensor (row,), optional
        Default: 1.

    Returns
    -------
    tensor ()
        Nats. Only the gradient of the logits is defined.
    """
    if weights is None:
        weights = shares.new_ones(len(shares))
    return _SoftCrossEntropy.apply(logits, indices, shares, weights)


class _SoftCrossEntropy(torch.autograd.Function):
    """Two passes over the logits: that of the softmax, and that of its gradient.

    Put together from gather and log_softmax, the backward alone makes three tables of their size.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, indices: Tensor, shares: Tensor, weights: Tensor) -> Tensor:
        wide = torch.promote_types(logits.dtype, torch.float32)
        logs = torch.log_softmax(logits, 1, dtype=wide)
        ctx.save_for_backward(logs, indices, shares, weights)
        ctx.dtype = logits.dtype
        return -(weights * (shares * logs.gather(1, indices)).sum(1)).mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        logs, indices, shares, weights = ctx.saved_tensors
        scaled = shares * (weights * (upstream / len(logs)))[:, None]
        gradient = logs.exp().mul_(scaled.sum(1, keepdim=True))
        gradient.scatter_add_(1, indices, -scaled.to(gradient.dtype))
        return gradient.to(ctx.dtype), None, None, None
