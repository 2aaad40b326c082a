"""What parts of a recording say of their stimuli and layers, joined: metadata by stimulus, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from netphys.errors import RecordingError
from netphys.recording.file.tables import Columns

__all__ = ["joined_columns", "joined_measures"]

_SUMS = {"epsilon", "epsilon_rms", "n_pairs", "n_stimuli"}  # of the error of a projection


class Part(Protocol):
    """Where metadata come from."""

    @property
    def path(self) -> Path: ...

    @property
    def ids(self) -> tuple[str, ...]: ...

    @property
    def columns(self) -> Columns: ...


def joined_columns(parts: Sequence[Part], ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Join the metadata by stimulus; what a part does not say is missing.

    Raises
    ------
    RecordingError
        If two parts say other things of a stimulus, or of a column.
    """
    found: dict[str, np.ndarray] = {"stimulus_id": np.array(list(ids), dtype=object)}
    row = {each: place for place, each in enumerate(ids)}
    for name in dict.fromkeys(name for part in parts for name in part.columns if name != "stimulus_id"):
        having = [part for part in parts if name in part.columns]
        kinds = {part.columns[name].dtype for part in having}
        if kinds and all(each.kind in "iuf" for each in kinds) and len(kinds) > 1 and _exact(having, name):
            kinds = {np.dtype(np.float64)}
        if len(kinds) > 1:
            raise RecordingError(f"column {name!r} of the metadata is of another kind in {having[-1].path}")
        values: list[Any] = [None] * len(ids)
        said = np.zeros(len(ids), dtype=bool)
        for part in having:
            for stimulus, value in zip(part.ids, part.columns[name].tolist()):
                place = row[stimulus]
                if said[place] and not (values[place] == value or (values[place] != values[place] and value != value)):
                    raise RecordingError(f"{part.path} says other {name!r} of stimulus {stimulus!r} than another part")
                values[place], said[place] = value, True
        found[name] = _column(name, values, said, kinds.pop())
    return found


def _exact(parts: Sequence[Part], name: str) -> bool:
    """Tell whether the numbers of a column are the same as floats."""
    columns = [part.columns[name] for part in parts]
    return all(each.dtype.kind == "f" or [int(x) for x in each.astype(np.float64)] == each.tolist() for each in columns)


def _column(name: str, values: list[Any], said: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Make a column; whole numbers and booleans with gaps become floats, as where metadata are first kept."""
    if dtype.kind == "O" or said.all():
        return np.array(values, dtype=dtype)
    filled = [value if known else np.nan for value, known in zip(values, said)]
    if any(int(float(value)) != value for value, known in zip(values, said) if known and isinstance(value, int)):
        raise RecordingError(
            f"column {name!r} of the metadata has whole numbers that no float holds, and not all parts have it"
        )
    return np.array(filled, dtype=dtype if dtype.kind == "f" else np.float64)


def joined_measures(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what was measured on the way to parts of a layer.

    What is the same in all parts stays. Of the errors of projections the largest is the largest of all, the root mean
    square is over all pairs, numbers are summed, and the bound is the widest; other differences are said part by part.
    """
    found = [dict(each) for place, each in enumerate(parts) if each not in parts[:place]]
    if len(found) == 1:
        return found[0]
    if not all(each.keys() >= _SUMS for each in found):
        return {"of_parts": found}
    pairs = [each["n_pairs"] for each in found]
    squares = [n * (each["epsilon_rms"] or 0) ** 2 for n, each in zip(pairs, found)]
    known = {key: value for key, value in found[0].items() if all(each.get(key) == value for each in found)}
    return known | {
        "epsilon": max((each["epsilon"] for each in found if each["epsilon"] is not None), default=None),
        "epsilon_rms": (sum(squares) / sum(pairs)) ** 0.5 if sum(pairs) else None,
        "n_pairs": sum(pairs),
        "n_stimuli": sum(each["n_stimuli"] for each in found),
        "bound": None if any(each.get("bound") is None for each in found) else max(each["bound"] for each in found),
    }
