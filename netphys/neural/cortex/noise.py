"""Trial noise of simulated neuroids: Gaussian, or counts of spikes with a given Fano factor; correlated where asked.

What each law makes is known exactly for the stimuli shown: the reliability of every neuroid, and the mean noise
correlation of the pairs of one subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import TYPE_CHECKING, Literal

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.cortex.receptive_fields import ReceptiveFields

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["WINDOW", "SubjectNoise", "TrialNoise", "noise_of"]

WINDOW = (70.0, 170.0)  # ms from the onset in which spikes are counted, as usual for IT (Majaj et al. 2015)
_KINDS = ("gaussian", "poisson")
_WIDEST = 3.0  # of the log: beyond it a few neuroids hold all of the variance, and means over neuroids say nothing
_FASTEST = 1e9  # spikes/s: far above what lives, and counts are still drawn exactly
_FLOOR = 0.05  # lowest rate of a neuroid in shares of its mean rate: the gain of a count has no variance at rate 0
_GLOBAL = 0.3  # share of the correlated noise that does not fall with distance: our choice
_SIMILAR = 1.0 / 3.0  # weight of signal similarity: our choice
_RANGE = 2.0  # degrees over which the rest falls to 1/e: our choice
_TERMS = 16  # of the series of exp: the largest argument is log(1 + (F - 1)/lambda), about 3 at a count of 0.05


@dataclass(frozen=True)
class TrialNoise:
    """The law of trial noise.

    Attributes
    ----------
    kind : {"gaussian", "poisson"}
        Noise added to responses in units of the signal's standard deviation; or counts of spikes in 100 ms.
    variance : float >= 0
        Gaussian: mean variance v over neuroids, in units of the signal variance.
    rate : float > 0
        Counts: mean rate over stimuli and neuroids, spikes/s. 40: a count of 4, as of good sites.
    fano : float >= 1
        Counts: variance over mean of the count, for every stimulus and neuroid.
    spread : float >= 0
        Standard deviation over neuroids of the log variance (Gaussian) or of the log mean rate (counts).
    correlation : float in [0, 1)
        Mean correlation of the trial noise of two neuroids of one subject: covariance averaged over stimuli over the
        root of the averaged variances. Of counts the mean of z-scored trials is a little higher (.103 to .105 for .1).

    Notes
    -----
    With signal s of mean 0 and variance 1 over the stimuli, v_j = v exp(spread g_j - spread^2/2) and g_j ~ N(0, 1)::

        gaussian:   y_ijr = s_ij + sqrt(v_j) e_ijr,                                 rho_j = 1 / (1 + v_j / R)
        poisson:    y_ijr ~ Poisson(lambda_ij h_ijr),  lambda_ij = m_j + a_j s_ij,  rho_j = 1 / (1 + F m_j / (a_j^2 R))

    m_j is the mean count, a_j the largest depth that leaves all rates above 5 % of m_j: counts are scaled, not bent, so
    that shared and private shares stay exact. h is log-normal with mean 1 and variance (F - 1)/lambda_ij (a gain that
    changes from trial to trial, as in Goris et al. 2014), so that mean and variance of a count are lambda and F lambda.

    Correlated noise: e, or the normal variable behind h, has the correlations b K_jk between neuroids of one subject::

        K_jk = (0.3 + 0.7 exp(-distance_jk / 2 degrees)) (2 + r_jk) / 3

    with the distance of receptive fields and the correlation r of the shared signals (limited range; without receptive
    fields the first factor is 1). b is such that the mean correlation of y over pairs is `correlation` exactly.

    References
    ----------
    Goris RLT, Movshon JA, Simoncelli EP (2014). Partitioning neuronal variability. Nat Neurosci 17:858.
    doi:10.1038/nn.3711.
    """

    kind: Literal["gaussian", "poisson"] = "gaussian"
    variance: float = 1.0
    rate: float = 40.0
    fano: float = 1.5
    spread: float = 0.0
    correlation: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers that make no noise."""
        for name in ("variance", "rate", "fano", "spread", "correlation"):
            if not isinstance(getattr(self, name), int | float | np.number):
                raise NeuralDataError(f"{name}={getattr(self, name)!r} of trial noise is no number")
        if self.kind not in _KINDS:
            raise NeuralDataError(f"there is no noise_kind {self.kind!r}{near(str(self.kind), _KINDS)}")
        if not (self.variance >= 0.0 and np.isfinite(self.variance)):
            raise NeuralDataError(
                f"noise={self.variance} is no variance; it is 0 or more, in units of the signal variance"
            )
        if not 0.0 < self.rate <= _FASTEST:
            raise NeuralDataError(f"rate={self.rate} is no mean rate; it is above 0, at most {_FASTEST:g} spikes/s")
        if not (self.fano >= 1.0 and np.isfinite(self.fano)):
            raise NeuralDataError(
                f"fano={self.fano} is no Fano factor of this law; 1 is Poisson, above 1 the gain varies"
            )
        if not 0.0 <= self.spread <= _WIDEST:
            raise NeuralDataError(
                f"noise_spread={self.spread} is no standard deviation of a log that this law takes; it is 0 to "
                f"{_WIDEST:g} (a hundredfold range at 1)"
            )
        if not 0.0 <= self.correlation < 1.0:
            raise NeuralDataError(f"noise_correlation={self.correlation} is no mean correlation; it lies in [0, 1)")

    def attributes(self) -> dict[str, str | float]:
        """What an assembly's attributes say of it."""
        shared = {"noise_kind": self.kind, "noise_spread": self.spread, "noise_correlation": self.correlation}
        if self.kind == "gaussian":
            return {"noise": self.variance, **shared}
        return {"rate": self.rate, "fano": self.fano, "unit": "spikes", **shared}


@dataclass(frozen=True)
class SubjectNoise:
    """Trial noise of one subject's neuroids, ready to be drawn."""

    law: TrialNoise
    expected: Float[np.ndarray, "stimulus neuroid"]  # mean over infinitely many trials, in the assembly's unit
    variance: Float[np.ndarray, " neuroid"]  # of one trial about it, mean over the stimuli, in units of the signal's
    mixing: Float[np.ndarray, "neuroid neuroid"] | None  # root of the correlations; None where there are none

    def reliability(self, n_repetitions: int) -> Float[np.ndarray, " neuroid"]:
        """True reliability of the mean of `n_repetitions` trials."""
        return 1.0 / (1.0 + self.variance / n_repetitions)

    def trials(self, row: int, n_repetitions: int, draws: np.random.Generator) -> Float[np.ndarray, "trial neuroid"]:
        """Draw the trials of one stimulus."""
        mean = self.expected[row]
        normal = draws.standard_normal((n_repetitions, len(mean)))
        if self.mixing is not None:
            normal = normal @ self.mixing
        if self.law.kind == "gaussian":
            return mean + np.sqrt(self.variance) * normal
        width = np.sqrt(np.log1p((self.law.fano - 1.0) / mean))
        return draws.poisson(mean * np.exp(width * normal - 0.5 * width**2)).astype(np.float64)


def noise_of(
    law: TrialNoise,
    signal: Float[np.ndarray, "stimulus neuroid"],
    known: Float[np.ndarray, "stimulus neuroid"],
    fields: ReceptiveFields | None,
    draws: np.random.Generator,
) -> SubjectNoise:
    """Fit the law to the neuroids of one subject.

    Parameters
    ----------
    law : TrialNoise
    signal, known : float (stimulus, neuroid)
        Signal and its shared part; each with mean 0 and variance 1 over the stimuli.
    fields : ReceptiveFields, optional
        Of the neuroids.
    draws : numpy.random.Generator
        Draws how neuroids differ.

    Raises
    ------
    NeuralDataError
        If the noise cannot be correlated as much as `law` asks.
    """
    differing = np.exp(law.spread * draws.standard_normal(signal.shape[1]) - 0.5 * law.spread**2)
    if law.kind == "gaussian":
        expected, variance = signal, law.variance * differing
    else:
        mean = law.rate * (WINDOW[1] - WINDOW[0]) / 1000.0 * differing
        depth = (1.0 - _FLOOR) * mean / -signal.min(axis=0)
        expected, variance = mean + depth * signal, law.fano * mean / depth**2
    mixing = None
    if law.correlation > 0.0 and signal.shape[1] > 1:
        similar = _similarity(known, fields)
        strength = _strength(law, similar, expected)
        mixing = _root(np.where(np.eye(len(similar), dtype=bool), 1.0, strength * similar))
    return SubjectNoise(law, expected, variance, mixing)


def _similarity(known: np.ndarray, fields: ReceptiveFields | None) -> np.ndarray:
    """Correlations K of the noise where all of it is shared: positive semidefinite, 1 on the diagonal."""
    signals = (known.T @ known / len(known)).clip(-1.0, 1.0)
    near_by = 1.0 if fields is None else _GLOBAL + (1.0 - _GLOBAL) * np.exp(-fields.distances() / _RANGE)
    return near_by * (1.0 - _SIMILAR + _SIMILAR * signals)


def _strength(law: TrialNoise, similar: np.ndarray, expected: np.ndarray) -> float:
    """Share b of the noise that is correlated, so that the mean correlation of pairs is the one asked for."""
    pairs = ~np.eye(len(similar), dtype=bool)
    if law.kind == "gaussian":
        slopes = np.array([0.0, similar[pairs].mean()])
    else:
        slopes = _count_correlation(law.fano, similar, expected)
    most = float(slopes.sum())
    if law.correlation > most:
        why = " and fano" if law.kind == "poisson" else ""
        raise NeuralDataError(
            f"noise_correlation={law.correlation:g} is more than these neuroids{why} allow, {most:.3f} on average; "
            "ask for less"
        )
    low, high = 0.0, 1.0
    for _ in range(60):  # the mean grows with b; halving to the last bit
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.polyval(slopes[::-1], middle) < law.correlation else (low, middle)
    return high


def _count_correlation(fano: float, similar: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Coefficients in b of the mean correlation of counts over pairs.

    The covariance of two counts is lambda_j lambda_k (exp(t_j t_k b K_jk) - 1), with t the widths of the log-normal
    gains (law of total covariance); averaged over stimuli and divided by the root of the mean variances. Each term of
    the series of exp is a product of matrices.
    """
    width = np.sqrt(np.log1p((fano - 1.0) / expected))
    deviation = np.sqrt(fano * expected.mean(axis=0))
    pairs = ~np.eye(len(similar), dtype=bool)
    terms = [0.0]
    for power in range(1, _TERMS + 1):
        weighted = expected * width**power / deviation
        covariance = weighted.T @ weighted / len(expected) / factorial(power)
        terms.append(float((covariance * similar**power)[pairs].mean()))
    return np.array(terms)


def _root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric root, which is continuous: another order of stimuli changes rounding only."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0.0))) @ vectors.T
