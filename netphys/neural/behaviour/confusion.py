"""Confusion matrices: how often each object was called what, per subject if asked, with accuracy and its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.behaviour.dprime import Recipe, sensitivity
from netphys.neural.behaviour.trials import Observed, observed, pair_trials

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from jaxtyping import Float
    from matplotlib.axes import Axes

    from netphys.neural.data import NeuralData

__all__ = ["Confusion", "confusion", "wilson"]

POOLED = "all"  # the name of the one row when subjects are pooled


@dataclass(frozen=True, repr=False, eq=False)
class Confusion:
    """How often each object was called what.

    Attributes
    ----------
    objects : tuple of str
        What was shown, and what could be chosen.
    subjects : tuple of str
        One a matrix; ``("all",)`` where subjects are pooled.
    counts : float64 (subject, object, choice)
        Trials of an object on which a choice was made; of probabilities, their sum.
    offered : float64 (subject, object, choice)
        Trials of an object on which that choice was offered.
    pair_hits, pair_trials : float64 (subject, object, choice)
        Of the binary tasks object against other: how often the object was chosen, and how many trials there are.
    dprime : float64 (subject, object, choice)
        d' of each pair (:func:`netphys.neural.behaviour.choices.o2`, limited to [-5, 5]); NaN on the diagonal.
    """

    objects: tuple[str, ...]
    subjects: tuple[str, ...]
    counts: Float[np.ndarray, "subject object choice"]
    offered: Float[np.ndarray, "subject object choice"]
    pair_hits: Float[np.ndarray, "subject object choice"]
    pair_trials: Float[np.ndarray, "subject object choice"]
    dprime: Float[np.ndarray, "subject object choice"]

    @property
    def rates(self) -> Float[np.ndarray, "subject object choice"]:
        """Share of an object's trials on which a choice was made, of those that offered it; NaN of none.

        Where every choice is always offered each row sums to 1.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.offered > 0, self.counts / self.offered, np.nan)

    @property
    def n_trials(self) -> Float[np.ndarray, " subject"]:
        """Number of trials."""
        return np.einsum("sii->s", self.offered)

    @property
    def accuracy(self) -> Float[np.ndarray, " subject"]:
        """Share of trials that were right; of probabilities, the mean one of what would have been right."""
        return np.einsum("sii->s", self.counts) / self.n_trials

    @property
    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """95 % Wilson interval of the accuracy, trials taken as independent; of probabilities it is conservative."""
        return wilson(np.einsum("sii->s", self.counts), self.n_trials)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a cell: subject, object, choice, count, offered, rate, dprime."""
        import pandas as pd

        n = len(self.objects)
        names = np.array(self.objects)
        return pd.DataFrame(
            {
                "subject": np.repeat(np.array(self.subjects), n * n),
                "object": np.tile(np.repeat(names, n), len(self.subjects)),
                "choice": np.tile(names, n * len(self.subjects)),
                "count": self.counts.reshape(-1),
                "offered": self.offered.reshape(-1),
                "rate": self.rates.reshape(-1),
                "dprime": self.dprime.reshape(-1),
            }
        )

    def plot(self, ax: Axes | None = None, *, subject: str | None = None) -> Axes:
        """Draw the rates as a heat map, object x choice; default the mean over subjects."""
        from netphys.neural.behaviour.drawing import draw_confusion

        return draw_confusion(self, self.row(subject), ax)

    def row(self, subject: str | None) -> int | None:
        """Which matrix is a subject's; None for all of them."""
        if subject is None:
            return None
        if subject not in self.subjects:
            raise NeuralDataError(f"there is no subject {subject!r} in the confusions{near(subject, self.subjects)}")
        return self.subjects.index(subject)

    def __repr__(self) -> str:
        low, high = self.interval
        if len(self.subjects) > 1:
            each = f"{len(self.subjects)} subjects, {self.accuracy.min():.3f} to {self.accuracy.max():.3f}"
        else:
            each = f"95 % interval {low[0]:.3f} to {high[0]:.3f}"
        rates = np.nanmean(self.rates, axis=0) if len(self.subjects) > 1 else self.rates[0]
        wrong = np.where(np.eye(len(self.objects), dtype=bool) | np.isnan(rates), -1.0, rates)
        at = np.unravel_index(wrong.argmax(), wrong.shape)
        worst = f"; most often {self.objects[at[0]]} was called {self.objects[at[1]]} ({wrong[at]:.3f})"
        return (
            f"Confusion({len(self.objects)} objects, {self.n_trials.sum():g} trials: {self.accuracy.mean():.3f} right, "
            f"{each}{worst if wrong[at] > 0 else ''})"
        )


def confusion(
    behaviour: NeuralData | xr.DataArray,
    truth: str | Mapping[str, str] | None = None,
    *,
    per_subject: bool = False,
) -> Confusion:
    """Count how often each object was called what.

    Parameters
    ----------
    behaviour : NeuralData of kind "behaviour", or xarray.DataArray (presentation, choice)
        Probabilities, or 1 at the choice made and NaN at choices not offered.
    truth : str or mapping, optional
        The coordinate of what would have been right, or ``{stimulus_id: object}``; default ``truth``, ``object_name``.
    per_subject : bool
        One matrix for each value of the coordinate ``subject``, in the order of first appearance.

    Returns
    -------
    Confusion

    Raises
    ------
    NeuralDataError
        If it is no behaviour, or has no subjects where they are asked for.

    Examples
    --------
    >>> import pandas as pd
    >>> from netphys.neural.behaviour.trials import choices_from_trials
    >>> trials = pd.DataFrame({"stimulus_id": list("aabb"), "truth": ["cat", "cat", "dog", "dog"],
    ...                        "choice": ["cat", "dog", "dog", "dog"]})
    >>> confusion(choices_from_trials(trials))
    Confusion(2 objects, 4 trials: 0.750 right, 95 % interval 0.301 to 0.954; most often cat was called dog (0.500))
    """
    seen = observed(behaviour, truth)
    if per_subject and seen.subjects is None:
        raise NeuralDataError("the behaviour has no coordinate 'subject'; leave per_subject out, or name the subjects")
    names = np.array([POOLED] * len(seen.values)) if not per_subject else seen.subjects
    assert names is not None
    subjects = tuple(dict.fromkeys(names.tolist()))
    pairs = pair_trials(seen)
    tables = []
    for each in subjects:
        chosen = names == each
        found = pairs.tables(chosen)
        hits, trials = (_by_object(seen, table) for table in found)
        dprime = sensitivity(pairs, "o2", Recipe(), found)
        tables.append((*_counts(seen, chosen), hits, trials, dprime))
    counts, offered, hits, trials, dprime = (np.stack(each) for each in zip(*tables))
    return Confusion(seen.choices, subjects, counts, offered, hits, trials, dprime)


def _counts(seen: Observed, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choices made, and choices offered, object x choice."""
    values, truth = seen.values[chosen], seen.truth[chosen]
    shown = np.eye(len(seen.choices))[truth].T  # (object, presentation)
    return shown @ np.nan_to_num(values), shown @ np.isfinite(values)


def _by_object(seen: Observed, table: np.ndarray) -> np.ndarray:
    """Sum a table of stimuli over the stimuli of each object."""
    return np.eye(len(seen.choices))[seen.objects].T @ table


def wilson(count: np.ndarray, n: np.ndarray, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Score interval of a proportion.

    Parameters
    ----------
    count, n : array
        Successes and trials; a sum of probabilities is taken as a count, whose variance it bounds from above.
    level : float
        Coverage.

    References
    ----------
    Wilson (1927), Journal of the American Statistical Association 22:209, doi:10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> low, high = wilson(np.array(0.0), np.array(10.0))
    >>> round(float(low), 4), round(float(high), 4)
    (0.0, 0.2775)
    """
    from scipy.special import ndtri

    z = float(ndtri((1 + level) / 2))
    p = np.asarray(count, dtype=float) / np.asarray(n, dtype=float)
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)
