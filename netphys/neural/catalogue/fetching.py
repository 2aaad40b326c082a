"""Bring a set to this machine, once: into a folder of its own, with a record of what came and its digests.

Where a source gives a checksum, the file must have it. Where none does, the SHA-256 of the first fetch is recorded in
``fetched.json``, and said; a later file that differs is refused. Two processes that want one set do not fetch it
twice, and a killed one leaves nothing that is taken for whole.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netphys.errors import NetphysError, NeuralDataError
from netphys.files import committing, ensure_folder, locked, remove_tree, sha256_of, sweep, write_json
from netphys.neural.catalogue.downloading import download, require_checksum, require_space
from netphys.neural.catalogue.entries import Catalogue, Entry, RemoteFile, read_catalogue
from netphys.neural.catalogue.unpacking import unpack

__all__ = ["RECORD", "data_folder", "fetch", "is_fetched"]

log = logging.getLogger(__name__)

RECORD = "fetched.json"


def data_folder(into: Path | str | None = None) -> Path:
    """Return the folder that holds all sets: `into`, else ``$NETPHYS_DATA``, else the user's cache (by pooch)."""
    if into is not None:
        return Path(into)
    if named := os.environ.get("NETPHYS_DATA"):
        return Path(named)
    import pooch

    return Path(pooch.os_cache("netphys"))


def fetch(
    name: str, *, into: Path | str | None = None, force: bool = False, catalogue: Catalogue | None = None
) -> Path:
    """Fetch a set, unless it is here already.

    Parameters
    ----------
    name : str
        The set's name in the catalogue.
    into : Path, optional
        The folder in which the set gets a folder of its name; default as :func:`data_folder` says.
    force : bool
        Fetch it anew; a file that differs from the one recorded is refused, and the old one stays.
    catalogue : Catalogue, optional
        Where to look it up; default the package's, and that of ``$NETPHYS_CATALOGUE``.

    Returns
    -------
    Path
        The set's folder.

    Raises
    ------
    NeuralDataError
        If there is no such set, it is not to be had without asking, no address gives it, or a file here or there is
        another one than was recorded.
    OutputError
        If the folder cannot be written to, or has no space.
    """
    entry = (read_catalogue() if catalogue is None else catalogue)[name]
    root = data_folder(into)
    if entry.access != "file":
        return _by_hand(entry, root)
    if not force and is_fetched(entry, into=root):
        return root / entry.name
    ensure_folder(root)
    with locked(root / f".{entry.name}.lock", waiting=f"another process fetches {entry.name}; waiting for it"):
        if force or not is_fetched(entry, into=root):
            _fetch_all(entry, root, force=force)
    return root / entry.name


def is_fetched(entry: Entry, *, into: Path | str | None = None) -> bool:
    """Tell whether all of a set is here, as it was recorded when it came.

    Size and time of a file are taken for its digest; where they are others its contents are digested again.

    Raises
    ------
    NeuralDataError
        If a file was changed since.
    """
    folder = data_folder(into) / entry.name
    if entry.access != "file":
        return _is_placed(entry, folder)
    record = _read_record(folder)
    return bool(record) and all(_is_here(entry, file, folder, record) for file in entry.files)


def _is_placed(entry: Entry, folder: Path) -> bool:
    """Tell whether what one fetches by hand lies where it is read."""
    addresses = [each for each in (entry.address, *entry.parts.values()) if each]
    return any((folder / each.partition("?")[0]).exists() for each in addresses)


def _by_hand(entry: Entry, root: Path) -> Path:
    """Return the folder where the user has put the set, or say how it is got."""
    folder = root / entry.name
    if _is_placed(entry, folder):
        return folder
    where = f"; then put {entry.address.partition('?')[0]} into {folder}" if entry.address else ""
    raise NeuralDataError(f"{entry.name} is not fetched by netphys: {entry.how.rstrip('.')} ({entry.page}){where}")


def _fetch_all(entry: Entry, root: Path, *, force: bool) -> None:
    """Fetch what is missing, file after file; what came stays when a later one fails."""
    folder = root / entry.name
    fresh = not folder.exists()
    ensure_folder(folder)
    sweep(folder)
    for left in folder.glob(".*.again"):  # of a killed one
        left.unlink()
    record = _read_record(folder) or {"name": entry.name, "files": {}}
    try:
        _require_space(entry, folder, record)
        for file in entry.files:
            if force or not _is_here(entry, file, folder, record):
                _fetch_one(entry, file, folder, record, force=force)
    finally:
        if fresh and not any(folder.iterdir()):
            folder.rmdir()


def _require_space(entry: Entry, folder: Path, record: dict[str, Any]) -> None:
    """See that what is to come fits, as far as sizes are known."""
    missing = sum(each.bytes or 0 for each in entry.files if each.filename not in record["files"])
    require_space(folder, missing, what=entry.name)


def _fetch_one(entry: Entry, file: RemoteFile, folder: Path, record: dict[str, Any], *, force: bool) -> None:
    """Bring one file here and record it; unpack it."""
    known = record["files"].get(file.filename)
    if force or not _is_whole(entry, file, folder, record):
        record["files"][file.filename] = _brought(entry, file, folder / file.filename, known)
        write_json(folder / RECORD, record)
    if file.unpack:
        _unpack(folder / file.filename, record["files"][file.filename])
        write_json(folder / RECORD, record)


def _brought(entry: Entry, file: RemoteFile, path: Path, known: dict[str, Any] | None) -> dict[str, Any]:
    """Fetch a file, or take it from the user's hand; return what is recorded of it."""
    if known is not None:
        url, sha256 = _fetch_again(entry, file, path, known)
    elif path.is_file():
        require_checksum(path, file, called=entry.name)
        url, sha256 = "found in the folder", sha256_of(path)
    else:
        url, sha256 = download(file, path, called=entry.name)
    if not file.checksum and known is None:
        log.warning("%s: %s has sha256 %s, recorded now; no source gives one", entry.name, file.filename, sha256)
    facts = path.stat()
    return {
        "url": url,
        "sha256": sha256,
        "bytes": facts.st_size,
        "mtime_ns": facts.st_mtime_ns,
        "checksum": file.checksum or None,
        "checksum_source": file.checksum_source or None,
        "fetched": known["fetched"] if known else datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _fetch_again(entry: Entry, file: RemoteFile, path: Path, known: dict[str, Any]) -> tuple[str, str]:
    """Fetch a file that came before, beside it; it takes its place only if it is the same."""
    beside = path.with_name(f".{path.name[:180]}.again")
    try:
        url, sha256 = download(file, beside, called=entry.name)
        if not file.checksum and sha256 != known["sha256"]:
            raise NeuralDataError(
                f"{entry.name}: {file.filename} at {url} has sha256 {sha256}, but had {known['sha256']} when it was "
                f"first fetched ({known['fetched']}); the source has changed; to take the new one, remove {path.parent}"
            )
        with committing(path) as temporary:
            beside.replace(temporary)
    finally:
        beside.unlink(missing_ok=True)
    return url, sha256


def _unpack(path: Path, recorded: dict[str, Any]) -> None:
    """Unpack an archive into the folder of its stem; an old one of ours goes first."""
    target = path.with_name(path.stem)
    if target.is_dir() and not target.is_symlink():
        remove_tree(target)
    recorded["unpacked"] = unpack(path, target)
    if left := recorded["unpacked"]["left_out"]:
        log.warning("%s: %d files that are no data and no images were left in the archive", path.name, left)


def _is_here(entry: Entry, file: RemoteFile, folder: Path, record: dict[str, Any]) -> bool:
    """Tell whether a file is here as recorded, and unpacked where it is to be."""
    if not _is_whole(entry, file, folder, record):
        return False
    unpacked = "unpacked" in record["files"][file.filename] and (folder / file.filename).with_suffix("").is_dir()
    return unpacked or not file.unpack


def _is_whole(entry: Entry, file: RemoteFile, folder: Path, record: dict[str, Any]) -> bool:
    """Tell whether a file is here as recorded; refuse one that was changed since."""
    path, known = folder / file.filename, record["files"].get(file.filename)
    if known is None or not path.is_file():
        return False
    facts = path.stat()
    if (facts.st_size, facts.st_mtime_ns) != (known["bytes"], known["mtime_ns"]) and sha256_of(path) != known["sha256"]:
        raise NeuralDataError(
            f"{entry.name}: {path} was changed since it was fetched (sha256 was {known['sha256'][:16]}...); "
            "remove it, and it is fetched again"
        )
    if file.checksum and known.get("checksum") != file.checksum:  # the catalogue knows more, or other, than it did
        require_checksum(path, file, called=entry.name)
    return True


def _read_record(folder: Path) -> dict[str, Any]:
    """Read what came; empty where nothing did."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        for known in record["files"].values():
            if {type(known["bytes"]), type(known["mtime_ns"])} != {int} or len(known["sha256"]) != 64:
                raise ValueError("a file's facts are missing")
            known["fetched"] = str(known["fetched"])
    except NetphysError:
        raise
    except Exception as error:  # whatever a file that is not ours leads to
        raise NeuralDataError(
            f"{path} is not the record of a fetch ({type(error).__name__}); remove it, and the set is fetched again"
        ) from None
    return dict(record)
