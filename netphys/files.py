"""The only place that commits a file: temporary name, fsync, rename, fsync of the folder.

A reader sees the old file or the new one, never a third thing, whenever the process is killed and whenever the power
fails. What the system refuses (permission, space) becomes one :class:`~netphys.errors.OutputError`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from netphys.errors import OutputError

__all__ = [
    "append_line",
    "committing",
    "ensure_folder",
    "locked",
    "remove_tree",
    "require_free",
    "reserve",
    "sha256_of",
    "slug",
    "sweep",
    "sweep_file",
    "write_json",
    "write_text",
    "writing",
]

log = logging.getLogger(__name__)

TEMPORARY = ".netphys-tmp"  # suffix of a file that is being written; swept when its writer is gone
_REFUSED = {
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than this system allows",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "there is a folder of that name",
    errno.EEXIST: "something of that name is in the way",
    errno.ENAMETOOLONG: "the name is too long for this file system",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system refuses while `path` is written into one line of an OutputError."""
    try:
        yield
    except OSError as error:
        number = error.errno or _errno_in(str(error))
        if number not in _REFUSED:
            raise
        raise OutputError(f"cannot write {path}: {_REFUSED[number]}; choose another --out or mend it") from error


@contextmanager
def committing(path: Path | str) -> Iterator[Path]:
    """Write a file so that it is there whole or not at all.

    Yields the temporary path to write to; when the block ends without an exception its contents are synced to disk
    and renamed to `path`, else they are removed.

    Parameters
    ----------
    path : Path
        Where the file will be. Its folder must exist.

    Raises
    ------
    OutputError
        If the system refuses (permission, space, something in the way).
    """
    path = Path(path)
    temporary = path.with_name(f"{_hidden(path)}.{os.getpid()}{TEMPORARY}")
    with writing(path):
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path | str, text: str) -> Path:
    """Commit `text` (UTF-8, newlines as they are) as the file `path`."""
    with committing(path) as temporary:
        temporary.write_bytes(text.encode())
    return Path(path)


def write_json(path: Path | str, value: Any) -> Path:
    """Commit `value` as JSON with sorted keys."""
    return write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Append a line to a journal and sync it; a kill may leave a torn last line, which readers drop."""
    with writing(path), path.open("ab") as journal:
        journal.write(line.encode() + b"\n")
        journal.flush()
        os.fsync(journal.fileno())


def ensure_folder(path: Path | str) -> Path:
    """Make a folder (and those above it) and see that it can be written to.

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    path = Path(path)
    with writing(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # of /proc and its kin, where nothing can be made
            raise OutputError(f"cannot write {path}: no folder can be made there; choose another --out") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "not writable", str(path))
    return path


@contextmanager
def locked(path: Path, *, waiting: str) -> Iterator[None]:
    """Hold a lock file that other processes respect, and leave none behind.

    A lock file that is removed on release splits those who wait across two files of one name; so whoever gets the
    lock looks whether the file he locked is still the one of that name, and else begins again.

    Parameters
    ----------
    path : Path
        The lock file. Its folder must exist.
    waiting : str
        What is said, once, if another process holds it.
    """
    import fcntl

    with writing(path):
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    log.warning("%s", waiting)
                    fcntl.flock(handle, fcntl.LOCK_EX)
                current = _inode(path) == os.fstat(handle).st_ino
            except BaseException:
                os.close(handle)
                raise
            if current:
                break
            os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def require_free(folder: Path, n_bytes: int, *, what: str) -> None:
    """Refuse to begin work whose result will not fit.

    Parameters
    ----------
    folder : Path
        Where the result goes.
    n_bytes : int
        What it needs, bytes.
    what : str
        What needs it, for the message.

    Raises
    ------
    OutputError
        If the file system of `folder` has less free.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OutputError(
            f"no space for {what} at {folder}: it needs {n_bytes / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free; "
            "choose another --out, fewer layers, or keep='mean'"
        )


def reserve(path: Path, n_bytes: int) -> None:
    """Take the space of a file that is being written, so that a full disk is found at once and not in its midst.

    Whoever reserved cuts the file to its true size at the end. File systems that cannot reserve are left in peace.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    size = path.stat().st_size
    handle = os.open(path, os.O_WRONLY)
    try:
        os.posix_fallocate(handle, 0, n_bytes)
    except OSError as error:
        os.truncate(handle, size)  # what was taken before it failed
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Digest a file's contents (SHA-256, hexadecimal)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def slug(name: str) -> str:
    """Turn any name into one safe as a file name, still readable.

    Different names may share a slug; where that matters the caller checks.

    Examples
    --------
    >>> slug("SqueezeNet, ImageNet"), slug("../../etc"), slug("")
    ('squeezenet-imagenet', 'etc', 'unnamed')
    """
    words = re.sub(r"[^\w]+", "-", name.lower(), flags=re.UNICODE).strip("-_")
    return words[:80] or "unnamed"


def sweep(folder: Path) -> None:
    """Remove what killed writers left in `folder` (not below it); files of writers that live are left alone."""
    for left in folder.glob(f".*{TEMPORARY}"):
        pid = left.name.removesuffix(TEMPORARY).rpartition(".")[2]
        if pid.isdigit() and not _lives(int(pid)):
            with suppress(OSError):
                left.unlink()


def sweep_file(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; call it only under the file's own lock."""
    for left in path.parent.glob(f".*{TEMPORARY}"):
        if re.fullmatch(rf"{re.escape(_hidden(path))}\.\d+{re.escape(TEMPORARY)}", left.name):
            with suppress(OSError):
                left.unlink()


def remove_tree(folder: Path) -> None:
    """Remove a folder of ours, whatever of it is still there."""
    shutil.rmtree(folder, ignore_errors=True)


def _hidden(path: Path) -> str:
    """Begin the name of a temporary file: hidden, and short, for file systems count bytes (255 in all)."""
    return "." + os.fsencode(path.name)[:200].decode(errors="ignore")


def _sync(path: Path) -> None:
    """Wait until a file's contents, or a folder's entries, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lives(pid: int) -> bool:
    """Tell whether a process of that number is there, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _inode(path: Path) -> int | None:
    """Return the inode that has this name now; None where it has just gone."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _errno_in(text: str) -> int | None:
    """Find the errno that HDF5 hides in its message ("errno = 28")."""
    found = re.search(r"errno = (\d+)", text)
    return int(found.group(1)) if found else None
