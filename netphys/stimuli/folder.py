"""A folder of images becomes the source of a StimulusSet, and its table.

With ``metadata.csv`` its rows are the stimuli, in its order: column ``file`` is the path relative to the folder,
``stimulus_id`` the id (default: ``file``). Without it, every image below the folder, sorted by path; the first folder
on the way is the column ``category``.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import StimulusError
from netphys.progress import bar
from netphys.provenance import array_digest
from netphys.stimuli.decoding import IMAGE_SUFFIXES, decode_image

if TYPE_CHECKING:
    import pandas as pd
    import torch

__all__ = ["Folder", "FolderSource", "read_folder"]

log = logging.getLogger(__name__)

_THREADS = 4  # PIL decodes without the interpreter lock; more than four wait for the disk
_CACHE_BYTES = 1 << 29  # decoded images up to half a gigabyte are kept, so that digest and recording decode once


@dataclass(frozen=True)
class Folder:
    """What was found in a folder of images."""

    source: FolderSource
    table: pd.DataFrame  # one row an image
    name: str
    rows: list[int]  # of the images that are shown
    left_out: list[str]  # files of those that are broken


def read_folder(folder: Path | str, *, skip_broken: bool = False) -> Folder:
    """Read a folder of images.

    Parameters
    ----------
    folder : Path
        Holds images, in folders or not, and maybe ``metadata.csv``.
    skip_broken : bool
        Leave out images that cannot be decoded, and log how many. The default is an error that names the first one
        when it is read.

    Raises
    ------
    StimulusError
        If the folder is absent or holds no image, if ``metadata.csv`` is not understood or names files that are not
        there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StimulusError(f"no folder {folder}; stimuli are a folder of images or an address like world:scenes?n=100")
    listed = folder / "metadata.csv"
    table = _read_metadata(listed, folder) if listed.is_file() else _walk(folder)
    if not len(table):
        kinds = " ".join(IMAGE_SUFFIXES)
        raise StimulusError(f"folder {folder} holds no image ({kinds})")
    source = FolderSource(folder, list(table["file"]))
    name = folder.resolve().name
    if not skip_broken:
        return Folder(source, table, name, list(range(len(table))), [])
    whole = np.array(source.probe())
    if not whole.any():
        raise StimulusError(f"all {len(table)} images of {folder} are broken")
    if not whole.all():
        log.warning("%d of %d images of %s are broken and left out", (~whole).sum(), len(whole), folder)
    left_out = [str(file) for file, good in zip(table["file"], whole) if not good]
    return Folder(source, table, name, np.flatnonzero(whole).tolist(), left_out)


def _walk(folder: Path) -> pd.DataFrame:
    """List the images below a folder, hidden ones left out."""
    import pandas as pd

    relative = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    files = [each for each in relative if not any(part.startswith((".", "__MACOSX")) for part in each.split("/"))]
    table = pd.DataFrame({"stimulus_id": files, "file": files})
    if any("/" in each for each in files):
        table["category"] = [each.split("/")[0] if "/" in each else "" for each in files]
    return table


def _read_metadata(path: Path, folder: Path) -> pd.DataFrame:
    """Read and check ``metadata.csv``."""
    import pandas as pd

    try:
        table = pd.read_csv(path, encoding="utf-8")
        # names as they are written: a stimulus may be called "NA" or "007"
        names = pd.read_csv(path, usecols=_is_name, dtype=str, keep_default_na=False, encoding="utf-8")
        table[names.columns] = names
    except (ValueError, UnicodeDecodeError) as error:
        raise StimulusError(f"{path} is not a CSV table in UTF-8: {str(error).splitlines()[0]}") from None
    if "file" not in table:
        raise StimulusError(f"{path} has no column 'file' (has: {', '.join(map(str, table.columns[:8]))})")
    for file in table["file"]:
        relative = PurePosixPath(str(file))
        if relative.is_absolute() or ".." in relative.parts:
            raise StimulusError(f"{path}: file {str(file)!r} is not below the folder")
    absent = [file for file in table["file"] if not (folder / str(file)).is_file()]
    if absent:
        raise StimulusError(f"{path} names {len(absent)} file(s) that are not there, first {absent[0]!r}")
    if "stimulus_id" not in table:
        table.insert(0, "stimulus_id", table["file"])
    return table


def _is_name(column: str) -> bool:
    return column in ("stimulus_id", "file")


class FolderSource:
    """Image files, decoded when read; kept decoded while they are few."""

    fields = ("image",)

    def __init__(self, folder: Path, files: list[str]) -> None:
        self._folder = folder
        self._files = files
        self._kept: dict[int, np.ndarray] = {}
        self._kept_bytes = 0

    def read(self, field: str, indices: np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        import torch

        missing = [int(index) for index in indices if int(index) not in self._kept]
        fresh = dict(zip(missing, self._decode(missing)))
        tensors = []
        for index in map(int, indices):
            pixels = self._kept[index] if index in self._kept else fresh[index]
            tensors.append(torch.from_numpy(pixels))
        self._keep(fresh)
        if len({each.shape for each in tensors}) == 1:
            return torch.stack(tensors)
        return [each.clone() for each in tensors]  # what is done to them must not reach the decoded images kept here

    def digests(self, indices: np.ndarray) -> list[str]:
        result = []
        with bar(len(indices), label="reading stimuli") as progress:
            for start in range(0, len(indices), 64):
                part = [int(index) for index in indices[start : start + 64]]
                for index, pixels in zip(part, self._decode(part)):
                    result.append(array_digest(pixels))
                    self._keep({index: pixels})
                progress.update(len(part))
        return result

    def probe(self) -> list[bool]:
        """Tell which files can be decoded."""

        def whole(index: int) -> bool:
            try:
                self._keep({index: self._one(index)})
            except StimulusError as error:
                log.warning("%s", error)
                return False
            return True

        return [whole(index) for index in range(len(self._files))]

    def _decode(self, indices: list[int]) -> list[np.ndarray]:
        if len(indices) < 2:
            return [self._one(index) for index in indices]
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self._one, indices))

    def _one(self, index: int) -> np.ndarray:
        kept = self._kept.get(index)
        return kept if kept is not None else decode_image(self._folder / self._files[index], name=self._files[index])

    def _keep(self, decoded: dict[int, Any]) -> None:
        for index, pixels in decoded.items():
            if index not in self._kept and self._kept_bytes + pixels.nbytes <= _CACHE_BYTES:
                self._kept[index] = pixels
                self._kept_bytes += pixels.nbytes
