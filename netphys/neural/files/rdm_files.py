"""RDMs from files: which variable, which rows, whose they are, and the stimuli that they follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.data import NeuralData
from netphys.neural.files.array_files import ID_NAMES, carried_ids, held_variables, read_variable
from netphys.neural.files.contents import Variable, choose
from netphys.neural.files.dissimilarities import Choice, Rows, n_stimuli_of, rows_of, vector_rows
from netphys.neural.files.hdf5 import SavedRDMs, read_saved_rdms
from netphys.neural.files.ids import follow_ids
from netphys.neural.files.text_tables import text_table

if TYPE_CHECKING:
    from netphys.neural.files.options import FileOptions

__all__ = ["load_rdms"]

_OF_RESPONSES = (
    *("axes", "stimulus", "neuroid", "repetition", "time", "value"),
    *("session", "where", "neuroid_where", "window", "bins", "values", "unit"),
)


def load_rdms(path: Path, suffix: str, options: FileOptions, ids: str | Sequence[str] | None, name: str) -> NeuralData:
    """Load the RDMs of a file as the options say."""
    _refuse_of_responses(path, options)
    if suffix in (".h5", ".hdf5") and options.variable is None and (saved := read_saved_rdms(path)) is not None:
        return _load_saved(path, saved, options, ids, name)
    if suffix == ".csv":
        _refuse_text(path)
    held = held_variables(path, suffix, first=options.first)
    _refuse_field(path, held, options.variable)
    variable = choose(path, held, options.variable, _may_be_rdm, what="RDMs")
    choice = _choice(options)
    own: Sequence[Any] | None
    value, own = read_variable(path, suffix, variable, fields=(choice.field, "name"), first=options.first)
    names = _names_of_rows(value, own) if suffix == ".csv" else None
    if options.kind != "rdms":
        _refuse_ids_of_rows(path, suffix, held, variable, value, names)
    if names is not None:  # they name RDMs
        _require_one_each(path, names, choice)
        rows, own = vector_rows(path, value, names, choice, what=variable.name), None
    else:
        rows = rows_of(path, value, choice, what=variable.name)
    if own is None and names is None:
        own = carried_ids(path, suffix, held, variable, rows.n_stimuli)
    what = f"variable {variable.name}" if suffix not in (".npy", ".csv") else ""
    return _data(path, options, ids, name, rows, own, options.region or "", what)


def _refuse_of_responses(path: Path, options: FileOptions) -> None:
    """Refuse the options that mean nothing of RDMs, rather than pass over them."""
    said = next((each for each in _OF_RESPONSES if getattr(options, each) is not None), None)
    if said is not None:
        raise NeuralDataError(
            f"{path}: {said}= is of responses, and these are read as RDMs; leave it out, or say kind=responses"
        )


def _refuse_text(path: Path) -> None:
    """Say how tables of text are read, which are no RDMs."""
    texts = [name for name, kind in text_table(path).items() if kind == "text"]
    if texts:
        raise NeuralDataError(
            f"{path}: columns of text ({', '.join(texts[:6])}{', ...' * (len(texts) > 6)}) are no RDM; responses: "
            "form=long&stimulus=COLUMN&neuroid=COLUMN&value=COLUMN; choices: "
            "kind=behaviour&stimulus=COLUMN&value=COLUMN; judgements of similarity: "
            "netphys.neural.behaviour.similarities_from_csv"
        )


def _refuse_field(path: Path, held: Mapping[str, Variable], wanted: str | None) -> None:
    """Say how the field of a struct is read, which is no variable of RDMs."""
    head, dot, field = (wanted or "").partition(".")
    if dot and wanted not in held and head in held and held[head].kind == "struct":
        raise NeuralDataError(
            f"{path}: {wanted} is a field of the struct {head}; of responses say kind=responses, of RDMs "
            f"variable={head}&field={field}"
        )


def _names_of_rows(value: np.ndarray, ids: Sequence[Any] | None) -> list[str] | None:
    """Ids of rows that are vectors: they name RDMs, not stimuli; None of a square, or where there are none."""
    return None if ids is None or value.shape[0] == value.shape[1] else [str(each) for each in ids]


def _refuse_ids_of_rows(
    path: Path,
    suffix: str,
    held: Mapping[str, Variable],
    variable: Variable,
    value: np.ndarray,
    names: Sequence[str] | None,
) -> None:
    """Refuse vectors whose rows have ids: responses of as many neuroids as there are pairs look the same."""
    if value.dtype.kind not in "fiub" or value.ndim not in (1, 2) or (value.ndim == 2 and len(set(value.shape)) == 1):
        return
    if names is not None or carried_ids(path, suffix, held, variable, len(value)) is not None:
        raise NeuralDataError(
            f"{path}: {variable.name} of shape {value.shape} has an id for each of its {len(value)} rows: they may be "
            "responses, a row a stimulus, or RDMs, a row a subject; say kind=responses or kind=rdms"
        )


def _require_one_each(path: Path, subjects: Sequence[str], choice: Choice) -> None:
    """Refuse two RDMs of one subject, unless one is chosen or they are averaged."""
    there = [subjects[row] for row in _rows_left(len(subjects), choice)]
    twice = [each for each in dict.fromkeys(there) if there.count(each) > 1]
    if twice and choice.average is None:
        told = ", ".join(f"{each} ({there.count(each)})" for each in twice[:6]) + ", ..." * (len(twice) > 6)
        raise NeuralDataError(f"{path} holds several RDMs of one subject: {told}; choose by index=, or say average=0")


def _rows_left(n: int, choice: Choice) -> list[int]:
    """Rows of n that index= leaves."""
    if len(choice.index) != 1:
        return list(range(n))
    at = choice.index[0]
    return list(range(n))[at if isinstance(at, slice) else slice(at, at + 1)]


def _load_saved(
    path: Path, saved: SavedRDMs, options: FileOptions, ids: str | Sequence[str] | None, name: str
) -> NeuralData:
    """Load RDMs that rsatoolbox saved: region= and subject= choose by its descriptors where it has them."""
    told = {key: [str(each) for each in saved.rdm_descriptors.get(key, [])] for key in ("region", "subject")}
    n = len(saved.dissimilarities)
    keep = np.arange(n)
    named = options.subject
    if len(told["region"]) == n and any(told["region"]) and options.region is not None:
        keep = _rows_named(path, "region", told["region"], (options.region,), keep)
    if len(told["subject"]) == n and named is not None:
        keep, named = _rows_named(path, "subject", told["subject"], named, keep), None
    subjects = [told["subject"][row] for row in keep] if len(told["subject"]) == n else None
    what = "dissimilarities"
    rows = vector_rows(path, saved.dissimilarities[keep], subjects, _choice(options), what=what)
    left = keep[_rows_left(len(keep), _choice(options))]
    regions = dict.fromkeys(told["region"][row] for row in left) if len(told["region"]) == n else {}
    if len(regions) > 1 and options.region is None:
        raise NeuralDataError(
            f"{path} holds RDMs of several regions: {', '.join(regions)}; choose one by region=, they are no subjects"
        )
    if subjects is not None:
        _require_one_each(path, subjects, _choice(options))
    region = options.region if options.region is not None else "".join(regions)
    kind = f"RDMs of rsatoolbox ({saved.measure})" if saved.measure else "RDMs of rsatoolbox"
    own = saved.pattern_descriptors.get("stimulus_id")
    return _data(path, replace(options, subject=named), ids, name, rows, own, region, kind)


def _rows_named(path: Path, what: str, told: list[str], wanted: tuple[str, ...], keep: np.ndarray) -> np.ndarray:
    """Of the rows in `keep`, those of the wanted values, in the order of the wanted."""
    there = [told[row] for row in keep]
    missing = [each for each in wanted if each not in there]
    if missing:
        raise NeuralDataError(f"{path} has no RDM of {what} {missing[0]!r}{near(missing[0], there)}")
    return np.array([row for each in wanted for row in keep if told[row] == each])


def _choice(options: FileOptions) -> Choice:
    """What the options choose of a variable."""
    return Choice(
        field=options.field or "RDM",
        index=options.index or (),
        average=options.average,
        stack=options.stack,  # type: ignore[arg-type]
    )


def _may_be_rdm(variable: Variable) -> bool:
    """Tell from a header whether a variable can be RDMs."""
    shape = variable.shape
    if variable.kind in ("struct", "cell"):
        return True
    if variable.kind != "numbers" or not shape or 0 in shape or variable.name.rpartition("/")[2] in ID_NAMES:
        return False
    if len(shape) >= 2 and (shape[-1] == shape[-2] >= 3 or shape[0] == shape[1] >= 3):
        return True
    return len(shape) <= 2 and any((n_stimuli_of(length) or 0) >= 3 for length in (shape[-1], max(shape)))


def _data(
    path: Path,
    options: FileOptions,
    ids: str | Sequence[str] | None,
    name: str,
    rows: Rows,
    own: Sequence[Any] | None,
    region: str,
    what: str,
) -> NeuralData:
    """Put checked rows, their subjects and their stimuli together."""
    stimulus_ids, joined = follow_ids(path, rows.n_stimuli, own, ids)
    parts = [path.name, what, f"averaged over axis {options.average}" if options.average is not None else "", joined]
    return NeuralData(
        kind="rdms",
        stimulus_ids=stimulus_ids,
        subjects=_subjects(path, options.subject, rows),
        region=region,
        name=name,
        source=", ".join(part for part in parts if part),
        dissimilarities=rows.dissimilarities,
    )


def _subjects(path: Path, named: tuple[str, ...] | None, rows: Rows) -> tuple[str, ...]:
    """Name the rows: as the user says, as the file says, or by number."""
    n = len(rows.dissimilarities)
    if named is not None:
        if len(named) != n or len(set(named)) != n:
            raise NeuralDataError(
                f"{path} gives {n} RDM{'s' * (n != 1)}, subject= names {len(set(named))}; "
                "name each once, or choose by index="
            )
        return named
    return rows.labels or tuple(f"subject{row + 1}" for row in range(n))
