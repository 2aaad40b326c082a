"""Intervals and tests of shares: published examples, and coverage of simulated ones."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.probes.paired import mcnemar_p, newcombe_interval, wilson_interval


def answers(both, first, second, neither):
    counts = [both, first, second, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_published_intervals():
    assert newcombe_interval(*answers(36, 12, 2, 0)) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 10)[0] == 0 and wilson_interval(10, 10)[1] == pytest.approx(1)


def test_mcnemar_by_hand_and_by_scipy():
    from scipy.stats import binomtest

    assert mcnemar_p(*answers(3, 5, 0, 9)) == 2 / 2**5
    assert mcnemar_p(*answers(5, 0, 0, 5)) == 1
    assert mcnemar_p(*answers(5, 9, 3, 5)) == pytest.approx(binomtest(3, 12).pvalue, rel=1e-12)


def test_exchange_turns_the_sign():
    a, b = answers(20, 9, 4, 7)
    low, high = newcombe_interval(a, b)
    assert newcombe_interval(b, a) == pytest.approx((-high, -low), abs=1e-12)
    assert mcnemar_p(a, b) == mcnemar_p(b, a)


def test_the_interval_covers_the_truth_in_95_of_100():
    rng, hits, unpaired = np.random.default_rng(0), 0, 0
    for _ in range(2000):
        kinds = rng.choice(4, size=100, p=[0.6, 0.15, 0.05, 0.2])
        a, b = kinds < 2, (kinds == 0) | (kinds == 2)
        low, high = newcombe_interval(a, b)
        hits += low <= 0.1 <= high
        low, high = newcombe_interval(a, rng.permutation(b))
        unpaired += high - low > 1.2 * np.subtract(*newcombe_interval(a, b)[::-1])
    assert 0.935 <= hits / 2000 <= 0.975  # 3 standard errors of .0049 around .95, and the method's known excess
    assert unpaired > 1500  # control: without the pairing the interval is wider
