"""Assemblies: netCDF 3 and 4 read, written and averaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from netphys.errors import NeuralDataError, OutputError
from netphys.neural import average_repetitions, load_neural, read_assembly, write_assembly


@pytest.fixture
def assembly() -> xr.DataArray:
    """Two repetitions of three stimuli, four neuroids in two regions of two animals."""
    return xr.DataArray(
        np.random.default_rng(3).normal(size=(6, 4)),
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", np.array(["c", "ä", "b", "ä", "c", "b"])),
            "repetition": ("presentation", np.array([0, 0, 0, 1, 1, 1])),
            "luminance": ("presentation", np.linspace(0, 1, 6).astype(np.float32)),
            "neuroid_id": ("neuroid", np.array(["n1", "n2", "n3", "n4"])),
            "animal": ("neuroid", np.array(["Chabo", "Chabo", "Tito", "Tito"])),
            "region": ("neuroid", np.array(["IT", "V4", "IT", "V4"])),
        },
        attrs={"identifier": "test", "stimulus_set_identifier": "set"},
    )


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "u1"])
def test_written_and_read_back_bit_for_bit(tmp_path: Path, assembly, dtype):
    assembly = (assembly * 50 + 100).astype(dtype).assign_attrs(assembly.attrs)
    path = write_assembly(assembly, tmp_path / "it.nc")
    back = read_assembly(path)
    assert back.dtype == np.dtype(dtype) and back.dims == assembly.dims
    np.testing.assert_array_equal(back.values, assembly.values)
    assert set(back.coords) == set(assembly.coords)
    for name, coordinate in assembly.coords.items():
        assert back[name].dtype == coordinate.dtype
        np.testing.assert_array_equal(back[name].values, coordinate.values)
    assert back.attrs["identifier"] == "test"
    assert json.loads(back.attrs["netphys"])["made_by"] == "netphys.neural.write_assembly"
    with xr.open_dataset(path, engine="h5netcdf") as plain:  # BrainIO's names and places
        assert list(plain.data_vars) == ["data"] and plain.attrs["stimulus_set_identifier"] == "set"


def test_a_multiindex_is_written_flat_and_the_dims_in_order(tmp_path: Path, assembly):
    indexed = assembly.set_index(presentation=["stimulus_id", "repetition"]).transpose("neuroid", "presentation")
    back = read_assembly(write_assembly(indexed, tmp_path / "indexed.nc"))
    np.testing.assert_array_equal(back.values, assembly.values)
    assert back["stimulus_id"].values.tolist() == assembly["stimulus_id"].values.tolist()


@pytest.mark.parametrize("engine", ["scipy", "h5netcdf"])
def test_brainio_as_it_comes(tmp_path: Path, assembly, engine):
    """netCDF 3 and 4, image_id, another variable name, a time bin of length 1, dims in another order, bytes."""
    old = (
        assembly.rename(stimulus_id="image_id").expand_dims(time_bin=1).transpose("neuroid", "time_bin", "presentation")
    )
    old = old.assign_coords(time_bin_start=("time_bin", [70]), time_bin_end=("time_bin", [170]))
    old = old.assign_coords(image_id=("presentation", np.char.encode(assembly["stimulus_id"].values, "utf-8")))
    old.to_dataset(name="anything").to_netcdf(tmp_path / "old.nc", engine=engine)
    data = load_neural(tmp_path / "old.nc")
    assert data.assembly.dims == ("presentation", "neuroid") and data.stimulus_ids == ("c", "ä", "b")
    np.testing.assert_array_equal(data.assembly.values, assembly.values)
    assert data.assembly["stimulus_id"].dtype.kind == "U" and int(data.assembly["time_bin_start"]) == 70
    assert data.subjects == ("Chabo", "Tito") and data.region == "IT+V4" and data.name == "old"


def test_region_and_subject_restrict(tmp_path: Path, assembly):
    path = write_assembly(assembly, tmp_path / "it.nc")
    data = load_neural(f"{path}?region=IT&subject=Tito")
    assert data.region == "IT" and data.subjects == ("Tito",) and data.assembly["neuroid_id"].values.tolist() == ["n3"]
    with pytest.raises(NeuralDataError, match=r"no neuroids of region 'TI'; near: 'IT'"):
        load_neural(f"{path}?region=TI")
    bare = write_assembly(assembly.drop_vars(["region", "animal"]), tmp_path / "bare.nc")
    said = load_neural(f"{bare}?region=IT&subject=Tito")
    assert said.region == "IT" and said.subjects == ("Tito",) and said.assembly.sizes["neuroid"] == 4
    with pytest.raises(NeuralDataError, match=r"carries its own stimulus ids"):
        load_neural(path, ids=["c", "b", "ä"])


def test_several_time_bins_are_kept_and_not_averaged(tmp_path: Path, assembly):
    bins = xr.concat([assembly, assembly + 1], "time_bin").transpose("presentation", "neuroid", "time_bin")
    data = load_neural(write_assembly(bins, tmp_path / "bins.nc"))
    assert data.assembly.dims == ("presentation", "neuroid", "time_bin") and "2 time_bins" in repr(data)
    with pytest.raises(NeuralDataError, match=r"2 time bins; choose one"):
        average_repetitions(data.assembly)


def test_average_is_by_stimulus_id_only_in_order_of_first_appearance(assembly):
    values = assembly.values.copy()
    values[4, 1] = np.nan  # the second showing of c was lost at n2
    values[[1, 3], 2] = np.nan  # ä never reached n3
    ids, means = average_repetitions(assembly.copy(data=values))
    assert ids == ("c", "ä", "b")
    np.testing.assert_array_equal(
        means[0], [(values[0, at] + values[4, at]) / 2 if at != 1 else values[0, 1] for at in range(4)]
    )
    assert np.isnan(means[1, 2]) and np.isfinite(np.delete(means.ravel(), 6)).all()
    by_all = assembly.to_dataframe(name="y").groupby(["stimulus_id", "luminance"]).size()
    assert len(by_all.index.unique()) > len(ids)  # control: grouping by every coordinate splits the stimuli


def test_average_does_not_depend_on_the_order_of_presentations(assembly):
    order = np.array([5, 3, 0, 4, 1, 2])
    ids, means = average_repetitions(assembly.isel(presentation=order))
    plain_ids, plain = average_repetitions(assembly)
    rows = [plain_ids.index(each) for each in ids]
    np.testing.assert_allclose(
        means, plain[rows], rtol=0, atol=1e-15
    )  # two summands commute; only rounding could differ


def test_what_is_no_assembly(tmp_path: Path, assembly):
    with pytest.raises(NeuralDataError, match=r"has no coordinate 'neuroid_id'"):
        write_assembly(assembly.drop_vars("neuroid_id"), tmp_path / "x.nc")
    with pytest.raises(NeuralDataError, match=r"dims presentation x unit; an assembly has presentation x neuroid"):
        write_assembly(assembly.rename(neuroid="unit"), tmp_path / "x.nc")
    with pytest.raises(NeuralDataError, match=r"cannot be written .* numbers and text"):
        write_assembly(assembly.assign_attrs(odd=object()), tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []  # nothing half-written
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*file"):
        write_assembly(assembly, tmp_path / "file" / "x.nc")
    assembly.rename(neuroid="choice").to_dataset(name="p").to_netcdf(tmp_path / "choice.nc", engine="h5netcdf")
    with pytest.raises(NeuralDataError, match=r"has no coordinate 'choice'"):
        load_neural(tmp_path / "choice.nc")
    with pytest.raises(NeuralDataError, match=r"holds no assembly .* it holds: p \(presentation x choice\)"):
        load_neural(f"{tmp_path / 'choice.nc'}?kind=responses")
    xr.Dataset({"a": assembly, "b": assembly}).to_netcdf(tmp_path / "two.nc", engine="h5netcdf")
    with pytest.raises(NeuralDataError, match=r"several assemblies; name one by \?variable=NAME: a .*; b "):
        load_neural(tmp_path / "two.nc")
    np.testing.assert_array_equal(load_neural(f"{tmp_path / 'two.nc'}?variable=b").assembly.values, assembly.values)
    with pytest.raises(NeuralDataError, match=r"no variable 'c'"):
        load_neural(f"{tmp_path / 'two.nc'}?variable=c")
    with pytest.raises(NeuralDataError, match=r"no group 'test'"):
        load_neural(f"{tmp_path / 'two.nc'}?group=test")
