"""Draws, intervals and p-values that several rooms share."""

import numpy as np
import pytest
from scipy import stats

from netphys.errors import OptionError
from netphys.inference import above_zero, bootstrap_p, fdr_bh, resampled_variance, stimulus_draws, t_interval, t_p


def test_draws_are_uniform_and_repeatable():
    draws = stimulus_draws(10, 2000, seed=1)
    np.testing.assert_array_equal(draws, stimulus_draws(10, 2000, seed=1))
    assert not np.array_equal(draws, stimulus_draws(10, 2000, seed=2))
    assert stats.chisquare(np.bincount(draws.ravel())).pvalue > 1e-3
    # n elements with replacement: 1 - (1 - 1/n)^n of them appear, not all (a permutation would show all)
    assert np.mean([len(set(draw)) for draw in draws]) / 10 == pytest.approx(1 - 0.9**10, abs=0.01)
    assert stimulus_draws(10, 0).shape == (0, 10)
    for wrong in (-3, 2.5, "10", None, True):
        with pytest.raises(OptionError, match=f"n_bootstraps={wrong!r}: it must be a whole number, 0"):
            stimulus_draws(10, wrong)
    assert stimulus_draws(10, np.int64(3)).shape == (3, 10)


def test_draws_leave_the_global_generator_alone():
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    stimulus_draws(5, 5)
    assert np.random.random() == expected  # noqa: NPY002


def test_variance_of_a_mean_is_recovered_and_not_without_its_factor():
    rng = np.random.default_rng(0)
    n = 5
    found, plain = [], []
    for seed in range(400):
        values = rng.normal(size=n)
        draws = values[stimulus_draws(n, 200, seed)].mean(axis=1)
        found.append(resampled_variance(draws, n))
        plain.append(draws.var(ddof=1))
    error = np.std(found) / np.sqrt(400)
    assert abs(np.mean(found) - 1 / n) < 4 * error
    assert abs(np.mean(plain) - 1 / n) > 4 * error  # negative control: 20 % too small at n = 5


def test_variance_leaves_out_draws_without_a_value():
    draws = np.array([[1.0, 2.0], [np.nan, 4.0], [3.0, 9.0], [5.0, np.nan]])
    expected = [np.var([1, 3, 5], ddof=1), np.var([2, 4, 9], ddof=1)]
    np.testing.assert_allclose(resampled_variance(draws, 11), np.array(expected) * 1.1)
    assert np.isnan(resampled_variance(np.empty((0, 3)), 11)).all()
    assert np.isnan(resampled_variance(np.ones(1), 11))


def test_interval_and_p_equal_scipy():
    low, high = t_interval([0.3, -1], [0.04, 4], dof=7)
    expected = stats.t.interval(0.95, 7, loc=[0.3, -1], scale=[0.2, 2])
    np.testing.assert_allclose((low, high), expected)
    np.testing.assert_allclose(t_p([0.3, -1], [0.04, 4], 7), stats.t.sf([1.5, -0.5], 7))
    np.testing.assert_allclose(t_p([0.3, -1], [0.04, 4], 7, sided="two"), 2 * stats.t.sf([1.5, 0.5], 7))
    assert t_interval(0.5, 1, 10, level=0.5)[0] > t_interval(0.5, 1, 10)[0]


def test_small_p_is_not_lost():
    assert 0 < t_p(1.0, 1e-4, 91) < 1e-90
    assert 1 - stats.t.cdf(100, 91) == 0  # negative control: what 1 - cdf gives


def test_bootstrap_p_is_never_zero():
    draws = np.array([0.5, 0.4, 0.3, 0.2, -0.1, np.nan])
    assert bootstrap_p(draws) == pytest.approx(2 / 6)
    assert bootstrap_p(draws, sided="two") == pytest.approx(4 / 6)
    assert bootstrap_p(np.ones(99)) == pytest.approx(0.01)
    assert bootstrap_p(np.zeros(99), sided="two") == 1


def test_fdr_equals_scipy_keeps_nan_and_controls_discoveries():
    rng = np.random.default_rng(0)
    p = rng.random(50) ** 2
    np.testing.assert_allclose(fdr_bh(p), stats.false_discovery_control(p))
    order = rng.permutation(50)
    np.testing.assert_allclose(fdr_bh(p[order]), fdr_bh(p)[order])
    with_missing = np.insert(p, 7, np.nan)
    np.testing.assert_allclose(np.delete(fdr_bh(with_missing), 7), fdr_bh(p))
    assert np.isnan(fdr_bh(with_missing)[7])
    assert fdr_bh([]).shape == (0,)
    # pure noise: a family makes any discovery in 5 % of cases; uncorrected in nearly all
    families = rng.random((400, 20))
    assert np.mean([(fdr_bh(each) <= 0.05).any() for each in families]) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean((families <= 0.05).any(axis=1)) > 0.5


def test_above_zero_is_a_false_discovery_rate_and_not_a_level():
    p = np.append(np.random.default_rng(0).random(200), [1e-6, 1e-5, np.nan])
    assert np.flatnonzero(above_zero(p)).tolist() == [200, 201]
    assert (p <= 0.05).sum() > 5  # control: uncorrected, true nulls are found
    assert not above_zero([np.nan]).any() and above_zero([]).shape == (0,)
