"""Confusions: counts by hand, intervals, subjects, d' of pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm

from netphys.errors import NeuralDataError
from netphys.neural.behaviour.confusion import confusion, wilson
from netphys.neural.behaviour.trials import choices_from_trials


def trials(counts, names="abc", subject="x") -> pd.DataFrame:
    """A table with these counts, object x choice."""
    rows = [
        (f"{names[i]}{at % 3}", names[i], names[j], subject)
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        for at in range(n)
    ]
    return pd.DataFrame(rows, columns=["stimulus_id", "truth", "choice", "subject"])


COUNTS = np.array([[6, 3, 1], [2, 7, 1], [0, 4, 16]])


def test_counts_rates_and_accuracy_by_hand():
    found = confusion(choices_from_trials(trials(COUNTS)))
    assert found.objects == ("a", "b", "c") and found.subjects == ("all",)
    np.testing.assert_array_equal(found.counts[0], COUNTS)
    np.testing.assert_allclose(found.rates[0], COUNTS / COUNTS.sum(axis=1, keepdims=True), rtol=1e-12)
    assert found.accuracy[0] == pytest.approx(29 / 40)
    # a against b: 6 of 9 right, b called a on 2 of 9
    assert found.dprime[0, 0, 1] == pytest.approx(norm.ppf(6 / 9) - norm.ppf(2 / 9))
    assert found.dprime[0, 0, 2] == pytest.approx(5)  # c was never called a: limited
    assert np.isnan(np.diagonal(found.dprime[0])).all()
    assert repr(found).startswith("Confusion(3 objects, 40 trials: 0.725 right, 95 % interval 0.572 to 0.839")
    assert "a was called b (0.300)" in repr(found)


def test_wilson_is_that_of_scipy_and_covers():
    for k, n in ((0, 7), (3, 9), (29, 40), (50, 50)):
        low, high = wilson(np.array(float(k)), np.array(float(n)))
        peer = binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert (float(low), float(high)) == pytest.approx((peer.low, peer.high), abs=1e-12)
    draws = np.random.default_rng(0).binomial(40, 0.9, size=4000).astype(float)
    low, high = wilson(draws, np.full(4000, 40.0))
    assert 0.93 < ((low <= 0.9) & (high >= 0.9)).mean() < 0.98
    plain = 1.96 * np.sqrt(draws / 40 * (1 - draws / 40) / 40)  # control: the normal interval covers too little
    assert (np.abs(draws / 40 - 0.9) <= plain).mean() < 0.93


def test_subjects_sum_to_the_pool_and_keep_their_order():
    both = pd.concat([trials(COUNTS, subject="zoe"), trials(COUNTS.T, subject="al")])
    made = choices_from_trials(both, subject="subject")
    each, pool = confusion(made, per_subject=True), confusion(made)
    assert each.subjects == ("zoe", "al")
    np.testing.assert_array_equal(each.counts[0], COUNTS)
    np.testing.assert_array_equal(each.counts.sum(axis=0), pool.counts[0])
    assert "2 subjects" in repr(each)
    frame = each.to_frame()
    assert len(frame) == 18
    row = frame[(frame.subject == "al") & (frame.object == "b") & (frame.choice == "a")]
    assert row["count"].item() == 3
    with pytest.raises(NeuralDataError, match="no subject 'bo'"):
        each.plot(subject="bo")
    with pytest.raises(NeuralDataError, match="no coordinate 'subject'"):
        confusion(choices_from_trials(trials(COUNTS)), per_subject=True)


def test_probabilities_sum_and_two_choices_are_rated_by_what_was_offered():
    made = choices_from_trials(trials(COUNTS)).astype(float)
    soft = made * 0.7 + 0.1
    np.testing.assert_allclose(confusion(soft).counts[0], COUNTS * 0.7 + 0.1 * COUNTS.sum(axis=1, keepdims=True))
    table = pd.DataFrame(
        {"stimulus_id": ["s", "s", "s", "t"], "truth": ["a", "a", "a", "b"], "other": ["b", "b", "c", "a"],
         "choice": ["a", "b", "a", "b"]}
    )  # fmt: skip
    found = confusion(choices_from_trials(table, distractor="other"))
    np.testing.assert_array_equal(found.rates[0], [[2 / 3, 0.5, 0], [0, 1, np.nan], [np.nan] * 3])
    np.testing.assert_array_equal(found.pair_hits[0], [[0, 1, 1], [1, 0, 0], [0, 0, 0]])


def test_order_of_trials_does_not_matter_and_shuffled_truth_is_chance():
    table = trials(COUNTS * 20)
    mixed = table.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(
        confusion(choices_from_trials(table)).counts, confusion(choices_from_trials(mixed)).counts
    )
    table["choice"] = np.random.default_rng(1).permutation(table["choice"])
    chance = (COUNTS.sum(axis=1) / 40) @ (COUNTS.sum(axis=0) / 40)
    assert abs(confusion(choices_from_trials(table)).accuracy[0] - chance) < 3 * np.sqrt(0.25 / 800)  # 3 SE


def test_it_is_drawn_with_names_and_a_framed_diagonal():
    ax = confusion(choices_from_trials(trials(COUNTS))).plot()
    assert [each.get_text() for each in ax.get_xticklabels()] == ["a", "b", "c"]
    assert len(ax.patches) == 3 and ax.get_ylabel() == "object"
