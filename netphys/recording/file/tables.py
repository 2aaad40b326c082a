"""The stimuli's metadata in a recording: columns of strings, numbers and booleans, one row a stimulus.

In the file it is the group ``/stimuli`` of :mod:`netphys.hdf5_columns`. Files made before have no such group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import RecordingError
from netphys.hdf5_columns import Columns, metadata_frame, stored_bytes, table_digest, write_columns
from netphys.hdf5_columns import plain_columns as columns_of
from netphys.hdf5_columns import read_columns as columns_in
from netphys.matching import match_stimuli

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Columns", "aligned", "metadata_frame", "plain_columns", "read_columns", "stored_bytes", "table_digest",
    "write_columns",
]  # fmt: skip


def plain_columns(table: pd.DataFrame, stimulus_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns that a recording keeps: see :func:`netphys.hdf5_columns.plain_columns`."""
    return columns_of(table, stimulus_ids, keeper="the recording")


def aligned(table: pd.DataFrame, stimulus_ids: Sequence[str], *, name: str) -> pd.DataFrame:
    """Bring a user's table into the order of the stimuli, by its column ``stimulus_id`` where it has one.

    Raises
    ------
    RecordingError
        If it has no such column and another number of rows.
    MatchError
        If a stimulus is not in it.
    """
    if "stimulus_id" in table:
        ids = list(table["stimulus_id"])
        return table.iloc[match_stimuli(ids, list(stimulus_ids), model="the metadata", data=name).model_rows]
    if len(table) != len(stimulus_ids):
        raise RecordingError(f"{len(stimulus_ids)} stimuli but {len(table)} rows of metadata")
    return table


def read_columns(path: Path, file: Any, n_stimuli: int) -> dict[str, np.ndarray] | None:
    """Read the group ``/stimuli`` of an open, guarded file; None where there is none.

    Raises
    ------
    RecordingError
        If something in it is not what :func:`write_columns` writes.
    """
    return columns_in(path, file, n_stimuli, error=RecordingError, remedy="record it again")
