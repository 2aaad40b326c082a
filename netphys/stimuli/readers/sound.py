"""Sounds become stimuli: WAV files, alone or each beside an image.

A file's header is read first, and what it claims is compared with the bytes that are there. Samples are float32 in
[-1, 1], of one channel: integers are divided by their full scale (2^15 at 16 bit), always and without a word; several
channels become their mean, and a `rate` resamples: these are said in ``conversions``.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from netphys.errors import OptionError, StimulusError
from netphys.stimuli.readers.changed_source import Changed
from netphys.stimuli.readers.decoding import IMAGE_SUFFIXES
from netphys.stimuli.readers.folder import LISTED, Found, read_shelf, read_table
from netphys.stimuli.readers.kinds import SOUND_SUFFIXES, field_columns
from netphys.stimuli.readers.shelves import Shelf, open_shelf

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WavHeader", "decode_sound", "read_sounds", "wav_header"]

_MOST_BYTES = 1 << 30  # of one file: three hours of CD sound
_HIGHEST_RATE = 768_000  # Hz; four times what any recorder of bats takes
_MOST_CHANNELS = 64
_INTEGER, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_CODINGS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "IMA ADPCM", 0x31: "GSM", 0x50: "MPEG", 0x55: "MP3"}


@dataclass(frozen=True)
class WavHeader:
    """What a WAV file says of its samples.

    Attributes
    ----------
    rate : int
        Samples/s of a channel, Hz.
    n_channels : int
    bits : int
        Of a sample.
    is_float : bool
        Whether samples are floats; else integers.
    offset : int
        Bytes before the samples.
    n_samples : int
        Of a channel.
    """

    rate: int
    n_channels: int
    bits: int
    is_float: bool
    offset: int
    n_samples: int

    @property
    def n_bytes(self) -> int:
        """Bytes of all samples."""
        return self.n_samples * self.n_channels * self.bits // 8

    @property
    def duration(self) -> float:
        """Length, s."""
        return self.n_samples / self.rate


def read_sounds(
    folder: Path | str,
    *,
    rate: int | None = None,
    fields: Mapping[str, str] | None = None,
    skip_broken: bool = False,
) -> Found:
    """Read a folder, or a zip archive, of WAV files, alone or each beside an image.

    Parameters
    ----------
    folder : Path
        With ``metadata.csv``: its rows are the stimuli. Without: every WAV file below it, sorted by path; where there
        are images too, each sound goes with the image beside it of the same name (``dog.wav``, ``dog.png``).
    rate : int, optional
        Resample to it (polyphase filter, ``scipy.signal.resample_poly``), Hz. Default: every sound as it was recorded.
    fields : mapping, optional
        Field → column that names its files, as ``{"image": "image", "sound": "sound"}``; without ``metadata.csv`` the
        columns are ``sound`` and ``image``. Default: ``sound`` (the column ``sound``, else ``file``) and, without
        ``metadata.csv``, ``image`` where there is one.
    skip_broken : bool
        Leave out what cannot be decoded. The default is an error: of a broken header now, of broken samples when they
        are read.

    Returns
    -------
    Found
        Field ``sound``: float32 (n, samples) in [-1, 1], a list where lengths differ. Columns ``sample_rate`` (Hz) and
        ``n_samples`` of what is read, ``duration`` (s, unless the table has one) and, where `rate` resamples,
        ``recorded_rate`` (Hz).

    Raises
    ------
    StimulusError
        If a file is no WAV file of integers or floats, or is truncated; if a sound has no image beside it; if a column
        ``sample_rate`` or ``n_samples`` of the table is not what the file says.
    OptionError
        If `rate` is no whole number of Hz.

    Notes
    -----
    Said in ``conversions``: the mean of several channels, resampling, and where its ringing was cut at 1. Not said:
    that integers are divided by their full scale, as they always are.
    """
    if rate is not None and not (isinstance(rate, int | np.integer) and 0 < rate <= _HIGHEST_RATE):
        raise OptionError(f"rate={rate!r}: a sample rate is wanted, a whole number of Hz, 1 to {_HIGHEST_RATE}")
    shelf = open_shelf(folder)
    table, fields = _listed(shelf, fields) if shelf.has(LISTED) else _walked(shelf, fields)
    found = read_shelf(shelf, table=table, fields=fields, skip_broken=skip_broken)
    columns = [
        each.column
        for each in field_columns(fields, {str(name): table[name] for name in table.columns}, name=str(shelf))
        if each.kind == "sound"
    ]
    if not columns:
        raise StimulusError(f"{shelf}: none of the fields {', '.join(fields)} is a sound (.wav)")
    if len(set(columns)) > 1:
        raise StimulusError(f"{shelf}: a stimulus has one sound, fields name columns {', '.join(columns)}")
    rows = range(len(found.table)) if found.rows is None else found.rows
    headers = _headers(shelf, found.table[columns[0]], rows)
    changed = {row: header.rate for row, header in headers.items() if rate not in (None, header.rate)}
    with_columns = _with_columns(found.table, headers, rate, where=str(shelf))
    if not changed or rate is None:
        return Found(found.source, with_columns, found.name, found.rows, found.left_out)
    sounds = [field for field, said in fields.items() if said.partition(":")[0] == columns[0]]
    resampled = Changed(found.source, dict.fromkeys(sounds, _resampling(changed, int(rate))))
    return Found(resampled, with_columns, found.name, found.rows, found.left_out)


def decode_sound(file: BinaryIO, *, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decode a WAV file: PCM of 8, 16, 24 or 32 bit, or floats of 32 or 64 bit.

    Parameters
    ----------
    file : open file
        It can be sought in.
    name : str
        What messages call it.

    Returns
    -------
    (array of float32 (samples,) in [-1, 1], words for what was done to it)

    Raises
    ------
    StimulusError
        If it is no such file or is truncated, or its floats lie beyond [-1, 1].
    """
    header = wav_header(file, name=name)
    file.seek(header.offset)
    data = file.read(header.n_bytes)
    if len(data) != header.n_bytes:
        raise StimulusError(f"sound {name} is truncated")
    values = _samples(data, header, name).reshape(header.n_samples, header.n_channels)
    words = [f"mean of {header.n_channels} channels"] * (header.n_channels > 1)
    mono = values[:, 0] if header.n_channels == 1 else values.mean(axis=1, dtype=np.float64)
    return np.array(mono, dtype=np.float32), tuple(words)


def wav_header(file: BinaryIO, *, name: str) -> WavHeader:
    """Read what a WAV file says of its samples, and see that they are there.

    Parameters
    ----------
    file : open file
        It can be sought in.
    name : str
        What messages call it.

    Returns
    -------
    WavHeader

    Raises
    ------
    StimulusError
        If it is no WAV file, of a coding that is not read, or claims other bytes than it has.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(12)
    if start[:4] in (b"RIFX", b"RF64", b"BW64"):
        raise StimulusError(f"sound {name} is {start[:4].decode()}, which is not read; save it as plain WAV (RIFF)")
    if len(start) < 12 or start[:4] != b"RIFF" or start[8:] != b"WAVE":
        raise StimulusError(f"sound {name} is no WAV file (it begins with {start[:4]!r})")
    said: tuple[int, int, int, bool] | None = None
    place = 12
    while place + 8 <= size:
        file.seek(place)
        chunk = file.read(8)
        kind, length = chunk[:4], int.from_bytes(chunk[4:], "little")
        place += 8
        if kind == b"data":
            if said is None:
                raise StimulusError(f"sound {name} has samples before it says what they are; it is damaged")
            return _header_of(said, place, length, size, name)
        if length > size - place:
            raise StimulusError(f"sound {name} is truncated: its part {kind!r} claims {length} bytes")
        if kind == b"fmt ":
            said = _format(file.read(min(length, 40)), name)
        place += length + length % 2  # parts begin at even places
    raise StimulusError(f"sound {name} holds no samples; it is truncated")


def _format(data: bytes, name: str) -> tuple[int, int, int, bool]:
    """Read rate, channels and bits, and whether samples are floats."""
    if len(data) < 16:
        raise StimulusError(f"sound {name} is damaged: its format takes {len(data)} bytes, 16 are the least")
    coding, channels = (int.from_bytes(data[at : at + 2], "little") for at in (0, 2))
    rate = int.from_bytes(data[4:8], "little")
    block, bits = (int.from_bytes(data[at : at + 2], "little") for at in (12, 14))
    if coding == _EXTENSIBLE and len(data) >= 26:
        coding = int.from_bytes(data[24:26], "little")
    if coding not in (_INTEGER, _FLOAT):
        what = _CODINGS.get(coding, f"coding {coding}")
        raise StimulusError(
            f"sound {name} is coded as {what}; integers (PCM) and floats are read, save it as 16 bit PCM"
        )
    allowed = (8, 16, 24, 32) if coding == _INTEGER else (32, 64)
    if bits not in allowed or not 0 < channels <= _MOST_CHANNELS or not 0 < rate <= _HIGHEST_RATE:
        raise StimulusError(
            f"sound {name} claims {channels} channels of {bits} bit at {rate} Hz; "
            f"1 to {_MOST_CHANNELS} channels of {', '.join(map(str, allowed))} bit up to {_HIGHEST_RATE} Hz are read"
        )
    if block != channels * bits // 8:
        raise StimulusError(f"sound {name} is damaged: {channels} samples of {bits} bit take no {block} bytes")
    return rate, channels, bits, coding == _FLOAT


def _header_of(said: tuple[int, int, int, bool], place: int, length: int, size: int, name: str) -> WavHeader:
    """Compare what is claimed with what is there."""
    rate, channels, bits, is_float = said
    if length > size - place:
        raise StimulusError(
            f"sound {name} is truncated: {length} bytes of samples are claimed, {size - place} are there"
        )
    if length > _MOST_BYTES:
        raise StimulusError(f"sound {name} has {length} bytes of samples, more than {_MOST_BYTES}; cut it")
    block = channels * bits // 8
    if not length or length % block:
        raise StimulusError(f"sound {name} has {length} bytes of samples, {block} bytes each; it is empty or damaged")
    return WavHeader(rate, channels, bits, is_float, place, length // block)


def _samples(data: bytes, header: WavHeader, name: str) -> np.ndarray:
    """Turn bytes into floats in [-1, 1]."""
    if header.is_float:
        values = np.frombuffer(data, "<f4" if header.bits == 32 else "<f8")
        peak = float(np.max(np.abs(values)))
        if not peak <= 1:
            raise StimulusError(
                f"sound {name} holds floats up to {peak:.4g}; they are in [-1, 1], divide by the largest"
            )
        return values
    if header.bits == 8:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128  # 8 bit are unsigned
    if header.bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)  # below three bytes a fourth of zeros: 256 times the value
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)  # exact: 24 bit fit a float32
    if header.bits == 16:
        return np.frombuffer(data, "<i2").astype(np.float32) / 2**15
    return np.frombuffer(data, "<i4") / 2.0**31


def _listed(shelf: Shelf, fields: Mapping[str, str] | None) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read metadata.csv, and say which column names the sounds."""
    with shelf.open(LISTED) as file:
        written = ["sound", *(said.partition(":")[0] for said in (fields or {}).values())]
        table = read_table(file, name=f"{shelf}/{LISTED}", written=written)
    return table, dict(fields or {"sound": "sound:sound" if "sound" in table else "file:sound"})


def _walked(shelf: Shelf, fields: Mapping[str, str] | None) -> tuple[pd.DataFrame, dict[str, str]]:
    """List all sounds, and the images beside them."""
    import pandas as pd

    files = shelf.files()
    sounds = [file for file in files if PurePosixPath(file).suffix.lower() in SOUND_SUFFIXES]
    if not sounds:
        raise StimulusError(f"{shelf} holds no sound ({' '.join(SOUND_SUFFIXES)})")
    images = [file for file in files if PurePosixPath(file).suffix.lower() in IMAGE_SUFFIXES]
    table = pd.DataFrame({"stimulus_id": sounds, "sound": sounds})
    with_images = any(said.partition(":")[0] == "image" for said in fields.values()) if fields else bool(images)
    if with_images:
        table["image"] = _beside(sounds, images, str(shelf))
        table["stimulus_id"] = [_stem(each) for each in sounds]
    if any("/" in each for each in sounds):
        table["category"] = [each.split("/")[0] if "/" in each else "" for each in sounds]
    image = {"image": "image"} if with_images else {}
    return table, dict(fields or {**image, "sound": "sound"})


def _beside(sounds: Sequence[str], images: Sequence[str], where: str) -> list[str]:
    """Pair sounds with images by their name."""
    image_of: dict[str, str] = {}
    for each in images:
        if _stem(each) in image_of:
            raise StimulusError(f"{where} holds two images {image_of[_stem(each)]!r} and {each!r} for one sound")
        image_of[_stem(each)] = each
    sound_of = {_stem(each): each for each in sounds}
    if len(sound_of) < len(sounds):
        raise StimulusError(f"{where} holds two sounds of one name; an image can stand beside one of them only")
    lone = [each for each in sounds if _stem(each) not in image_of]
    lone += [each for each in images if _stem(each) not in sound_of]
    if lone:
        raise StimulusError(
            f"{where}: {len(lone)} file(s) have no partner of the same name, first {lone[0]!r}; a sound goes with the "
            "image beside it, and fields={'sound': 'sound'} reads the sounds alone"
        )
    return [image_of[_stem(each)] for each in sounds]


def _stem(file: str) -> str:
    return PurePosixPath(file).with_suffix("").as_posix()


def _headers(shelf: Shelf, files: pd.Series, rows: Sequence[int]) -> dict[int, WavHeader]:
    headers = {}
    for row in rows:
        name = str(files.iloc[row])
        with shelf.open(name) as file:
            headers[int(row)] = wav_header(file, name=name)
    return headers


def _with_columns(
    table: pd.DataFrame, headers: Mapping[int, WavHeader], rate: int | None, *, where: str
) -> pd.DataFrame:
    """Add what the headers say; what the table says already must agree."""
    table = table.copy()
    recorded = {row: header.rate for row, header in headers.items()}
    counted = {row: header.n_samples for row, header in headers.items()}
    for column, values in (("sample_rate", recorded), ("n_samples", counted)):
        if column in table:
            _require_agreement(table, column, values, where)
    # rows that are left out have no header; they are not shown
    if rate is not None and any(each != rate for each in recorded.values()):
        table["recorded_rate"] = [recorded.get(row, 0) for row in range(len(table))]
        counted = {row: math.ceil(n * rate / recorded[row]) for row, n in counted.items()}
        recorded = dict.fromkeys(recorded, int(rate))
    table["sample_rate"] = [recorded.get(row, 0) for row in range(len(table))]
    table["n_samples"] = [counted.get(row, 0) for row in range(len(table))]
    if "duration" not in table:
        table["duration"] = [headers[row].duration if row in headers else 0.0 for row in range(len(table))]
    return table


def _require_agreement(table: pd.DataFrame, column: str, values: Mapping[int, int], where: str) -> None:
    for row, value in values.items():
        said = table[column].iloc[row]
        if not isinstance(said, int | float | np.number) or said != value:
            raise StimulusError(
                f"{where}: {column} of {table['stimulus_id'].iloc[row]!r} is {said} in the table, {value} in the file; "
                "mend the table, or give the column another name"
            )


def _resampling(rates: Mapping[int, int], rate: int) -> Any:
    """Return the change that brings sounds of `rates` (by row) to `rate`."""

    def resampled(row: int, sound: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        from scipy.signal import resample_poly

        if row not in rates:
            return sound, ()
        common = math.gcd(rate, rates[row])
        up, down = rate // common, rates[row] // common
        value = resample_poly(np.asarray(sound, dtype=np.float64), up, down)
        words = [f"resampled from {rates[row]} to {rate} Hz"]
        if np.abs(value).max(initial=0) > 1:  # the filter rings at a full-scale step
            words.append("cut at 1 after resampling")
        return np.clip(value, -1, 1).astype(np.float32), tuple(words)

    return resampled
