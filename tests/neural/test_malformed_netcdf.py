"""Malformed and mismatched netCDF files: each one clear line that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from netphys.errors import NetphysError
from netphys.neural import load_neural, read_assembly, write_assembly


def _assembly(**changed: Any) -> xr.DataArray:
    """Four presentations, three neuroids."""
    coords = {
        "stimulus_id": ("presentation", np.array(["a", "b", "a", "c"])),
        "neuroid_id": ("neuroid", np.array(["n1", "n2", "n3"])),
        "region": ("neuroid", np.array(["V4", "IT", "IT"])),
        "repetition": ("presentation", np.array([0, 0, 1, 0])),
    }
    coords = {name: each for name, each in {**coords, **changed}.items() if each is not None}
    return xr.DataArray(np.arange(12.0).reshape(4, 3), dims=("presentation", "neuroid"), coords=coords)


def _behaviour(**changed: Any) -> xr.DataArray:
    """Three presentations, two choices."""
    coords = {"stimulus_id": ("presentation", ["a", "b", "a"]), "choice_": ("choice", ["x", "y"]), **changed}
    coords = {name: each for name, each in coords.items() if each is not None}
    return xr.DataArray(np.full((3, 2), 0.5), dims=("presentation", "choice"), coords=coords)


def _trials(values: Any, **changed: Any) -> xr.DataArray:
    """One value a presentation."""
    coords = {"stimulus_id": ("presentation", ["a", "b", "a"]), "truth": ("presentation", ["x", "y", "x"]), **changed}
    return xr.DataArray(values, dims="presentation", coords={k: v for k, v in coords.items() if v is not None})


def _events(**changed: Any) -> xr.DataArray:
    """Four events that say stimulus and neuroid."""
    coords = {"stimulus_id": ("event", ["a", "a", "b", "b"]), "neuroid_id": ("event", ["n1", "n2", "n1", "n2"])}
    coords = {name: each for name, each in {**coords, **changed}.items() if each is not None}
    return xr.DataArray(np.arange(4.0), dims="event", coords=coords)


def _saved(array: xr.DataArray, path: Path, engine: str = "h5netcdf") -> None:
    array.to_dataset(name="data").to_netcdf(path, engine=engine)


HELD: dict[str, tuple[Callable[[], xr.DataArray], str, str]] = {  # name: what is saved, options, words of the line
    "no ids of stimuli": (lambda: _assembly(stimulus_id=None), "", r"no coordinate 'stimulus_id'"),
    "no ids of neuroids": (lambda: _assembly(neuroid_id=None), "", r"no coordinate 'neuroid_id'"),
    "an empty id": (
        lambda: _assembly(stimulus_id=("presentation", ["a", "", "b", "c"])),
        "",
        r"presentation 2 of 4 has no",
    ),
    "ids that are NaN": (
        lambda: _assembly(stimulus_id=("presentation", [1.0, 2.0, np.nan, 1.0])),
        "",
        r"presentation 3 of",
    ),
    "ids of neuroids as ids of stimuli": (
        lambda: _assembly(stimulus_id=("neuroid", ["a", "b", "c"])),
        "",
        r"stimulus_id is of neuroid, not of presentation",
    ),
    "one id for all": (lambda: _assembly(stimulus_id="a"), "", r"stimulus_id is of no dim, not of presentation"),
    "infinity": (lambda: _assembly().where(lambda each: each != 5, np.inf), "", r"holds infinity"),
    "complex numbers, as xarray saves them": (lambda: _assembly() + 1j, "", r"holds complex128; responses are real"),
    "words for responses": (lambda: _assembly().astype(str), "", r"holds <U\d+; responses are real numbers"),
    "dates for responses": (lambda: _assembly().astype("i8").astype("M8[ns]"), "", r"holds datetime64\[ns\]"),
    "no presentations": (lambda: _assembly()[:0], "", r"is empty"),
    "another name of a dim": (
        lambda: _assembly().rename(presentation="stimulus"),
        "",
        r"it holds: data \(stimulus x neuroid\)",
    ),
    "a dim too many": (lambda: _assembly().expand_dims(depth=2), "", r"has dims depth x presentation x neuroid"),
    "units for neuroids": (
        lambda: _assembly().rename(neuroid="unit"),
        "",
        r"holds no assembly.*data \(presentation x unit\)",
    ),
    "no such variable": (_assembly, "variable=dta", r"no variable 'dta'; near: 'data'"),
    "a coordinate as variable": (_assembly, "variable=region", r"no variable 'region'"),
    "no such group": (_assembly, "group=test", r"no group 'test'"),
    "no such coordinate": (_assembly, "stimulus=stimulusid", r"no coordinate 'stimulusid'; near: 'stimulus_id'"),
    "two coordinates for one": (_assembly, "neuroid=region", r"has a coordinate 'neuroid_id' already"),
    "no such region": (_assembly, "region=V1", r"no neuroids of region 'V1'"),
    "subjects that are not said": (_assembly, "subject=a,b", r"does not say which neuroid is whose"),
    "RDMs asked for": (_assembly, "kind=rdms", r"RDMs are not read from netCDF"),
    "behaviour asked for": (_assembly, "kind=behaviour", r"holds no assembly \(presentation x choice"),
    "responses asked for": (_behaviour, "kind=responses", r"holds no assembly \(presentation x neuroid"),
    "choices without names": (lambda: _behaviour(choice_=None), "", r"no coordinate 'choice'"),
    "a choice twice": (lambda: _behaviour(choice_=("choice", ["x", "x"])), "", r"choice 'x' is there 2 times"),
    "behaviour without stimuli": (lambda: _behaviour(stimulus_id=None), "", r"no coordinate 'stimulus_id'"),
    "a trial without a choice": (lambda: _trials(["x", "", "y"]), "", r"trial 2 of 3 has no choice"),
    "a trial without truth": (
        lambda: _trials(["x", "y", "y"], truth=("presentation", ["x", "y", ""])),
        "",
        r"trial 3 of 3 has no truth",
    ),
    "trials without stimuli": (lambda: _trials(["x", "y", "y"], stimulus_id=None), "", r"no coordinate 'stimulus_id'"),
    "numbers a trial": (lambda: _trials([1, 0, 1]), "", r"trials of behaviour, name the coordinate of choices"),
    "no such choices": (
        lambda: _trials([1, 0, 1]),
        "kind=behaviour&value=choices",
        r"no coordinate 'choices' \(value=\)",
    ),
    "choices that were not offered": (
        lambda: _trials(["x", "y", "z"], distractor=("presentation", ["y", "x", "y"])),
        "",
        r"trial 3 chose 'z'",
    ),
    "events": (_events, "", r"4 events say stimulus and neuroid: say form=long"),
    "events without stimuli": (lambda: _events(stimulus_id=None), "", r"4 events do not say which stimulus each is of"),
    "events without neuroids": (lambda: _events(neuroid_id=None), "form=long", r"no column 'neuroid_id'"),
    "events without anything": (
        lambda: _events(stimulus_id=None, neuroid_id=None),
        "",
        r"do not say which stimulus and neuroid each is of \(they have nothing\)",
    ),
    "events that are words": (
        lambda: _events().astype(str).str.replace("2.0", "x"),
        "form=long",
        r"column 'data' holds 'x' in row 3",
    ),
    "events of one cell": (
        lambda: _events(
            stimulus_id=("event", ["a"] * 4), neuroid_id=("event", ["n1"] * 4), repetition=("event", [0, 1, 1, 2])
        ),
        "form=long",
        r"row 3 is the second of stimulus 'a', repetition 1, neuroid 'n1'",
    ),
    "an assembly read as events": (
        _assembly,
        "form=long",
        r"form=long reads events of one dim, and it has no flat variable",
    ),
    "no such event variable": (_events, "form=long&variable=dta", r"no flat variable 'dta'; near: 'data'"),
}


@pytest.mark.parametrize("case", HELD)
def test_what_it_holds(tmp_path, case):
    make, query, told = HELD[case]
    _saved(make(), tmp_path / "data.nc")
    _refused(tmp_path / "data.nc", query, told)


def _refused(path: Path, query: str, told: str, ids: list[str] | None = None) -> None:
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(f"{path}?{query}" if query else path, ids=ids)
    line = str(raised.value)
    assert "\n" not in line and path.name in line and len(line) < 700


def _cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def _with_h5(change: Callable[[h5py.File], Any]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return spoil


def _replace(file: h5py.File, name: str, **options: Any) -> None:
    del file[name]
    file.create_dataset(name, **options)


SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut in half": (lambda path: _cut(path, 0.5), r"cannot be read as HDF5"),
    "only its first bytes": (lambda path: _cut(path, 0.01), r"cannot be read as HDF5"),
    "nothing": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    "text": (lambda path: path.write_text("stimulus_id,n1\n"), r"is no netCDF file \(it begins with b'stim'\)"),
    "a download that failed": (
        lambda path: path.write_text("<!DOCTYPE html><html>"),
        r"begins with b'<!DO'\); fetch it",
    ),
    "the wrong signature": (
        lambda path: path.write_bytes(b"\x88" + path.read_bytes()[1:]),
        r"is no netCDF file \(it begins with",
    ),
    "a link to another file": (
        _with_h5(lambda file: file.__setitem__("more", h5py.ExternalLink("/etc/passwd", "x"))),
        r"/more is a link to elsewhere \(ExternalLink\)",
    ),
    "a soft link": (_with_h5(lambda file: file.__setitem__("more", h5py.SoftLink("/data"))), r"\(SoftLink\)"),
    "bytes of another file": (
        _with_h5(lambda file: _replace(file, "region", shape=(3,), dtype="i1", external=[("/etc/passwd", 0, 3)])),
        r"region",
    ),
    "a claim of terabytes": (
        _with_h5(lambda file: file.create_dataset("more", shape=(10**12,), dtype="f8", chunks=(10**6,))),
        r"claims 8000.0 GB",
    ),
    "a coordinate of another length": (
        _with_h5(lambda file: _replace(file, "region", data=np.arange(7))),
        r"variable region \(7\) belongs to no dim of the file",
    ),
    "text that is not UTF-8": (
        _with_h5(lambda file: file["stimulus_id"].__setitem__(0, b"\xff\xfe")),
        r"cannot be read as netCDF",
    ),
    "dates with senseless units": (
        _with_h5(lambda file: file["repetition"].attrs.__setitem__("units", "days since yesterday")),
        r"cannot be read as netCDF",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_spoilt_bytes(tmp_path, case):
    spoil, told = SPOILT[case]
    path = write_assembly(_assembly(), tmp_path / "data.nc")
    spoil(path)
    _refused(path, "", told)


def test_netcdf3(tmp_path):
    path = tmp_path / "data.nc"
    _saved(_assembly(), path, engine="scipy")
    assert load_neural(path).stimulus_ids == ("a", "b", "c")
    _refused(path, "group=test", r"is netCDF3, which has no groups")
    whole = path.read_bytes()
    path.write_bytes(whole[:-80])
    _refused(path, "", r"(truncated|cannot be read as netCDF)")
    path.write_bytes(whole[:40])
    _refused(path, "", r"cannot be read as netCDF")
    path.write_bytes(b"CDF\x05" + whole[4:])
    _refused(path, "", r"is no netCDF file \(it begins with b'CDF\\x05'\)")


def test_ids_that_contradict_the_file(tmp_path):
    path = write_assembly(_assembly(), tmp_path / "data.nc")
    _refused(path, "", r"carries its own stimulus ids", ids=["c", "b", "a"])
    _refused(tmp_path / "absent.nc", "", r"there is no file")
    _refused(path, "from=test", r"'from'")
    _refused(path, "form=flat", r"one of wide, long")


def test_two_assemblies(tmp_path):
    xr.Dataset({"a": _assembly(), "b": _assembly()}).to_netcdf(tmp_path / "two.nc", engine="h5netcdf")
    _refused(tmp_path / "two.nc", "", r"several assemblies; name one by \?variable=NAME: a .*; b ")
    flat = xr.Dataset({"x": ("event", [1.0]), "y": ("trial", [1.0])})
    flat.to_netcdf(tmp_path / "flat.nc", engine="h5netcdf")
    _refused(tmp_path / "flat.nc", "form=long", r"flat variables of event and trial")


@pytest.mark.parametrize("make", [_assembly, _behaviour, lambda: _trials(["x", "y", "x"])])
def test_unspoilt(tmp_path, make):
    _saved(make(), tmp_path / "data.nc")
    assert load_neural(tmp_path / "data.nc").stimulus_ids[:2] == ("a", "b")
    assert read_assembly(tmp_path / "data.nc").sizes["presentation"] == make().sizes["presentation"]


def test_unspoilt_events(tmp_path):
    _saved(_events(), tmp_path / "data.nc")
    np.testing.assert_array_equal(load_neural(f"{tmp_path / 'data.nc'}?form=long").assembly.values, [[0, 1], [2, 3]])
