"""A stimulus set as BrainIO packages it: a CSV, one row a stimulus, and a zip archive of the files, read in place.

BrainIO names both ``stimulus_<lab>_<name>`` (older ones ``image_...``). The column ``stimulus_id`` is the id
(``image_id`` in older sets), ``filename`` the file in the archive (``image_file_name`` in older ones). Files lie there
under the id, or under ``stimulus_path_within_store``, with or without the suffix. All other columns are metadata, among
them paths on the machine where the set was made, which are not used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from netphys.errors import StimulusError, near
from netphys.stimuli.readers.folder import Found, read_shelf, read_table
from netphys.stimuli.readers.kinds import KINDS, kind_of
from netphys.stimuli.readers.shelves import Directory, Shelf, open_shelf

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_brainio"]

log = logging.getLogger(__name__)

_IDS = ("stimulus_id", "image_id")
_FILES = ("filename", "image_file_name", "stimulus_path_within_store", "image_path_within_store", "file_name")
_BESIDE = (".csv", ".zip", ".nc")  # in a folder where a set was unpacked: its packed form, assemblies


def read_brainio(table: Path | str, archive: Path | str | None = None, *, skip_broken: bool = False) -> Found:
    """Read a BrainIO stimulus set.

    Parameters
    ----------
    table : Path
        The CSV.
    archive : Path, optional
        The zip archive, or the folder that it was unpacked into. Default, the first that there is: the archive of the
        CSV's name beside it, the only archive beside it, a folder of the CSV's name, the CSV's own folder.
    skip_broken : bool
        Leave out stimuli that cannot be decoded. The default is an error that names the first one when it is read.

    Returns
    -------
    Found
        The stimuli in the order of the CSV, its columns the metadata; where there is only the older ``image_id``, the
        column ``stimulus_id`` is added. Files of no stimulus are not shown, and the log says how many.

    Raises
    ------
    StimulusError
        If the CSV or the archive is absent, not understood or damaged, or a stimulus has no file.
    """
    path = Path(table)
    if path.suffix.lower() == ".zip" or not path.is_file():
        what = "an archive" if path.is_file() else "not there"
        raise StimulusError(f"{path} is {what}; a BrainIO set is named by its CSV, the archive lies beside it")
    with path.open("rb") as file:
        listed = read_table(file, name=str(path))
    shelf = open_shelf(archive) if archive is not None else _shelf_beside(path)
    listed = _with_ids(listed, path)
    listed, column = _with_files(listed, path, shelf)
    kind = _kind(listed, column, path)
    _say_extra(shelf, set(listed[column]), path)
    found = read_shelf(shelf, table=listed, fields={KINDS[kind].field: f"{column}:{kind}"}, skip_broken=skip_broken)
    return replace(found, name=path.stem.removeprefix("stimulus_").removeprefix("image_"))


def _shelf_beside(path: Path) -> Shelf:
    """Find the archive that belongs to a CSV, or where it was unpacked."""
    named = [path.with_suffix(".zip"), path.with_name(f"stimulus_{path.stem.replace('.', '_')}.zip")]
    found = next((each for each in named if each.is_file()), None)
    if found is not None:
        return open_shelf(found)
    archives = sorted(each for each in path.parent.iterdir() if each.suffix.lower() == ".zip" and each.is_file())
    if len(archives) == 1:
        return open_shelf(archives[0])
    if len(archives) > 1:
        names = [each.name for each in archives]
        raise StimulusError(f"{path} has {len(archives)} archives beside it, {', '.join(names[:3])}; say which one")
    folder = path.with_suffix("")
    return open_shelf(folder if folder.is_dir() else path.parent)


def _with_ids(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """See that the table has the column ``stimulus_id``; ``image_id`` is its older name."""
    column = next((each for each in _IDS if each in table), None)
    if column is None:
        has = ", ".join(map(str, table.columns[:8]))
        raise StimulusError(f"{path} has no column 'stimulus_id' (older: 'image_id'); has: {has}")
    if not len(table):
        raise StimulusError(f"{path} lists no stimulus")
    empty = next((row for row, each in enumerate(table[column]) if not str(each)), None)
    if empty is not None:
        raise StimulusError(f"{path}: row {empty + 1} has no {column}")
    if column == "stimulus_id":
        return table
    log.info("%s: stimulus_id is its column image_id, as in older BrainIO sets", path)
    table = table.copy()
    table.insert(0, "stimulus_id", table[column])
    return table


def _with_files(table: pd.DataFrame, path: Path, shelf: Shelf) -> tuple[pd.DataFrame, str]:
    """Find each stimulus's file: the first column that names one for all of them; else the ids themselves."""
    without_suffix = _by_stem(shelf)
    tried: list[tuple[int, str, str]] = []
    for column in [*(each for each in _FILES if each in table), "stimulus_id"]:
        named = [str(each) for each in table[column]]
        files = [each if shelf.has(each) else without_suffix.get(each, "") for each in named]
        absent = [each for each, file in zip(named, files) if not file]
        if not absent:
            if files == named and column != "stimulus_id":
                return table, column
            free = next(each for each in ("file", "file_in_archive", "netphys_file") if each not in table)
            return table.assign(**{free: files}), free
        tried.append((len(absent), column, absent[0]))
    n_absent, column, first = min(tried, key=lambda each: each[0])
    raise StimulusError(
        f"{path}: {n_absent} of {len(table)} stimuli have no file in {shelf}, first {column} {first!r}"
        f"{near(first, shelf.files()[:10_000])}"
    )


def _by_stem(shelf: Shelf) -> dict[str, str]:
    """Map names without suffix to files; names that several files share are left out."""
    found: dict[str, str] = {}
    shared: set[str] = set()
    for file in shelf.files():
        stem = file.removesuffix(PurePosixPath(file).suffix)
        if stem in found:
            shared.add(stem)
        found[stem] = file
    return {stem: file for stem, file in found.items() if stem not in shared}


def _kind(table: pd.DataFrame, column: str, path: Path) -> str:
    """Say what kind all files are."""
    kinds = {kind_of(str(each)) or "" for each in table[column]}
    if len(kinds) == 1 and "" not in kinds:
        return kinds.pop()
    odd = next(each for each in map(str, table[column]) if kind_of(each) in (None, sorted(kinds)[-1]))
    if "" in kinds:
        raise StimulusError(f"{path}: {odd!r} is no kind of file that is shown")
    raise StimulusError(f"{path} mixes {' and '.join(sorted(kinds))} files (first {odd!r}); make a set of each")


def _say_extra(shelf: Shelf, used: set[str], path: Path) -> None:
    """Say which files are of no stimulus: BrainIO packs none, so something is missing in the CSV."""
    known = used | {each.partition("/")[2] for each in used}  # an archive's only folder may be named or not
    extra = [each for each in _shown(shelf) if each not in known]
    if extra:
        log.warning("%s: %d file(s) of %s belong to no stimulus, first %r", path, len(extra), shelf, extra[0])


def _shown(shelf: Shelf) -> Iterator[str]:
    for each in shelf.files():
        if not (isinstance(shelf, Directory) and each.lower().endswith(_BESIDE)):
            yield each
