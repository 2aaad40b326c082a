"""A recording that is being written: closed shards with a journal, so that a kill loses no whole shard.

An open HDF5 file does not survive a kill. So rows are written as *shards* into ``NAME.partial/``: raw bytes of whole
batches, layer after layer, with the state of other sinks behind them, committed by rename. ``journal.jsonl`` gets a
line, synced, after its shard; a shard without its line is dropped. ``plan.json`` says what recording it is, and every
line carries its digest, so that no shard is ever taken for another recording's, whatever of the folder is left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import RecordingError
from netphys.files import append_line, committing, ensure_folder, remove_tree, sha256_of, write_json, writing
from netphys.provenance import digest

__all__ = ["Shard", "Shards", "agrees", "remove_shards"]

SHARD_BYTES = 32 << 20  # at least; smaller shards spend their time in fsync


@dataclass(frozen=True)
class Shard:
    """A line of the journal."""

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
    except (OSError, ValueError):
        return False
    return bool(begun == json.loads(json.dumps(plan)))


def remove_shards(folder: Path) -> None:
    """Remove a recording in progress, its journal first: a kill in the midst leaves nothing that could go on."""
    if folder.is_dir() and not folder.is_symlink():
        with writing(folder):
            (folder / "journal.jsonl").unlink(missing_ok=True)
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
    """

    def __init__(
        self, folder: Path, plan: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], dtype: str
    ) -> None:
        self._folder = folder
        self._shapes = dict(shapes)
        self._dtype = np.dtype(dtype)
        wanted = json.loads(json.dumps(plan))
        self._plan = digest(wanted)
        if folder.is_symlink():
            raise RecordingError(f"{folder} is a link to elsewhere, which is not followed; remove it and record again")
        ensure_folder(folder)
        self._agree(wanted)
        self.done: list[Shard] = self._read_journal(self._plan)

    @property
    def n_rows(self) -> int:
        """How many stimuli are safe on disk."""
        return self.done[-1].first + self.done[-1].n_rows if self.done else 0

    def append(self, arrays: Mapping[str, np.ndarray], n_rows: int, states: Mapping[str, np.ndarray]) -> None:
        """Commit a shard: the first `n_rows` rows of each layer's array, and the states of other sinks."""
        from safetensors.numpy import save

        name = _shard_name(len(self.done))
        sha = hashlib.sha256()
        n_bytes = 0
        with committing(self._folder / name) as temporary, temporary.open("wb") as file:
            for layer in self._shapes:
                block = np.ascontiguousarray(arrays[layer][:n_rows]).reshape(-1).view(np.uint8).data
                file.write(block)
                sha.update(block)
                n_bytes += block.nbytes
            tail = save({key: np.ascontiguousarray(value) for key, value in states.items()}) if states else b""
            file.write(tail)
            sha.update(tail)
        shard = Shard(name, self.n_rows, n_rows, n_bytes, sha.hexdigest(), self._plan)
        append_line(self._folder / "journal.jsonl", json.dumps(asdict(shard), sort_keys=True))
        self.done.append(shard)

    def states(self) -> dict[str, np.ndarray]:
        """Read the states of other sinks as of the last shard."""
        from safetensors.numpy import load

        if not self.done:
            return {}
        last = self.done[-1]
        self._verify(last)
        with (self._folder / last.file).open("rb") as file:
            file.seek(last.n_bytes)
            tail = file.read()
        return load(tail) if tail else {}

    def verify(self) -> None:
        """Compare every shard with its checksum.

        Raises
        ------
        RecordingError
            If one was changed since it was written.
        """
        for shard in self.done:
            self._verify(shard)

    def rows(self, layer: str, step: int) -> Iterator[tuple[int, np.ndarray]]:
        """Go through one layer in blocks of `step` stimuli: (first row, values)."""
        maps = [(shard, self._map(shard, layer)) for shard in self.done]
        for start in range(0, self.n_rows, step):
            stop = min(start + step, self.n_rows)
            parts = [
                values[max(start - shard.first, 0) : stop - shard.first]
                for shard, values in maps
                if shard.first < stop and shard.first + shard.n_rows > start
            ]
            yield start, parts[0] if len(parts) == 1 else np.concatenate(parts)

    def remove(self) -> None:
        """Remove the folder; the recording is complete elsewhere, or has not begun."""
        remove_shards(self._folder)

    def _verify(self, shard: Shard) -> None:
        if sha256_of(self._folder / shard.file) != shard.sha256:
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
        except ValueError:
            begun = None
        if not isinstance(begun, dict):
            raise RecordingError(f"{file} is damaged; remove {self._folder} (or --force) and record again")
        differing = _differences(plan, begun)
        if differing and not self._read_journal(digest(begun)):  # begun, but nothing was recorded that could be lost
            write_json(file, plan)
        elif differing:
            raise RecordingError(
                f"{self._folder} was begun with other {', '.join(differing)}; remove it (or --force) to record anew"
            )

    def _read_journal(self, plan: str) -> list[Shard]:
        """Read the journal up to a line that is torn or another plan's, a gap, or a shard that is not there whole."""
        file = self._folder / "journal.jsonl"
        if not file.is_file():
            return []
        done: list[Shard] = []
        whole = 0
        for line in file.read_bytes().split(b"\n")[:-1]:
            shard = _parsed(line)
            expected = done[-1].first + done[-1].n_rows if done else 0
            if shard is None or shard.plan != plan or shard.file != _shard_name(len(done)) or shard.first != expected:
                break
            path = self._folder / shard.file
            if path.is_symlink() or not path.is_file() or path.stat().st_size < shard.n_bytes:
                break
            done.append(shard)
            whole += len(line) + 1
        if whole != file.stat().st_size:  # a torn tail would glue itself to the next line
            with committing(file) as temporary:
                temporary.write_bytes(file.read_bytes()[:whole])
        return done


def _shard_name(index: int) -> str:
    return f"shard-{index:05d}.bin"


def _parsed(line: bytes) -> Shard | None:
    """Parse a line of the journal; None if it is not one that was written here."""
    try:
        values = json.loads(line)
        shard = Shard(**values)
    except (ValueError, TypeError):
        return None
    texts, counts = (shard.file, shard.sha256, shard.plan), (shard.first, shard.n_rows, shard.n_bytes)
    if not all(type(each) is str for each in texts) or not all(type(each) is int and each >= 0 for each in counts):
        return None
    return shard if shard.n_rows else None


def _differences(plan: Mapping[str, Any], begun: Mapping[str, Any]) -> list[str]:
    """Name what differs; of sinks of the same classes the one whose options do."""
    found = sorted(key for key in plan.keys() | begun.keys() if plan.get(key) != begun.get(key))
    ours, theirs = plan.get("sinks"), begun.get("sinks")
    if "sinks" in found and isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        odd = [key.partition(" ")[2].rpartition(".")[2] for key in ours if ours[key] != theirs[key]]
        return [f"options of the sink {odd[0]}" if key == "sinks" else key for key in found]
    return found
