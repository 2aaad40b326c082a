"""What a file of a stimulus can hold: a picture, numbers in a picture, a clip, a sound, a text, a table of numbers.

A field of a set names its files in a column of the metadata; its kind says how a file is decoded. ``"depth:values"``
is the column ``depth``, decoded as numbers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from netphys.errors import StimulusError, near
from netphys.stimuli.readers.decoding import IMAGE_SUFFIXES

__all__ = ["CLIP_SUFFIXES", "KINDS", "SOUND_SUFFIXES", "FieldColumn", "Kind", "decode_file", "field_columns", "kind_of"]

CLIP_SUFFIXES = (".mp4", ".m4v", ".mkv", ".mov", ".avi", ".webm", ".gif", ".apng")
SOUND_SUFFIXES = (".wav",)
_TEXT_SUFFIXES = (".txt",)
_NUMBER_SUFFIXES = (".npy",)


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str
    field: str  # what a set calls it where the user says nothing
    suffixes: tuple[str, ...]
    module: str  # of netphys.stimuli, and the function in it: (open file, name) -> (value, conversions)
    function: str
    about: str


KINDS = {
    each.name: each
    for each in (
        Kind("image", "image", IMAGE_SUFFIXES, "decoding", "decode_picture", "uint8 (3, y, x)"),
        Kind("values", "values", (), "kinds", "values_with_words", "numbers (y, x): labels, masks, depth"),
        Kind("clip", "clip", CLIP_SUFFIXES, "video", "decode_clip", "uint8 (t, 3, y, x)"),
        Kind("sound", "sound", SOUND_SUFFIXES, "sound", "decode_sound", "float32 (samples,) in [-1, 1]"),
        Kind("text", "text", _TEXT_SUFFIXES, "text", "decode_text", "str"),
        Kind("numbers", "numbers", _NUMBER_SUFFIXES, "text", "decode_numbers", "float64 (...), of .npy or written out"),
    )
}


@dataclass(frozen=True)
class FieldColumn:
    """A field of a set: the column of the metadata that names its files, and their kind."""

    field: str
    column: str
    kind: str


def kind_of(file: str) -> str | None:
    """Return the kind that a file's suffix says; None where it says none."""
    suffix = PurePosixPath(file).suffix.lower()
    return next((kind.name for kind in KINDS.values() if suffix in kind.suffixes), None)


def decode_file(kind: str, file: BinaryIO, name: str, **options: Any) -> tuple[Any, tuple[str, ...]]:
    """Decode an open file of a kind; the value, and words for what was done to it. `options` are those of its decoder.

    Raises
    ------
    StimulusError
        If it is broken, or another kind of file.
    """
    return _decoder(kind)(file, name=name, **options)


def field_columns(fields: Mapping[str, str], table: Mapping[str, Any], *, name: str) -> list[FieldColumn]:
    """Read which columns of a table hold a set's fields.

    Parameters
    ----------
    fields : mapping
        Field → ``"column"`` or ``"column:kind"``. Without a kind the suffix of the column's first file says it.
    table : mapping
        The metadata: column → values.
    name : str
        What messages call the set.

    Raises
    ------
    StimulusError
        If there is no such column or kind, or a kind is not said.
    """
    found = []
    for field, said in fields.items():
        column, _, kind = said.partition(":")
        if column not in table:
            raise StimulusError(f"{name} has no column {column!r} of files{near(column, list(table))}")
        first = next((str(each) for each in table[column] if isinstance(each, str) and each), "")
        kind = kind or kind_of(first) or ""
        if kind not in KINDS:
            what = f"there is no kind {kind!r}{near(kind, KINDS)}" if kind else f"{first!r} does not say its kind"
            raise StimulusError(f"{name}: field {field}={said}: {what}; say {column}:KIND, one of {', '.join(KINDS)}")
        found.append(FieldColumn(field, column, kind))
    return found


def values_with_words(file: BinaryIO, *, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decode numbers in a picture; nothing is done to them."""
    from netphys.stimuli.readers.decoding import decode_values

    return decode_values(file, name=name), ()


def _decoder(kind: str) -> Callable[..., tuple[Any, tuple[str, ...]]]:
    found = KINDS[kind]
    return getattr(_module(found.module), found.function)


@lru_cache
def _module(name: str) -> ModuleType:
    """Import a reader, when it is first needed."""
    return importlib.import_module(f"netphys.stimuli.readers.{name}")
