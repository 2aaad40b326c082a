"""The split: stratified, by id, groups whole."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.errors import OptionError
from netphys.probes.splitting import hold_out

IDS = [f"s{i:03d}" for i in range(120)]
LABELS = ["a"] * 60 + ["b"] * 40 + ["c"] * 20


def test_each_class_has_its_share():
    held = hold_out(IDS, LABELS, 0.25)
    assert [int(held[np.array(LABELS) == each].sum()) for each in "abc"] == [15, 10, 5]


def test_the_order_of_stimuli_does_not_count_and_the_seed_does():
    held = {each for each, yes in zip(IDS, hold_out(IDS, LABELS, 0.25, seed=3)) if yes}
    order = np.random.default_rng(0).permutation(len(IDS))
    ids, labels = [IDS[i] for i in order], [LABELS[i] for i in order]
    assert {each for each, yes in zip(ids, hold_out(ids, labels, 0.25, seed=3)) if yes} == held
    assert {each for each, yes in zip(ids, hold_out(ids, labels, 0.25, seed=4)) if yes} != held


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_never_split_and_without_groups_they_are(seed):
    rng = np.random.default_rng(seed)
    scenes = rng.integers(0, 30, 240)
    labels = rng.choice(["a", "b"], 240)
    ids = [f"{i}" for i in range(240)]
    held = hold_out(ids, labels, 0.25, groups=scenes.astype(str), seed=seed)
    assert not set(scenes[held]) & set(scenes[~held])
    for each in "ab":
        assert abs(held[labels == each].mean() - 0.25) < 0.08  # a group of 8 is 3 % of 240; two classes share it
    loose = hold_out(ids, labels, 0.25, seed=seed)
    assert set(scenes[loose]) & set(scenes[~loose])  # control


@pytest.mark.parametrize(
    ("labels", "fraction", "groups", "text"),
    [
        ("aab", 0.5, None, "class 'b' has one stimulus; training and test need one each"),
        ("aabb", 0.0, None, "a share between 0 and 1, not 0.0"),
        ("aabb", 0.5, "1122", "no stimulus of class '[ab]' is left for (test|training) when groups stay whole"),
    ],
)
def test_what_cannot_be_split_is_one_line(labels, fraction, groups, text):
    with pytest.raises(OptionError, match=text):
        hold_out([str(i) for i in range(len(labels))], list(labels), fraction, groups=groups and list(groups))
