"""Sessions and animals as one population; what a pseudo-population is, and what it cannot say."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from netphys.errors import MatchError, NeuralDataError
from netphys.neural import average_repetitions
from netphys.neural.operations.averaging import average, repetitions
from netphys.neural.operations.pooling import pool, pseudo_population, require_simultaneous, same_presentations
from netphys.neural.operations.selecting import select


def made(ids="abc", counts=(3, 2, 2), n=2, animal="A", session="s1", seed=0, **coords):
    """Stimuli shown `counts` times, in a random order, to `n` neuroids of one animal in one session."""
    rng = np.random.default_rng(seed)
    shown = rng.permutation(np.repeat(list(ids), counts))
    turn = np.zeros(len(shown), dtype=int)
    for each in ids:
        turn[shown == each] = np.arange((shown == each).sum())
    return xr.DataArray(
        rng.normal(size=(len(shown), n)),
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", shown),
            "repetition": ("presentation", turn),
            "object_name": ("presentation", np.char.upper(shown)),
            "session": ("presentation", np.full(len(shown), session)),
            "start_time": ("presentation", np.arange(len(shown)) * 0.2),
            "neuroid_id": ("neuroid", np.array([f"n{k}" for k in range(n)])),
            "animal": ("neuroid", np.full(n, animal)),
            **coords,
        },
        attrs={"identifier": f"{animal}-{session}", "unit": "spikes/s", "stimulus_set_identifier": "letters"},
    )


def test_neuroids_side_by_side_on_common_stimuli():
    a = made()
    b = made("bcd", (2, 4, 2), n=3, animal="B", seed=1, depth=("neuroid", [0.1, 0.2, 0.3]))
    found = pool([a, b])
    assert found.attrs["pseudo_population"] == 1 and found.attrs["identifier"] == "A-s1+B-s1"
    assert found.attrs["unit"] == "spikes/s" and found.attrs["stimulus_set_identifier"] == "letters"
    ids, cube = repetitions(found)
    assert set(ids) == {"b", "c"} and cube.shape == (4, 2, 5)
    for part, rows in ((a, [0, 1]), (b, [2, 3, 4])):
        own, theirs = repetitions(part)
        at = [own.index(each) for each in ids]
        np.testing.assert_array_equal(cube[: len(theirs), :, rows], theirs[:, at])
        assert np.isnan(cube[len(theirs) :, :, rows]).all()  # NaN where fewer
    assert found["neuroid_id"].values.tolist() == ["A/n0", "A/n1", "B/n0", "B/n1", "B/n2"]
    np.testing.assert_array_equal(found["depth"].values, [np.nan, np.nan, 0.1, 0.2, 0.3])
    assert found["session"].dims == ("neuroid",) and "start_time" not in found.coords
    assert found["object_name"].values.tolist() == [each.upper() for each in found["stimulus_id"].values]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), both=st.sampled_from(["common", "all"]), order=st.permutations(range(7)))
def test_pooling_then_selecting_gives_back_and_the_order_of_presentations_does_not_matter(seed, both, order):
    a = made(seed=seed).isel(presentation=list(order))
    b = made("abx", (1, 3, 2), n=3, animal="B", seed=seed + 1)
    found = pool([a, b], stimuli=both)
    for part, animal in ((a, "A"), (b, "B")):
        ids, cube = repetitions(part)
        back_ids, back = repetitions(select(found, animals=animal))
        kept = [each for each in back_ids if each in ids]
        assert set(kept) == (set(ids) if both == "all" else {"a", "b"})
        given_back = back[:, [back_ids.index(each) for each in kept]]
        wanted = cube[:, [ids.index(each) for each in kept]]
        assert np.isnan(given_back[len(wanted) :]).all()
        np.testing.assert_array_equal(given_back[: len(wanted)], wanted[: len(given_back)])
        assert np.isnan(wanted[len(given_back) :]).all()


def test_all_stimuli_and_those_that_only_some_have():
    a, b = made(), made("bcd", n=3, animal="B", seed=1).drop_vars("object_name")
    found = average(pool([a, b], stimuli="all"))
    table = dict(zip(found["stimulus_id"].values.tolist(), np.isnan(found.values)))
    assert set(table) == set("abcd")
    assert table["a"].tolist() == [False] * 2 + [True] * 3 and table["d"].tolist() == [True] * 2 + [False] * 3
    named = dict(zip(found["stimulus_id"].values.tolist(), found["object_name"].values.tolist()))
    assert named == {"a": "A", "b": "B", "c": "C", "d": ""}
    with pytest.raises(MatchError, match=r"no stimulus in common"):
        pool([a, made("xyz", animal="B")])
    assert pool([a, made("xyz", animal="B")], stimuli="all").sizes["neuroid"] == 4


def test_columns_of_stimuli_in_which_assemblies_contradict_each_other_are_left_out():
    a, b = made(), made(animal="B", seed=1)
    luminance = {each: 0.1 * k for k, each in enumerate("abc")}
    bright = [("presentation", [luminance[each] for each in part["stimulus_id"].values]) for part in (a, b)]
    found = pool([a.assign_coords(luminance=bright[0]), b.assign_coords(luminance=bright[1])])
    assert found["luminance"].values.tolist() == [luminance[each] for each in found["stimulus_id"].values]
    other = ("presentation", np.array(bright[1][1]) + 1)
    assert "luminance" not in pool([a.assign_coords(luminance=bright[0]), b.assign_coords(luminance=other)]).coords


def test_counts_of_averages_are_kept():
    a, b = made(), made(counts=(1, 4, 2), animal="B", seed=1)
    found = pool([average(a), average(b)])
    expected = average(pool([a, b]))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-14)
    np.testing.assert_array_equal(found["n_repetitions"].values, expected["n_repetitions"].values)
    assert found["n_repetitions"].dims == ("presentation", "neuroid")


def test_time_bins_are_pooled_and_must_be_the_same():
    def binned(data, width=10):
        out = xr.concat([data, data + 1], "time_bin").transpose("presentation", "neuroid", "time_bin")
        return out.assign_attrs(data.attrs).assign_coords(
            time_bin_start=("time_bin", [0, width]), time_bin_end=("time_bin", [width, 2 * width])
        )

    a, b = made(), made(animal="B", seed=1)
    found = pool([binned(a), binned(b)])
    assert found.dims == ("presentation", "neuroid", "time_bin") and found["time_bin_end"].values.tolist() == [10, 20]
    np.testing.assert_array_equal(found.values[..., 0], pool([a, b]).values)
    said = r"assembly 0 has 2 time bins from 0 to 20 ms, assembly 1 2 time bins from 0 to 40 ms"
    with pytest.raises(NeuralDataError, match=said):
        pool([binned(a), binned(b, 20)])
    with pytest.raises(NeuralDataError, match=r"assembly 1 1 time bin of unknown times"):
        pool([binned(a), b])
    with pytest.raises(NeuralDataError, match=r"assembly 0 is in 'spikes/s', assembly 1 in 'spikes'; make them alike"):
        pool([a, b.assign_attrs(unit="spikes")])


def test_ids_of_neuroids_are_made_unique_or_refused():
    a, other = made(), made(session="s2", seed=1)
    assert pool([a, other])["neuroid_id"].values.tolist() == ["s1/n0", "s1/n1", "s2/n0", "s2/n1"]
    b = made(animal="B", session="s2", seed=2)
    assert pool([a, other, b])["neuroid_id"].values.tolist()[2:] == [
        "A/s2/n0", "A/s2/n1", "B/s2/n0", "B/s2/n1",
    ]  # fmt: skip
    own = other.assign_coords(neuroid_id=("neuroid", ["m0", "m1"]))
    assert pool([a, own])["neuroid_id"].values.tolist() == ["n0", "n1", "m0", "m1"]
    with pytest.raises(NeuralDataError, match=r"2 neuroid_ids are in the pool more than once.*give names="):
        pool([a, made(seed=1).assign_coords(start_time=("presentation", np.arange(7) + 0.1))])
    assert pool([a, made(seed=1)], names=["x", "y"])["neuroid_id"].values.tolist() == ["x/n0", "x/n1", "y/n0", "y/n1"]
    with pytest.raises(NeuralDataError, match=r"1 names for 2 assemblies"):
        pool([a, own], names=["x"])


def test_the_same_presentations_are_no_pseudo_population():
    whole = made(n=4)
    left, right = whole.isel(neuroid=[0, 1]), whole.isel(neuroid=[2, 3], presentation=[3, 1, 0, 2, 6, 5, 4])
    assert same_presentations(left, right)
    found = pool([left, right])
    assert "pseudo_population" not in found.attrs
    xr.testing.assert_identical(found, whole)
    require_simultaneous(found, "the noise covariance")
    said_elsewhere = right.drop_vars("session").assign_coords(session=("neuroid", ["s1", "s1"]))
    np.testing.assert_array_equal(pool([left, said_elsewhere]).values, whole.values)


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (lambda each: each.drop_vars("session"), "no session"),
        (lambda each: each.drop_vars("start_time"), "no identity of presentations"),
        (lambda each: each.assign_coords(session=("presentation", ["s2"] * 7)), "another session"),
        (lambda each: each.assign_coords(animal=("neuroid", ["B"] * 2)), "another animal with the same clock"),
        (lambda each: each.assign_coords(start_time=each["start_time"] + 0.05), "other times"),
        (lambda each: each.assign_coords(start_time=("presentation", np.zeros(7))), "times that name no presentation"),
        (lambda each: each.isel(presentation=slice(6)), "not all of them"),
        (lambda each: each.assign_attrs(pseudo_population=1), "marked already"),
        (lambda each: each.assign_coords(start_time=("presentation", np.full(7, np.nan))), "unknown times"),
    ],
)
def test_everything_else_is(spoilt, why):
    whole = made(n=4)
    left, right = whole.isel(neuroid=[0, 1]), spoilt(whole.isel(neuroid=[2, 3]))
    assert not same_presentations(left, right), why
    found = pool([left, right])
    assert found.attrs["pseudo_population"] == 1
    with pytest.raises(NeuralDataError, match=r"the noise covariance needs neuroids that were recorded together"):
        require_simultaneous(found, "the noise covariance")


def test_times_that_name_no_presentation_in_any_are_no_evidence():
    whole = made(n=4).assign_coords(start_time=("presentation", np.zeros(7)))
    assert not same_presentations(whole.isel(neuroid=[0, 1]), whole.isel(neuroid=[2, 3]))


def test_neuroids_of_several_animals_or_sessions_are_not_simultaneous():
    data = made(n=4)
    require_simultaneous(data, "x")
    two = data.assign_coords(animal=("neuroid", ["A", "A", "B", "B"]))
    with pytest.raises(NeuralDataError, match=r"2 animals \(A, B\): take one, select\(assembly, animals='A'\)"):
        require_simultaneous(two, "the noise covariance")
    require_simultaneous(select(two, animals="B"), "the noise covariance")
    days = data.drop_vars("session").assign_coords(session=("neuroid", ["s1", "s1", "s2", "s2"]))
    with pytest.raises(NeuralDataError, match=r"2 sessions"):
        require_simultaneous(days, "the noise covariance")


def correlated(n_neuroids=12, n_repetitions=40, n_stimuli=25, rho=0.4, seed=0):
    """A population whose trials share noise: noise correlation `rho` of every pair."""
    rng = np.random.default_rng(seed)
    shape = (n_repetitions, n_stimuli, n_neuroids)
    noise = np.sqrt(rho) * rng.normal(size=(*shape[:2], 1)) + np.sqrt(1 - rho) * rng.normal(size=shape)
    values = rng.normal(size=shape[1:]) + noise
    return xr.DataArray(
        values.reshape(-1, n_neuroids),
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", np.tile([f"s{k}" for k in range(n_stimuli)], n_repetitions)),
            "repetition": ("presentation", np.repeat(np.arange(n_repetitions), n_stimuli)),
            "neuroid_id": ("neuroid", np.array([f"n{k}" for k in range(n_neuroids)])),
        },
    )


def noise_correlation(assembly):
    _, cube = repetitions(assembly)
    residual = (cube - cube.mean(axis=0)).reshape(-1, cube.shape[2])
    return np.corrcoef(residual.T)[np.triu_indices(cube.shape[2], 1)].mean()


def test_noise_correlations_fall_to_0_and_nothing_else_changes():
    data = correlated()
    found = pseudo_population(data)
    assert found.attrs["pseudo_population"] == 1 and found.shape == data.shape
    # 66 pairs of 1000 residuals: standard error of their mean below 1 / sqrt(1000) / sqrt(6) = 0.013
    assert abs(noise_correlation(found)) < 0.04
    assert noise_correlation(data) == pytest.approx(0.4, abs=0.05)  # control: the simultaneous one keeps it
    np.testing.assert_array_equal(  # every neuroid has its own responses to each stimulus, in another order
        np.sort(repetitions(found)[1], axis=0), np.sort(repetitions(data)[1], axis=0)
    )
    np.testing.assert_allclose(average_repetitions(found)[1], average_repetitions(data)[1], rtol=0, atol=1e-13)


def test_draws_are_without_replacement_of_those_that_are_there():
    a, b = made(counts=(3, 2, 4)), made(counts=(2, 5, 4), n=3, animal="B", seed=1)
    found = pseudo_population([a, b], seed=4)
    assert found.shape == (6, 5) and np.isfinite(found.values).all()  # the least count is 2
    pooled_ids, pooled = repetitions(pool([a, b]))
    ids, drawn = repetitions(found)
    for at, each in enumerate(ids):
        for neuroid in range(5):
            own, there = set(drawn[:, at, neuroid]), set(pooled[:, pooled_ids.index(each), neuroid])
            assert len(own) == 2 and own <= there
    with pytest.raises(NeuralDataError, match=r"3 repetitions cannot be drawn: neuroid 'A/n0' has 2 of stimulus 'b'"):
        pseudo_population([a, b], 3)
    with pytest.raises(NeuralDataError, match=r"0 repetitions cannot be drawn"):
        pseudo_population([a, b], 0)


def test_a_seed_makes_the_draw_of_each_neuroid_alone():
    data = correlated(n_neuroids=5, n_repetitions=6, n_stimuli=4)
    found = pseudo_population(data, 3, seed=7)
    xr.testing.assert_identical(found, pseudo_population(data, 3, seed=7))
    assert not np.array_equal(found.values, pseudo_population(data, 3, seed=8).values)
    fewer = pseudo_population(data.isel(neuroid=[3, 1]), 3, seed=7)
    np.testing.assert_array_equal(fewer.values, found.values[:, [3, 1]])
    order = np.random.default_rng(0).permutation(24)
    ids, cube = repetitions(found)
    other_ids, other = repetitions(pseudo_population(data.isel(presentation=order), 3, seed=7))
    np.testing.assert_array_equal(other[:, [other_ids.index(each) for each in ids]], cube)


def test_time_bins_of_a_presentation_are_drawn_together():
    data = correlated(n_neuroids=3, n_repetitions=5, n_stimuli=4)
    binned = xr.concat([data, data + 100], "time_bin").transpose("presentation", "neuroid", "time_bin")
    found = pseudo_population(binned, 4, seed=1)
    np.testing.assert_allclose(found.values[..., 1] - found.values[..., 0], 100.0, rtol=1e-12)


def test_what_cannot_be_pooled():
    with pytest.raises(NeuralDataError, match=r"at least one assembly"):
        pool([])
    with pytest.raises(NeuralDataError, match=r"stimuli 'some' is neither 'common' nor 'all'"):
        pool([made()], stimuli="some")
    with pytest.raises(NeuralDataError, match=r"assembly 1 has no coordinate 'neuroid_id'"):
        pool([made(), made().drop_vars("neuroid_id")])
    xr.testing.assert_identical(pool([made()]), made())
