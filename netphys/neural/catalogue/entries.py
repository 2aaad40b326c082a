"""What the catalogue says of a set: a TOML file read strictly, so that a misspelt key or a doubtful address is refused.

A lab's own sets are added by ``NETPHYS_CATALOGUE=FILE.toml``, a file of the same form as ``sets.toml`` beside this one.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from netphys.errors import NeuralDataError, near

__all__ = ["ALGORITHMS", "Catalogue", "Entry", "Paper", "RemoteFile", "read_catalogue"]

ALGORITHMS = {"md5": 32, "sha1": 40, "sha256": 64}  # hexadecimal digits
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NAME = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,199}")
_DOI = re.compile(r"10\.\d{4,9}/[^\s{}\\]+")
ROWS = re.compile(r"(?P<pattern>[^{}*]*\{(?::0\dd)?\}[^{}*]*)\*(?P<n>[1-9]\d{0,6})")  # image_{:02d}.jpg*78
_KINDS = {"str": "text", "int": "a whole number", "bool": "true or false", "array": "a list", "object": "a table"}


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table whose keys are all known."""


class Paper(_Strict, frozen=True):
    """A paper, or a data set with a doi, to be cited."""

    authors: list[str]  # "Family, Given"
    title: str
    year: int
    kind: Literal["article", "misc"] = "article"
    journal: str = ""
    volume: str = ""
    number: str = ""
    pages: str = ""
    publisher: str = ""
    doi: str = ""


class RemoteFile(_Strict, frozen=True):
    """A file of a set, at one address or several (tried in order)."""

    filename: str
    urls: list[str]
    found_in: str  # where the address was read
    bytes: int | None = None
    checksum: str = ""  # "sha1:...", only where a source gives one
    checksum_source: str = ""
    unpack: bool = False  # a zip, unpacked into a folder of the name of its stem


class Entry(_Strict, frozen=True):
    """One set of the catalogue.

    Attributes
    ----------
    access : {"file", "page", "apply"}
        ``file``: fetched from `files`; ``page``: fetched by hand from `page`; ``apply``: one asks for it first.
    address : str
        What `load_neural` reads, relative to the set's folder: ``PATH?option=value``; `parts` has further ones by name.
        One option is the catalogue's own: ``rows=image_{:02d}.jpg*78``, ids that the rows follow where no file carries
        them, numbered from 1.
    seen : str
        What of this entry was checked, and what was only read in a source.
    """

    name: str
    title: str
    kind: Literal["assembly", "rdms", "behaviour", "other"]
    species: str
    regions: list[str]
    stimuli: str
    neuroids: str
    subjects: str
    papers: list[Paper]
    licence: str
    homepage: str
    access: Literal["file", "page", "apply"]
    seen: str
    how: str = ""
    page: str = ""
    files: list[RemoteFile] = []
    address: str = ""
    parts: dict[str, str] = {}
    notes: list[str] = []

    @property
    def bytes(self) -> int | None:
        """Bytes to fetch; None where a source does not say them of every file."""
        sizes = [each.bytes for each in self.files if each.bytes is not None]
        return sum(sizes) if self.files and len(sizes) == len(self.files) else None


class _File(_Strict, frozen=True):
    """A catalogue file as it is written."""

    sets: list[Entry]


_TABLES: dict[str, type[_Strict]] = {"": _File, "sets": Entry, "sets.papers": Paper, "sets.files": RemoteFile}


@dataclass(frozen=True)
class Catalogue:
    """Sets by name."""

    entries: Mapping[str, Entry]

    @classmethod
    def read(cls, path: Path | str | None = None) -> Catalogue:
        """Read one catalogue file; default the package's own.

        Raises
        ------
        NeuralDataError
            If it cannot be read, a key is misspelt, or an entry cannot be meant; one line that names both.
        """
        called = "the catalogue of netphys" if path is None else str(path)
        return cls(_checked(_parsed(_text(path, called), called), called))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __getitem__(self, name: str) -> Entry:
        if name not in self.entries:
            raise NeuralDataError(
                f"the catalogue has no set {name!r}{near(name, self.entries)}; 'netphys data list' lists all"
            )
        return self.entries[name]


def read_catalogue() -> Catalogue:
    """Read the package's sets, and those of ``$NETPHYS_CATALOGUE`` where that is set.

    Raises
    ------
    NeuralDataError
        If a file cannot be understood, or a set of the second has a name of the first.
    """
    own = Catalogue.read()
    added = os.environ.get("NETPHYS_CATALOGUE")
    if not added:
        return own
    theirs = Catalogue.read(added)
    both = [name for name in theirs.entries if name in own.entries]
    if both:
        raise NeuralDataError(f"{added} names a set {both[0]!r}, which netphys has already; give it another name")
    return Catalogue({**own.entries, **theirs.entries})


def _text(path: Path | str | None, called: str) -> str:
    if path is None:
        return resources.files("netphys.neural.catalogue").joinpath("sets.toml").read_text(encoding="utf-8")
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NeuralDataError(f"there is no catalogue {called}; NETPHYS_CATALOGUE names a TOML file") from None
    except (OSError, ValueError) as error:  # a folder, no permission, no UTF-8
        raise NeuralDataError(f"the catalogue {called} cannot be read ({str(error)[:100]})") from None


def _parsed(text: str, called: str) -> list[Entry]:
    """Read the tables, or say which key of which set is wrong."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NeuralDataError(f"{called} is not TOML: {' '.join(str(error).split())[:150]}") from None
    try:
        return msgspec.convert(table, _File).sets
    except msgspec.ValidationError as error:
        raise NeuralDataError(f"{called}: {_explained(str(error), table)}") from None


def _explained(message: str, table: dict[str, Any]) -> str:
    """Turn msgspec's message into ours: the set by its name, near names for a misspelt key."""
    found = re.search(r" - at `\$?\.?(?P<place>[^`]*)`", message)
    place = found["place"] if found else ""
    which, name = re.match(r"sets\[(\d+)\]", place), re.sub(r"\[.*?\]", "", place)
    where = f" in set {_called(table, int(which[1]))}" if which else ""
    where += f", {name.removeprefix('sets.')}" if name.count(".") else ""
    known = _TABLES.get(name, _File).__struct_fields__
    if unknown := re.search(r"unknown field `([^`]*)`", message):
        return f"no key {unknown[1]!r}{where}{near(unknown[1], known)}"
    if missing := re.search(r"missing required field `([^`]*)`", message):
        return f"the key {missing[1]!r} is missing{where}"
    if wrong := re.search(r"Expected `(\w+)[^`]*`, got `(\w+)[^`]*`", message):
        return f"wrong value{where}: {_KINDS.get(wrong[1], wrong[1])} is wanted, not {_KINDS.get(wrong[2], wrong[2])}"
    return f"{message.partition(' - at ')[0]}{where}"


def _called(table: dict[str, Any], at: int) -> str:
    entry = table["sets"][at]
    return repr(entry.get("name", f"number {at + 1}")) if isinstance(entry, dict) else f"number {at + 1}"


def _checked(entries: list[Entry], called: str) -> dict[str, Entry]:
    """Refuse what types cannot: names that are no names, addresses that leave the set, checksums of another length."""
    found: dict[str, Entry] = {}
    for entry in entries:
        for wrong in _wrong_with(entry):
            raise NeuralDataError(f"{called}, set {entry.name!r}: {wrong}")
        if entry.name in found:
            raise NeuralDataError(f"{called} has two sets named {entry.name!r}")
        found[entry.name] = entry
    return found


def _wrong_with(entry: Entry) -> Iterator[str]:
    """Yield what is wrong with an entry."""
    if not _NAME.fullmatch(entry.name):
        yield "a name is of small letters and digits, with - _ or . between them"
    if not entry.licence.strip():
        yield "licence is empty; write 'none stated' where the source states none"
    if not entry.papers:
        yield "it names no paper to cite"
    for paper in entry.papers:
        yield from _wrong_paper(paper)
    if urlsplit(entry.homepage).scheme not in ("http", "https"):
        yield f"homepage {entry.homepage!r} is no address of a page (https://...)"
    if entry.access == "file" and not entry.files:
        yield "access is 'file', but it has no [[sets.files]]"
    if entry.access != "file" and (not entry.how or urlsplit(entry.page).scheme not in ("http", "https")):
        yield f"access is {entry.access!r}, so how (what to do) and page (https://...) are needed"
    if entry.access != "file" and entry.files:
        yield f"access is {entry.access!r}, so it has no [[sets.files]]"
    for file in entry.files:
        yield from _wrong_file(file)
    names = [file.filename for file in entry.files]
    if twice := sorted({each for each in names if names.count(each) > 1}):
        yield f"two files have the name {twice[0]!r}"
    for address in filter(None, [entry.address, *entry.parts.values()]):
        yield from _wrong_address(entry, address)


def _wrong_paper(paper: Paper) -> Iterator[str]:
    if not paper.authors or not all(re.fullmatch(r"[^,{}\\]+(, [^,{}\\]+)?", each) for each in paper.authors):
        yield f"authors of {paper.title[:40]!r} are written 'Family, Given', one text each"
    if paper.doi and not _DOI.fullmatch(paper.doi):
        yield f"doi {paper.doi!r} is not of the form 10.NUMBER/NAME"
    if not 1900 <= paper.year <= 2100:
        yield f"year {paper.year} is no year of a paper"
    if paper.kind == "article" and not paper.journal:
        yield f"the article {paper.title[:40]!r} has no journal"


def _wrong_file(file: RemoteFile) -> Iterator[str]:
    """Yield what is wrong with a file's entry."""
    if not _FILENAME.fullmatch(file.filename):
        yield f"{file.filename[:80]!r} is no plain file name"
    if not file.urls:
        yield f"{file.filename} has no urls"
    for url in file.urls:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or re.search(r"\s", url):
            yield f"{url!r} of {file.filename} is no address to fetch from (https://...)"
        elif parts.scheme == "http" and not file.checksum and parts.hostname not in LOOPBACK:
            yield f"{url!r} of {file.filename} is not https, so a checksum is needed"
    algorithm, _, digits = file.checksum.partition(":")
    if file.checksum and (
        algorithm not in ALGORITHMS or not re.fullmatch(rf"[0-9a-f]{{{ALGORITHMS[algorithm]}}}", digits)
    ):
        yield f"checksum {file.checksum!r} is not sha256:, sha1: or md5: with 64, 40 or 32 hexadecimal digits"
    if bool(file.checksum) != bool(file.checksum_source):
        yield f"{file.filename}: checksum and checksum_source go together; a checksum is only taken from a source"
    if not file.found_in.strip():
        yield f"{file.filename}: found_in is empty; say where the address was read"
    if file.bytes is not None and file.bytes <= 0:
        yield f"{file.filename}: bytes is {file.bytes}"
    if file.unpack and not file.filename.lower().endswith(".zip"):
        yield f"{file.filename} cannot be unpacked: only .zip is"


def _wrong_address(entry: Entry, address: str) -> Iterator[str]:
    """Yield what is wrong with an address inside the set."""
    body, _, tail = address.partition("?")
    path = PurePosixPath(body)
    options = [each.partition("=") for each in tail.split("&") if tail]
    if not all(key and value for key, _, value in options):
        yield f"address {address!r}: behind ? are options key=value, & between them"
    for key, _, value in options:
        if key == "rows" and not ROWS.fullmatch(value):
            yield f"address {address!r}: rows={value} is no pattern with a number and how many: image_{{:02d}}.jpg*78"
    if not body or path.is_absolute() or ".." in path.parts or ":" in body or "\\" in body:
        yield f"address {address!r} leaves the set; it is a path inside it"
    elif entry.access == "file":
        tops = {each.filename for each in entry.files} | {Path(e.filename).stem for e in entry.files if e.unpack}
        if path.parts[0] not in tops:
            yield f"address {address!r} leads to no file of the set{near(path.parts[0], tops)}"
