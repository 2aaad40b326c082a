"""Trials become an assembly of choices, and the binary tasks in them; what is no behaviour is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from netphys.errors import NeuralDataError, OptionError
from netphys.neural import NeuralData
from netphys.neural.behaviour.trials import choices_from_trials, observed, pair_trials


def two_choices() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "stimulus_id": ["s1", "s1", "s2", "s3"],
            "truth": ["cat", "cat", "dog", "bus"],
            "dist_obj": ["dog", "bus", "bus", "cat"],
            "choice": ["cat", "bus", "dog", "bus"],
            "subject": ["x", "x", "y", "y"],
        }
    )


def probabilities(values, truth=("a", "b"), choices=("a", "b", "c")) -> xr.DataArray:
    coords = {
        "stimulus_id": ("presentation", [f"s{at}" for at in range(len(values))]),
        "truth": ("presentation", list(truth)),
        "choice": ("choice", list(choices)),
    }
    return xr.DataArray(np.array(values, dtype=float), dims=("presentation", "choice"), coords=coords)


def test_trials_of_two_choices():
    made = choices_from_trials(two_choices(), distractor="dist_obj", subject="subject")
    assert made["choice"].values.tolist() == ["bus", "cat", "dog"]
    nan = np.nan
    np.testing.assert_array_equal(made.values, [[nan, 1, 0], [1, 0, nan], [0, nan, 1], [1, 0, nan]])
    assert made["repetition"].values.tolist() == [0, 1, 0, 0]
    assert made["subject"].values.tolist() == ["x", "x", "y", "y"]
    hits, trials = pair_trials(observed(made)).tables()
    np.testing.assert_array_equal(trials, [[1, 0, 1], [1, 0, 0], [0, 1, 0]])  # bus, cat, dog
    np.testing.assert_array_equal(hits, [[0, 0, 1], [1, 0, 0], [0, 1, 0]])


def test_choices_among_many_become_binary_tasks():
    made = choices_from_trials(two_choices())
    hits, trials = pair_trials(observed(made)).tables()
    # s1: cat once (against bus and dog), bus once (against bus only); dog against neither
    np.testing.assert_array_equal(trials[0], [2, 0, 1])
    np.testing.assert_array_equal(hits[0], [1, 0, 1])


def test_probabilities_become_binary_tasks():
    behaviour = probabilities([[0.6, 0.2, 0.2], [0.5, 0.25, 0.25]])
    hits, trials = pair_trials(observed(behaviour)).tables()
    np.testing.assert_allclose(hits, [[0, 0.75, 0.75], [1 / 3, 0, 0.5]], rtol=1e-12)
    np.testing.assert_array_equal(trials, [[0, 1, 1], [1, 0, 1]])
    hits, _ = pair_trials(observed(behaviour), "all").tables()
    np.testing.assert_allclose(hits, [[0, 0.8, 0.8], [0.5, 0, 0.75]], rtol=1e-12)


def test_truth_by_coordinate_by_mapping_and_as_neural_data():
    behaviour = probabilities([[0.6, 0.2, 0.2], [0.5, 0.25, 0.25]])
    named = behaviour.rename(truth="object_name")
    mapped = observed(behaviour.drop_vars("truth"), {"s1": "b", "s0": "a"})
    for seen in (observed(behaviour), observed(named), observed(named, "object_name"), mapped):
        assert seen.objects.tolist() == [0, 1]
    data = NeuralData("behaviour", ("s0", "s1"), (), "", "net", "", assembly=behaviour.transpose("choice", ...))
    np.testing.assert_array_equal(observed(data).values, behaviour.values)


CASES = {
    "no column": (lambda t: t.drop(columns="choice"), "no column 'choice'"),
    "empty cell": (lambda t: t.assign(choice=["cat", None, "dog", "bus"]), "empty cell in column 'choice', row 2"),
    "blank cell": (lambda t: t.assign(truth=["cat", "cat", " ", "bus"]), "empty cell in column 'truth', row 3"),
    "no rows": (lambda t: t.iloc[:0], "no rows"),
    "two truths": (lambda t: t.assign(stimulus_id=["s1", "s1", "s1", "s3"]), "'s1' has two truths, 'cat' and 'dog'"),
    "own distractor": (lambda t: t.assign(dist_obj=["cat", "bus", "bus", "cat"]), "offers 'cat' twice"),
    "choice not offered": (lambda t: t.assign(choice=["bus", "bus", "dog", "bus"]), "trial 1 chose 'bus'"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_trials_that_cannot_be(case):
    spoil, words = CASES[case]
    choices_from_trials(two_choices(), distractor="dist_obj")  # control: the table as it is
    with pytest.raises(NeuralDataError, match=words) as error:
        choices_from_trials(spoil(two_choices()), distractor="dist_obj")
    assert "\n" not in str(error.value)


GOOD = [[0.6, 0.2, 0.2], [0.5, 0.25, 0.25]]
BAD = {
    "logits": (probabilities([[2.0, 1.0, 0.1], [0.5, 0.25, 0.25]]), None, "sums to 3.1"),
    "negative": (probabilities([[1.5, -0.3, -0.2], [0.5, 0.25, 0.25]]), None, "below 0"),
    "infinite": (probabilities([[np.inf, 0, 0], [0.5, 0.25, 0.25]]), None, "infinite"),
    "object not offered": (probabilities([[np.nan, 0.5, 0.5], [0.5, 0.25, 0.25]]), None, "did not offer its own"),
    "truth is no choice": (probabilities(GOOD, truth=("a", "d")), None, "'d' would have been right, and is no choice"),
    "no truth": (probabilities(GOOD).drop_vars("truth"), None, "give truth="),
    "truth misspelt": (probabilities(GOOD), "truths", "no coordinate 'truths'"),
    "mapping lacks one": (probabilities(GOOD), {"s0": "a"}, "no entry for 1 of 2 stimuli, the first 's1'"),
    "no choices named": (probabilities(GOOD).drop_vars("choice"), None, "no coordinate 'choice'"),
    "no stimulus_id": (probabilities(GOOD).drop_vars("stimulus_id"), None, "no coordinate 'stimulus_id'"),
    "choices twice": (probabilities(GOOD, choices=("a", "b", "b")), None, "all different"),
    "responses": (probabilities(GOOD).rename(choice="neuroid"), None, "presentation x choice"),
    "a bare array": (np.array(GOOD), None, "give presentation x choice, with labels"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_behaviour(case):
    behaviour, truth, words = BAD[case]
    observed(probabilities(GOOD))  # control
    with pytest.raises(NeuralDataError, match=words) as error:
        observed(behaviour, truth)
    assert "\n" not in str(error.value)


def test_rdms_are_no_behaviour():
    data = NeuralData("rdms", ("a", "b", "c"), ("s",), "", "it", "", dissimilarities=np.ones((1, 3)))
    with pytest.raises(NeuralDataError, match="it is of kind 'rdms'"):
        observed(data)


def test_tasks_that_cannot_be():
    with pytest.raises(OptionError, match="one of pairs, all"):
        pair_trials(observed(probabilities(GOOD)), "pair")
    with pytest.raises(OptionError, match="every choice was offered"):
        pair_trials(observed(choices_from_trials(two_choices(), distractor="dist_obj")), "all")
