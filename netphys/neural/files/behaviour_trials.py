"""Choices, one a trial, as presentation x choice: 1 at the choice that was made, 0 at the others that were offered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.guards import require_claim
from netphys.neural.assemblies import BEHAVIOUR_DIMS, repetitions_of
from netphys.neural.files.columns import Column, beside_dims, named, take_column, without_row_numbers
from netphys.neural.files.ids import NO_ID
from netphys.neural.files.long_tables import STIMULUS_NAMES

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.files.options import FileOptions

__all__ = ["answered", "assembly_of_trials", "trials_of_columns"]

_MEASURES = frozenset(
    (
        "rt",
        "rts",
        "reaction_time",
        "response_time",
        "latency",
        "rating",
        "similarity",
        "dissimilarity",
        "distance",
        "confidence",
        "correct",
    )
)
_LABELS = ("truth", "distractor")  # coordinates that hold labels of choices, too


def assembly_of_trials(
    path: Path, stimulus_ids: np.ndarray, choices: np.ndarray, coordinates: dict[str, np.ndarray]
) -> xr.DataArray:
    """Make an assembly of behaviour of one choice a trial.

    Parameters
    ----------
    path : Path
        The file, for messages.
    stimulus_ids, choices : str (trial,)
        What was shown, and what was chosen.
    coordinates : dict of array (trial,)
        Other facts of trials. Of these ``truth`` (what would have been right) adds its labels to the choices, and
        ``distractor`` (the other choice that was offered) makes all choices but the two NaN.

    Returns
    -------
    xarray.DataArray (presentation, choice)
        float32; ``choice`` is sorted.

    Raises
    ------
    NeuralDataError
        If a trial has no choice, or one that was not offered.
    """
    import xarray as xr

    _require_all(path, choices, "choice")
    offered = [choices, *(coordinates[name].astype(str) for name in _LABELS if name in coordinates)]
    for name, each in zip(_LABELS, [coordinates.get(label) for label in _LABELS]):
        if each is not None:
            _require_all(path, each.astype(str), name)
    names = np.unique(np.concatenate(offered))
    require_claim(path, "its choices", claimed=4 * len(choices) * len(names), stored=path.stat().st_size)
    data = np.zeros((len(choices), len(names)), dtype=np.float32)
    rows = np.arange(len(choices))
    if "distractor" in coordinates:
        if "truth" not in coordinates:
            raise NeuralDataError(
                f"{path} has distractors and no 'truth'; a trial of two choices needs both: rename the column "
                f"that says what would have been right to 'truth'{_which(coordinates)}"
            )
        data[:] = np.nan
        for each in offered[1:]:
            data[rows, np.searchsorted(names, each)] = 0.0
    at = np.searchsorted(names, choices)
    bad = np.flatnonzero(np.isnan(data[rows, at]))
    if len(bad):
        raise NeuralDataError(
            f"{path}: trial {bad[0] + 1} chose {str(choices[bad[0]])!r}, which is neither its truth nor its distractor"
        )
    data[rows, at] = 1.0
    coords: dict[str, Any] = {"stimulus_id": ("presentation", stimulus_ids)}
    if "repetition" not in coordinates:
        coords["repetition"] = ("presentation", repetitions_of(stimulus_ids))
    coords |= {name: ("presentation", each) for name, each in coordinates.items()}
    return xr.DataArray(data, dims=BEHAVIOUR_DIMS, coords={**coords, "choice": ("choice", names)})


def trials_of_columns(path: Path, columns: dict[str, Column], options: FileOptions) -> xr.DataArray:
    """Make an assembly of behaviour of the columns of a table with one row a trial.

    ``stimulus``, ``value`` (default ``choice``) and ``repetition`` name columns; all others become coordinates of
    presentations.

    Raises
    ------
    NeuralDataError
        If a column is missing or cannot be one.
    """
    left = without_row_numbers(columns)
    stimulus = take_column(path, left, options.stimulus, STIMULUS_NAMES, "stimulus", "which stimulus was shown")
    choice = take_column(path, left, options.value, ("choice",), "value", "what was chosen")
    _require_choices(path, choice)
    repetition = named(path, left, options.repetition, ("repetition",), "repetition")
    coordinates = {beside_dims(name): column.values for name, column in left.items() if column is not repetition}
    coordinates |= {name: left[name].text for name in _LABELS if name in left}
    if "" in coordinates:
        raise NeuralDataError(f"{path}: its first column has no name; give it one, or take it out")
    wrong = next((each for each in ("stimulus_id", "repetition") if each in coordinates), None)
    if wrong is not None:
        raise NeuralDataError(
            f"{path}: a column beside the ones that were named may not be called {wrong!r}; rename it"
        )
    if repetition is not None:
        coordinates["repetition"] = repetition.values
        if repetition.values.dtype.kind != "i":
            raise NeuralDataError(
                f"{path}: column {repetition.name!r} holds {repetition.words[0][:40]!r}, ...; repetitions are whole "
                f"numbers{near('repetition', [each for each in left if each != repetition.name])}"
            )
    return assembly_of_trials(path, stimulus.text, choice.text, coordinates)


def answered(path: Path, columns: dict[str, Column], options: FileOptions) -> tuple[dict[str, Column], str]:
    """Leave out the trials of a table that have no choice, and say how many; a table without any is refused."""
    choice = named(path, columns, options.value, ("choice",), "value")
    lost = [] if choice is None else [at for at, word in enumerate(choice.words) if word in NO_ID]
    if choice is None or not lost:
        return columns, ""
    kept = ~np.isin(choice.codes, lost)
    if not kept.any():
        raise NeuralDataError(f"{path}: column {choice.name!r} is empty throughout; name the column of choices")
    left = {name: column.rows(kept) for name, column in columns.items()}
    return left, f", {int((~kept).sum())} of {len(kept)} without a choice left out"


def _require_choices(path: Path, choice: Column) -> None:
    """Refuse times and ratings as what was chosen: numbers of many values, or by their name."""
    measured = choice.stored is None and len(choice.words) > 2 and choice.numbers is not None and not _few(choice)
    if measured or (choice.numbers is not None and choice.name.lower() in _MEASURES):
        raise NeuralDataError(
            f"{path}: column {choice.name!r} holds numbers ({len(choice.words)} different ones in {len(choice.codes)} "
            "trials), as times and ratings do; value= names the column of what was chosen (ratings are read by "
            "netphys.neural.behaviour.similarities_from_csv)"
        )


def _few(choice: Column) -> bool:
    """Tell whether numbers may be codes of choices: whole, and chosen several times."""
    whole = choice.numbers is not None and bool((choice.numbers == np.round(choice.numbers)).all())
    return whole and 2 * len(choice.words) <= len(choice.codes)


def _which(coordinates: dict[str, np.ndarray]) -> str:
    """Name the columns that may say what would have been right: they hold a distractor's words."""
    labels = set(coordinates["distractor"].astype(str).tolist())
    others = {name: set(each.astype(str).tolist()) for name, each in coordinates.items() if name != "distractor"}
    found = [name for name, words in others.items() if labels & words]
    return f" ({' or '.join(map(repr, found[:4]))}?)" if found else ""


def _require_all(path: Path, labels: np.ndarray, what: str) -> None:
    """Refuse a trial without a label."""
    empty = np.flatnonzero(np.isin(labels, list(NO_ID)))
    if len(empty):
        raise NeuralDataError(
            f"{path}: trial {empty[0] + 1} of {len(labels)} has no {what}; take out trials without one"
        )
