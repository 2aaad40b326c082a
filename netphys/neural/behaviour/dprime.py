"""Sensitivity d' of objects and images from hits and trials: which trials a false alarm rate is taken over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from netphys.errors import OptionError

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from netphys.neural.behaviour.trials import PairTrials

__all__ = ["CAP", "KINDS", "Correction", "Kind", "Recipe", "Rule", "sensitivity"]

Kind = Literal["o1", "o2", "i1", "i1n", "i2", "i2n"]
KINDS: tuple[Kind, ...] = ("o1", "o2", "i1", "i1n", "i2", "i2n")
Rule = Literal["paper", "brainscore"]
Correction = Literal["cap", "loglinear"]
CAP = 5.0  # d' lies in [-5, 5], the limit of Brain-Score's metric


@dataclass(frozen=True)
class Recipe:
    """How rates become d'.

    Attributes
    ----------
    rule : {"paper", "brainscore"}
        ``"paper"``: a false alarm rate is a proportion of trials, pooled over all images it concerns, and
        one-versus-all rates are pooled over distractors. ``"brainscore"``: a false alarm rate is the mean over images
        of the images' rates, and one-versus-all is the mean over distractors of d'.
    correction : {"cap", "loglinear"}
        ``"cap"``: rates as they are. ``"loglinear"``: (hits + 0.5) / (trials + 1), of every rate (Hautus 1995).
    cap : float
        d' is limited to [-cap, cap].
    """

    rule: Rule = "paper"
    correction: Correction = "cap"
    cap: float = CAP

    def __post_init__(self) -> None:
        if self.rule not in ("paper", "brainscore"):
            raise OptionError(f"rule={self.rule!r}: it is one of paper, brainscore")
        if self.correction not in ("cap", "loglinear"):
            raise OptionError(f"correction={self.correction!r}: it is one of cap, loglinear")
        if self.rule == "brainscore" and self.correction == "loglinear":
            raise OptionError("rule='brainscore' averages rates of images, which has no log-linear form; use 'cap'")
        if not self.cap > 0:
            raise OptionError(f"cap={self.cap!r}: it is a d' above 0, 5 as published")


def sensitivity(
    pairs: PairTrials, kind: Kind, recipe: Recipe, tables: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Compute one signature from all presentations, or from the tables of some (:meth:`PairTrials.tables`).

    Returns
    -------
    float64
        ``o1`` (choice,), ``o2`` (choice, choice), ``i1``, ``i1n`` (stimulus,), ``i2``, ``i2n`` (stimulus, choice);
        NaN at an object against itself, and where there is no trial.
    """
    hits, trials = tables if tables is not None else pairs.tables()
    objects, n = pairs.seen.objects, len(pairs.seen.choices)
    of_object = np.eye(n)[objects].T  # (choice, stimulus)
    if kind in ("o2", "i2", "i2n") or recipe.rule == "brainscore":
        values = _pairwise(hits, trials, of_object, kind[0] == "o", recipe)
        values[np.eye(n, dtype=bool) if kind[0] == "o" else np.eye(n, dtype=bool)[objects]] = np.nan
        if kind[1] == "1":
            values = _nanmean(values, 1)
    else:
        values = _one_versus_all(hits, trials, of_object, kind == "o1", recipe, pairs.task == "all")
    return _within_object(values, objects, n) if kind.endswith("n") else values


def _pairwise(
    hits: np.ndarray, trials: np.ndarray, of_object: np.ndarray, by_object: bool, recipe: Recipe
) -> np.ndarray:
    """d' of each object, or image, against each distractor."""
    if recipe.rule == "paper":
        h, t = of_object @ hits, of_object @ trials
        far = _rate(t - h, t, recipe).T  # [i, j]: images of j that were called i, of those that could be
        hr = _rate(h, t, recipe) if by_object else _rate(hits, trials, recipe)
    else:
        image = _rate(hits, trials, recipe)
        there = np.isfinite(image)
        count = of_object @ there
        with np.errstate(invalid="ignore"):
            mean = np.where(count > 0, (of_object @ np.where(there, image, 0.0)) / count, np.nan)
        far, hr = 1 - mean.T, mean if by_object else image
    return _dprime(hr, far if by_object else far[of_object.argmax(axis=0)], recipe.cap)


def _one_versus_all(
    hits: np.ndarray, trials: np.ndarray, of_object: np.ndarray, by_object: bool, recipe: Recipe, every: bool
) -> np.ndarray:
    """d' of each object, or image, against all distractors pooled."""
    misses = trials - hits
    false, chances = (of_object @ misses).sum(axis=0), (of_object @ trials).sum(axis=0)
    if by_object:
        misses, trials = of_object @ misses, of_object @ trials
    shown = trials.sum(axis=1) / (trials.shape[1] - 1 if every else 1)  # of all choices at once, a trial counts once
    hr = _rate(shown - misses.sum(axis=1), shown, recipe)
    far = _rate(false, chances, recipe)
    return _dprime(hr, far if by_object else far[of_object.argmax(axis=0)], recipe.cap)


def _rate(count: np.ndarray, n: np.ndarray, recipe: Recipe) -> np.ndarray:
    """A proportion; NaN of no trials."""
    add = 0.5 if recipe.correction == "loglinear" else 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(n > 0, (count + add) / (n + 2 * add), np.nan)
    return np.clip(rate, 0.0, 1.0)  # sums of probabilities round to 1 + 1e-16


def _dprime(hr: np.ndarray, far: np.ndarray, cap: float) -> np.ndarray:
    """Z(HR) - Z(FAR), limited; 0 where both are 0, or both are 1 (always the same answer)."""
    from scipy.special import ndtri

    high, low = ndtri(hr), ndtri(far)
    with np.errstate(invalid="ignore"):
        d = np.where(np.isinf(high) & (high == low), 0.0, high - low)
    return np.clip(d, -cap, cap)


def _within_object(values: np.ndarray, objects: Int[np.ndarray, " stimulus"], n: int) -> np.ndarray:
    """Subtract the mean over the images of the same object (and distractor)."""
    out = np.array(values)
    for each in range(n):
        rows = objects == each
        if rows.any():
            out[rows] -= _nanmean(values[rows], 0)
    return out


def _nanmean(values: np.ndarray, axis: int) -> Float[np.ndarray, ...]:
    """Mean over what is there; NaN, without a warning, where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, np.where(there, values, 0.0).sum(axis=axis) / count, np.nan)
