"""A folder (or a zip archive) of files becomes the source of a StimulusSet, and its table.

With ``metadata.csv`` its rows are the stimuli, in its order: column ``file`` is the path relative to the folder,
``stimulus_id`` the id (default: ``file``). Without it, every file below the folder that can be shown, sorted by path;
the first folder on the way is the column ``category``. Further fields are columns that name files: the right eye's
picture, a mask, depth, a sound.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import StimulusError, near
from netphys.stimuli.readers.decoding import IMAGE_SUFFIXES
from netphys.stimuli.readers.file_source import FileSource
from netphys.stimuli.readers.kinds import KINDS, FieldColumn, field_columns, kind_of
from netphys.stimuli.readers.metadata_csv import read_table
from netphys.stimuli.readers.shelves import Archive, Shelf, open_shelf

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LISTED", "Found", "read_folder", "read_shelf", "read_table"]

log = logging.getLogger(__name__)

LISTED = "metadata.csv"
_SHOWN = ("image", "sound", "clip", "text")  # what a folder without metadata.csv is looked through for, in this order
_FILES = ("filename", "image_file_name", "file_name", "path", "filepath", "file_path", "image", "image_path", "name")
_FOREIGN = (".heic", ".heif", ".avif", ".jp2", ".svg", ".ppm", ".pgm", ".tga", ".psd", ".exr", ".hdr", ".pcx", ".eps")
_LOOKED_AT = 200_000  # files about a metadata.csv among which those are looked for that it does not name
_COMPARED = 10_000  # files among which near names are looked for


@dataclass(frozen=True)
class Found:
    """What a reader found."""

    source: Any
    table: pd.DataFrame  # one row a stimulus of the source
    name: str
    rows: list[int] | None = None  # of the stimuli that are shown; None: all
    left_out: tuple[str, ...] = ()  # files of those that are broken
    treatment: str = ""  # what had been done to them before they were written


def read_folder(
    folder: Path | str,
    *,
    table: pd.DataFrame | None = None,
    fields: Mapping[str, str] | None = None,
    skip_broken: bool = False,
) -> Found:
    """Read a folder, or a zip archive, of images or other stimuli.

    Parameters
    ----------
    folder : Path
        Holds files, in folders or not, and maybe ``metadata.csv``.
    table : pandas.DataFrame, optional
        In place of ``metadata.csv``.
    fields : mapping, optional
        Field → column of the metadata that names its files, ``"column"`` or ``"column:kind"``
        (:mod:`netphys.stimuli.readers.kinds`). Default: the column ``file``.
    skip_broken : bool
        Leave out stimuli that cannot be decoded, and log how many. The default is an error that names the first one
        when it is read.

    Raises
    ------
    StimulusError
        If the folder is absent or holds nothing to show, if ``metadata.csv`` is not understood or names files that are
        not there.
    """
    return read_shelf(open_shelf(folder), table=table, fields=fields, skip_broken=skip_broken)


def read_shelf(
    shelf: Shelf,
    *,
    table: pd.DataFrame | None = None,
    fields: Mapping[str, str] | None = None,
    skip_broken: bool = False,
) -> Found:
    """Read what lies on a shelf, as :func:`read_folder`."""
    where = f"{shelf}/{LISTED}" if table is None else f"the table of {shelf}"
    listed = table is None and shelf.has(LISTED)
    if listed:
        with shelf.open(LISTED) as file:
            table = read_table(file, name=where, written=[said.partition(":")[0] for said in (fields or {}).values()])
    if table is None:
        table = _walk(shelf)
        if not len(table):
            kinds = " ".join(IMAGE_SUFFIXES)
            raise StimulusError(f"folder {shelf} holds no image ({kinds})")
    columns = _columns(table, fields, where)
    _require_files(shelf, table, columns, where)
    if listed:
        _say_unnamed(shelf, table, columns)
    table = table.reset_index(drop=True).copy()
    if "stimulus_id" in table and (table["stimulus_id"] == "").any():
        row = int((table["stimulus_id"] == "").to_numpy().argmax())
        raise StimulusError(f"{where}: the stimulus of row {row + 1} has no stimulus_id")
    if "stimulus_id" not in table:
        table.insert(0, "stimulus_id", table[columns[0].column].astype(str))
    source = FileSource(shelf, {each.field: (each.kind, list(table[each.column])) for each in columns})
    if not skip_broken:
        return Found(source, table, shelf.name)
    whole = np.array(source.probe())
    if not whole.any():
        raise StimulusError(f"all {len(table)} {_plural(columns[0])} of {shelf} are broken")
    if not whole.all():
        log.warning("%d of %d %s of %s are broken and left out", (~whole).sum(), len(whole), _plural(columns[0]), shelf)
    left_out = tuple(str(file) for file, good in zip(table[columns[0].column], whole) if not good)
    return Found(source, table, shelf.name, np.flatnonzero(whole).tolist(), left_out)


def _columns(table: pd.DataFrame, fields: Mapping[str, str] | None, where: str) -> list[FieldColumn]:
    """Say which columns hold files, and what kind they are."""
    if fields:
        return field_columns(fields, {str(each): table[each] for each in table.columns}, name=where)
    if "file" not in table:
        has = ", ".join(map(str, table.columns[:8]))
        likely = _likely(table)
        found = f"; near: {likely!r}" if likely else ""
        says = f"?fields=image={likely or 'COLUMN'}, in Python fields={{'image': {likely or 'COLUMN'!r}}},"
        raise StimulusError(f"{where} has no column 'file' (has: {has}){found}; {says} says which one names the files")
    kind = next((kind_of(str(each)) for each in table["file"]), None) or "image"
    return [FieldColumn(KINDS[kind].field, "file", kind)]


def _likely(table: pd.DataFrame) -> str:
    """Return the column that most likely names the files; empty where none does."""
    known = {str(each).lower(): str(each) for each in table.columns}
    named = next((known[each] for each in ("file", *_FILES) if each in known), "")
    shown = (str(each) for each in table.columns if len(table) and kind_of(str(table[each].iloc[0])))
    return named or next(shown, "")


def _walk(shelf: Shelf) -> pd.DataFrame:
    """List what can be shown: the images, or where there is none the sounds, clips or texts."""
    import pandas as pd

    kinds = {file: kind_of(file) for file in shelf.files()}
    shown = next((kind for kind in _SHOWN if kind in kinds.values()), None)
    files = [file for file, kind in kinds.items() if shown is not None and kind == shown]
    table = pd.DataFrame({"stimulus_id": files, "file": files})
    _say_other_kinds(shelf, kinds, shown)
    if any("/" in each for each in files):
        table["category"] = [each.split("/")[0] if "/" in each else "" for each in files]
    return table


def _require_files(shelf: Shelf, table: pd.DataFrame, columns: list[FieldColumn], where: str) -> None:
    """See that every file that is named is there, and on the shelf."""
    for column in dict.fromkeys(each.column for each in columns):
        files = [str(each) for each in table[column]]
        for file in files:
            if file.startswith("/") or ".." in file.split("/"):
                raise StimulusError(f"{where}: {column} {file!r} is not below the folder")
        absent = [file for file in files if not file or not shelf.has(file)]
        if absent:
            there = _near_file(absent[0], shelf)
            raise StimulusError(f"{where} names {len(absent)} file(s) that are not there, first {absent[0]!r}{there}")


def _near_file(name: str, shelf: Shelf) -> str:
    """Say which files have nearly that name: the same but for upper and lower case, the same elsewhere, alike."""
    try:
        files = [each for each in shelf.files() if each != LISTED]
    except StimulusError:  # a part that is closed, or too many: the first mistake is said
        return ""
    same = [each for each in files if each.casefold() == name.casefold()]
    last = PurePosixPath(name).name.casefold()
    elsewhere = [each for each in files if last and PurePosixPath(each).name.casefold() == last]
    found = same or elsewhere
    return f"; near: {found[0]!r}" if found else near(name, files[:_COMPARED])


def _say_unnamed(shelf: Shelf, table: pd.DataFrame, columns: list[FieldColumn]) -> None:
    """Say which files of the kinds that are shown no row names; of a folder of very many, or closed parts, nothing."""
    try:
        files = shelf.files(most=_LOOKED_AT)
    except StimulusError:
        return
    named = {each for column in table.columns for each in table[column] if isinstance(each, str)}
    if isinstance(shelf, Archive):
        named |= {each.partition("/")[2] for each in named}  # its only folder may be named or not
    kinds = {"image" if each.kind == "values" else each.kind for each in columns}
    unnamed = [each for each in files if each not in named and kind_of(each) in kinds]
    if unnamed:  # a name can be written in several ways, as ./a.png
        named |= {PurePosixPath(str(each)).as_posix() for column in columns for each in table[column.column]}
        unnamed = [each for each in unnamed if each not in named]
    if unnamed:
        what = {"image": "image(s)", "clip": "clip(s)", "sound": "sound(s)", "text": "text(s)"}.get(columns[0].kind)
        what = what if len(kinds) == 1 and what else "file(s)"
        log.warning(
            "%d %s of %s are named by no row of %s, first %r", len(unnamed), what, shelf, LISTED, unnamed[0]
        )  # fmt: skip


def _say_other_kinds(shelf: Shelf, kinds: Mapping[str, str | None], shown: str | None) -> None:
    """Say which pictures, films, sounds and numbers are not shown, because others are; texts are mostly notes."""
    others = [
        file
        for file, kind in kinds.items()
        if shown and (kind not in (shown, "text", None) or PurePosixPath(file).suffix.lower() in _FOREIGN)
    ]
    if others:
        log.warning(
            "%d file(s) of %s are of another kind than its %ss and not shown, first %r",
            len(others), shelf, shown, others[0],
        )  # fmt: skip


def _plural(column: FieldColumn) -> str:
    return {"image": "images", "clip": "clips", "sound": "sounds", "text": "texts"}.get(column.kind, "files")
