"""Which table of an NWB file says the presentations, and which of its columns say when and what.

Files keep trials (from fixation on) beside presentations, and several times a trial. Where more than one would do,
the user is asked: counts about another event are no error that anybody would see.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.files.nwb_tables import interval_tables, is_scalar, read_column

if TYPE_CHECKING:
    from netphys.neural.files.options import FileOptions

__all__ = ["NWBChoice"]

_START = "start_time"
# columns that are taken to say which stimulus is shown, where exactly one of them is there
_STIMULUS = (
    "stimulus_id", "image_id", "stimulus_name", "image_name", "stimulus", "image", "stim_id", "stim_name", "frame"
)  # fmt: skip
_SHOWN = "stim|stimulus|stimuli|image|img|picture|pic|photo|movie|frame|sample|visual"
_ONSET = re.compile(rf"((({_SHOWN})_?(on|onset|start))|onset)s?_?(times?|s|sec)?", re.IGNORECASE)
_BLOCKS = "epochs"  # long stretches of a session, which may be named as stimuli are


@dataclass(frozen=True)
class NWBChoice:
    """The table of presentations and its columns that say when and what."""

    table: Any
    align: str
    stimulus: str

    @classmethod
    def of(cls, path: Path, nwbfile: Any, options: FileOptions) -> NWBChoice:
        """Choose what the options name, or the only one that fits.

        Raises
        ------
        NeuralDataError
            If what they name is not there, or several tables or columns fit; the line lists them.
        """
        table = _table(path, interval_tables(nwbfile), options)
        if not len(table.id.data):
            raise NeuralDataError(f"{path}: the table {table.name} has no rows; name another by ?trials=NAME")
        columns = _columns(table)
        align = options.align or _START
        for option, column in (("align", align), ("stimulus", options.stimulus)):
            if column is not None and column not in columns:
                why = "holds no single values" if column in table.colnames else "is not there"
                raise NeuralDataError(
                    f"{path}: column {column!r} of {table.name} {why}; ?{option}=COLUMN{near(column, columns)}"
                )
        stimulus = options.stimulus or _guessed(path, table.name, columns)
        if options.align is None:
            _require_one_onset(path, table, columns)
        return cls(table, align, stimulus)


def _columns(table: Any) -> list[str]:
    """Columns of one value a row."""
    return [str(each) for each in table.colnames if is_scalar(table[each])]


def _table(path: Path, tables: Mapping[str, Any], options: FileOptions) -> Any:
    """The table that is named, else the only one that names stimuli, else trials, else the only one."""
    wanted = options.trials
    if wanted is not None:
        if wanted not in tables:
            raise NeuralDataError(f"{path} has no interval table {wanted!r}{near(wanted, tables)}")
        return tables[wanted]
    if not tables:
        raise NeuralDataError(f"{path} holds no interval table (trials, presentations): no onsets of stimuli")
    others = [name for name in tables if name != _BLOCKS]
    naming = [name for name in others if {*_STIMULUS, options.stimulus} & set(_columns(tables[name]))]
    if len(naming) > 1:
        raise NeuralDataError(
            f"{path}: {len(naming)} tables name stimuli; say which has the presentations by ?trials=NAME: "
            f"{_listed(tables, naming)}"
        )
    if "trials" in tables:
        return tables[naming[0] if naming else "trials"]
    if len(others) == 1:
        return tables[others[0]]
    raise NeuralDataError(
        f"{path} holds no table trials; name that of presentations by ?trials=NAME: {_listed(tables, list(tables))}"
    )


def _listed(tables: Mapping[str, Any], names: Sequence[str]) -> str:
    """Tables with their rows and columns, in one line."""
    shown = [f"{name} ({len(tables[name].id.data)} rows: {', '.join(_columns(tables[name])[:12])})" for name in names]
    return "; ".join(shown[:8]) + ("; ..." if len(shown) > 8 else "")


def _guessed(path: Path, table: str, columns: Sequence[str]) -> str:
    """The only column whose name says that it holds stimuli."""
    found = [each for each in _STIMULUS if each in columns]
    if len(found) == 1:
        return found[0]
    why = (
        f"{len(found)} columns of {table} may say the stimulus" if found else f"no column of {table} says the stimulus"
    )
    raise NeuralDataError(f"{path}: {why}; name one by ?stimulus=COLUMN: {', '.join(found or columns)}")


def _require_one_onset(path: Path, table: Any, columns: Sequence[str]) -> None:
    """Refuse to take ``start_time`` where another column is called an onset and holds other times."""
    called = [each for each in columns if _ONSET.fullmatch(each)]
    found = {each: read_column(path, table, table[each]) for each in called}
    starts = read_column(path, table, table[_START])
    other = [each for each, times in found.items() if times.dtype.kind in "fiu" and not np.array_equal(times, starts)]
    if other:
        raise NeuralDataError(
            f"{path}: {table.name} holds several times that may be the onset; say which by ?align=COLUMN: "
            f"{', '.join([_START, *other])}"
        )
