"""Where the files of a set lie: a folder, or a zip archive, read in place; nothing leaves either of them."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from netphys.errors import StimulusError
from netphys.guards import first_line

__all__ = ["Archive", "Directory", "Shelf", "open_shelf"]

_MOST_MEMBERS = 5_000_000
_MEMBER_BYTES = 1 << 31  # of one unpacked member: a long video; more is a bomb
_RATIO = 200  # unpacked bytes a packed byte; pictures and films are packed already, and text reaches 10
_FREE = 1 << 24  # bytes below which the ratio does not count


class Shelf(Protocol):
    """Files by their relative names."""

    name: str  # what messages and figures call it

    def files(self) -> list[str]:
        """Names of all files, sorted; hidden ones left out."""

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
    """A folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.resolve().name

    def __str__(self) -> str:
        return str(self.path)

    def files(self) -> list[str]:
        found = (each.relative_to(self.path).as_posix() for each in self.path.rglob("*") if each.is_file())
        return sorted(each for each in found if not _hidden(each))

    def has(self, name: str) -> bool:
        return _below(name) and (self.path / name).is_file()

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size


class Archive:
    """A zip archive; its members are read in memory and never written anywhere.

    Where all members lie in one folder of the archive, that folder is left out of their names.

    Raises
    ------
    StimulusError
        If it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self._lock = threading.Lock()
        with self._reading():
            self._zip = zipfile.ZipFile(path)
            members = [each for each in self._zip.infolist() if not each.is_dir()]
        if len(members) > _MOST_MEMBERS:
            raise StimulusError(f"{path} holds {len(members)} files, more than {_MOST_MEMBERS}")
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            if not _below(member.filename) or "\\" in member.filename:
                raise StimulusError(f"{path} holds a file that leaves it, {member.filename!r}; it is no honest archive")
            if member.filename in self._members:
                raise StimulusError(f"{path} holds two files of the name {member.filename!r}; it is no honest archive")
            self._members[member.filename] = member
        self._members = _without_common_folder(self._members)

    def __str__(self) -> str:
        return str(self.path)

    def files(self) -> list[str]:
        return sorted(each for each in self._members if not _hidden(each))

    def has(self, name: str) -> bool:
        return name in self._members

    def open(self, name: str) -> BinaryIO:
        member = self._members[name]
        claimed, stored = member.file_size, member.compress_size
        if claimed > _MEMBER_BYTES or (claimed > _FREE and claimed > _RATIO * max(stored, 1)):
            raise StimulusError(
                f"{self.path}: {name} claims {claimed} bytes from {stored}; no honest file does, it is not unpacked"
            )
        with self._reading(name), self._lock, self._zip.open(member) as packed:
            data = packed.read(claimed + 1)
        if len(data) != claimed:
            raise StimulusError(f"{self.path}: {name} is not as long as the archive says; it is damaged")
        return io.BytesIO(data)

    def size(self, name: str) -> int:
        return self._members[name].file_size

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


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _without_common_folder(members: dict[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Leave out a folder that holds all members but hidden ones."""
    shown = [name for name in members if not _hidden(name)]
    top = {name.split("/", 1)[0] for name in shown}
    if len(top) != 1 or not all("/" in name for name in shown):
        return members
    start = f"{top.pop()}/"
    return {name.removeprefix(start): member for name, member in members.items() if name.startswith(start)}
