"""Signal and noise variance of responses by one-way analysis of variance, with the interval of the reliability.

The analysis gives the expected value over all splits of the repetitions without drawing any (definitions: neural
data, 1.6). The interval is a jackknife over stimuli.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Components", "interval_of", "variance_components"]

_NOISELESS = 1e-14  # of the signal variance: what rounding of sums of squares leaves of repetitions that are equal


@dataclass(frozen=True)
class Components:
    """What the analysis of variance says of each neuroid."""

    signal: Float[np.ndarray, " neuroid"]
    noise: Float[np.ndarray, " neuroid"]  # of a single presentation
    rho: Float[np.ndarray, " neuroid"]  # reliability of the mean over the presentations
    log_error: Float[np.ndarray, " neuroid"]  # standard error of log(1 - rho), by the jackknife over stimuli
    log_error_halves: Float[np.ndarray, " neuroid"]  # the same of split halves, in which every stimulus counts alike
    n_repetitions: float  # harmonic mean of the numbers of presentations
    n0: float  # what divides MSB - MSE


def variance_components(
    blocks: Sequence[Float[np.ndarray, "stimulus repetition neuroid"]], counts: Int[np.ndarray, " stimulus"]
) -> Components:
    """Split the variance of responses into signal and noise.

    Parameters
    ----------
    blocks : sequence of float64 (stimulus, repetition, neuroid)
        Responses, one block a number of repetitions, without NaN; near mean 0 over all blocks.
    counts : int (stimulus,)
        Repetitions of the stimuli, in the order of the blocks.

    Notes
    -----
    With n stimuli, R_i presentations of stimulus i, N in all, mean m_i and sum of squares w_i about it::

        MSB = sum R_i (m_i - m)^2 / (n - 1)     MSE = sum w_i / (N - n)     n0 = (N - sum R_i^2 / N) / (n - 1)
        s2 = (MSB - MSE) / n0                   rho = s2 / (s2 + MSE / H)   H = n / sum (1 / R_i)

    H, not n0, is the number of presentations that counts in rho: the noise of the plain mean over presentations has
    the variance MSE / R_i, on average over stimuli MSE / H. Where all R_i are R, both are R and rho is
    ``1 - MSE / MSB``. Searle, Casella & McCulloch (1992), Variance Components, section 3.6.
    """
    means = np.concatenate([block.mean(axis=1) for block in blocks])
    squares = np.concatenate([np.einsum("srp,srp->sp", block, block) for block in blocks])
    weight = counts[:, None].astype(np.float64)
    first = weight * means
    second = first * means
    within = np.maximum(squares - second, 0.0)
    of_counts = [weight**power for power in (0, 1, 2, -1)]  # n, N, sum R^2, sum 1/R
    sums = [each.sum(axis=0) for each in (*of_counts, first, second, within)]
    n, n_all, _, inverse, *of_values = sums
    n0 = _n0(*sums[:3])
    noise = of_values[2] / (n_all - n)
    signal = ((of_values[1] - of_values[0] ** 2 / n_all) / (n - 1) - noise) / n0
    with np.errstate(divide="ignore", invalid="ignore"):  # no noise at all, or nothing that varies
        rho = 1.0 - _share(sums[:4], *of_values)
        left_out = _share(
            [total - each for total, each in zip(sums, of_counts)],
            *(total - each for total, each in zip(of_values, (first, second, within))),
        )
        error = _jackknife(np.log(left_out, out=left_out))
        alike = counts.min() == counts.max()
        of_halves = error if alike else _jackknife(np.log(_shares_of_halves(counts, means, within)))
    for each in (error, of_halves):
        each[noise <= _NOISELESS * signal] = 0.0
    return Components(signal, noise, rho, error, of_halves, float((n / inverse)[0]), float(n0[0]))


def interval_of(
    rho: Float[np.ndarray, "*neuroid"], log_error: Float[np.ndarray, "*neuroid"], n: int, confidence: float
) -> tuple[Float[np.ndarray, "*neuroid"], Float[np.ndarray, "*neuroid"]]:
    """Interval of a reliability from the standard error of ``log(1 - rho)``, by Student's t with n - 1 degrees.

    The logarithm makes the error about the same for all rho: ``1 - rho`` is a ratio of mean squares.
    """
    from scipy.special import stdtrit

    half = stdtrit(n - 1, (1 + confidence) / 2) * log_error
    with np.errstate(invalid="ignore"):
        return 1.0 - (1.0 - rho) * np.exp(half), 1.0 - (1.0 - rho) * np.exp(-half)


def _n0(n: np.ndarray, n_all: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """What MSB holds of the signal variance, from the sums of 1, R and R^2."""
    return (n_all - squares / n_all) / (n - 1)


def _share(of_counts: Sequence[np.ndarray], first: np.ndarray, second: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Share of noise in the variance of means, 1 - rho, from sums over stimuli."""
    n, n_all, squares, inverse = of_counts
    n0 = _n0(n, n_all, squares)
    of_means = inverse / n / (n_all - n)  # times `within`: noise variance of the means
    ratio = second - first**2 / n_all
    ratio /= within
    ratio *= 1.0 / (n0 * (n - 1))
    ratio += of_means - 1.0 / (n0 * (n_all - n))
    return np.divide(of_means, ratio, out=ratio)


def _shares_of_halves(counts: np.ndarray, means: np.ndarray, within: np.ndarray) -> np.ndarray:
    """1 - rho of split halves without each stimulus in turn, from the expected sums of products over all splits.

    With v_i = w_i / (R_i - 1) and halves of h_i, the products a b and a a of half means are on average
    q_i = m_i^2 - v_i / R_i and q_i + v_i / h_i; of two stimuli they are m_i m_j. So the covariance of halves is
    C = sum q / n - ((sum m)^2 - sum m^2) / (n (n - 1)), their variance C + V with V = sum (v / h) / n.
    """
    counts = counts[:, None].astype(np.float64)
    half = counts // 2
    variance = within / (counts - 1)
    terms = (means, means**2, means**2 - variance / counts, variance / half)
    first, second, product, noise = (each.sum(axis=0) - each for each in terms)
    n = len(counts) - 1
    length = (np.sum(1 / half) - 1 / half) / (np.sum(1 / counts) - 1 / counts)
    covariance = product / n - (first**2 - second) / (n * (n - 1))
    noise /= n
    return noise / (length * covariance + noise)


def _jackknife(left_out: np.ndarray) -> np.ndarray:
    """Standard error over stimuli from the values without each of them, (stimulus, neuroid)."""
    left_out -= left_out.mean(axis=0)
    return np.sqrt((len(left_out) - 1) / len(left_out) * np.einsum("sp,sp->p", left_out, left_out))
