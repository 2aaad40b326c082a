"""z-scores within sessions, and where their mean and deviation come from."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from netphys.errors import NeuralDataError
from netphys.neural.operations.sessions import z_score


def drifting(seed=0, n_bins=None, dtype=np.float64):
    """Two sessions of 20 presentations of 5 stimuli and 2 blanks; gain and offset of 3 neuroids change between them."""
    rng = np.random.default_rng(seed)
    shape = (40, 3) if n_bins is None else (40, 3, n_bins)
    ids = np.array([*["a", "b", "c", "d", "blank"] * 8])
    late = np.arange(40) >= 20
    values = rng.normal(size=shape) + (ids != "blank").reshape(-1, *[1] * (len(shape) - 1))
    values[late] = 3 * values[late] + 10
    return xr.DataArray(
        (values * 100).astype(dtype) if np.dtype(dtype).kind == "i" else values.astype(dtype),
        dims=("presentation", "neuroid", "time_bin")[: len(shape)],
        coords={
            "stimulus_id": ("presentation", ids),
            "session": ("presentation", np.where(late, "tue", "mon")),
            "neuroid_id": ("neuroid", np.array(["n1", "n2", "n3"])),
            "animal": ("neuroid", np.array(["A", "A", "B"])),
        },
        attrs={"identifier": "test", "unit": "spikes/s"},
    )


@pytest.mark.parametrize("ddof", [0, 1])
def test_each_neuroid_within_each_session_as_scipy(ddof):
    data = drifting()
    found = z_score(data, ddof=ddof)
    for rows in (slice(0, 20), slice(20, 40)):
        expected = scipy.stats.zscore(data.values[rows], axis=0, ddof=ddof)
        np.testing.assert_allclose(found.values[rows], expected, rtol=0, atol=1e-13)  # means of 20 numbers near 10
    assert found.attrs == {"identifier": "test", "unit": "sd"} and set(found.coords) == set(data.coords)
    over_all = z_score(data, by=None).values  # control: without sessions the drift stays
    assert abs(over_all[:20].mean() - over_all[20:].mean()) > 1 > 1e-12 > abs(found.values[20:].mean())


def test_time_bins_each_or_together():
    data = drifting(n_bins=4)
    each, together = z_score(data), z_score(data, bins="together")
    np.testing.assert_allclose(each.values[:20], scipy.stats.zscore(data.values[:20], axis=0), rtol=0, atol=1e-13)
    flat = data.values[:20].transpose(1, 0, 2).reshape(3, -1)
    expected = (data.values[:20] - flat.mean(1)[None, :, None]) / flat.std(1)[None, :, None]
    np.testing.assert_allclose(together.values[:20], expected, rtol=0, atol=1e-13)
    assert np.abs(each.values - together.values).max() > 0.1
    with pytest.raises(NeuralDataError, match=r"bins 'all' is neither 'each' nor 'together'"):
        z_score(data, bins="all")


def test_statistics_of_a_condition_or_of_some_stimuli():
    data = drifting()
    blanks = data["stimulus_id"].values == "blank"
    found = z_score(data, where="stimulus_id == 'blank'")
    for rows in (np.arange(40) < 20, np.arange(40) >= 20):
        base = data.values[rows & blanks]
        np.testing.assert_allclose(found.values[rows], (data.values[rows] - base.mean(0)) / base.std(0), rtol=1e-12)
    np.testing.assert_array_equal(z_score(data, of=["blank"]).values, found.values)
    np.testing.assert_array_equal(z_score(data, of="blank", where="session == 'mon' or session == 'tue'"), found)
    shown = type("Set", (), {"ids": ("blank",)})()
    np.testing.assert_array_equal(z_score(data, of=shown).values, found.values)
    with pytest.raises(NeuralDataError, match=r"of=: the assembly has no stimulus 'blnk'; near: 'blank'"):
        z_score(data, of=["blank", "blnk"])  # also where others were shown


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), gain=st.floats(0.1, 10), offset=st.floats(-50, 50))
def test_gain_offset_and_order_of_presentations_change_nothing(seed, gain, offset):
    data = drifting(seed)
    order = np.random.default_rng(seed).permutation(40)
    found = z_score((data * gain + offset).isel(presentation=order))
    np.testing.assert_allclose(found.values, z_score(data).values[order], rtol=0, atol=1e-9)  # offset 50 / gain .1


def test_missing_numbers_are_left_out_and_integers_become_float64():
    data = drifting()
    values = data.values.copy()
    values[3, 1] = np.nan
    found = z_score(data.copy(data=values))
    assert np.isnan(found.values).sum() == 1
    np.testing.assert_allclose(np.nanstd(found.values[:20], axis=0), 1.0, rtol=1e-12)
    whole = drifting(dtype=np.int16)
    assert z_score(whole).dtype == np.float64
    np.testing.assert_array_equal(z_score(whole).values, z_score(whole.astype(float)).values)


def test_constant_neuroids_are_nan_with_one_warning_that_names_them():
    data = drifting()
    values = data.values.copy()
    values[:20, 2] = 0.1  # its mean is not 0.1 in the last bit
    with pytest.warns(UserWarning, match=r"1 neuroids \(n3\) are constant in a session") as told:
        found = z_score(data.copy(data=values))
    assert len(told) == 1
    assert np.isnan(found.values[:20, 2]).all() and np.isfinite(found.values[20:]).all()
    values[:20, 2] = np.nan  # not recorded that day: nothing to warn of
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z_score(data.copy(data=values))


def test_sessions_of_neuroids_and_of_all():
    data = drifting()
    own = data.drop_vars("session").assign_coords(session=("neuroid", ["s1", "s1", "s2"]))
    np.testing.assert_array_equal(z_score(own).values, z_score(data, by=None).values)
    np.testing.assert_array_equal(z_score(data.drop_vars("session").assign_coords(session="s1")), z_score(own))


def test_what_has_no_statistics():
    data = drifting()
    with pytest.raises(NeuralDataError, match=r"no coordinate 'sesion'; near: 'session'; by=None takes all"):
        z_score(data, by="sesion")
    with pytest.raises(NeuralDataError, match=r"session 'tue' has no presentation that meets"):
        z_score(data, where="session == 'mon'")
    with pytest.raises(NeuralDataError, match=r"of=: the assembly has no stimulus 'z'"):
        z_score(data, of=["z"])
    with pytest.raises(NeuralDataError, match=r"presentations have no coordinate 'object_name'"):
        z_score(data, where="object_name == 'blank'")
