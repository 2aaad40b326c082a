"""Where the files of a set lie: a folder, or a zip archive, read in place; nothing leaves either of them.

A folder that the user names may hold links (sets are often links to pictures that lie elsewhere): they are followed,
each folder once. What *names* files, a table or an archive, is a stranger's: its names stay below where they start, and
an archive's members that are links are refused.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from netphys.errors import StimulusError
from netphys.guards import first_line

__all__ = ["Archive", "Directory", "Shelf", "open_shelf"]

_MOST_FILES = 5_000_000
_MOST_MEMBERS = 1_500_000  # of an archive, 0.9 kB of memory each; ImageNet has 1.3 million
_MEMBER_BYTES = 1 << 31  # of one unpacked member: a long video; more is a bomb
_RATIO = 200  # unpacked bytes a packed byte; pictures and films are packed already, and text reaches 10
_WHOLE_BYTES = 1 << 24  # of a file that is read at once: its header is read in forty small steps
_FREE = 1 << 24  # bytes below which the ratio does not count
_END = b"PK\x05\x06"  # of the record at an archive's end; a comment of up to 64 kB may follow
_END_64 = b"PK\x06\x06"
_ENCRYPTED = 0x1


class Shelf(Protocol):
    """Files by their relative names."""

    name: str  # what messages and figures call it

    def files(self, *, most: int = _MOST_FILES) -> list[str]:
        """Names of all files, sorted; hidden ones left out. A StimulusError where there are more than `most`."""

    def has(self, name: str) -> bool:
        """Tell whether there is a file of that name."""

    def open(self, name: str) -> BinaryIO:
        """Open a file to read; it can be sought in."""

    def size(self, name: str) -> int:
        """Bytes of a file."""


def open_shelf(path: Path | str) -> Shelf:
    """Open a folder or a zip archive.

    Raises
    ------
    StimulusError
        If it is neither.
    """
    path = Path(path)
    if path.is_dir():
        return Directory(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        return Archive(path)
    if path.is_file():
        raise StimulusError(f"{path} is a file and no zip archive; name the folder that holds the images")
    raise StimulusError(f"no folder {path}; stimuli are a folder of images or an address like world:scenes?n=100")


class Directory:
    """A folder; links in it are followed, each folder once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.resolve().name
        self._root = os.fspath(path)

    def __str__(self) -> str:
        return str(self.path)

    def files(self, *, most: int = _MOST_FILES) -> list[str]:
        found: list[str] = []
        for folder, names in self._folders():
            found += [name if folder == "." else f"{folder}/{name}" for name in names]
            if len(found) > most:
                raise StimulusError(f"{self.path} holds more than {most} files; name the folder that is shown")
        shown = sorted(each for each in found if not _hidden(each))
        for each in shown:
            if not _is_text(each):
                raise StimulusError(f"{self.path} holds a file whose name is not UTF-8, {os.fsencode(each)!r}")
        return shown

    def lost(self) -> list[str]:
        """Names of links that lead to nothing, sorted; hidden ones left out. `files` does not name them."""
        found: list[str] = []
        for folder, _ in self._folders():
            inside = self.path if folder == "." else self.path / folder
            with os.scandir(inside) as entries:
                broken = [each.name for each in entries if each.is_symlink() and not (inside / each.name).exists()]
            found += [name if folder == "." else f"{folder}/{name}" for name in broken]
        return sorted(each for each in found if not _hidden(each))

    def has(self, name: str) -> bool:
        try:
            return _below(name) and (self.path / name).is_file()
        except (OSError, ValueError):  # a name that no file can have
            return False

    def open(self, name: str) -> BinaryIO:
        try:
            file = io.FileIO(f"{self._root}/{name}")  # making a Path takes as long as opening it
            if os.fstat(file.fileno()).st_size > _WHOLE_BYTES:
                return io.BufferedReader(file)
            with file:
                return io.BytesIO(file.readall())
        except OSError as error:
            raise StimulusError(f"{self.path}: {name} cannot be opened ({error.strerror})") from None

    def size(self, name: str) -> int:
        try:
            return (self.path / name).stat().st_size
        except OSError as error:
            raise StimulusError(f"{self.path}: {name} cannot be opened ({error.strerror})") from None

    def _folders(self) -> Iterator[tuple[str, list[str]]]:
        """Walk: each folder's relative name and its regular files, links followed; a loop of links ends."""
        waiting, seen = [(".", self.path)], set()
        while waiting:
            name, folder = waiting.pop()
            try:
                where = folder.stat()
                if (where.st_dev, where.st_ino) in seen:
                    continue
                seen.add((where.st_dev, where.st_ino))
                with os.scandir(folder) as entries:
                    listed = [(each.name, each.is_dir(), each.is_file()) for each in entries]
            except OSError as error:
                raise StimulusError(f"{self.path}: folder {name} cannot be read ({error.strerror})") from None
            waiting += [
                (each if name == "." else f"{name}/{each}", folder / each)
                for each, is_folder, _ in sorted(listed, reverse=True)
                if is_folder and not _hidden(each)
            ]
            yield name, [each for each, _, is_file in listed if is_file]


class Archive:
    """A zip archive; its members are read in memory and never written anywhere.

    Where all members lie in one folder that is called as the archive is, or that holds ``metadata.csv``, that folder is
    left out of their names; both names find them.

    Raises
    ------
    StimulusError
        If it is damaged, or holds what no honest archive does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self._require_few()
        self._zip = self._opened()
        self._members = _without_common_folder(self._checked(), self.path.stem)
        self._whole = {member.filename: member for member in self._members.values()}

    def __str__(self) -> str:
        return str(self.path)

    def files(self, *, most: int = _MOST_FILES) -> list[str]:
        if len(self._members) > most:
            raise StimulusError(f"{self.path} holds more than {most} files")
        return sorted(each for each in self._members if not _hidden(each))

    def has(self, name: str) -> bool:
        return name in self._members or name in self._whole

    def open(self, name: str) -> BinaryIO:
        member = self._member(name)
        claimed, stored = member.file_size, member.compress_size
        if claimed > _MEMBER_BYTES or (claimed > _FREE and claimed > _RATIO * max(stored, 1)):
            raise StimulusError(
                f"{self.path}: {name} claims {claimed} bytes from {stored}; no honest file does, it is not unpacked"
            )
        if self._pid != os.getpid():  # after a fork: the place in the file would be shared with the other process
            self._zip = self._opened()
        with self._reading(name), self._lock, self._zip.open(member) as packed:
            data = packed.read(claimed + 1)
        if len(data) != claimed:
            raise StimulusError(f"{self.path}: {name} is not as long as the archive says; it is damaged")
        return io.BytesIO(data)

    def size(self, name: str) -> int:
        return self._member(name).file_size

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_zip", "_lock", "_pid")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._zip = self._opened()

    def _member(self, name: str) -> zipfile.ZipInfo:
        found = self._members.get(name) or self._whole.get(name)
        if found is None:
            raise StimulusError(f"{self.path} holds no file {name!r}")
        return found

    def _opened(self) -> zipfile.ZipFile:
        self._pid, self._lock = os.getpid(), threading.Lock()
        with self._reading():
            return zipfile.ZipFile(self.path)

    def _require_few(self) -> None:
        """Refuse more members than fit in memory, before they are read: what is listed says how many there are."""
        with self._reading(), self.path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - (1 << 16) - 200))
            tail = file.read()
            at, at_64 = tail.rfind(_END), tail.rfind(_END_64)
            sizes = [struct.unpack_from("<HHL", tail, at + 8)] if 0 <= at <= len(tail) - 16 else []
            sizes += [struct.unpack_from("<QQQ", tail, at_64 + 24)] if 0 <= at_64 <= len(tail) - 48 else []
        # the larger of what is claimed and of what the list has room for (46 bytes a member): either may lie
        n_members = max([max(each[1], each[2] // 46 if each[2] < 1 << 32 else 0) for each in sizes], default=0)
        if n_members > _MOST_MEMBERS * 2 or any(each[1] > _MOST_MEMBERS for each in sizes):
            raise StimulusError(
                f"{self.path} lists {n_members} files, more than {_MOST_MEMBERS}; it is not read; unpack it"
            )

    def _checked(self) -> dict[str, zipfile.ZipInfo]:
        """Look at every member's entry; refuse an archive that has one no honest archive has."""
        members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            name, odd = member.filename, ""
            if not _below(name) or "\\" in name:
                odd = f"a file that leaves it, {name!r}"
            elif stat.S_ISLNK(member.external_attr >> 16):
                odd = f"a link, {name!r}"
            elif name in members:
                odd = f"two files of the name {name!r}"
            elif not _is_text(name):
                odd = f"a file whose name is not text, {name!r}"
            if odd:
                raise StimulusError(f"{self.path} holds {odd}; it is no honest archive")
            if member.is_dir():
                continue
            if member.flag_bits & _ENCRYPTED:
                raise StimulusError(f"{self.path}: {name} is encrypted; unpack the archive with its password first")
            members[name] = member
        if len(members) > _MOST_MEMBERS:
            raise StimulusError(f"{self.path} holds {len(members)} files, more than {_MOST_MEMBERS}")
        self._require_apart(members)
        return members

    def _require_apart(self, members: dict[str, zipfile.ZipInfo]) -> None:
        """Refuse members that lie over each other, or the list: a small archive would unpack to anything."""
        ordered = sorted(members.values(), key=lambda each: each.header_offset)
        starts = [each.header_offset for each in ordered[1:]] + [self._zip.start_dir]
        for member, after in zip(ordered, starts):
            if member.header_offset + 30 + member.compress_size > after:
                what = f"{member.filename!r} lies over what comes after it"
                raise StimulusError(f"{self.path}: {what}; it is damaged, or no honest archive")

    @contextmanager
    def _reading(self, name: str = "") -> Iterator[None]:
        """Turn what is raised on a damaged archive into one line."""
        try:
            yield
        except StimulusError:
            raise
        except Exception as error:  # zipfile, zlib, bz2 and lzma raise whatever damaged bytes lead to
            what = f"{self.path}: {name}" if name else str(self.path)
            raise StimulusError(f"{what} cannot be unpacked: it is damaged or no zip ({first_line(error)})") from None


def _below(name: str) -> bool:
    """Tell whether a relative name stays below where it starts."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _is_text(name: str) -> bool:
    """Tell whether a name can be written as UTF-8: ids are."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _without_common_folder(members: dict[str, zipfile.ZipInfo], stem: str) -> dict[str, zipfile.ZipInfo]:
    """Leave out a folder that was zipped as a whole: all members lie in it, and it is called as the archive is, or has
    the metadata. Any other folder may be a category."""
    shown = [name for name in members if not _hidden(name)]
    top = {name.split("/", 1)[0] for name in shown}
    if len(top) != 1 or not all("/" in name for name in shown):
        return members
    start = f"{top.pop()}/"
    if start != f"{stem}/" and f"{start}metadata.csv" not in members:
        return members
    return {name.removeprefix(start): member for name, member in members.items() if name.startswith(start)}
