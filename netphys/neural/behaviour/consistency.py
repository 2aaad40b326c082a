"""How well two behaviours agree, image by image, once the noise of their trials is allowed for.

The correlation of two measured signatures is attenuated by the noise in both: r = r_true sqrt(rho_a rho_b). The
reliabilities come from random halves of the trials (Spearman-Brown), and r / sqrt(rho_a rho_b) is what two observers
without noise would show (Spearman 1904; Rajalingham et al. 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import MatchError, NeuralDataError, OptionError, near
from netphys.inference import resampled_variance, t_interval
from netphys.neural.behaviour.choices import require_kind
from netphys.neural.behaviour.dprime import CAP, Correction, Kind, Recipe, Rule, sensitivity
from netphys.neural.behaviour.trials import Observed, PairTrials, observed, pair_trials
from netphys.seeds import generator

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from jaxtyping import Float
    from matplotlib.axes import Axes

    from netphys.neural.data import NeuralData

__all__ = ["Consistency", "consistency"]


@dataclass(frozen=True, repr=False, eq=False)
class Consistency:
    """How well two behaviours agree.

    Attributes
    ----------
    kind : str
        The signature that was compared.
    score : float
        Noise-corrected correlation; NaN where a reliability is not above 0. It may exceed 1 by chance.
    ci_low, ci_high : float
        95 % interval of the score, images (of o1, o2 objects) resampled.
    correlation : float
        Pearson correlation of the two signatures as measured.
    reliability_a, reliability_b : float
        Of each signature; 1 of a network's probabilities, which have no trials.
    splits_a, splits_b : float64 (split,), or None
        Correlation of the two halves, each draw.
    values_a, values_b : float64 (value,)
        The signatures, over what both have.
    """

    kind: Kind
    score: float
    ci_low: float
    ci_high: float
    correlation: float
    reliability_a: float
    reliability_b: float
    splits_a: Float[np.ndarray, " split"] | None
    splits_b: Float[np.ndarray, " split"] | None
    values_a: Float[np.ndarray, " value"]
    values_b: Float[np.ndarray, " value"]

    def to_frame(self) -> pd.DataFrame:
        """Return one row: measure, score, ci_low, ci_high, correlation, reliability_a, reliability_b, n_values."""
        import pandas as pd

        row = {name: [getattr(self, name)] for name in ("score", "ci_low", "ci_high", "correlation")}
        row |= {name: [getattr(self, name)] for name in ("reliability_a", "reliability_b")}
        return pd.DataFrame({"measure": [f"{self.kind} consistency"], **row, "n_values": [len(self.values_a)]})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw one signature against the other."""
        from netphys.neural.behaviour.drawing import draw_consistency

        return draw_consistency(self, ax)

    def __repr__(self) -> str:
        if np.isfinite(self.score):
            score = f"{self.score:.3f}, 95 % interval {self.ci_low:.3f} to {self.ci_high:.3f}"
        else:
            score = "cannot be corrected, a reliability is not above 0"
        return (
            f"Consistency({self.kind}: {score}; measured {self.correlation:.3f}, reliabilities "
            f"{self.reliability_a:.3f} and {self.reliability_b:.3f}, {len(self.values_a)} values)"
        )


def consistency(
    a: NeuralData | xr.DataArray,
    b: NeuralData | xr.DataArray,
    kind: Kind = "i2n",
    *,
    truth: str | Mapping[str, str] | None = None,
    rule: Rule = "paper",
    correction: Correction = "cap",
    cap: float = CAP,
    n_splits: int = 100,
    n_bootstraps: int = 1000,
    seed: int = 0,
) -> Consistency:
    """Correlate the signatures of two behaviours and correct for the noise of their trials.

    Parameters
    ----------
    a : NeuralData of kind "behaviour", or xarray.DataArray (presentation, choice)
        The data, of a subject or a pool of subjects.
    b : the same
        What is compared with them: other subjects, or a network. It must hold every stimulus and choice of `a`; what it
        has more is left out before anything is computed, for it would move false alarm rates.
    kind : {"o1", "o2", "i1", "i1n", "i2", "i2n"}
        The signature.
    truth : str or mapping, optional
        As for :func:`netphys.neural.behaviour.choices.signature`, for both; so are `rule`, `correction` and `cap`.
    n_splits : int
        Random halves of the trials, drawn within each stimulus and pair of choices offered.
    n_bootstraps : int
        Draws of images (of objects for o1, o2) for the interval; 0 gives none (NaN).
    seed : int
        Equal seeds give equal splits and draws.

    Returns
    -------
    Consistency

    Raises
    ------
    MatchError
        If `b` lacks stimuli or choices of `a`, or shows other objects in them.
    NeuralDataError
        If choices that were made cannot be halved: no stimulus was shown twice.

    Notes
    -----
    ``score = r / sqrt(rho_a rho_b)``, ``rho = 2 h / (1 + h)``, h the mean over splits of the correlation of two
    halves; the mean is taken before the correction, which is not linear. Probabilities with one presentation a
    stimulus are a network's: rho is 1. The interval is Student's t with the bootstrap variance. Rows of signatures are
    drawn, not trials: a trial drawn twice would stand in both halves, and the reliabilities would be too high.

    References
    ----------
    Spearman (1904), American Journal of Psychology 15:72, doi:10.2307/1412159. Rajalingham et al. (2018), Journal of
    Neuroscience 38:7255, doi:10.1523/JNEUROSCI.0388-18.2018.
    """
    require_kind(kind)
    if n_splits < 1 or n_bootstraps < 0:
        raise OptionError(f"n_splits={n_splits}, n_bootstraps={n_bootstraps}: at least 1 and 0")
    recipe = Recipe(rule, correction, cap)
    seen_a = observed(a, truth)
    seen_b = _aligned(seen_a, observed(b, truth))
    pairs = [pair_trials(seen) for seen in (seen_a, seen_b)]
    if correction == "loglinear" and not all(each.counted for each in pairs):
        raise OptionError("correction='loglinear' counts trials; probabilities have none, use 'cap'")
    entries = _entries(seen_a, kind)
    whole = [sensitivity(each, kind, recipe).reshape(-1)[entries.at] for each in pairs]
    halves = [
        _halves(each, kind, recipe, n_splits, generator(seed, "consistency", name), entries)
        for each, name in zip(pairs, ("a", "b"))
    ]
    return _result(kind, whole, halves, entries, n_bootstraps, seed)


@dataclass(frozen=True)
class _Entries:
    """Values of a signature that are compared, and which resampled rows each belongs to."""

    at: np.ndarray  # int (entry,) in the flat signature
    rows: np.ndarray  # int (entry, 1 or 2): its weight is the product of its rows'
    n_rows: int


def _entries(seen: Observed, kind: Kind) -> _Entries:
    """Entries off the diagonal; o2 is symmetric, so its upper triangle."""
    n, k = len(seen.stimulus_ids), len(seen.choices)
    if kind == "o2":
        i, j = np.triu_indices(k, 1)
        return _Entries(i * k + j, np.stack([i, j], axis=1), k)
    if kind in ("o1", "i1", "i1n"):
        rows = np.arange(k if kind == "o1" else n)
        return _Entries(rows, rows[:, None], len(rows))
    i, j = np.nonzero(~np.eye(k, dtype=bool)[seen.objects])
    return _Entries(i * k + j, i[:, None], n)


def _aligned(a: Observed, b: Observed) -> Observed:
    """Bring b to the stimuli and choices of a."""
    for what, wanted, there in (("stimuli", a.stimulus_ids, b.stimulus_ids), ("choices", a.choices, b.choices)):
        missing = [each for each in wanted if each not in set(there)]
        if missing:
            raise MatchError(
                f"the second behaviour lacks {len(missing)} of {len(wanted)} {what} of the first, such as "
                f"{missing[0]!r}{near(missing[0], there)}"
            )
    at = {each: row for row, each in enumerate(a.stimulus_ids)}
    stimulus = np.array([at.get(each, -1) for each in b.stimulus_ids])[b.stimulus]
    kept = stimulus >= 0
    order = [b.choices.index(each) for each in a.choices]
    theirs = {each: b.choices[obj] for each, obj in zip(b.stimulus_ids, b.objects)}
    other = next((e for e, obj in zip(a.stimulus_ids, a.objects) if theirs[e] != a.choices[obj]), None)
    if other is not None:
        mine = a.choices[a.objects[at[other]]]
        raise MatchError(
            f"stimulus {other!r} shows {mine!r} in the first behaviour and {theirs[other]!r} in the second"
        )
    subjects = b.subjects[kept] if b.subjects is not None else None
    return Observed(b.values[kept][:, order], a.choices, a.stimulus_ids, stimulus[kept], a.objects, subjects)


def _halves(
    pairs: PairTrials, kind: Kind, recipe: Recipe, n_splits: int, rng: np.random.Generator, entries: _Entries
) -> Float[np.ndarray, "moment split unit"] | None:
    """Moments of the signatures of random halves; None of a network, which has no trials."""
    seen = pairs.seen
    if seen.graded and len(seen.values) == len(seen.stimulus_ids):
        return None
    offered = np.packbits(np.isnan(seen.values), axis=1)
    shown = np.concatenate([seen.stimulus[:, None], offered], axis=1)
    stratum = np.unique(shown, axis=0, return_inverse=True)[1].reshape(-1)
    counts = np.bincount(stratum)
    if counts.max() < 2:
        raise NeuralDataError(
            "no stimulus was shown twice with the same choices, so trials cannot be halved; pool subjects or sessions"
        )
    together = np.argsort(stratum, kind="stable")
    rank = np.arange(len(stratum)) - np.repeat(np.cumsum(counts) - counts, counts)
    hits, trials = pairs.tables()
    out = []
    for _ in range(n_splits):
        shuffled = np.argsort(stratum[together] + rng.random(len(stratum)), kind="stable")  # within each stratum
        first = np.empty(len(stratum), dtype=bool)
        odd = np.repeat(rng.integers(0, 2, len(counts)), counts)  # to which half the one goes that is over
        first[together[shuffled]] = (rank + odd) % 2 == 0
        one = pairs.tables(first)
        both = (one, (hits - one[0], trials - one[1]))
        x, y = (sensitivity(pairs, kind, recipe, each).reshape(-1)[entries.at] for each in both)
        out.append(_moments(x, y, entries))
    return np.stack(out, axis=1)


def _result(
    kind: Kind,
    whole: list[np.ndarray],
    halves: list[np.ndarray | None],
    entries: _Entries,
    n_bootstraps: int,
    seed: int,
) -> Consistency:
    """Correlate, correct, and give an interval."""
    there = np.isfinite(whole[0]) & np.isfinite(whole[1])
    if there.sum() < 3:
        raise NeuralDataError(f"the two behaviours share {int(there.sum())} values of {kind}; at least 3 are needed")
    both = _moments(whole[0], whole[1], entries)[:, None]
    ones = np.ones((1, entries.n_rows))
    drawn = [None if each is None else _correlations(ones, each, entries)[0] for each in halves]
    correlation, score, rho = _scores(ones, both, halves, entries)
    low = high = float("nan")
    if n_bootstraps:
        n = entries.n_rows
        draws = generator(seed, "consistency", "bootstrap").multinomial(n, np.full(n, 1 / n), size=n_bootstraps)
        variance = resampled_variance(_scores(draws.astype(float), both, halves, entries)[1], n)
        low, high = (float(each) for each in t_interval(score[0], variance, n - 1))
    return Consistency(
        kind=kind,
        score=float(score[0]),
        ci_low=low,
        ci_high=high,
        correlation=float(correlation[0]),
        reliability_a=float(rho[0][0]),
        reliability_b=float(rho[1][0]),
        splits_a=drawn[0],
        splits_b=drawn[1],
        values_a=whole[0][there],
        values_b=whole[1][there],
    )


def _scores(
    draws: np.ndarray, both: np.ndarray, halves: list[np.ndarray | None], entries: _Entries
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Correlation, corrected correlation and both reliabilities, under weights of rows."""
    r = _correlations(draws, both, entries)[:, 0]
    rho = [
        np.ones(len(draws)) if each is None else _spearman_brown(_mean(_correlations(draws, each, entries)))
        for each in halves
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where((rho[0] > 0) & (rho[1] > 0), r / np.sqrt(rho[0] * rho[1]), np.nan)
    return r, score, rho


def _moments(x: np.ndarray, y: np.ndarray, entries: _Entries) -> Float[np.ndarray, "moment unit"]:
    """Sums of 1, x, y, xx, yy, xy over the entries of each row (o2: of each entry), whatever is NaN left out."""
    there = np.isfinite(x) & np.isfinite(y)
    n = max(int(there.sum()), 1)
    x, y = (np.where(there, each - each[there].sum() / n, 0.0) for each in (x, y))  # centred: squares keep digits
    moments = np.stack([there.astype(float), x, y, x * x, y * y, x * y])
    if entries.rows.shape[1] == 2:
        return moments
    row = entries.rows[:, 0]  # in rising order, so that a row's entries lie together
    starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    out = np.zeros((len(moments), entries.n_rows))
    out[:, row[starts]] = np.add.reduceat(moments, starts, axis=1)
    return out


def _correlations(draws: np.ndarray, moments: np.ndarray, entries: _Entries) -> Float[np.ndarray, "draw split"]:
    """Pearson correlations under weights of rows."""
    weights = draws if entries.rows.shape[1] == 1 else draws[:, entries.rows[:, 0]] * draws[:, entries.rows[:, 1]]
    n, x, y, xx, yy, xy = np.einsum("bu,msu->mbs", weights, moments, optimize=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (n * xy - x * y) / np.sqrt((n * xx - x * x) * (n * yy - y * y))


def _mean(correlations: np.ndarray) -> np.ndarray:
    """Mean over splits, of those that have a value."""
    there = np.isfinite(correlations)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(there, correlations, 0.0).sum(axis=-1) / there.sum(axis=-1)


def _spearman_brown(half: np.ndarray) -> np.ndarray:
    """Reliability of the whole from the correlation of two halves."""
    return 2 * half / (1 + half)
