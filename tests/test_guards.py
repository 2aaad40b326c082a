"""Soft links within an HDF5 file, where a reader allows them: to the file's own objects, and never round in a loop."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from netphys.errors import FileError
from netphys.guards import guarded_hdf5


def _written(path: Path, links: dict[str, object]) -> Path:
    with h5py.File(path, "w") as file:
        file["a/x"] = np.arange(3.0)
        file.create_group("b/c")
        for name, link in links.items():
            file[name] = link
    return path


@pytest.mark.parametrize("target", ["/a", "/a/x", "/b/c", "/b/to_x"])
def test_soft_links_to_objects_of_the_file_are_let_through(tmp_path: Path, target):
    path = _written(tmp_path / "links.h5", {"b/to_x": h5py.SoftLink("/a/x"), "b/c/link": h5py.SoftLink("/a/x")})
    with h5py.File(path, "r+") as file:
        file["more"] = h5py.SoftLink(target)
    with guarded_hdf5(path, soft_links=True) as file:
        assert file["b/to_x"][:].tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(FileError, match=r"is a link to elsewhere \(SoftLink\)"), guarded_hdf5(path):
        pass  # control: without the option none is


@pytest.mark.parametrize(
    ("links", "told"),
    [
        ({"b/x": h5py.SoftLink("/a/absent")}, r"/b/x is a soft link to nothing of the file"),
        ({"b/x": h5py.SoftLink("/b/x")}, r"/b/x is a soft link to nothing of the file"),
        ({"b/c/up": h5py.SoftLink("/b")}, r"a group that holds itself"),
        ({"b/c/up": h5py.SoftLink("/")}, r"a group that holds itself"),
        ({"a/to_b": h5py.SoftLink("/b"), "b/to_a": h5py.SoftLink("/a")}, r"a group that holds itself"),
        ({"b/x": h5py.ExternalLink("other.h5", "/x")}, r"/b/x is a link to elsewhere \(ExternalLink\)"),
        (
            {"b/out": h5py.ExternalLink("other.h5", "/"), "b/x": h5py.SoftLink("/b/out/x")},
            r"/b/out is a link to elsewhere \(ExternalLink\)",
        ),
    ],
)
def test_soft_links_that_lead_nowhere_round_or_out(tmp_path: Path, links, told):
    _written(tmp_path / "other.h5", {"x": np.arange(3.0)})
    path = _written(tmp_path / "links.h5", links)
    with pytest.raises(FileError, match=told) as raised, guarded_hdf5(path, soft_links=True):
        pass
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_a_group_with_two_names_is_no_loop_and_one_within_itself_is(tmp_path: Path):
    path = _written(tmp_path / "names.h5", {})
    with h5py.File(path, "r+") as file:
        file["again"] = file["b"]
        file["a/again"] = file["b/c"]
    with guarded_hdf5(path, soft_links=True) as file:
        assert "again/c" in file
    with h5py.File(path, "r+") as file:
        file["b/c/up"] = file["b"]
    with pytest.raises(FileError, match="a group that holds itself"), guarded_hdf5(path, soft_links=True):
        pass


def test_a_single_value_is_held_to_the_limits_where_whole_files_are_not(tmp_path: Path):
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file.create_dataset("raw", (10**10,), "f8", chunks=(10**6,))  # never written, and never read
    with guarded_hdf5(tmp_path / "large.h5", budget=1 << 60, ratio=1 << 60) as file:
        assert file["raw"].shape == (10**10,)
    with h5py.File(tmp_path / "large.h5", "r+") as file:
        file.create_dataset("text", (), "S1000000000")
    told = "/text claims 1000000000 bytes from 0 bytes on disk, more than 200:1"
    with (
        pytest.raises(FileError, match=told),
        guarded_hdf5(tmp_path / "large.h5", budget=1 << 60, ratio=1 << 60),
    ):
        pass


def test_a_heap_of_text_without_end_is_refused_before_hdf5_walks_it(tmp_path: Path):
    path = tmp_path / "text.h5"
    with h5py.File(path, "w") as file:
        file["names"] = ["a", "bc", "def"]
    with guarded_hdf5(path) as file:
        assert file["names"][2] == b"def"
    raw = bytearray(path.read_bytes())
    here = raw.index(b"GCOL") + 16
    while int.from_bytes(raw[here : here + 2], "little"):  # the objects, then free space: index 0
        here += 16 + (int.from_bytes(raw[here + 8 : here + 16], "little") + 7) // 8 * 8
    raw[here + 8 : here + 16] = bytes(8)
    path.write_bytes(raw)
    told = "is damaged: its heap of text at byte .* has no end"
    with pytest.raises(FileError, match=told) as raised, guarded_hdf5(path):  # h5py alone does not come back
        pass
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)
