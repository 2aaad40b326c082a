"""Resampling and tests that several rooms share: draws of stimuli, intervals, corrected p-values.

Estimates come with a variance from resampling; intervals and p-values follow from Student's t with the degrees of
freedom of the resampled factor (Schütt, Kipnis, Diedrichsen & Kriegeskorte 2023, eLife 12:e82566).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from netphys.errors import OptionError
from netphys.seeds import generator

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy.typing import ArrayLike

__all__ = ["above_zero", "bootstrap_p", "fdr_bh", "resampled_variance", "stimulus_draws", "t_interval", "t_p"]

Sided = Literal["greater", "two"]


def stimulus_draws(n_stimuli: int, n_bootstraps: int, seed: int = 0) -> Int[np.ndarray, "bootstrap stimulus"]:
    """Draw stimuli with replacement, `n_stimuli` of them in each bootstrap.

    Parameters
    ----------
    n_stimuli : int
        How many stimuli there are.
    n_bootstraps : int
        How many draws to make; 0 gives none.
    seed : int
        Equal seeds give equal draws, so that results on the same stimuli can be compared draw by draw.

    Returns
    -------
    int array (bootstrap, stimulus)
        Row numbers of the drawn stimuli.

    Examples
    --------
    >>> draws = stimulus_draws(5, 100, seed=0)
    >>> draws.shape, int(draws.min()), int(draws.max())
    ((100, 5), 0, 4)
    """
    if not isinstance(n_bootstraps, int | np.integer) or isinstance(n_bootstraps, bool) or n_bootstraps < 0:
        raise OptionError(f"n_bootstraps={n_bootstraps!r}: it must be a whole number, 0 (no intervals) or more")
    return generator(seed, "stimulus_draws").integers(0, n_stimuli, size=(n_bootstraps, n_stimuli))


def resampled_variance(draws: Float[np.ndarray, bootstrap * more], n: int) -> Float[np.ndarray, "*more"]:
    """Estimate the variance of a statistic from its bootstrap over one factor with `n` elements.

    Notes
    -----
    ``n / (n - 1)`` times the variance over draws (divisor: draws - 1): resampling n elements with replacement varies
    too little by that factor. Draws without a value (NaN) are left out. Fewer than 2 draws give NaN.

    Examples
    --------
    >>> resampled_variance(np.array([1.0, 2.0, 3.0]), n=11).item()
    1.1
    """
    valid = np.isfinite(draws)
    count = valid.sum(axis=0)
    enough = np.where(count > 1, count, 2)
    mean = np.where(valid, draws, 0).sum(axis=0) / enough
    squares = (np.where(valid, draws - mean, 0) ** 2).sum(axis=0)
    return np.where(count > 1, squares / (enough - 1) * n / (n - 1), np.nan)


def t_interval(
    estimate: ArrayLike, variance: ArrayLike, dof: int, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Give the two-sided interval of an estimate from its variance, by Student's t.

    Parameters
    ----------
    estimate, variance : array
        Estimates and the variances of them (squared standard errors), of one shape.
    dof : int
        Degrees of freedom: resampled elements - 1.
    level : float
        Coverage, in (0, 1).

    Returns
    -------
    low, high : array

    Examples
    --------
    >>> low, high = t_interval(0.5, 0.01, dof=10)
    >>> round(float(low), 4), round(float(high), 4)  # 2.2281 standard errors
    (0.2772, 0.7228)
    """
    from scipy.special import stdtrit

    estimate = np.asarray(estimate, dtype=float)
    half = stdtrit(dof, (1 + level) / 2) * np.sqrt(np.asarray(variance, dtype=float))
    return estimate - half, estimate + half


def t_p(estimate: ArrayLike, variance: ArrayLike, dof: int, *, sided: Sided = "greater") -> np.ndarray:
    """Test estimates against 0 by Student's t.

    Parameters
    ----------
    estimate, variance : array
        Estimates and their variances, of one shape.
    dof : int
        Degrees of freedom: resampled elements - 1.
    sided : {"greater", "two"}
        Alternative: the estimate is above 0, or it differs from 0.

    Notes
    -----
    p is the survival function itself; ``1 - cdf`` loses everything below 1e-16 to exactly 0.

    Examples
    --------
    >>> round(float(t_p(2.2281, 1.0, dof=10)), 4), round(float(t_p(-2.2281, 1.0, dof=10, sided="two")), 4)
    (0.025, 0.05)
    """
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.asarray(estimate, dtype=float) / np.sqrt(np.asarray(variance, dtype=float))
    return np.asarray(stdtr(dof, -t) if sided == "greater" else 2 * stdtr(dof, -np.abs(t)))


def bootstrap_p(
    draws: Float[np.ndarray, bootstrap * more], *, null: float = 0.0, sided: Sided = "greater"
) -> np.ndarray:
    """Give the bootstrap p-value: how often a draw does not exceed `null`, never 0.

    Notes
    -----
    ``(1 + count) / (1 + B)``; two-sided: twice the smaller tail, at most 1. NaN draws are left out.

    Examples
    --------
    >>> bootstrap_p(np.array([0.1, 0.2, -0.1, 0.3])).item()
    0.4
    """
    valid = np.isfinite(draws)
    total = 1 + valid.sum(axis=0)
    below = (1 + (valid & (draws <= null)).sum(axis=0)) / total
    if sided == "greater":
        return np.asarray(below)
    above = (1 + (valid & (draws >= null)).sum(axis=0)) / total
    return np.minimum(1.0, 2 * np.minimum(below, above))


def above_zero(p: ArrayLike, *, q: float = 0.05) -> np.ndarray:
    """Tell which scores of a family are above 0, at a false discovery rate of `q`: filled markers in figures.

    Parameters
    ----------
    p : array
        One-sided p-values against 0, any shape; NaN is no test and no discovery.
    q : float
        The false discovery rate, in (0, 1).

    Returns
    -------
    bool array

    Examples
    --------
    >>> above_zero([0.01, 0.04, np.nan, 0.5]).tolist()  # of three tests 0.04 is adjusted to 0.06
    [True, False, False, False]
    """
    return fdr_bh(p) <= q


def fdr_bh(p: ArrayLike) -> np.ndarray:
    """Adjust p-values for the false discovery rate over a family of tests.

    Parameters
    ----------
    p : array
        The p-values of the family, any shape; NaN is no test and stays NaN.

    Returns
    -------
    array
        Adjusted p-values: those at or below q are discoveries at a false discovery rate of q.

    References
    ----------
    Benjamini & Hochberg (1995), Journal of the Royal Statistical Society B 57:289,
    doi:10.1111/j.2517-6161.1995.tb02031.x

    Examples
    --------
    >>> fdr_bh([0.01, 0.02, 0.03, 0.5]).round(4).tolist()
    [0.04, 0.04, 0.04, 0.5]
    """
    given = np.asarray(p, dtype=float)
    adjusted = np.full(given.shape, np.nan)
    tests = np.isfinite(given)
    values = given[tests]
    order = np.argsort(values)
    steps = values[order] * len(values) / np.arange(1, len(values) + 1)
    ranked = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    unsorted = np.empty_like(ranked)
    unsorted[order] = ranked
    adjusted[tests] = unsorted
    return adjusted
