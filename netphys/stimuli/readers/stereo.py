"""Stereo pairs become stimuli: the pictures of the left and of the right eye, and maybe the disparity between them.

**Sign.** Disparity is of the left picture: a point at x in `left` is at x - d in `right` (x to the right, pixels), so
that d > 0 and larger is nearer, as Middlebury and KITTI have it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, StimulusError, near
from netphys.stimuli.readers.changed_source import Changed
from netphys.stimuli.readers.decoding import IMAGE_SUFFIXES, opened
from netphys.stimuli.readers.folder import LISTED, Found, read_shelf, read_table
from netphys.stimuli.readers.shelves import Shelf, open_shelf

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_stereo"]

log = logging.getLogger(__name__)

_SCALE = "disparity_scale"
_ORIENTATION = 0x0112  # EXIF; from 5 on width and height are exchanged


def read_stereo(
    folder: Path | str,
    *,
    left: str = "left",
    right: str = "right",
    disparity: str | None = None,
    scale: float | None = None,
    fields: Mapping[str, str] | None = None,
    skip_broken: bool = False,
) -> Found:
    """Read a folder, or a zip archive, of stereo pairs.

    Parameters
    ----------
    folder : Path
        With ``metadata.csv``: its rows are the pairs, and `left`, `right` and `disparity` are columns that name files.
        Without: folders ``left/`` and ``right/`` with files of equal names, or a file ``left.png`` and one
        ``right.png`` in the folder of each pair, or files ``NAME_left.png`` and ``NAME_right.png``.
    left, right : str
        The column; without ``metadata.csv`` the folder's or file's name, or the end of it.
    disparity : str, optional
        The same for disparity: pictures of numbers, 0 where it is unknown, or ``.npy``. Default: none is read.
    scale : float, optional
        Numbers in the file a pixel of disparity (Middlebury's small pictures 4, KITTI 256). Default: the column
        ``disparity_scale``; 1 for ``.npy``.
    fields : mapping, optional
        More fields → columns, as ``{"mask": "mask:values"}``.
    skip_broken : bool
        Leave out pairs that cannot be decoded or whose pictures differ in size.

    Returns
    -------
    Found
        Fields ``left``, ``right``: uint8 (n, 3, y, x); ``disparity``: float32 (n, y, x), pixels of the left picture,
        NaN where it is unknown. A point at x in `left` is at x - d in `right`.

    Raises
    ------
    StimulusError
        If a picture has no partner, the pictures of a pair differ in size, or disparity has no scale.
    """
    if scale is not None and not 0 < scale < float("inf"):
        raise OptionError(f"scale={scale!r}: numbers in the file a pixel of disparity are wanted, above 0")
    shelf = open_shelf(folder)
    names = {"left": left, "right": right} | ({"disparity": disparity} if disparity else {})
    if shelf.has(LISTED):
        with shelf.open(LISTED) as file:
            table = read_table(file, name=f"{shelf}/{LISTED}", written=names.values())
        columns = names
    else:
        table, columns = _walked(shelf, names), {each: each for each in names}
    said = {"left": f"{columns['left']}:image", "right": f"{columns['right']}:image"}
    if disparity:
        said["disparity"] = f"{columns['disparity']}:{_kind(table, columns['disparity'], str(shelf))}"
    table = _with_ids(table, columns["left"], str(shelf))
    found = read_shelf(shelf, table=table, fields={**said, **(fields or {})}, skip_broken=skip_broken)
    rows, left_out = _of_one_size(shelf, found, columns, skip_broken=skip_broken)
    source: Any = found.source
    if disparity:
        scales = _scales(found.table, said["disparity"].endswith(":numbers"), scale, str(shelf))
        files = [str(each) for each in found.table[columns["disparity"]]]
        source = Changed(source, {"disparity": _scaling(scales, files, shelf, list(found.table[columns["left"]]))})
    return Found(source, found.table, found.name, rows, left_out)


def _walked(shelf: Shelf, names: Mapping[str, str]) -> pd.DataFrame:
    """Pair files by what is left of their names without ``left`` and ``right``."""
    import pandas as pd

    suffixes = (*IMAGE_SUFFIXES, ".npy")
    pairs: dict[str, dict[str, str]] = {}
    for file in shelf.files():
        if PurePosixPath(file).suffix.lower() in suffixes:
            for part, name in names.items():
                pair = _without(file, name)
                if pair is None:
                    continue
                if part in pairs.setdefault(pair, {}):
                    raise StimulusError(f"{shelf} holds two files {part} of {pair}: {pairs[pair][part]!r} and {file!r}")
                pairs[pair][part] = file
    if not pairs:
        raise StimulusError(
            f"{shelf} holds no pairs: no {LISTED}, no folders {names['left']}/ and {names['right']}/, "
            f"no files NAME_{names['left']}.png and NAME_{names['right']}.png"
        )
    for pair, files in pairs.items():
        for part, name in names.items():
            if part not in files:
                raise StimulusError(f"{shelf}: {next(iter(files.values()))!r} has no partner {name} ({pair})")
    table = pd.DataFrame({"stimulus_id": list(pairs)})
    for part in names:
        table[part] = [files[part] for files in pairs.values()]
    return table


def _without(file: str, name: str) -> str | None:
    """Return the pair that a file belongs to: ``left/a.png``, ``a/left.png`` and ``a_left.png`` belong to ``a``."""
    path = PurePosixPath(file)
    if name in path.parts[:-1]:
        at = len(path.parts) - 2 - path.parts[:-1][::-1].index(name)
        return PurePosixPath(*path.parts[:at], *path.parts[at + 1 : -1], path.stem).as_posix()
    if path.stem == name:
        return path.parent.as_posix() if len(path.parts) > 1 else "pair"
    for between in "_-.":
        if path.stem.endswith(between + name) and len(path.stem) > len(name) + 1:
            return (path.parent / path.stem.removesuffix(between + name)).as_posix()
    return None


def _with_ids(table: pd.DataFrame, left: str, where: str) -> pd.DataFrame:
    """Name the pairs: the column ``stimulus_id``, else the left file."""
    if left not in table:
        raise StimulusError(f"{where} has no column {left!r} of files{near(left, map(str, table.columns))}")
    table = table.copy()
    if "stimulus_id" not in table:
        table.insert(0, "stimulus_id", table[left].astype(str))
    return table


def _kind(table: pd.DataFrame, column: str, where: str) -> str:
    if column not in table:
        raise StimulusError(f"{where} has no column {column!r} of files{near(column, map(str, table.columns))}")
    return "numbers" if all(str(each).lower().endswith(".npy") for each in table[column]) else "values"


def _of_one_size(
    shelf: Shelf, found: Found, columns: Mapping[str, str], *, skip_broken: bool
) -> tuple[list[int] | None, tuple[str, ...]]:
    """See by the headers that the pictures of each pair are of one size."""
    rows, left_out = [], list(found.left_out)
    for row in range(len(found.table)) if found.rows is None else found.rows:
        files = {part: str(found.table[column].iloc[row]) for part, column in columns.items()}
        sizes = {part: size for part, file in files.items() if (size := _size(shelf, file)) is not None}
        odd = next((part for part, size in sizes.items() if size != sizes.get("left", size)), None)
        if odd is None:
            rows.append(row)
            continue
        (x, y), (other_x, other_y) = sizes["left"], sizes[odd]
        shown = f"{files['left']} has {x} x {y} pixels, {files[odd]} has {other_x} x {other_y}"
        message = f"{shelf}: {shown}; a pair has one size"
        if not skip_broken:
            raise StimulusError(message)
        log.warning("%s; it is left out", message)
        left_out.append(files["left"])
    if not rows:
        raise StimulusError(f"all {len(found.table)} pairs of {shelf} are broken or of different sizes")
    return (None if found.rows is None and len(rows) == len(found.table) else rows), tuple(left_out)


def _size(shelf: Shelf, file: str) -> tuple[int, int] | None:
    """Read a picture's size (x, y) from its header; None where it says none, which decoding will name."""
    if file.lower().endswith(".npy"):
        return None
    try:
        with shelf.open(file) as data, opened(data) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            return (image.height, image.width) if turned else (image.width, image.height)
    except StimulusError:
        raise
    except Exception:  # PIL raises anything on damaged files; the error names the file when it is decoded
        return None


def _scales(table: pd.DataFrame, numbers: bool, scale: float | None, where: str) -> list[float]:
    """Return the numbers a pixel of each pair's disparity."""
    if scale is not None:
        return [float(scale)] * len(table)
    if _SCALE not in table and numbers:
        return [1.0] * len(table)
    if _SCALE not in table:
        raise StimulusError(
            f"{where} has no column {_SCALE!r}; scale= says how many numbers of the file are a pixel of disparity "
            "(Middlebury's small pictures 4, KITTI 256)"
        )
    scales = []
    for pair, value in zip(table["stimulus_id"], table[_SCALE]):
        if isinstance(value, str) or not 0 < float(value) < float("inf"):
            raise StimulusError(f"{where}: {_SCALE} of {pair!r} is {value}, no number above 0")
        scales.append(float(value))
    return scales


def _scaling(scales: list[float], files: list[str], shelf: Shelf, pictures: list[str]) -> Any:
    """Return the change from numbers in the file to pixels."""

    def scaled(row: int, numbers: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        if numbers.ndim != 2:
            raise StimulusError(f"disparity {files[row]} is (y, x); this is {numbers.shape}")
        size = _size(shelf, pictures[row])
        if size is not None and size != (numbers.shape[1], numbers.shape[0]):
            raise StimulusError(f"disparity {files[row]} has {numbers.shape[1]} x {numbers.shape[0]} values, "
                                f"{pictures[row]} {size[0]} x {size[1]} pixels")  # fmt: skip
        known = np.isfinite(numbers) & (numbers != 0)
        pixels = np.where(known, numbers / scales[row], np.nan).astype(np.float32)
        return pixels, (f"disparity divided by {scales[row]:g}, 0 is unknown",)

    return scaled
