"""The public files of BrainIO as they are, and files of ours beside them: the same structure, opened the same way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from netphys.errors import NeuralDataError
from netphys.neural import average_repetitions, describe_file, load_neural, read_assembly, write_assembly

pytestmark = pytest.mark.real
_REPOSITORY = Path(__file__).parents[2]
ASSEMBLIES = ("assy_test_TestMe.nc", "assy_test_package_assembly.nc", "alexnet-probabilities.nc")


@pytest.fixture(scope="module")
def folder() -> Path:
    found = Path(os.environ.get("NETPHYS_REAL_DATA", _REPOSITORY.parent / "shared" / "data")) / "brainio_nc"
    if not found.is_dir():
        pytest.skip(f"no real data at {found}; set NETPHYS_REAL_DATA")
    return found


def test_repetitions(folder):
    data = load_neural(folder / "assy_test_TestMe.nc")
    assert data.kind == "assembly" and data.assembly.sizes == {"presentation": 6, "neuroid": 3}
    np.testing.assert_array_equal(data.assembly.values, np.arange(1, 19).reshape(6, 3))
    assert data.assembly.dtype == np.int64 and data.assembly["repetition"].dtype == np.int64
    assert data.assembly["neuroid_id"].values.tolist() == ["alpha", "beta", "gamma"]
    assert data.assembly["foo"].dims == ("neuroid",) and len(data.stimulus_ids) == 4
    ids, means = average_repetitions(data.assembly)
    assert ids == data.stimulus_ids and means.shape == (4, 3)


def test_one_time_bin_and_old_names(folder):
    data = load_neural(folder / "assy_test_package_assembly.nc")
    assert data.assembly.dims == ("presentation", "neuroid")  # one time bin, squeezed; its times stay
    assert (int(data.assembly["time_bin_start"]), int(data.assembly["time_bin_end"])) == (0, 10)
    np.testing.assert_array_equal(data.assembly.values, np.arange(1, 19).reshape(6, 3))
    assert data.assembly.dtype == np.int64 and "image_id" not in data.assembly.coords
    assert data.stimulus_ids == ("n0", "n1", "n2", "n3", "n4", "n5")


def test_probabilities_of_choices(folder):
    data = load_neural(folder / "alexnet-probabilities.nc")
    assert data.kind == "behaviour" and data.assembly.dims == ("presentation", "choice")
    assert data.assembly.shape == (240, 24) and data.assembly.dtype == np.float32 and len(data.stimulus_ids) == 240
    np.testing.assert_allclose(data.assembly.sum("choice"), 1.0, atol=1e-5)  # rows are probabilities, float32
    assert np.ptp(data.assembly.values.sum(axis=0)) > 0.1  # control: columns are none
    assert len(set(data.assembly["choice"].values.tolist())) == 24
    assert set(data.assembly.coords) == {"stimulus_id", "choice"}  # no foreign paths
    with h5py.File(folder / "alexnet-probabilities.nc") as file:
        raw, labels = file["__xarray_dataarray_variable__"][()], file["choice_"].asstr()[()]
        assert file["stimulus_path"][0].startswith(b"/braintree/")
    np.testing.assert_array_equal(data.assembly.values, raw)
    assert data.assembly["choice"].values.tolist() == labels.tolist()
    same = read_assembly(folder / "alexnet-probabilities.nc", dims=("presentation", "choice"))
    xr.testing.assert_identical(same, data.assembly)


def test_events_are_no_assembly(folder):
    extras = folder / "assy_test_package_assembly_extras.nc"
    for address, told in (
        (
            extras,
            r"data \(event\); groups \(group=NAME\): test; its 1000 events do not say which stimulus .*stimulus=NAME",
        ),
        (
            f"{extras}?group=test",
            r"data \(event\); its 40 events do not say which neuroid .*photodiode_on_us.*neuroid=",
        ),
        (f"{extras}?form=long", r"no column 'stimulus_id' that says which stimulus was shown; say stimulus=NAME"),
        (f"{extras}?form=long&group=test", r"no column 'neuroid_id' that says which neuroid responded"),
        (f"{extras}?form=long&stimulus=lable", r"no column 'lable' \(stimulus=\); near: 'label'"),
        (f"{extras}?kind=behaviour", r"holds no assembly \(presentation x choice"),
    ):
        with pytest.raises(NeuralDataError, match=told) as raised:
            load_neural(address)
        assert "\n" not in str(raised.value) and str(extras) in str(raised.value)
    assert describe_file(extras)["variables"] == {"data": [1000]}


def test_events_are_responses_where_the_user_says_so(folder):
    """Electrodes as stimuli make no sense; they are the coordinate that shows that every value comes through."""
    extras = folder / "assy_test_package_assembly_extras.nc"
    found = load_neural(f"{extras}?form=long&stimulus=label&neuroid=neuroid_id").assembly
    with h5py.File(extras) as file:
        values, names = file["data"][()], file["label"].asstr()[()]
    assert np.isfinite(found.values).sum() == 1000 and found.attrs["pseudo_population"] == 1
    for at in (0, 1, 2, 400, 999):
        rows = found.isel(presentation=found["stimulus_id"].values == names[at]).values
        assert values[at] in rows[np.isfinite(rows)]
    assert found["region"].dims == ("neuroid",) and found["row"].dtype == np.int64


def _structure(path: Path) -> dict[str, Any]:
    """What HDF5 holds: of each variable its shape, kind of dtype, dims and attribute `coordinates`."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        for name, each in file.items():
            if each.attrs.get("CLASS") == b"DIMENSION_SCALE":
                nameless = each.attrs["NAME"].startswith(b"This is a netCDF dimension but not a netCDF variable")
                found[f"dim {name}"] = (each.shape, bool(nameless))
                continue
            text = h5py.check_string_dtype(each.dtype)
            kind = f"text {text.encoding} {text.length}" if text else each.dtype.str
            dims = tuple(dim[0].name for dim in each.dims)
            said = each.attrs.get("coordinates", b"")
            said = said.decode() if isinstance(said, bytes) else said
            found[name] = (each.shape, kind, dims, frozenset(said.split()))
        assert set(file.attrs) <= {"_NCProperties", "netphys"}
    return found


@pytest.mark.parametrize("name", ASSEMBLIES)
def test_written_with_the_structure_of_the_original(folder, tmp_path, name):
    data = load_neural(folder / name)
    mine = _structure(write_assembly(data.assembly, tmp_path / name))
    theirs = _structure(folder / name)
    if "__xarray_dataarray_variable__" in theirs:  # xarray's name for an array without one
        theirs["data"] = theirs.pop("__xarray_dataarray_variable__")
    theirs.pop("stimulus_path", None)  # a path of another machine, left out
    rename = {"image_id": "stimulus_id"}  # the old name
    theirs = {rename.get(key, key): each for key, each in theirs.items()}
    shape, kind, dims, said = theirs["data"]
    theirs["data"] = (shape, kind, dims, frozenset(rename.get(key, key) for key in said - {"stimulus_path"}))
    assert mine == theirs
    xr.testing.assert_identical(_bare(read_assembly(tmp_path / name)), _bare(data.assembly))


def _bare(assembly: xr.DataArray) -> xr.DataArray:
    """Without the record of what wrote it."""
    assembly = assembly.copy()
    assembly.attrs = {key: each for key, each in assembly.attrs.items() if key != "netphys"}
    return assembly


@pytest.mark.parametrize("name", ASSEMBLIES)
def test_opened_as_brainio_opens_its_own(folder, tmp_path, name):
    """One data variable, then the coordinates of each dim gathered into a MultiIndex: for theirs and for ours."""
    write_assembly(load_neural(folder / name).assembly, tmp_path / name)
    read, names = [], []
    for path in (folder / name, tmp_path / name):
        with xr.open_dataarray(path, engine="h5netcdf") as opened:
            array = opened.load().drop_vars("stimulus_path", errors="ignore")
        array = array.rename(image_id="stimulus_id") if "image_id" in array.coords else array
        levels = {dim: [str(key) for key, each in array.coords.items() if each.dims == (dim,)] for dim in array.dims}
        gathered = array.set_index({dim: each for dim, each in levels.items() if each}, append=True)
        assert all(gathered.indexes[dim].nlevels == len(each) for dim, each in levels.items() if len(each) > 1)
        read.append(gathered)
        names.append({dim: set(each) for dim, each in levels.items()})
    assert names[0] == names[1] and read[0].dims == read[1].dims and read[0].dtype == read[1].dtype
    np.testing.assert_array_equal(read[0].values, read[1].values)
    for key in names[0]["presentation"] - {"presentation"}:
        if key in read[0].coords:
            np.testing.assert_array_equal(read[0][key].values, read[1][key].values)
