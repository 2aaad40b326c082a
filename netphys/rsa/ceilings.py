"""How well could any model do? The noise ceiling of RDMs of several subjects, an interval.

Nili et al. (2014), PLoS Computational Biology 10:e1003553, doi:10.1371/journal.pcbi.1003553.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError
from netphys.rsa.comparison import RANKED, check_comparison, midranks, similarity
from netphys.rsa.pairs import RDMSet, unique_or_error, whole

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["NoiseCeiling", "ceiling_of", "noise_ceiling", "pool"]

_POOLED = {
    "spearman": "mean of ranks",
    "rho-a": "mean of ranks",
    "corr": "mean of z-scored RDMs",
    "cosine": "mean of RDMs over their root mean square",
}


@dataclass(frozen=True, repr=False)
class NoiseCeiling:
    """The best score that any model could get, between two bounds, and what noise alone would give."""

    lower: float  # mean similarity of each subject with the pool of the others
    upper: float  # mean similarity of each subject with the pool of all, itself included
    rule: str  # how the bounds were computed, or why there are none
    n_subjects: int
    noise_only: float  # expected upper bound if the subjects shared nothing

    @classmethod
    def none(cls, reason: str = "one RDM") -> NoiseCeiling:
        """Say that the data allow no ceiling."""
        return cls(np.nan, np.nan, f"none: {reason}", 1, np.nan)

    def __repr__(self) -> str:
        return f"NoiseCeiling({self})"

    def __str__(self) -> str:
        if not np.isfinite(self.lower):
            return self.rule
        return f"{self.lower:.2f} to {self.upper:.2f} (upper for pure noise: {self.noise_only:.2f})"


def noise_ceiling(data_rdms: Any, *, method: str = "spearman") -> NoiseCeiling:
    """Compute the noise ceiling of the RDMs of several subjects.

    Parameters
    ----------
    data_rdms : rsatoolbox.rdm.RDMs, NeuralData, or array (subject, pair) or (subject, stimulus, stimulus)
        One RDM a subject, of the same stimuli.
    method : {"spearman", "corr", "cosine", "rho-a"}
        The comparison that models are scored by; it decides how RDMs are pooled.

    Returns
    -------
    NoiseCeiling
        Of one RDM the bounds are NaN and the rule says ``none: one RDM``.

    Notes
    -----
    Upper: ``mean_s sim(pool of all, s)``, which no RDM exceeds on average, the true one included. Lower: ``mean_s
    sim(pool of all but s, s)``. The pool is the mean of RDMs z-scored (corr), divided by their root mean square
    (cosine) or ranked (spearman, rho-a), so that no subject rules by its scale.

    The upper bound holds each subject's own noise: S subjects that share nothing still reach about ``1 / sqrt(S)``
    (cosine: ``sqrt((1 + (S - 1) r) / S)`` with r the cosine of unrelated RDMs of these means and scales). That value
    is `noise_only`; an upper bound near it says nothing about shared structure.

    Examples
    --------
    >>> shared = np.arange(10.0)
    >>> round(noise_ceiling([shared, shared, 2 * shared], method="corr").lower, 6)
    1.0
    >>> noise_ceiling([shared])
    NoiseCeiling(none: one RDM)
    """
    check_comparison(method)
    data = RDMSet.of(data_rdms, "the data RDMs")
    unique_or_error(data.descriptors.get("subject", []), "subject")
    return ceiling_of(whole(data, "the data RDMs").values, method)


def ceiling_of(values: Float[np.ndarray, "subject pair"], method: str) -> NoiseCeiling:
    """Compute the noise ceiling of dissimilarities without NaN."""
    n = len(values)
    if n < 2:
        return NoiseCeiling.none()
    parts = _poolable(values, method)
    total = parts.sum(axis=0)
    of_all = similarity(total[None], values, method)[0]
    # the pool of the others: with the subject inside, its own noise would raise the lower bound
    of_others = [similarity((total - parts[s])[None], values[s][None], method)[0, 0] for s in range(n)]
    rule = f"{n} subjects, lower: each against the others, upper: against all; pooled as {_POOLED[method]}"
    noise_only = _noise_only(values, method)
    rule += f"; unrelated RDMs would give an upper bound of {noise_only:.2f}"
    return NoiseCeiling(float(np.mean(of_others)), float(of_all.mean()), rule, n, noise_only)


def pool(values: Float[np.ndarray, "subject pair"], method: str) -> Float[np.ndarray, " pair"]:
    """Pool RDMs into the one that agrees best with all of them under `method`; NaN where any has no dissimilarity."""
    there = ~np.isnan(values).any(axis=0)  # a rank of NaN would be that of the largest dissimilarity
    if not there.any():
        raise OptionError(f"no pair of stimuli has a dissimilarity in all {len(values)} RDMs; pool fewer of them")
    pooled = np.full(values.shape[1], np.nan)
    pooled[there] = _poolable(values[:, there], method).mean(axis=0)
    return pooled


def _poolable(values: np.ndarray, method: str) -> np.ndarray:
    """Bring each subject's RDM to the scale on which RDMs are averaged."""
    if method in RANKED:
        return np.array([midranks(row) for row in values])
    if method == "corr":
        values = values - values.mean(axis=1, keepdims=True)
    return values / np.sqrt(np.mean(values**2, axis=1, keepdims=True))


def _noise_only(values: np.ndarray, method: str) -> float:
    """Expect the upper bound if the entries of the subjects' RDMs were unrelated."""
    n = len(values)
    if method != "cosine":
        return 1 / np.sqrt(n)
    level = values.mean(axis=1) / np.sqrt(np.mean(values**2, axis=1))  # unrelated RDMs still share their mean
    unrelated = (level.sum() ** 2 - (level**2).sum()) / (n * (n - 1))
    return float(np.sqrt((1 + (n - 1) * unrelated) / n))
