"""Texts in a recording's file: of a stranger's none takes more memory than the file has bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import RecordingError
from netphys.provenance import digest

__all__ = ["contents_digest", "one_attribute", "read_contents", "read_texts"]

_REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])  # to a text of any length, in HDF5
_FEW = 16  # texts of any length that are read at once


def read_texts(path: Path, data: Any) -> np.ndarray:
    """Read texts; of any length they may take no more memory than the whole file has bytes.

    Such a text is a reference (length, where it lies), and many may point to one text. So lengths are read first, where
    references lie side by side, as they do in files of netphys; else a few texts at a time.

    Raises
    ------
    RecordingError
        If they claim more.
    """
    import h5py

    kind = h5py.check_string_dtype(data.dtype)
    if kind is None:
        raise RecordingError(f"{path}: {data.name} is no list of texts; record it again")
    if kind.length is not None or not data.size:
        return np.asarray(data.asstr()[:])
    most, offset = path.stat().st_size, data.id.get_offset()
    if offset is not None and data.id.get_storage_size() == data.size * _REFERENCE.itemsize:
        claimed = int(np.fromfile(path, _REFERENCE, data.size, offset=offset)["length"].sum(dtype=np.uint64))
        _require_texts(path, data, claimed, most)
        return np.asarray(data.asstr()[:])
    found, claimed = [], 0
    for first in range(0, len(data), _FEW):
        found.append(data.asstr()[first : first + _FEW])
        claimed += sum(len(each) for each in found[-1])
        _require_texts(path, data, claimed, most)
    return np.concatenate(found)


def _require_texts(path: Path, data: Any, claimed: int, most: int) -> None:
    if claimed > most:
        raise RecordingError(f"{path}: {data.name} claims {claimed} bytes of text from {most} bytes; record it again")


def read_contents(path: Path, file: Any, n_stimuli: int) -> tuple[Any, ...]:
    """Read what each stimulus is; () where an open file does not say it, or has no checksum of it.

    Raises
    ------
    RecordingError
        If it is not what was written.
    """
    import h5py

    expected = one_attribute(file, "contents_sha256")
    if expected is None:
        return ()
    data = file.get("contents")
    text = h5py.check_string_dtype(data.dtype) if isinstance(data, h5py.Dataset) else None
    if text is None or text.length is None or data.shape != (n_stimuli,):
        raise RecordingError(f"{path}: /contents is no list of texts, one a stimulus; record it again")
    texts = [bytes(each) for each in data[:]]
    if contents_digest(texts) != expected:
        raise RecordingError(f"{path}: /contents is not what was written (checksum)")
    try:
        return tuple(json.loads(each) for each in texts)
    except (ValueError, RecursionError):
        raise RecordingError(f"{path}: /contents is no JSON; record it again") from None


def contents_digest(texts: Sequence[bytes]) -> str:
    """Digest what each stimulus is, as it is written."""
    return digest([each.decode("utf-8", "replace") for each in texts])


def one_attribute(item: Any, key: str) -> Any:
    """Read an attribute that is one value, as Python has it; None of anything else, unread."""
    if key not in item.attrs or item.attrs.get_id(key).shape != ():
        return None
    value = item.attrs[key]
    return value.decode() if isinstance(value, bytes) else value.item() if isinstance(value, np.generic) else value
