"""Populations of fewer neuroids, drawn with a seed."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from netphys.errors import NeuralDataError
from netphys.neural.operations.subsampling import population_sizes, subsample, subsamples


def made(sizes=(30, 12, 8), n_bins=None):
    n = sum(sizes)
    shape = (4, n) if n_bins is None else (4, n, n_bins)
    return xr.DataArray(
        np.arange(float(np.prod(shape))).reshape(shape),
        dims=("presentation", "neuroid", "time_bin")[: len(shape)],
        coords={
            "stimulus_id": ("presentation", list("abcd")),
            "neuroid_id": ("neuroid", np.array([f"n{k}" for k in range(n)])),
            "animal": ("neuroid", np.repeat(["A", "B", "C"], sizes)),
        },
        attrs={"unit": "spikes"},
    )


def names(assembly):
    return assembly["neuroid_id"].values.tolist()


def test_without_replacement_in_the_order_of_the_data():
    data = made(n_bins=2)
    found = subsample(data, 17, seed=3)
    rows = [int(each[1:]) for each in names(found)]
    assert rows == sorted(set(rows)) and len(rows) == 17
    xr.testing.assert_identical(found, data.isel(neuroid=rows))
    assert subsample(data, 50).identical(data)
    assert names(subsample(data, 17, seed=4)) != names(found) == names(subsample(data, 17, seed=3))


def test_the_same_number_of_each_animal():
    data = made()
    found = subsample(data, 8, by="animal", seed=1)
    assert np.unique(found["animal"].values, return_counts=True)[1].tolist() == [8, 8, 8]
    plain = subsample(data, 24, seed=1)  # control: without groups the large animal has most
    assert (plain["animal"].values == "A").sum() > 10


def test_more_draws_leave_the_first_as_they_were_and_differ():
    data = made()
    few = [names(each) for each in subsamples(data, 5, 3, seed=2)]
    many = [names(each) for each in subsamples(data, 5, 40, seed=2)]
    assert many[:3] == few and len({tuple(each) for each in many}) == 40
    assert few[2] == names(subsample(data, 5, draw=2, seed=2))


def test_every_neuroid_is_drawn_equally_often():
    n_draws = 600
    hits = np.zeros(50)
    for each in subsamples(made(), 10, n_draws, seed=5):
        hits[[int(name[1:]) for name in names(each)]] += 1
    assert hits.sum() == 10 * n_draws
    assert np.abs(hits - 120).max() < 4.5 * np.sqrt(n_draws * 0.2 * 0.8)  # binomial: 4.5 sd of 50 numbers


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(50)), n=st.integers(1, 8), seed=st.integers(0, 50))
def test_the_order_of_neuroids_changes_nothing_and_sizes_are_nested(order, n, seed):
    data = made()
    found = subsample(data, n, by="animal", seed=seed)
    shuffled = subsample(data.isel(neuroid=list(order)), n, by="animal", seed=seed)
    assert set(names(found)) == set(names(shuffled))
    assert set(names(found)) <= set(names(subsample(data, 8, by="animal", seed=seed)))


def test_sizes_of_a_curve():
    data = made()
    assert population_sizes(data, n_sizes=4) == (1, 4, 14, 50)
    assert population_sizes(data, by="animal") == (1, 2, 3, 4, 6, 8)
    assert population_sizes(data, n_sizes=1) == (50,)
    with pytest.raises(NeuralDataError, match=r"n_sizes is at least 1"):
        population_sizes(data, n_sizes=0)


@pytest.mark.parametrize(
    ("n", "kwargs", "said"),
    [
        (51, {}, r"51 neuroids cannot be drawn from the 50; draw 1 to that"),
        (0, {}, r"0 neuroids cannot be drawn"),
        (9, {"by": "animal"}, r"9 neuroids cannot be drawn from the 8 of animal 'C'"),
        (3, {"by": "animl"}, r"neuroids have no coordinate 'animl'; near: 'animal'"),
        (3, {"by": "stimulus_id"}, r"neuroids have no coordinate 'stimulus_id'"),
    ],
)
def test_populations_that_cannot_be_drawn(n, kwargs, said):
    with pytest.raises(NeuralDataError, match=said):
        subsample(made(), n, **kwargs)
    with pytest.raises(NeuralDataError, match=r"n_draws is at least 1"):
        subsamples(made(), 3, 0)
