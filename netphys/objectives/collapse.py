"""Has the network stopped telling samples apart? Measures of spread, rank, alignment and uniformity.

They accuse, they do not praise: a high rank is no accuracy. To be taken on one fixed batch of 512 samples or more.

References
----------
Roy O. & Vetterli M. (2007). The effective rank. EUSIPCO, https://doi.org/10.5281/zenodo.40498.
Garrido Q. et al. (2023). RankMe. ICML, section 3, https://arxiv.org/abs/2210.02885 (the raw one).
Wang T. & Isola P. (2020). Understanding contrastive representation learning through alignment and uniformity on the
hypersphere. ICML, section 4, https://arxiv.org/abs/2005.10242.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["alignment", "collapse", "dead_units", "effective_rank", "spread", "uniformity", "uniformity_of_sphere"]


@torch.no_grad()
def collapse(f: Tensor, z: Tensor | None = None, partner: Tensor | None = None) -> dict[str, Tensor]:
    """Take every measure of features and projections.

    Parameters
    ----------
    f : tensor (sample, feature)
        Features.
    z : tensor (sample, feature), optional
        Projections; measured like features, under names that end in ``_z``.
    partner : tensor (sample,) of int64, optional
        Which row is another view of the same sample; then `alignment` is measured, too.

    Returns
    -------
    dict of tensors ()
        ``spread_f``, ``rank_f`` (centred), ``rank_raw_f``, ``rank_cap_f`` (no rank can be above it: the smaller of
        samples and features), ``uniformity_f``, ``dead_f``, and the same of z.
    """
    found = {}
    for name, values in (("f", f), ("z", z)):
        if values is None:
            continue
        wide = values.detach().to(torch.float64)
        found[f"spread_{name}"] = spread(wide)
        found[f"rank_{name}"] = effective_rank(wide)
        found[f"rank_raw_{name}"] = effective_rank(wide, centred=False)
        found[f"rank_cap_{name}"] = wide.new_tensor(min(wide.shape))
        found[f"uniformity_{name}"] = uniformity(wide)
        found[f"dead_{name}"] = dead_units(wide)
        if partner is not None:
            found[f"alignment_{name}"] = alignment(wide, wide[partner])
    return found


def spread(values: Tensor) -> Tensor:
    """Return the mean over features of the sd of unit-length rows, times √features.

    1: all directions alike; 0: total collapse; warn below 0.3, stop below 0.05.
    """
    return _unit(values).std(0, correction=0).mean() * values.shape[1] ** 0.5


def effective_rank(values: Tensor, *, centred: bool = True) -> Tensor:
    """Return exp(H(p)), p the singular values of (sample, feature) over their sum; a constant has rank 1.

    Parameters
    ----------
    values : tensor (sample, feature)
        Never above the smaller of the two numbers.
    centred : bool
        Subtract the mean row first. Raw (RankMe), a large mean alone gives a rank near 1.
    """
    cut = torch.finfo(values.dtype).eps * max(values.shape) * values.norm()  # what is left of a constant by rounding
    if centred:
        values = values - values.mean(0)
    singular = torch.linalg.svdvals(values)
    singular = torch.where(singular > cut, singular, 0)
    share = singular / singular.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return torch.special.entr(share).sum().exp()


def alignment(z: Tensor, other: Tensor) -> Tensor:
    """Return the mean squared distance of unit-length rows to those of the other view: 0 equal, 2 unrelated."""
    return (_unit(z) - _unit(other)).square().sum(1).mean()


def uniformity(z: Tensor) -> Tensor:
    """Return ln⟨exp(-2 |z_i - z_j|²)⟩ over pairs i ≠ j of unit-length rows; see :func:`uniformity_of_sphere`."""
    squared = torch.nn.functional.pdist(_unit(z)).square()
    return torch.logsumexp(-2 * squared, 0) - torch.log(squared.new_tensor(len(squared)))


def uniformity_of_sphere(n_features: int) -> float:
    """Return the uniformity of the uniform sphere: -4 + ln 0F1(; d/2; 4). All rows equal: 0.

    Examples
    --------
    >>> round(uniformity_of_sphere(256), 2)
    -3.97
    """
    import numpy as np
    from scipy.special import hyp0f1

    return float(-4 + np.log(hyp0f1(n_features / 2, 4.0)))


def dead_units(f: Tensor) -> Tensor:
    """Return the share of features that are 0 for every sample: dead ReLUs."""
    return (f == 0).all(0).to(f.dtype).mean()


def _unit(values: Tensor) -> Tensor:
    """Give rows unit length; a row of zeros stays."""
    return torch.nn.functional.normalize(values, dim=1)
