"""Joined by stimulus_id only: definitions 1.4."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from netphys.errors import MatchError, NeuralDataError
from netphys.neural import average_repetitions
from netphys.neural.operations.joining import common_stimuli, match


def made(ids, n_neuroids=3, seed=0):
    values = np.random.default_rng(seed).normal(size=(len(ids), n_neuroids))
    return xr.DataArray(
        values,
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", np.array(ids)),
            "neuroid_id": ("neuroid", np.array([f"n{k}" for k in range(n_neuroids)])),
        },
    )


def test_all_presentations_of_common_stimuli_in_the_order_of_the_data():
    data = made(["b", "a", "b", "z", "c"])
    both, matched = match(data, ["a", "b", "c", "d"], partial=True)
    xr.testing.assert_identical(both, data.isel(presentation=[0, 1, 2, 4]))
    assert matched.stimulus_ids == ("b", "a", "c") == average_repetitions(both)[0]
    assert matched.model_rows.tolist() == [1, 0, 2]
    assert matched.extra == ("d",) and matched.missing == ("z",)


def test_in_the_order_of_the_list():
    data = made(["b", "a", "b", "c"])
    both, matched = match(data, ["c", "x", "a", "b"], order="given")
    assert both["stimulus_id"].values.tolist() == ["c", "a", "b", "b"]
    np.testing.assert_array_equal(both.values, data.values[[3, 1, 0, 2]])  # presentations in the order of the data
    assert matched.stimulus_ids == ("c", "a", "b") == average_repetitions(both)[0]
    assert matched.model_rows.tolist() == [0, 2, 3] and matched.data_rows.tolist() == [2, 1, 0]


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(20)), given_order=st.booleans())
def test_rows_of_the_model_in_another_order_change_no_score(order, given_order):
    ids = [f"s{k}" for k in range(20)]
    data = made(ids * 2, n_neuroids=5)
    model = np.random.default_rng(1).normal(size=20)
    _, means = average_repetitions(data)
    score = means.T @ model
    both, matched = match(data, [ids[k] for k in order], order="given" if given_order else "data")
    permuted = average_repetitions(both)[1].T @ model[list(order)][matched.model_rows]
    np.testing.assert_allclose(permuted, score, rtol=0, atol=1e-12)


def test_by_position_the_score_of_a_permuted_model_falls_to_0():
    ids, rng = [f"s{k}" for k in range(400)], np.random.default_rng(2)
    model, order = rng.normal(size=400), rng.permutation(400)
    data = made(ids, n_neuroids=1)
    data = data.copy(data=model[:, None] + 0.5 * data.values)
    _, means = average_repetitions(data)
    _, matched = match(data, [ids[k] for k in order])
    assert np.corrcoef(model[order][matched.model_rows], means[:, 0])[0, 1] > 0.85  # 1 / sqrt(1.25) = 0.894
    assert abs(np.corrcoef(model[order], means[:, 0])[0, 1]) < 0.15  # control: 3 standard errors of 0


@pytest.mark.parametrize(
    ("ids", "kwargs", "said"),
    [
        (["a", "b"], {}, r"1 of 3 stimuli of the neural data are not among the 2 of the stimuli given: 'c'"),
        (["x", "y"], {"partial": True}, r"3 of 3 stimuli of the neural data"),
        (["a", "b", "c", "a"], {}, r"1 stimulus_id\(s\) of the network occur more than once: 'a'"),
        ([1.0, "b", "c"], {}, r"'a'"),
    ],
)
def test_missing_extra_and_duplicate(ids, kwargs, said):
    with pytest.raises(MatchError, match=said):
        match(
            made(["a", "b", "c", "a"]), ids, what="the network" if "network" in said else "the stimuli given", **kwargs
        )
    with pytest.raises(NeuralDataError, match=r"order 'model' is neither 'data' nor 'given'"):
        match(made(["a"]), ["a"], order="model")


def test_ids_compare_as_text():
    assert match(made(["1", "2"]), [2, 1])[1].model_rows.tolist() == [1, 0]
    with pytest.raises(MatchError):
        match(made(["1", "2"]), [1.0, 2.0])


def test_common_stimuli_in_the_order_of_the_first():
    first, second = made(["c", "a", "b", "c"]), made(["b", "c", "x"])
    shown = type("Set", (), {"ids": ("x", "c", "b")})()
    assert common_stimuli(first, second) == ("c", "b") == common_stimuli(first, second, shown)
    assert common_stimuli(first) == ("c", "a", "b")
    with pytest.raises(
        MatchError, match=r"the 2 assemblies have no stimulus in common; they begin with 'c', 'a', ...; 'x'"
    ):
        common_stimuli(first, ["x"])
    with pytest.raises(MatchError, match=r"at least one"):
        common_stimuli()
