"""Stimuli in files: decoded when read, by several threads; kept decoded where the whole set is small."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from netphys.errors import StimulusError
from netphys.progress import bar
from netphys.stimuli.readers.kinds import decode_file
from netphys.stimuli.readers.shelves import Shelf
from netphys.stimuli.sources import gathered, value_digest

__all__ = ["FileSource"]

log = logging.getLogger(__name__)

_THREADS = 4  # PIL decodes without the interpreter lock; more than four wait for the disk
_CACHE_BYTES = 1 << 29  # sets that decode to half a gigabyte are kept, so that digest and recording decode once


class FileSource:
    """Files on a shelf, decoded when read; kept decoded while they are few.

    Parameters
    ----------
    shelf : Shelf
        Where they lie.
    files : mapping
        Field → (kind, one file a stimulus).
    """

    def __init__(self, shelf: Shelf, files: Mapping[str, tuple[str, Sequence[str]]]) -> None:
        self._shelf, self._files = shelf, {field: (kind, list(names)) for field, (kind, names) in files.items()}
        self.fields = tuple(self._files)
        self._said: dict[tuple[str, int], tuple[str, ...]] = {}
        self._kept: dict[tuple[str, int], Any] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self._files[self.fields[0]][1])

    def read(self, field: str, indices: np.ndarray) -> Any:
        return gathered(self._decoded(field, [int(index) for index in indices]))

    def digests(self, indices: np.ndarray) -> list[Any]:
        result: list[Any] = []
        with bar(len(indices), label="reading stimuli") as progress:
            for start in range(0, len(indices), 64):
                part = [int(index) for index in indices[start : start + 64]]
                columns = [[value_digest(each) for each in self._decoded(field, part)] for field in self.fields]
                alone = self.fields == ("image",)
                result += columns[0] if alone else [dict(zip(self.fields, row)) for row in zip(*columns)]
                progress.update(len(part))
        return result

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        """Say what was done to the files of some stimuli; decodes those that nobody has read yet."""
        for field in self.fields:
            unseen = [int(index) for index in indices if (field, int(index)) not in self._said]
            for start in range(0, len(unseen), 64):
                self._decoded(field, unseen[start : start + 64])
        said = [[word for field in self.fields for word in self._said[field, int(index)]] for index in indices]
        return [tuple(dict.fromkeys(words)) for words in said]

    def probe(self) -> list[bool]:
        """Tell which stimuli can be decoded, in all their fields."""

        def whole(index: int) -> bool:
            try:
                for field in self.fields:
                    self._decoded(field, [index])
            except StimulusError as error:
                log.warning("%s", error)
                return False
            return True

        return [whole(index) for index in range(len(self))]

    def _decoded(self, field: str, indices: list[int]) -> list[Any]:
        missing = [index for index in dict.fromkeys(indices) if (field, index) not in self._kept]
        if len(missing) < 2:
            fresh = {index: self._one(field, index) for index in missing}
        else:
            with ThreadPoolExecutor(_THREADS) as pool:
                fresh = dict(zip(missing, pool.map(lambda index: self._one(field, index), missing)))
        values = [fresh[index] if index in fresh else self._kept[field, index] for index in indices]
        for index, value in fresh.items():
            n_bytes = getattr(value, "nbytes", 0)
            if self._kept_bytes + n_bytes <= _CACHE_BYTES:
                self._kept[field, index] = value
                self._kept_bytes += n_bytes
        return values

    def _one(self, field: str, index: int) -> Any:
        kind, names = self._files[field]
        with self._shelf.open(names[index]) as file:
            value, self._said[field, index] = decode_file(kind, file, names[index])
        return value
