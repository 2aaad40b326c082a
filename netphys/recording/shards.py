"""A recording that is being written: closed shards with a journal, so that a kill loses no whole shard.

An open HDF5 file does not survive a kill. So rows are written as *shards* into ``NAME.partial/``: raw bytes of whole
batches, layer after layer, with the state of other sinks behind them, committed by rename. ``journal.jsonl`` gets a
line, synced, after its shard; a shard without its line is dropped. ``plan.json`` says what recording it is.
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
from netphys.files import append_line, committing, ensure_folder, remove_tree, sha256_of, write_json

__all__ = ["Shard", "Shards", "agrees"]

SHARD_BYTES = 32 << 20  # at least; smaller shards spend their time in fsync


@dataclass(frozen=True)
class Shard:
    """A line of the journal."""

    file: str
    first: int  # row of its first stimulus
    n_rows: int
    n_bytes: int  # of the activations; the state of sinks follows
    sha256: str


def agrees(folder: Path, plan: Mapping[str, Any]) -> bool:
    """Tell whether the recording in progress in `folder` is the one of `plan`."""
    try:
        begun = json.loads((folder / "plan.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(begun == json.loads(json.dumps(plan)))


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
        ensure_folder(folder)
        self._agree(json.loads(json.dumps(plan)))
        self.done: list[Shard] = self._read_journal()

    @property
    def n_rows(self) -> int:
        """How many stimuli are safe on disk."""
        return self.done[-1].first + self.done[-1].n_rows if self.done else 0

    def append(self, arrays: Mapping[str, np.ndarray], n_rows: int, states: Mapping[str, np.ndarray]) -> None:
        """Commit a shard: the first `n_rows` rows of each layer's array, and the states of other sinks."""
        from safetensors.numpy import save

        name = f"shard-{len(self.done):05d}.bin"
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
        shard = Shard(name, self.n_rows, n_rows, n_bytes, sha.hexdigest())
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
        """Remove the folder; the recording is complete elsewhere."""
        remove_tree(self._folder)

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
        except FileNotFoundError:
            write_json(file, plan)
            return
        except ValueError:
            raise RecordingError(f"{file} is damaged; remove {self._folder} and record again") from None
        differing = sorted(key for key in plan.keys() | begun.keys() if plan.get(key) != begun.get(key))
        if differing and not self._read_journal():  # begun, but nothing was recorded that could be lost
            write_json(file, plan)
        elif differing:
            raise RecordingError(
                f"{self._folder} was begun with other {', '.join(differing)}; remove it (or --force) to record anew"
            )

    def _read_journal(self) -> list[Shard]:
        """Read the journal up to a torn line, a gap, or a shard that is not there whole."""
        file = self._folder / "journal.jsonl"
        if not file.is_file():
            return []
        done: list[Shard] = []
        whole = 0
        for line in file.read_bytes().split(b"\n")[:-1]:
            try:
                shard = Shard(**json.loads(line))
            except (ValueError, TypeError):
                break
            expected = done[-1].first + done[-1].n_rows if done else 0
            path = self._folder / shard.file
            if shard.first != expected or not path.is_file() or path.stat().st_size < shard.n_bytes:
                break
            done.append(shard)
            whole += len(line) + 1
        if whole != file.stat().st_size:  # a torn tail would glue itself to the next line
            with committing(file) as temporary:
                temporary.write_bytes(file.read_bytes()[:whole])
        return done
