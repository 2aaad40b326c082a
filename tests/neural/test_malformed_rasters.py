"""Rasters that are damaged, mismatched or asked for wrongly: each one clear line that names the file."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from netphys.errors import NetphysError
from netphys.neural import load_neural

Neuron = dict[str, Any]


def _cell(texts: list[Any]) -> np.ndarray:
    """A row of MATLAB's cells."""
    out = np.empty((1, len(texts)), dtype=object)
    for at, each in enumerate(texts):
        out[0, at] = each
    return out


def _neuron() -> Neuron:
    """A raster of 4 presentations and 20 ms whose onset is 0 ms in column 6."""
    return {
        "raster_data": np.arange(80).reshape(4, 20).astype(np.uint8) % 3,
        "raster_labels": {"object": _cell(["car", "face", "car", "face"]), "place": _cell(["a", "b", "b", "a"])},
        "raster_site_info": {"session_ID": 7.0, "alignment_event_time": 6.0},
    }


def _save(folder: Path, name: str, neuron: Neuron) -> None:
    savemat(folder / f"{name}_raster_data.mat", neuron)


def _with(*path: str, value: Any) -> Callable[[Path], None]:
    """Spoil the second neuron: one value of its file is another, or (None) is not there."""

    def spoil(folder: Path) -> None:
        neuron = _neuron()
        held: Any = neuron
        for step in path[:-1]:
            held = held[step]
        if value is None:
            del held[path[-1]]
        else:
            held[path[-1]] = value
        _save(folder, "n2", neuron)

    return spoil


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Spoil the bytes of the second file."""

    def spoil(folder: Path) -> None:
        file = folder / "n2_raster_data.mat"
        file.write_bytes(change(file.read_bytes()))

    return spoil


def _npz(**arrays: Any) -> Callable[[Path], None]:
    """Put a .npz file beside."""
    return lambda folder: np.savez(folder / "n3.npz", **arrays)


def _floats(value: float) -> np.ndarray:
    values = _neuron()["raster_data"].astype(float)
    values[1, 3] = value
    return values


def _both_kinds(folder: Path) -> None:
    flat = {f"raster_labels.{key}": np.array(cell[0].tolist()) for key, cell in _neuron()["raster_labels"].items()}
    np.savez(
        folder / "n2_raster_data.npz",
        raster_data=_neuron()["raster_data"],
        **flat,
        **{"raster_site_info.alignment_event_time": 6},
    )


def _only(name: str, data: bytes) -> Callable[[Path], None]:
    """Leave one file in the folder."""

    def spoil(folder: Path) -> None:
        for each in folder.iterdir():
            each.unlink()
        if name:
            (folder / name).write_bytes(data)

    return spoil


def _mat(**variables: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, variables)
    return file.getvalue()


LABELS, SITE = "raster_labels", "raster_site_info"
CASES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "no raster": (
        _with("raster_data", value=None),
        "",
        r"n2_raster_data\.mat has no variable 'raster_data'; near",
    ),
    "no labels": (
        _with(LABELS, value=None),
        "",
        r"n2_raster.* has no variable 'raster_labels'; near: 'raster_data'",
    ),
    "no site": (_with(SITE, value=None), "", r"n2_raster.* has no variable 'raster_site_info'"),
    "a raster of text": (_with("raster_data", value="spikes"), "", r"n2_raster.*raster_data is text"),
    "a raster of cells": (_with("raster_data", value=_cell([1, 2])), "", r"n2_raster.*raster_data is a cell or struct"),
    "a raster of three axes": (_with("raster_data", value=np.zeros((4, 5, 4))), "", r"n2_raster.*shape \(4, 5, 4\)"),
    "an empty raster": (_with("raster_data", value=np.zeros((4, 0))), "", r"n2_raster.*shape \(4, 0\)"),
    "a complex raster": (_with("raster_data", value=np.ones((4, 20)) * 1j), "", r"n2_raster.*complex numbers"),
    "infinity": (_with("raster_data", value=_floats(np.inf)), "", r"n2_raster.*raster_data holds infinity"),
    "a raster turned around": (
        _with("raster_data", value=_neuron()["raster_data"].T),
        "",
        r"n2_raster.*raster_labels\.object has 4 texts for 20 presentations.*turned around",
    ),
    "fewer labels": (_with(LABELS, "object", value=_cell(["car"] * 3)), "", r"n2_raster.*has 3 texts for 4 present"),
    "a label that is a list": (
        _with(LABELS, "object", value=_cell(["car", np.array([1.0, 2.0]), "car", "face"])),
        "",
        r"n2_raster.*raster_labels\.object:.*element 2 is not one text",
    ),
    "a label that is NaN": (
        _with(LABELS, "object", value=np.array([[1.0, np.nan, 2.0, 2.0]])),
        "",
        r"n2_raster.*raster_labels\.object:.*NaN names nothing",
    ),
    "a label that is a struct": (
        _with(LABELS, "object", value={"name": "car"}),
        "",
        r"n2_raster.*raster_labels\.object:.*a struct is neither text nor numbers",
    ),
    "a stimulus without a name": (
        _with(LABELS, "object", value=_cell(["car", "", "car", "face"])),
        "",
        r"n2_raster.*presentation 2 has no raster_labels\.object",
    ),
    "labels that are no struct": (_with(LABELS, value=_cell(["car"] * 4)), "", r"n2_raster.*raster_labels is not one"),
    "labels without fields": (_with(LABELS, value=np.zeros((0, 0))), "", r"n2_raster.*raster_labels has no fields"),
    "the label is not in one file": (
        _with(LABELS, value={"objects": _cell(["car"] * 4)}),
        "",
        r"n2_raster.*raster_labels has no 'object'; near: 'objects'",
    ),
    "several labels": (lambda folder: None, "window=0,5", r"n1_raster.*object \(2 values\), place \(2 values\)"),
    "a label nobody has": (lambda folder: None, "stimulus=objekt", r"n1_raster.*no 'objekt'; near: 'object'"),
    "no onset": (
        _with(SITE, value={"unit": "A", "onset_ms": 500.0}),
        "",
        r"n2_raster.*no 'alignment_event_time'.* say align=COLUMN.*there are: 'onset_ms'",
    ),
    "several onsets": (
        _with(SITE, "alignment_event_time", value=np.array([6.0, 7.0])),
        "",
        r"n2_raster.*alignment_event_time is not one number",
    ),
    "an onset in words": (_with(SITE, "alignment_event_time", value="cue"), "", r"n2_raster.*is 'cue'; onset is the"),
    "half an onset": (_with(SITE, "alignment_event_time", value=6.5), "", r"n2_raster.*is 6\.5; onset is the whole"),
    "an onset of NaN": (
        _with(SITE, "alignment_event_time", value=np.nan),
        "",
        r"n2_raster.*is nan; onset is the whole",
    ),
    "aligned to what is not there": (lambda folder: None, "stimulus=object&align=cue", r"n1_raster.*has no 'cue'"),
    "aligned to half a column": (lambda folder: None, "stimulus=object&align=5.5", r"n1_raster.*align is 5\.5"),
    "a site that is no struct": (_with(SITE, value=6.0), "", r"n2_raster.*raster_site_info is not one struct"),
    "other times": (
        _with(SITE, "alignment_event_time", value=8.0),
        "stimulus=object",
        r"n2_raster.*from -7 to 13 ms from onset, .*n1_raster.*from -5 to 15 ms; say window= or bins=",
    ),
    "a window too late": (lambda folder: None, "stimulus=object&window=5,16", r"n1_raster.*5 to 16 ms is not within"),
    "bins too early": (lambda folder: None, "stimulus=object&bins=-6:14:5", r"n1_raster.*-6 to 14 ms is not within"),
    "half a ms": (lambda folder: None, "stimulus=object&window=0.5,5", r"n1_raster.*columns of 1 ms; say windows"),
    "bins of half a ms": (lambda folder: None, "stimulus=object&bins=0:5:0.5", r"n1_raster.*columns of 1 ms; say win"),
    "spikes and millivolts": (
        _with("raster_data", value=_floats(-0.7)),
        "",
        r"n2_raster.*other numbers than counts, .*n1_raster.*holds counts",
    ),
    "one neuron twice": (_both_kinds, "", r"set holds n2_raster_data twice"),
    "a region nobody has": (
        _with(SITE, "region", value="IT"),
        "stimulus=object&window=0,5&region=V9",
        r"has no neuroids of region 'V9'",
    ),
    "a file of something else beside": (
        lambda folder: savemat(folder / "info.mat", {"rasterdata": 1.0}),
        "",
        r"info\.mat has no variable 'raster_data'; near: 'rasterdata'; every \.mat",
    ),
    "a truncated file": (_bytes(lambda data: data[:400]), "", r"n2_raster.*(truncated|damaged)"),
    "an empty file": (_bytes(lambda data: b""), "", r"n2_raster.*is empty \(0 bytes\)"),
    "a text by that name": (
        _bytes(lambda data: b"spike times: 3 5 8" * 40),
        "",
        r"n2_raster.*cannot be read as a \.mat",
    ),
    "an .npz of pickles": (_npz(raster_data=np.array([{}, {}])), "", r"n3\.npz.*pickled Python objects"),
    "an .npz without labels": (_npz(raster_data=np.zeros((4, 20))), "", r"n3\.npz has no variable 'raster_labels'"),
    "an .npz that is none": (lambda folder: (folder / "n3.npz").write_bytes(b"PK\x03\x04 no"), "", r"n3\.npz.*read as"),
    "a folder without files": (_only("", b""), "", r"set is a folder; neural data are a file.*holds no \.mat or \.npz"),
    "a folder of other arrays": (
        _only("RDMs.mat", _mat(RDMs=np.zeros((6, 6)))),
        "",
        r"set is a folder; .*RDMs\.mat has no variable 'raster_data'; there are: 'RDMs'",
    ),
    "a folder with one damaged file": (_only("n1.mat", b"x" * 300), "", r"set is a folder; .*n1\.mat is unreadable"),
    "an option of another kind": (lambda folder: None, "axes=stimulus,neuroid", r"takes no option 'axes'"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two neurons that are as they should be."""
    made = tmp_path / "set"
    made.mkdir()
    for name in ("n1", "n2"):
        _save(made, name, _neuron())
    return made


@pytest.mark.parametrize("case", CASES)
def test_one_line_that_names_the_file(folder: Path, case: str):
    spoil, query, told = CASES[case]
    query = query or "stimulus=object&window=0,5"
    if "n1_raster" not in told:
        load_neural(f"{folder}?stimulus=object&window=0,5")  # control: before it is spoilt it is read
    spoil(folder)
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(f"{folder}?{query}")
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)


def test_the_unspoilt_set_is_read(folder: Path):
    assert load_neural(f"{folder}?stimulus=object&window=0,5").assembly.shape == (4, 2)


def _archive(path: Path, members: dict[str, bytes], *, links: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16 if name in links else 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def _encrypted(data: bytes) -> bytes:
    """Set the flag of encryption in both headers."""
    at, central = data.find(b"PK\x03\x04"), data.find(b"PK\x01\x02")
    out = bytearray(data)
    out[at + 6] |= 1
    out[central + 8] |= 1
    return bytes(out)


ARCHIVES: dict[str, tuple[Callable[[Path, bytes], None], str]] = {
    "no archive": (lambda path, good: path.write_bytes(b"rasters" * 100), r"damaged or no zip"),
    "truncated": (lambda path, good: path.write_bytes(_archive(path, {"n1.mat": good}).read_bytes()[:-60]), r"no zip"),
    "nothing in it": (lambda path, good: _archive(path, {}), r"no archive of rasters.*it holds no \.mat or \.npz"),
    "pictures": (lambda path, good: _archive(path, {"a.png": b"x"}), r"no archive of rasters.*no \.mat or \.npz file"),
    "no raster in it": (
        lambda path, good: _archive(path, {"a.mat": _mat(x=1.0)}),
        r"a\.mat has no variable 'raster_data'",
    ),
    "a name that leaves it": (lambda path, good: _archive(path, {"../n1.mat": good}), r"leaves it, '\.\./n1\.mat'"),
    "an absolute name": (lambda path, good: _archive(path, {"/tmp/n1.mat": good}), r"leaves it, '/tmp/n1\.mat'"),
    "a link": (lambda path, good: _archive(path, {"n1.mat": b"/etc/passwd"}, links=("n1.mat",)), r"a link, 'n1\.mat'"),
    "encrypted": (
        lambda path, good: path.write_bytes(_encrypted(_archive(path, {"n1.mat": good}).read_bytes())),
        r"n1\.mat is encrypted",
    ),
    "a bomb": (
        lambda path, good: _archive(path, {"n1.mat": good, "n2.mat": bytes(10**8)}),
        r"n2\.mat claims 100000000 b",
    ),
    "one damaged member": (lambda path, good: _archive(path, {"n1.mat": good, "n2.mat": good[:300]}), r"n2\.mat"),
    "a member whose bytes changed": (
        lambda path, good: path.write_bytes(_flipped(_archive(path, {"n1.mat": good}).read_bytes())),
        r"n1\.mat cannot be unpacked",
    ),
}


def _flipped(data: bytes) -> bytes:
    """Change a byte of the first member's data: its checksum does not hold."""
    length = struct.unpack("<H", data[26:28])[0]
    at = 30 + length + 40
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives_of_strangers(tmp_path: Path, case: str):
    spoil, told = ARCHIVES[case]
    good = _mat(**_neuron())
    path = tmp_path / "set.zip"
    assert load_neural(f"{_archive(path, {'n1.mat': good})}?stimulus=object&window=0,5").assembly.shape == (4, 1)
    path.unlink()
    spoil(path, good)
    before = set(tmp_path.parent.rglob("*"))
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(f"{path}?stimulus=object&window=0,5")
    assert "\n" not in str(raised.value) and str(path) in str(raised.value) and "member" not in str(raised.value)
    assert set(tmp_path.parent.rglob("*")) == before  # nothing was written beside it


def test_whole_rasters_that_do_not_fit_are_refused_before_memory_is_taken(folder: Path, monkeypatch):
    monkeypatch.setattr("netphys.neural.files.rasters.BUDGET", 600)
    with pytest.raises(NetphysError, match=r"set: 4 x 2 x 20 values take more than .* say window= or bins="):
        load_neural(f"{folder}?stimulus=object")
    assert load_neural(f"{folder}?stimulus=object&window=0,5").assembly.shape == (4, 2)


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_changed_bytes_load_or_are_one_line(tmp_path: Path, kind: str):
    good, rng = _mat(**_neuron()), np.random.default_rng(3)
    path = tmp_path / ("set" if kind == "folder" else "set.zip")
    file = path / "n1.mat" if kind == "folder" else path
    if kind == "folder":
        path.mkdir()
    else:
        good = _archive(path, {"n1.mat": good, "n2.mat": good}).read_bytes()
    refused = 0
    for _ in range(60):
        changed = bytearray(good)
        for at in rng.integers(len(good), size=rng.integers(1, 4)):
            changed[at] = rng.integers(256)
        file.write_bytes(bytes(changed))
        try:
            load_neural(f"{path}?stimulus=object&window=0,5")
        except NetphysError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert refused > 10  # control: most of the changes are seen
