"""From an array, a stack or a struct array of a file to checked dissimilarities, one row a subject.

Vectors are upper triangles in row order (0,1), (0,2), ..., which is the order of MATLAB's ``squareform`` and of
rsatoolbox. A matrix must be square, symmetric, zero (or NaN) on its diagonal and finite off it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from netphys.errors import NeuralDataError, near

__all__ = ["Choice", "Rows", "n_stimuli_of", "rows_of", "triangle", "vector_rows"]

_TOLERANCE = (
    1e-6  # of the largest dissimilarity; rounding of float32 is 6e-8, measured asymmetries of honest files are 0
)


@dataclass(frozen=True)
class Choice:
    """What the user chose of a variable: which field, which items, what is averaged."""

    field: str = "RDM"
    index: tuple[int | slice, ...] = ()
    average: int | None = None
    stack: Literal["first", "last"] | None = None


@dataclass(frozen=True)
class Rows:
    """Checked dissimilarities and the names that the file gives their rows."""

    dissimilarities: np.ndarray  # float64 (subject, pair)
    labels: tuple[str, ...] | None

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli behind the pairs."""
        return n_stimuli_of(self.dissimilarities.shape[1]) or 0


def n_stimuli_of(n_pairs: int) -> int | None:
    """Number of stimuli of a triangle of `n_pairs`; None if that is not triangular.

    Examples
    --------
    >>> n_stimuli_of(4186), n_stimuli_of(4187)
    (92, None)
    """
    n = (1 + math.isqrt(1 + 8 * n_pairs)) // 2
    return n if n >= 2 and n * (n - 1) // 2 == n_pairs else None


def rows_of(path: Path, value: np.ndarray, choice: Choice, *, what: str) -> Rows:
    """Turn a variable's value into dissimilarities, one row a subject.

    Parameters
    ----------
    path : Path
        The file, for messages.
    value : numpy.ndarray
        Numbers (a matrix, a vector, a stack of either), a cell array or a struct array with a field of them.
    choice : Choice
        What of it is meant.
    what : str
        The variable's name, for messages.

    Raises
    ------
    NeuralDataError
        If it is no RDM, or more than one axis is left to be subjects.
    """
    names: np.ndarray | None = None
    if value.dtype.names:
        if choice.field not in value.dtype.names:
            raise NeuralDataError(
                f"{path}: {what} has no field {choice.field!r}{near(choice.field, value.dtype.names)}; say field="
            )
        names = _texts(value["name"]) if "name" in value.dtype.names else None
        value = value[choice.field]
    if value.dtype == object:
        grid, inner = _cells(path, value, choice, what)
        names = names if names is not None and inner == 0 else None
    else:
        grid, names = _numbers(path, value, choice, what), None
    squeezed = grid.reshape([size for size in grid.shape[:-1] if size != 1] + [grid.shape[-1]])
    if names is not None:
        names = names.reshape(squeezed.shape[:-1])
    return _select(path, squeezed, names, choice, what)


def vector_rows(path: Path, vectors: np.ndarray, names: Sequence[str] | None, choice: Choice, *, what: str) -> Rows:
    """Turn vectors that are known to be upper triangles, (subject, pair), into rows; `names` are the subjects'."""
    _require_real(path, vectors, what)
    if vectors.ndim != 2 or (n_stimuli_of(vectors.shape[1]) or 0) < 3 or len(vectors) == 0:
        raise NeuralDataError(
            f"{path}: {what} of shape {vectors.shape} is no (subject, pair) with n(n-1)/2 pairs; fetch the file again"
        )
    _require_finite(path, vectors, what)
    labels = None if names is None else np.array(names, dtype=object)
    return _select(path, vectors.astype(np.float64), labels, choice, what)


def triangle(path: Path, matrices: np.ndarray, *, what: str) -> np.ndarray:
    """Check square matrices and return their upper triangles in row order.

    Parameters
    ----------
    path : Path
        The file, for messages.
    matrices : numpy.ndarray, (..., n, n)
    what : str
        The variable's name, for messages.

    Returns
    -------
    float64 (..., pair)

    Raises
    ------
    NeuralDataError
        If one is not finite off the diagonal, not symmetric, or not zero (or NaN) on its diagonal.
    """
    _require_real(path, matrices, what)
    values = matrices.astype(np.float64)
    n = values.shape[-1]
    if n < 3:
        raise NeuralDataError(f"{path}: {what} is an RDM of {n} stimuli; at least 3 are needed")
    upper = np.triu_indices(n, 1)
    above, below = values[..., upper[0], upper[1]], values[..., upper[1], upper[0]]
    _require_finite(path, above, what)
    _require_finite(path, below, what)
    allowed = _TOLERANCE * float(np.abs(above).max())
    worst = float(np.abs(above - below).max())
    if worst > allowed:
        raise NeuralDataError(
            f"{path}: {what} is not symmetric: entries differ by up to {worst:.3g}, at most {allowed:.3g} "
            f"({_TOLERANCE:g} of the largest) is rounding; an RDM equals its transpose"
        )
    diagonal = np.diagonal(values, axis1=-2, axis2=-1)
    off = float(np.abs(np.where(np.isnan(diagonal), 0.0, diagonal)).max())
    if off > allowed:
        hint = "; it looks like similarities: save 1 - similarity" if np.allclose(diagonal, 1.0) else ""
        raise NeuralDataError(f"{path}: {what} has {off:.3g} on its diagonal; an RDM has 0 (or NaN) there{hint}")
    return above


def _require_real(path: Path, values: np.ndarray, what: str) -> None:
    """Refuse what is no real number."""
    if values.dtype.kind not in "fiub":
        raise NeuralDataError(f"{path}: {what} holds {values.dtype}; dissimilarities are real numbers")


def _require_finite(path: Path, pairs: np.ndarray, what: str) -> None:
    """Refuse NaN and infinity between different stimuli."""
    bad = int(np.size(pairs) - np.isfinite(pairs).sum())
    if bad:
        raise NeuralDataError(
            f"{path}: {what} has {bad} dissimilarities that are NaN or infinite; leave those stimuli out before saving"
        )


def _cells(path: Path, cells: np.ndarray, choice: Choice, what: str) -> tuple[np.ndarray, int]:
    """Stack the arrays in the cells; return the stack and how many axes the cells' contents had of their own."""
    if cells.size == 0:
        raise NeuralDataError(f"{path}: {what} is empty; choose another variable")
    parts = []
    for at in np.ndindex(*cells.shape):
        each = np.asarray(cells[at])
        if each.dtype == object or each.dtype.names:
            raise NeuralDataError(f"{path}: {what} holds {each.dtype} where an RDM should be; name another field")
        parts.append(_numbers(path, each, choice, f"{what}{list(at)}"))
    if len({part.shape for part in parts}) > 1:
        sizes = sorted({str(n_stimuli_of(part.shape[-1])) for part in parts})
        raise NeuralDataError(
            f"{path}: {what} holds RDMs of different sizes ({', '.join(sizes)} stimuli); choose by index="
        )
    return np.stack(parts).reshape(cells.shape + parts[0].shape), parts[0].ndim - 1


def _numbers(path: Path, value: np.ndarray, choice: Choice, what: str) -> np.ndarray:
    """Turn a numeric array into pairs on the last axis, whatever lies around them on the axes before."""
    _require_real(path, value, what)
    shape = value.shape
    if value.size == 0:
        raise NeuralDataError(f"{path}: {what} is empty; choose another variable")
    if value.ndim >= 2 and (square := _square(path, value, choice, what)) is not None:
        return triangle(path, square, what=what)
    if value.ndim == 2 and shape[1] == 1:
        value = value[:, 0]
    elif value.ndim == 3 and shape[0] == 1:  # (1, pair, subject), as the MATLAB toolbox of RSA stacks vectors
        value = value[0].T
    n = n_stimuli_of(value.shape[-1]) if value.ndim in (1, 2) else None
    if n is None or n < 3:
        raise NeuralDataError(
            f"{path}: {what} of shape {shape} is no RDM: neither (n, n), a stack (subject, n, n) or (n, n, subject), "
            "nor vectors of n(n-1)/2 dissimilarities; responses are read by ?kind=responses"
        )
    _require_finite(path, value, what)
    return value.astype(np.float64)


def _square(path: Path, value: np.ndarray, choice: Choice, what: str) -> np.ndarray | None:
    """Bring a stack of square matrices to (..., n, n); None if there are none."""
    shape = value.shape
    if value.ndim == 2:
        return value if shape[0] == shape[1] else None
    first, last = shape[-1] == shape[-2], shape[0] == shape[1]
    if first and last and choice.stack is None:
        raise NeuralDataError(
            f"{path}: {what} of shape {shape} may be (subject, n, n) or (n, n, subject); say stack=first or stack=last"
        )
    if first and choice.stack != "last":
        return value
    return np.moveaxis(value, (0, 1), (-2, -1)) if last and choice.stack != "first" else None


def _select(path: Path, grid: np.ndarray, names: np.ndarray | None, choice: Choice, what: str) -> Rows:
    """Apply index= and average=, until one axis at most is left: the subjects."""
    axes = grid.shape[:-1]
    if len(choice.index) > len(axes):
        raise NeuralDataError(
            f"{path}: index= names {len(choice.index)} axes, {what} has {len(axes)} {_sizes(axes)}; "
            "write one integer or slice an axis"
        )
    taken: list[slice] = []
    dropped: set[int] = set()
    for axis, size in enumerate(axes):
        at = choice.index[axis] if axis < len(choice.index) else slice(None)
        if isinstance(at, int):
            if not 0 <= at < size:
                raise NeuralDataError(
                    f"{path}: index {at} is not in 0..{size - 1} on axis {axis} of {what} {_sizes(axes)}"
                )
            dropped.add(axis)
            at = slice(at, at + 1)
        if len(range(*at.indices(size))) == 0:
            raise NeuralDataError(f"{path}: index= takes nothing on axis {axis} of {what} {_sizes(axes)}")
        taken.append(at)
    chosen = grid[tuple(taken)]
    if choice.average is not None:
        if not 0 <= choice.average < len(axes) or choice.average in dropped:
            raise NeuralDataError(
                f"{path}: average={choice.average} is no axis left of {what} {_sizes(axes)}; axes are counted from 0 "
                "without those of length 1"
            )
        chosen = chosen.mean(axis=choice.average, keepdims=True)
        dropped.add(choice.average)
    left = [axis for axis in range(len(axes)) if axis not in dropped]
    if len(left) > 1:
        raise NeuralDataError(
            f"{path}: {what} has axes {_sizes(axes)} and one at most can be subjects; "
            f"choose by index=:,0 or average={left[-1]}"
        )
    rows = np.ascontiguousarray(chosen.reshape(-1, grid.shape[-1]))
    labels = None if names is None else _labels(names, names[tuple(taken)], left)
    return Rows(rows, labels)


def _sizes(axes: tuple[int, ...]) -> str:
    """Show the sizes of axes, in the words of an error."""
    return f"({', '.join(map(str, axes))})"


def _texts(names: np.ndarray) -> np.ndarray | None:
    """Read an array of MATLAB's chars as an array of str; None if they are something else."""
    out = np.empty(names.shape, dtype=object)
    for at in np.ndindex(*names.shape):
        each = np.asarray(names[at])
        if each.dtype.kind != "U" or each.size != 1:
            return None
        out[at] = str(each.reshape(-1)[0]).strip()
    return out


def _labels(every: np.ndarray, chosen: np.ndarray, left: list[int]) -> tuple[str, ...] | None:
    """Name the rows by what the names of a row share and the names of all rows do not.

    Names are taken apart at ``|``: of ``hIT | BE | Session: 1`` and ``hIT | BE | Session: 2``, averaged, ``BE`` is
    left, because all subjects share ``hIT``. None where that leaves a row without a name of its own.
    """
    rows = np.moveaxis(chosen, left[0], 0).reshape(chosen.shape[left[0]], -1) if left else chosen.reshape(1, -1)
    all_share = set.intersection(*(set(_parts(name)) for name in every.reshape(-1))) if every.size > 1 else set()
    labels = []
    for row in rows:
        shared = [part for part in _parts(row[0]) if all(part in _parts(name) for name in row)]
        shared = [part for part in shared if part not in all_share] or shared
        prefix = os.path.commonprefix(list(row)).rstrip(" |_-:.")
        labels.append(" | ".join(shared) or prefix)
    return tuple(labels) if all(labels) and len(set(labels)) == len(labels) else None


def _parts(name: str) -> list[str]:
    """Take a name apart at its bars."""
    return [part.strip() for part in name.split("|") if part.strip()]
