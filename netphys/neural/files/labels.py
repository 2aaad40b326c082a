"""Labels as text: what names stimuli and neuroids in arrays of text, of numbers, and in cells of either."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["texts_of"]


def texts_of(values: np.ndarray, *, matlab: bool = False) -> list[str]:
    """Give one text an element of an array, in C order.

    Parameters
    ----------
    values : numpy.ndarray
        Text, bytes (UTF-8), numbers, or objects (a cell array) of one text or one number each. The elements of a char
        matrix are its rows; blanks at their ends are padding.
    matlab : bool
        Numbers are of a .mat file, where 1 is held as the double 1.0: whole ones are written without a point.

    Raises
    ------
    ValueError
        If an element is none or several texts or numbers; the message says which, counted from 1.

    Examples
    --------
    >>> texts_of(np.array([b"car", b"face"]))
    ['car', 'face']
    >>> texts_of(np.array([1.0, 2.5]), matlab=True)
    ['1', '2.5']
    """
    if values.dtype.kind in "US":
        return [_decoded(each).rstrip(" ") if matlab else _decoded(each) for each in values.reshape(-1).tolist()]
    if values.dtype.kind in "iub":
        return [str(each) for each in values.reshape(-1).tolist()]
    if values.dtype.kind == "f":
        return [_number(each, matlab=matlab) for each in values.reshape(-1).tolist()]
    if values.dtype != object:
        raise ValueError(f"{values.dtype if not values.dtype.names else 'a struct'} is neither text nor numbers")
    return [_single(each, at, matlab) for at, each in enumerate(values.reshape(-1), start=1)]


def _number(value: float, *, matlab: bool) -> str:
    """Write a number as ``str`` does; whole ones of MATLAB without a point."""
    if value != value:
        raise ValueError("NaN names nothing")
    return str(int(value)) if matlab and float(value).is_integer() else str(value)


def _single(cell: Any, at: int, matlab: bool) -> str:
    """Read the one text or number of a cell."""
    if isinstance(cell, str | bytes):
        return _decoded(cell)
    array = np.asarray(cell)
    if array.size == 0 and array.dtype.names is None:
        return ""  # '' in MATLAB
    if array.size != 1 or array.dtype.names is not None:
        raise ValueError(f"element {at} is not one text or one number")
    if array.dtype == object:
        return _single(array.reshape(-1)[0], at, matlab) if array.reshape(-1)[0] is not cell else ""
    return texts_of(array, matlab=matlab)[0]


def _decoded(value: str | bytes) -> str:
    """Decode bytes as UTF-8."""
    return value.decode() if isinstance(value, bytes) else str(value)
