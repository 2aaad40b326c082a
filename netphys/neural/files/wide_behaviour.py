"""Behaviour in wide form: probabilities or counts of choices, told from ratings, times and trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.files.wide_tables import WideTable

__all__ = ["require_probabilities"]

_ROUNDED = 5e-3  # what a probability of two decimals misses
_MOST = 5e-2  # and what a sum of many of them may


def require_probabilities(path: Path, table: WideTable) -> None:
    """Refuse numbers that are neither probabilities of choices, whose rows sum to 1, nor counts of choices.

    Raises
    ------
    NeuralDataError
        The line names the columns, and what reads trials and judgements.
    """
    values, names = table.values, table.column_ids or [str(at) for at in range(table.values.shape[1])]
    if values.shape[1] < 2:
        raise _none(path, table, f"it has one column of numbers, {names[0]!r}")
    low = np.argwhere(values < 0)
    if len(low):
        row, column = low[0]
        raise NeuralDataError(
            f"{path}: row {row + 2} has {values[row, column]:g} for choice {names[column]!r}; behaviour is "
            "probabilities or counts of choices, not less than 0"
        )
    empty = np.flatnonzero(np.isnan(values).all(axis=1))
    if len(empty):
        raise NeuralDataError(f"{path}: row {empty[0] + 2} has no number for any choice; take it out")
    there = values[~np.isnan(values)]
    if (there == np.round(there)).all():
        _require_choices(path, values)
        return
    large = np.argwhere(values > 1 + _ROUNDED)
    if len(large):
        row, column = large[0]
        raise _none(path, table, f"row {row + 2} has {values[row, column]:g} in column {names[column]!r}")
    sums = np.nansum(values, axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > min(_ROUNDED * values.shape[1], _MOST))
    if len(wrong):
        raise _none(path, table, f"row {wrong[0] + 2} sums to {sums[wrong[0]]:g}")


def _require_choices(path: Path, values: np.ndarray) -> None:
    """Refuse a row of counts where nothing was chosen."""
    none = np.flatnonzero(np.nansum(values, axis=1) == 0)
    if len(none):
        raise NeuralDataError(f"{path}: row {none[0] + 2} counts no choice at all; take it out")


def _none(path: Path, table: WideTable, why: str) -> NeuralDataError:
    """Say that a table is none of probabilities or counts, and how others are read."""
    texts = [name for name, values in table.coordinates.items() if values.dtype.kind == "U"]
    beside = f" beside {', '.join(map(repr, texts[:5]))}" if texts else ""
    return NeuralDataError(
        f"{path} is no table of probabilities or counts of choices ({why}{beside}): rows of probabilities sum to 1, "
        "counts are whole numbers. One row a trial: say stimulus=COLUMN&value=COLUMN of its choices (or "
        "netphys.neural.behaviour.choices_from_trials); judgements of similarity: "
        "netphys.neural.behaviour.similarities_from_csv"
    )
