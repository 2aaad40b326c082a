"""Judgements made from a known embedding give its RDM back; scales do not matter, shuffled judgements give nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from netphys.errors import NeuralDataError, OptionError
from netphys.neural.behaviour.confusion import confusion
from netphys.neural.behaviour.similarity import (
    rdms_from_confusions,
    rdms_from_ratings,
    rdms_from_sortings,
    rdms_from_triplets,
)
from netphys.neural.behaviour.trials import choices_from_trials

N = 12
IDS = np.array([f"thing{at:02d}" for at in range(N)])
UPPER = np.triu_indices(N, 1)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Distances of 12 things in 4 dimensions, in the order of pairs."""
    return pdist(np.random.default_rng(0).normal(size=(N, 4)))


def rank(a: np.ndarray, b: np.ndarray) -> float:
    return float(spearmanr(a, b).statistic)


def ratings(values: np.ndarray, subject: str = "s") -> pd.DataFrame:
    return pd.DataFrame(
        {"subject": subject, "stimulus_a": IDS[UPPER[0]], "stimulus_b": IDS[UPPER[1]], "rating": values}
    )


def test_ratings_of_pairs_come_back(truth):
    alike = rdms_from_ratings(ratings(7 - truth), scale="similarity", top=7)
    assert alike.kind == "rdms" and alike.stimulus_ids == tuple(IDS) and alike.subjects == ("s",)
    np.testing.assert_allclose(alike.dissimilarities[0], truth, atol=1e-12)
    np.testing.assert_allclose(
        rdms_from_ratings(ratings(truth), scale="dissimilarity").dissimilarities[0], truth, atol=1e-12
    )
    largest = rdms_from_ratings(ratings(7 - truth), scale="similarity").dissimilarities[0]
    np.testing.assert_allclose(largest, truth - truth.min(), atol=1e-12)
    assert alike.to_rdms().pattern_descriptors["stimulus_id"][0] == "thing00"
    wrong = rdms_from_ratings(ratings(7 - truth), scale="dissimilarity")
    assert rank(wrong.dissimilarities[0], truth) == pytest.approx(-1)  # control: the scale taken the wrong way


def test_both_orders_weigh_the_same_however_often_they_were_asked():
    table = pd.DataFrame(
        {"stimulus_a": list("aaabba"), "stimulus_b": list("bbbacc"), "rating": [1.0, 1.0, 1.0, 5.0, 2.0, 4.0]}
    )
    found = rdms_from_ratings(table, scale="dissimilarity")
    assert found.dissimilarities.tolist() == [[3.0, 4.0, 2.0]]  # not (1 + 1 + 1 + 5) / 4


def test_subjects_who_use_the_scale_otherwise(truth):
    rng = np.random.default_rng(1)
    noisy = truth + rng.normal(0, 0.2, len(truth))
    both = pd.concat([ratings(noisy, "a"), ratings(3 * noisy + 40, "b")])
    each = rdms_from_ratings(both, scale="dissimilarity", normalise="range").dissimilarities
    np.testing.assert_allclose(each[0], each[1], atol=1e-12)
    assert each.min() == 0 and each.max() == 1
    pool = rdms_from_ratings(both, scale="dissimilarity", normalise="range", pool=True)
    assert pool.subjects == ("all",)
    np.testing.assert_allclose(pool.dissimilarities[0], each.mean(axis=0), atol=1e-12)
    plain = rdms_from_ratings(both, scale="dissimilarity").dissimilarities  # control
    assert np.abs(plain[0] - plain[1]).max() > 10


def test_shuffled_ratings_give_nothing(truth):
    mixed = np.random.default_rng(2).permutation(truth)
    assert abs(rank(rdms_from_ratings(ratings(mixed), scale="dissimilarity").dissimilarities[0], truth)) < 3 / 8


def triplets(distances: np.ndarray, n: int, seed: int, sharp: float = 4.0) -> pd.DataFrame:
    """The pair that is kept together is drawn by a softmax over the similarities of the three pairs."""
    rng = np.random.default_rng(seed)
    shown = np.array([rng.choice(N, 3, replace=False) for _ in range(n)])
    square = squareform(distances)
    pairs = -sharp * np.stack([square[shown[:, i], shown[:, j]] for i, j in ((1, 2), (0, 2), (0, 1))], axis=1)
    odd = (pairs + rng.gumbel(size=pairs.shape)).argmax(axis=1)
    named = IDS[shown]
    return pd.DataFrame(
        {f"stimulus_{each}": named[:, at] for at, each in enumerate("abc")} | {"odd": named[np.arange(n), odd]}
    )


def ordered(data) -> np.ndarray:
    """Dissimilarities in the order of IDS."""
    at = [data.stimulus_ids.index(each) for each in IDS]
    return squareform(data.dissimilarities[0])[np.ix_(at, at)][UPPER]


def test_triplets_come_back(truth):
    found = rdms_from_triplets(triplets(truth, 6000, 0))
    assert rank(ordered(found), truth) > 0.9  # Spearman; the law of choice is not linear in distance
    assert found.dissimilarities.mean() == pytest.approx(2 / 3, abs=0.01)  # every triplet keeps one pair of three
    table = triplets(truth, 6000, 0)
    again = rdms_from_triplets(table.sample(frac=1, random_state=1).iloc[:, [2, 0, 1, 3]])
    np.testing.assert_allclose(ordered(again), ordered(found), atol=1e-12)


def test_triplets_by_hand_and_by_loops():
    table = triplets(np.random.default_rng(3).random(N * (N - 1) // 2), 500, 4)
    found = squareform(rdms_from_triplets(table).dissimilarities[0])
    ids = rdms_from_triplets(table).stimulus_ids
    for i, j in ((0, 1), (2, 7), (3, 11)):
        a, b = ids[i], ids[j]
        both = [row for row in table.itertuples() if {a, b} <= set(row[1:4])]
        kept = [row for row in both if row.odd not in (a, b)]
        assert found[i, j] == pytest.approx(1 - len(kept) / len(both))


def test_odd_ones_at_random_give_nothing(truth):
    assert abs(rank(ordered(rdms_from_triplets(triplets(truth, 6000, 0, sharp=0))), truth)) < 3 / 8


def sortings(n: int, seed: int) -> pd.DataFrame:
    """Each subject makes two piles, cutting the space of things anywhere: two are parted in proportion to distance."""
    rng = np.random.default_rng(seed)
    points = np.random.default_rng(0).normal(size=(N, 4))
    rows = []
    for subject in range(n):
        direction = rng.normal(size=4)
        pile = points @ direction / np.linalg.norm(direction) > rng.uniform(-3.5, 3.5)
        rows += [(f"s{subject}", IDS[at], f"{subject}:{pile[at]}") for at in range(N)]
    return pd.DataFrame(rows, columns=["subject", "stimulus", "pile"])


def test_free_sortings_come_back(truth):
    table = sortings(1000, 1)
    each, pool = rdms_from_sortings(table), rdms_from_sortings(table, pool=True)
    assert set(np.unique(each.dissimilarities)) == {0.0, 1.0} and len(each.subjects) == 1000
    np.testing.assert_allclose(pool.dissimilarities[0], each.dissimilarities.mean(axis=0))
    assert np.corrcoef(pool.dissimilarities[0], truth)[0, 1] > 0.95  # sampling: SD .013 of shares that spread by .05
    renamed = table.assign(pile=table["pile"].str.split(":").str[1])  # piles of two subjects may share a name
    np.testing.assert_array_equal(rdms_from_sortings(renamed, pool=True).dissimilarities, pool.dissimilarities)
    table["pile"] = np.random.default_rng(2).permutation(renamed["pile"])
    assert abs(rank(rdms_from_sortings(table, pool=True).dissimilarities[0], truth)) < 3 / 8  # control


def test_a_subject_may_sort_often():
    table = pd.DataFrame({"sorting": [1] * 3 + [2] * 3, "stimulus": list("abc") * 2, "pile": list("xxyxyy")})
    found = rdms_from_sortings(table)
    assert found.dissimilarities.tolist() == [[0.5, 1.0, 0.5]] and found.subjects == ("subject1",)
    with pytest.raises(NeuralDataError, match="'a' stands 2 times in a sorting"):
        rdms_from_sortings(table.drop(columns="sorting"))


def confused(distances: np.ndarray, bias: np.ndarray):
    """Luce's choice model: p_ij proportional to bias_j exp(-d_ij)."""
    p = bias * np.exp(-squareform(distances))
    coords = {"stimulus_id": ("presentation", IDS), "truth": ("presentation", IDS), "choice": IDS}
    p /= p.sum(axis=1, keepdims=True)
    return confusion(xr.DataArray(p, dims=("presentation", "choice"), coords=coords))


def test_confusions_give_the_distances_of_the_choice_model_whatever_the_bias(truth):
    plain = confused(truth, np.ones(N))
    biased = confused(truth, np.exp(np.random.default_rng(1).normal(size=N)))
    for each in (plain, biased):
        np.testing.assert_allclose(rdms_from_confusions(each).dissimilarities[0], truth, atol=1e-12)
    mean = [rdms_from_confusions(each, measure="mean").dissimilarities[0] for each in (plain, biased)]
    assert rank(mean[0], truth) > 0.999
    assert rank(mean[1], truth) < 0.97  # control: this measure is biased where an answer is preferred


def test_tasks_of_two_and_of_many_choices_give_one_measure(truth):
    """The same observer in both tasks: trials of two choices have p_ij / (p_ii + p_ij)."""
    d = squareform(truth)
    rows = []
    for i, j in np.argwhere(d > 0):
        n = round(500 / (1 + np.exp(d[i, j])))  # of 500 trials those that are wrong
        rows += [(IDS[i], IDS[j], IDS[j])] * n + [(IDS[i], IDS[j], IDS[i])] * (500 - n)
    table = pd.DataFrame(rows, columns=["truth", "other", "choice"])
    two = confusion(choices_from_trials(table.assign(stimulus_id=table["truth"]), distractor="other"))
    # counts are rounded: half a trial of the rarest, 500 exp(-3.6) = 13, is 4 %
    np.testing.assert_allclose(rdms_from_confusions(two).dissimilarities[0], truth, atol=0.04)


def test_confusions_that_never_happened():
    table = pd.DataFrame({"truth": list("aaabbbccc"), "choice": list("aaabbcccb")})
    found = confusion(choices_from_trials(table.assign(stimulus_id=table["truth"])))
    # a and b: 3 and 2 hits, no errors; b and c: 2 and 2 hits, 1 and 1 errors
    a_b, _, b_c = rdms_from_confusions(found).dissimilarities[0]
    assert a_b == pytest.approx(np.log(3.5 / 0.5) / 2 + np.log(2.5 / 0.5) / 2)
    assert b_c == pytest.approx(np.log(2.5 / 1.5))
    with pytest.raises(NeuralDataError, match="'a' was never, or always, called 'b', which has no logarithm"):
        rdms_from_confusions(found, add=0)
    with pytest.raises(OptionError, match="shepard or mean"):
        rdms_from_confusions(found, measure="log")


def test_missing_pairs_are_listed(truth):
    table = ratings(truth).iloc[2:]
    with pytest.raises(NeuralDataError, match="2 pairs were not judged, such as thing00 and thing01; thing00"):
        rdms_from_ratings(pd.concat([ratings(truth).iloc[2:], ratings(truth).iloc[2:3]]), scale="dissimilarity")
    found = rdms_from_ratings(table, scale="dissimilarity", missing="nan")
    assert np.isnan(found.dissimilarities).sum() == 2
    with pytest.raises(OptionError, match="raise or nan"):
        rdms_from_ratings(table, scale="dissimilarity", missing="drop")
    with pytest.raises(NeuralDataError, match="of b: 1 pairs were not judged"):
        rdms_from_ratings(pd.concat([ratings(truth, "a"), ratings(truth, "b").iloc[1:]]), scale="dissimilarity")


def test_options_that_cannot_be(truth):
    with pytest.raises(OptionError, match="similarity or dissimilarity"):
        rdms_from_ratings(ratings(truth), scale="distance")
    with pytest.raises(OptionError, match="top= is of a scale of similarity"):
        rdms_from_ratings(ratings(truth), scale="dissimilarity", top=7)
    with pytest.raises(NeuralDataError, match="above the scale's top of 1"):
        rdms_from_ratings(ratings(truth), scale="similarity", top=1)
    with pytest.raises(NeuralDataError, match="gave every pair the same rating"):
        rdms_from_ratings(ratings(np.ones_like(truth)), scale="dissimilarity", normalise="range")
    with pytest.raises(NeuralDataError, match="2 stimuli; an RDM has at least 3"):
        rdms_from_ratings(ratings(truth).iloc[:1], scale="dissimilarity")
