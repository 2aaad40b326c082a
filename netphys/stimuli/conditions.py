"""Which stimuli are meant: by position, mask, slice or id, or by a condition, ``"category == 'face'"``."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import StimulusError, near

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["positions_in", "rows_that_meet"]

_PLAIN = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Invert, ast.Compare, ast.Name),
    *(ast.Constant, ast.List, ast.Tuple, ast.Load, ast.BinOp, ast.BitAnd, ast.BitOr, ast.cmpop),
)


def positions_in(ids: Sequence[str], chosen: Any, *, name: str) -> np.ndarray:
    """Return the positions that are meant.

    Parameters
    ----------
    ids : sequence of str
        Of all stimuli.
    chosen : optional
        Positions, a mask of booleans, a slice, ids, or one position or id; None: all.
    name : str
        What messages call the stimuli.

    Raises
    ------
    StimulusError
        If there is no such stimulus, or what is meant is not clear.
    """
    if chosen is None or isinstance(chosen, slice):
        return np.arange(len(ids))[slice(None) if chosen is None else chosen]
    if isinstance(chosen, str | int | np.integer) and not isinstance(chosen, bool):
        chosen = [chosen]
    asked = np.asarray(chosen)
    if asked.dtype == bool:
        if asked.shape != (len(ids),):
            raise StimulusError(f"a mask of {asked.size} values for {len(ids)} stimuli of {name}")
        return np.flatnonzero(asked)
    if not asked.size:
        return np.empty(0, dtype=np.int64)
    if asked.dtype.kind in "UO" and all(isinstance(each, str) for each in asked.tolist()):
        return _places(ids, asked.tolist(), name)
    if asked.dtype.kind not in "iu" or asked.ndim != 1:
        raise StimulusError(
            f"stimuli are selected by position, id, slice or mask, not by {asked.dtype} of {asked.ndim} axes"
        )
    if asked.min() < -len(ids) or asked.max() >= len(ids):
        odd = asked.max() if asked.max() >= len(ids) else asked.min()
        raise StimulusError(f"{name} has stimuli 0 to {len(ids) - 1}, not {odd}")
    return asked.astype(np.int64)


def _places(ids: Sequence[str], asked: Sequence[str], name: str) -> np.ndarray:
    """Find ids."""
    place = {each: index for index, each in enumerate(ids)}
    absent = next((each for each in asked if each not in place), None)
    if absent is not None:
        raise StimulusError(f"{name} has no stimulus {absent!r}{near(absent, ids)}")
    return np.array([place[each] for each in asked], dtype=np.int64)


def rows_that_meet(condition: str, metadata: pd.DataFrame, *, name: str) -> np.ndarray:
    """Return the positions of the rows that meet a condition (pandas' query language).

    Parameters
    ----------
    condition : str
        Columns, values and comparisons; nothing that is called.
    metadata : pandas.DataFrame
        Index 0, 1, ...
    name : str
        What messages call the stimuli.

    Raises
    ------
    StimulusError
        If the condition is not understood or no row meets it.
    """
    _require_plain(condition)
    try:
        kept = metadata.query(condition, engine="python").index
    except Exception as error:
        raise StimulusError(
            f"condition {condition!r} is not understood ({error}); columns: {', '.join(map(str, metadata.columns))}"
        ) from None
    if not len(kept):
        raise StimulusError(f"no stimulus of {name} meets {condition!r}{_near_values(condition, metadata)}")
    return np.asarray(kept)


def _require_plain(condition: str) -> None:
    """Refuse a condition with anything but columns, values and comparisons: pandas would call methods, too."""
    try:
        tree = ast.parse(re.sub(r"`[^`]*`", "column", condition.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        raise StimulusError(
            f"condition {condition!r} is not understood; say for example \"category == 'face'\""
        ) from None
    odd = next((node for node in ast.walk(tree) if not isinstance(node, _PLAIN)), None)
    if odd is not None:
        raise StimulusError(
            f"condition {condition!r} holds more than columns, values and comparisons ({type(odd).__name__.lower()})"
        )


def _near_values(condition: str, metadata: pd.DataFrame) -> str:
    """Say which values are near one that no stimulus has."""
    for node in ast.walk(ast.parse(condition.strip(), mode="eval") if "`" not in condition else ast.Module([], [])):
        if not (isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id in metadata):
            continue
        values = [str(each) for each in metadata[node.left.id].dropna().unique()[:10_000]]
        for asked in node.comparators:
            if isinstance(asked, ast.Constant) and isinstance(asked.value, str) and asked.value not in values:
                return f": {node.left.id} is never {asked.value!r}{near(asked.value, values)}"
    return ""
