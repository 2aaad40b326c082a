"""NWB files that are malformed, or that do not fit what is asked: each is one clear line that names the file."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nwb_files import COUNTS, TRIALS, write_nwb

from netphys.errors import NetphysError
from netphys.neural import load_neural
from netphys.neural.files.nwb import nwb_contents

Spoil = Callable[[Any], None]
TABLE, UNITS = "intervals/trials", "units"
MADE: dict[str, Any] = {
    "trials": {**TRIALS, "go_cue": [1.0, 2.0, 3.0, 4.0]},
    "ragged": {"touches": [[1.0], [], [2.0, 3.0], []]},
    "locations": ["V1", "V4"],
    "electrodes": [[0], [1], [0, 1]],
    "observed": [[[0.0, 10.0]]] * 3,
    "units": {"label": ["n1", "n2", "n3"]},
    "invalid": [(8.0, 9.0)],
    "series": True,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return write_nwb(tmp_path_factory.mktemp("nwb") / "whole.nwb", **MADE)


@pytest.fixture
def good(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "file.nwb"))


def replaced(name: str, values: Any, **options: Any) -> Spoil:
    """Put other values in the place of a dataset, which keeps its attributes."""

    def spoil(file: Any) -> None:
        attrs = dict(file[name].attrs)
        del file[name]
        made = file.create_dataset(name, data=values, **options)
        for key, value in attrs.items():
            made.attrs[key] = value
        if f"{name}_index" in file:  # the index of a ragged column refers to it
            file[f"{name}_index"].attrs["target"] = made.ref

    return spoil


def without(*names: str) -> Spoil:
    def spoil(file: Any) -> None:
        for name in names:
            del file[name]

    return spoil


def column_removed(table: str, *columns: str) -> Spoil:
    """Take columns out of a table and of its list of them."""

    def spoil(file: Any) -> None:
        for name in columns:
            del file[table][name]
        file[table].attrs["colnames"] = [each for each in file[table].attrs["colnames"] if each not in columns]

    return spoil


def emptied(table: str) -> Spoil:
    """Leave a table without rows."""

    def spoil(file: Any) -> None:
        for name in list(file[table]):
            old = file[table][name]
            replaced(f"{table}/{name}", np.zeros((0, *old.shape[1:]), old.dtype), dtype=old.dtype)(file)

    return spoil


def linked(name: str, link: Any) -> Spoil:
    def spoil(file: Any) -> None:
        if name in file:
            del file[name]
        file[name] = link

    return spoil


def attribute(name: str, key: str, value: Any) -> Spoil:
    def spoil(file: Any) -> None:
        if value is None:
            del file[name].attrs[key]
        else:
            file[name].attrs[key] = value

    return spoil


def external(file: Any) -> None:
    attrs = dict(file["units/spike_times"].attrs)
    n = len(file["units/spike_times"])
    del file["units/spike_times"]
    made = file.create_dataset("units/spike_times", (n,), "f8", external=[(file.filename, 0, 8 * n)])
    made.attrs.update(attrs)


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((9,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (9,))
    del file["units/spike_times"]
    file.create_virtual_dataset("units/spike_times", layout)


def bomb(file: Any) -> None:
    attrs = dict(file["units/spike_times"].attrs)
    del file["units/spike_times"]
    file.create_dataset("units/spike_times", (10**8,), "f8", chunks=(10**6,)).attrs.update(attrs)
    replaced("units/spike_times_index", np.array([10, 20, 10**8]))(file)


def itself(file: Any) -> None:
    file["units/again"] = file["units"]


SPOILT: dict[str, tuple[Spoil, str]] = {
    "no units": (without("units"), "holds no units .* it holds: pupil .TimeSeries., running"),
    "no spike times": (
        column_removed(UNITS, "spike_times", "spike_times_index"),
        "units have no spike_times; they have: label",
    ),
    "spike times without an index": (without("units/spike_times_index"), "no lists of times|spike_times"),
    "no rows of units": (emptied(UNITS), "the table of units has no rows"),
    "times that are not numbers": (replaced("units/spike_times", ["a"] * 9), "spike_times hold .*times in s"),
    "times of two axes": (replaced("units/spike_times", np.ones((9, 2))), "spike_times hold float64 of 2 axes"),
    "a spike at NaN": (replaced("units/spike_times", [np.nan] + [1.0] * 8), "unit 0 are not all finite"),
    "a spike at infinity": (replaced("units/spike_times", [1.0] * 8 + [np.inf]), "unit 2 are not all finite"),
    "no spike at all": (
        lambda file: [
            replaced("units/spike_times", np.zeros(0))(file),
            replaced("units/spike_times_index", [0, 0, 0])(file),
        ],
        "3 units and not one spike",
    ),
    "an index that decreases": (replaced("units/spike_times_index", [5, 3, 9]), "column 'spike_times' .* decreases"),
    "an index that is too long": (replaced("units/spike_times_index", [5, 5, 12]), "ends at 12, the column at 9"),
    "an index that is too short": (replaced("units/spike_times_index", [5, 5, 7]), "ends at 7, the column at 9"),
    "an index of fewer units": (
        replaced("units/spike_times_index", [5, 9]),
        "units is malformed .ValueError: Columns must be the same length",
    ),
    "an index of fractions": (replaced("units/spike_times_index", [5.0, 5.0, 9.0]), "entries of float64 for 3 rows"),
    "names of fewer units": (
        replaced("units/label", ["a", "b"]),
        "units is malformed .ValueError: Columns must be the same",
    ),
    "two units of one id": (replaced("units/id", [7, 7, 8]), "2 units are named '7'"),
    "intervals of one axis": (replaced("units/obs_intervals", np.zeros(3)), r"obs_intervals have the shape \(3,\)"),
    "intervals that stop first": (
        replaced("units/obs_intervals", [[9.0, 0.0]] * 3),
        "obs_intervals have a start and a stop after it",
    ),
    "intervals of NaN": (replaced("units/obs_intervals", [[0.0, np.nan]] * 3), "obs_intervals have a start and a stop"),
    "intervals too many": (replaced("units/obs_intervals", np.ones((4, 2))), "ends at 3, the column at 4"),
    "observed at another time": (replaced("units/obs_intervals", [[90.0, 99.0]] * 3), "no unit was observed"),
    "electrodes that are not there": (replaced("units/electrodes", [0, 1, 0, 5]), "not among the 2 rows of electrodes"),
    "electrodes below 0": (replaced("units/electrodes", [0, 1, 0, -1]), "not among the 2 rows of electrodes"),
    "electrodes too few": (replaced("units/electrodes_index", [1, 2, 3]), "'electrodes' .* ends at 3, the column at 4"),
    "no table of electrodes": (without("general/extracellular_ephys/electrodes"), "cannot be read as NWB|electrodes"),
    "no table of presentations": (without(TABLE), r"holds no interval table \(trials, presentations\)"),
    "no rows of presentations": (emptied(TABLE), "the table trials has no rows"),
    "no column of stimuli": (
        column_removed(TABLE, "stimulus_id"),
        r"no column of trials says the stimulus; .*\?stimulus=COLUMN: start_time, stop_time, go_cue",
    ),
    "two columns of stimuli": (
        lambda file: [
            file.copy(f"{TABLE}/stimulus_id", f"{TABLE}/image_name"),
            attribute(TABLE, "colnames", [*file[TABLE].attrs["colnames"], "image_name"])(file),
        ],
        "2 columns of trials may say the stimulus; .*: stimulus_id, image_name",
    ),
    "stimuli too few": (replaced(f"{TABLE}/stimulus_id", ["a", "b"]), "intervals/trials is malformed .*same length"),
    "onsets too many": (replaced(f"{TABLE}/start_time", np.ones(7)), "intervals/trials is malformed .*same length"),
    "onsets that are text": (replaced(f"{TABLE}/start_time", ["a"] * 4), "onsets are times in s"),
    "onsets of NaN": (replaced(f"{TABLE}/start_time", [np.nan] * 4), "no row of trials has both start_time"),
    "an onset at infinity": (replaced(f"{TABLE}/start_time", [1.0, np.inf, 2.0, 3.0]), "holds infinite times"),
    "onsets in ms": (replaced(f"{TABLE}/start_time", [1e3, 2e3, 3e3, 4e3]), "none meets; times are in s on one clock"),
    "onsets of another clock": (
        replaced(f"{TABLE}/start_time", 1.6e9 + np.arange(4.0)),
        r"the recording lies between 0 and 10 s, the windows about start_time of trials between 1.6e\+09",
    ),
    "stimuli that are empty": (replaced(f"{TABLE}/stimulus_id", ["", " ", "", ""]), "no row .* both start_time and"),
    "invalid times that stop first": (replaced("intervals/invalid_times/stop_time", [1.0]), "invalid_times have a"),
    "invalid times of NaN": (replaced("intervals/invalid_times/start_time", [np.nan]), "invalid_times have a start"),
    "invalid throughout": (
        lambda file: [
            replaced("intervals/invalid_times/start_time", [-1.0])(file),
            replaced("intervals/invalid_times/stop_time", [99.0])(file),
        ],
        "no unit was observed",
    ),
    "spikes in another file": (external, "/units/spike_times keeps its bytes in another file"),
    "spikes by an external link": (
        linked("units/spike_times", h5py.ExternalLink("other.nwb", "/units/spike_times")),
        r"/units/spike_times is a link to elsewhere \(ExternalLink\)",
    ),
    "a signal by an external link": (
        linked("acquisition/raw", h5py.ExternalLink("raw.nwb", "/acquisition/raw")),
        r"/acquisition/raw is a link to elsewhere \(ExternalLink\)",
    ),
    "a link to nothing": (
        linked("acquisition/raw", h5py.SoftLink("/acquisition/absent")),
        "/acquisition/raw is a soft link to nothing",
    ),
    "a link that goes round": (linked("acquisition/up", h5py.SoftLink("/")), "a group that holds itself"),
    "a group within itself": (itself, "a group that holds itself"),
    "virtual spikes": (virtual, "/units/spike_times is a virtual dataset"),
    "800 MB of fill values": (bomb, "units/spike_times claims 800000000 bytes from 0 bytes on disk, more than 200:1"),
    "NWB 1": (attribute("/", "nwb_version", "NWB-1.0.6"), "is NWB of version '1.0.6'"),
    "no version": (attribute("/", "nwb_version", None), "is HDF5 but no NWB file"),
    "a version that is none": (attribute("/", "nwb_version", "new"), "is NWB of version 'new'"),
    "a version that is a number": (attribute("/", "nwb_version", np.zeros(3)), "is NWB of version"),
    "a type that is unknown": (attribute("units", "neurodata_type", "Cells"), "cannot be read as NWB.* 'Cells'"),
    "a namespace that is unknown": (attribute("units", "namespace", "ndx-secret"), "cannot be read as NWB.*ndx-secret"),
    "no identifier": (
        without("identifier"),
        "cannot be read as NWB: root is malformed .*missing argument 'identifier'",
    ),
    "columns that are not there": (
        attribute(TABLE, "colnames", ["start_time", "absent"]),
        "intervals/trials is malformed .*'absent'",
    ),
}


def _one_line(path: Path, options: str, words: str) -> None:
    with pytest.raises(NetphysError) as raised:
        load_neural(f"{path}{options}")
    text = str(raised.value)
    assert "\n" not in text and str(path) in text and len(text) < 600
    assert re.search(words, text), text


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_files(good: Path, name):
    spoil, words = SPOILT[name]
    with h5py.File(good, "r+") as file:
        spoil(file)
    _one_line(good, "?window=70,170", words)
    try:  # headers are one line, too, or an answer
        nwb_contents(good)
    except NetphysError as error:
        assert "\n" not in str(error) and str(good) in str(error)


def test_the_unspoilt_file_loads(good: Path):
    found = load_neural(f"{good}?window=70,170").assembly
    assert found.values.tolist() == COUNTS
    assert found["region"].values.tolist() == ["V1", "V4", "V1+V4"]


ASKED = {
    "no window": ("", r"holds spike times; say when they count, in ms from start_time: \?window=70,170"),
    "a unit and no window": ("?unit=rate", "say when they count"),
    "both": ("?window=0,1&bins=0:10:1", r"says window= \(one value\) and bins= \(several\)"),
    "a window that ends first": ("?window=170,70", "START before STOP"),
    "bins that do not fit": ("?bins=0:100:30", "whole number of WIDTHs"),
    "no such table": ("?window=0,1&trials=trails", "has no interval table 'trails'; near: 'trials'"),
    "no such onset": ("?window=0,1&align=go_que", r"'go_que' of trials is not there; \?align=COLUMN; near: 'go_cue'"),
    "a ragged onset": ("?window=0,1&align=touches", "'touches' of trials holds no single values"),
    "an onset that is text": ("?window=0,1&align=stimulus_id", "'stimulus_id' of trials holds .*; onsets are times"),
    "no such stimulus": ("?window=0,1&stimulus=image", r"'image' of trials is not there; \?stimulus=COLUMN"),
    "ragged stimuli": ("?window=0,1&stimulus=touches", "'touches' of trials holds no single values"),
    "no such name": ("?window=0,1&neuroid=lable", "no column 'lable' of one value each; near: 'label'"),
    "ragged names": ("?window=0,1&neuroid=electrodes", "no column 'electrodes' of one value each"),
    "no such region": ("?window=0,1&region=V5", "no neuroids of region 'V5'"),
    "no such animal": ("?window=0,1&subject=m2", "no neuroids of animal 'm2'"),
    "no such session": ("?window=0,1&session=s2", "no neuroids of session 's2'"),
    "an unknown option": ("?window=0,1&variable=units", "variable"),
    "a window of another unit": ("?window=70000,170000", "none meets; .*windows in ms"),
}


@pytest.mark.parametrize("name", ASKED)
def test_questions_that_the_file_cannot_answer(good: Path, name):
    _one_line(good, *ASKED[name])


@pytest.mark.parametrize("cut", [0, 7, 100, 2000, 0.5, 0.99])
def test_truncated(good: Path, cut):
    whole = good.read_bytes()
    good.write_bytes(whole[: cut if isinstance(cut, int) else int(cut * len(whole))])
    _one_line(good, "?window=70,170", "is empty|no HDF5 signature|cannot be read as")


@pytest.mark.parametrize("bytes_", [b"\x89PNG\r\n\x1a\n" + bytes(99), b"PK\x03\x04" + bytes(99), b"not a file of data"])
def test_files_of_another_kind(tmp_path: Path, bytes_):
    (tmp_path / "a.nwb").write_bytes(bytes_)
    _one_line(tmp_path / "a.nwb", "?window=70,170", "is no NWB file .no HDF5 signature")


def test_other_names_and_lists_that_contradict(good: Path, tmp_path: Path):
    with pytest.raises(NetphysError, match=r"there is no file .*absent\.nwb"):
        load_neural(f"{tmp_path / 'absent.nwb'}?window=0,1")
    with pytest.raises(NetphysError, match="carries its own stimulus ids"):
        load_neural(f"{good}?window=0,1000", ids=["x", "y", "z"])
    assert load_neural(f"{good}?window=0,1000", ids=["b", "a", "c"]).stimulus_ids == ("b", "a", "c")
    (tmp_path / "zarr.nwb").mkdir()
    with pytest.raises(NetphysError, match="is NWB in Zarr, which is not read"):
        nwb_contents(tmp_path / "zarr.nwb")


@pytest.mark.slow  # 120 damages of which pynwb reads many: 15 s
@pytest.mark.parametrize("cached", [False, True])
def test_damage_ends_in_one_line(tmp_path: Path, cached):
    path = write_nwb(tmp_path / "a.nwb", cache_spec=cached, **MADE)
    whole, draws, refused = path.read_bytes(), np.random.default_rng(int(cached)), 0
    for at in range(60):
        bad = bytearray(whole)
        if at < 15:
            del bad[int(draws.integers(1, len(whole))) :]
        else:
            for _ in range(1 if at < 35 else 30):
                bad[int(draws.integers(len(bad)))] = int(draws.integers(256))
        path.write_bytes(bytes(bad))
        for call in (lambda: load_neural(f"{path}?window=70,170"), lambda: nwb_contents(path)):
            try:
                call()
            except NetphysError as error:
                assert "\n" not in str(error)
                refused += 1
    assert refused > 30  # control: the damage was seen
