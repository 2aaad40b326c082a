"""Dissimilarities of patterns: correlation, squared Euclidean and cosine distance, each from one Gram matrix.

The light path (:func:`dissimilarities`) takes and gives plain arrays and never imports rsatoolbox. Pairs are in
upper-triangle row order: (0, 1), (0, 2), ..., (1, 2), ...

Kriegeskorte, Mur & Bandettini (2008), Frontiers in Systems Neuroscience 2:4, doi:10.3389/neuro.06.004.2008.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import OptionError, near
from netphys.rsa.gram import Gram, Shift, feature_blocks, gram_of_blocks

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

__all__ = ["METHODS", "check_method", "dissimilarities", "dissimilarities_of_blocks"]


def dissimilarities(
    patterns: Shaped[np.ndarray, "stimulus unit"],
    method: str = "correlation",
    *,
    stimulus_ids: Sequence[str] | None = None,
    what: str = "the patterns",
) -> Float[np.ndarray, " pair"]:
    """Compute the dissimilarities of all pairs of stimuli.

    Parameters
    ----------
    patterns : array (stimulus, unit)
        One response pattern a stimulus, arbitrary units.
    method : {"correlation", "euclidean", "cosine"}
        See :func:`netphys.rsa.rdms`.
    stimulus_ids : sequence of str, optional
        Names of the stimuli, for warnings.
    what : str
        Name of the patterns, for warnings.

    Returns
    -------
    float64 array (pair,)
        In upper-triangle row order; NaN where a pattern is constant or not finite.

    Examples
    --------
    >>> patterns = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, 4.0]])
    >>> dissimilarities(patterns, "euclidean").round(4).tolist()  # squared, divided by the number of units
    [2.6667, 0.3333, 4.3333]
    """
    patterns = np.asarray(patterns)
    if patterns.ndim != 2:
        raise OptionError(f"patterns must be stimulus x unit, got shape {patterns.shape}; reshape to (len(x), -1)")
    blocks = feature_blocks(patterns)
    return dissimilarities_of_blocks(blocks, method, stimulus_ids=stimulus_ids, what=what)[0]


def dissimilarities_of_blocks(
    blocks: Iterable[Shaped[np.ndarray, "stimulus block"]],
    method: str = "correlation",
    *,
    stimulus_ids: Sequence[str] | None = None,
    what: str = "the patterns",
) -> tuple[Float[np.ndarray, " pair"], int]:
    """Compute dissimilarities from blocks of features; return them and the number of features that were seen."""
    shift, distance = METHODS[check_method(method)]
    gram = gram_of_blocks(blocks, shift=shift)
    n = len(gram.sums)
    if n < 2:
        raise OptionError(f"{what} are of {n} stimuli; an RDM needs at least 2, its evaluation 4")
    undefined = gram.touched | (gram.constant if shift != "feature" else False)
    pairs = np.empty(n * (n - 1) // 2)
    start = 0
    for row, values in enumerate(distance(gram)):  # row by row: no second n x n array
        values[undefined[row + 1 :]] = np.nan
        pairs[start : start + n - row - 1] = np.nan if undefined[row] else values
        start += n - row - 1
    _warn_of(gram, undefined, stimulus_ids, what, method)
    return pairs, gram.n_features


def check_method(method: str) -> str:
    """Return the method if there is one of that name, else raise an OptionError with the near names."""
    if method not in METHODS:
        raise OptionError(f"no dissimilarity {method!r}{near(str(method), METHODS)}")
    return method


def _correlation_rows(gram: Gram) -> Iterator[np.ndarray]:
    """Yield 1 - r of each stimulus with those after it."""
    mean = gram.sums / gram.n_features
    scale = _inverse_root(np.diag(gram.products) - gram.sums * mean)
    for row in range(len(scale)):
        rest = slice(row + 1, None)
        covariance = gram.products[row, rest] - gram.sums[rest] * mean[row]
        yield _one_minus(covariance * scale[rest] * scale[row])


def _euclidean_rows(gram: Gram) -> Iterator[np.ndarray]:
    """Yield the squared distance over the number of features of each stimulus to those after it."""
    norms = np.diag(gram.products)
    for row in range(len(norms)):
        squared = norms[row] + norms[row + 1 :] - 2 * gram.products[row, row + 1 :]
        yield np.maximum(squared, 0) / gram.n_features


def _cosine_rows(gram: Gram) -> Iterator[np.ndarray]:
    """Yield 1 - cosine of each stimulus with those after it."""
    scale = _inverse_root(np.diag(gram.products))
    for row in range(len(scale)):
        rest = slice(row + 1, None)
        yield _one_minus(gram.products[row, rest] * scale[rest] * scale[row])


def _inverse_root(square: np.ndarray) -> np.ndarray:
    """Give one over the root, NaN where there is nothing to take a root of."""
    return 1 / np.sqrt(np.where(square > 0, square, np.nan))


def _one_minus(similarity: np.ndarray) -> np.ndarray:
    """Turn a similarity into a distance in [0, 2]; rounding would give -1e-16 for equal patterns."""
    return np.maximum(np.minimum(1 - similarity, 2), 0)


METHODS: dict[str, tuple[Shift, Callable[[Gram], Iterator[np.ndarray]]]] = {
    "correlation": ("stimulus", _correlation_rows),
    "euclidean": ("feature", _euclidean_rows),
    "cosine": ("none", _cosine_rows),
}


def _warn_of(gram: Gram, undefined: np.ndarray, ids: Sequence[str] | None, what: str, method: str) -> None:
    """Say once which stimuli have no dissimilarity, and why."""
    if not np.any(undefined):
        return
    names = [str(each) for each in ids] if ids is not None else [f"row {row}" for row in range(len(gram.sums))]
    reasons = []
    causes = ((gram.touched, "values that are not finite"), (gram.constant & undefined, _CONSTANT_OF[method]))
    for rows, reason in causes:
        found = [names[row] for row in np.flatnonzero(rows)]
        if found:
            some = ", ".join(repr(each) for each in found[:3]) + (f" and {len(found) - 3} more" if found[3:] else "")
            reasons.append(f"{reason} for {len(found)} of {len(names)} stimuli ({some})")
    warnings.warn(f"{what}: {'; '.join(reasons)}; their dissimilarities are NaN", UserWarning, stacklevel=2)


_CONSTANT_OF = {"correlation": "a constant pattern", "cosine": "a pattern of zeros", "euclidean": ""}
