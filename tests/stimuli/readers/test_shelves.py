"""Folders and archives: links, names that leave, bombs, and what a table may say; each wrong one is one line."""

from __future__ import annotations

import io
import os
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netphys.errors import MatchError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers import shelves
from netphys.stimuli.readers.shelves import Archive, Directory, open_shelf

Write = Callable[..., Path]


def png(value: int = 7) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(path: Path, files: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def refused(path: Path, said: str) -> None:
    """See that a set of it ends in one line, at once or when it is read."""
    with pytest.raises(StimulusError, match=said) as caught:
        StimulusSet.from_folder(path).digest  # noqa: B018 - it reads all
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_a_folder_and_its_archive_are_the_same_set(image_folder: Write, tmp_path: Path) -> None:
    folder = image_folder({"face/a.png": 1, "house/b.png": 2})
    (folder / "metadata.csv").write_text("file,category\nhouse/b.png,house\nface/a.png,face\n")
    for top in ("", "set/"):  # an archive's only folder is left out
        files = {f"{top}{each}": (folder / each).read_bytes() for each in ("face/a.png", "house/b.png", "metadata.csv")}
        path = zipped(tmp_path / "set.zip", files, method=zipfile.ZIP_DEFLATED)
        assert StimulusSet.from_folder(path).digest == StimulusSet.from_folder(folder).digest
        shelf = Archive(path)
        assert shelf.files() == sorted(["face/a.png", "house/b.png", "metadata.csv"])
        assert shelf.has(f"{top}face/a.png") and shelf.size("face/a.png") == (folder / "face/a.png").stat().st_size
        again = pickle.loads(pickle.dumps(shelf))
        assert again.open("face/a.png").read() == (folder / "face/a.png").read_bytes()


# Folders


def test_links_of_a_folder_are_followed_each_folder_once(image_folder: Write, tmp_path: Path) -> None:
    away = image_folder({"a.png": 1, "b.png": 2}, name="away")
    here = tmp_path / "here"
    (here / "real").mkdir(parents=True)
    (here / "one.png").symlink_to(away / "a.png")
    (here / "class").symlink_to(away)
    (here / "real" / "loop").symlink_to(here)
    (here / "gone.png").symlink_to(tmp_path / "nothing.png")
    shelf = Directory(here)
    assert shelf.files() == ["class/a.png", "class/b.png", "one.png"]
    shown = StimulusSet.from_folder(here)
    assert shown.ids == ("class/a.png", "class/b.png", "one.png")
    images = shown.images([0, 1, 2]).numpy()
    assert np.array_equal(images[0], images[2]) and not np.array_equal(images[0], images[1])


def test_a_link_to_what_is_no_image_is_named_and_none_of_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / "passwd.png").symlink_to("/etc/passwd")
    with pytest.raises(StimulusError, match="image passwd.png is broken: not an image that can be read") as caught:
        StimulusSet.from_folder(tmp_path).images([0])
    assert "root" not in str(caught.value)


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for ever
    (tmp_path / "zeros.png").symlink_to("/dev/zero")
    (tmp_path / "a.png").write_bytes(png())
    assert Directory(tmp_path).files() == ["a.png"] and not Directory(tmp_path).has("pipe.png")
    (tmp_path / "metadata.csv").write_text("file\npipe.png\n")
    refused(tmp_path, "names 1 file.* that are not there, first 'pipe.png'")


def test_names_no_file_can_have_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    shelf = Directory(tmp_path)
    assert shelf.has("a.png")
    for name in ("a" * 5000, "../a.png", str(tmp_path / "a.png"), "a\0.png", "b/../a.png", ""):
        assert not shelf.has(name)


def test_a_name_that_is_not_utf8_is_said(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xe4r.png")).write_bytes(png())
    with pytest.raises(StimulusError, match=r"holds a file whose name is not UTF-8, b'b\\xe4r.png'"):
        StimulusSet.from_folder(tmp_path)


def test_a_file_that_goes_away_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    shown = StimulusSet.from_folder(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(StimulusError, match="a.png cannot be opened"):
        shown.images([0])


# Archives


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../a.png", r"holds a file that leaves it, '../a.png'; it is no honest archive"),
        ("b/../../a.png", "holds a file that leaves it"),
        ("/etc/a.png", "holds a file that leaves it, '/etc/a.png'"),
        ("..\\a.png", "holds a file that leaves it"),
        ("C:\\a.png", "holds a file that leaves it"),
    ],
)
def test_names_that_leave_an_archive(tmp_path: Path, name: str, said: str) -> None:
    path = zipped(tmp_path / "set.zip", {"good.png": png(), name: png()})
    refused(path, said)
    assert [each.name for each in tmp_path.iterdir()] == ["set.zip"]


def test_two_members_of_one_name_and_members_that_are_links(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.png", png(1))
        archive.writestr("a.png", png(2))
    refused(tmp_path / "twice.zip", "holds two files of the name 'a.png'")
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(tmp_path / "link.zip", "holds a link, 'link.png'; it is no honest archive")


def _entry(path: Path, change: Callable[[bytearray, int], None]) -> None:
    """Change the first entry of an archive's list of members."""
    data = bytearray(path.read_bytes())
    change(data, data.find(b"PK\x01\x02"))
    path.write_bytes(bytes(data))


def test_an_encrypted_member_is_said(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"a.png": png()})

    def encrypt(data: bytearray, at: int) -> None:
        data[at + 8] |= 1

    _entry(path, encrypt)
    refused(path, "a.png is encrypted; unpack the archive with its password first")


@pytest.mark.parametrize(
    ("offset", "value"),
    [(20, 5), (20, 1 << 30), (24, 10), (24, 1 << 24), (24, 0xFFFFFFF0), (42, 3), (42, 1 << 30), (16, 0), (10, 12)],
)
def test_what_the_list_of_members_claims_is_checked(tmp_path: Path, offset: int, value: int) -> None:
    """Packed size, size, place, checksum, and method of compression."""
    path = zipped(tmp_path / "set.zip", {"a.png": png()}, method=zipfile.ZIP_DEFLATED)
    assert len(StimulusSet.from_folder(path)) == 1  # control

    def lie(data: bytearray, at: int) -> None:
        struct.pack_into("<H" if offset == 10 else "<L", data, at + offset, value)

    _entry(path, lie)
    refused(path, "cannot be unpacked|claims|it is damaged|is not as long")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"a.png": bytes(40 << 20), "b.png": png()}, method=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    refused(path, "a.png claims 41943040 bytes from .*; no honest file does, it is not unpacked")
    kept = StimulusSet.from_folder(path, skip_broken=True)
    assert kept.ids == ("b.png",) and kept.left_out == ("a.png",)


def test_members_that_lie_over_each_other(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {f"{k}.png": png(k) for k in range(3)})
    data = bytearray(path.read_bytes())
    for _ in range(2):  # every entry names the first one's place
        at = data.rfind(b"PK\x01\x02")
        struct.pack_into("<L", data, at + 42, 0)
        data[at : at + 4] = b"PKxx"
    path.write_bytes(bytes(data).replace(b"PKxx", b"PK\x01\x02"))
    refused(path, "lies over what comes after it; it is damaged, or no honest archive")


def test_archives_in_archives_are_not_opened(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"a.png": png()}).read_bytes()
    path = zipped(tmp_path / "outer.zip", {"inner.zip": inner})
    with pytest.raises(StimulusError, match="holds no image"):
        StimulusSet.from_folder(path)


def test_zip64_is_read(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive, archive.open("a.png", "w", force_zip64=True) as member:
        member.write(png())
    assert StimulusSet.from_folder(path).ids == ("a.png",)


def test_more_members_than_fit_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "set.zip", {f"{k}.png": b"" for k in range(30)})
    assert len(Archive(path).files()) == 30
    monkeypatch.setattr(shelves, "_MOST_MEMBERS", 20)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # it is not asked
    with pytest.raises(StimulusError, match=r"lists \d+ files, more than 20; it is not read"):
        Archive(path)
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x05\x06")
    struct.pack_into("<HH", data, at + 8, 1, 1)  # a lie: the list has room for them all
    monkeypatch.setattr(shelves, "_MOST_MEMBERS", 10)
    path.write_bytes(bytes(data))
    with pytest.raises(StimulusError, match="more than 10; it is not read"):
        Archive(path)


@pytest.mark.parametrize("keep", [0, 1, 30, -1, -30])
def test_a_truncated_archive_is_one_line(tmp_path: Path, keep: int) -> None:
    path = zipped(tmp_path / "set.zip", {"a.png": png(), "b.png": png(9)})
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "cannot be unpacked: it is damaged or no zip")


def test_a_file_that_is_neither_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(StimulusError, match="is a file and no zip archive; name the folder that holds the images"):
        open_shelf(tmp_path / "a.tar")


# The table of a folder


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"file" + b",a" * 10_000_000 + b"\nd.png\n", "has more than 10000 columns"),
        (b"file,a\nd.png,x\0y\n", "it holds NUL bytes"),
        (b"file,a\nd.png,B\xe4r\n", "is not a CSV table in UTF-8"),
        ("file,a\nd.png,x\n".encode("utf-16"), "is not a CSV table in UTF-8"),
        (b"file,file\nd.png,d.png\n", "has two columns of the name 'file'"),
        (b"file,a\nd.png,x,y,z\n", "is not a CSV table in UTF-8: .*Expected 2 fields in line 2, saw 4"),
        (b'file,a\nd.png,"x\n', "is not a CSV table in UTF-8"),
    ],
    ids=["columns", "nul", "latin-1", "utf-16", "two columns", "longer rows", "open quote"],
)
def test_tables_that_are_none(tmp_path: Path, table: bytes, said: str) -> None:
    (tmp_path / "d.png").write_bytes(png())
    (tmp_path / "metadata.csv").write_bytes(table)
    with pytest.raises(StimulusError, match=said) as caught:
        StimulusSet.from_folder(tmp_path)
    assert "\n" not in str(caught.value) and "metadata.csv" in str(caught.value) and len(str(caught.value)) < 500


def test_formulas_are_text_and_ids_are_unique(tmp_path: Path) -> None:
    for name in ("=1+1.png", "d.png"):
        (tmp_path / name).write_bytes(png())
    cells = ["=cmd|' /C calc'!A0", "@SUM(1+9)"]
    (tmp_path / "metadata.csv").write_text(f"file,said\n=1+1.png,{cells[0]}\nd.png,{cells[1]}\n")
    shown = StimulusSet.from_folder(tmp_path)
    assert shown.ids == ("=1+1.png", "d.png") and shown.metadata["said"].tolist() == cells
    (tmp_path / "metadata.csv").write_text("file,stimulus_id\n=1+1.png,a\nd.png,a\n")
    with pytest.raises(MatchError, match="occur more than once: 'a'"):
        StimulusSet.from_folder(tmp_path)
    (tmp_path / "metadata.csv").write_bytes(b"file,a\rd.png," + b"x" * 9 + b"\r")  # lines as old Macs end them
    assert StimulusSet.from_folder(tmp_path).ids == ("d.png",)


def test_the_only_category_of_a_zip_stays_a_category(tmp_path: Path) -> None:
    import zipfile

    from netphys.stimuli import StimulusSet

    picture = tmp_path / "x.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(picture)
    for archive, top in (("mine.zip", "faces/"), ("faces.zip", "faces/"), ("other.zip", "set/")):
        with zipfile.ZipFile(tmp_path / archive, "w") as packed:
            packed.write(picture, f"{top}a.png")
            if top == "set/":
                packed.writestr(f"{top}metadata.csv", "file\na.png\n")
    ids = {each: StimulusSet.from_folder(tmp_path / each).ids for each in ("mine.zip", "faces.zip", "other.zip")}
    assert ids == {"mine.zip": ("faces/a.png",), "faces.zip": ("a.png",), "other.zip": ("a.png",)}
    assert StimulusSet.from_folder(tmp_path / "mine.zip").metadata["category"].tolist() == ["faces"]
