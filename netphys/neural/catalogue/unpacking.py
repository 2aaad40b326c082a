"""A zip from a stranger, unpacked into a folder of its own: nothing outside it, nothing overwritten, no bomb."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path, PurePosixPath

from netphys.errors import NeuralDataError
from netphys.files import remove_tree, writing
from netphys.guards import require_claim, translating
from netphys.neural.catalogue.downloading import require_space

__all__ = ["SUFFIXES", "unpack"]

SUFFIXES = (
    ".mat", ".npy", ".npz", ".nc", ".nc4", ".h5", ".hdf5", ".nwb", ".csv", ".tsv", ".json", ".txt", ".md",
    ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff",
)  # fmt: skip
BUDGET = 64 * 2**30  # bytes that one archive may become
_MEMBERS = 200_000
_ENCRYPTED = 0x1
_COPIED = 1 << 20  # bytes at once


def unpack(archive: Path, folder: Path, *, budget: int = BUDGET) -> dict[str, int]:
    """Unpack the data files and images of a zip into `folder`, which is there whole or not at all.

    Parameters
    ----------
    archive : Path
        The zip.
    folder : Path
        Where to; it must not exist.
    budget : int
        Bytes that it may become.

    Returns
    -------
    dict of str to int
        ``files`` and ``bytes`` written, ``left_out``: how many members have a suffix that is not in `SUFFIXES`.

    Raises
    ------
    NeuralDataError
        If the folder exists, or a member leaves it, is a link, encrypted or doubled.
    FileError
        If the zip is damaged, or claims more than `budget` or 200 times its bytes.
    """
    if folder.exists() or folder.is_symlink():
        raise NeuralDataError(f"{folder} is there already and is left as it is; remove it, and fetch the set again")
    partial = folder.with_name(f".{folder.name}.partial")
    remove_tree(partial)  # of a killed one
    with translating(archive, "a zip"), zipfile.ZipFile(archive) as packed, writing(folder):
        members = _members(archive, packed)
        wanted = [each for each in members if each.filename.lower().endswith(SUFFIXES)]
        total = sum(each.file_size for each in wanted)
        require_claim(archive, "the archive", claimed=total, stored=archive.stat().st_size, budget=budget)
        require_space(archive.parent, total, what=f"what {archive.name} holds")
        if not wanted:
            raise NeuralDataError(f"{archive} holds no data file ({', '.join(SUFFIXES[:8])}, ...)")
        try:
            partial.mkdir()
            for member in wanted:
                _write(packed, member, partial)
            partial.replace(folder)
        except BaseException:
            remove_tree(partial)
            raise
    return {"files": len(wanted), "bytes": total, "left_out": len(members) - len(wanted)}


def _members(archive: Path, packed: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """List the files of an archive; refuse one that no honest archive has."""
    listed = packed.infolist()
    if len(listed) > _MEMBERS:
        raise NeuralDataError(f"{archive} lists {len(listed)} files, more than {_MEMBERS}")
    seen: set[str] = set()
    for member in listed:
        name, odd = member.filename, ""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.orig_filename or "\0" in member.orig_filename:
            odd = f"a file that leaves it, {name[:80]!r}"
        elif ":" in path.parts[0] if path.parts else True:
            odd = f"a name that is none, {name[:80]!r}"
        elif stat.S_ISLNK(member.external_attr >> 16):
            odd = f"a link, {name[:80]!r}"
        elif name.casefold() in seen:
            odd = f"two files of the name {name[:80]!r}"
        elif member.flag_bits & _ENCRYPTED:
            odd = f"an encrypted file, {name[:80]!r}"
        if odd:
            raise NeuralDataError(f"{archive} holds {odd}; it is not unpacked")
        seen.add(name.casefold())
    files = [each for each in listed if not each.is_dir() and not _of_a_system(each.filename)]
    _require_apart(archive, packed, files)
    return files


def _require_apart(archive: Path, packed: zipfile.ZipFile, files: list[zipfile.ZipInfo]) -> None:
    """Refuse members that lie over each other: a small archive would become anything."""
    ordered = sorted(files, key=lambda each: each.header_offset)
    for member, after in zip(ordered, [each.header_offset for each in ordered[1:]] + [packed.start_dir]):
        if member.header_offset + 30 + member.compress_size > after:
            raise NeuralDataError(f"{archive}: {member.filename[:80]!r} lies over what comes after it; not unpacked")


def _of_a_system(name: str) -> bool:
    """Tell what a system adds to an archive: resource forks, hidden files."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _write(packed: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Write one member below the folder; zipfile ends it at its declared size and compares its CRC."""
    target = folder / member.filename
    if not target.resolve().is_relative_to(folder.resolve()):
        raise NeuralDataError(f"{packed.filename} holds a file that leaves it, {member.filename[:80]!r}; not unpacked")
    target.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(member) as source, target.open("xb") as out:
        while block := source.read(_COPIED):
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
