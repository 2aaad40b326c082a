"""Spike counts: known by hand, equal to a loop, exact at the borders."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.errors import NeuralDataError
from netphys.neural.spikes import count_spikes, observed_bins, spike_rates


def looped(trains, onsets, edges) -> np.ndarray:
    """Count with numpy's histogram, a presentation and a neuroid at a time; an edge at infinity keeps the last open."""
    out = np.empty((len(onsets), len(trains), len(edges) - 1), dtype=np.int64)
    for i, onset in enumerate(onsets):
        for j, train in enumerate(trains):
            out[i, j] = np.histogram(train, np.r_[onset + np.asarray(edges) / 1000, np.inf])[0][:-1]
    return out


def drawn(seed: int, *, n_neuroids=7, n_presentations=40, n_spikes=300):
    rng = np.random.default_rng(seed)
    trains = [np.sort(rng.uniform(0, 30, rng.integers(0, n_spikes))) for _ in range(n_neuroids)]
    return trains, rng.uniform(0, 30, n_presentations)


def test_known_answer():
    trains = [[0.95, 1.0, 1.05, 1.1, 2.05], [], [1.2, 1.1999999]]
    counts = count_spikes(trains, [1.0, 2.0], [-100, 0, 100, 200])
    assert counts.tolist() == [[[1, 2, 1], [0, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]]
    assert counts.dtype == np.int64
    # by hand: 1 spike in 100 ms is 10 a second
    assert spike_rates(counts, [-100, 0, 100, 200])[0, 0].tolist() == [10.0, 20.0, 10.0]
    assert spike_rates(np.array([[[3, 3]]]), [0, 50, 250]).tolist() == [[[60.0, 15.0]]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("edges", [(70, 170), (-100, -50, 0, 13.5, 400), tuple(range(-500, 1000, 5))])
def test_equals_a_loop(seed, edges):
    trains, onsets = drawn(seed)  # onsets without order, windows that overlap; more spikes than borders and fewer
    expected = looped(trains, onsets, edges)
    assert np.array_equal(count_spikes(trains, onsets, edges), expected)
    flat, ends = np.concatenate(trains), np.cumsum([len(each) for each in trains])
    assert np.array_equal(count_spikes(flat, onsets, edges, index=ends), expected)
    assert np.array_equal(count_spikes(flat, onsets, edges, index=ends.astype(np.uint32)), expected)
    wrong = looped(trains, onsets + 0.05, edges)
    assert not np.array_equal(wrong, expected)  # control


def test_order_of_spikes_and_of_presentations():
    trains, onsets = drawn(11)
    edges = (0, 50, 100)
    expected = count_spikes(trains, onsets, edges)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(onsets))
    assert np.array_equal(count_spikes(trains, onsets[order], edges), expected[order])
    assert np.array_equal(count_spikes([rng.permutation(each) for each in trains], onsets, edges), expected)
    many = [np.concatenate([each] * 9) for each in trains]  # more spikes than borders, out of order: the other way
    assert np.array_equal(count_spikes(many, onsets, edges), 9 * expected)


def test_borders_are_exact_in_decimal_fractions():
    # on a grid of 1 ms every spike lies on a border; in binary floats the loop misses many of them
    onsets = np.round(np.arange(30) * 6.1 + 0.3, 3)
    spikes = np.round(np.arange(0, 190, 0.001), 3)
    assert (count_spikes([spikes], onsets, np.arange(0, 171, 1.0)) == 1).all()
    assert (count_spikes([spikes], onsets, [70, 170]) == 100).all()
    assert count_spikes([[1234.17]], [1234.1], [70, 71]).tolist() == [[[1]]]
    assert count_spikes([[1234.17]], [1234.1], [69, 70]).tolist() == [[[0]]]
    assert count_spikes([[1234.17] * 9], [1234.1], [69, 70, 71]).tolist() == [[[0, 9]]]  # more spikes than borders
    assert (looped([spikes], onsets, np.arange(0, 171, 1.0)) != 1).any()  # control: compared as floats


def test_bins_of_a_window_add_up_to_it():
    trains, onsets = drawn(3)
    assert np.array_equal(
        count_spikes(trains, onsets, np.linspace(-100, 400, 38)).sum(axis=2),
        count_spikes(trains, onsets, [-100, 400])[:, :, 0],
    )


def test_a_train_of_poisson_spikes_has_its_rate():
    rng = np.random.default_rng(5)
    train = np.sort(rng.uniform(0, 4000, 80_000))  # 20 spikes/s
    rates = spike_rates(count_spikes([train], np.arange(3000) + 1.0, [0, 100]), [0, 100])
    assert abs(rates.mean() - 20) < 4 * np.sqrt(20 / (3000 * 0.1))  # 4 standard errors of a Poisson rate
    assert abs(rates.var() - 200) < 40  # variance of a count is its mean, 2, in (spikes/s)²: 200, sd of it about 6


def test_late_times_and_none():
    assert count_spikes([], [1.0], [0, 1]).shape == (1, 0, 1)
    assert count_spikes(np.zeros(0), [1.0], [0, 1], index=[]).shape == (1, 0, 1)
    assert count_spikes([[1.0]], np.zeros(0), [0, 1]).shape == (0, 1, 1)
    unix = 1.7e9  # clocks since 1970: doubles tell 0.24 microseconds apart
    assert count_spikes([[unix + 0.5]], [unix], [400, 500, 600]).tolist() == [[[0, 1]]]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"spike_times": [[1.0], [np.nan]]}, "neuroid 1 .* not all finite"),
        ({"spike_times": [[np.inf]]}, "neuroid 0 .* not all finite"),
        ({"spike_times": [[[1.0]]]}, "neuroid 0"),
        ({"onsets": [1.0, np.nan]}, "onsets are one finite time"),
        ({"onsets": [[1.0]]}, "onsets are one finite time"),
        ({"edges": [0]}, "two or more increasing"),
        ({"edges": [0, 0]}, "two or more increasing"),
        ({"edges": [10, 0]}, "two or more increasing"),
        ({"edges": [0, np.inf]}, "two or more increasing"),
        ({"spike_times": [1.0, 2.0], "index": [2, 1]}, "must not decrease"),
        ({"spike_times": [1.0, 2.0], "index": [1, 3]}, "end at their number, 2"),
        ({"spike_times": [1.0, 2.0], "index": [1]}, "end at their number, 2"),
        ({"spike_times": [1.0, 2.0], "index": [-1, 2]}, "must not decrease"),
        ({"spike_times": [1.0, 2.0], "index": [1.0, 2.0]}, "whole numbers"),
        ({"spike_times": [1.0], "index": []}, "end at their number, 1"),
        ({"onsets": np.zeros(100_000), "edges": np.arange(20_000)}, "take more than 8.6 GB"),
    ],
)
def test_errors_are_one_line(options, told):
    with pytest.raises(NeuralDataError, match=told) as raised:
        count_spikes(**{"spike_times": [[1.0]], "onsets": [1.0], "edges": [0, 100], **options})
    assert "\n" not in str(raised.value)


def test_observed_bins():
    # observed 0-1.5 s in two pieces that touch, and 3-4 s
    intervals = np.array([[3.0, 4.0], [0.0, 1.0], [1.0, 1.5], [0.2, 0.4]])
    seen = observed_bins(intervals, [0.9, 1.4, 3.0, 2.9], [0, 100, 200])
    assert seen.tolist() == [[True, True], [True, False], [True, True], [False, True]]
    assert not observed_bins(np.zeros((0, 2)), [1.0], [0, 1]).any()
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn_intervals = np.sort(rng.uniform(0, 10, (5, 2)), axis=1)
        onsets, edges = rng.uniform(-1, 11, 30), [-50, 0, 300]
        grid = np.linspace(0.0005, 0.9995, 400)  # brute force: every point of a bin lies in some interval
        for onset, row in zip(onsets, observed_bins(drawn_intervals, onsets, edges)):
            for (start, stop), told in zip(zip(edges[:-1], edges[1:]), row):
                points = onset + (start + grid * (stop - start)) / 1000
                inside = ((points[:, None] >= drawn_intervals[:, 0]) & (points[:, None] <= drawn_intervals[:, 1])).any(
                    1
                )
                assert told == inside.all() or abs(inside.mean() - 1) < 0.01
    for bad in ([[1.0, 0.5]], [[np.nan, 1.0]]):
        with pytest.raises(NeuralDataError, match="a start and a stop after it"):
            observed_bins(np.array(bad), [1.0], [0, 1])
