"""Arrangements of subsets come back as the RDM behind them; rsatoolbox computes the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from netphys.errors import NeuralDataError
from netphys.neural.behaviour.arrangements import combine_arrangements, rdms_from_arrangements

N = 14


def arranged(points: np.ndarray, subsets, seed: int, noise: float = 0.0, subject: str = "s") -> pd.DataFrame:
    """Each subset laid out on a screen that it fills (largest distance 1), turned and shifted, with motor noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for trial, subset in enumerate(subsets):
        places = points[subset] / pdist(points[subset]).max()
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        places = places @ turn + rng.uniform(size=2) + noise * rng.normal(size=places.shape)
        rows += [(subject, trial, f"thing{each:02d}", *place) for each, place in zip(subset, places)]
    return pd.DataFrame(rows, columns=["subject", "trial", "stimulus", "x", "y"])


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, 2))


@pytest.fixture(scope="module")
def subsets() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [np.arange(N), *(np.sort(rng.choice(N, 6, replace=False)) for _ in range(12))]


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.sqrt((values**2).mean())


def test_true_distances_come_back_whatever_the_scale_of_each_trial(points, subsets):
    found = rdms_from_arrangements(arranged(points, subsets, 2))
    np.testing.assert_allclose(found.dissimilarities[0], unit(pdist(points)), atol=1e-7)  # scales settle to 1e-10
    assert found.stimulus_ids[0] == "thing00" and found.subjects == ("s",)
    plain = np.full((len(subsets), N * (N - 1) // 2), np.nan)
    for row, subset in enumerate(subsets):
        square = np.full((N, N), np.nan)
        square[np.ix_(subset, subset)] = squareform(pdist(points[subset]) / pdist(points[subset]).max())
        plain[row] = square[np.triu_indices(N, 1)]
    assert np.abs(unit(np.nanmean(plain, axis=0)) - unit(pdist(points))).max() > 0.05  # control: without scaling


def test_weights_make_small_distances_better(points):
    """Two close clusters: in the trial of all they are dots; in trials of one cluster their structure is seen."""
    tight = np.concatenate([0.03 * points[:7], 3 + 0.03 * points[7:]])
    subsets = [np.arange(N), np.arange(7), np.arange(7, N)]
    truth = pdist(tight)
    near = truth < 1
    weighted, plain = [], []
    for seed in range(10):
        table = arranged(tight, subsets, seed, noise=0.03)
        weighted.append(spearmanr(rdms_from_arrangements(table).dissimilarities[0][near], truth[near]).statistic)
        first = table[table.trial == 0]
        plain.append(spearmanr(pdist(first[["x", "y"]].to_numpy())[near], truth[near]).statistic)
    assert np.mean(weighted) > 0.8
    assert np.mean(plain) < 0.4  # control: the one trial of all


def test_rsatoolbox_computes_the_same(points, subsets):
    """On fresh noise, where all distances are above 0.2, the least weight of rsatoolbox."""
    from rsatoolbox.rdm import RDMs
    from rsatoolbox.rdm.combine import rescale

    rng = np.random.default_rng(3)
    distances = rng.uniform(0.25, 1, size=(len(subsets), N * (N - 1) // 2))
    inside = np.stack([np.isin(np.arange(N), each) for each in subsets])
    upper = np.triu_indices(N, 1)
    distances[~(inside[:, upper[0]] & inside[:, upper[1]])] = np.nan
    aligned = rescale(RDMs(distances), method="evidence", threshold=1e-24)
    weights = aligned.rdm_descriptors["rescalingWeights"]
    peer = np.nansum(aligned.dissimilarities * weights, axis=0) / np.nansum(weights, axis=0)
    np.testing.assert_allclose(combine_arrangements(distances), unit(peer), atol=1e-8)
    simple = rescale(RDMs(distances), method="simple", threshold=1e-24).dissimilarities
    assert np.abs(unit(np.nanmean(simple, axis=0)) - unit(peer)).max() > 0.01  # control: without weights


def test_scale_of_a_subject_and_order_of_rows_do_not_matter(points, subsets):
    table = arranged(points, subsets, 4, noise=0.05)
    found = rdms_from_arrangements(table).dissimilarities[0]
    larger = table.assign(x=50 * table["x"] + 3, y=-50 * table["y"])
    np.testing.assert_allclose(rdms_from_arrangements(larger).dissimilarities[0], found, atol=1e-7)
    mixed = rdms_from_arrangements(table.sample(frac=1, random_state=0))
    at = [mixed.stimulus_ids.index(f"thing{each:02d}") for each in range(N)]
    again = squareform(mixed.dissimilarities[0])[np.ix_(at, at)][np.triu_indices(N, 1)]
    np.testing.assert_allclose(again, found, atol=1e-7)


def test_places_shuffled_within_trials_give_nothing(points, subsets):
    table = arranged(points, subsets, 5)
    rng = np.random.default_rng(0)
    table["stimulus"] = table.groupby("trial")["stimulus"].transform(lambda each: rng.permutation(each))
    found = rdms_from_arrangements(table)
    at = [found.stimulus_ids.index(f"thing{each:02d}") for each in range(N)]
    values = squareform(found.dissimilarities[0])[np.ix_(at, at)][np.triu_indices(N, 1)]
    assert abs(spearmanr(values, pdist(points)).statistic) < 3 / np.sqrt(N * 2)


def test_subjects_and_pool(points, subsets):
    both = pd.concat([arranged(points, subsets, 6, 0.05, "a"), arranged(points, subsets[:1], 7, 0.05, "b")])
    each = rdms_from_arrangements(both)
    assert each.subjects == ("a", "b")
    np.testing.assert_allclose((each.dissimilarities**2).mean(axis=1), 1)
    pool = rdms_from_arrangements(both, pool=True)
    assert pool.subjects == ("all",) and pool.dissimilarities.shape == (1, N * (N - 1) // 2)


def test_two_in_one_place_are_0():
    table = pd.DataFrame({"trial": 1, "stimulus": list("abc"), "x": [0.0, 0.0, 1.0], "y": [0.0, 0.0, 0.0]})
    np.testing.assert_allclose(rdms_from_arrangements(table).dissimilarities, [[0, np.sqrt(1.5), np.sqrt(1.5)]])


def test_arrangements_that_say_nothing(points, subsets):
    table = arranged(points, subsets, 8)
    with pytest.raises(NeuralDataError, match="s, trial 1 of the arrangements has 2 stimuli"):
        rdms_from_arrangements(pd.concat([table[table.trial == 0], table[table.trial == 1].iloc[:2]]))
    with pytest.raises(NeuralDataError, match="'thing00' lies twice in s, trial 0"):
        rdms_from_arrangements(pd.concat([table, table.iloc[:1]]))
    with pytest.raises(NeuralDataError, match="all stimuli in one place"):
        rdms_from_arrangements(table.assign(x=0.0, y=0.0))
    apart = [np.array([0, 1, 2]), np.array([2, 3, 4]), np.array([4, 5, 0])]
    with pytest.raises(NeuralDataError, match="2 of 3 arrangements of s share no pair with the others"):
        rdms_from_arrangements(arranged(points, apart, 9))
    with pytest.raises(NeuralDataError, match="pairs were not judged"):
        rdms_from_arrangements(arranged(points, [np.arange(6), np.arange(4, 10)], 9))
