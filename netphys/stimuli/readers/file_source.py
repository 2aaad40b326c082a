"""Stimuli in files: decoded when read, by threads or by worker processes; kept decoded where the whole set is small.

Memory does not grow with the set: of a set that does not fit, nothing is kept but 32 bytes of digest and a number for
the words that say what was done to a file.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from netphys.errors import StimulusError
from netphys.progress import bar
from netphys.stimuli.readers.decoding import LEAVES_OUT, Place
from netphys.stimuli.readers.kinds import decode_file
from netphys.stimuli.readers.shelves import Shelf
from netphys.stimuli.readers.worker_pool import by_worker, n_cores, n_workers
from netphys.stimuli.sources import gathered, value_digest

__all__ = ["FileSource"]

log = logging.getLogger(__name__)

_THREADS = (2, 8)  # at least, at most: one a core; on two cores four are no faster, and cost a tenth more
_SMALL_BYTES = 1 << 16  # decoded: an image of 64 or 128 pixels holds Python's lock most of its time, threads only wait
_CACHE_BYTES = 1 << 29  # sets that decode to half a gigabyte are kept, so that digest and recording decode once
_BLOCK_BYTES = 1 << 28  # of a batch whose memory is taken when its first image is known
_LOOKED_AT = 64  # files by which the decoded size of a set is estimated
_AT_ONCE_BYTES = 1 << 22  # of files that a worker is given together
_PART = 64  # files that are decoded before the next ones are asked for


@dataclass(slots=True)
class _Decoded:
    """One file, decoded: what was wanted of it."""

    value: Any
    words: tuple[str, ...]
    digest: str = ""


class FileSource:
    """Files on a shelf, decoded when read; all kept decoded, or none.

    Parameters
    ----------
    shelf : Shelf
        Where they lie.
    files : mapping
        Field → (kind, one file a stimulus).

    Notes
    -----
    How many processes decode is said by ``NETPHYS_WORKERS`` (:mod:`netphys.stimuli.readers.worker_pool`); the bits are
    the same.
    """

    def __init__(self, shelf: Shelf, files: Mapping[str, tuple[str, Sequence[str]]]) -> None:
        self._shelf, self._files = shelf, {field: (kind, list(names)) for field, (kind, names) in files.items()}
        self.fields = tuple(self._files)
        self._seen = {field: _Seen(len(self)) for field in self.fields}
        self._kept = _Kept(len(self))

    def __len__(self) -> int:
        return len(self._files[self.fields[0]][1])

    def read(self, field: str, indices: np.ndarray) -> Any:
        wanted = [int(index) for index in indices]
        kept = self._kept.of(field, wanted)
        missing = [index for index in dict.fromkeys(wanted) if index not in kept]
        block = _Block(len(wanted)) if len(missing) == len(wanted) and not self._kept.wants(field) else None
        fresh = {
            index: each.value for index, each in zip(missing, self._decoded(field, missing, block=block), strict=True)
        }
        values = [fresh[index] if index in fresh else kept[index] for index in wanted]
        return gathered(values) if block is None else block.gathered(values)

    def digests(self, indices: np.ndarray) -> list[Any]:
        self._look_at(indices, digest=True)
        columns = [self._seen[field].digests(indices) for field in self.fields]
        return columns[0] if self.fields == ("image",) else [dict(zip(self.fields, row)) for row in zip(*columns)]

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        """Say what was done to the files of some stimuli; decodes those that nobody has read yet."""
        self._look_at(indices, digest=False)
        said = [[word for field in self.fields for word in self._seen[field].words(int(index))] for index in indices]
        return [tuple(dict.fromkeys(words)) for words in said]

    def probe(self) -> list[bool]:
        """Tell which stimuli can be decoded, in all their fields."""
        whole = np.ones(len(self), dtype=bool)

        def leave_out(index: int, error: StimulusError) -> None:
            whole[index] = False
            log.warning("%s", str(error).removesuffix(LEAVES_OUT))

        self._look_at(np.arange(len(self)), digest=True, on_broken=leave_out)
        return whole.tolist()

    def _look_at(self, indices: np.ndarray, *, digest: bool, on_broken: Any = None) -> None:
        """Decode files that have not been seen, and remember digests and words."""
        wanted = [int(index) for index in dict.fromkeys(np.asarray(indices).tolist())]
        with bar(len(wanted), label="reading stimuli") as progress:
            for start in range(0, len(wanted), _PART):
                part = wanted[start : start + _PART]
                for field in self.fields:
                    part = self._look_at_part(field, part, digest, on_broken)
                progress.update(min(_PART, len(wanted) - start))

    def _look_at_part(self, field: str, part: list[int], digest: bool, on_broken: Any) -> list[int]:
        """Look at some files of a field; return those that are whole."""
        seen = self._seen[field]
        unseen = [index for index in part if not seen.knows(index, digest=digest)]
        if digest:
            for index, value in self._kept.of(field, unseen).items():
                seen.add(index, _Decoded(None, seen.words(index), value_digest(value)))
            unseen = [index for index in unseen if not seen.knows(index, digest=True)]
        broken = set()
        for index, each in zip(unseen, self._decoded(field, unseen, digest, whole=on_broken is None), strict=True):
            if isinstance(each, StimulusError):
                broken.add(index)
                on_broken(index, each)
        return [index for index in part if index not in broken]

    def _decoded(
        self,
        field: str,
        indices: list[int],
        digest: bool = False,
        *,
        whole: bool = True,
        block: _Block | None = None,
    ) -> list[Any]:
        """Decode files of a field, side by side; a broken one is raised, or where it need not be `whole` an answer."""
        kind, names = self._files[field]
        small = self._kept.mean_bytes(field) < _SMALL_BYTES
        n_processes = n_workers(len(self), kind, small=small)
        n_threads = 1 if small else min(max(n_cores(), _THREADS[0]), _THREADS[1])
        keeps = self._kept.wants(field)
        value = not digest or keeps  # a digest alone is not worth the way of its pixels
        wants = [*["value"] * value, *["digest"] * digest]

        def some(places: Sequence[int]) -> list[_Decoded | StimulusError]:
            files = [names[indices[place]] for place in places]
            if n_processes:
                return self._by_worker(kind, files, wants)
            spots = [block.place(place) if block is not None and kind == "image" else None for place in places]
            return [self._one_here(kind, file, wants, spot) for file, spot in zip(files, spots)]

        parts = _split(range(len(indices)), n_processes or n_threads)
        if len(parts) < 2:
            answers = [each for part in parts for each in some(part)]
        else:
            with ThreadPoolExecutor(len(parts) - 1) as pool:  # the last part is decoded by this thread
                others = [pool.submit(some, part) for part in parts[:-1]]
                last = some(parts[-1])
                answers = [*(each for other in others for each in other.result()), *last]
        for index, each in zip(indices, answers, strict=True):
            if isinstance(each, _Decoded):
                self._seen[field].add(index, each)
                if keeps:
                    self._kept.add(field, index, each.value)
            elif whole:
                raise each
        return answers

    def _one_here(
        self, kind: str, name: str, wants: Sequence[str], place: Place | None = None
    ) -> _Decoded | StimulusError:
        """Decode a file in this process."""
        try:
            with self._shelf.open(name) as file:
                value, words = decode_file(kind, file, name, **({} if place is None else {"place": place}))
        except StimulusError as error:
            return error
        except OSError as error:
            return _unreadable(kind, name, error)
        return _Decoded(value if "value" in wants else None, words, value_digest(value) if "digest" in wants else "")

    def _by_worker(self, kind: str, names: Sequence[str], wants: Sequence[str]) -> list[_Decoded | StimulusError]:
        """Let a worker decode files; what it has no word for is done here, so that its traceback is seen."""
        found: dict[str, _Decoded | StimulusError] = {}
        contents: list[tuple[str, bytes]] = []
        for place, name in enumerate(dict.fromkeys(names), 1):
            try:
                with self._shelf.open(name) as file:
                    contents.append((name, file.read()))
            except StimulusError as error:
                found[name] = error
            except OSError as error:
                found[name] = _unreadable(kind, name, error)
            if contents and (place == len(names) or sum(len(each) for _, each in contents) > _AT_ONCE_BYTES):
                for (asked, _), (said, value) in zip(contents, by_worker(kind, wants, contents), strict=True):
                    found[asked] = _understood(said, value) or self._one_here(kind, asked, wants)
                contents = []
        return [found[name] for name in names]


class _Block:
    """Memory of a batch of images, taken when the size of its first one is known; they are decoded into it.

    It is numpy's, which asks for large pages: the 18 MB of 32 photographs are fresh memory, whose pages of 4 kB take
    longer to get than to fill.
    """

    def __init__(self, n: int) -> None:
        self._n, self._lock = n, threading.Lock()
        self._pixels: np.ndarray | None = None

    def place(self, index: int) -> Place:
        """Return what gives the place of an image of a shape; None where the batch is of another."""

        def of(shape: tuple[int, ...]) -> np.ndarray | None:
            with self._lock:
                if self._pixels is None and self._n * np.prod(shape, dtype=np.int64) > _BLOCK_BYTES:
                    return None  # the first image may be the only large one
                if self._pixels is None:
                    self._pixels = np.empty((self._n, *shape), dtype=np.uint8)
            return self._pixels[index] if self._pixels.shape[1:] == shape else None

        return of

    def gathered(self, values: Sequence[Any]) -> Any:
        """Gather a batch; what lies elsewhere is brought here."""
        import torch

        pixels = self._pixels
        if pixels is None or any(each.shape != pixels.shape[1:] or each.dtype != pixels.dtype for each in values):
            return gathered(values)
        for index, each in enumerate(values):
            if each.base is not pixels:
                pixels[index] = each
        return torch.from_numpy(pixels)


def _understood(said: Mapping[str, Any], value: np.ndarray | None) -> _Decoded | StimulusError | None:
    """Read a worker's answer; None where it has no word for what happened."""
    if "broken" in said:
        return StimulusError(said["broken"])
    return None if "unsaid" in said else _Decoded(value, tuple(said["words"]), said.get("digest", ""))


def _unreadable(kind: str, name: str, error: OSError) -> StimulusError:
    return StimulusError(f"{kind} {name} cannot be read: {error.strerror or error}")


def _split(indices: Sequence[int], n: int) -> list[Sequence[int]]:
    """Cut into at most `n` parts, one a thread: a task for each image costs more than a small image."""
    size = max(-(-len(indices) // n), 1)
    return [indices[first : first + size] for first in range(0, len(indices), size)]


class _Seen:
    """Digests and words of the files of one field that have been decoded."""

    def __init__(self, n: int) -> None:
        self._lock = threading.Lock()
        self._said: dict[tuple[str, ...], int] = {}
        self._word = np.full(n, -1, dtype=np.int32)
        self._n, self._digest, self._has = n, np.empty((0, 32), dtype=np.uint8), np.zeros(0, dtype=bool)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def knows(self, index: int, *, digest: bool) -> bool:
        return bool(len(self._has) and self._has[index]) if digest else bool(self._word[index] >= 0)

    def add(self, index: int, decoded: _Decoded) -> None:
        with self._lock:
            self._word[index] = self._said.setdefault(decoded.words, len(self._said))
            if not decoded.digest:
                return
            if not len(self._has):
                self._digest = np.full((self._n, 32), 255, dtype=np.uint8)  # written: taken now, not page by page
                self._has = np.zeros(self._n, dtype=bool)
            self._digest[index] = np.frombuffer(bytes.fromhex(decoded.digest), dtype=np.uint8)
            self._has[index] = True

    def words(self, index: int) -> tuple[str, ...]:
        return list(self._said)[self._word[index]]

    def digests(self, indices: np.ndarray) -> list[str]:
        return [self._digest[index].tobytes().hex() for index in indices]


class _Kept:
    """Decoded values, of all stimuli or of none: of a field whose first files say that it fits."""

    def __init__(self, n: int) -> None:
        self._n, self._lock = n, threading.Lock()
        self._values: dict[str, dict[int, Any]] = {}
        self._bytes: dict[str, int] = {}
        self._too_large: set[str] = set()
        self._mean: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Send what is known, not what is kept: the other process reads the files."""
        return {**self.__dict__, "_values": {}, "_bytes": {}, "_lock": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def wants(self, field: str) -> bool:
        return field not in self._too_large

    def mean_bytes(self, field: str) -> float:
        """Bytes of a decoded file, by the first ones; infinite before one is known."""
        return self._mean.get(field, np.inf)

    def of(self, field: str, indices: list[int]) -> dict[int, Any]:
        """Return those values that are kept."""
        with self._lock:
            values = self._values.get(field, {})
            return {index: values[index] for index in indices if index in values}

    def add(self, field: str, index: int, value: Any) -> None:
        """Keep a value, or let go of all of its field where they do not fit."""
        with self._lock:
            if field in self._too_large or index in self._values.get(field, {}):
                return
            values = self._values.setdefault(field, {})
            values[index] = value
            self._bytes[field] = self._bytes.get(field, 0) + int(getattr(value, "nbytes", len(value)))
            self._mean[field] = self._bytes[field] / len(values)
            others = sum(self._estimate(each) for each in self._values if each != field)
            too_large = len(values) >= _LOOKED_AT and self._estimate(field) + others > _CACHE_BYTES
            if too_large or sum(self._bytes.values()) > _CACHE_BYTES:
                self._too_large.add(field)
                del self._values[field], self._bytes[field]

    def _estimate(self, field: str) -> int:
        """Bytes that a field will take when all of it is kept."""
        return round(self._mean[field] * self._n)
