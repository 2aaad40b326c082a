"""Names that mean something else in a file: animals of pictures, units of CF, seconds; and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from netphys.errors import NeuralDataError
from netphys.neural import load_neural, read_assembly, write_assembly
from netphys.neural.files.time_bins import spelt_bins


def _assembly(*, bins: Any = None, attrs: dict[str, Any] | None = None, **coords: Any) -> xr.DataArray:
    """Three presentations, two neuroids; with `bins` two bins of time."""
    held = {"stimulus_id": ("presentation", ["a", "b", "a"]), "neuroid_id": ("neuroid", ["n1", "n2"]), **coords}
    if bins is None:
        return xr.DataArray(np.arange(6.0).reshape(3, 2), dims=("presentation", "neuroid"), coords=held, attrs=attrs)
    held |= {"time_bin_start": ("time_bin", bins[:-1]), "time_bin_end": ("time_bin", bins[1:])}
    return xr.DataArray(
        np.arange(12.0).reshape(3, 2, 2), dims=("presentation", "neuroid", "time_bin"), coords=held, attrs=attrs
    )


def _saved(assembly: xr.DataArray, path: Path) -> Path:
    """As xarray saves it: attributes stand at the data variable."""
    assembly.to_dataset(name="data").to_netcdf(path, engine="h5netcdf")
    return path


def test_coordinates_of_pictures_are_not_the_monkeys(tmp_path):
    shown = {
        "animal": ("presentation", [True, False, True]),
        "region": ("presentation", ["up", "down", "up"]),
        "subject": ("presentation", ["dog", "car", "dog"]),
    }
    path = _saved(_assembly(**shown), tmp_path / "x.nc")
    data = load_neural(path)
    assert data.subjects == () and data.region == ""
    assert data.assembly["presentation_animal"].values.tolist() == [True, False, True]
    assert "animal of presentations as presentation_animal" in data.source
    told = load_neural(f"{path}?subject=m1&region=V4&where=presentation_region == 'up'")
    assert told.subjects == ("m1",) and told.region == "V4" and told.assembly.sizes["presentation"] == 2
    neuroids = {"animal": ("neuroid", ["m1", "m2"]), "region": "IT"}  # control: of neuroids, and of all
    own = load_neural(_saved(_assembly(**neuroids), tmp_path / "y.nc"))
    assert own.subjects == ("m1", "m2") and own.region == "IT" and "as presentation_" not in own.source


@pytest.mark.parametrize(
    ("units", "unit"),
    [
        *[(word, "spikes/s") for word in ("spikes/s", "Hz", "sp/s", "Spikes per second", "s-1")],
        *[(word, "spikes") for word in ("spikes", "counts", "count")],
        *[(word, None) for word in ("1", "a.u.", "mV", "kHz")],
    ],
)
def test_units_of_cf(tmp_path, units: str, unit: str | None):
    data = load_neural(_saved(_assembly(attrs={"units": units}), tmp_path / "x.nc"))
    assert data.assembly.attrs.get("unit") == unit
    assert ("units" in data.assembly.attrs) == (unit is None)  # no second word that would grow old
    assert (f"(units: {units})" in data.source) == (unit is not None)
    written = load_neural(write_assembly(data.assembly, tmp_path / "y.nc"))
    assert written.assembly.attrs.get("unit") == unit


def test_units_make_windows_right(tmp_path):
    rates = _assembly(bins=[0.0, 100.0, 200.0], attrs={"units": "Hz"})
    found = load_neural(f"{_saved(rates, tmp_path / 'x.nc')}?window=0,200&unit=rate").assembly
    np.testing.assert_allclose(found.values, rates.values.mean(axis=-1))  # rates are averaged
    counts = load_neural(f"{_saved(rates.assign_attrs(units='counts'), tmp_path / 'y.nc')}?window=0,200").assembly
    np.testing.assert_allclose(counts.values, rates.values.sum(axis=-1))


def test_unit_and_units(tmp_path):
    for unit, units in (("spikes", "Hz"), ("spikes/s", "counts"), ("mV", "Hz")):
        path = _saved(_assembly(attrs={"unit": unit, "units": units}), tmp_path / "x.nc")
        with pytest.raises(NeuralDataError, match=rf"x\.nc says unit '{unit}' and units '{units}'"):
            load_neural(path)
    same = _saved(_assembly(attrs={"unit": "spikes/s", "units": "Hz"}), tmp_path / "y.nc")
    assert load_neural(same).assembly.attrs["unit"] == "spikes/s"
    spelt = _saved(_assembly(attrs={"unit": "sp/s"}), tmp_path / "z.nc")
    assert load_neural(spelt).assembly.attrs["unit"] == "spikes/s"
    choices = xr.DataArray(
        np.ones((2, 2)) / 2,
        dims=("presentation", "choice"),
        coords={"stimulus_id": ("presentation", ["a", "b"]), "choice_": ("choice", ["x", "y"])},
        attrs={"units": "counts"},
    )
    assert "unit" not in load_neural(_saved(choices, tmp_path / "b.nc")).assembly.attrs  # no responses


@pytest.mark.parametrize(
    ("bins", "told"),
    [
        ([0.07, 0.08, 0.09], r"bin of 0\.01 ms, too short .*these may be seconds"),
        ([0.0, 0.0, 100.0], "bin of 0 ms; time_bin_end is after time_bin_start"),
        ([0.0, 100.0, 50.0], "bin of -50 ms; time_bin_end is after time_bin_start"),
    ],
)
def test_times_in_seconds(tmp_path, bins, told: str):
    with pytest.raises(NeuralDataError, match=rf"x\.nc has a time {told}"):
        load_neural(_saved(_assembly(bins=bins), tmp_path / "x.nc"))
    ms = load_neural(_saved(_assembly(bins=[0.0, 1.0, 1.5]), tmp_path / "y.nc"))  # control
    assert ms.assembly.sizes["time_bin"] == 2


def test_one_bin_in_seconds(tmp_path):
    path = _saved(_assembly(time_bin_start=0.07, time_bin_end=0.17), tmp_path / "x.nc")
    with pytest.raises(NeuralDataError, match=r"bin of 0\.1 ms, too short"):
        load_neural(path)


def test_spelt_bins_in_seconds():
    with pytest.raises(ValueError, match=r"bins of 0\.1 ms are too short .*these may be seconds"):
        spelt_bins("0:0.4:0.1")
    assert len(spelt_bins("0:40:0.5")) == 80


@pytest.mark.parametrize("value", [True, np.True_, [True, False], np.array([True, False])])
def test_attributes_of_true_and_false_are_written_as_numbers(tmp_path, value):
    back = read_assembly(write_assembly(_assembly(attrs={"centred": value}), tmp_path / "x.nc"))
    assert np.array_equal(back.attrs["centred"], np.asarray(value).astype(int))


def test_a_choice_of_presentations_is_a_coordinate_as_others_are(tmp_path):
    wanted = _assembly(choice=("presentation", ["left", "right", "left"]))
    path = write_assembly(wanted, tmp_path / "x.nc")
    back = read_assembly(path)
    assert back["choice"].dims == ("presentation",) and back["choice"].values.tolist() == ["left", "right", "left"]
    data = load_neural(f"{path}?where=choice == 'left'")
    assert data.kind == "assembly" and data.assembly.sizes["presentation"] == 2


def test_a_coordinate_with_the_name_of_the_dim_of_time(tmp_path):
    odd = _assembly(time_bin=("presentation", [1, 2, 3]), time_bin_start=0.0, time_bin_end=100.0)
    with pytest.raises(NeuralDataError, match=r"'time_bin' of the assembly has the name of the dim of time; rename it"):
        write_assembly(odd, tmp_path / "x.nc")


def test_descriptors_of_observations_are_not_the_monkeys(tmp_path):
    from rsatoolbox.data import Dataset

    Dataset(
        np.arange(12.0).reshape(4, 3),
        obs_descriptors={
            "stimulus_id": ["a", "b", "a", "b"],
            "animal": ["dog", "cat", "dog", "cat"],
            "region": ["up"] * 4,
        },
        channel_descriptors={"roi": ["V4", "V4", "IT"]},
        descriptors={"subject": "m1"},
    ).save(str(tmp_path / "d.h5"), file_type="hdf5")
    data = load_neural(tmp_path / "d.h5")
    assert data.subjects == ("m1",) and data.region == "V4+IT"
    assert data.assembly["presentation_animal"].values.tolist() == ["dog", "cat", "dog", "cat"]
    assert set(data.assembly["presentation_region"].values) == {"up"}
    assert "animal of observations as presentation_animal" in data.source and data.source.endswith("by stimulus_id")
