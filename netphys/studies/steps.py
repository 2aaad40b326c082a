"""Steps: one cached computation each, looked up by the digest of all that it depends on.

A step's record (``.netphys/steps/NAME.json``) is committed after its outputs, so a kill leaves the step undone, never
half done. Outputs are known by their contents; size and time of change are a hint that they are as they were.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from netphys.errors import OutputError
from netphys.files import ensure_folder, locked, sha256_of, slug, sweep, write_json
from netphys.provenance import digest, versions

__all__ = ["Step", "Steps", "is_study", "opened"]

log = logging.getLogger(__name__)

_HOME = ".netphys"
_FOLDERS = ("recordings", "rdms", "neural", "rsa", "figures", "probes", "networks", "units")  # where its files are


@dataclass(frozen=True)
class Step:
    """One step of a study that was run."""

    name: str
    digest: str
    reused: bool
    seconds: float
    outputs: tuple[str, ...]  # relative to the study's folder


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an output was when it was made: its contents, and size and time of change as a hint for them."""

    sha256: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> _State:
        """Look at a file."""
        stat = path.stat()
        return cls(sha256_of(path), stat.st_size, stat.st_mtime_ns)

    def holds(self, path: Path) -> bool:
        """Tell whether a file still has these contents."""
        stat = path.stat()
        if stat.st_size != self.size:
            return False
        return stat.st_mtime_ns == self.mtime_ns or sha256_of(path) == self.sha256


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is remembered of a step that was done."""

    name: str
    digest: str
    outputs: dict[str, _State]


class Steps:
    """The steps of one study's folder.

    Parameters
    ----------
    folder : Path
        The study's folder.
    force : bool
        Compute everything anew.
    """

    def __init__(self, folder: Path, *, force: bool = False) -> None:
        self._folder = folder
        self._records = ensure_folder(folder / _HOME / "steps")
        self._force = force
        self.done: list[Step] = []

    def run(self, name: str, inputs: Mapping[str, Any], make: Callable[[], Sequence[Path]]) -> str:
        """Run a step unless its outputs are there already.

        Parameters
        ----------
        name : str
            Unique in the study, as ``"rsa/monkey IT/SqueezeNet"``.
        inputs : mapping
            Everything that the outputs depend on: options, digests of other steps, of code.
        make : callable
            Computes, commits the outputs below the study's folder, and returns their paths.

        Returns
        -------
        str
            The step's digest, an input of the steps that follow.
        """
        key = digest({"step": name, "inputs": dict(inputs), "versions": versions()})
        record = self._records / f"{slug(name)}-{digest(name)[:8]}.json"
        known = None if self._force else self._valid(record, key)
        if known is None:
            started = time.monotonic()
            outputs = {path.relative_to(self._folder).as_posix(): _State.of(path) for path in make()}
            write_json(record, msgspec.to_builtins(_Record(name, key, outputs)))
            self.done.append(Step(name, key, False, time.monotonic() - started, tuple(outputs)))
        else:
            self.done.append(Step(name, key, True, 0.0, known))
        return key

    def digests_of(self, *kinds: str) -> dict[str, str]:
        """Return the digests of steps whose names begin so, in the order in which they were run."""
        return {step.name: step.digest for step in self.done if step.name.startswith(kinds)}

    def _valid(self, record: Path, key: str) -> tuple[str, ...] | None:
        """Return the outputs of a record that still holds, else None."""
        try:
            known = msgspec.json.decode(record.read_bytes(), type=_Record)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            log.warning("%s is damaged; its step is computed again", record)
            return None
        if known.digest != key:
            return None
        for name, state in known.outputs.items():
            path = self._folder / name
            if not path.resolve().is_relative_to(self._folder.resolve()):
                log.warning("%s names a file outside the study, %s; its step is computed again", record, name)
                return None
            if not path.is_file():
                log.warning("%s is gone; its step is computed again", path)
                return None
            if not state.holds(path):
                log.warning("%s was changed since it was made; it is made again", path)
                path.unlink()
                return None
        return tuple(known.outputs)


def is_study(folder: Path) -> bool:
    """Tell whether a folder is that of a study."""
    return (folder / _HOME).is_dir()


def _remove_empty(*folders: Path) -> None:
    """Remove folders that hold nothing; others stay."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def opened(folder: Path, *, force: bool = False) -> Iterator[Steps]:
    """Open a study's folder: alone in it, leftovers of killed runs removed.

    Raises
    ------
    OutputError
        If the folder holds other things and no study, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file; choose another --out")
    foreign = folder.is_dir() and any(folder.iterdir()) and not is_study(folder)
    if foreign and not force:
        raise OutputError(f"{folder} is not empty and holds no study; choose another --out, or --force")
    existed = folder.is_dir()
    home = ensure_folder(folder / _HOME)
    try:
        with locked(home / "lock", waiting=f"waiting for another process that runs a study in {folder}"):
            for below in ("", _HOME, f"{_HOME}/steps", *_FOLDERS):
                sweep(folder / below)
            for kind in ("networks", "units"):
                for each in (folder / kind).glob("*/"):
                    sweep(each)
            yield Steps(folder, force=force)
    except BaseException:
        _remove_empty(*(folder / each for each in _FOLDERS), home / "steps", home, *([] if existed else [folder]))
        raise
