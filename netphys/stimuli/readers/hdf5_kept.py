"""Read what :func:`netphys.stimuli.readers.hdf5.write_hdf5` wrote: every value is compared with its checksum.

What the file says of itself (record, metadata, digests, checksums) has a checksum, too, compared when it is opened. So
a damaged file is an error, and never other pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import FileError, NetphysError, StimulusError
from netphys.guards import guarded_hdf5, require_claim, translating
from netphys.hdf5_columns import GROUP, Columns, escaped, fixed_text, metadata_frame, read_columns, table_digest
from netphys.provenance import digest
from netphys.stimuli.readers.folder import Found
from netphys.stimuli.readers.hdf5_layouts import Even, Flat, open_field
from netphys.stimuli.sources import gathered, value_digest

__all__ = ["FORMAT", "HeldFile", "KeptSource", "read_kept", "statement_digest"]

FORMAT = "netphys-stimuli-1"
BUDGET = 1 << 50  # bytes that a file may claim: it is read in pieces
RATIO = 1100  # of what we compress ourselves; deflate reaches 1032
_READ_BYTES = 16 << 20


class HeldFile:
    """An HDF5 file that stays open, for one thread at a time; a process of its own opens it again.

    Parameters
    ----------
    path : Path
        The file.
    ratio : int
        See :func:`netphys.guards.guarded_hdf5`.
    """

    def __init__(self, path: Path, *, ratio: int) -> None:
        self.path, self._ratio = path, ratio
        self._forget()

    def close(self) -> None:
        """Close the file, until it is read again."""
        with self._lock:
            self._stack.close()
            self._file = None

    @contextmanager
    def closing_on_failure(self) -> Iterator[None]:
        """Close the file if the block fails: nobody is to hold what could not be read."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _forget(self) -> None:
        self._pid, self._file = os.getpid(), None
        self._lock: threading.RLock = threading.RLock()
        self._stack: ExitStack = ExitStack()

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Hold the open file; what HDF5 raises inside becomes one line."""
        if self._pid != os.getpid():  # after a fork: HDF5's state and the lock are another process's
            self._forget()
        with self._lock, translating(self.path, "HDF5"):
            if self._file is None:
                opening = guarded_hdf5(self.path, budget=BUDGET, ratio=self._ratio)
                self._file = self._stack.enter_context(opening)
            yield self._file

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_ratio": self._ratio}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


class KeptSource:
    """The stimuli of a file of ours, read when they are asked for.

    Parameters
    ----------
    held : HeldFile
        The file.
    record : dict
        What it says of itself.
    ids : sequence of str
        One a stimulus, for messages.
    """

    def __init__(self, held: HeldFile, record: dict[str, Any], ids: Sequence[str]) -> None:
        self._held, self._ids, n = held, list(ids), len(ids)
        self.fields: tuple[str, ...] = tuple(record["fields"])
        self.digest = str(record["digest"])
        self._words = [tuple(map(str, each)) for each in record["conversions"]]
        with held.reading() as file:
            self._layouts = {field: open_field(held.path, file, f"fields/{escaped(field)}", n) for field in self.fields}
            self._digests = Flat("digests", file["digests"]["offsets"][:], texts=True)

    def __len__(self) -> int:
        return len(self._ids)

    def read(self, field: str, indices: np.ndarray) -> Any:
        rows = np.asarray(indices, dtype=np.int64)
        layout = self._layouts[field]
        try:
            values = self._checked(field, layout, rows)
        except FileError:
            if len(rows) < 2:
                raise
            values = [self._checked(field, layout, rows[at : at + 1])[0] for at in range(len(rows))]
        return gathered(values)

    def digests(self, indices: np.ndarray) -> list[Any]:
        with self._held.reading() as file:
            return [json.loads(each) for each in self._digests.read(file, np.asarray(indices, dtype=np.int64))]

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        with self._held.reading() as file:
            codes = file["conversions"][:]
        return [self._words[codes[int(index)]] for index in indices]

    def _checked(self, field: str, layout: Even | Flat, rows: np.ndarray) -> list[Any]:
        """Read values and compare each with its checksum."""
        try:
            with self._held.reading() as file:
                values = layout.read(file, rows)
                sums = Even(f"checksums/{escaped(field)}").read(file, rows)
        except FileError as error:
            if len(rows) != 1:
                raise
            raise StimulusError(
                f"{self._held.path}: {field} of stimulus {self._ids[rows[0]]!r} cannot be read, the file is damaged "
                f"({error.__cause__ or error}); write it again".splitlines()[0]
            ) from None
        for row, value, known in zip(rows, values, sums, strict=True):
            if bytes.fromhex(value_digest(value)) != known.tobytes():
                raise StimulusError(
                    f"{self._held.path}: {field} of stimulus {self._ids[row]!r} is not what was written (checksum); "
                    "the file is damaged, write it again"
                )
        return values


def read_kept(path: Path) -> Found:
    """Read a file of ours.

    Raises
    ------
    FileError
        If it is none, or damaged.
    """
    held = HeldFile(path, ratio=RATIO)
    with held.closing_on_failure(), held.reading() as file:
        odd = FileError(f"{path} is not what netphys wrote: its record is damaged; write it again")
        if fixed_text(file, "format") != FORMAT:
            raise odd
        try:
            record = _record(path, file)
            n, fields = int(record["n_stimuli"]), [str(each) for each in record["fields"]]
            _require_small(path, file)
            columns = read_columns(path, file, n, fixed=True)
            if columns is None or fixed_text(file, "sha256") != statement_digest(file, columns, fields):
                raise odd
        except NetphysError:
            raise
        except Exception:  # whatever damaged bytes lead to
            raise odd from None
    with held.closing_on_failure():
        source = KeptSource(held, record, [str(each) for each in columns["stimulus_id"]])
    return Found(
        source,
        metadata_frame(columns, None),
        str(record["name"]),
        left_out=tuple(map(str, record["left_out"])),
        treatment=str(record["treatment"]),
    )


def statement_digest(file: Any, columns: Columns, fields: Sequence[str]) -> str:
    """Digest all that an open file says beside its values."""
    parts = ["record", "conversions", "digests/bytes", "digests/offsets", *(f"checksums/{escaped(e)}" for e in fields)]
    return digest({"metadata": table_digest(columns), "parts": {part: _bytes_digest(file[part]) for part in parts}})


def _bytes_digest(data: Any) -> str:
    sha = hashlib.sha256(f"{data.dtype.str}{data.shape}".encode())
    step = max(1, _READ_BYTES // max(1, data.dtype.itemsize * int(np.prod(data.shape[1:]))))
    for start in range(0, data.shape[0], step):
        sha.update(np.ascontiguousarray(data[start : start + step]).tobytes())
    return sha.hexdigest()


def _record(path: Path, file: Any) -> dict[str, Any]:
    data = file["record"]
    require_claim(path, "/record", claimed=data.nbytes, stored=data.id.get_storage_size(), budget=1 << 30)
    return json.loads(data[:].tobytes())


def _require_small(path: Path, file: Any) -> None:
    """See that what is read whole claims no more than it can hold: columns, digests, offsets."""
    read = [*file[GROUP].values(), file["conversions"], *file["digests"].values(), *file["checksums"].values()]
    read += [each for field in file["fields"].values() if hasattr(field, "values") for each in field.values()]
    for data in read:
        name = data.name.rpartition("/")[2]
        if name in ("bytes", "shapes", "dtypes"):  # read in pieces
            continue
        require_claim(path, data.name, claimed=data.nbytes, stored=data.id.get_storage_size())
