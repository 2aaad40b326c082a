"""The bootstrap over stimuli, exact and without a loop over resampled RDMs.

A draw takes stimuli with replacement; pairs of a stimulus with its own copy are dropped, other pairs keep their
multiplicity. With c_i copies of stimulus i, a comparison of the resampled RDMs is exactly the same comparison with
the pairs weighted by w_ij = c_i c_j. So nothing is ever resampled: Pearson's correlation and cosine of all models and
subjects, and both bounds of the noise ceiling, follow from weighted moments, which are one matrix product of weights
and products of RDMs; rank methods sort each RDM once, and a weighted mid-rank is half the sum of the weight below and
up to it. Blocks of draws keep memory bounded.

Schütt, Kipnis, Diedrichsen & Kriegeskorte (2023), eLife 12:e82566, doi:10.7554/eLife.82566.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError
from netphys.neural.files.dissimilarities import n_stimuli_of
from netphys.progress import bar
from netphys.rsa.comparison import RANKED, Ranking, check_comparison
from netphys.rsa.pairs import RDMSet, joined, pair_index, shared_pairs

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["Resampled", "bootstrap", "resample"]

_BLOCK_BYTES = 1 << 25  # 32 MB of working arrays a block
_MOMENT_DRAWS = 1024  # draws a block for moments: products of RDMs are formed once a block
_RANK_DRAWS = 64  # draws a block for ranks: rows of 64 int32 are gathered whole
_LEAST_STIMULI = 3  # different stimuli in a draw; with two there is one pair (rsatoolbox skips the same draws)


@dataclass(frozen=True, repr=False)
class Resampled:
    """Scores and noise ceilings of every bootstrap draw; NaN for draws of fewer than 3 different stimuli."""

    scores: Float[np.ndarray, "bootstrap model"]  # mean over subjects
    lower: Float[np.ndarray, " bootstrap"]
    upper: Float[np.ndarray, " bootstrap"]

    def __repr__(self) -> str:
        return f"Resampled({self.scores.shape[0]} draws of {self.scores.shape[1]} models)"


def bootstrap(
    models: Any, data: Any, *, method: str = "spearman", draws: Int[np.ndarray, "bootstrap stimulus"]
) -> Float[np.ndarray, "bootstrap model"]:
    """Score models on resampled stimuli.

    Parameters
    ----------
    models, data : rsatoolbox.rdm.RDMs, NeuralData, or array (rdm, pair) or (rdm, stimulus, stimulus)
        Models, and one RDM a subject; joined as by :func:`netphys.rsa.compare`.
    method : {"spearman", "corr", "cosine", "rho-a"}
        The comparison.
    draws : int array (bootstrap, stimulus)
        Row numbers of stimuli (of the data), from :func:`netphys.inference.stimulus_draws`.

    Returns
    -------
    float64 array (bootstrap, model)
        Mean over subjects of the comparison of model and subject in each draw.

    Examples
    --------
    >>> rdm = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    >>> bootstrap(rdm, rdm, draws=np.array([[0, 1, 2, 3], [0, 1, 1, 3]])).round(6).tolist()
    [[1.0], [1.0]]
    """
    names = ("the model RDMs", "the data RDMs")
    first, second = joined(RDMSet.of(models, names[0]), RDMSet.of(data, names[1]), names=names)
    keep = shared_pairs(first, second, names=names)
    return resample(first.values, second.values, keep, draws, method, ceilings=False).scores


def resample(
    models: Float[np.ndarray, "model pair"],
    data: Float[np.ndarray, "subject pair"],
    keep: Bool[np.ndarray, " pair"],
    draws: Int[np.ndarray, "bootstrap stimulus"],
    method: str,
    *,
    ceilings: bool = True,
) -> Resampled:
    """Score models and compute noise ceilings in every draw.

    Parameters
    ----------
    models, data : array (model, pair), (subject, pair)
        Dissimilarities of the same stimuli in the same order.
    keep : bool array (pair,)
        Pairs that have a dissimilarity in all RDMs; the others weigh nothing.
    draws : int array (bootstrap, stimulus)
        Row numbers of the drawn stimuli.
    method : str
        The comparison.
    ceilings : bool
        Whether to compute noise ceilings, which rank methods must sort for; with one subject there are none.
    """
    check_comparison(method)
    counts = _counts(draws, models.shape[1])
    models, data = models[:, keep], data[:, keep]
    pairs = tuple(each[keep] for each in pair_index(counts.shape[1]))
    ceilings = ceilings and len(data) > 1
    scores = np.full((len(counts), len(models)), np.nan)
    bounds = np.full((2, len(counts)), np.nan)
    usable = np.flatnonzero((counts > 0).sum(axis=1) >= _LEAST_STIMULI)
    blocks = _rank_blocks if method in RANKED else _moment_blocks
    with bar(len(usable), label="bootstrap over stimuli", unit="draw") as progress:
        done = 0
        for scored, bounded in blocks(models, data, pairs, counts[usable], method, ceilings):
            rows = usable[done : done + len(scored)]
            scores[rows] = scored
            if bounded is not None:
                bounds[:, rows] = bounded
            done += len(scored)
            progress.update(len(scored))
    return Resampled(scores, bounds[0], bounds[1])


_Pairs = tuple[np.ndarray, ...]
_Block = tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]  # scores (draw, model); lower and upper (draw,)


def _counts(draws: np.ndarray, n_pairs: int) -> np.ndarray:
    """Count how often each stimulus is in each draw."""
    draws = np.asarray(draws)
    n = n_stimuli_of(n_pairs) or 0
    if draws.ndim != 2 or draws.dtype.kind not in "iu" or (draws.size and not (0 <= draws.min() <= draws.max() < n)):
        raise OptionError(
            f"draws must be row numbers of the {n} stimuli, (bootstrap, stimulus); got {draws.dtype} {draws.shape}"
        )
    counts = np.zeros((len(draws), n), dtype=np.int32)
    np.add.at(counts, (np.arange(len(draws))[:, None], draws), 1)
    return counts


# --- Pearson's correlation and cosine: weighted moments -----------------------------------------------------------


def _moment_blocks(
    models: np.ndarray, data: np.ndarray, pairs: _Pairs, counts: np.ndarray, method: str, ceilings: bool
) -> Iterator[_Block]:
    """Compute a block of draws at a time from moments weighted by w_ij = c_i c_j."""
    centred = method == "corr"
    models, data = (_scaled(each, centred) for each in (models, data))
    for start in range(0, len(counts), _MOMENT_DRAWS):
        moments = _Moments(len(models), len(data), ceilings)
        weighted = _weighted(moments, models, data, pairs, counts[start : start + _MOMENT_DRAWS])
        across, within = moments.correlations(weighted, centred)
        scores = across.mean(axis=2)
        yield scores, _bounds(within) if ceilings else None


def _scaled(values: np.ndarray, centred: bool) -> np.ndarray:
    """Bring RDMs to mean 0 (if means do not matter) and size 1, so that weighted moments do not cancel."""
    if centred:
        values = values - values.mean(axis=1, keepdims=True)
    size = np.sqrt(np.mean(values**2, axis=1, keepdims=True))
    return values / np.where(size > 0, size, 1)


class _Moments:
    """Which products of RDMs are summed: their columns, and the correlations that follow from the sums."""

    def __init__(self, n_models: int, n_data: int, ceilings: bool) -> None:
        self.n_models, self.n_data = n_models, n_data
        # between subjects all products are needed for the ceiling, else only squares
        self.first, self.second = np.triu_indices(n_data) if ceilings else (np.arange(n_data),) * 2
        self.n_columns = 1 + 2 * n_models + n_data + n_models * n_data + len(self.first)

    def products(self, models: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Stack 1, models, subjects, models², models × subjects, subjects × subjects of some pairs: (column, pair)."""
        across = (models[:, None] * data).reshape(-1, models.shape[1])
        return np.concatenate(
            [np.ones((1, models.shape[1])), models, data, models**2, across, data[self.first] * data[self.second]]
        )

    def correlations(self, sums: np.ndarray, centred: bool) -> tuple[np.ndarray, np.ndarray]:
        """Turn weighted sums (draw, column) into correlations (draw, model, subject) and (draw, subject, subject)."""
        m, s = self.n_models, self.n_data
        total, mean_m, mean_s, square_m, across, subjects = np.split(sums, np.cumsum([1, m, s, m, m * s]), axis=1)
        across = across.reshape(-1, m, s)
        within = np.full((len(sums), s, s), np.nan)
        within[:, self.first, self.second] = within[:, self.second, self.first] = subjects
        square_s = np.einsum("bss->bs", within).copy()
        if centred:
            mean_m, mean_s = mean_m / total, mean_s / total
            across = across - total[:, :, None] * mean_m[:, :, None] * mean_s[:, None]
            within = within - total[:, :, None] * mean_s[:, :, None] * mean_s[:, None]
            raw_m, raw_s = square_m, square_s
            square_m, square_s = square_m - total * mean_m**2, square_s - total * mean_s**2
            square_m, square_s = _nothing_left(square_m, raw_m), _nothing_left(square_s, raw_s)
        size_m, size_s = (np.sqrt(np.where(each > 0, each, np.nan)) for each in (square_m, square_s))
        return across / (size_m[:, :, None] * size_s[:, None]), within / (size_s[:, :, None] * size_s[:, None])


def _nothing_left(variance: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Set variances to 0 that are rounding noise of the square they were left of: all drawn pairs are tied."""
    return np.where(variance <= 1e-14 * square, 0, variance)


def _weighted(moments: _Moments, models: np.ndarray, data: np.ndarray, pairs: _Pairs, counts: np.ndarray) -> np.ndarray:
    """Sum the products over pairs under each draw's weights: one matrix product, some pairs at a time."""
    sums = np.zeros((len(counts), moments.n_columns))
    copies = np.ascontiguousarray(counts.T, dtype=np.float64)  # (stimulus, draw): rows are gathered whole
    width = max(64, _BLOCK_BYTES // (8 * max(len(counts), moments.n_columns)))
    for start in range(0, models.shape[1], width):
        some = slice(start, start + width)
        weights = copies[pairs[0][some]] * copies[pairs[1][some]]  # (pair, draw)
        sums += weights.T @ moments.products(models[:, some], data[:, some]).T
    return sums


def _bounds(within: Float[np.ndarray, "draw subject subject"]) -> tuple[np.ndarray, np.ndarray]:
    """Compute both bounds of the ceiling from the correlations of subjects in each draw.

    The pool is the sum of unit vectors u_t, so its similarity with s is ``sum_t R_st / sqrt(sum_tt' R_tt')``, over
    all t (upper) or all but s (lower).
    """
    rows = within.sum(axis=2)  # (draw, subject): with all, itself included
    total = rows.sum(axis=1, keepdims=True)
    diagonal = np.einsum("bss->bs", within)
    others = total - 2 * rows + diagonal  # the squared length of the pool without s
    with np.errstate(invalid="ignore", divide="ignore"):
        lower = ((rows - diagonal) / np.sqrt(others)).mean(axis=1)
        upper = (rows / np.sqrt(total)).mean(axis=1)
    return lower, upper


# --- Spearman's correlation and rho-a: weighted mid-ranks ---------------------------------------------------------


def _rank_blocks(
    models: np.ndarray, data: np.ndarray, pairs: _Pairs, counts: np.ndarray, method: str, ceilings: bool
) -> Iterator[_Block]:
    """Compute a block of draws at a time; ranks are centred, twice as large, and so exact integers."""
    model_rankings, data_rankings = ([Ranking.of(row) for row in each] for each in (models, data))
    copies = np.ascontiguousarray(counts.T)  # (stimulus, draw)
    # per draw: int32 weights, running sums, ranks of all subjects, and two float64 arrays
    width = int(np.clip(_BLOCK_BYTES // (models.shape[1] * (4 * len(data) + 28)), 1, _RANK_DRAWS))
    for start in range(0, len(counts), width):
        some = copies[:, start : start + width]
        weights = some[pairs[0]] * some[pairs[1]]  # int32 (pair, draw)
        total = weights.sum(axis=0, dtype=np.int64)
        ranks = np.array([_centred_ranks(each, weights, total) for each in data_rankings])  # (subject, pair, draw)
        norms = _Norms(method, total)
        target = np.zeros(weights.shape)  # the weighted mean over subjects of normalised ranks: scores are linear in it
        for subject in ranks:
            target += subject * norms.inverse(subject, weights)
        target *= weights / len(data)
        scores = np.empty((weights.shape[1], len(models)))
        for model, ranking in enumerate(model_rankings):
            ranked = _centred_ranks(ranking, weights, total)
            scores[:, model] = np.einsum("pb,pb->b", ranked, target) * norms.inverse(ranked, weights)
        yield scores, _rank_bounds(ranks, weights, norms) if ceilings else None


def _centred_ranks(ranking: Ranking, weights: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Rank pairs under weights: twice the mid-rank minus its mean, int32 (pair, draw).

    The mid-rank of a pair is (weight below + weight up to it + 1) / 2, and the mean rank (total + 1) / 2.
    """
    running = np.zeros((len(weights) + 1, weights.shape[1]), dtype=np.int32)
    np.cumsum(weights[ranking.order], axis=0, out=running[1:])
    ranks = running[ranking.below]
    ranks += running[ranking.upto]
    ranks -= total.astype(np.int32)
    return ranks


class _Norms:
    """What ranks are divided by: their own spread (Spearman), or that of untied ranks (rho-a)."""

    def __init__(self, method: str, total: np.ndarray) -> None:
        self.own = method == "spearman"
        # 4 (p³ - p) / 12, for ranks are twice as large
        self.untied = self.of_square((total.astype(np.float64) ** 3 - total) / 3)

    def inverse(self, ranks: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Give one over the norm of each draw's ranks; NaN where all are tied."""
        if not self.own:
            return self.untied
        ranks = ranks.astype(np.float64)
        return self.of_square(np.einsum("pb,pb,pb->b", weights, ranks, ranks))

    def of_square(self, square: np.ndarray) -> np.ndarray:
        """Give one over the root of a sum of squares; NaN for 0."""
        return 1 / np.sqrt(np.where(square > 0, square, np.nan))


def _rank_bounds(ranks: np.ndarray, weights: np.ndarray, norms: _Norms) -> tuple[np.ndarray, np.ndarray]:
    """Compute both bounds in each draw; the pool of ranks has an order of its own, so each draw sorts it."""
    by_draw = np.ascontiguousarray(ranks.transpose(2, 0, 1))  # (draw, subject, pair)
    lower, upper = np.empty(len(by_draw)), np.empty(len(by_draw))
    for draw, all_pairs in enumerate(by_draw):
        drawn = np.flatnonzero(weights[:, draw])
        weight = weights[drawn, draw]
        own = all_pairs[:, drawn]  # (subject, pair)
        total = own.sum(axis=0, dtype=np.int64)
        pools = _weighted_ranks(np.concatenate([total - own, total[None]]), weight).astype(np.float64)
        weighted = own * weight.astype(np.float64)
        others, everyone = np.einsum("sp,sp->s", pools[:-1], weighted), weighted @ pools[-1]
        if norms.own:
            of_pools = norms.of_square((pools**2) @ weight.astype(np.float64))
            of_own = norms.of_square(np.einsum("sp,sp->s", own, weighted))
            others, everyone = others * of_pools[:-1] * of_own, everyone * of_pools[-1] * of_own
        else:
            others, everyone = (each * norms.untied[draw] ** 2 for each in (others, everyone))
        lower[draw], upper[draw] = others.mean(), everyone.mean()
    return lower, upper


def _weighted_ranks(values: Int[np.ndarray, "rdm pair"], weight: Int[np.ndarray, " pair"]) -> np.ndarray:
    """Rank integers under weights: twice the mid-rank minus its mean, (rdm, pair).

    Value and position share one integer, so that a sort gives the order: much faster than an argsort, and twice as
    fast again where 32 bits hold both.
    """
    n_pairs = values.shape[1]
    bits = n_pairs.bit_length()
    narrow = (int(np.abs(values).max(initial=0)) + 1) << bits < 2**31
    keys = (values << bits | np.arange(n_pairs)).astype(np.int32 if narrow else np.int64)
    keys.sort(axis=1)
    order, ordered = keys & ((1 << bits) - 1), keys >> bits
    gathered = weight[order]
    running = np.cumsum(gathered, axis=1, dtype=np.int32)
    total = weight.sum(dtype=np.int32)
    fresh = np.ones(values.shape, dtype=bool)  # the first of each run of ties
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=fresh[:, 1:])
    last = np.ones(values.shape, dtype=bool)
    last[:, :-1] = fresh[:, 1:]
    below = np.maximum.accumulate(np.where(fresh, running - gathered, 0), axis=1)
    upto = np.minimum.accumulate(np.where(last, running, total)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty_like(running)
    np.put_along_axis(ranks, order, below + upto - total, axis=1)
    return ranks
