"""A condition on the metadata of stimuli, ``"category == 'face' and size > 2"``: which rows meet it."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import StimulusError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["rows_that_meet"]

_PLAIN = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Invert, ast.Compare, ast.Name),
    *(ast.Constant, ast.List, ast.Tuple, ast.Load, ast.BinOp, ast.BitAnd, ast.BitOr, ast.cmpop),
)


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
        raise StimulusError(f"no stimulus of {name} meets {condition!r}")
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
