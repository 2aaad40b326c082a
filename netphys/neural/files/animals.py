"""Whose neuroids a long table holds: columns that say the animal, told from columns that describe the picture.

A cell's name is its own only within one animal: site 1 of two monkeys is two neuroids.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.files.columns import Column, take_column

__all__ = ["OF_NEUROIDS", "Animals", "column_of_animals", "of_pictures", "take_animals"]

OF_NEUROIDS = ("animal", "region", "subject")  # names that say whose data these are and where from, unless of pictures
_ANIMALS = ("animal", "monkey", "subject")  # names of columns that may say which animal


@dataclass(frozen=True)
class Animals:
    """Neuroids of a long table, told apart by animal.

    `neuroid` is the column that names each once. `animal` is None where one name is one neuroid throughout.
    """

    neuroid: Column
    animal: Column | None = None
    told: str = ""


def column_of_animals(path: Path, columns: dict[str, Column], subject: Sequence[str] | None) -> str | None:
    """Tell whether ``subject=`` names the column that says the animal, not an animal; None if it does not.

    Raises
    ------
    NeuralDataError
        If it nearly names one, and there is no column ``animal``.
    """
    if subject is None or len(subject) != 1:
        return None
    (said,) = subject
    if said in columns:
        return said if "animal" not in columns or said not in columns["animal"].words else None
    known = {name.lower(): name for name in columns if name.lower() in _ANIMALS}
    close = difflib.get_close_matches(said.lower(), known, n=1)
    if close and "animal" not in columns:
        raise NeuralDataError(f"{path} has no column {said!r} (subject=); near: {known[close[0]]!r}")
    return None


def take_animals(
    path: Path, left: dict[str, Column], stimulus: Column, neuroid: Column, asked: str | None = None
) -> Animals:
    """Tell the neuroids of several animals apart, and call the column that says which ``animal``.

    Parameters
    ----------
    path : Path
        The file, for messages.
    left : dict of Column
        Columns beside stimulus, neuroid and responses; the one that says the animal is renamed in it.
    stimulus, neuroid : Column
        What was shown, and the neuroid's name.
    asked : str, optional
        The column that says the animal. Default: ``animal``, ``monkey`` or ``subject`` if it changes within a neuroid
        or parts the neuroids, and does not follow from the stimulus (it is then of the picture).

    Raises
    ------
    NeuralDataError
        If a column may say the animal as well as what a picture shows.
    """
    if asked is not None and asked not in left:
        raise NeuralDataError(f"{path}: column {asked!r} says something else already; subject= names that of animals")
    names = [each for each in _ANIMALS if each in left]
    name = asked or next((each for each in names if _splits(path, left[each], stimulus, neuroid)), None)
    if name is None and "animal" not in left:
        name = next((each for each in names if _parts(left[each], stimulus, neuroid)), None)
    if name is None:
        return Animals(neuroid)
    if name != "animal" and "animal" in left:
        raise NeuralDataError(f"{path}: columns {name!r} and 'animal' may both say the animal; rename one of them")
    column = take_column(path, left, name, (), "subject", "whose the neuroid is")
    left["animal"] = Column("animal", column.codes, column.words, column.stored, column.start)
    told = f", animals by {name}" if name != "animal" else ""
    if column.follows_from(neuroid.codes, len(neuroid.words)):
        return Animals(neuroid, None, told)
    apart = _apart(path, neuroid, column)
    return Animals(apart, column, f"{told}, neuroids of {len(column.words)} animals as ANIMAL/{neuroid.name}")


def of_pictures(
    path: Path, coordinates: dict[str, np.ndarray], shown: np.ndarray, behaviour: bool = False
) -> tuple[dict[str, np.ndarray], str]:
    """Rename coordinates of presentations that would be read as of neuroids, and say so.

    Parameters
    ----------
    path : Path
        The file, for messages.
    coordinates : dict of array (presentation,)
        By name. An ``animal``, ``region`` or ``subject`` that is the same throughout keeps its name.
    shown : str (presentation,)
        The stimuli.
    behaviour : bool
        Whether rows are of behaviour, whose presentations may be of several subjects.

    Raises
    ------
    NeuralDataError
        If neuroids would be of several animals or regions under one name.
    """
    made: dict[str, np.ndarray] = {}
    told = ""
    stimuli = np.unique(shown, return_inverse=True)[1].reshape(-1)
    for name, values in coordinates.items():
        column = Column.of(name, values)
        if name not in OF_NEUROIDS or len(column.words) == 1 or (behaviour and name == "subject"):
            made[name] = values
        elif column.follows_from(stimuli, int(stimuli.max()) + 1):
            if f"presentation_{name}" in coordinates:
                raise NeuralDataError(f"{path}: there is a column 'presentation_{name}' beside {name!r}; rename one")
            made[f"presentation_{name}"] = values
            told += f", column {name!r} follows from the stimulus: kept as presentation_{name}"
        elif behaviour:
            made[name] = values
        else:
            raise NeuralDataError(
                f"{path}: column {name!r} changes within a stimulus, so that one column would hold neuroids of several "
                f"{name}s; save a table for each and pool them, or say it in long form"
            )
    return made, told


def _splits(path: Path, column: Column, stimulus: Column, neuroid: Column) -> bool:
    """Tell whether a column says animals whose neuroids have the same names."""
    if column.follows_from(neuroid.codes, len(neuroid.words)):
        return False
    if not column.follows_from(stimulus.codes, len(stimulus.words)):
        return True
    if column.name == "monkey":
        raise NeuralDataError(
            f"{path}: column 'monkey' follows from the stimulus; say subject=monkey if it says whose the neuroid is, "
            "or rename it if it says what is shown"
        )
    return False


def _parts(column: Column, stimulus: Column, neuroid: Column) -> bool:
    """Tell whether a column parts neuroids into several animals."""
    return (
        len(column.words) > 1
        and column.follows_from(neuroid.codes, len(neuroid.words))
        and not column.follows_from(stimulus.codes, len(stimulus.words))
    )


def _apart(path: Path, neuroid: Column, animal: Column) -> Column:
    """Name neuroids by animal and name, as pooling does."""
    joint, first, codes = np.unique(
        animal.codes * len(neuroid.words) + neuroid.codes, return_index=True, return_inverse=True
    )
    words = tuple(f"{animal.text[row]}/{neuroid.text[row]}" for row in first)
    if len(set(words)) != len(joint):
        raise NeuralDataError(f"{path}: two neuroids would be called alike by animal and name; rename those with '/'")
    return Column(neuroid.name, codes.reshape(-1), words, None, neuroid.start)
