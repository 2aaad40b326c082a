"""Linear probes: Bayes' accuracy for Gaussians, chance for shuffled labels, nothing of the test in the fit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest, norm

from netphys.errors import OptionError
from netphys.probes import linear_probe


def gaussians(n, *, seed=0, d=6, distance=1.6):
    """Two Gaussians of one covariance; the best rule is right with Phi(Mahalanobis distance / 2)."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d)) + 2 * np.eye(d)
    shift = root @ np.eye(d)[0] * distance
    codes = np.arange(n) % 2
    x = rng.normal(size=(n, d)) @ root.T + codes[:, None] * shift
    return x, np.array(["left", "right"])[codes], norm.cdf(distance / 2)


def test_two_gaussians_reach_the_accuracy_of_bayes():
    n_train, n_test = 20_000, 100_000
    x, y, best = gaussians(n_train + n_test)
    found = linear_probe(x, y, train=range(n_train), test=range(n_train, n_train + n_test))
    assert found.accuracy == pytest.approx(best, abs=0.005)  # the definition's; 3 standard errors of the test are .004
    assert found.chance == 0.5 and found.converged and found.gradient_norm < 1e-6
    shuffled = np.random.default_rng(1).permutation(y)  # control
    found = linear_probe(x, shuffled, train=range(n_train), test=range(n_train, n_train + n_test))
    assert found.accuracy == pytest.approx(0.5, abs=0.01)


def test_scale_and_shift_of_units_do_not_count():
    x, y, _ = gaussians(400)
    scale, shift = 10.0 ** np.arange(-3, 3), np.linspace(-50, 50, 6)
    plain, moved = (linear_probe(each, y, train=range(200), test=range(200, 400)) for each in (x, x * scale + shift))
    assert plain.penalty == moved.penalty and np.array_equal(plain.correct, moved.correct)


def test_what_is_said_of_the_test_fits_together():
    x, y, _ = gaussians(300, seed=2)
    test = np.arange(300) % 3 == 0
    found = linear_probe(x, y, train=~test, test=test)
    assert found.confusion.sum() == 100 == len(found.correct) and np.array_equal(found.test, np.flatnonzero(test))
    assert np.trace(found.confusion) == found.correct.sum() == round(100 * found.accuracy)
    assert found.confusion.sum(1).tolist() == [(y[test] == each).sum() for each in found.classes]
    assert found.to_frame()["n"].sum() == 100
    assert f"{found.accuracy:.3f} of 100 test stimuli told right, chance" in repr(found)


def test_nothing_of_the_test_is_in_the_fit():
    """Other test features leave penalty and answers to the rest as they are."""
    x, y, _ = gaussians(300, seed=3)
    changed = x.copy()
    changed[250:] = 1e3 * np.random.default_rng(0).normal(size=(50, 6))
    first, second = (linear_probe(each, y, train=range(200), test=range(200, 300)) for each in (x, changed))
    assert first.penalty == second.penalty and np.array_equal(first.correct[:50], second.correct[:50])


def test_constant_units_say_nothing():
    x, y, _ = gaussians(200, seed=4)
    more = np.concatenate([x, np.full((200, 2), 0.1)], axis=1)
    more[150:, -1] = 1e6  # constant on the training stimuli only
    plain, with_more = (linear_probe(each, y, train=range(150), test=range(150, 200)) for each in (x, more))
    assert np.array_equal(plain.correct, with_more.correct)


def test_the_penalty_matters_where_units_are_many():
    """The search finds more than no penalty at all would: 40 stimuli, 200 units, two of which know."""
    rng = np.random.default_rng(5)
    y = np.array(["a", "b"])[np.arange(2040) % 2]
    x = rng.normal(size=(2040, 200))
    x[:, :40] += 0.5 * (y == "b")[:, None]
    rows = {"train": range(40), "test": range(40, 2040)}
    searched, without = linear_probe(x, y, **rows), linear_probe(x, y, penalties=[1e6], **rows)
    assert searched.penalty in np.logspace(-6, 6, 96) and without.penalty == 1e6
    assert searched.accuracy > 0.65


@pytest.mark.slow
def test_shuffled_labels_give_p_that_is_uniform():
    """Calibration: p of 200 shuffles of a small problem; the binomial is discrete, so p is uniform or above."""
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        x, y = rng.normal(size=(160, 5)), rng.permutation(np.repeat(["a", "b"], 80))
        test = np.zeros(160, dtype=bool)
        test[rng.permutation(np.flatnonzero(y == "a"))[:40]] = test[rng.permutation(np.flatnonzero(y == "b"))[:40]] = (
            True
        )
        found = linear_probe(x, y, train=~test, test=test)
        n_right = found.correct.sum()
        above, at = binom.sf(n_right, 80, 0.5), binom.pmf(n_right, 80, 0.5)
        p.append(above + rng.random() * at)  # randomised, so that it is exactly uniform under chance
    assert kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) < 0.05) < 0.10


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train": range(30), "test": range(20, 40)}, "10 stimuli are in training and test, first row 20"),
        ({"labels": ["a"] * 40}, "all training stimuli are 'a'; a probe needs two classes"),
        ({"labels": ["a"] * 19 + ["b"] + ["a", "b"] * 10}, "class 'b' has fewer than 2 training stimuli"),
        ({"labels": ["a", "b"] * 19 + ["c", "c"]}, "class 'c' is in the test only"),
        ({"features": np.full((40, 3), np.inf)}, "120 of 120 activations are not finite"),
        ({"features": np.zeros((40, 3, 3))}, r"features are \(40, 3, 3\) for 40 labels"),
        ({"test": []}, "need stimuli, one at least each"),
        ({"penalties": [-1.0]}, "each 0 or more"),
    ],
)
def test_what_cannot_be_probed_is_one_line(change, text):
    given = {"features": np.random.default_rng(0).normal(size=(40, 3)), "labels": ["a", "b"] * 20}
    given |= {"train": range(20), "test": range(20, 40), **change}
    with pytest.raises(OptionError, match=text) as caught:
        linear_probe(given.pop("features"), given.pop("labels"), **given)
    assert "\n" not in str(caught.value)
