"""The six signatures, by hand on tables small enough to count, and against loops on random trials."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

from netphys.errors import OptionError
from netphys.neural.behaviour.choices import i1, i1n, i2, i2n, o1, o2, signature
from netphys.neural.behaviour.trials import choices_from_trials

Z = norm.ppf
# image, distractor: hits of trials
BY_HAND = {
    ("a0", "b"): (3, 4), ("a0", "c"): (1, 2), ("a1", "b"): (1, 4), ("a1", "c"): (3, 4),
    ("b0", "a"): (4, 5), ("b0", "c"): (1, 2), ("b1", "a"): (2, 5), ("b1", "c"): (1, 4),
    ("c0", "a"): (2, 3), ("c0", "b"): (2, 4),
}  # fmt: skip


def table(hits) -> pd.DataFrame:
    rows = [
        (image, image[0], other, image[0] if at < k else other)
        for (image, other), (k, n) in hits.items()
        for at in range(n)
    ]
    return pd.DataFrame(rows, columns=["stimulus_id", "truth", "other", "choice"])


@pytest.fixture
def behaviour() -> xr.DataArray:
    return choices_from_trials(table(BY_HAND), distractor="other")


def test_object_level_by_hand(behaviour):
    # a against b: 4 of 8 right; b was called a on 4 of 10
    pairs = o2(behaviour).values
    assert pairs[0, 1] == pytest.approx(Z(4 / 8) - Z(4 / 10))
    assert pairs[0, 2] == pytest.approx(Z(4 / 6) - Z(1 / 3))
    assert pairs[1, 2] == pytest.approx(Z(2 / 6) - Z(2 / 4))
    np.testing.assert_allclose(pairs, pairs.T, atol=1e-12)
    assert np.isnan(np.diagonal(pairs)).all()
    # a: 8 of 14 right; others were called a on 4 of 10 and 1 of 3
    np.testing.assert_allclose(o1(behaviour).values[0], Z(8 / 14) - Z(5 / 13))
    np.testing.assert_allclose(o1(behaviour).values[2], Z(4 / 7) - Z(6 / 12))


def test_image_level_by_hand(behaviour):
    images = i2(behaviour)
    assert images.stimulus_ids == ("a0", "a1", "b0", "b1", "c0") and images.choices == ("a", "b", "c")
    assert images.values[0, 1] == pytest.approx(Z(3 / 4) - Z(4 / 10))  # false alarms over both images of b
    assert images.values[1, 1] == pytest.approx(Z(1 / 4) - Z(4 / 10))
    assert images.values[3, 2] == pytest.approx(Z(1 / 4) - Z(2 / 4))
    assert np.isnan(images.values[0, 0]) and np.isnan(images.values[4, 2])
    assert i1(behaviour).values[0] == pytest.approx(Z(4 / 6) - Z(5 / 13))
    gap = Z(3 / 4) - Z(1 / 4)
    np.testing.assert_allclose(i2n(behaviour).values[:2, 1], [gap / 2, -gap / 2])
    assert i2n(behaviour).values[4, 0] == 0  # the only image of its object
    gap = Z(4 / 6) - Z(4 / 8)
    np.testing.assert_allclose(i1n(behaviour).values[:2], [gap / 2, -gap / 2])


def test_the_rule_of_brain_score_by_hand(behaviour):
    def far(called_a):
        return Z(np.mean(called_a))

    images = i2(behaviour, rule="brainscore").values
    # the mean of the images' rates 1/5 and 3/5 is 4/10 here as there are equal trials; c: 1/2 and 3/4, not 4/6
    assert images[0, 1] == pytest.approx(Z(3 / 4) - far([1 / 5, 3 / 5]))
    assert images[4, 1] == pytest.approx(Z(2 / 4) - far([1 / 2, 3 / 4]))
    assert i2(behaviour).values[4, 1] == pytest.approx(Z(2 / 4) - Z(4 / 6))  # the other rule is another number
    np.testing.assert_allclose(i1(behaviour, rule="brainscore").values, np.nanmean(images, axis=1))
    pairs = o2(behaviour, rule="brainscore").values
    assert pairs[0, 2] == pytest.approx(Z(np.mean([1 / 2, 3 / 4])) - Z(1 / 3))
    np.testing.assert_allclose(o1(behaviour, rule="brainscore").values, np.nanmean(pairs, axis=1))


def test_loops_over_probabilities_agree():
    """Definitions written out as loops, on fresh random probabilities with unequal numbers of images."""
    rng = np.random.default_rng(3)
    objects = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
    p = rng.dirichlet(np.ones(4), size=10)
    names = np.array(list("wxyz"))
    coords = {
        "stimulus_id": ("presentation", [f"s{at}" for at in range(10)]),
        "truth": ("presentation", names[objects]),
        "choice": ("choice", names),
    }
    network = xr.DataArray(p, dims=("presentation", "choice"), coords=coords)
    expected = np.full((10, 4), np.nan)
    for s in range(10):
        for d in range(4):
            if d != objects[s]:
                hit = p[s, objects[s]] / (p[s, objects[s]] + p[s, d])
                false = [p[t, objects[s]] / (p[t, objects[s]] + p[t, d]) for t in range(10) if objects[t] == d]
                expected[s, d] = np.clip(Z(hit) - Z(np.mean(false)), -5, 5)
    for rule in ("paper", "brainscore"):  # one presentation an image: the two rules are one
        np.testing.assert_allclose(i2(network, rule=rule).values, expected, atol=1e-12)
        less = expected.copy()
        for o in range(4):
            for d in set(range(4)) - {o}:
                less[objects == o, d] -= expected[objects == o, d].mean()
        np.testing.assert_allclose(i2n(network, rule=rule).values, less, atol=1e-12)
    all_at_once = i1(network, task="all").values
    false = np.mean([p[t, 0] for t in range(10) if objects[t] != 0])
    assert all_at_once[1] == pytest.approx(Z(p[1, 0]) - Z(false))


def test_rates_of_0_and_1():
    sure = {(f"{o}{k}", d): (4, 4) for o in "ab" for k in range(2) for d in "ab" if d != o}
    behaviour = choices_from_trials(table(sure), distractor="other")
    assert (i2(behaviour).values[~np.isnan(i2(behaviour).values)] == 5).all()
    assert o2(behaviour, cap=3).values[0, 1] == 3
    # 8 of 8 and 0 of 8: (8.5/9, 0.5/9)
    assert o2(behaviour, correction="loglinear").values[0, 1] == pytest.approx(Z(8.5 / 9) - Z(0.5 / 9))
    always_a = {key: ((4, 4) if key[0][0] == "a" else (0, 4)) for key in sure}
    behaviour = choices_from_trials(table(always_a), distractor="other")
    assert o2(behaviour).values[0, 1] == 0  # always the same answer: nothing is told apart


def test_order_of_trials_and_names_of_stimuli_do_not_matter(behaviour):
    mixed = behaviour.isel(presentation=np.random.default_rng(0).permutation(behaviour.sizes["presentation"]))
    a, b = i2n(behaviour), i2n(mixed)
    order = [b.stimulus_ids.index(each) for each in a.stimulus_ids]
    np.testing.assert_allclose(b.values[order], a.values, atol=1e-12)
    np.testing.assert_allclose(i2n(behaviour.isel(choice=[2, 0, 1])).values[:, [1, 2, 0]], a.values, atol=1e-12)


def test_a_shift_of_criterion_leaves_d_prime(behaviour):
    """An observer who says a more often, at the same sensitivity, has the same o2; his accuracy has not."""
    rng = np.random.default_rng(0)
    found = []
    for criterion in (0.0, 0.5):
        evidence = rng.normal(size=(2, 20_000)) + np.array([[0.75], [-0.75]])  # d' = 1.5
        says_a = evidence > -criterion
        hits = {("a0", "b"): (int(says_a[0].sum()), 20_000), ("b0", "a"): (int((~says_a[1]).sum()), 20_000)}
        found.append(o2(choices_from_trials(table(hits), distractor="other")).values[0, 1])
    assert found == pytest.approx([1.5, 1.5], abs=0.05)  # 3 standard errors of d' at 20,000 trials are .04


def test_shuffled_choices_are_not_told_apart():
    trials = table({key: (n, n) for key, (_, n) in BY_HAND.items()})
    trials = pd.concat([trials] * 200)
    swap = np.random.default_rng(0).random(len(trials)) < 0.5
    trials["choice"] = np.where(swap, trials["other"], trials["truth"])
    values = o2(choices_from_trials(trials, distractor="other")).values
    assert np.nanmax(np.abs(values)) < 0.2  # 3 standard errors at 600 trials a side are .17


def test_frames_and_words(behaviour):
    frame = i2n(behaviour).to_frame()
    assert list(frame.columns) == ["stimulus_id", "object", "distractor", "dprime"] and len(frame) == 15
    row = frame[(frame.stimulus_id == "b1") & (frame.distractor == "c")]
    assert row.dprime.item() == pytest.approx(i2n(behaviour).values[3, 2])
    assert list(o1(behaviour).to_frame().columns) == ["object", "dprime"]
    assert list(i1(behaviour).to_frame().columns) == ["stimulus_id", "object", "dprime"]
    assert repr(i2n(behaviour)).startswith("Signature(i2n: d' of 5 images x 3 distractors, spread (SD) ")
    assert "median" in repr(o1(behaviour)) and "3 objects" in repr(o1(behaviour))
    for kind in ("o1", "o2", "i1", "i1n", "i2", "i2n"):
        assert signature(behaviour, kind).plot().get_xlabel() in ("object", "distractor")


BAD = {
    "kind": ({"kind": "i3n"}, "there is no signature 'i3n'; near: 'i2n'"),
    "rule": ({"rule": "brain-score"}, "one of paper, brainscore"),
    "correction": ({"correction": "hautus"}, "one of cap, loglinear"),
    "cap": ({"cap": 0}, "a d' above 0"),
    "means of rates": ({"rule": "brainscore", "correction": "loglinear"}, "no log-linear form"),
    "task": ({"kind": "i2", "task": "all"}, "o1, i1, i1n by rule='paper', not i2"),
    "two choices at once": ({"kind": "i1", "task": "all"}, "every choice was offered"),
}


@pytest.mark.parametrize("case", BAD)
def test_options_that_cannot_be(behaviour, case):
    options, words = BAD[case]
    with pytest.raises(OptionError, match=words.replace("(", r"\(")):
        signature(behaviour, **{"kind": "i2n", **options})


def test_probabilities_have_no_counts(behaviour):
    soft = behaviour * 0.8 + 0.1
    signature(soft, "i2n")
    with pytest.raises(OptionError, match="probabilities have none"):
        signature(soft, "i2n", correction="loglinear")
