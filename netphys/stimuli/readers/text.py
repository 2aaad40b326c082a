"""Texts become stimuli: lines, sentences, paragraphs or words of one file; or whole files of text, or of numbers.

The file is gone through once, piece by piece; only the places of its units are kept, and a unit is read when it is
asked for. Lines end with a line feed, a carriage return before it belongs to the end.
"""

from __future__ import annotations

import codecs
import io
import logging
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np

from netphys.errors import OptionError, StimulusError, near
from netphys.guards import first_line
from netphys.stimuli.readers.folder import Found
from netphys.stimuli.sources import value_digest

__all__ = ["MAX_TEXT_BYTES", "Unit", "decode_numbers", "decode_text", "read_text"]

log = logging.getLogger(__name__)

Unit = Literal["line", "sentence", "paragraph", "word", "document"]
MAX_TEXT_BYTES = 1 << 28  # of one unit, or of a file that is one stimulus
_MOST_UNITS = 5_000_000  # rows of a table that fits in memory
_MOST_NUMBERS_BYTES = 1 << 28
_NPY_HEADER = 65_535  # bytes; numpy's own are below 1,000
_NPY = b"\x93NUMPY"
_BOM = codecs.BOM_UTF8
# a full stop, question or exclamation mark, maybe a closing quote or bracket, then space and no small letter
_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’»)\]]*(?:\s+(?![a-zß-öø-ÿ])|$)")
_WORD = re.compile(r"\S+")


def read_text(path: Path | str, *, unit: Unit = "line", encoding: str = "utf-8") -> Found:
    """Cut a text into stimuli.

    Parameters
    ----------
    path : Path
        A file of text, of any length.
    unit : {"line", "sentence", "paragraph", "word", "document"}
        A line; a paragraph, that is lines up to an empty one; a sentence of a paragraph, that is up to ``.``, ``!`` or
        ``?`` (and a closing quote) before a space that no small letter follows, its line breaks made spaces (an
        abbreviation before a capital ends one, too); a word, that is what stands between spaces; the whole file.
        Empty ones are left out, and logged.
    encoding : str
        Of the file; one in which ASCII characters are single bytes.

    Returns
    -------
    Found
        Field ``text`` (list of str); ids ``line-000001`` (the number of the line in the file; of other units their
        own, from 1); columns ``n_words``, ``n_characters`` and ``line`` (where the unit begins).

    Raises
    ------
    StimulusError
        If it is no text in this encoding, or holds no unit, or more than 5 million.
    OptionError
        If there is no such unit or encoding.
    """
    if unit not in get_args(Unit):
        raise OptionError(
            f"unit={unit!r}: a text is cut into {', '.join(get_args(Unit))}{near(str(unit), get_args(Unit))}"
        )
    path = Path(path)
    if path.is_dir():
        raise StimulusError(f"{path} is a folder; StimulusSet.from_folder reads its .txt files, each a stimulus")
    if not path.is_file():
        raise StimulusError(f"no text {path}")
    codec = _checked_encoding(encoding)
    places = _Places(str(path), unit)
    with path.open("rb") as file:
        _CUTS[unit](file, codec, places)
    if not places.starts:
        raise StimulusError(f"{path} holds no {unit}; it is empty")
    if places.n_empty:
        log.info("%s: %d empty %ss are left out", path, places.n_empty, unit)
    return Found(Texts(path, places, codec), _table(places), path.stem)


def decode_text(file: BinaryIO, *, name: str) -> tuple[str, tuple[str, ...]]:
    """Decode a file of text in UTF-8 that is one stimulus; line breaks become line feeds.

    Raises
    ------
    StimulusError
        If it is not UTF-8, holds NUL, or is longer than :data:`MAX_TEXT_BYTES`.
    """
    data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise StimulusError(f"text {name} has more than {MAX_TEXT_BYTES} bytes; StimulusSet.from_text cuts it")
    words = ["byte order mark left out"] * data.startswith(_BOM) + ["line breaks made line feeds"] * (b"\r\n" in data)
    return _decoded(data.removeprefix(_BOM), "utf-8", f"text {name}", 0).replace("\r\n", "\n"), tuple(words)


def decode_numbers(file: BinaryIO, *, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decode a table of numbers: ``.npy``, or text with spaces, commas or semicolons between them, ``#`` for remarks.

    Returns
    -------
    (array of float64, words for what was done to it)
        Of the file's shape; a text of one row or one column gives (n,), a number by itself (1,).

    Raises
    ------
    StimulusError
        If it is neither, damaged, holds other things than real numbers, or claims more than it has.
    """
    start = file.read(len(_NPY))
    file.seek(0)
    if start == _NPY:
        return _npy(file, name)
    data = file.read(_MOST_NUMBERS_BYTES + 1)
    if len(data) > _MOST_NUMBERS_BYTES:
        raise StimulusError(f"numbers {name} have more than {_MOST_NUMBERS_BYTES} bytes; save them as .npy")
    rows = []
    text = _decoded(data.removeprefix(_BOM), "utf-8", f"numbers {name}", 0)
    for number, line in enumerate(text.splitlines(), 1):
        values = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        if not values:
            continue
        try:
            rows.append(np.array([_number(each) for each in values]))
        except ValueError:
            raise StimulusError(f"numbers {name}: line {number} holds something else: {line[:60]!r}") from None
        if len(rows[-1]) != len(rows[0]):
            raise StimulusError(
                f"numbers {name}: line {number} has {len(rows[-1])} numbers, the first has {len(rows[0])}"
            )
    if not rows:
        raise StimulusError(f"numbers {name} are none; the file is empty")
    table = np.stack(rows)
    return (table.reshape(-1) if 1 in table.shape else table), ()


def _numbers() -> array[int]:
    return array("q")  # 8 bytes each: a text may have millions of units


@dataclass
class _Places:
    """Where the units of a text lie."""

    name: str
    unit: str
    starts: array[int] = field(default_factory=_numbers)  # bytes
    ends: array[int] = field(default_factory=_numbers)
    lines: array[int] = field(default_factory=_numbers)  # from 1
    n_words: array[int] = field(default_factory=_numbers)
    n_characters: array[int] = field(default_factory=_numbers)
    n_empty: int = 0

    def add(self, start: int, n_bytes: int, line: int, text: str) -> None:
        if len(self.starts) >= _MOST_UNITS:
            raise StimulusError(f"{self.name} holds more than {_MOST_UNITS} {self.unit}s; cut it into larger units")
        self.starts.append(start)
        self.ends.append(start + n_bytes)
        self.lines.append(line)
        self.n_words.append(len(text.split()))
        self.n_characters.append(len(text))


class Texts:
    """Units of a text; see :class:`~netphys.stimuli.sources.Source`."""

    fields = ("text",)

    def __init__(self, path: Path, places: _Places, codec: str) -> None:
        self._path, self._codec, self._unit = path, codec, places.unit
        self._starts, self._ends = np.array(places.starts), np.array(places.ends)
        self._state = _state(path)

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, field: str, indices: np.ndarray) -> list[str]:
        if not self._path.is_file() or _state(self._path) != self._state:
            raise StimulusError(f"{self._path} has changed since it was read first; read it again")
        texts = []
        with self._path.open("rb") as file:
            for index in indices:
                start, end = int(self._starts[index]), int(self._ends[index])
                file.seek(start)
                texts.append(_shown(_decoded(file.read(end - start), self._codec, str(self._path), start), self._unit))
        return texts

    def digests(self, indices: np.ndarray) -> list[Any]:
        texts = (self.read("text", indices[start : start + 1024]) for start in range(0, len(indices), 1024))
        return [{"text": value_digest(text)} for part in texts for text in part]


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _shown(text: str, unit: str) -> str:
    """Return a unit as it is shown: of a sentence line breaks are spaces, else they are line feeds."""
    return " ".join(text.split()) if unit == "sentence" else text.replace("\r\n", "\n")


def _cut_lines(file: BinaryIO, codec: str, places: _Places) -> None:
    for number, start, raw, text in _lines(file, codec, places.name):
        if text.strip():
            places.add(start, len(raw), number, text)
        else:
            places.n_empty += 1


def _cut_words(file: BinaryIO, codec: str, places: _Places) -> None:
    for number, start, raw, text in _lines(file, codec, places.name):
        at = _bytes_before(text, raw, codec, places.name)
        for word in _WORD.finditer(text):
            first = at(word.start())
            places.add(start + first, at(word.end()) - first, number, word.group())


def _cut_paragraphs(file: BinaryIO, codec: str, places: _Places) -> None:
    for number, start, raw, text in _paragraphs(file, codec, places):
        places.add(start, len(raw), number, text.replace("\r\n", "\n"))


def _cut_sentences(file: BinaryIO, codec: str, places: _Places) -> None:
    for number, start, raw, text in _paragraphs(file, codec, places):
        at = _bytes_before(text, raw, codec, places.name)
        begin, line, seen = 0, number, 0
        for end in [each.end() for each in _SENTENCE_END.finditer(text)] + [len(text)]:
            piece = text[begin:end]
            if piece.strip():
                inside = begin + len(piece) - len(piece.lstrip())
                line += text.count("\n", seen, inside)
                seen = inside
                first = at(inside)
                places.add(start + first, at(begin + len(piece.rstrip())) - first, line, " ".join(piece.split()))
            begin = end


def _cut_nothing(file: BinaryIO, codec: str, places: _Places) -> None:
    data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise StimulusError(f"{places.name} has more than {MAX_TEXT_BYTES} bytes, too many for one stimulus; cut it")
    start = len(_BOM) * (codec == "utf-8" and data.startswith(_BOM))
    text = _decoded(data[start:], codec, places.name, start).replace("\r\n", "\n")
    if text.strip():
        places.add(start, len(data) - start, 1, text)


_CUTS: dict[str, Callable[[BinaryIO, str, _Places], None]] = {
    "line": _cut_lines,
    "sentence": _cut_sentences,
    "paragraph": _cut_paragraphs,
    "word": _cut_words,
    "document": _cut_nothing,
}


def _lines(file: BinaryIO, codec: str, name: str) -> Iterator[tuple[int, int, bytes, str]]:
    """Yield each line: its number from 1, the byte where it begins, its bytes and text without the end."""
    place, number = 0, 0
    while raw := file.readline(MAX_TEXT_BYTES + 1):
        number += 1
        if len(raw) > MAX_TEXT_BYTES:
            raise StimulusError(f"{name}: line {number} has more than {MAX_TEXT_BYTES} bytes; it is no text")
        start = place + len(_BOM) * (place == 0 and codec == "utf-8" and raw.startswith(_BOM))
        line = raw[start - place :].removesuffix(b"\n").removesuffix(b"\r")
        place += len(raw)
        yield number, start, line, _decoded(line, codec, f"{name}, line {number},", start)


def _paragraphs(file: BinaryIO, codec: str, places: _Places) -> Iterator[tuple[int, int, bytes, str]]:
    """Yield lines up to an empty one: the first one's number and place, their bytes and text."""
    first, start, end, n_bytes = 0, 0, 0, 0
    held: list[bytes] = []
    for number, place, raw, text in _lines(file, codec, places.name):
        if text.strip():
            if not held:
                first, start = number, place
            # what stands between two lines is their end, LF or CR LF
            held += [b"\r\n" if place - end == 2 else b"\n"] * bool(held) + [raw]
            n_bytes += len(raw) + 2
            if n_bytes > MAX_TEXT_BYTES:
                raise StimulusError(
                    f"{places.name}: the paragraph at line {first} has more than {MAX_TEXT_BYTES} bytes"
                )
            end = place + len(raw)
            continue
        places.n_empty += not held
        if held:
            yield first, start, b"".join(held), _decoded(b"".join(held), codec, places.name, start)
        held, n_bytes = [], 0
    if held:
        yield first, start, b"".join(held), _decoded(b"".join(held), codec, places.name, start)


def _bytes_before(text: str, raw: bytes, codec: str, name: str) -> Callable[[int], int]:
    """Return a function from a place in a text, asked for in rising order, to the bytes before it."""
    if text.isascii():
        return lambda place: place
    if text.encode(codec) != raw:
        raise StimulusError(f"{name} in {codec} cannot be cut within lines: a text has two spellings; save it as UTF-8")
    done = [0, 0]  # characters, bytes

    def before(place: int) -> int:
        done[1] += len(text[done[0] : place].encode(codec))
        done[0] = place
        return done[1]

    return before


def _decoded(data: bytes, codec: str, what: str, start: int) -> str:
    if b"\0" in data:
        raise StimulusError(f"{what} holds a NUL at byte {start + data.index(0)}; it is no text")
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        at = start + error.start
        raise StimulusError(
            f"{what} is not {codec}: byte {data[error.start]:#04x} at {at}; encoding= names another"
        ) from None
    except Exception as error:  # codecs raise what they like
        raise StimulusError(f"{what} is not {codec} ({first_line(error)})") from None


def _checked_encoding(encoding: str) -> str:
    """Return the codec's own name; refuse those in which a line's end cannot be told by its byte."""
    try:
        codec = codecs.lookup(encoding)
        plain = bytes(range(32, 127)).decode("ascii")
        single = codec.encode(plain)[0] == plain.encode() and codec.encode("\r\n")[0] == b"\r\n"
        name = "utf-8" if codec.name == "utf-8-sig" else codec.name
    except (LookupError, TypeError, ValueError):
        raise OptionError(
            f"encoding={encoding!r}: there is no such encoding of text; usual are utf-8, latin-1"
        ) from None
    if codec.name == "utf-8-sig":
        return name
    if not single or name.startswith(("iso2022", "hz")):
        raise OptionError(f"encoding={encoding!r}: its ASCII characters are no single bytes; convert the file to utf-8")
    return name


def _table(places: _Places) -> Any:
    import pandas as pd

    numbers: Sequence[int] = places.lines if places.unit == "line" else range(1, len(places.starts) + 1)
    return pd.DataFrame(
        {
            "stimulus_id": [f"{places.unit}-{number:06d}" for number in numbers],
            "line": np.array(places.lines),
            "n_words": np.array(places.n_words),
            "n_characters": np.array(places.n_characters),
        }
    )


def _number(text: str) -> float:
    if "_" in text:  # Python's own spelling of numbers, nobody else's
        raise ValueError(text)
    return float(text)


def _npy(file: BinaryIO, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read numpy's file after its header has been compared with the bytes that are there."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(file, max_header_size=_NPY_HEADER)
        if dtype.hasobject or dtype.kind not in "biuf":
            raise StimulusError(f"numbers {name} are {dtype}; real numbers are read, nothing is unpickled")
        claimed = dtype.itemsize
        for length in shape:
            claimed *= int(length)
        there = size - file.tell()
        if claimed != there or claimed < 0 or claimed > _MOST_NUMBERS_BYTES:
            raise StimulusError(f"numbers {name}: the header claims {claimed} bytes, {there} are there")
        values = np.frombuffer(file.read(claimed), dtype).reshape(shape, order="F" if fortran else "C")
    except StimulusError:
        raise
    except Exception as error:  # numpy raises anything on damaged headers
        raise StimulusError(f"numbers {name} are no .npy array that can be read ({first_line(error)})") from None
    return np.array(values, dtype=np.float64, order="C", ndmin=1), ()
