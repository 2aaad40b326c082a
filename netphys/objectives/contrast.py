"""Tell a sample's other view from all others: the loss of SimCLR as a function of projections.

References
----------
Chen T., Kornblith S., Norouzi M. & Hinton G. (2020). A simple framework for contrastive learning of visual
representations. ICML, section 2.1, equation 1, https://arxiv.org/abs/2002.05709.
"""

from __future__ import annotations

import torch
from torch import Tensor

from netphys.objectives.heads import full_precision
from netphys.ranks import Alone, Ranks

__all__ = ["contrast", "ntxent", "stacked_partners"]


def stacked_partners(n_rows: int, device: torch.device | str = "cpu") -> Tensor:
    """Say each row's partner where all first views are followed by all second views: row i and row i + n/2.

    Returns
    -------
    tensor (n_rows,) of int64
    """
    return torch.arange(n_rows, device=device).roll(n_rows // 2)


def ntxent(z: Tensor, partner: Tensor, *, temperature: float, ranks: Ranks | None = None) -> Tensor:
    """Return the normalised, temperature-scaled cross-entropy of finding each row's partner among all other rows.

    Parameters
    ----------
    z : tensor (row, feature)
        Projections of this rank's views; any norm.
    partner : tensor (row,) of int64
        Which of this rank's rows is the other view of the same sample (:func:`stacked_partners`).
    temperature : float
        T > 0.
    ranks : Ranks, optional
        Rows of all ranks are candidates; the loss is the mean over this rank's rows. Default: one process.

    Returns
    -------
    tensor ()
        Nats; float32, or float64 where `z` is, even under autocast: at T = 0.07 a bfloat16 logit is off by up to 0.03.

    Notes
    -----
    ``mean_i -s_ip(i) / T + ln Σ_{k≠i} exp(s_ik / T)``, s the cosine. All equal: ln(rows - 1).
    """
    return contrast(z, partner, temperature=temperature, ranks=ranks)[0]


def contrast(z: Tensor, partner: Tensor, *, temperature: float, ranks: Ranks | None = None) -> tuple[Tensor, Tensor]:
    """Return the loss of :func:`ntxent`, and how often the partner is the most similar row (detached)."""
    ranks = ranks or Alone()
    n = len(z)
    unit = torch.nn.functional.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
    everyone = ranks.gather(unit)  # the blocks of all ranks, each in its own order
    own = torch.arange(n, device=z.device) + ranks.rank * n
    with full_precision(z):
        logits = unit @ everyone.T / temperature
    itself = own[:, None] == torch.arange(len(everyone), device=z.device)
    logits = logits.masked_fill(itself, float("-inf"))
    target = partner + ranks.rank * n
    loss = torch.nn.functional.cross_entropy(logits, target)
    return loss, (logits.detach().argmax(1) == target).to(logits.dtype).mean()
