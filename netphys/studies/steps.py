"""Steps: one cached computation each, looked up by the digest of all that it depends on.

A step's record (``.netphys/steps/NAME.json``) is committed after its outputs, so a kill leaves the step undone, never
half done. Outputs are known by their contents; size and time of change are a hint that they are as they were.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netphys.errors import OutputError
from netphys.files import ensure_folder, locked, sha256_of, slug, sweep, write_json
from netphys.provenance import digest, versions

__all__ = ["Step", "Steps", "opened"]

log = logging.getLogger(__name__)

_HOME = ".netphys"


@dataclass(frozen=True)
class Step:
    """One step of a study that was run."""

    name: str
    digest: str
    reused: bool
    seconds: float
    outputs: tuple[str, ...]  # relative to the study's folder


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
            outputs = {str(path.relative_to(self._folder)): _state(path) for path in make()}
            write_json(record, {"name": name, "digest": key, "outputs": outputs})
            self.done.append(Step(name, key, False, time.monotonic() - started, tuple(outputs)))
        else:
            self.done.append(Step(name, key, True, 0.0, tuple(known)))
        return key

    def _valid(self, record: Path, key: str) -> dict[str, Any] | None:
        """Return the outputs of a record that still holds, else None."""
        try:
            known = json.loads(record.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            log.warning("%s is damaged; its step is computed again", record)
            return None
        if known.get("digest") != key:
            return None
        for name, state in known["outputs"].items():
            path = self._folder / name
            if not path.is_file():
                log.warning("%s is gone; its step is computed again", path)
                return None
            if not _unchanged(path, state):
                log.warning("%s was changed since it was made; it is made again", path)
                path.unlink()
                return None
        return known["outputs"]


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
    foreign = folder.is_dir() and any(folder.iterdir()) and not (folder / _HOME).is_dir()
    if foreign and not force:
        raise OutputError(f"{folder} is not empty and holds no study; choose another --out, or --force")
    ensure_folder(folder)
    home = ensure_folder(folder / _HOME)
    with locked(home / "lock", waiting=f"waiting for another process that runs a study in {folder}"):
        sweep(folder)
        yield Steps(folder, force=force)


def _state(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {"sha256": sha256_of(path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _unchanged(path: Path, state: Mapping[str, Any]) -> bool:
    stat = path.stat()
    if stat.st_size != state["size"]:
        return False
    return stat.st_mtime_ns == state["mtime_ns"] or sha256_of(path) == state["sha256"]
