"""Archives of strangers: unpacked whole into their own folder, or one line and nothing written anywhere."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from netphys.errors import NetphysError
from netphys.neural.catalogue import fetch, is_fetched, unpacking
from netphys.neural.catalogue.unpacking import unpack


def packed(path: Path, members: dict[str, bytes], **options) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return path


def refused(tmp_path: Path, archive: Path, **options) -> str:
    """Unpack in vain: one line, nothing beside the archive, nothing above."""
    before = sorted(str(each) for each in tmp_path.parent.rglob("*"))
    with pytest.raises(NetphysError) as raised:
        unpack(archive, archive.with_name("out"), **options)
    line = str(raised.value)
    assert "\n" not in line and archive.name in line
    assert sorted(str(each) for each in tmp_path.parent.rglob("*")) == before
    return line


def test_data_and_images_are_unpacked_programs_are_left(tmp_path):
    members = {"a/b.mat": b"1" * 10, "c.CSV": b"x,y", "run.py": b"import os", "__MACOSX/a.mat": b"0", ".DS_Store": b"0"}
    archive = packed(tmp_path / "set.zip", members)
    counted = unpack(archive, tmp_path / "out")
    written = sorted(str(each.relative_to(tmp_path / "out")) for each in (tmp_path / "out").rglob("*"))
    assert written == ["a", "a/b.mat", "c.CSV"]
    assert (tmp_path / "out" / "a" / "b.mat").read_bytes() == b"1" * 10
    assert counted == {"files": 2, "bytes": 13, "left_out": 1}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "set.zip"]


def link(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("a.mat")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    return path


def doubled(path: Path) -> Path:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.mat", b"1")
        archive.writestr("a.mat", b"2")
    return path


def flagged(path: Path) -> Path:
    """Say that the member is encrypted, in both places."""
    body = bytearray(packed(path, {"a.mat": b"1"}).read_bytes())
    body[6] |= 1
    body[body.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(body)
    return path


def overlapping(path: Path) -> Path:
    """Let the second entry of the list lead to the first member."""
    body = bytearray(packed(path, {"a.mat": b"1" * 50, "b.mat": b"1" * 50}).read_bytes())
    second = body.rfind(b"PK\x01\x02")
    struct.pack_into("<L", body, second + 42, 0)
    path.write_bytes(body)
    return path


def damaged(path: Path) -> Path:
    body = bytearray(packed(path, {"a.mat": b"1" * 50}).read_bytes())
    body[40] ^= 0xFF
    path.write_bytes(body)
    return path


def truncated(path: Path) -> Path:
    path.write_bytes(packed(path, {"a.mat": b"1" * 500}).read_bytes()[:-30])
    return path


def no_zip(path: Path) -> Path:
    path.write_bytes(b"<html>not a zip</html>")
    return path


def bomb(path: Path) -> Path:
    return packed(path, {"a.mat": bytes(50_000_000)}, compression=zipfile.ZIP_DEFLATED)


ARCHIVES = {
    "a file above": (lambda path: packed(path, {"../a.mat": b"1"}), "a file that leaves it, '../a.mat'"),
    "a file above, deep": (lambda path: packed(path, {"x/../../a.mat": b"1"}), "a file that leaves it"),
    "an absolute name": (lambda path: packed(path, {"/tmp/a.mat": b"1"}), "a file that leaves it"),
    "a backslash": (lambda path: packed(path, {"..\\a.mat": b"1"}), "a file that leaves it"),
    "a drive": (lambda path: packed(path, {"C:/a.mat": b"1"}), "a name that is none"),
    "a link": (link, "a link, 'a.mat'"),
    "two of a name": (doubled, "two files of the name"),
    "two names that are one elsewhere": (lambda path: packed(path, {"a.mat": b"1", "A.mat": b"2"}), "two files"),
    "an encrypted file": (flagged, "an encrypted file"),
    "members over each other": (overlapping, "lies over what comes after it"),
    "a damaged member": (damaged, "cannot be read as a zip"),
    "a truncated archive": (truncated, "cannot be read as a zip"),
    "no zip": (no_zip, "cannot be read as a zip"),
    "a bomb": (bomb, "more than 200:1"),
    "no data": (lambda path: packed(path, {"run.py": b"1"}), "holds no data file"),
    "nothing": (lambda path: packed(path, {}), "holds no data file"),
    "a file and a folder of one name": (lambda path: packed(path, {"a.mat": b"1", "a.mat/b.mat": b"1"}), "in the way"),
}


@pytest.mark.parametrize("attack", ARCHIVES)
def test_an_archive_that_no_honest_source_has(tmp_path, attack, monkeypatch):
    make, words = ARCHIVES[attack]
    folder = tmp_path / "inner"
    folder.mkdir()
    archive = make(folder / "set.zip")
    before = sorted(str(each) for each in tmp_path.rglob("*"))
    with pytest.raises(NetphysError) as raised:
        unpack(archive, folder / "out")
    assert words in str(raised.value) and "\n" not in str(raised.value)
    assert sorted(str(each) for each in tmp_path.rglob("*")) == before


def test_more_than_the_budget_and_more_than_the_members(tmp_path, monkeypatch):
    archive = packed(tmp_path / "set.zip", {"a.mat": b"1" * 3000, "b.mat": b"1"})
    assert "may take" in refused(tmp_path, archive, budget=3000)
    monkeypatch.setattr(unpacking, "_MEMBERS", 1)
    assert "lists 2 files" in refused(tmp_path, archive)


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path):
    archive = packed(tmp_path / "set.zip", {"a.mat": b"1"})
    (tmp_path / "out").mkdir()
    with pytest.raises(NetphysError, match="is there already"):
        unpack(archive, tmp_path / "out")


def zipped(members: dict[str, bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return body.getvalue()


def test_a_fetched_archive_is_unpacked_again_where_its_folder_is_gone(server, catalogue, tmp_path):
    server.files["set.zip"] = zipped({"in/a.mat": b"1", "run.m": b"2"})
    sets = catalogue({"set.zip": "unpack = true"}, more='address = "set/in/a.mat"')
    folder = fetch("set", catalogue=sets)
    assert (folder / "set" / "in" / "a.mat").read_bytes() == b"1" and not (folder / "set" / "run.m").exists()
    (folder / "set" / "in" / "a.mat").unlink()
    (folder / "set" / "in").rmdir()
    (folder / "set").rmdir()
    assert not is_fetched(sets["set"])
    fetch("set", catalogue=sets)
    assert (folder / "set" / "in" / "a.mat").is_file() and server.asked == ["set.zip"]


def test_a_bad_archive_stays_packed_and_is_said_again(server, catalogue, tmp_path):
    server.files["set.zip"] = zipped({"../a.mat": b"1"})
    sets = catalogue({"set.zip": "unpack = true"})
    for _ in range(2):
        with pytest.raises(NetphysError, match="a file that leaves it"):
            fetch("set", catalogue=sets)
        assert not is_fetched(sets["set"])
        assert not (tmp_path / "sets" / "a.mat").exists() and not (tmp_path / "sets" / "set" / "set").exists()
    assert server.asked == ["set.zip"]
