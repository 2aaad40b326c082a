"""Multi-arrangement: RDMs from stimuli laid out in a plane, several subsets a subject (inverse MDS).

A plane holds two dimensions of many, so a subject arranges subsets in turn, and items that lay close together get room
in a later trial. What is said of a pair in a trial is its distance relative to the others of that trial; trials are
brought to one scale and averaged with more weight where a pair lay far apart (Kriegeskorte & Mur 2012).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.assemblies import first_presentations
from netphys.neural.behaviour.confusion import POOLED
from netphys.neural.behaviour.judging import Missing, judged, numbers, subjects_of
from netphys.neural.behaviour.trials import column

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float

    from netphys.neural.data import NeuralData

__all__ = ["combine_arrangements", "rdms_from_arrangements"]

_SETTLED = 1e-11  # change at which scales are settled, of dissimilarities of root mean square 1
_MOST = 2000  # rounds


def rdms_from_arrangements(
    judgements: pd.DataFrame,
    *,
    pool: bool = False,
    missing: Missing = "raise",
    name: str = "arrangements",
) -> NeuralData:
    """Make RDMs of arrangements in a plane.

    Parameters
    ----------
    judgements : pandas.DataFrame
        Columns ``trial``, ``stimulus``, ``x``, ``y`` and, if several took part, ``subject``; one row a stimulus in a
        trial. x and y are places on the screen, in one unit for all trials: the larger a distance was drawn, the more
        it weighs.
    pool : bool
        All trials of all subjects combined into one RDM, in place of one a subject.
    missing : {"raise", "nan"}
        Pairs that no trial held together: an error that lists them, or NaN.
    name : str
        The dataset's name in results.

    Returns
    -------
    NeuralData
        Of kind ``"rdms"``; the root mean square of each RDM is 1.

    Raises
    ------
    NeuralDataError
        If a column is absent, a trial has fewer than 3 stimuli or all in one place, a stimulus lies twice in a trial,
        pairs are missing, or trials share no pair, so that their scales cannot be known.

    References
    ----------
    Kriegeskorte & Mur (2012), Frontiers in Psychology 3:245, doi:10.3389/fpsyg.2012.00245.
    """
    stimulus, trial = column(judgements, "stimulus", "arrangements"), column(judgements, "trial", "arrangements")
    places = np.stack([numbers(judgements, each, "arrangements") for each in "xy"], axis=1)
    ids, codes = first_presentations(stimulus.tolist())
    subjects, who = subjects_of(judgements, "arrangements")
    each_trial = [f"{subjects[at]}, trial {label}" for at, label in zip(who, trial)]
    trials, of = first_presentations(each_trial)
    partial = _partial(places, codes, of, ids, trials)
    owner = who[np.unique(of, return_index=True)[1]]
    if pool:
        subjects, owner = (POOLED,), np.zeros_like(owner)
    rows = [combine_arrangements(partial[owner == at], whose=subject) for at, subject in enumerate(subjects)]
    return judged(np.stack(rows), ids, subjects, name=name, what="arrangements", pool=False, missing=missing)


def combine_arrangements(
    distances: Float[np.ndarray, "trial pair"], *, whose: str = "a subject"
) -> Float[np.ndarray, " pair"]:
    """Combine the distances of several trials into one RDM.

    Parameters
    ----------
    distances : float array (trial, pair)
        Distances on the screen; NaN for pairs that a trial did not hold.
    whose : str
        For messages.

    Returns
    -------
    float64 (pair,)
        Root mean square 1; NaN for pairs in no trial.

    Notes
    -----
    The estimate D starts as the mean of the trials, each of root mean square 1, and repeats until it is settled:

    1. each trial is scaled so that over its own pairs its root mean square is that of D;
    2. D is the mean of the scaled trials with weights w = d², d the distances on the screen: a pair that lay far apart
       was placed with a smaller relative error;
    3. D is divided by its root mean square.

    A pair that lay in one place in all its trials is 0.
    """
    given = np.isfinite(distances)
    d = np.where(given, distances, 0.0)
    weights = (d / d.max()) ** 2
    d = d / np.sqrt((d**2).sum(axis=1, keepdims=True) / given.sum(axis=1, keepdims=True))
    _require_linked(given, whose)
    seen, total = given.any(axis=0), weights.sum(axis=0)
    estimate = _unit(d.sum(axis=0) / np.maximum(given.sum(axis=0), 1), seen)

    def after(now: np.ndarray) -> np.ndarray:
        scale = np.sqrt((given * now**2).sum(axis=1, keepdims=True) / given.sum(axis=1, keepdims=True))
        averaged = (weights * d * scale).sum(axis=0)
        return _unit(np.divide(averaged, total, out=np.zeros_like(averaged), where=total > 0), seen)

    for _ in range(_MOST):
        first = after(estimate)
        second = after(first)
        step, bend = first - estimate, second - 2 * first + estimate
        if float(np.abs(step).max()) < _SETTLED:
            return np.where(seen, second, np.nan)
        # plain rounds take thousands where trials share little: Varadhan & Roland (2008) go along the curve instead
        length = max(1.0, float(np.linalg.norm(step)) / max(float(np.linalg.norm(bend)), 1e-300))
        leap = estimate + 2 * length * step + length**2 * bend
        estimate = after(_unit(leap, seen)) if (leap[seen] >= 0).all() else second
    raise NeuralDataError(
        f"the arrangements of {whose} do not settle on one scale in {_MOST} rounds; trials that overlap more are needed"
    )


def _unit(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Root mean square 1 over the pairs that were seen."""
    return np.where(seen, values, 0.0) / np.sqrt((values[seen] ** 2).mean())


def _partial(
    places: np.ndarray, codes: np.ndarray, of: np.ndarray, ids: tuple[str, ...], trials: tuple[str, ...]
) -> Float[np.ndarray, "trial pair"]:
    """Distances of each trial, NaN for pairs that it did not hold."""
    n = len(ids)
    upper = np.triu_indices(n, 1)
    out = np.full((len(trials), len(upper[0])), np.nan)
    for at, label in enumerate(trials):
        here = of == at
        if len(np.unique(codes[here])) < here.sum():
            twice = ids[int(np.bincount(codes[here]).argmax())]
            raise NeuralDataError(f"{twice!r} lies twice in {label} of the arrangements; a stimulus has one place")
        if here.sum() < 3:
            raise NeuralDataError(
                f"{label} of the arrangements has {here.sum()} stimuli; at least 3 say something of their distances"
            )
        square = np.full((n, n), np.nan)
        gaps = places[here][:, None] - places[here]
        square[np.ix_(codes[here], codes[here])] = np.sqrt((gaps**2).sum(axis=-1))
        out[at] = square[upper]
        if not np.nanmax(out[at]) > 0:
            raise NeuralDataError(f"{label} of the arrangements has all stimuli in one place; leave the trial out")
    return out


def _require_linked(given: np.ndarray, whose: str) -> None:
    """Refuse trials that share no pair with the others: nothing says how large theirs are."""
    reached = np.zeros(len(given), dtype=bool)
    reached[0] = True
    while True:
        more = reached | (given & given[reached].any(axis=0)).any(axis=1)
        if (more == reached).all():
            break
        reached = more
    if not reached.all():
        raise NeuralDataError(
            f"{int((~reached).sum())} of {len(given)} arrangements of {whose} share no pair with the others, so their "
            "scales cannot be known; a trial with all stimuli links them"
        )
