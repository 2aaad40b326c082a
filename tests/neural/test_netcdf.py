"""netCDF as laboratories write it, behaviour and events in it, and what is written: the same back, or one line."""

from __future__ import annotations

import warnings
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from netphys.errors import NeuralDataError
from netphys.neural import load_neural, read_assembly, write_assembly

IDS = np.array(["c", "ä", "", "c", "🐒 x", "b"])


@pytest.fixture
def assembly() -> xr.DataArray:
    values = np.random.default_rng(3).normal(size=(6, 4))
    values[1, 2], values[0, 0] = np.nan, -0.0
    return xr.DataArray(
        values,
        dims=("presentation", "neuroid"),
        coords={"stimulus_id": ("presentation", IDS), "neuroid_id": ("neuroid", np.array(["n1", "n2", "n3", "n4"]))},
        attrs={"identifier": "test"},
    )


def _same(back: xr.DataArray, wanted: xr.DataArray) -> None:
    """Bit for bit: values, dtype, dims, coordinates with theirs."""
    assert back.dims == wanted.dims and back.dtype == wanted.dtype and set(back.coords) == set(wanted.coords)
    assert back.values.tobytes() == np.ascontiguousarray(wanted.values).tobytes()
    for name, each in wanted.coords.items():
        assert back[name].dims == each.dims and back[name].dtype == each.dtype, name
        np.testing.assert_array_equal(back[name].values, each.values)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"])
def test_every_type_of_number(tmp_path, assembly, dtype):
    whole = np.arange(24).reshape(6, 4)
    numbers = assembly.values.astype(dtype) if dtype in ("f8", "f4") else whole.astype(dtype)
    wanted = assembly.copy(data=numbers).assign_coords(depth=("neuroid", np.array([0, 1, 100, 1]).astype(dtype)))
    _same(read_assembly(write_assembly(wanted, tmp_path / "x.nc")), wanted)


@pytest.mark.parametrize(
    "values",
    [
        np.array([True, False, True, True]),
        np.array(["2020-01-01T00:00:00.000000001", "NaT", "1999-12-31", "2262-01-01"], "M8[ns]"),
        np.array([1, -2, 3, 2**40], "m8[ns]"),
        np.array([np.nan, 0.1, -np.inf, np.inf], "f4"),
        np.array(["", "", "", ""]),
        np.array(["ü", "", " blanks ", 'new\nline "q"']),
        np.array([0, 2**63 - 1, -(2**63), 1], "i8"),
        np.array([0, 2**64 - 1, 1, 2], "u8"),
    ],
    ids=lambda values: f"{values.dtype}{values[0]!r}"[:20],
)
def test_every_type_of_coordinate(tmp_path, assembly, values):
    wanted = assembly.assign_coords(odd=("neuroid", values))
    _same(read_assembly(write_assembly(wanted, tmp_path / "x.nc")), wanted)


def test_text_of_every_kind_becomes_str(tmp_path, assembly):
    for values in (np.array([b"V4", b"IT", b"\xc3\xa4", b""]), np.array(["V4", "IT", "ä", ""], dtype=object)):
        back = read_assembly(write_assembly(assembly.assign_coords(region=("neuroid", values)), tmp_path / "x.nc"))
        assert back["region"].values.tolist() == ["V4", "IT", "ä", ""] and back["region"].dtype.kind == "U"
    seconds = np.array(["2020-01-01", "2021-01-01", "2022-01-01", "NaT"], "M8[s]")
    back = read_assembly(write_assembly(assembly.assign_coords(day=("neuroid", seconds)), tmp_path / "x.nc"))
    np.testing.assert_array_equal(back["day"].values, seconds.astype("M8[ns]"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"odd": np.array(["a", None, "b", "c"], dtype=object)}, r"'odd' of the assembly holds (None|nan) among text"),
        ({"odd": np.array(["a", np.nan, "b", "c"], dtype=object)}, r"'odd' of the assembly holds nan among text"),
        ({"odd": np.array([1, 2.5, [3], (4,)], dtype=object)}, r"'odd' of the assembly holds 1 among text"),
        ({"odd": np.array([b"\xff", b"a", b"b", b"c"])}, r"'odd' of the assembly holds bytes that are no UTF-8"),
        ({"odd": np.array(["a\0b", "c", "d", "e"])}, r"'odd' of the assembly holds a character of zero"),
        ({"odd": np.array(["\udc80", "c", "d", "e"])}, r"cannot be written"),
        ({"odd": np.arange(4) * 1j}, r"'odd' of the assembly holds complex128, which netCDF has no type for"),
        ({"odd": np.arange(4).astype("f2")}, r"'odd' of the assembly holds float16"),
        ({"odd": np.array(["0001-01-01", "2020", "2021", "2022"], "M8[D]")}, r"holds dates outside of 1678 to 2262"),
        ({"two words": np.arange(4)}, r"'two words' .* by that name"),
        ({"a/b": np.arange(4)}, r"'a/b' .* by that name"),
        ({"data": np.arange(4)}, r"'data' .* by that name"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_no_file(tmp_path, assembly, change, told):
    for name, values in change.items():
        assembly = assembly.assign_coords({name: ("neuroid", values)})
    with pytest.raises(NeuralDataError, match=told) as raised:
        write_assembly(assembly, tmp_path / "x.nc")
    assert "\n" not in str(raised.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["f2", "c8", "O", "U3", "M8[ns]"])
def test_responses_that_cannot_be_written(tmp_path, assembly, dtype):
    with pytest.raises(NeuralDataError, match=r"the assembly holds"):
        write_assembly(assembly.copy(data=np.ones((6, 4)).astype("i8").astype(dtype)), tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_where_writing_fails(tmp_path, assembly):
    path = write_assembly(assembly, tmp_path / "x.nc")
    before = path.read_bytes()
    with pytest.raises(NeuralDataError):
        write_assembly(assembly.assign_attrs(odd=object()), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_one_bin_of_time_is_written_as_a_dim_and_squeezed_when_read(tmp_path, assembly):
    wanted = assembly.assign_coords(time_bin_start=70, time_bin_end=170)
    path = write_assembly(wanted, tmp_path / "x.nc")
    with xr.open_dataarray(path, engine="h5netcdf") as plain:
        assert plain.dims == ("presentation", "neuroid", "time_bin") and plain["time_bin_start"].dims == ("time_bin",)
    _same(read_assembly(path), wanted)


def test_times_with_units_of_milliseconds_stay_numbers(tmp_path, assembly):
    bins = xr.concat([assembly, assembly + 1], "time_bin").transpose("presentation", "neuroid", "time_bin")
    bins = bins.assign_coords(
        time_bin_start=("time_bin", [0, 50], {"units": "milliseconds"}), time_bin_end=("time_bin", [50, 100])
    )
    bins.to_dataset(name="data").to_netcdf(tmp_path / "units.nc", engine="h5netcdf")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_assembly(tmp_path / "units.nc")
    assert found["time_bin_start"].dtype == np.int64 and found["time_bin_start"].values.tolist() == [0, 50]
    with xr.open_dataset(tmp_path / "units.nc", engine="h5netcdf", decode_timedelta=True) as plain:
        assert plain["time_bin_start"].dtype.kind == "m"  # control: by its units it is taken for a duration


@pytest.mark.parametrize("byte", ["<", ">"])
@pytest.mark.parametrize("kind", ["f4", "f8", "i2"])
def test_written_by_h5py_alone(tmp_path, byte, kind):
    """Fixed-width strings, big and little endian, no attribute `coordinates`, xarray's name of a nameless array."""
    values = (np.arange(12).reshape(4, 3) * 1.5).astype(byte + kind)
    with h5py.File(tmp_path / "x.nc", "w") as file:
        data = file.create_dataset("__xarray_dataarray_variable__", data=values)
        for dim, (name, n) in enumerate((("presentation", 4), ("neuroid", 3))):
            scale = file.create_dataset(name, data=np.zeros(n, ">f4"))
            scale.make_scale(f"This is a netCDF dimension but not a netCDF variable.{n:10d}")
            data.dims[dim].attach_scale(scale)
        for name, dim, each in (
            ("image_id", 0, np.array([b"a", b"bb", b"a", b"c"])),
            ("neuroid_id", 1, np.array([b"n1", b"n2", b"n3"])),
            ("trial", 0, np.arange(4, dtype=">i4")),
        ):
            file.create_dataset(name, data=each).dims[0].attach_scale(file[("presentation", "neuroid")[dim]])
    found = read_assembly(tmp_path / "x.nc")
    np.testing.assert_array_equal(found.values, values)
    assert found.dtype == np.dtype(kind) and found.dtype.isnative and found["trial"].dtype.isnative
    assert found["stimulus_id"].values.tolist() == ["a", "bb", "a", "c"] and found["stimulus_id"].dtype.kind == "U"
    assert found["trial"].values.tolist() == [0, 1, 2, 3]


def test_netcdf3_of_the_same(tmp_path, assembly):
    old = assembly.astype("f4").rename(stimulus_id="image_id")
    old.to_dataset(name="data").to_netcdf(tmp_path / "old.nc", engine="scipy")
    found = read_assembly(tmp_path / "old.nc")
    assert found.dtype == np.float32 and found.dtype.isnative
    np.testing.assert_array_equal(found.values, assembly.values.astype("f4"))
    assert found["stimulus_id"].values.tolist() == IDS.tolist()


def test_other_names_by_the_address(tmp_path, assembly):
    other = assembly.rename(stimulus_id="picture", neuroid_id="cell")
    other = other.assign_coords(picture=("presentation", list("abcabc")), block=("presentation", [0, 0, 0, 1, 1, 1]))
    other.to_dataset(name="data").to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with pytest.raises(NeuralDataError, match=r"has no coordinate 'stimulus_id'"):
        load_neural(tmp_path / "x.nc")
    data = load_neural(f"{tmp_path / 'x.nc'}?stimulus=picture&neuroid=cell&repetition=block")
    assert data.stimulus_ids == tuple("abc") and data.assembly["repetition"].values.tolist() == [0, 0, 0, 1, 1, 1]
    assert set(data.assembly.coords) == {"stimulus_id", "neuroid_id", "repetition"}


def _behaviour(**coords: Any) -> xr.DataArray:
    """Probabilities of two choices."""
    held = {"stimulus_id": ("presentation", ["a", "b", "a"]), "truth": ("presentation", ["x", "y", "x"]), **coords}
    return xr.DataArray([[0.25, 0.75], [1, 0], [0, 1.0]], dims=("presentation", "choice"), coords=held)


def test_behaviour_is_told_by_its_dims_and_written_back(tmp_path):
    for n, coords in enumerate(({"choice": ["x", "y"]}, {"choice_": ("choice", ["x", "y"])})):
        _behaviour(**coords).to_dataset(name="p").to_netcdf(tmp_path / f"{n}.nc", engine="h5netcdf")
        data = load_neural(tmp_path / f"{n}.nc")
        assert data.kind == "behaviour" and data.assembly["choice"].values.tolist() == ["x", "y"]
        assert set(data.assembly.coords) == {"stimulus_id", "truth", "choice"} and data.stimulus_ids == ("a", "b")
        path = write_assembly(data.assembly, tmp_path / "back.nc")
        _same(read_assembly(path), data.assembly)
        with h5py.File(path) as file:
            assert "choice_" in file and file["choice"].attrs["NAME"].startswith(b"This is a netCDF dimension but not")
    with pytest.raises(NeuralDataError, match=r"coordinates 'choice' and 'choice_'"):
        write_assembly(data.assembly.assign_coords(choice_=("choice", [1, 2])), tmp_path / "two.nc")


def test_one_choice_a_presentation(tmp_path):
    coords = {
        "image_id": ("presentation", ["i1", "i2", "i1"]),
        "truth": ("presentation", ["dog", "cat", "dog"]),
        "subject": ("presentation", [7, 7, 8]),
    }
    trials = xr.DataArray(np.array(["dog", "dog", "cat"]), dims="presentation", coords=coords)
    trials.to_netcdf(tmp_path / "trials.nc", engine="h5netcdf")
    for address in (tmp_path / "trials.nc", f"{tmp_path / 'trials.nc'}?kind=behaviour"):
        found = load_neural(address).assembly
        assert found["choice"].values.tolist() == ["cat", "dog"] and found["subject"].values.tolist() == [7, 7, 8]
        np.testing.assert_array_equal(found.values, [[0, 1], [0, 1], [1, 0]])
        assert found["truth"].values.tolist() == ["dog", "cat", "dog"]
    right = xr.DataArray([1, 0, 0], dims="presentation", coords={**coords, "choice": ("presentation", trials.values)})
    right.to_dataset(name="correct").to_netcdf(tmp_path / "right.nc", engine="h5netcdf")
    with pytest.raises(NeuralDataError, match=r"kind=behaviour&value=NAME"):
        load_neural(tmp_path / "right.nc")
    found = load_neural(f"{tmp_path / 'right.nc'}?kind=behaviour&value=choice").assembly
    np.testing.assert_array_equal(found.values, [[0, 1], [0, 1], [1, 0]])


def test_flat_events_that_say_both(tmp_path, assembly):
    cube = assembly.assign_coords(stimulus_id=("presentation", list("abcabd")))
    order = np.random.default_rng(0).permutation(24)
    p, n = np.divmod(order, 4)
    coords = {
        "stimulus_id": ("event", cube["stimulus_id"].values[p]),
        "neuroid_id": ("event", cube["neuroid_id"].values[n]),
        "repetition": ("event", np.array([0, 0, 0, 1, 1, 0])[p]),
        "depth": ("event", np.array([0.5, 1, 2, 4], "f4")[n]),
    }
    flat = xr.DataArray(cube.values.reshape(-1)[order], dims="event", coords=coords)
    flat.to_dataset(name="data").to_netcdf(tmp_path / "events.nc", engine="h5netcdf")
    with pytest.raises(NeuralDataError, match=r"24 events say stimulus and neuroid: say form=long"):
        load_neural(tmp_path / "events.nc")
    found = load_neural(f"{tmp_path / 'events.nc'}?form=long").assembly
    for row in range(6):
        at = (found["stimulus_id"].values == "abcabd"[row]) & (found["repetition"].values == [0, 0, 0, 1, 1, 0][row])
        values = dict(zip(found["neuroid_id"].values.tolist(), found.values[at][0].tolist()))
        np.testing.assert_array_equal([values[f"n{k}"] for k in range(1, 5)], cube.values[row])
    assert found["depth"].dims == ("neuroid",) and found["depth"].dtype == np.float32


def test_paths_of_another_machine_are_left_out(tmp_path, assembly):
    named = assembly.assign_coords(
        stimulus_path=("presentation", [f"/home/them/{at}.png" for at in range(6)]),
        file=("presentation", [f"images/{at}.png" for at in range(6)]),
        other_path=("presentation", [f"C:\\them\\{at}.png" for at in range(6)]),
    )
    found = read_assembly(write_assembly(named, tmp_path / "x.nc"))
    assert set(found.coords) == {"stimulus_id", "neuroid_id", "file"}


def test_a_multiindex_of_brainio_comes_back_flat(tmp_path, assembly):
    indexed = assembly.assign_coords(repetition=("presentation", np.arange(6)), region=("neuroid", list("abcd")))
    indexed = indexed.set_index(presentation=["stimulus_id", "repetition"], neuroid=["neuroid_id", "region"])
    back = read_assembly(write_assembly(indexed, tmp_path / "x.nc"))
    assert set(back.coords) == {"stimulus_id", "repetition", "neuroid_id", "region"}
    assert not back.indexes and back["stimulus_id"].values.tolist() == IDS.tolist()
