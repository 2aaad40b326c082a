"""What a set of stimuli holds, in words: numbers, fields, sizes, conversions, columns, digest; reads all of it once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from netphys.stimuli import StimulusSet

__all__ = ["column_summary", "field_summary", "summary"]

_FEW = 8  # values of a column that are listed
_CHUNK = 64  # stimuli that are read at once


def summary(stimuli: StimulusSet) -> dict[str, str]:
    """Say what a set holds.

    Parameters
    ----------
    stimuli : StimulusSet
        Read once, a few stimuli at a time.

    Returns
    -------
    dict of str to str
        Facts in the order in which they are told.
    """
    facts = {"stimuli": f"{len(stimuli)} of {stimuli.name}", "digest": stimuli.digest}
    facts |= {f"field {field}": field_summary(stimuli, field) for field in stimuli.fields}
    if stimuli.treatment:
        facts["treated"] = stimuli.treatment
    converted = stimuli.conversions
    if converted:
        facts["converted"] = ", ".join(f"{words} ({n})" for words, n in converted.items())
    if stimuli.left_out:
        facts["left out"] = f"{len(stimuli.left_out)} broken: {', '.join(stimuli.left_out[:3])}"
    metadata = stimuli.metadata
    return facts | {
        f"column {name}": column_summary(metadata[name]) for name in metadata.columns if name != "stimulus_id"
    }


def field_summary(stimuli: StimulusSet, field: str) -> str:
    """Say what a field is: dtype, and the shapes that there are with their numbers."""
    shapes: Counter[str] = Counter()
    for _, values in stimuli.batches(_CHUNK, field=field):
        shapes.update(_shape(each) for each in values)
    common = [f"{shape} ({n})" if len(shapes) > 1 else shape for shape, n in shapes.most_common(3)]
    rest = len(shapes) - len(common)
    return ", ".join(common) + (f" and {rest} other shapes" if rest else "")


def column_summary(column: pd.Series) -> str:
    """Say what a column of the metadata holds: its values where there are few, else their range or their number."""
    counts = column.value_counts(dropna=False)
    if len(counts) <= _FEW:
        return ", ".join(f"{_short(value)} ({count})" for value, count in counts.items())
    if column.dtype.kind in "iuf":
        return f"{column.min():.4g} to {column.max():.4g}"
    return f"{len(counts)} different, first {column.iloc[0]!r}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shape(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    dtype = str(value.dtype).removeprefix("torch.")
    return f"{dtype} {' x '.join(map(str, value.shape))}" if value.ndim else dtype
