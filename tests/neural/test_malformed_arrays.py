"""Arrays, structs and rsatoolbox's datasets that do not hold what is said of them: each one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from rsatoolbox.data import TemporalDataset
from scipy.io import savemat

from netphys.errors import NetphysError
from netphys.neural import load_neural

IDS = list("abcdef")
RATES = np.random.default_rng(0).normal(size=(6, 3, 4))  # stimulus, neuroid, time
QUERY = "variable=rates&kind=responses&axes=stimulus,neuroid,time&stimulus=ids&neuroid=names&time=edges&region=area"


def _parts() -> dict[str, Any]:
    """Responses and what stands along their axes."""
    return {
        "rates": RATES,
        "ids": np.array(IDS),
        "names": np.array(["n1", "n2", "n3"]),
        "area": np.array(["V4", "IT", "IT"]),
        "edges": np.array([0.0, 10.0, 20.0, 30.0, 40.0]),
    }


def _changed(**changes: Any) -> dict[str, Any]:
    """The parts with some of them changed; None: left out."""
    return {key: value for key, value in {**_parts(), **changes}.items() if value is not None}


def _spoilt(at: tuple[int, ...], value: float) -> np.ndarray:
    out = RATES.copy()
    out[at] = value
    return out


def _query(**changes: str | None) -> str:
    """The query with some of its options changed; None: left out."""
    said = dict(part.split("=") for part in QUERY.split("&"))
    return "&".join(f"{key}={value}" for key, value in {**said, **changes}.items() if value is not None)


ARRAYS: dict[str, tuple[dict[str, Any], str, str]] = {  # what is in the file, the query, words of the line
    "no such variable": (_parts(), _query(variable="rate"), r"no variable 'rate'; near: 'rates'"),
    "two that fit": (_changed(more=RATES), _query(variable=None), r"several variables.*rates \(6, 3, 4\)"),
    "none that fits": (_parts(), _query(variable=None, axes="stimulus,neuroid"), r"nothing that can be responses"),
    "an axis too many": (
        _changed(rates=RATES[..., 0]),
        QUERY,
        r"rates of shape \(6, 3\) .*not stimulus x neuroid x time",
    ),
    "an axis too few": (_parts(), _query(axes="stimulus,neuroid", time=None), r"shape \(6, 3, 4\).*say axes="),
    "text for responses": (_changed(rates=np.full((6, 3, 4), "x")), QUERY, r"rates of shape .* is not stimulus"),
    "complex responses": (_changed(rates=RATES * 1j), QUERY, r"rates of shape .*complex128 is not stimulus"),
    "no responses": (_changed(rates=np.zeros((6, 0, 4))), QUERY, r"shape \(6, 0, 4\)"),
    "infinity": (_changed(rates=_spoilt((1, 1, 1), -np.inf)), QUERY, r"rates holds infinity"),
    "every presentation is NaN": (
        _changed(rates=np.full((6, 3, 4), np.nan)),
        _query(axes="presentation,neuroid,time"),
        r"rates: every response is NaN",
    ),
    "no such ids": (_parts(), _query(stimulus="id"), r"no variable 'id'; near: 'ids'"),
    "too few ids": (_changed(ids=np.array(IDS[:5])), QUERY, r"stimulus=ids has 5 values, there are 6 stimulus"),
    "an id twice": (_changed(ids=np.array([*IDS[:5], "a"])), QUERY, r"'a'.*every stimulus has an id of its own"),
    "an empty id": (_changed(ids=np.array(["a", "", *IDS[2:]])), QUERY, r"stimulus=ids is empty at stimulus 2"),
    "ids that are NaN": (_changed(ids=np.full(6, np.nan)), QUERY, r"stimulus=ids:.*NaN names nothing"),
    "ids that are complex": (_changed(ids=np.ones(6) * 1j), QUERY, r"stimulus=ids:.*neither text nor numbers"),
    "no ids at all": (_parts(), _query(stimulus=None), r"carries no stimulus ids; .*--ids FILE:COLUMN"),
    "presentations without ids": (
        _parts(),
        _query(axes="presentation,neuroid,time", stimulus=None),
        r"does not say which stimulus its 6 presentations show; say stimulus=VARIABLE",
    ),
    "neuroids of another number": (_changed(names=np.array(["n1"])), QUERY, r"neuroid=names has 1 values, there are 3"),
    "a neuroid twice": (_changed(names=np.array(["n", "m", "n"])), QUERY, r"names names 'n' twice"),
    "regions of another number": (
        _changed(area=np.array(["V4"] * 4)),
        QUERY,
        r"region=area names a variable of 4 values",
    ),
    "an animal too many": (
        _changed(who=np.array(list("abcd"))),
        f"{QUERY}&subject=who",
        r"subject=who names a variable of 4",
    ),
    "sessions of what": (
        _changed(rates=RATES[:3], ids=np.array(["a", "b", "a"]), day=np.array([1, 2, 2])),
        f"{_query(axes='presentation,neuroid,time')}&session=day",
        r"session=day names a variable of 3 values for 3 neuroids and 3 presentations; which of them",
    ),
    "time without a word": (_parts(), _query(time=None), r"say when the 4 time bins are: time=VARIABLE"),
    "no such time": (_parts(), _query(time="edge"), r"no variable 'edge'; near: 'edges'"),
    "too few edges": (_changed(edges=np.arange(3) * 10.0), QUERY, r"time=edges: 4 bins have 4 even starts, 5 edges"),
    "uneven starts": (_changed(edges=np.array([0, 10, 20, 40.0])), QUERY, r"time=edges: the starts are uneven"),
    "times that go back": (_changed(edges=np.array([0, 10, 5, 20, 30.0])), QUERY, r"time=edges: times do not grow"),
    "times in seconds": (_changed(edges=np.arange(5) * 0.01), QUERY, r"time=edges: .* may be seconds"),
    "times of NaN": (_changed(edges=np.array([0, np.nan, 2, 3, 4])), QUERY, r"time=edges: .*finite"),
    "times in words": (_changed(edges=np.array(list("abcde"))), QUERY, r"time=edges: times are numbers"),
    "other bins than values": (_parts(), _query(time="0:100:50"), r"time=0:100:50 is 2 bins; its axis of time has 4"),
    "bins that do not fit": (_parts(), _query(time="0:100:30"), r"time=0:100:30: STOP - START is a whole number"),
    "bins without time": (
        _changed(rates=RATES[..., 0]),
        _query(axes="stimulus,neuroid", time="0:100:50"),
        r"is 2 bins; axes= names no time",
    ),
    "repetitions of an axis": (_parts(), f"{QUERY}&repetition=edges", r"repetition= is of an axis of presentations"),
    "repetitions that are halves": (
        _changed(nth=np.arange(6) / 2),
        f"{_query(axes='presentation,neuroid,time')}&repetition=nth",
        r"nth of 6 float64 is not the repetition of each of 6 presentations",
    ),
    "repetitions below zero": (
        _changed(nth=np.arange(6) - 1),
        f"{_query(axes='presentation,neuroid,time')}&repetition=nth",
        r"nth of 6 int64 is not the repetition",
    ),
    "choices without names": (
        _changed(rates=RATES[..., 0]),
        "variable=rates&kind=behaviour&stimulus=ids",
        r"say which 3 choices there are by neuroid=VARIABLE",
    ),
    "an option of RDMs": (_parts(), f"{QUERY}&index=0", r"index=, average=, stack= and field= choose RDMs"),
    "an axis twice": (_parts(), _query(axes="stimulus,stimulus"), r"axes=stimulus,stimulus is not understood"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_one_line_for_arrays(tmp_path: Path, case: str):
    parts, query, told = ARRAYS[case]
    path = tmp_path / "data.npz"
    np.savez(path, **_parts())
    assert load_neural(f"{path}?{QUERY}").assembly.shape == (6, 3, 4)  # control: unspoilt it is read
    np.savez(path, **parts)
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(f"{path}?{query}")
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def _cells(*texts: Any) -> np.ndarray:
    out = np.empty((1, len(texts)), dtype=object)
    for at, each in enumerate(texts):
        out[0, at] = each
    return out


_UNITS = np.array([[("u1", np.ones(6)), ("u2", np.ones(5)), ("u3", np.ones(6))]], dtype=[("name", "O"), ("rates", "O")])
MATLAB: dict[str, tuple[dict[str, Any], str, str]] = {
    "a struct": (
        {"data": {"rates": RATES[..., 0]}},
        "variable=data",
        r"data is a struct; name one of its fields.*: rates",
    ),
    "an empty struct": ({"data": {"a": {}}}, "variable=data", r"data is a struct; name one of its fields"),
    "no such field": (
        {"data": {"rates": RATES[..., 0]}},
        "variable=data.rate",
        r"data has no field 'rate'; near: 'rates'",
    ),
    "a field of numbers": ({"rates": RATES[..., 0]}, "variable=rates.x", r"rates is no struct and has no field 'x'"),
    "a field of text": ({"data": {"rates": "many"}}, "variable=data.rates", r"data\.rates of shape .* is not stimulus"),
    "a cell for responses": (
        {"rates": _cells(1.0, 2.0)},
        "variable=rates",
        r"rates of shape \(1, 2\) and object is not",
    ),
    "units of different lengths": (
        {"u": _UNITS},
        "variable=u.rates&axes=neuroid,stimulus",
        r"u\.rates of shape \(3, 1\) and object",
    ),
    "a cell of lists": (
        {"rates": RATES[..., 0], "who": _cells("a", np.array([1.0, 2.0]), "d", "e", "f", "g")},
        "variable=rates&stimulus=who",
        r"stimulus=who:.*element 2 is not one text or one number",
    ),
    "names of structs": (
        {"rates": RATES[..., 0], "who": {"a": 1.0}},
        "variable=rates&neuroid=who",
        r"neuroid=who:.*a struct is neither text nor numbers",
    ),
    "an empty name": (
        {"rates": RATES[..., 0], "who": _cells("a", "", "c")},
        "variable=rates&neuroid=who",
        r"neuroid=who is empty at neuroid 2",
    ),
}


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("case", MATLAB)
def test_one_line_for_matlab(tmp_path: Path, case: str, version: str, save_73):
    variables, query, told = MATLAB[case]
    save = savemat if version == "5" else save_73
    path = tmp_path / "data.mat"
    save(path, {"rates": RATES[..., 0]})
    assert load_neural(f"{path}?kind=responses&variable=rates", ids=IDS).assembly.shape == (6, 3)  # control
    path.unlink()
    save(path, variables)
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(f"{path}?kind=responses&{query}", ids=None if "stimulus=" in query else IDS)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def _put(name: str, value: Any) -> Callable[[h5py.File], None]:
    """Put another value in the place of one; None: take it out."""

    def change(file: h5py.File) -> None:
        del file[name]
        if value is not None:
            file[name] = value

    return change


def _new(name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.__setitem__(name, value)


def _external(file: h5py.File) -> None:
    del file["measurements"]
    file.create_dataset("measurements", shape=(6, 3, 4), dtype="f8", external=[("/etc/passwd", 0, 576)])


def _keyed(*keys: str) -> Callable[[h5py.File], None]:
    """Key the ids by something else than position."""

    def change(file: h5py.File) -> None:
        del file["obs_descriptors/stimulus_id"]
        for key in keys:
            file[f"obs_descriptors/stimulus_id/{key}"] = key

    return change


def _nothing(file: h5py.File) -> None:
    """Leave it as it is: the address is what is wrong."""


SAVED: dict[str, tuple[Callable[[h5py.File], None], str, str]] = {
    "one axis": (_put("measurements", np.zeros(6)), "", r"measurements has the shape \(6,\)"),
    "four axes": (_put("measurements", np.zeros((6, 3, 2, 2))), "", r"measurements has the shape \(6, 3, 2, 2\)"),
    "nothing measured": (_put("measurements", h5py.Empty("f8")), "", r"measurements has the shape None"),
    "no observations": (_put("measurements", np.zeros((0, 3))), "", r"measurements has the shape \(0, 3\)"),
    "words measured": (_put("measurements", np.full((6, 3), b"x")), "", r"measurements is no array of real numbers"),
    "infinity": (_put("measurements", np.full((6, 3, 4), np.inf)), "", r"measurements holds infinity"),
    "more observations than ids": (
        _put("measurements", np.zeros((7, 3, 4))),
        "",
        r"obs_descriptors/\w+ has 6 entries, measurements has 7 there",
    ),
    "more channels than names": (
        _put("measurements", np.zeros((6, 4, 4))),
        "",
        r"channel_descriptors/names has 3 entries, measurements has 4",
    ),
    "more times than bins": (_put("measurements", np.zeros((6, 3, 5))), "", r"time_descriptors/time has 4 entries"),
    "descriptors that are no group": (_put("obs_descriptors", np.zeros(6)), "", r"obs_descriptors is no group"),
    "a list keyed by words": (_keyed("a", "b", "c"), "", r"obs_descriptors holds a list that is not keyed by position"),
    "a list with a hole": (_keyed("0", "1", "3"), "", r"obs_descriptors holds a list that is not keyed by position"),
    "a stimulus nobody has": (_nothing, "stimulus=stimulus", r"no descriptor 'stimulus' of obs.*near: 'stimulus_id'"),
    "a channel nobody has": (_nothing, "neuroid=name", r"no descriptor 'name' of channels; near: 'names'"),
    "channels of one name": (_put("channel_descriptors/names", ["a", "b", "a"]), "neuroid=names", r"names 'a' twice"),
    "a repetition nobody has": (_nothing, "repetition=rep", r"no descriptor 'rep' of observations"),
    "a repetition in words": (_nothing, "repetition=stimulus_id", r"stimulus_id is not the repetition of each obs"),
    "no times": (_put("time_descriptors/time", None), "", r"no descriptor 'time' of time; say time=START:STOP:WIDTH"),
    "a time nobody has": (_nothing, "time=times", r"no descriptor 'times' of time; near: 'time'"),
    "uneven times": (_put("time_descriptors/time", [0, 10, 20, 50]), "", r"the starts are uneven.*say time=START"),
    "times in seconds": (_put("time_descriptors/time", [0, 0.01, 0.02, 0.03]), "", r"may be seconds; say time=START"),
    "other bins than times": (_nothing, "time=0:100:50", r"time=0:100:50: 2 bins, measurements has 4"),
    "an axis said": (_nothing, "axes=stimulus,neuroid,time", r"saves observation x channel .*leave axes= out"),
    "an option of RDMs": (_nothing, "average=0", r"choose RDMs; leave them out"),
    "a group nobody has": (_nothing, "group=day1", r"no group 'day1'"),
    "a region nobody has": (_new("channel_descriptors/region", ["V1", "V4", "IT"]), "region=MT", r"of region 'MT'"),
    "bytes of another file": (_external, "", r"measurements keeps its bytes in another file"),
    "a link to another file": (
        lambda file: file.__setitem__("obs_descriptors/x", h5py.ExternalLink("other.h5", "/x")),
        "",
        r"obs_descriptors/x is a link to elsewhere",
    ),
    "text that is no UTF-8": (
        _put("obs_descriptors/stimulus_id", np.array([b"\xff"] * 6)),
        "",
        r"obs_descriptors holds a list that|cannot be read as HDF5",
    ),
}


@pytest.mark.parametrize("case", SAVED)
def test_one_line_for_saved_datasets(tmp_path: Path, case: str):
    change, query, told = SAVED[case]
    path = tmp_path / "data.h5"
    TemporalDataset(
        RATES,
        obs_descriptors={"stimulus_id": IDS, "run": [0] * 6},
        channel_descriptors={"names": ["n1", "n2", "n3"]},
        time_descriptors={"time": [0, 10, 20, 30]},
    ).save(str(path), file_type="hdf5")
    assert load_neural(path).assembly.shape == (6, 3, 4)  # control
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(f"{path}?{query}" if query else path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_ids_that_say_otherwise_are_refused(tmp_path: Path):
    np.savez(tmp_path / "x.npz", rates=RATES[..., 0], ids=np.array(list("aabbcc")))
    base = f"{tmp_path / 'x.npz'}?variable=rates&kind=responses&axes=presentation,neuroid"
    for query, ids, told in (
        ("&stimulus=ids", list("aabbcd"), r"carries its own stimulus ids"),
        ("", list("aab"), r"has 6 presentations, but the list has 3 ids"),
    ):
        with pytest.raises(NetphysError, match=told):
            load_neural(base + query, ids=ids)
    np.savez(tmp_path / "x.npz", rates=RATES[..., 0], ids=np.array(IDS))
    with pytest.raises(NetphysError, match=r"carries its own stimulus ids"):
        load_neural(f"{tmp_path / 'x.npz'}?variable=rates&kind=responses&stimulus=ids", ids=IDS[::-1])


def test_references_of_hdf5_that_lead_nowhere(tmp_path: Path):
    path = tmp_path / "x.h5"
    for spoil, told in (
        (lambda file, refs: refs.__setitem__(1, h5py.Reference()), r"names refers to no array in entry 2"),
        (lambda file, refs: refs.__setitem__(2, file["group"].ref), r"names refers to no array in entry 3"),
        (lambda file, refs: refs.__setitem__(0, file["long"].ref), r"names refers to more than a label in entry 1"),
    ):
        with h5py.File(path, "w") as file:
            file["x"] = RATES[..., 0]
            file["long"], file["name"] = np.zeros(20_000, dtype=np.uint8), "a"
            file.create_group("group")
            refs = np.array([file["name"].ref] * 6, dtype=h5py.ref_dtype)
            spoil(file, refs)
            file.create_dataset("names", data=refs, dtype=h5py.ref_dtype)
        with pytest.raises(NetphysError, match=told):
            load_neural(f"{path}?kind=responses&variable=x&stimulus=names")


def test_a_group_that_holds_no_array(tmp_path: Path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["day1/x"] = RATES[..., 0]
    with pytest.raises(NetphysError, match=r"no group 'day2' that holds an array; near: 'day1'"):
        load_neural(f"{tmp_path / 'x.h5'}?kind=responses&variable=x&group=day2", ids=IDS)
    with pytest.raises(NetphysError, match=r"no variable 'y'; there are: 'x'"):
        load_neural(f"{tmp_path / 'x.h5'}?kind=responses&variable=y&group=day1", ids=IDS)
