"""The Gram matrix of stimuli, from blocks of features: memory n² + n × block, however wide the layer.

A feature is one unit at one position, a column of the patterns. What a distance is invariant to is subtracted before
products are summed, so that offsets do not cancel digits away: a value per stimulus for correlation distances, a value
per feature for Euclidean ones, nothing for cosine. Sums are in float64 whatever the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from netphys.errors import OptionError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

__all__ = ["BLOCK_BYTES", "Gram", "Shift", "feature_blocks", "gram_of_blocks"]

BLOCK_BYTES = 1 << 25  # 32 MB of float64 a block: 4096 features of 1000 stimuli; larger blocks gained nothing
_PILOT_FEATURES = 256  # enough to be near the mean; all of a block would cost another pass over it

Shift = Literal["stimulus", "feature", "none"]


@dataclass(frozen=True, repr=False)
class Gram:
    """Products of stimuli summed over features, after the shift that was asked for."""

    products: Float[np.ndarray, "stimulus stimulus"]
    sums: Float[np.ndarray, " stimulus"]  # over features, of the shifted patterns
    n_features: int
    touched: Bool[np.ndarray, " stimulus"]  # patterns with a value that is not finite; their rows mean nothing
    constant: Bool[np.ndarray, " stimulus"]  # patterns equal in all features (shift "stimulus"), or all 0 ("none")

    def __repr__(self) -> str:
        return f"Gram({len(self.sums)} stimuli, {self.n_features} features)"


def gram_of_blocks(blocks: Iterable[Shaped[np.ndarray, "stimulus block"]], *, shift: Shift) -> Gram:
    """Sum products of stimuli over blocks of features.

    Parameters
    ----------
    blocks : iterable of array (stimulus, block)
        All stimuli, a slice of the features each; any real dtype, block widths may differ.
    shift : {"stimulus", "feature", "none"}
        What is subtracted first. ``stimulus``: one value a stimulus, the same in all blocks (the mean of its first
        features), to which covariances are invariant. ``feature``: the mean over stimuli of each feature, to which
        distances are invariant. ``none``: nothing.

    Raises
    ------
    OptionError
        If there is no feature, or blocks disagree about the number of stimuli.
    """
    total: np.ndarray | None = None
    for block in blocks:
        block = _checked(block, total)
        if block.shape[1] == 0:
            continue
        if total is None:
            n = len(block)
            total, sums, touched, n_features = np.zeros((n, n)), np.zeros(n), np.zeros(n, dtype=bool), 0
            pilot = _pilot(block) if shift == "stimulus" else np.zeros(n)
            first = block[:, 0].copy() if shift == "stimulus" else np.zeros(n)
            constant = np.ones(n, dtype=bool)
        products, shifted, bad = _block_products(block, shift, pilot)
        total += products
        sums += shifted.sum(axis=1)
        touched |= bad
        _differ(constant, block, first)
        n_features += block.shape[1]
    if total is None:
        raise OptionError("nothing to compute dissimilarities from: the layer has no units")
    return Gram(total, sums, n_features, touched, constant & ~touched)


def feature_blocks(
    patterns: Shaped[np.ndarray, "stimulus unit"], max_bytes: int = BLOCK_BYTES
) -> Iterator[Shaped[np.ndarray, "stimulus block"]]:
    """Cut patterns into blocks of features that take at most `max_bytes` as float64 (views, no copies)."""
    width = max(1, max_bytes // (8 * max(1, len(patterns))))
    for start in range(0, patterns.shape[1], width):
        yield patterns[:, start : start + width]


def _checked(block: np.ndarray, total: np.ndarray | None) -> np.ndarray:
    """See that a block is (stimulus, feature), real, and of the same stimuli as those before it."""
    block = np.asarray(block)
    if block.ndim != 2 or block.dtype.kind not in "fiub":
        raise OptionError(f"patterns must be numbers, stimulus x unit; got {block.dtype} of shape {block.shape}")
    if total is not None and len(block) != len(total):
        raise OptionError(f"a block of features has {len(block)} stimuli, those before it {len(total)}")
    return block


def _differ(constant: np.ndarray, block: np.ndarray, first: np.ndarray) -> None:
    """Clear the mark of patterns that differ anywhere from their first value; exact, at any level and precision."""
    rows = np.flatnonzero(constant)  # after the first block hardly any is left to look at
    constant[rows] = (block[rows] == first[rows, None]).all(axis=1)


def _pilot(block: np.ndarray) -> np.ndarray:
    """Find a value near the level of each stimulus: the mean of its first features, 0 where that is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        level = block[:, :_PILOT_FEATURES].mean(axis=1, dtype=np.float64)
    return np.where(np.isfinite(level), level, 0.0)


def _block_products(block: np.ndarray, shift: Shift, pilot: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Multiply one block by itself: products, the shifted block, and the stimuli that are not finite in it."""
    shifted = _shifted(block, shift, pilot)
    with np.errstate(invalid="ignore", over="ignore"):
        products = shifted @ shifted.T  # numpy sees the transpose of itself and computes one triangle
    if np.isfinite(np.diagonal(products)).all():  # a NaN would be in its own square; the usual case pays no pass
        return products, shifted, np.zeros(len(block), dtype=bool)
    bad = ~np.isfinite(block).all(axis=1)
    shifted = _shifted(np.where(bad[:, None], 0, block), shift, np.where(bad, 0.0, pilot))
    return shifted @ shifted.T, shifted, bad


def _shifted(block: np.ndarray, shift: Shift, pilot: np.ndarray) -> np.ndarray:
    """Subtract in float64 what the distance is invariant to."""
    if shift == "stimulus":
        return np.subtract(block, pilot[:, None], dtype=np.float64)
    if shift == "feature":
        with np.errstate(invalid="ignore", over="ignore"):
            return np.subtract(block, block.mean(axis=0, dtype=np.float64), dtype=np.float64)
    return block.astype(np.float64, copy=False)
