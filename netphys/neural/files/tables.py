"""CSV tables of responses: wide (one row a stimulus, one column a neuroid)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.data import NeuralData
from netphys.neural.files.arrays import ID_COLUMNS, Table, read_table
from netphys.neural.files.finishing import assembled
from netphys.neural.files.ids import follow_ids
from netphys.neural.files.responses import long_form, refuse_choices

if TYPE_CHECKING:
    from netphys.neural.files.options import FileOptions

__all__ = ["load_table"]


def load_table(path: Path, options: FileOptions, ids: str | Sequence[str] | None, name: str) -> NeuralData:
    """Load a CSV table of responses as an assembly."""
    refuse_choices(path, options)
    axes = options.axes or ("stimulus", "neuroid")
    table = _table(path, options)
    if len(axes) != 2:
        raise NeuralDataError(f"{path} is a table of two axes, not of {' x '.join(axes)}; say axes=")
    values = table.values if axes[0] == "stimulus" else table.values.T
    own, neuroids = (table.row_ids, table.column_ids)[:: 1 if axes[0] == "stimulus" else -1]
    stimulus_ids, joined = follow_ids(path, len(values), own, ids)
    if np.isinf(values).any():
        raise NeuralDataError(f"{path}: the table holds infinity; a response that is missing is NaN")
    return assembled(path, long_form(values[None], stimulus_ids, neuroids), options, name, f"{path.name}, {joined}")


def _table(path: Path, options: FileOptions) -> Table:
    """Read a CSV table of responses; refuse columns that may be ids and would be read as neuroids."""
    table = read_table(path, first=options.first)
    names = table.column_ids or []
    stray = next((name for name in names if name.lower() in ID_COLUMNS and name), None)
    if stray is not None and options.first != "values":
        raise NeuralDataError(f"{path}: column {stray!r} holds ids and is not the first; put it first, or take it out")
    if options.first is not None or table.row_ids is not None or not names:
        return table
    column, others = table.values[:, 0], table.values[:, 1:]
    whole = bool((column == np.round(column)).all())
    if whole and (len(set(column)) == len(column) or (others != np.round(others)).any()):
        raise NeuralDataError(
            f"{path}: its first column, {names[0]!r}, may be ids (whole numbers, all different or unlike the columns "
            "beside it); say first=ids, or first=values if it is responses"
        )
    return table
