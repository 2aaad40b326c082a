"""What was chosen when what was shown: trials as an assembly, and the binary tasks that are in them.

Behaviour is presentation x choice: probabilities of a network, or 1 at the choice that was made; NaN at a choice that
was not offered, so that a trial of a match-to-sample task with two choices has two numbers. Every presentation is
read as binary tasks, its object against one other choice: p(object) / (p(object) + p(other)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netphys.errors import NeuralDataError, OptionError, near
from netphys.neural.assemblies import BEHAVIOUR_DIMS, as_text, first_presentations, repetitions_of, require_assembly
from netphys.neural.data import NeuralData

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from jaxtyping import Bool, Float, Int

__all__ = ["Observed", "PairTrials", "Task", "choices_from_trials", "column", "observed", "pair_trials"]

Task = Literal["pairs", "all"]
TASKS: tuple[Task, ...] = ("pairs", "all")
_OBJECTS = ("truth", "object_name")  # coordinates that say which object a stimulus shows, the first that is there
_SUM = 1e-3  # what probabilities may miss 1 by: float16 rounds a sum of 1000 to about that


def choices_from_trials(
    trials: pd.DataFrame,
    *,
    stimulus: str = "stimulus_id",
    choice: str = "choice",
    truth: str = "truth",
    distractor: str | None = None,
    subject: str | None = None,
) -> xr.DataArray:
    """Make a behaviour assembly of a table with one row a trial.

    Parameters
    ----------
    trials : pandas.DataFrame
        One row a trial.
    stimulus, choice, truth : str
        Columns: which stimulus was shown, what was chosen, what would have been right.
    distractor : str, optional
        Column of the other choice that was offered, for tasks with two choices (match to sample). Without it every
        choice is taken as offered on every trial.
    subject : str, optional
        Column of the subject.

    Returns
    -------
    xarray.DataArray (presentation, choice)
        float32: 1 at the choice made, 0 at the others that were offered, NaN at those that were not. Coordinates
        ``stimulus_id``, ``repetition``, ``truth`` and, where given, ``subject``; ``choice``, sorted by name.

    Raises
    ------
    NeuralDataError
        If a column is absent or has an empty cell, a stimulus has two truths, or a choice was not among those offered.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"stimulus_id": ["a", "b"], "truth": ["cat", "dog"], "choice": ["cat", "cat"]})
    >>> choices_from_trials(table).values.tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    import xarray as xr

    ids, made, true = (column(trials, name, "trials") for name in (stimulus, choice, truth))
    other = column(trials, distractor, "trials") if distractor is not None else None
    names = np.unique(np.concatenate([made, true, *([other] if other is not None else [])]))
    at = {name: k for k, name in enumerate(names.tolist())}
    chosen, right = (np.array([at[each] for each in values]) for values in (made, true))
    rows = np.arange(len(ids))
    values = np.zeros((len(ids), len(names)), dtype=np.float32)
    if other is not None:
        _require_offered(made, true, other)
        values[:] = np.nan
        values[rows, right] = 0.0
        values[rows, [at[each] for each in other]] = 0.0
    values[rows, chosen] = 1.0
    coords: dict[str, Any] = {
        "stimulus_id": ("presentation", ids),
        "repetition": ("presentation", repetitions_of(ids)),
        "truth": ("presentation", true),
        "choice": ("choice", names),
    }
    if subject is not None:
        coords["subject"] = ("presentation", column(trials, subject, "trials"))
    assembly = xr.DataArray(values, dims=BEHAVIOUR_DIMS, coords=coords)
    observed(assembly)  # one truth a stimulus
    return assembly


def column(table: pd.DataFrame, name: str, what: str) -> np.ndarray:
    """Take a column as str; refuse one that is absent or has empty cells."""
    if name not in table.columns:
        raise NeuralDataError(f"the {what} have no column {name!r}{near(name, map(str, table.columns))}")
    if len(table) == 0:
        raise NeuralDataError(f"the {what} have no rows")
    import pandas as pd

    codes, found = pd.factorize(table[name])  # a column of a million cells has few different ones
    texts = as_text(np.asarray(found, dtype=object))
    blank = np.array([not each.strip() for each in texts.tolist()] + [True])  # the last is that of code -1: none
    empty = np.flatnonzero(blank[codes])
    if len(empty):
        raise NeuralDataError(
            f"the {what} have an empty cell in column {name!r}, row {empty[0] + 1}; leave the row out"
        )
    return texts[codes]


def _require_offered(made: np.ndarray, true: np.ndarray, other: np.ndarray) -> None:
    """Refuse trials whose choice was not one of the two."""
    made, true, other = (each.astype(object) for each in (made, true, other))  # plain str, for messages
    same = np.flatnonzero(true == other)
    if len(same):
        raise NeuralDataError(
            f"trial {same[0] + 1} offers {true[same[0]]!r} twice: its distractor is its truth; two choices differ"
        )
    bad = np.flatnonzero((made != true) & (made != other))
    if len(bad):
        row = bad[0]
        raise NeuralDataError(
            f"trial {row + 1} chose {made[row]!r}, and {true[row]!r} and {other[row]!r} were offered; mend the trial"
        )


@dataclass(frozen=True)
class Observed:
    """A behaviour assembly, checked: numbers, and what each presentation showed."""

    values: Float[np.ndarray, "presentation choice"]
    choices: tuple[str, ...]
    stimulus_ids: tuple[str, ...]
    stimulus: Int[np.ndarray, " presentation"]  # which of stimulus_ids
    objects: Int[np.ndarray, " stimulus"]  # which of choices is right
    subjects: np.ndarray | None  # str (presentation,)

    @property
    def truth(self) -> Int[np.ndarray, " presentation"]:
        """Which choice was right."""
        return self.objects[self.stimulus]

    @property
    def graded(self) -> bool:
        """Whether these are probabilities, not choices that were made."""
        there = self.values[np.isfinite(self.values)]
        return bool(((there > 0) & (there < 1)).any())

    @property
    def pairwise(self) -> bool:
        """Whether there are trials on which not all choices were offered."""
        return bool(np.isnan(self.values).any())


def observed(behaviour: NeuralData | xr.DataArray, truth: str | Mapping[str, str] | None = None) -> Observed:
    """Check behaviour and find what would have been right.

    Parameters
    ----------
    behaviour : NeuralData of kind "behaviour", or xarray.DataArray (presentation, choice)
    truth : str or mapping, optional
        The coordinate that says what would have been right, or ``{stimulus_id: object}``; default the coordinate
        ``truth``, else ``object_name``.

    Raises
    ------
    NeuralDataError
        If it is no behaviour, rows are no probabilities, or a stimulus has no truth, or two, or one that no choice is.
    """
    if isinstance(behaviour, NeuralData):
        if behaviour.kind != "behaviour" or behaviour.assembly is None:
            raise NeuralDataError(f"{behaviour.name} is of kind {behaviour.kind!r}; choices are in kind 'behaviour'")
        behaviour = behaviour.assembly
    if not hasattr(behaviour, "dims"):
        raise NeuralDataError(f"behaviour is a {type(behaviour).__name__}; give presentation x choice, with labels")
    require_assembly(behaviour, what="the behaviour", dims=BEHAVIOUR_DIMS)
    for name in ("stimulus_id", "choice"):
        if name not in behaviour.coords:
            raise NeuralDataError(f"the behaviour has no coordinate {name!r}{near(name, map(str, behaviour.coords))}")
    values = np.asarray(behaviour.transpose(*BEHAVIOUR_DIMS).values, dtype=np.float64)
    choices = tuple(as_text(behaviour["choice"].values).tolist())
    if len(set(choices)) != len(choices) or len(choices) < 2:
        raise NeuralDataError(f"the behaviour has choices {', '.join(choices[:6])}; two at least, all different")
    ids, stimulus = first_presentations(as_text(behaviour["stimulus_id"].values).tolist())
    objects = _objects(behaviour, truth, ids, stimulus, choices)
    _require_choices(values, objects[stimulus], ids, stimulus)
    subjects = as_text(behaviour["subject"].values) if "subject" in behaviour.coords else None
    if subjects is not None and subjects.ndim == 0:
        subjects = np.repeat(subjects, len(values))
    return Observed(values, choices, ids, stimulus, objects, subjects)


def _objects(
    behaviour: xr.DataArray,
    truth: str | Mapping[str, str] | None,
    ids: tuple[str, ...],
    stimulus: np.ndarray,
    choices: tuple[str, ...],
) -> np.ndarray:
    """Which choice is right for each stimulus."""
    if isinstance(truth, Mapping):
        known = {str(key): str(each) for key, each in truth.items()}
        missing = [each for each in ids if each not in known]
        if missing:
            raise NeuralDataError(
                f"truth has no entry for {len(missing)} of {len(ids)} stimuli, the first {missing[0]!r}"
                f"{near(missing[0], known)}"
            )
        names = [known[each] for each in ids]
    else:
        wanted = (truth,) if truth is not None else _OBJECTS
        name = next((each for each in wanted if each in behaviour.coords), None)
        if name is None:
            raise NeuralDataError(
                f"the behaviour has no coordinate {' or '.join(map(repr, wanted))} that says what would have been "
                "right; give truth={stimulus_id: object}, or the coordinate's name"
            )
        texts = as_text(np.broadcast_to(behaviour[name].values, (len(stimulus),))).astype(object)
        first = np.unique(stimulus, return_index=True)[1]
        twice = np.flatnonzero(texts != texts[first][stimulus])
        if len(twice):
            at = twice[0]
            raise NeuralDataError(
                f"stimulus {ids[stimulus[at]]!r} has two truths, {texts[first][stimulus[at]]!r} and {texts[at]!r}; "
                "a stimulus has one"
            )
        names = texts[first].tolist()
    row = {each: k for k, each in enumerate(choices)}
    unknown = next((each for each in names if each not in row), None)
    if unknown is not None:
        raise NeuralDataError(f"{unknown!r} would have been right, and is no choice{near(unknown, choices)}")
    return np.array([row[each] for each in names], dtype=np.int64)


def _require_choices(values: np.ndarray, truth: np.ndarray, ids: tuple[str, ...], stimulus: np.ndarray) -> None:
    """Refuse rows that are no probabilities of the choices that were offered."""
    offered = ~np.isnan(values)
    low = np.where(offered, values, 0.0)
    if not np.isfinite(low).all() or low.min() < 0:
        raise NeuralDataError(
            "the behaviour holds numbers below 0 or infinite; give probabilities (softmax), or 1 at the choice made"
        )
    sums = low.sum(axis=1)
    bad = np.flatnonzero(np.abs(sums - 1) > _SUM)
    if len(bad):
        raise NeuralDataError(
            f"presentation {bad[0] + 1} of the behaviour sums to {sums[bad[0]]:.4g} over choices, not to 1; give "
            "probabilities, or 1 at the choice made"
        )
    bad = np.flatnonzero(~offered[np.arange(len(values)), truth])
    if len(bad):
        raise NeuralDataError(
            f"presentation {bad[0] + 1} (stimulus {ids[stimulus[bad[0]]]!r}) did not offer its own object; such a "
            "trial has no hit, leave it out"
        )


@dataclass(frozen=True)
class PairTrials:
    """The binary tasks in a behaviour: one entry for each presentation and each other choice it was set against."""

    seen: Observed
    task: Task
    presentation: Int[np.ndarray, " entry"]
    cell: Int[np.ndarray, " entry"]  # stimulus * choices + choice
    hit: Float[np.ndarray, " entry"]  # probability of the object against the other, 0 to 1

    @property
    def counted(self) -> bool:
        """Whether hits are 0 or 1: choices that were made, not probabilities."""
        return bool(np.isin(self.hit, (0.0, 1.0)).all())

    def tables(
        self, chosen: Bool[np.ndarray, " presentation"] | None = None
    ) -> tuple[Float[np.ndarray, "stimulus choice"], Float[np.ndarray, "stimulus choice"]]:
        """Hits, and binary trials, of each stimulus against each other choice, over the chosen presentations."""
        shape = (len(self.seen.stimulus_ids), len(self.seen.choices))
        kept = slice(None) if chosen is None else chosen[self.presentation]
        cell = self.cell[kept]
        hits = np.bincount(cell, weights=self.hit[kept], minlength=shape[0] * shape[1])
        trials = np.bincount(cell, minlength=shape[0] * shape[1])
        return hits.reshape(shape), trials.reshape(shape).astype(np.float64)


def pair_trials(seen: Observed, task: Task = "pairs") -> PairTrials:
    """Read every presentation as binary tasks.

    Parameters
    ----------
    seen : Observed
    task : {"pairs", "all"}
        ``"pairs"``: object against one other, p(object) / (p(object) + p(other)); a trial on which neither was chosen
        says nothing of the pair. ``"all"``: all choices at once; then `hit` is 1 - p(other), every trial counts.
    """
    if task not in TASKS:
        raise OptionError(f"task={task!r}: it is one of {', '.join(TASKS)}")
    if task == "all" and seen.pairwise:
        raise OptionError("task='all' needs trials on which every choice was offered; these offered some: task='pairs'")
    truth = seen.truth
    right = seen.values[np.arange(len(truth)), truth][:, None]
    with np.errstate(invalid="ignore"):
        total = right + seen.values
        valid = total > 0 if task == "pairs" else np.ones(seen.values.shape, dtype=bool)
    valid[np.arange(len(truth)), truth] = False
    presentation, choice = np.nonzero(valid)
    if task == "pairs":
        hit = right[presentation, 0] / total[presentation, choice]
    else:
        hit = 1.0 - seen.values[presentation, choice]
    return PairTrials(seen, task, presentation, seen.stimulus[presentation] * len(seen.choices) + choice, hit)
