"""CSV tables of responses and of behaviour: wide (one row a stimulus or presentation) and long (one row a response)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.assemblies import BEHAVIOUR_DIMS, DIMS, first_presentations, repetitions_of
from netphys.neural.data import NeuralData
from netphys.neural.files.animals import OF_NEUROIDS, column_of_animals, of_pictures
from netphys.neural.files.behaviour_trials import answered, trials_of_columns
from netphys.neural.files.columns import beside_dims, read_columns
from netphys.neural.files.finishing import assembled
from netphys.neural.files.ids import NO_ID, follow_ids, open_csv
from netphys.neural.files.long_tables import assembly_of_columns
from netphys.neural.files.responses import refuse_choices
from netphys.neural.files.wide_behaviour import require_probabilities
from netphys.neural.files.wide_tables import read_wide

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.files.options import FileOptions

__all__ = ["load_table"]


def load_table(path: Path, options: FileOptions, ids: str | Sequence[str] | None, name: str) -> NeuralData:
    """Load a CSV table of responses, or of behaviour, as an assembly.

    Parameters
    ----------
    path : Path
        The file.
    options : FileOptions
        ``kind`` ``responses`` (default) or ``behaviour``; ``form`` ``wide`` (default) or ``long``. Wide: ``axes``
        (``stimulus,neuroid`` or ``neuroid,stimulus``), ``first``, ``stimulus``, ``repetition``. Long: ``stimulus``,
        ``neuroid``, ``repetition``, ``value`` name columns. Behaviour: wide is one column a choice; long is one row a
        trial with its choice in the column ``value`` (default ``choice``, which makes the form long).
    ids : str, sequence of str or None
        The list that the rows of a wide table without ids follow.
    name : str
        The dataset's name.

    Raises
    ------
    NeuralDataError
        If the table cannot be understood as asked.
    """
    refuse_choices(path, options)
    behaviour = options.kind == "behaviour"
    if options.kind == "rdms":
        raise NeuralDataError(f"{path}: form= is of responses and behaviour; leave it out with kind=rdms")
    form = options.form or ("long" if behaviour and _is_of_trials(path, options) else "wide")
    _refuse_options_of_the_other(path, options, form, behaviour)
    if form == "wide":
        assembly, told = _wide(path, options, ids, behaviour)
        return assembled(path, assembly, options, name, f"{path.name}, {told}")
    columns = read_columns(path)
    if behaviour:
        columns, unanswered = answered(path, columns, options)
        assembly, told = trials_of_columns(path, columns, options), f"one row a trial{unanswered}"
    else:
        animals = column_of_animals(path, columns, options.subject)
        found = assembly_of_columns(path, columns, options, animals=animals)
        options = options if animals is None else replace(options, subject=None)
        assembly, told = found.assembly, found.told
    own, _ = first_presentations(assembly["stimulus_id"].values)
    _, joined = follow_ids(path, len(own), own, ids)
    return assembled(path, assembly, options, name, f"{path.name}, {told}, {joined}")


def _refuse_options_of_the_other(path: Path, options: FileOptions, form: str, behaviour: bool) -> None:
    """Refuse the options that the other form has."""
    if form == "long":
        wrong = [key for key in ("axes", "first") if getattr(options, key) is not None]
        other = "wide"
    else:
        wrong = [key for key in ("value", "neuroid") if getattr(options, key) is not None]
        wrong = [key for key in wrong if key != "neuroid" or behaviour]
        other = "long"
    if wrong:
        raise NeuralDataError(
            f"{path}: {wrong[0]}= is of a table in {other} form, and this is read as {form}; say form={other}, or "
            "leave it out"
        )
    if behaviour and (options.neuroid is not None or options.axes is not None):
        raise NeuralDataError(f"{path}: behaviour has no neuroids; leave neuroid= and axes= out")


def _is_of_trials(path: Path, options: FileOptions) -> bool:
    """Tell whether a table of behaviour has one row a trial: a column of choices is named, or called so."""
    if options.value is not None:
        return True
    with open_csv(path) as rows:
        return "choice" in [cell.strip() for cell in next(rows, [])]


def _wide(
    path: Path, options: FileOptions, ids: str | Sequence[str] | None, behaviour: bool
) -> tuple[xr.DataArray, str]:
    """Make an assembly of a wide table, and say how its stimuli were joined."""
    axes = options.axes or ("stimulus", "neuroid")
    if len(axes) != 2:
        raise NeuralDataError(f"{path} is a table of two axes, not of {' x '.join(axes)}; say axes=")
    across = axes[0] == "neuroid"
    if across and (options.stimulus is not None or options.repetition is not None):
        raise NeuralDataError(f"{path}: with a row a neuroid, stimuli are named by the header; leave stimulus= out")
    wanted = options.neuroid if across else options.stimulus
    table = read_wide(
        path,
        first=options.first,
        ids=wanted,
        repetition=options.repetition,
        neuroids=None if across else options.neuroid,
        across=across,
        choices=behaviour,
    )
    own, others = (table.column_ids, table.row_ids) if across else (table.row_ids, table.column_ids)
    values = table.values.T if across else table.values
    if np.isinf(values).any():
        raise NeuralDataError(f"{path}: the table holds infinity; a response that is missing is NaN")
    if behaviour:
        require_probabilities(path, table)
    shown, joined = _stimuli(path, own, len(values), ids)
    second = BEHAVIOUR_DIMS[1] if behaviour else DIMS[1]
    names = _names(path, others, values.shape[1], second)
    coordinates, said = (table.coordinates, "") if across else of_pictures(path, table.coordinates, shown, behaviour)
    return _wide_assembly(path, values, shown, names, coordinates, second, across), table.told + joined + said


def _wide_assembly(
    path: Path,
    values: np.ndarray,
    shown: np.ndarray,
    names: np.ndarray,
    coordinates: dict[str, np.ndarray],
    second: str,
    across: bool,
) -> xr.DataArray:
    """Put the numbers, ids and coordinates of a wide table together."""
    import xarray as xr

    coords: dict[str, Any] = {"stimulus_id": ("presentation", shown)}
    behaviour = second != DIMS[1]
    if across:
        if "repetition" in coordinates:
            raise NeuralDataError(
                f"{path}: a row is a neuroid, and neuroids have no 'repetition'; take that column out"
            )
        coords["repetition"] = ("presentation", repetitions_of(shown))
    else:
        coords["repetition"] = ("presentation", _repetition(path, shown, coordinates))
    coords["neuroid_id" if second == "neuroid" else "choice"] = (second, names)
    for name, each in coordinates.items():
        if name == "repetition":
            continue
        if not name:
            raise NeuralDataError(f"{path}: a column beside the ids has no name; give it one, or take it out")
        if name in coords or name in ("neuroid_id", "stimulus_id"):
            raise NeuralDataError(f"{path}: a column beside the ids may not be called {name!r}; rename it")
        if not across and not behaviour and name in OF_NEUROIDS:  # one for all
            coords[name] = (second, np.repeat(each[:1], len(names)))
        else:
            coords[beside_dims(name)] = (second if across else "presentation", each)
    return xr.DataArray(values, dims=("presentation", second), coords=coords)


def _stimuli(path: Path, own: list[str] | None, n: int, ids: str | Sequence[str] | None) -> tuple[np.ndarray, str]:
    """Say for each presentation which stimulus it shows: the table's own ids, which may repeat, or a list of ids."""
    if own is None:
        listed, joined = follow_ids(path, n, None, ids)
        return np.array(listed), joined
    lost = next((at for at, each in enumerate(own) if each in NO_ID), None)
    if lost is not None:
        says = f" ({own[lost]!r})" if own[lost] else ""
        raise NeuralDataError(f"{path}: id {lost + 1} of {len(own)} is empty{says}; every presentation has one")
    unique, _ = first_presentations(own)
    _, joined = follow_ids(path, len(unique), unique, ids)
    return np.array(own), joined


def _names(path: Path, names: list[str] | None, n: int, dim: str) -> np.ndarray:
    """Names of neuroids or choices, each there once; neuroids without names are numbered."""
    if names is None:
        if dim == "choice":
            raise NeuralDataError(f"{path} does not name its choices; give it a header")
        return np.array([str(at) for at in range(n)])
    for at, each in enumerate(names):
        if not each:
            raise NeuralDataError(f"{path}: {dim} {at + 1} of {len(names)} has no name; mend its header")
    unique, counts = np.unique(np.array(names), return_counts=True)
    if counts.max() > 1:
        raise NeuralDataError(
            f"{path}: {dim} {str(unique[counts.argmax()])!r} is there {counts.max()} times; a {dim} has one name"
        )
    return np.array(names)


def _repetition(path: Path, shown: np.ndarray, coordinates: dict[str, np.ndarray]) -> np.ndarray:
    """Numbers of repetitions: the table's own, or counted in the order of its rows."""
    if "repetition" not in coordinates:
        return repetitions_of(shown)
    said = coordinates["repetition"]
    if said.dtype.kind != "i":
        bad = next((str(each) for each in said.tolist() if not str(each).lstrip("-").isdigit()), "")
        raise NeuralDataError(f"{path}: its column of repetitions holds {bad[:40]!r}; repetitions are whole numbers")
    session = coordinates.get("session")
    keys = list(zip(shown.tolist(), said.tolist(), session.tolist() if session is not None else said.tolist()))
    seen: set[tuple[Any, ...]] = set()
    for row, key in enumerate(keys):
        if key in seen:
            raise NeuralDataError(
                f"{path}: row {row + 2} is the second of stimulus {key[0]!r}, repetition {key[1]}; number repetitions "
                "anew, or leave that column out to have them counted"
            )
        seen.add(key)
    return said
