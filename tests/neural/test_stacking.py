"""The same neuroids on several days, one session below another."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from netphys.errors import NeuralDataError
from netphys.neural.operations.averaging import average, repetitions
from netphys.neural.operations.selecting import select
from netphys.neural.operations.sessions import z_score
from netphys.neural.operations.stacking import stack_sessions


def day(session, ids="abab", n=4, seed=0, dtype=np.int64, **coords):
    values = np.random.default_rng(seed).integers(0, 50, size=(len(ids), n)).astype(dtype)
    return xr.DataArray(
        values,
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", list(ids)),
            "repetition": ("presentation", [ids[:k].count(each) for k, each in enumerate(ids)]),
            "neuroid_id": ("neuroid", [f"n{k}" for k in range(n)]),
            "animal": ("neuroid", ["A"] * n),
            "session": ("neuroid", [session] * n),
            **coords,
        },
        attrs={"unit": "spikes", "identifier": session},
    )


def test_sessions_one_below_another_by_neuroid_id():
    monday, tuesday = day("mon"), day("tue", "bcb", seed=1).isel(neuroid=[2, 0, 3, 1])
    found = stack_sessions([monday, tuesday])
    assert found["session"].values.tolist() == ["mon"] * 4 + ["tue"] * 3
    assert found["repetition"].values.tolist() == [0, 0, 1, 1, 2, 0, 3]  # counts on
    np.testing.assert_array_equal(found.values[:4], monday.values)
    np.testing.assert_array_equal(found.values[4:], tuesday.values[:, [1, 3, 0, 2]])
    assert found.dtype == np.int64 and found.attrs == {"unit": "spikes", "identifier": "mon+tue"}
    assert (found.values[4:] != tuesday.values).any()  # control: by position they would be other neuroids
    average_over_days = average(found)
    assert average_over_days["n_repetitions"].values.tolist() == [2, 4, 1]
    z = z_score(found)
    np.testing.assert_allclose(z.values[:4].mean(axis=0), 0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 500), neuroids=st.sampled_from(["common", "all"]), order=st.permutations(range(4)))
def test_selecting_a_session_gives_it_back(seed, neuroids, order):
    parts = [day("mon", "abca", seed=seed), day("tue", "cab", n=6, seed=seed + 1)]
    found = stack_sessions([parts[0].isel(presentation=list(order)), parts[1]], neuroids=neuroids)
    for part, name in zip(parts, ("mon", "tue")):
        kept = [each for each in found["neuroid_id"].values if each in part["neuroid_id"].values]
        back_ids, back = repetitions(select(found, sessions=name, neuroids=kept))
        ids, cube = repetitions(select(part, neuroids=kept))
        np.testing.assert_array_equal(back[:, [back_ids.index(each) for each in ids]], cube)


def test_neuroids_that_only_some_have_and_columns():
    monday = day("mon", depth=("neuroid", [1.0, 2, 3, 4]), gain=("neuroid", [1, 1, 1, 1]))
    tuesday = day("tue", n=5, gain=("neuroid", [1, 2, 1, 1, 1]), block=("presentation", ["x"] * 4))
    assert stack_sessions([monday, tuesday])["neuroid_id"].values.tolist() == ["n0", "n1", "n2", "n3"]
    found = stack_sessions([monday, tuesday], neuroids="all")
    assert np.isnan(found.values[:4, 4]).all() and np.isfinite(found.values[4:]).all()
    np.testing.assert_array_equal(found["depth"].values, [1, 2, 3, 4, np.nan])
    assert "gain" not in found.coords  # they contradict each other
    assert found["block"].values.tolist() == [""] * 4 + ["x"] * 4
    assert found["animal"].values.tolist() == ["A"] * 5
    named = stack_sessions([monday, tuesday], names=["first", "second"])
    assert named["session"].values.tolist() == ["first"] * 4 + ["second"] * 4


def test_averages_keep_their_counts_and_marks_stay():
    parts = [average(day("mon", "aab")), average(day("tue", "abb", seed=1)).assign_attrs(pseudo_population=1)]
    found = stack_sessions(parts)
    assert found["n_repetitions"].values.tolist() == [2, 1, 1, 2] and found.attrs["pseudo_population"] == 1
    plain = average(stack_sessions([day("mon", "aab"), day("tue", "abb", seed=1)]))
    np.testing.assert_allclose(average(found).values, plain.values, rtol=1e-14)


@pytest.mark.parametrize(
    ("parts", "options", "said"),
    [
        ([], {}, r"at least one assembly"),
        ([day("mon"), day("tue").assign_coords(animal=("neuroid", ["B"] * 4))], {}, r"is of A, assembly 1 of B: their"),
        ([day("mon"), day("tue").assign_coords(neuroid_id=("neuroid", list("wxyz")))], {}, r"no neuroid_id in common"),
        ([day("mon"), day("tue").assign_coords(neuroid_id=("neuroid", list("xxyz")))], {}, r"'x' more than once"),
        ([day("mon"), day("tue").assign_attrs(unit="spikes/s")], {}, r"in 'spikes', assembly 1 in 'spikes/s'"),
        ([day("mon")], {"names": ["a", "b"]}, r"2 names for 1 assemblies"),
        ([day("mon")], {"neuroids": "some"}, r"neuroids 'some' is neither"),
    ],
)
def test_sessions_that_cannot_be_stacked(parts, options, said):
    with pytest.raises(NeuralDataError, match=said) as error:
        stack_sessions(parts, **options)
    assert "\n" not in str(error.value)
