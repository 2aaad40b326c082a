"""Means that keep their counts, and the cube of repetitions."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from netphys.errors import MatchError, NeuralDataError
from netphys.neural import average_repetitions
from netphys.neural.operations.averaging import average, from_repetitions, repetitions
from netphys.neural.operations.windows import window


def made(seed=0, n_bins=None):
    """Three stimuli shown 3, 2 and 1 times to 4 neuroids; a response is missing."""
    rng = np.random.default_rng(seed)
    shape = (6, 4) if n_bins is None else (6, 4, n_bins)
    values = rng.normal(size=shape)
    values[2, 1] = np.nan
    out = xr.DataArray(
        values,
        dims=("presentation", "neuroid", "time_bin")[: len(shape)],
        coords={
            "stimulus_id": ("presentation", np.array(["c", "a", "c", "a", "c", "b"])),
            "repetition": ("presentation", np.array([0, 0, 1, 1, 2, 0])),
            "object_name": ("presentation", np.array(["car", "face", "car", "face", "car", "tree"])),
            "size": ("presentation", np.array([1.0, np.nan, 1.0, np.nan, 1.0, 2.0])),
            "session": ("presentation", np.array(["mon", "mon", "tue", "tue", "tue", "tue"])),
            "neuroid_id": ("neuroid", np.array(["n1", "n2", "n3", "n4"])),
        },
        attrs={"identifier": "test", "unit": "spikes"},
    )
    if n_bins is None:
        return out.assign_coords(time_bin_start=70, time_bin_end=170)
    return out.assign_coords(
        time_bin_start=("time_bin", 10 * np.arange(n_bins)), time_bin_end=("time_bin", 10 * np.arange(n_bins) + 10)
    )


def test_a_mean_keeps_its_counts_and_what_belongs_to_the_stimulus():
    data = made()
    found = average(data)
    ids, means = average_repetitions(data)
    np.testing.assert_array_equal(found.values, means)
    assert found["stimulus_id"].values.tolist() == list(ids) == ["c", "a", "b"]
    assert found["n_repetitions"].dims == ("presentation", "neuroid")
    assert found["n_repetitions"].values.tolist() == [[3, 2, 3, 3], [2, 2, 2, 2], [1, 1, 1, 1]]
    assert found["object_name"].values.tolist() == ["car", "face", "tree"]
    np.testing.assert_array_equal(found["size"].values, [1.0, np.nan, 2.0])
    assert "session" not in found.coords and "repetition" not in found.coords
    assert found.attrs == data.attrs and found["time_bin_start"].item() == 70
    whole = average(data.fillna(0.0))
    assert whole["n_repetitions"].dims == ("presentation",)  # where neuroids do not differ
    assert whole["n_repetitions"].values.tolist() == [3, 2, 1]


def test_time_bins_are_averaged_each():
    data = made(n_bins=3)
    found = average(data)
    for at in range(3):
        _, means = average_repetitions(data.isel(time_bin=at, drop=True))
        np.testing.assert_array_equal(found.values[..., at], means)
    assert found["n_repetitions"].dims == ("presentation", "neuroid")
    values = data.values.copy()
    values[0, 0, 2] = np.nan  # one bin only
    assert average(data.copy(data=values))["n_repetitions"].dims == ("presentation", "neuroid", "time_bin")
    # the window of means is the mean of windows
    np.testing.assert_allclose(
        window(found, 0, 30).values, average(window(data, 0, 30)).values, rtol=0, atol=1e-14
    )  # sums of nine numbers near 1, in another order


def test_means_of_means_weigh_by_counts():
    data = made().drop_vars("session")
    early, late = (average(data.isel(presentation=rows)) for rows in ([0, 1, 2], [3, 4, 5]))
    both = xr.concat(
        [each.assign_coords(n_repetitions=each["n_repetitions"].broadcast_like(each)) for each in (early, late)],
        "presentation",
    )
    found, whole = average(both), average(data)
    np.testing.assert_allclose(found.values, whole.values, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(found["n_repetitions"].broadcast_like(found), whole["n_repetitions"])
    xr.testing.assert_identical(average(whole), whole)
    plain = both.drop_vars("n_repetitions")  # control: the mean of two means is another number
    assert np.nanmax(np.abs(average(plain).values - whole.values)) > 0.05


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(6)), seed=st.integers(0, 100))
def test_the_order_of_presentations_changes_nothing(order, seed):
    data = made(seed)
    shuffled = data.isel(presentation=list(order))
    means, other = average(data), average(shuffled)
    rows = [means["stimulus_id"].values.tolist().index(each) for each in other["stimulus_id"].values]
    np.testing.assert_allclose(other.values, means.values[rows], rtol=0, atol=1e-14)  # three numbers in another order
    np.testing.assert_array_equal(other["n_repetitions"].values, means["n_repetitions"].values[rows])
    ids, cube = repetitions(data)
    shuffled_ids, shuffled_cube = repetitions(shuffled)
    np.testing.assert_array_equal(shuffled_cube, cube[:, [ids.index(each) for each in shuffled_ids]])


@pytest.mark.parametrize("n_bins", [None, 2])
def test_repetitions_as_an_axis_and_back(n_bins):
    data = made(n_bins=n_bins)
    ids, cube = repetitions(data)
    assert ids == ("c", "a", "b") and cube.shape == (3, 3, *data.shape[1:])
    np.testing.assert_array_equal(cube[1, 0], data.values[2])  # c, second time: row 2
    assert np.isnan(cube[1, 2]).all() and np.isnan(cube[2, 1:]).all()  # not shown so often
    back = from_repetitions(cube, ids, like=data)
    assert back["repetition"].values.tolist() == [0, 0, 0, 1, 1, 2]
    rows = [0, 1, 5, 2, 3, 4]
    np.testing.assert_array_equal(back.values, data.values[rows])
    assert back["stimulus_id"].values.tolist() == data["stimulus_id"].values[rows].tolist()
    assert back["object_name"].values.tolist() == data["object_name"].values[rows].tolist()
    assert back.attrs == data.attrs and back["neuroid_id"].values.tolist() == data["neuroid_id"].values.tolist()
    np.testing.assert_array_equal(repetitions(back)[1], cube)
    np.testing.assert_allclose(np.nanmean(cube[:, 0], axis=0), average(data).values[0], rtol=1e-14)


def test_repetitions_follow_the_coordinate_else_the_rows():
    data = made()
    counted = data.assign_coords(repetition=("presentation", [30, 5, 20, 4, 10, 7]))  # any counter that rises
    assert repetitions(counted)[1][0, 0].tolist() == data.values[4].tolist()
    _, rows = repetitions(data.drop_vars("repetition"))
    np.testing.assert_array_equal(rows, repetitions(data)[1])
    assert len(rows) == 3  # a counter without gaps, also where it ran over all presentations
    restarted = data.assign_coords(repetition=("presentation", [0, 0, 0, 0, 1, 0]))  # per session: 0 twice
    assert repetitions(restarted)[1].shape == (3, 3, 4)


def test_what_cannot_be_turned_back():
    data = made()
    ids, cube = repetitions(data)
    with pytest.raises(NeuralDataError, match=r"shape \(3, 3, 3\); for 3 stimuli .* it is \(repetition, 3, 4\)"):
        from_repetitions(cube[:, :, :3], ids, like=data)
    with pytest.raises(NeuralDataError, match=r"1 stimuli of the cube are not in the assembly it is like: 'z'"):
        from_repetitions(cube, ["c", "a", "z"], like=data)
    with pytest.raises(MatchError, match=r"more than once: 'c'"):
        from_repetitions(cube, ["c", "a", "c"], like=data)


def test_a_multiindex_is_taken_flat():
    data = made()
    indexed = data.set_index(presentation=["stimulus_id", "repetition", "session"])
    np.testing.assert_array_equal(average(indexed).values, average(data).values)
    np.testing.assert_array_equal(repetitions(indexed)[1], repetitions(data)[1])


def test_as_the_groups_of_xarray():
    rng = np.random.default_rng(np.random.SeedSequence().entropy)  # fresh numbers every time
    data = xr.DataArray(
        np.where(rng.random((60, 5, 2)) < 0.1, np.nan, rng.normal(size=(60, 5, 2))),
        dims=("presentation", "neuroid", "time_bin"),
        coords={
            "stimulus_id": ("presentation", rng.choice(list("abcdefgh"), 60)),
            "neuroid_id": ("neuroid", [f"n{k}" for k in range(5)]),
        },
    )
    found, groups = average(data), data.groupby("stimulus_id")
    order = np.argsort(found["stimulus_id"].values)
    means = groups.mean("presentation").transpose("stimulus_id", ...).values
    np.testing.assert_allclose(found.values[order], means, rtol=0, atol=1e-13)  # sums of a dozen numbers near 1
    counts = groups.count("presentation").transpose("stimulus_id", ...).values
    np.testing.assert_array_equal(found["n_repetitions"].broadcast_like(found).values[order], counts)
