"""Do two RDMs agree? Spearman's and Pearson's correlation, cosine, and rho-a of dissimilarities.

Rho-a is the expected Spearman correlation when ties are broken at random: use it whenever a model predicts ties
(category models), which Spearman favours (Nili et al. 2014, doi:10.1371/journal.pcbi.1003553; Schütt et al. 2023,
doi:10.7554/eLife.82566).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, near
from netphys.rsa.pairs import RDMSet, joined, shared_pairs

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = [
    "COMPARISONS",
    "MEASURE_NAMES",
    "RANKED",
    "Ranking",
    "check_comparison",
    "compare",
    "midranks",
    "similarity",
]

_OTHER_NAMES = {"pearson": "corr", "pearsonr": "corr", "correlation": "corr", "spearmanr": "spearman", "rho_a": "rho-a"}
MEASURE_NAMES = {  # as figures and captions write them
    "spearman": "Spearman's ρ",
    "corr": "Pearson's r",
    "cosine": "cosine similarity",
    "rho-a": "ρ-a",
}
COMPARISONS = tuple(MEASURE_NAMES)
RANKED = ("spearman", "rho-a")


def compare(a: Any, b: Any, *, method: str = "spearman") -> Float[np.ndarray, "a b"]:
    """Compare every RDM of one set with every RDM of another.

    Parameters
    ----------
    a, b : rsatoolbox.rdm.RDMs, NeuralData, or array (rdm, pair)
        A square array is one RDM, (rdm, stimulus, stimulus) several. RDMs that both carry the pattern descriptor
        ``stimulus_id`` are joined by it: `a` must have every stimulus of `b`; stimuli that only `a` has are left out.
        Arrays are compared by position.
    method : {"spearman", "corr", "cosine", "rho-a"}
        Spearman's correlation with tied ranks averaged, Pearson's correlation, cosine similarity, or rho-a.

    Returns
    -------
    float64 array (a, b)
        Similarities, 1 for equal RDMs (rho-a: only without ties); NaN where an RDM is constant.

    Raises
    ------
    OptionError
        For an unknown method, fewer than 3 stimuli, a square array that is no RDM, or if fewer than half of the pairs
        have a dissimilarity in all RDMs.
    MatchError
        If the stimuli do not match.

    Notes
    -----
    Pairs that are NaN in any RDM are left out for all. With ranks ``ra, rb`` of the p pairs, rho-a is
    ``12 sum (ra - (p + 1)/2)(rb - (p + 1)/2) / (p³ - p)``.

    Examples
    --------
    >>> compare([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [[1, 2, 3, 4, 6, 5], [6, 5, 4, 3, 2, 1]]).round(4).tolist()
    [[0.9429, -1.0]]
    """
    check_comparison(method)
    names = ("the first RDMs", "the second RDMs")
    first, second = joined(RDMSet.of(a, names[0]), RDMSet.of(b, names[1]), names=names)
    keep = shared_pairs(first, second, names=names)
    return similarity(first.values[:, keep], second.values[:, keep], method)


def check_comparison(method: str) -> str:
    """Return the method if there is one of that name, else raise an OptionError with the near names."""
    if method not in COMPARISONS:
        other = _OTHER_NAMES.get(str(method).lower())
        hint = f"; here it is {other!r}" if other else near(str(method), COMPARISONS)
        raise OptionError(f"no comparison {method!r}{hint}")
    return method


def similarity(a: Float[np.ndarray, "a pair"], b: Float[np.ndarray, "b pair"], method: str) -> Float[np.ndarray, "a b"]:
    """Compare dissimilarities without NaN: what belongs to one RDM once, then one product for all pairs of RDMs."""
    if method in RANKED:
        a, b = (np.array([midranks(row) for row in each]) for each in (a, b))
    if method != "cosine":
        a, b = (each - each.mean(axis=1, keepdims=True) for each in (a, b))
    if method == "rho-a":
        p = float(a.shape[1])
        return (a @ b.T) * 12 / (p**3 - p)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (a / _norms(a, method)) @ (b / _norms(b, method)).T


def midranks(values: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " pair"]:
    """Rank values from 1; tied ones share the mean of their ranks.

    Examples
    --------
    >>> midranks(np.array([10.0, 30.0, 20.0, 20.0])).tolist()
    [1.0, 4.0, 2.5, 2.5]
    """
    ranking = Ranking.of(values)
    return (ranking.below + ranking.upto + 1) / 2


@dataclass(frozen=True, repr=False)
class Ranking:
    """The order of one RDM's dissimilarities, from which ranks under any weights of the pairs follow."""

    order: Int[np.ndarray, " pair"]  # pairs from the least dissimilar on
    below: Int[np.ndarray, " pair"]  # of each pair: how many are smaller
    upto: Int[np.ndarray, " pair"]  # of each pair: how many are smaller or equal

    @classmethod
    def of(cls, values: np.ndarray) -> Ranking:
        """Sort once."""
        order = np.argsort(values)
        ordered = values[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        ends = np.append(starts[1:], len(values))
        below, upto = np.empty_like(order), np.empty_like(order)
        below[order] = np.repeat(starts, ends - starts)
        upto[order] = np.repeat(ends, ends - starts)
        return cls(order, below, upto)

    def __repr__(self) -> str:
        return f"Ranking({len(self.order)} pairs)"


def _norms(values: np.ndarray, method: str) -> np.ndarray:
    """Give the length of each row; NaN for a constant RDM, which agrees and disagrees with nothing."""
    norms = np.sqrt(np.einsum("kp,kp->k", values, values))
    if method != "cosine":  # a constant row minus its mean is all of one rounding error, not exactly 0
        norms[np.ptp(values, axis=1) == 0] = 0
    return np.where(norms > 0, norms, np.nan)[:, None]
