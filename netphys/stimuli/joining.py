"""Sets of stimuli put together: one after another, or joined by id with a table or with the fields of another set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import StimulusError, near
from netphys.matching import match_stimuli
from netphys.stimuli.sources import Chain, Side
from netphys.stimuli.stimulus_set import StimulusSet

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["concatenate", "joined"]

log = logging.getLogger(__name__)

_PICTURES = ("image", "left", "right", "clip")  # what a treatment is done to


def concatenate(sets: Sequence[StimulusSet], *, name: str = "") -> StimulusSet:
    """Put sets one after another.

    Parameters
    ----------
    sets : sequence of StimulusSet
        Ids are unique in all of them together.
    name : str
        Default: their names, joined.

    Returns
    -------
    StimulusSet
        With the fields that all of them have, and the columns that any of them has. Where photographs (uint8) and
        generated pictures (float32 in [0, 1]) come together, all are float32. Where sets were treated differently the
        column ``treatment`` says how.

    Raises
    ------
    MatchError
        If an id occurs twice.
    StimulusError
        If no field is common to all, or there is no set.
    """
    import pandas as pd

    if not sets:
        raise StimulusError("no set of stimuli to put together")
    tables = [each.metadata for each in sets]
    if len({each.treatment for each in sets}) > 1:
        for each, table in zip(sets, tables, strict=True):
            if "treatment" not in table:
                table["treatment"] = each.treatment or "none"
    table = pd.concat(tables, ignore_index=True)
    source = Chain([(each._source, each._rows) for each in sets])
    return StimulusSet(
        source,
        table,
        name=name or " + ".join(dict.fromkeys(each.name for each in sets)),
        left_out=[file for each in sets for file in each.left_out],
        treatment=_merged([each.treatment for each in sets]),
    )


def joined(stimuli: StimulusSet, other: pd.DataFrame | StimulusSet, *, on: str = "stimulus_id") -> StimulusSet:
    """Add columns of a table, or the fields and columns of another set: see :meth:`StimulusSet.join`."""
    theirs = other.metadata if isinstance(other, StimulusSet) else other.reset_index(drop=True)
    mine = stimuli.metadata
    for table, name in ((mine, stimuli.name), (theirs, "what is joined")):
        if on not in table:
            raise StimulusError(f"{name} has no column {on!r}{near(on, map(str, table.columns))}")
    keys = [str(each) for each in mine[on]]
    wanted = list(dict.fromkeys(keys))
    match = match_stimuli(list(theirs[on]), wanted, model="what is joined", data=stimuli.name)
    row = dict(zip(wanted, match.model_rows, strict=True))
    order = np.array([row[each] for each in keys], dtype=np.int64)
    twice = [column for column in theirs.columns if column in mine and column not in (on, "stimulus_id")]
    unlike = [each for each in twice if not _equal(mine[each].to_numpy(), theirs[each].iloc[order].to_numpy())]
    if unlike:
        log.warning(
            "column(s) %s of what is joined differ from those of %s, which are kept; rename them to have both",
            ", ".join(map(repr, unlike)),
            stimuli.name,
        )
    for column in theirs.columns:
        if column not in mine:
            mine[column] = theirs[column].iloc[order].to_numpy()
    new = [each for each in other.fields if each not in stimuli.fields] if isinstance(other, StimulusSet) else []
    if not new:
        return stimuli._like(stimuli._rows, mine)
    assert isinstance(other, StimulusSet)
    beside = Side([(stimuli._source, stimuli._rows, stimuli.fields), (other._source, other._rows[order], new)])
    shown = [each.treatment for each in (stimuli, other) if set(each.fields) & set(_PICTURES)]
    return StimulusSet(beside, mine, name=stimuli.name, left_out=stimuli.left_out, treatment=_merged(shown))


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two columns say the same; missing values are alike."""
    return all(a == b or (a != a and b != b) for a, b in zip(one.tolist(), other.tolist(), strict=True))


def _merged(treatments: Sequence[str]) -> str:
    """Say what was done to stimuli that come together."""
    said = list(dict.fromkeys(treatments))
    return said[0] if len(said) == 1 else "; or ".join(each or "none" for each in said)
