"""numpy's files, read as if a stranger had written them.

Headers are read first: a claim is compared with the bytes that are there before memory is taken. Nothing is unpickled.
"""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from netphys.errors import FileError
from netphys.guards import require_claim, translating

__all__ = ["npy_header", "npz_headers", "read_npy", "read_npz"]

Header = tuple[tuple[int, ...], np.dtype]  # shape, dtype

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes
_HEADER = 65_535  # bytes of a .npy header; numpy's own are below 1,000


def npy_header(path: Path) -> Header:
    """Read shape and dtype of a .npy file.

    Raises
    ------
    FileError
        If it is no .npy file, or claims other bytes than are there.
    """
    with translating(path, ".npy"), path.open("rb") as file:
        return _checked(path, "array", file, path.stat().st_size)


def read_npy(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read the array of a .npy file, or map it."""
    npy_header(path)
    with translating(path, ".npy"):
        return np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)


def npz_headers(path: Path) -> dict[str, Header]:
    """Read shapes and dtypes of the arrays of a .npz file.

    Raises
    ------
    FileError
        If it is no .npz file, or its members claim more than they can hold.
    """
    with translating(path, ".npz"), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        total = sum(each.file_size for each in members)
        require_claim(path, "the archive", claimed=total, stored=path.stat().st_size)
        found = {}
        for each in members:
            if not each.filename.endswith(".npy") or each.compress_type not in _COMPRESSIONS:
                raise FileError(f"{path} holds {each.filename[:80]!r}; a .npz file holds arrays (.npy) only")
            name = each.filename.removesuffix(".npy")
            if name in found:
                raise FileError(f"{path} holds two arrays of the name {name!r}; save it again by numpy.savez")
            with archive.open(each) as member:
                found[name] = _checked(path, name, member, each.file_size)
        return found


def read_npz(path: Path, name: str) -> np.ndarray:
    """Read one array of a .npz file, after :func:`npz_headers` has seen what the file claims."""
    npz_headers(path)
    with translating(path, ".npz"), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        value = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):
            raise FileError(f"{path}: {name} has more bytes than its header says; fetch it again")
        return value


def _checked(path: Path, name: str, file: IO[bytes], size: int) -> Header:
    """Read an array's header, and see that its bytes are there."""
    shape, dtype, offset = _header(path, name, file)
    if dtype.hasobject:
        raise FileError(f"{path}: {name} holds pickled Python objects, which are never read; save it as numbers")
    claimed = int(dtype.itemsize)
    for length in shape:
        claimed *= length
    if claimed != size - offset:
        raise FileError(
            f"{path}: the header of {name} claims {claimed} bytes of data, {size - offset} are there; fetch it again"
        )
    require_claim(path, name, claimed=claimed, stored=claimed)
    return shape, dtype


def _header(path: Path, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, int]:
    """Read shape, dtype and length of a .npy header (versions 1 to 3) without trusting it."""
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY" or len(magic) < 8 or magic[6] not in (1, 2, 3):
        raise FileError(f"{path}: {name} is no .npy array (it begins with {magic[:6]!r}); save it by numpy.save")
    n_bytes = 2 if magic[6] == 1 else 4
    length = int.from_bytes(file.read(n_bytes), "little")
    if length > _HEADER:
        raise FileError(f"{path}: {name} has a header of {length} bytes, at most {_HEADER} is honest; fetch it again")
    text = file.read(length)
    if len(text) != length:
        raise FileError(f"{path}: {name} is truncated within its header; fetch it again")
    told = ast.literal_eval(text.decode("latin1" if magic[6] < 3 else "utf8").strip())
    shape, descr = told["shape"], told["descr"]
    if not isinstance(shape, tuple) or not all(type(each) is int and each >= 0 for each in shape):
        raise FileError(f"{path}: {name} claims the shape {shape!r}; fetch it again")
    return shape, np.lib.format.descr_to_dtype(descr), 8 + n_bytes + length
