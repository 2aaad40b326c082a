"""Stimuli and data are joined by ``stimulus_id``, never by position.

Ids compare as strings after ``str()``; ``"1"`` and ``1.0`` do not match (definitions: neural data, 1.4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netphys.errors import MatchError, near

__all__ = ["Match", "match_stimuli", "require_unique"]


@dataclass(frozen=True, repr=False)
class Match:
    """Which rows of a model belong to which rows of the data, in the order of the data."""

    stimulus_ids: tuple[str, ...]
    model_rows: np.ndarray  # int (stimulus,)
    data_rows: np.ndarray  # int (stimulus,)
    extra: tuple[str, ...]  # stimuli that only the model has
    missing: tuple[str, ...]  # stimuli that only the data have; empty unless partial=True

    def __repr__(self) -> str:
        n_extra, n_missing = len(self.extra), len(self.missing)
        return f"Match({len(self.stimulus_ids)} stimuli, {n_extra} only shown, {n_missing} only recorded)"


def match_stimuli(
    model_ids: Sequence[object],
    data_ids: Sequence[object],
    *,
    model: str = "the model",
    data: str = "the neural data",
    partial: bool = False,
) -> Match:
    """Join a model's stimuli with those of neural data.

    Parameters
    ----------
    model_ids, data_ids : sequence
        Stimulus ids, each unique within its sequence.
    model, data : str
        What the two are, for messages.
    partial : bool
        Whether stimuli of the data that the model was not shown may be left out. The default is an error.

    Returns
    -------
    Match
        Rows of both for the common stimuli, in the order of the data.

    Raises
    ------
    MatchError
        If stimuli of the data have no row in the model (unless `partial`), none match, or an id occurs twice.

    Examples
    --------
    >>> match_stimuli(["a", "b", "c"], ["c", "a"]).model_rows.tolist()
    [2, 0]
    """
    shown, recorded = require_unique(model_ids, what=model), require_unique(data_ids, what=data)
    row = {each: index for index, each in enumerate(shown)}
    missing = tuple(each for each in recorded if each not in row)
    if missing and (not partial or len(missing) == len(recorded)):
        raise MatchError(
            f"{len(missing)} of {len(recorded)} stimuli of {data} are not among the {len(shown)} of {model}: "
            f"{_some(missing)}{near(missing[0], shown)}; stimuli are joined by stimulus_id, and a file without ids "
            "needs the list that its rows follow (--ids FILE:COLUMN)"
        )
    data_rows = np.array([index for index, each in enumerate(recorded) if each in row], dtype=np.int64)
    common = tuple(recorded[index] for index in data_rows)
    model_rows = np.array([row[each] for each in common], dtype=np.int64)
    wanted = set(common)
    return Match(common, model_rows, data_rows, tuple(each for each in shown if each not in wanted), missing)


def require_unique(ids: Sequence[object], *, what: str) -> list[str]:
    """Return ids as strings; raise a MatchError that names those that occur twice."""
    names = [str(each) for each in ids]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise MatchError(f"{len(twice)} stimulus_id(s) of {what} occur more than once: {_some(twice)}")
    return names


def _some(names: Sequence[str], n: int = 3) -> str:
    """Name a few of many."""
    return ", ".join(repr(each) for each in names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
