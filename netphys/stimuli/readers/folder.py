"""A folder (or a zip archive) of files becomes the source of a StimulusSet, and its table.

With ``metadata.csv`` its rows are the stimuli, in its order: column ``file`` is the path relative to the folder,
``stimulus_id`` the id (default: ``file``). Without it, every file below the folder that can be shown, sorted by path;
the first folder on the way is the column ``category``. Further fields are columns that name files: the right eye's
picture, a mask, depth, a sound.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import StimulusError
from netphys.stimuli.readers.decoding import IMAGE_SUFFIXES
from netphys.stimuli.readers.file_source import FileSource
from netphys.stimuli.readers.kinds import KINDS, FieldColumn, field_columns, kind_of
from netphys.stimuli.readers.shelves import Shelf, open_shelf

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Found", "read_folder", "read_shelf", "read_table"]

log = logging.getLogger(__name__)

_LISTED = "metadata.csv"
_SHOWN = ("image", "sound", "clip", "text")  # what a folder without metadata.csv is looked through for, in this order
_MOST_COLUMNS = 10_000
_NAMES = ("stimulus_id", "image_id", "file", "filename", "image_file_name")  # columns that are text, as written


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
    where = f"{shelf}/{_LISTED}" if table is None else f"the table of {shelf}"
    if table is None and shelf.has(_LISTED):
        with shelf.open(_LISTED) as file:
            table = read_table(file, name=where, written=[said.partition(":")[0] for said in (fields or {}).values()])
    if table is None:
        table = _walk(shelf)
        if not len(table):
            kinds = " ".join(IMAGE_SUFFIXES)
            raise StimulusError(f"folder {shelf} holds no image ({kinds})")
    columns = _columns(table, fields, where)
    _require_files(shelf, table, columns, where)
    table = table.reset_index(drop=True).copy()
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


def read_table(file: Any, *, name: str, written: Iterable[str] = ()) -> pd.DataFrame:
    """Read a CSV of metadata.

    Parameters
    ----------
    file : open binary file
        Can be sought in.
    name : str
        What messages call it.
    written : iterable of str
        Columns that are text, as they are written, besides ids and files: a film may be called "NA" or "007".

    Raises
    ------
    StimulusError
        If it is no CSV table in UTF-8, or two of its columns have one name.
    """
    import pandas as pd

    try:
        _require_text(file, name)
        # two rows: pandas would take the first fields of a second one that is longer for row labels, and shift the rest
        header = pd.read_csv(file, encoding="utf-8", header=None, nrows=2, dtype=str, keep_default_na=False)
        names = [str(each) for each in header.iloc[0]] if len(header) else []
        twice = next((each for index, each in enumerate(names) if each in names[:index]), None)
        if twice is not None:
            raise StimulusError(f"{name} has two columns of the name {twice!r}")
        file.seek(0)
        table = pd.read_csv(file, encoding="utf-8", low_memory=False)
        file.seek(0)
        texts = {*_NAMES, *written}
        as_written = pd.read_csv(file, usecols=texts.__contains__, dtype=str, keep_default_na=False, encoding="utf-8")
        table[as_written.columns] = as_written
    except StimulusError:
        raise
    except (ValueError, UnicodeDecodeError, OverflowError) as error:
        raise StimulusError(f"{name} is not a CSV table in UTF-8: {str(error).splitlines()[0]}") from None
    return table


def _require_text(file: Any, name: str) -> None:
    """Look at the bytes of a CSV before it is parsed: pandas takes half a minute and 1.4 GB for 10^6 columns."""
    start = file.tell()
    if file.readline(1 << 20).partition(b"\r")[0].count(b",") >= _MOST_COLUMNS:  # old Mac files end lines with \r alone
        raise StimulusError(f"{name} has more than {_MOST_COLUMNS} columns")
    file.seek(start)
    while part := file.read(1 << 20):
        if b"\0" in part:
            raise StimulusError(f"{name} is not a CSV table in UTF-8: it holds NUL bytes")
    file.seek(start)


def _columns(table: pd.DataFrame, fields: Mapping[str, str] | None, where: str) -> list[FieldColumn]:
    """Say which columns hold files, and what kind they are."""
    if fields:
        return field_columns(fields, {str(each): table[each] for each in table.columns}, name=where)
    if "file" not in table:
        has = ", ".join(map(str, table.columns[:8]))
        raise StimulusError(
            f"{where} has no column 'file' (has: {has}); fields={{'image': 'COLUMN'}} says which one names the files"
        )
    kind = next((kind_of(str(each)) for each in table["file"]), None) or "image"
    return [FieldColumn(KINDS[kind].field, "file", kind)]


def _walk(shelf: Shelf) -> pd.DataFrame:
    """List what can be shown: the images, or where there is none the sounds, clips or texts."""
    import pandas as pd

    kinds = {file: kind_of(file) for file in shelf.files()}
    shown = next((kind for kind in _SHOWN if kind in kinds.values()), None)
    files = [file for file, kind in kinds.items() if shown is not None and kind == shown]
    table = pd.DataFrame({"stimulus_id": files, "file": files})
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
            raise StimulusError(f"{where} names {len(absent)} file(s) that are not there, first {absent[0]!r}")


def _plural(column: FieldColumn) -> str:
    return {"image": "images", "clip": "clips", "sound": "sounds", "text": "texts"}.get(column.kind, "files")
