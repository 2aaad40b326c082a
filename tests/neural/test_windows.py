"""Windows and bins: counts are summed, rates averaged, and no bin lies partly inside."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from netphys.errors import NeuralDataError
from netphys.neural.operations.windows import binned_as, in_unit, rebin, sliding_windows, window


def binned(values, starts, stops, unit="spikes"):
    n, p, _ = values.shape
    return xr.DataArray(
        values,
        dims=("presentation", "neuroid", "time_bin"),
        coords={
            "stimulus_id": ("presentation", np.array([f"s{k % 3}" for k in range(n)])),
            "repetition": ("presentation", np.arange(n) // 3),
            "neuroid_id": ("neuroid", np.array([f"n{k}" for k in range(p)])),
            "region": "IT",
            "time_bin_start": ("time_bin", np.asarray(starts)),
            "time_bin_end": ("time_bin", np.asarray(stops)),
        },
        attrs={"unit": unit, "identifier": "raster"} if unit else {"identifier": "raster"},
    )


@pytest.fixture
def raster() -> xr.DataArray:
    """6 presentations x 4 neuroids x 100 bins of 1 ms from -20 ms, uint8 as rasters are."""
    values = np.random.default_rng(1).integers(0, 20, size=(6, 4, 100)).astype(np.uint8)
    return binned(values, np.arange(-20, 80), np.arange(-19, 81))


def test_a_window_counts_from_start_to_before_stop(raster):
    found = window(raster, 10, 60)
    assert found.dims == ("presentation", "neuroid") and found.dtype == np.int64
    np.testing.assert_array_equal(found.values, raster.values[:, :, 30:80].astype(int).sum(-1))
    assert found["time_bin_start"].item() == 10 and found["time_bin_end"].item() == 60
    assert found.attrs == raster.attrs and found["region"].item() == "IT"
    assert found["repetition"].values.tolist() == raster["repetition"].values.tolist()
    # control: the bin that begins at stop, and sums in the raster's own dtype, are others
    assert (found.values != raster.values[:, :, 30:81].astype(int).sum(-1)).any()
    assert (found.values != raster.values[:, :, 30:80].sum(-1, dtype=np.uint8)).any()


def test_counts_become_rates_by_the_width_of_the_window(raster):
    rate = window(raster, 10, 60, unit="rate")
    np.testing.assert_allclose(rate.values, window(raster, 10, 60).values * 20.0, rtol=1e-14)  # 1 / 50 ms
    assert rate.attrs["unit"] == "spikes/s"
    back = window(in_unit(rate, "rate"), 10, 60, unit="count")
    np.testing.assert_allclose(back.values, window(raster, 10, 60).values, rtol=1e-14)  # two roundings
    assert back.attrs["unit"] == "spikes"


def test_rates_are_averaged_by_the_width_of_their_bins():
    rates = binned(np.array([[[10.0, 40.0]]]), [0, 10], [10, 40], unit="spikes/s")
    assert window(rates, 0, 40).item() == pytest.approx(32.5)  # (10 * 10 + 40 * 30) / 40
    assert window(rates, 0, 40).item() != pytest.approx(25.0)  # control: the mean of bins, whatever their width
    assert window(rates, 0, 40, unit="count").item() == pytest.approx(1.3)  # 32.5 spikes/s for 40 ms
    volts = rates.assign_attrs(unit="uV")
    assert window(volts, 0, 40).item() == pytest.approx(32.5) and window(volts, 0, 40).attrs["unit"] == "uV"
    with pytest.raises(NeuralDataError, match=r"is in 'uV', neither spikes nor spikes/s"):
        window(volts, 0, 40, unit="rate")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.sets(st.integers(1, 29), max_size=6))
def test_bins_add_up_whatever_the_edges_and_the_order_of_bins(seed, cuts):
    rng = np.random.default_rng(seed)
    counts = binned(rng.poisson(0.3, size=(3, 2, 30)), np.arange(30) * 0.1, (np.arange(30) + 1) * 0.1)
    edges = [0.0, *[cut * 0.1 for cut in sorted(cuts)], 3.0]
    parts = rebin(counts.isel(time_bin=rng.permutation(30)), edges)
    total = parts.sum("time_bin").values if "time_bin" in parts.dims else parts.values
    np.testing.assert_array_equal(total, counts.sum("time_bin").values)
    expected = [counts.values[..., a:b].sum(-1) for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 30])]
    np.testing.assert_array_equal(parts.values.reshape(3, 2, -1), np.stack(expected, axis=-1))


def test_a_missing_bin_stays_missing_and_spoils_no_other(raster):
    values = raster.values.astype(np.float32)
    values[0, 1, 25] = np.nan  # 5 to 6 ms
    bins = rebin(raster.copy(data=values), [0, 10, 20, 30])
    assert bins.dtype == np.float64
    assert np.argwhere(np.isnan(bins.values)).tolist() == [[0, 1, 0]]
    assert np.isnan(window(in_unit(raster.copy(data=values), "rate"), 0, 30).values).sum() == 1


def test_sliding_windows_overlap_and_end_inside(raster):
    found = sliding_windows(raster, 0, 80, 30, 20)
    assert list(zip(found["time_bin_start"].values, found["time_bin_end"].values)) == [(0, 30), (20, 50), (40, 70)]
    for at, (start, stop) in enumerate([(0, 30), (20, 50), (40, 70)]):
        np.testing.assert_array_equal(found.values[..., at], window(raster, start, stop).values)
    side = sliding_windows(raster, 0, 60, 20)
    xr.testing.assert_identical(side, rebin(raster, [0, 20, 40, 60]))
    with pytest.raises(NeuralDataError, match=r"windows of 90 ms at steps of 90 do not fit into 0 to 80 ms"):
        sliding_windows(raster, 0, 80, 90)


def test_bins_partly_inside_are_refused_with_the_edges_that_would_be_right(raster):
    wide = rebin(raster, np.arange(-20, 81, 20))
    said = r"window 10 to 60 ms cuts through time bins; edges that would be right: start 0 or 20$"
    with pytest.raises(NeuralDataError, match=said):
        window(wide, 10, 60)
    with pytest.raises(NeuralDataError, match=r"edges that would be right: start 0 or 20, stop 60 or 80$"):
        window(wide, 5, 70)
    assert (window(wide, 20, 60).values == window(raster, 20, 60).values).all()  # control: right edges


@pytest.mark.parametrize(
    ("start", "stop", "said"),
    [
        (60, 120, r"window 60 to 120 ms is not filled: its time bins reach from 60 to 80 ms"),
        (100, 120, r"holds no time bin; they reach from -20 to 80 ms"),
        (30, 30, r"start before its stop, in ms; not 30 to 30"),
        (30, float("nan"), r"start before its stop"),
    ],
)
def test_windows_beyond_the_data(raster, start, stop, said):
    with pytest.raises(NeuralDataError, match=said):
        window(raster, start, stop)


def test_gaps_and_overlaps(raster):
    with pytest.raises(NeuralDataError, match=r"has a gap: no time bin from 10 to 12 ms"):
        window(raster.isel(time_bin=[*range(20, 30), *range(32, 50)]), 0, 30)
    overlapping = sliding_windows(raster, 0, 60, 20, 10)
    with pytest.raises(NeuralDataError, match=r"overlap \(0 to 20 and 10 to 30 ms\), whose spikes would count twice"):
        window(overlapping, 0, 60)
    np.testing.assert_array_equal(window(overlapping, 10, 30).values, window(raster, 10, 30).values)  # one of them


def test_what_cannot_be_windowed(raster):
    with pytest.raises(NeuralDataError, match=r"no time bins \(no coordinate 'time_bin_start'"):
        window(raster.isel(time_bin=0, drop=True), 0, 10)
    with pytest.raises(NeuralDataError, match=r"near: 'time_bin_stop'"):
        window(raster.rename(time_bin_end="time_bin_stop"), 0, 10)
    with pytest.raises(NeuralDataError, match=r"time bin 0 is from -19 to -20 ms"):
        window(raster.rename(time_bin_start="a", time_bin_end="time_bin_start").rename(a="time_bin_end"), 0, 10)
    text = raster.assign_coords(time_bin_start=("time_bin", raster["time_bin_start"].values.astype(str)))
    with pytest.raises(NeuralDataError, match=r"they are numbers in ms"):
        window(text, 0, 10)
    bare = raster.drop_attrs()
    for call in (window, lambda *told: window(*told, unit="rate"), lambda it, *_: in_unit(it, "count")):
        with pytest.raises(NeuralDataError, match=r"counts or rates: say values=count .*attrs..unit.. = "):
            call(bare, 0, 30)
    one = window(bare, 0, 1)  # neither summed nor averaged
    np.testing.assert_array_equal(one.values, raster.sel(time_bin=raster["time_bin_start"] == 0).values[..., 0])
    assert "unit" not in one.attrs
    with pytest.raises(NeuralDataError, match=r"unit 'Hz' is neither"):
        window(raster, 0, 10, unit="Hz")
    with pytest.raises(NeuralDataError, match=r"edges of bins rise, .* not 0, 10, 5"):
        rebin(raster, [0, 10, 5])


def test_one_bin_is_a_window_of_itself_only(raster):
    one = window(raster, 0, 50)
    np.testing.assert_array_equal(window(one, 0, 50, unit="rate").values, one.values * 20.0)
    with pytest.raises(NeuralDataError, match=r"cuts through time bins; edges that would be right: start 0"):
        window(one, 10, 50)


def test_what_an_address_says_of_time(raster):
    xr.testing.assert_identical(binned_as(raster, window=(0, 40)), window(raster, 0, 40))  # counts stay counts
    bins = binned_as(raster, bins=(0, 60, 20))
    xr.testing.assert_identical(bins, rebin(raster, [0, 20, 40, 60], unit="rate"))  # counts become rates
    assert bins.attrs["unit"] == "spikes/s"
    xr.testing.assert_identical(
        binned_as(raster, bins=(0, 60, 20), unit="count"), rebin(raster, [0, 20, 40, 60], unit="count")
    )
    rates = in_unit(raster, "rate")
    assert binned_as(rates, window=(0, 40)).attrs["unit"] == "spikes/s"
    assert binned_as(rates, bins=(0, 60, 20)).attrs["unit"] == "spikes/s"
    assert binned_as(rates, window=(0, 40), unit="count").attrs["unit"] == "spikes"
    assert binned_as(raster) is raster
    with pytest.raises(NeuralDataError, match=r"say one of them"):
        binned_as(raster, window=(0, 40), bins=(0, 60, 20))
    plain = raster.drop_attrs().astype(float).isel(time_bin=0, drop=True)
    assert binned_as(plain, values="rate").attrs["unit"] == "spikes/s"  # the user's word for what the file holds
    assert (binned_as(plain, values="rate", unit="rate").values == plain.values).all()
    with pytest.raises(NeuralDataError, match=r"say values=count or values=rate"):
        binned_as(plain, unit="rate")  # whole numbers as float64 are counts or rates
    unsaid = raster.drop_attrs()
    xr.testing.assert_identical(
        binned_as(unsaid, window=(0, 40), unit="rate", values="count").drop_attrs(),
        window(raster, 0, 40, unit="rate").drop_attrs(),
    )
    with pytest.raises(NeuralDataError, match=r"values=rate says .* spikes/s, but the assembly says spikes: leave"):
        binned_as(raster, values="rate")
    with pytest.raises(NeuralDataError, match=r"values 'Hz' is neither"):
        binned_as(unsaid, values="Hz")
    with pytest.raises(NeuralDataError, match=r"no time bins .* no rate be computed"):
        binned_as(plain.assign_attrs(unit="spikes"), unit="rate")


def test_a_multiindex_and_the_order_of_dims_do_not_matter(raster):
    indexed = raster.set_index(presentation=["stimulus_id", "repetition"]).transpose(
        "time_bin", "neuroid", "presentation"
    )
    found = window(indexed, 0, 40)
    np.testing.assert_array_equal(found.values, window(raster, 0, 40).values)
    assert found["repetition"].values.tolist() == raster["repetition"].values.tolist()
    assert rebin(indexed, [0, 20, 40]).dims == ("presentation", "neuroid", "time_bin")


@pytest.mark.parametrize("width", [0.1, 0.3, 0.7, 1 / 3, 2.5, 16.7])
def test_edges_in_single_precision_are_the_edges_one_writes(width):
    edges = np.round(np.arange(301) * width, 6).astype(np.float32)
    spikes = binned(np.ones((1, 1, 300)), edges[:-1], edges[1:])
    for first in (0, 100, 298):  # a tolerance of a nanosecond refused 8 of 10
        assert window(spikes, round(first * width, 6), round((first + 2) * width, 6)).item() == 2
    with pytest.raises(NeuralDataError, match="cuts through time bins"):
        window(spikes, 0, 1.01 * width)  # a hundredth of a bin is no rounding


def test_more_windows_than_one_can_want_are_refused_before_they_are_made(raster):
    with pytest.raises(NeuralDataError, match=r"more than 100000; take a wider step"):
        sliding_windows(raster, 0, 50, 10, 1e-9)
