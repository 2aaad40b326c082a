"""The penalty chosen on the test stimuli, or features scaled by them: a higher number, and no crash."""

from __future__ import annotations

import numpy as np

from netphys.probes import linear_probe, logistic_path
from netphys.probes.linear import PENALTIES


def noise(seed):
    """Features that know nothing: whatever is above chance is a mistake."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(90, 40)), rng.permutation(np.repeat(["a", "b", "c"], 30))


def tuned_on_the_test(x, y):
    """The mistake: of all penalties the one that the test likes best."""
    own, test = x[:60], x[60:]
    fits = logistic_path((own - own.mean(0)) / own.std(0), y[:60], PENALTIES[::-6])
    return max(float((fit.predict((test - own.mean(0)) / own.std(0)) == y[60:]).mean()) for fit in fits)


def balanced(seed):
    x, y = noise(seed)
    order = np.concatenate([np.flatnonzero(y == each)[:20] for each in "abc"])
    rest = np.setdiff1d(np.arange(90), order)
    order = np.concatenate([order, rest])
    return x[order], y[order]


def test_tuning_on_the_test_is_seen_on_noise():
    right, wrong = [], []
    for seed in range(40):
        x, y = balanced(seed)
        right.append(linear_probe(x, y, train=range(60), test=range(60, 90), seed=seed).accuracy)
        wrong.append(tuned_on_the_test(x, y))
    # sd of one accuracy of 30 stimuli is .086, of the mean of 40 runs .0136
    assert abs(np.mean(right) - 1 / 3) < 3 * 0.0136
    assert np.mean(wrong) > 1 / 3 + 3 * 0.0136  # the control: the mistake is above chance on noise


def test_standardising_on_all_stimuli_is_seen():
    """The test was recorded with an offset of one unit: scaled by all stimuli it is hidden."""
    rng = np.random.default_rng(0)
    y = np.array(["a", "b"])[np.arange(200) % 2]
    x = rng.normal(size=(200, 3)) + 2.0 * (y == "b")[:, None]
    x[100:, 0] += 50.0
    right = linear_probe(x, y, train=range(100), test=range(100, 200), penalties=[0.1])
    scaled = (x - x.mean(0)) / x.std(0)  # the mistake: the test has a part in mean and sd
    (fit,) = logistic_path(scaled[:100], y[:100], [0.1])
    mistaken = (fit.predict(scaled[100:]) == y[100:]).mean()
    assert right.accuracy == 0.5  # all are told to be "b": what this probe does on what it was given
    assert mistaken > 0.6
    moved = linear_probe(scaled, y, train=range(100), test=range(100, 200), penalties=[0.1])
    assert np.array_equal(moved.correct, right.correct)  # a scale from outside is undone by that of training
