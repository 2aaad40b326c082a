"""Trial noise of the simulated cortex: what each law says of reliability, Fano factor and correlation comes out."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.errors import NeuralDataError
from netphys.neural import average_repetitions, simulate_cortex
from netphys.neural.cortex.noise import TrialNoise
from netphys.neural.cortex.populations import Cells, Readouts
from netphys.neural.cortex.receptive_fields import ReceptiveFields

N, D = 200, 40
IDS = [f"stimulus {at}" for at in range(N)]
_DRAWS = np.random.default_rng(3)
FEATURES = _DRAWS.normal(size=(N, D))
FIELDS = ReceptiveFields(*_DRAWS.uniform(-2, 2, size=(2, D)), np.full(D, 0.5))
COUNTS = TrialNoise("poisson", rate=60.0, fano=1.5)


def _simulated(noise: TrialNoise, n_repetitions: int, **changes):
    options = {"region": "V1", "n_subjects": 1, "n_neuroids": D, "population": Cells(FIELDS), **changes}
    return simulate_cortex(FEATURES, IDS, noise=noise, n_repetitions=n_repetitions, **options)


def _trials(assembly) -> np.ndarray:
    """Responses (repetition, stimulus, neuroid)."""
    return assembly.values.reshape(-1, N, assembly.shape[1])


def _reliability(assembly) -> np.ndarray:
    """By one-way analysis of variance, a neuroid (definitions: 1.6)."""
    y = _trials(assembly)
    within = y.var(axis=0, ddof=1).mean(axis=0) / len(y)
    signal = y.mean(axis=0).var(axis=0, ddof=1) - within
    return signal / (signal + within)


def _noise_correlations(assembly) -> np.ndarray:
    """Correlations of what is left of single trials when each stimulus' mean is taken off, (neuroid, neuroid)."""
    left = _trials(assembly) - _trials(assembly).mean(axis=0)
    return np.corrcoef(left.reshape(-1, left.shape[2]).T)


def _pairs(matrix: np.ndarray) -> np.ndarray:
    return matrix[~np.eye(len(matrix), dtype=bool)]


@pytest.mark.parametrize(
    "noise",
    [
        TrialNoise(variance=4.0, spread=0.8),
        COUNTS,
        TrialNoise("poisson", rate=20.0, fano=2.0, spread=0.5),
        TrialNoise("poisson", rate=30.0, fano=1.0),
    ],
    ids=str,
)
def test_the_reliability_of_every_neuroid_is_the_one_that_is_said(noise):
    assembly = _simulated(noise, 10, seed=1)
    true, found = assembly["true_reliability"].values, _reliability(assembly)
    # definitions 1.6: the estimate's standard error is near (1 - rho) sqrt(2/n) < 0.08 for one neuroid, 40 of them
    assert np.abs(found - true).max() < 0.25 and found.mean() == pytest.approx(true.mean(), abs=0.03)
    assert assembly.attrs["reliability"] == pytest.approx(true.mean(), rel=1e-12)
    np.testing.assert_allclose(assembly["best_r2"].values, 0.8 * true)
    if noise.spread:
        assert np.ptp(true) > 0.2 and np.corrcoef(found, true)[0, 1] > 0.8
        shuffled = np.random.default_rng(0).permutation(true)
        assert np.corrcoef(found, shuffled)[0, 1] < 0.5  # control: the truth of another neuroid


@pytest.mark.parametrize(("rate", "fano"), [(40.0, 1.0), (40.0, 1.5), (15.0, 3.0)])
def test_rate_and_fano_factor_come_out(rate, fano):
    assembly = _simulated(TrialNoise("poisson", rate=rate, fano=fano), 60)
    y = _trials(assembly)
    assert (y >= 0).all() and (y == np.round(y)).all() and assembly.attrs["unit"] == "spikes"
    mean, variance = y.mean(axis=0), y.var(axis=0, ddof=1)
    assert mean.mean() * 10 == pytest.approx(rate, rel=0.01)  # in 100 ms
    assert variance.mean() / mean.mean() == pytest.approx(fano, rel=0.03)  # 480,000 trials; gains have long tails
    signal = _trials(_simulated(TrialNoise(variance=0.0), 1))[0]
    order = np.argsort(signal / -signal.min(axis=0), axis=None).reshape(4, -1)  # by the true rate, low to high
    by_rate = np.array([[each.flat[rows].mean() for rows in order] for each in (variance, mean)])
    np.testing.assert_allclose(by_rate[0] / by_rate[1], fano, rtol=0.08)
    squared = by_rate[0] / by_rate[1] ** 2
    assert squared.max() > 2.0 * squared.min()  # control: the variance does not follow the squared mean


def test_counts_keep_the_shared_share_exactly():
    assembly = _simulated(TrialNoise("poisson", rate=1e7, fano=1.0), 1, shared=0.3)  # all but without noise
    _, means = average_repetitions(assembly)
    best = np.corrcoef(FEATURES.T, means.T)[:D, D:].max(axis=0) ** 2
    np.testing.assert_allclose(best, 0.3, atol=0.005)
    bent = np.log1p(np.exp(2.0 * (means - means.mean(0)) / means.std(0)))  # control: a nonlinearity changes the share
    assert np.abs(np.corrcoef(FEATURES.T, bent.T)[:D, D:].max(axis=0) ** 2 - 0.3).max() > 0.02


@pytest.mark.parametrize("noise", [TrialNoise(variance=2.0), COUNTS], ids=["gaussian", "poisson"])
def test_noise_correlations_come_out_and_fall_with_distance(noise):
    law = TrialNoise(noise.kind, noise.variance, noise.rate, noise.fano, correlation=0.1)
    found = _noise_correlations(_simulated(law, 100))
    # the common part of 20,000 trials varies by some 1.5 % of itself
    assert _pairs(found).mean() == pytest.approx(0.1, abs=0.006)
    assert abs(_pairs(_noise_correlations(_simulated(noise, 100))).mean()) < 0.002  # control: none asked for
    assembly = _simulated(law, 1)
    far = _pairs(np.hypot(*(assembly[axis].values[:, None] - assembly[axis].values for axis in ("rf_x", "rf_y"))))
    assert _pairs(found)[far < 0.5].mean() > 1.3 * _pairs(found)[far > 2.0].mean()
    assert assembly.attrs["noise_correlation"] == 0.1


def test_noise_correlations_rise_with_signal_similarity_and_stay_within_a_subject():
    law = TrialNoise(correlation=0.2)
    assembly = simulate_cortex(
        FEATURES[:, :3], IDS, region="IT", n_subjects=2, n_neuroids=30, n_repetitions=100, noise=law
    )
    found = _noise_correlations(assembly)
    # two animals, never recorded together: 0.23 / sqrt(20,000) = 0.0016 is the standard error
    assert abs(found[:30, 30:].mean()) < 0.006
    signal = np.corrcoef(_trials(assembly).mean(axis=0)[:, :30].T)
    assert np.corrcoef(_pairs(signal), _pairs(found[:30, :30]))[0, 1] > 0.8
    assert _reliability(assembly).mean() == pytest.approx(assembly.attrs["reliability"], abs=0.005)  # it stays


def test_the_order_of_stimuli_is_of_no_account_under_any_law():
    order = np.random.default_rng(2).permutation(N)
    for law in (TrialNoise(variance=2.0, spread=0.5, correlation=0.1), COUNTS, TrialNoise("poisson", correlation=0.05)):
        plain = _trials(_simulated(law, 2))
        moved = simulate_cortex(
            FEATURES[order], [IDS[at] for at in order], region="V1", n_subjects=1, n_neuroids=D, n_repetitions=2,
            noise=law, population=Cells(FIELDS),
        )  # fmt: skip
        np.testing.assert_allclose(_trials(moved), plain[:, order], atol=1e-8)
        assert not np.allclose(_trials(moved), plain, atol=0.5)  # control: by position


def test_laws_share_their_signal():
    quiet = TrialNoise(variance=0.0)
    signal = _trials(_simulated(quiet, 1))[0]
    counts = _trials(_simulated(TrialNoise("poisson", rate=1e7, fano=1.0), 1))[0]
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(signal.T, counts.T)]
    assert min(r) > 0.999


def test_what_makes_no_noise():
    for arguments, told in (
        ({"kind": "posson"}, r"no noise_kind 'posson'; near: 'poisson'"),
        ({"variance": -1.0}, r"noise=-1\.0 is no variance"),
        ({"rate": 0.0}, r"rate=0\.0 is no mean rate"),
        ({"fano": 0.9}, r"fano=0\.9 is no Fano factor"),
        ({"spread": -0.1}, r"noise_spread=-0\.1 is no standard deviation"),
        ({"correlation": 1.0}, r"noise_correlation=1\.0 is no mean correlation"),
    ):
        with pytest.raises(NeuralDataError, match=told) as error:
            TrialNoise(**arguments)
        assert "\n" not in str(error.value)
    with pytest.raises(NeuralDataError, match=r"noise_correlation=0\.8 is more than these neuroids allow, 0\.\d+ on"):
        _simulated(TrialNoise(correlation=0.8), 1)
    with pytest.raises(NeuralDataError, match=r"more than these neuroids and fano allow, 0\.000 on average"):
        _simulated(TrialNoise("poisson", fano=1.0, correlation=0.1), 1)
    one = _simulated(TrialNoise(correlation=0.1), 2, n_neuroids=1, population=Readouts())
    assert one.shape == (2 * N, 1)  # one neuroid has no pairs


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "poisson", "rate": 1e30}, "at most 1e\\+09 spikes/s"),
        ({"spread": 10.0}, "noise_spread=10.0 .* it is 0 to 3"),
        ({"variance": "a"}, "variance='a' of trial noise is no number"),
    ],
)
def test_numbers_that_no_noise_has(options, told):
    with pytest.raises(NeuralDataError, match=told):
        TrialNoise(**options)
