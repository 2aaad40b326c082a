"""A recording that is being written: closed shards with journals, so that a kill loses no whole shard.

An open HDF5 file does not survive a kill. So rows are written as *shards* into ``NAME.partial/``: raw bytes of whole
batches, layer after layer, with the state of other sinks behind them, committed by rename. ``journal.jsonl`` gets a
line, synced, after its shard; a shard without its line is dropped. ``plan.json`` says what recording it is, and every
line carries its digest, so that no shard is ever taken for another recording's, whatever of the folder is left.

Which rows a shard holds is fixed before anything runs (:class:`Cut`), whoever records it. Several ranks write side by
side, each with a journal of its own (``journal-1.jsonl``), so that no line can be torn by another's.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import RecordingError
from netphys.files import append_line, committing, ensure_folder, remove_tree, sha256_of, write_json, writing
from netphys.provenance import digest
from netphys.recording.file.bfloat16 import storage_dtype

__all__ = ["Cut", "Shard", "Shards", "agrees", "cut_into", "differences", "remove_shards", "require_ours"]

SHARD_BYTES = 32 << 20  # at least; smaller shards spend their time in fsync
_SHARD_NAME = re.compile(r"shard-\d{5,}\.bin")
_OURS = re.compile(
    r"(shard-\d{5,}\.bin|journal(-\d+)?\.jsonl|plan\.json)$|\.(shard-|journal|plan\.json)"
)  # and temporary
_FOR_RANKS = 32  # shards, where there are batches enough: fewer would leave ranks without work


@dataclass(frozen=True)
class Cut:
    """How the rows of a recording are cut into shards: runs of whole batches, the last one shorter.

    Examples
    --------
    >>> cut = Cut(n_rows=10, shard_rows=4)
    >>> len(cut), cut.rows(0), cut.rows(2)
    (3, range(0, 4), range(8, 10))
    """

    n_rows: int
    shard_rows: int

    def __len__(self) -> int:
        return -(-self.n_rows // self.shard_rows)

    def rows(self, index: int) -> range:
        """Rows of a shard."""
        return range(index * self.shard_rows, min((index + 1) * self.shard_rows, self.n_rows))


def cut_into(n_rows: int, batch_size: int, bytes_a_stimulus: int) -> Cut:
    """Cut a recording into shards; not by the number of ranks, so that any number of them goes on with any shards.

    Examples
    --------
    >>> cut_into(10_000, 32, 1 << 20), cut_into(10_000, 32, 64)
    (Cut(n_rows=10000, shard_rows=32), Cut(n_rows=10000, shard_rows=320))
    """
    by_bytes = -(-SHARD_BYTES // max(1, bytes_a_stimulus * batch_size))
    by_ranks = -(-n_rows // (batch_size * _FOR_RANKS))
    return Cut(n_rows, min(max(1, min(by_bytes, by_ranks)) * batch_size, n_rows))


@dataclass(frozen=True)
class Shard:
    """A line of a journal."""

    file: str
    first: int  # row of its first stimulus
    n_rows: int
    n_bytes: int  # of the activations; the state of sinks follows
    sha256: str
    plan: str = ""  # digest of the plan


def agrees(folder: Path, plan: Mapping[str, Any]) -> bool:
    """Tell whether the recording in progress in `folder` is the one of `plan`."""
    try:
        begun = json.loads((folder / "plan.json").read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return bool(begun == json.loads(json.dumps(plan)))


def require_ours(folder: Path) -> None:
    """See that a folder may be taken for shards of ours: it has a plan, or nothing but what is ours.

    Raises
    ------
    RecordingError
        If it is a link, or holds what nobody here has written: a user's own, which is not touched.
    """
    if folder.is_symlink():
        raise RecordingError(f"{folder} is a link to elsewhere, which is not followed; remove it and record again")
    if not folder.exists() or (folder / "plan.json").is_file():
        return
    odd = [folder.name] if not folder.is_dir() else sorted(x.name for x in folder.iterdir() if not _OURS.match(x.name))
    if odd:
        raise RecordingError(f"{folder} is in the way: {odd[0]} is nothing that netphys has written; move it elsewhere")


def remove_shards(folder: Path) -> None:
    """Remove a recording in progress, its journals first: a kill in the midst leaves nothing that could go on."""
    if folder.is_dir() and not folder.is_symlink():
        require_ours(folder)
        with writing(folder):
            for journal in folder.glob("journal*.jsonl"):
                journal.unlink(missing_ok=True)
        remove_tree(folder)


class Shards:
    """The folder of a recording in progress.

    Parameters
    ----------
    folder : Path
        ``NAME.h5.partial``.
    plan : dict
        All that the recording's numbers depend on. A folder with another plan is refused.
    shapes : dict
        Layer → shape kept of one stimulus, in order.
    dtype : str
        Stored dtype.
    cut : Cut
        Which rows each shard holds.
    in_order : bool
        Whether a shard stands for all those before it (its states do); else each stands for itself, in any order.
    rank : int
        Whose journal is written. Rank 0 is the first to open the folder, alone, and mends what a kill has left.
    """

    def __init__(
        self, folder: Path, plan: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], dtype: str, *,
        cut: Cut, in_order: bool = True, rank: int = 0,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._shapes = dict(shapes)
        self._dtype = storage_dtype(dtype)
        self.cut, self._in_order, self._rank = cut, in_order, rank
        wanted = json.loads(json.dumps(plan))
        self._plan = digest(wanted)
        require_ours(folder)
        if rank == 0:
            ensure_folder(folder)
            self._agree(wanted)
        self.done: dict[int, Shard] = {}
        self.refresh()
        if rank == 0:
            self._mend()

    @property
    def n_rows(self) -> int:
        """How many stimuli are safe on disk."""
        return sum(shard.n_rows for shard in self.done.values())

    @property
    def missing(self) -> list[int]:
        """Which shards are not there yet."""
        return [index for index in range(len(self.cut)) if index not in self.done]

    def refresh(self) -> None:
        """Read what all ranks have written."""
        self.done = self._read_journals(self._plan)

    def append(
        self, index: int, arrays: Mapping[str, np.ndarray], states: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Commit a shard: its rows of each layer's array, from the first on, and the states of other sinks."""
        from safetensors.numpy import save

        name, rows = _shard_name(index), self.cut.rows(index)
        sha = hashlib.sha256()
        n_bytes = 0
        with committing(self._folder / name) as temporary, temporary.open("wb") as file:
            for layer in self._shapes:
                block = np.ascontiguousarray(arrays[layer][: len(rows)]).reshape(-1).view(np.uint8).data
                file.write(block)
                sha.update(block)
                n_bytes += block.nbytes
            tail = save({key: np.ascontiguousarray(value) for key, value in states.items()}) if states else b""
            file.write(tail)
            sha.update(tail)
        shard = Shard(name, rows.start, len(rows), n_bytes, sha.hexdigest(), self._plan)
        append_line(self._folder / _journal_name(self._rank), json.dumps(asdict(shard), sort_keys=True))
        self.done[index] = shard

    def states(self, index: int | None = None, *, verified: bool = False) -> dict[str, np.ndarray]:
        """Read the states of other sinks as of a shard, by default the last one; `verified` only just now."""
        from safetensors.numpy import load

        if not self.done:
            return {}
        shard = self.done[max(self.done) if index is None else index]
        if not verified:
            self._verify(shard)
        with (self._folder / shard.file).open("rb") as file:
            file.seek(shard.n_bytes)
            tail = file.read()
        return load(tail) if tail else {}

    def verify(self) -> None:
        """Compare every shard with its checksum.

        Raises
        ------
        RecordingError
            If one was changed since it was written.
        """
        for index in sorted(self.done):
            self._verify(self.done[index])

    def rows(self, layer: str, step: int) -> Iterator[tuple[int, np.ndarray]]:
        """Go through one layer of a complete recording in blocks of `step` stimuli: (first row, values)."""
        side = self.cut.shard_rows
        for start in range(0, self.cut.n_rows, step):
            stop = min(start + step, self.cut.n_rows)
            parts = [
                self._map(self.done[index], layer)[max(start - index * side, 0) : stop - index * side]
                for index in range(start // side, -(-stop // side))
            ]
            yield start, parts[0] if len(parts) == 1 else np.concatenate(parts)

    def remove(self) -> None:
        """Remove the folder; the recording is complete elsewhere, or has not begun."""
        remove_shards(self._folder)

    def _verify(self, shard: Shard) -> None:
        path = self._folder / shard.file
        if not path.is_file() or sha256_of(path) != shard.sha256:
            raise RecordingError(
                f"{shard.file} is not what was written (checksum); remove {self._folder} and record again"
            )

    def _map(self, shard: Shard, layer: str) -> np.ndarray:
        """Map one layer's rows in a shard."""
        offset = 0
        for name, shape in self._shapes.items():
            size = shard.n_rows * int(np.prod(shape)) * self._dtype.itemsize
            if name == layer:
                return np.memmap(
                    self._folder / shard.file, dtype=self._dtype, mode="r", offset=offset, shape=(shard.n_rows, *shape)
                )
            offset += size
        raise KeyError(layer)

    def _agree(self, plan: dict[str, Any]) -> None:
        """Write the plan, or refuse a folder that was begun with another."""
        file = self._folder / "plan.json"
        try:
            begun = json.loads(file.read_text())
        except FileNotFoundError:  # what is there besides is of nobody knows which recording
            remove_shards(self._folder)
            ensure_folder(self._folder)
            write_json(file, plan)
            return
        except (ValueError, RecursionError, OSError):
            begun = None
        if not isinstance(begun, dict):
            raise RecordingError(f"{file} is damaged; remove {self._folder} (or --force) and record again")
        differing = differences(plan, begun)
        if differing and not any(self._there(digest(begun))):  # begun, but nothing was recorded that could be lost
            write_json(file, plan)
        elif differing:
            raise RecordingError(
                f"{self._folder} was begun with other {', '.join(differing)}; remove it (or --force) to record anew"
            )

    def _read_journals(self, plan: str) -> dict[int, Shard]:
        """Read what is there whole: shards of this plan and cut; in order, up to the first gap."""
        found = {shard.first // self.cut.shard_rows: shard for shard in self._there(plan) if self._fits(shard)}
        kept = [index for place, index in enumerate(sorted(found)) if index == place or not self._in_order]
        return {index: found[index] for index in kept}

    def _there(self, plan: str) -> Iterator[Shard]:
        """Go through the shards of a plan that a whole line names and whose file is there."""
        for journal in sorted(self._folder.glob("journal*.jsonl")):
            if not journal.is_file():
                raise RecordingError(f"{journal} is no file; remove {self._folder} (or --force) and record again")
            for line in journal.read_bytes().split(b"\n")[:-1]:  # behind the last newline: torn, or nothing
                shard = _parsed(line)
                if shard is None or shard.plan != plan or not _SHARD_NAME.fullmatch(shard.file):
                    continue
                path = self._folder / shard.file
                if path.is_file() and not path.is_symlink() and path.stat().st_size >= shard.n_bytes:
                    yield shard

    def _fits(self, shard: Shard) -> bool:
        """Tell whether a shard is one of the cut."""
        index = shard.first // self.cut.shard_rows
        if index >= len(self.cut) or shard.file != _shard_name(index):
            return False
        n_bytes = sum(math.prod(shape) for shape in self._shapes.values()) * shard.n_rows * self._dtype.itemsize
        return n_bytes == shard.n_bytes and self.cut.rows(index) == range(shard.first, shard.first + shard.n_rows)

    def _mend(self) -> None:
        """Drop from the journals what is not taken: a torn tail would glue itself to the next line."""
        taken = {json.dumps(asdict(shard), sort_keys=True).encode() for shard in self.done.values()}
        for journal in self._folder.glob("journal*.jsonl"):
            found = journal.read_bytes()
            mended = b"".join(line + b"\n" for line in found.split(b"\n")[:-1] if line in taken)
            if mended != found:
                with committing(journal) as temporary:
                    temporary.write_bytes(mended)


def _journal_name(rank: int) -> str:
    return f"journal-{rank}.jsonl" if rank else "journal.jsonl"


def _shard_name(index: int) -> str:
    return f"shard-{index:05d}.bin"


def _parsed(line: bytes) -> Shard | None:
    """Parse a line of the journal; None if it is not one that was written here."""
    try:
        values = json.loads(line)
        shard = Shard(**values)
    except (ValueError, TypeError, RecursionError):
        return None
    texts, counts = (shard.file, shard.sha256, shard.plan), (shard.first, shard.n_rows, shard.n_bytes)
    if not all(type(each) is str for each in texts) or not all(type(each) is int and each >= 0 for each in counts):
        return None
    return shard if shard.n_rows else None


def differences(plan: Mapping[str, Any], begun: Mapping[str, Any]) -> list[str]:
    """Name what differs; of sinks of the same classes the one whose options do."""
    found = sorted(key for key in plan.keys() | begun.keys() if plan.get(key) != begun.get(key))
    ours, theirs = plan.get("sinks"), begun.get("sinks")
    if "sinks" in found and isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        odd = [key.partition(" ")[2].rpartition(".")[2] for key in ours if ours[key] != theirs[key]]
        return [f"options of the sink {odd[0]}" if key == "sinks" else key for key in found]
    return found
