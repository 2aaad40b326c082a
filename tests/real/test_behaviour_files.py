"""A network's choices as they are published: 240 images of the objectome, 24 objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from netphys.neural import read_assembly
from netphys.neural.behaviour.choices import i1n, i2n, o2
from netphys.neural.behaviour.confusion import confusion

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def probabilities(unpacked):
    """The file, and a truth for want of one in it: its ten most probable images for each object, as in the set."""
    from scipy.optimize import linear_sum_assignment

    path: Path = unpacked("brainio_nc") / "alexnet-probabilities.nc"
    found = read_assembly(path, dims=("presentation", "choice"))
    found = found.rename(choice_="choice") if "choice_" in found.coords else found
    rows, places = linear_sum_assignment(-np.log(np.repeat(found.values, 10, axis=1)))
    names = found["choice"].values.astype(str)
    return found.assign_coords(truth=("presentation", names[places[np.argsort(rows)] // 10]))


def test_i2n_of_240_images_against_24_objects(probabilities):
    found = i2n(probabilities)
    assert found.values.shape == (240, 24) and len(set(found.stimulus_ids)) == 240
    own = np.array(found.objects)[:, None] == np.array(found.choices)
    assert own.sum() == 240
    np.testing.assert_array_equal(np.isnan(found.values), own)
    of = np.array(found.objects)
    for at, each in enumerate(found.choices[:3]):
        np.testing.assert_allclose(np.delete(found.values[of == each], at, axis=1).mean(axis=0), 0, atol=1e-12)


def test_one_value_by_hand_and_the_two_rules_agree(probabilities):
    p = probabilities.values.astype(float)
    truth = probabilities["truth"].values
    names = probabilities["choice"].values.astype(str).tolist()
    o, d = names.index(truth[7]), 3 if names.index(truth[7]) != 3 else 4
    images = truth == names[d]
    false = (p[images, o] / (p[images, o] + p[images, d])).mean()
    values = i2n(probabilities).values
    same = np.flatnonzero(truth == truth[7])
    images_of_o = np.clip(norm.ppf(p[same, o] / (p[same, o] + p[same, d])) - norm.ppf(false), -5, 5)
    expected = images_of_o[same == 7].item() - images_of_o.mean()
    assert values[7, d] == pytest.approx(expected, abs=1e-9)
    pair = o2(probabilities).values[o, d]
    assert pair == pytest.approx(norm.ppf((p[same, o] / (p[same, o] + p[same, d])).mean()) - norm.ppf(false), abs=1e-9)
    np.testing.assert_allclose(i2n(probabilities, rule="brainscore").values, values, atol=1e-12)


def test_confusions_and_a_control(probabilities):
    found = confusion(probabilities)
    np.testing.assert_allclose(found.rates[0].sum(axis=1), 1, atol=1e-6)
    rng = np.random.default_rng(0)
    shuffled = probabilities.assign_coords(truth=("presentation", rng.permutation(probabilities["truth"].values)))
    assert confusion(shuffled).accuracy[0] < 0.06 < found.accuracy[0]  # chance is 1/24
    assert i1n(probabilities).values.std() > 0.1
