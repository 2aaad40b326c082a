"""What a stranger's file may claim: sizes are checked before memory is taken, and every failure becomes one line.

The rules are those of ``docs/design.md`` (files from strangers): nothing is unpickled, a claim is compared with the
bytes that are there, and HDF5 files may point nowhere but into themselves.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netphys.errors import FileError, NetphysError

__all__ = [
    "BUDGET", "RATIO", "Visits", "first_line", "guarded_hdf5", "is_hdf5", "require_claim", "require_dataset",
    "require_hard_links", "translating",
]  # fmt: skip

BUDGET = 8 * 2**30  # bytes one file may become in memory: four times the largest public assembly that we know of
RATIO = 200  # bytes in memory a byte on disk; float data compress to 1:20 at best, a bomb reaches 1:1028
_FREE = 16 * 2**20  # bytes below which the ratio does not count: a small constant array compresses without limit
_OBJECTS = 100_000  # objects in one HDF5 file
_SCANNED = 64 * 2**20  # bytes of a file that are looked through for heaps without end: a hundredth of a second
_HEAP = b"GCOL\x01\0\0\0"  # a global heap of version 1, where HDF5 keeps text of variable length
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@contextmanager
def translating(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a reader of somebody else raises on a damaged file into one line.

    Readers raise anything on damaged bytes (scipy: KeyError, TypeError, zlib.error; h5py: RuntimeError, OSError), so
    every exception but our own counts as damage.
    """
    try:
        yield
    except NetphysError:
        raise
    except Exception as error:
        raise FileError(
            f"{path} cannot be read as {kind}: it is damaged, truncated or of another kind ({first_line(error)})"
        ) from error


def require_claim(
    path: Path, what: str, *, claimed: int, stored: int, budget: int = BUDGET, ratio: int = RATIO
) -> None:
    """Refuse a claim of more memory than the bytes on disk can mean.

    Parameters
    ----------
    path : Path
        The file, for the message.
    what : str
        Which part of it.
    claimed, stored : int
        Bytes it says it becomes in memory, bytes it has on disk.
    budget : int
        Bytes it may become.
    ratio : int
        Bytes in memory that a byte on disk may become.

    Raises
    ------
    FileError
        If the claim is above the budget, or above the ratio.
    """
    if claimed > budget:
        raise FileError(
            f"{path}: {what} claims {claimed / 1e9:.1f} GB, more than the {budget / 1e9:.1f} GB a file may take; "
            "save the part that is needed"
        )
    if claimed > _FREE and claimed > ratio * max(stored, 1):
        raise FileError(
            f"{path}: {what} claims {claimed} bytes from {stored} bytes on disk, more than {ratio}:1; "
            "it is no honest file, or save it uncompressed"
        )


@contextmanager
def guarded_hdf5(path: Path, *, budget: int = BUDGET, ratio: int = RATIO, soft_links: bool = False) -> Iterator[Any]:
    """Open an HDF5 file to read after seeing that it points nowhere but into itself.

    Yields the open ``h5py.File``. Whatever HDF5 raises inside the block becomes one line. `budget` is how many bytes
    the file may claim; a file that is read in pieces may claim more than one that is read whole, and a higher `ratio`.
    With `soft_links` (NWB has them as a matter of course) those to an object of the same file are let through, and
    groups that hold themselves are refused, since readers that follow links do not come back from them.

    Raises
    ------
    FileError
        On external storage, soft or external links, virtual datasets, and claims above the limits.
    """
    import h5py

    with translating(path, "HDF5"):
        _require_heaps(path)
    with translating(path, "HDF5"), h5py.File(path, "r") as file:
        _walk(path, file, budget, ratio, soft_links)
        yield file


def is_hdf5(path: Path) -> bool:
    """Tell whether an HDF5 signature stands at the places where one may stand (0, 512, 1024, 2048)."""
    with path.open("rb") as file:
        for offset in (0, 512, 1024, 2048):
            file.seek(offset)
            if file.read(8) == _HDF5_MAGIC:
                return True
    return False


def _require_heaps(path: Path) -> None:
    """Refuse a heap of text with free space of no size, as damage makes it: HDF5 (2.0.0) walks it without end."""
    if not 0 < path.stat().st_size <= _SCANNED:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_HEAP)
        while at >= 0:
            if _endless(data, at):
                raise FileError(f"{path} is damaged: its heap of text at byte {at} has no end; fetch it again")
            at = data.find(_HEAP, at + 1)


def _endless(data: mmap.mmap, at: int) -> bool:
    """Whether a walk over the objects of the global heap at a byte stands still (HDF5 format, III.E)."""
    if at + 16 > len(data):
        return False
    (size,) = struct.unpack_from("<Q", data, at + 8)
    here, end = at + 16, min(at + size, len(data))
    while here + 16 <= end:
        index, _, _, length = struct.unpack_from("<HHIQ", data, here)
        step = length if index == 0 else 16 + (length + 7) // 8 * 8
        if step == 0:
            return True
        here += step
    return False


def _walk(path: Path, root: Any, budget: int, ratio: int, soft_links: bool) -> None:
    """Visit every object once, by hard links only, and check what it claims."""
    import h5py

    seen = {_address(root)}
    waiting: list[Any] = [root]
    total = 0
    held: dict[int, list[int]] = {}  # address of a group: of what it holds
    soft: list[tuple[Any, str]] = []
    while waiting:
        group = waiting.pop()
        inside = held.setdefault(_address(group), [])
        for name in group:
            link = group.get(name, getlink=True)
            if soft_links and isinstance(link, h5py.SoftLink):
                soft.append((group, name))
                continue
            _require_hard(path, group, name, link)
            item = group[name]
            address = _address(item)
            inside.append(address)
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _OBJECTS:
                raise FileError(f"{path} holds more than {_OBJECTS} objects; save the part that is needed")
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                total += require_dataset(path, item, budget=budget, ratio=ratio)
    require_claim(path, "the whole file", claimed=total, stored=total, budget=budget)
    if soft_links:
        _require_targets(path, soft, seen, held)
        _require_no_loop(path, held)


def _address(item: Any) -> int:
    """Where an object stands in its file."""
    import h5py

    return int(h5py.h5o.get_info(item.id).addr)


def _require_targets(path: Path, soft: list[tuple[Any, str]], seen: set[int], held: dict[int, list[int]]) -> None:
    """Refuse soft links to what hard links do not reach; add the others to what their groups hold.

    Called when every link that hard links reach is known to be hard or soft: no path can leave the file any more.
    """
    for group, name in soft:
        try:
            target = _address(group[name])
        except (KeyError, OSError, RuntimeError):  # no such path, or links that lead to one another without end
            target = -1
        if target not in seen:
            raise FileError(
                f"{path}: {group.name.rstrip('/')}/{name} is a soft link to nothing of the file; remove it or mend it"
            )
        held[_address(group)].append(target)


def _require_no_loop(path: Path, held: dict[int, list[int]]) -> None:
    """Refuse groups that hold themselves: what is left when everything that nothing left holds has been taken away."""
    holders = dict.fromkeys(held, 0)
    for inside in held.values():
        for address in inside:
            if address in holders:
                holders[address] += 1
    free = [address for address, n in holders.items() if n == 0]
    n_taken = 0
    while free:
        n_taken += 1
        for address in held[free.pop()]:
            if address in holders:
                holders[address] -= 1
                if holders[address] == 0:
                    free.append(address)
    if n_taken < len(held):
        raise FileError(f"{path} has a group that holds itself through its links; remove the link")


def _require_hard(path: Path, group: Any, name: str, link: Any) -> None:
    """Refuse a link that is not to an object of the file itself."""
    import h5py

    if not isinstance(link, h5py.HardLink):
        raise FileError(
            f"{path}: {(group.name or '').rstrip('/')}/{name} is a link to elsewhere "
            f"({type(link).__name__}), which is not followed; copy the data into the file"
        )


def require_hard_links(path: Path, group: Any) -> None:
    """Refuse a group with links to elsewhere: of one that an object reference led to, before its names are followed.

    Raises
    ------
    FileError
        On a soft, external or other link.
    """
    for name in group:
        _require_hard(path, group, name, group.get(name, getlink=True))


def require_dataset(
    path: Path, dataset: Any, *, what: str | None = None, budget: int = BUDGET, ratio: int = RATIO
) -> int:
    """Refuse an HDF5 dataset whose bytes are not the file's own, or that claims more than they can mean.

    :func:`guarded_hdf5` sees what names lead to; an object reference may lead to what no name does, so whoever follows
    one calls this first.

    Parameters
    ----------
    path : Path
        The file, for messages.
    dataset : h5py.Dataset
    what : str, optional
        What to call it in messages; default: its name.
    budget, ratio : int
        As of :func:`require_claim`.

    Returns
    -------
    int
        The bytes that it claims.

    Raises
    ------
    FileError
        On external storage, a virtual dataset, or a claim above the limits.
    """
    if dataset.external:
        raise FileError(
            f"{path}: {_called(dataset, what)} keeps its bytes in another file, which is not read; copy them in"
        )
    if dataset.is_virtual:
        raise FileError(
            f"{path}: {_called(dataset, what)} is a virtual dataset, which is not followed; copy the data in"
        )
    if dataset.shape is None:  # an empty dataset
        return 0
    if dataset.shape == ():  # readers take single values at once, whatever is read in pieces
        budget, ratio = min(budget, BUDGET), min(ratio, RATIO)
    claimed = int(dataset.dtype.itemsize)
    for length in dataset.shape:
        claimed *= int(length)
    stored = int(dataset.id.get_storage_size())
    if claimed > min(_FREE, budget):
        called = _called(dataset, what)
        require_claim(path, called, claimed=claimed, stored=stored, budget=budget, ratio=ratio)
    return claimed


def _called(dataset: Any, what: str | None) -> str:
    """What to call a dataset in a message; HDF5 looks through the whole file for a name that a reference led to."""
    return str(what or dataset.name or "what an object reference leads to")


@dataclass
class Visits:
    """Running total of what one read takes by following references of an HDF5 file.

    Each visit counts: a file of 10 kB may refer to one array 200,000 times, or to cells of references to cells.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What is being read, for messages.
    """

    path: Path
    what: str
    claimed: int = 0
    objects: int = 0

    def __post_init__(self) -> None:
        self._stored = self.path.stat().st_size

    def count(self, *, claimed: int = 0, objects: int = 0) -> None:
        """Add bytes and objects before they are read.

        Raises
        ------
        FileError
            If they are more in all than the file may become (:func:`require_claim`), or more objects than it has
            bytes (100,000 are free, 1,000,000 are the most).
        """
        self.claimed += claimed
        self.objects += objects
        most = min(max(_OBJECTS, self._stored), 10 * _OBJECTS)
        if self.objects > most:
            raise FileError(
                f"{self.path}: {self.what} refers to more than {most} objects, each time counted; "
                "save the part that is needed"
            )
        what = f"{self.what}, with what it refers to counted each time,"
        require_claim(self.path, what, claimed=self.claimed, stored=self._stored)


def first_line(error: BaseException) -> str:
    """First line of a foreign message, shortened, so that ours stays one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__
