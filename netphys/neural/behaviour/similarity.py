"""Similarity judgements as RDMs: ratings of pairs, odd-one-out of three, free sorting, confusions.

Each takes a table with one row a judgement and gives :class:`~netphys.neural.data.NeuralData` of RDMs, one a subject or
one of all, with the stimuli in the order of first appearance. Arrangements are in
:mod:`netphys.neural.behaviour.arrangements`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from netphys.errors import NeuralDataError, OptionError
from netphys.neural.assemblies import first_presentations
from netphys.neural.behaviour.confusion import POOLED, Confusion
from netphys.neural.behaviour.judging import Missing, judged, numbers, subjects_of
from netphys.neural.behaviour.trials import column
from netphys.neural.data import NeuralData

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["rdms_from_confusions", "rdms_from_ratings", "rdms_from_sortings", "rdms_from_triplets"]


def rdms_from_ratings(
    judgements: pd.DataFrame,
    *,
    scale: Literal["similarity", "dissimilarity"],
    normalise: Literal["none", "range"] = "none",
    top: float | None = None,
    pool: bool = False,
    missing: Missing = "raise",
    name: str = "ratings",
) -> NeuralData:
    """Make RDMs of ratings of pairs.

    Parameters
    ----------
    judgements : pandas.DataFrame
        Columns ``stimulus_a``, ``stimulus_b``, ``rating`` and, if several took part, ``subject``; one row a rating.
    scale : {"similarity", "dissimilarity"}
        What a large rating means; there is no default, for the wrong one turns every result round.
    normalise : {"none", "range"}
        ``"range"``: each subject's dissimilarities from 0 (its most alike pair) to 1, so that subjects who use the
        scale differently weigh the same; whatever a subject's gain and offset are, the RDM is the same.
    top : float, optional
        The top of a scale of similarity: the dissimilarity is ``top - rating``. Default the largest rating of all.
    pool : bool
        The mean over subjects, after `normalise`, in place of one RDM each.
    missing : {"raise", "nan"}
        Pairs that a subject never rated: an error that lists them, or NaN.
    name : str
        The dataset's name in results.

    Returns
    -------
    NeuralData
        Of kind ``"rdms"``.

    Raises
    ------
    NeuralDataError
        If a column is absent, a rating is no number, a stimulus is rated with itself, or pairs are missing.

    Notes
    -----
    Ratings of (a, b) and (b, a) are averaged within an order first, then over the two orders, so that an order that was
    asked more often does not weigh more.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"stimulus_a": list("aba"), "stimulus_b": list("bcc"), "rating": [6, 1, 2]})
    >>> rdms_from_ratings(table, scale="similarity", top=7).dissimilarities.tolist()  # (a,b), (a,c), (b,c)
    [[1.0, 5.0, 6.0]]
    """
    if scale not in ("similarity", "dissimilarity") or normalise not in ("none", "range"):
        raise OptionError(f"scale={scale!r}, normalise={normalise!r}: similarity or dissimilarity, and none or range")
    a, b = column(judgements, "stimulus_a", "ratings"), column(judgements, "stimulus_b", "ratings")
    rating = numbers(judgements, "rating", "ratings")
    same = np.flatnonzero(a == b)
    if len(same):
        raise NeuralDataError(
            f"row {same[0] + 1} of the ratings sets {str(a[same[0]])!r} beside itself; an RDM has pairs of "
            "different stimuli"
        )
    if scale == "similarity":
        high = float(rating.max()) if top is None else float(top)
        if rating.max() > high:
            raise NeuralDataError(f"a rating is {rating.max():g}, above the scale's top of {high:g}; say top=")
        rating = high - rating
    elif top is not None:
        raise OptionError("top= is of a scale of similarity; a dissimilarity is taken as it is")
    if rating.min() < 0:
        raise NeuralDataError(f"a dissimilarity of {rating.min():g} is below 0; is scale='similarity' meant?")
    ids, codes = first_presentations(np.stack([a, b], axis=1).reshape(-1).tolist())
    pair = codes.reshape(-1, 2)
    subjects, who = subjects_of(judgements, "ratings")
    rows = np.stack([_rated(pair[who == at], rating[who == at], len(ids)) for at in range(len(subjects))])
    if normalise == "range":
        rows = np.stack([_ranged(row, subject) for row, subject in zip(rows, subjects)])
    return judged(rows, ids, subjects, name=name, what="ratings of pairs", pool=pool, missing=missing)


def rdms_from_triplets(
    judgements: pd.DataFrame,
    *,
    pool: bool = True,
    missing: Missing = "raise",
    name: str = "triplets",
) -> NeuralData:
    """Make RDMs of odd-one-out judgements of three.

    Parameters
    ----------
    judgements : pandas.DataFrame
        Columns ``stimulus_a``, ``stimulus_b``, ``stimulus_c``, ``odd`` (which of the three was chosen as the odd one)
        and, if several took part, ``subject``.
    pool : bool
        All judgements together (the default: one subject seldom sees all pairs), or one RDM a subject.
    missing : {"raise", "nan"}
        Pairs in no triplet: an error that lists them, or NaN.
    name : str
        The dataset's name in results.

    Returns
    -------
    NeuralData
        Of kind ``"rdms"``: 1 - the share of triplets with i and j in which the third was the odd one. Chance is 2/3.

    Raises
    ------
    NeuralDataError
        If a column is absent, three stimuli are not different, the odd one is none of them, or pairs are missing.

    References
    ----------
    Hebart, Zheng, Pereira & Baker (2020), Nature Human Behaviour 4:1173, doi:10.1038/s41562-020-00951-3.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"stimulus_a": ["a"], "stimulus_b": ["b"], "stimulus_c": ["c"], "odd": ["c"]})
    >>> rdms_from_triplets(table).dissimilarities.tolist()  # a and b were kept together
    [[0.0, 1.0, 1.0]]
    """
    shown = np.stack([column(judgements, f"stimulus_{each}", "triplets") for each in "abc"], axis=1)
    odd = column(judgements, "odd", "triplets")
    twice = np.flatnonzero((shown[:, 0] == shown[:, 1]) | (shown[:, 0] == shown[:, 2]) | (shown[:, 1] == shown[:, 2]))
    if len(twice):
        raise NeuralDataError(
            f"row {twice[0] + 1} of the triplets shows {', '.join(shown[twice[0]])}; three different stimuli are needed"
        )
    is_odd = shown == odd[:, None]
    bad = np.flatnonzero(~is_odd.any(axis=1))
    if len(bad):
        raise NeuralDataError(
            f"row {bad[0] + 1} of the triplets has {str(odd[bad[0]])!r} as the odd one of {', '.join(shown[bad[0]])}; "
            "it is one of the three (their ids, not 1, 2, 3)"
        )
    ids, codes = first_presentations(shown.reshape(-1).tolist())
    codes = codes.reshape(-1, 3)
    subjects, who = subjects_of(judgements, "triplets")
    if pool:
        subjects, who = (POOLED,), np.zeros(len(codes), dtype=np.int64)
    rows = np.stack([_kept(codes[who == at], is_odd[who == at], len(ids)) for at in range(len(subjects))])
    return judged(rows, ids, subjects, name=name, what="odd-one-out of three", pool=False, missing=missing)


def rdms_from_sortings(
    judgements: pd.DataFrame,
    *,
    pool: bool = False,
    missing: Missing = "raise",
    name: str = "sortings",
) -> NeuralData:
    """Make RDMs of free sorting into piles.

    Parameters
    ----------
    judgements : pandas.DataFrame
        Columns ``stimulus``, ``pile`` and, if they exist, ``subject`` and ``sorting`` (one subject may sort often);
        one row a stimulus in a sorting. Names of piles mean something within one sorting only.
    pool : bool
        The mean over subjects in place of one RDM each.
    missing : {"raise", "nan"}
        Pairs that no sorting held together: an error that lists them, or NaN.
    name : str
        The dataset's name in results.

    Returns
    -------
    NeuralData
        Of kind ``"rdms"``: the share of a subject's sortings with both stimuli that put them on different piles.

    Raises
    ------
    NeuralDataError
        If a column is absent, a stimulus lies on two piles of one sorting, or pairs are missing.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"subject": list("111222"), "stimulus": list("abcabc"), "pile": [1, 1, 2, 1, 2, 2]})
    >>> rdms_from_sortings(table, pool=True).dissimilarities.tolist()
    [[0.5, 1.0, 0.5]]
    """
    stimulus, pile = column(judgements, "stimulus", "sortings"), column(judgements, "pile", "sortings")
    ids, codes = first_presentations(stimulus.tolist())
    subjects, who = subjects_of(judgements, "sortings")
    sorting = column(judgements, "sorting", "sortings") if "sorting" in judgements.columns else np.zeros(len(codes))
    rows = []
    for at, subject in enumerate(subjects):
        apart, count = np.zeros((2, len(ids), len(ids)))
        for each in np.unique(sorting[who == at]):
            here = (who == at) & (sorting == each)
            _require_once(codes[here], ids, f"the sorting of {subject}" if len(subjects) > 1 else "a sorting")
            grid = np.ix_(codes[here], codes[here])
            apart[grid] += pile[here][:, None] != pile[here]
            count[grid] += 1
        rows.append(_share(apart, count))
    return judged(np.stack(rows), ids, subjects, name=name, what="free sorting", pool=pool, missing=missing)


def rdms_from_confusions(
    confusions: Confusion,
    *,
    measure: Literal["shepard", "mean"] = "shepard",
    add: float | None = None,
    missing: Missing = "raise",
    name: str = "confusions",
) -> NeuralData:
    """Make RDMs of confusions: objects that are often taken for each other are alike.

    Parameters
    ----------
    confusions : Confusion
        Of one or more subjects; a pool has one RDM, whose subject is ``all``.
    measure : {"shepard", "mean"}
        ``"shepard"``: ``-ln η``, ``η² = (p_ij / p_ii) (p_ji / p_jj)``, which is free of response bias under Luce's
        choice model. ``"mean"``: ``1 - (e_ij + e_ji) / 2``, e_ij the share of trials of i against j on which j was
        chosen; bounded, and biased where one answer is preferred.
    add : float, optional
        Added to hits and errors of every pair, for pairs that were never confused have no logarithm. Default 0.5 where
        there are such pairs in counts, else 0; 0 with such pairs is an error.
    missing : {"raise", "nan"}
        Pairs without a trial: an error that lists them, or NaN.
    name : str
        The dataset's name in results.

    Returns
    -------
    NeuralData
        Of kind ``"rdms"``; the objects are its stimuli.

    Notes
    -----
    p_ij / p_ii is taken from the binary tasks, errors over hits of i against j, which for choices among all is the same
    ratio, so that tasks of two and of many choices give one measure. A dissimilarity is below 0 where two objects are
    confused more often than told apart.

    References
    ----------
    Shepard (1957), Psychometrika 22:325, doi:10.1007/BF02288967. Luce (1963), Handbook of Mathematical Psychology,
    volume 1, page 103.
    """
    if measure not in ("shepard", "mean") or (add is not None and not add >= 0):
        raise OptionError(f"measure={measure!r}, add={add!r}: shepard or mean, and 0 or more")
    hits, trials = confusions.pair_hits, confusions.pair_trials
    errors = trials - hits
    n = len(confusions.objects)
    off = ~np.eye(n, dtype=bool)
    never = off & (trials > 0) & ((hits <= 0) | (errors <= 0))
    if measure == "shepard":
        more = add if add is not None else (0.5 if never.any() else 0.0)
        if more == 0 and never.any():
            s, i, j = np.argwhere(never)[0]
            raise NeuralDataError(
                f"{confusions.objects[i]!r} was never, or always, called {confusions.objects[j]!r}, which has no "
                "logarithm; say add=0.5, or measure='mean'"
            )
        with np.errstate(invalid="ignore", divide="ignore"):
            odds = np.where(trials > 0, np.log((errors + more) / (hits + more)), np.nan)
        square = -(odds + odds.transpose(0, 2, 1)) / 2
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            wrong = np.where(trials > 0, errors / trials, np.nan)
        square = 1 - (wrong + wrong.transpose(0, 2, 1)) / 2
    upper = np.triu_indices(n, 1)
    return judged(
        square[:, upper[0], upper[1]],
        confusions.objects,
        confusions.subjects,
        name=name,
        what=f"confusions ({measure})",
        pool=False,
        missing=missing,
    )


def _rated(pair: np.ndarray, rating: np.ndarray, n: int) -> np.ndarray:
    """Mean rating of each pair, within an order first; NaN where there is none."""
    flat = pair[:, 0] * n + pair[:, 1]
    total = np.bincount(flat, weights=rating, minlength=n * n).reshape(n, n)
    count = np.bincount(flat, minlength=n * n).reshape(n, n)
    ordered = _share_square(total, count)
    both = np.stack([ordered, ordered.T])
    there = np.isfinite(both)
    return _share(np.where(there, both, 0.0).sum(axis=0), there.sum(axis=0))


def _ranged(row: np.ndarray, subject: str) -> np.ndarray:
    """From 0 to 1."""
    low, high = np.nanmin(row), np.nanmax(row)
    if not high > low:
        raise NeuralDataError(f"{subject} gave every pair the same rating, {low:g}; it has no range, leave it out")
    return (row - low) / (high - low)


def _kept(codes: np.ndarray, is_odd: np.ndarray, n: int) -> np.ndarray:
    """1 - share of triplets in which a pair was kept together."""
    apart, count = np.zeros((2, n * n))
    for i, j, third in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        flat = codes[:, i] * n + codes[:, j]
        count += np.bincount(flat, minlength=n * n)
        apart += np.bincount(flat, weights=~is_odd[:, third], minlength=n * n)
    apart, count = (each.reshape(n, n) + each.reshape(n, n).T for each in (apart, count))
    return _share(apart, count)


def _share_square(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; NaN where there is nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, upper triangle."""
    upper = np.triu_indices(len(part), 1)
    return _share_square(part[upper], whole[upper])


def _require_once(codes: np.ndarray, ids: tuple[str, ...], where: str) -> None:
    """Refuse a stimulus that lies in two places."""
    counts = np.bincount(codes, minlength=len(ids))
    if counts.max() > 1:
        raise NeuralDataError(
            f"{ids[int(counts.argmax())]!r} stands {counts.max()} times in {where}; a stimulus lies in one place (say "
            "which sorting by a column 'sorting')"
        )
