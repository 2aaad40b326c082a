"""Random halves of the repetitions of every stimulus, and the correlation of the two half means, without a loop.

The presentations of a stimulus are shuffled; a split then is a choice of places in the shuffled rows. With the Gram
matrix over places of all stimuli that have R presentations, (place, place), every sum of products of two half means is
a quadratic form in it: the data are read once a shuffle, whatever the number of splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from netphys.seeds import generator

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Blocks", "half_correlation", "shuffled_blocks", "spearman_brown"]

_FEW = 3  # presentations of which every split is a shuffle of its own
_SHUFFLES, _SHUFFLED = 10, 50_000  # most shuffles, and presentations shuffled in all: many need fewer to agree
_CONSTANT = 1e-12  # of the sum of squares: what rounding leaves of the variance of a half mean that does not vary


@dataclass(frozen=True)
class Blocks:
    """Where the presentations of the stimuli are, stimuli with equally many of them in one block."""

    places: tuple[Int[np.ndarray, "stimulus repetition"], ...]  # rows of the assembly, shuffled within a stimulus
    n_single: int  # stimuli with one presentation, which are in no block

    @property
    def counts(self) -> Int[np.ndarray, " stimulus"]:
        """Presentations of each stimulus, block after block."""
        return np.concatenate([np.full(len(each), each.shape[1]) for each in self.places] or [np.empty(0, np.int64)])

    @property
    def length(self) -> float:
        """k of the correction: the harmonic mean of presentations over that of the presentations in a half."""
        counts = self.counts
        return float(np.sum(1.0 / (counts // 2)) / np.sum(1.0 / counts)) if len(counts) else np.nan


def shuffled_blocks(
    codes: Int[np.ndarray, " presentation"], there: np.ndarray, keys: Float[np.ndarray, " presentation"]
) -> Blocks:
    """Lay out the presentations that are there.

    Parameters
    ----------
    codes : int (presentation,)
        Which stimulus each shows, from 0.
    there : bool (presentation,)
        Which presentations there are.
    keys : float (presentation,)
        Random; presentations of a stimulus are ordered by them.
    """
    rows = np.flatnonzero(there)
    rows = rows[np.lexsort((keys[rows], codes[rows]))]
    counts = np.bincount(codes[rows])
    starts = np.cumsum(counts) - counts
    sizes = [int(each) for each in np.unique(counts) if each > 1]
    places = tuple(rows[starts[counts == size][:, None] + np.arange(size)] for size in sizes)
    return Blocks(places, int((counts == 1).sum()))


def half_correlation(
    blocks: Sequence[Float[np.ndarray, "stimulus repetition neuroid"]],
    *,
    n_splits: int,
    seed: int,
    average: Literal["r", "fisher"] = "r",
) -> Float[np.ndarray, " neuroid"]:
    """Mean over random splits of the Pearson correlation over stimuli of two half means.

    Parameters
    ----------
    blocks : sequence of float64 (stimulus, repetition, neuroid)
        Responses, one block a number of repetitions, in random order, without NaN; near mean 0 over all blocks.
    n_splits : int
        How many splits.
    seed : int
        Draws them.
    average : {"r", "fisher"}
        What is averaged over splits: r, or its Fisher z.

    Returns
    -------
    float64 (neuroid,)
        NaN where a half mean of any split does not vary over stimuli: leaving such splits out would choose the
        splits that agree.
    """
    n = sum(len(block) for block in blocks)
    n_shuffles = min(n_splits, max(1, min(_SHUFFLES, _SHUFFLED // sum(block[..., 0].size for block in blocks))))
    if max(block.shape[1] for block in blocks) <= _FEW:
        n_shuffles = n_splits  # of so few presentations a shuffle has one split, or three
    r = np.concatenate(
        [
            _correlated(_sums([_shuffled(block, shuffle, seed) for block in blocks], splits, shuffle, seed), n)
            for shuffle, splits in enumerate(len(part) for part in np.array_split(np.arange(n_splits), n_shuffles))
        ],
        axis=1,
    )
    if average == "r":
        return r.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # equal halves: z is infinite, and so is their mean
        return np.tanh(np.arctanh(r).mean(axis=1))


def spearman_brown(
    r: Float[np.ndarray, "*neuroid"] | float, length: Float[np.ndarray, "*neuroid"] | float = 2.0
) -> Float[np.ndarray, "*neuroid"]:
    """Correct the reliability of a part to the whole that is `length` times as long.

    Parameters
    ----------
    r : float
        Reliability of the part, at most 1.
    length : float
        k, how many times more presentations the whole has.

    Returns
    -------
    float64
        ``k r / (1 + (k - 1) r)``; negative stays negative; NaN at and below the pole, ``r <= -1 / (k - 1)``.

    References
    ----------
    Spearman (1910), British Journal of Psychology 3:271; Brown (1910), British Journal of Psychology 3:296.

    Examples
    --------
    >>> round(float(spearman_brown(0.588)), 3), round(float(spearman_brown(-0.2)), 3)
    (0.741, -0.5)
    """
    r, length = np.asarray(r, dtype=np.float64), np.asarray(length, dtype=np.float64)
    below = 1.0 + (length - 1.0) * r
    return np.divide(length * r, below, out=np.full(below.shape, np.nan), where=below > 0)


def _shuffled(block: np.ndarray, shuffle: int, seed: int) -> np.ndarray:
    """Shuffle the repetitions of each stimulus (they come shuffled the first time); (neuroid, repetition, stimulus)."""
    if shuffle:
        draws = generator(seed, "reliability", "shuffle", shuffle, block.shape[1])
        order = np.argsort(draws.random(block.shape[:2]), axis=1)
        block = np.take_along_axis(block, order[:, :, None], axis=1)
    return np.ascontiguousarray(block.transpose(2, 1, 0))


def _sums(blocks: Sequence[np.ndarray], n_splits: int, shuffle: int, seed: int) -> np.ndarray:
    """Sums over stimuli of a, b, a a, b b and a b of the half means of each split, (5, neuroid, split)."""
    sums = np.zeros((5, len(blocks[0]), n_splits))
    for block in blocks:
        gram = block @ block.transpose(0, 2, 1)
        first, second = _halves(block.shape[1], n_splits, shuffle, seed)
        total = block.sum(axis=2)
        of_first = np.matmul(first, gram)
        sums[0] += total @ first.T
        sums[1] += total @ second.T
        sums[2] += np.einsum("pbr,br->pb", of_first, first)
        sums[3] += np.einsum("pbr,br->pb", np.matmul(second, gram), second)
        sums[4] += np.einsum("pbr,br->pb", of_first, second)
    return sums


def _correlated(sums: np.ndarray, n: int) -> np.ndarray:
    """Pearson's r of the two halves, (neuroid, split)."""
    a, b, aa, bb, ab = sums
    spread_a, spread_b = aa - a**2 / n, bb - b**2 / n
    varying = (spread_a > _CONSTANT * aa) & (spread_b > _CONSTANT * bb)
    product = np.sqrt(np.where(varying, spread_a, np.nan)) * np.sqrt(np.where(varying, spread_b, np.nan))
    return np.clip((ab - a * b / n) / product, -1.0, 1.0)  # roots first: the product of squares may overflow


def _halves(n_repetitions: int, n_splits: int, shuffle: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of places in the two half means of each split, (split, place); an odd one is left out."""
    draws = generator(seed, "reliability", "halves", shuffle, n_repetitions)
    order = np.argsort(draws.random((n_splits, n_repetitions)), axis=1)
    half = n_repetitions // 2
    weights = np.zeros((2, n_splits, n_repetitions))
    rows = np.arange(n_splits)[:, None]
    weights[0][rows, order[:, :half]] = 1.0 / half
    weights[1][rows, order[:, half : 2 * half]] = 1.0 / half
    return weights[0], weights[1]
