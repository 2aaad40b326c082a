"""Responses in long form: one row (or event) a presentation and neuroid, made into an assembly.

Columns say which stimulus, which of its presentations, which neuroid and, where there are several, which time bin;
one holds the responses. Every other column becomes a coordinate of what it follows from: presentation, neuroid or
time bin. Nothing is averaged and nothing is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError
from netphys.guards import require_claim
from netphys.neural.assemblies import PSEUDO, repetitions_of
from netphys.neural.files.animals import OF_NEUROIDS, take_animals
from netphys.neural.files.columns import (
    MISSING,
    Column,
    beside_dims,
    named,
    no_number,
    number,
    take_column,
    without_row_numbers,
)

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.files.options import FileOptions

__all__ = ["STIMULUS_NAMES", "LongTable", "assembly_of_columns"]

STIMULUS_NAMES = ("stimulus_id", "image_id")
_BINS = ("time_bin_start", "time_bin_end")
_OF_NEUROIDS = (*OF_NEUROIDS, "subregion", "session", "arr", "row", "col", "bank", "electrode", "hemisphere")


@dataclass(frozen=True)
class LongTable:
    """An assembly of a long table, and how its presentations were told apart, as words for a source."""

    assembly: xr.DataArray
    told: str


@dataclass(frozen=True)
class _Axis:
    """One axis of the assembly: for each row its place, how many places, and the first row of each."""

    codes: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, *keys: np.ndarray) -> _Axis:
        """Number the different rows of some keys (int64, from 0) in the order of first appearance."""
        joint = np.zeros(len(keys[0]), dtype=np.int64)
        for key in keys:  # renumbered at each step: products of code ranges stay below the rows squared
            joint = np.unique(joint * (int(key.max()) + 1) + key, return_inverse=True)[1].reshape(-1)
        _, first, codes = np.unique(joint, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return cls(rank[codes.reshape(-1)], first[order])

    def __len__(self) -> int:
        return len(self.first)


def assembly_of_columns(
    path: Path, columns: dict[str, Column], options: FileOptions, *, animals: str | None = None
) -> LongTable:
    """Make an assembly of the columns of a long table.

    Parameters
    ----------
    path : Path
        The file, for messages.
    columns : dict
        All columns by name.
    options : FileOptions
        ``stimulus``, ``neuroid``, ``repetition``, ``value`` name columns; the defaults are ``stimulus_id`` (or
        ``image_id``), ``neuroid_id``, ``repetition``, and the one column of numbers that is left.
    animals : str, optional
        The column that says the animal; see :func:`netphys.neural.files.animals.take_animals`.

    Returns
    -------
    LongTable
        Its assembly is float64, presentation x neuroid [x time_bin], NaN where the table has no row. Without a column
        of repetitions, equal rows are counted in the order of the file; if there are any, the k-th presentation to
        one neuroid need not be the k-th to another, and ``attrs["pseudo_population"]`` is 1. Neuroids of several
        animals that have the same names are told apart, as ``ANIMAL/ID``; presentation k of a stimulus to one animal
        stands beside the k-th to another, which is a pseudo-population, too.

    Raises
    ------
    NeuralDataError
        If a column is missing or cannot be placed, or a cell of the assembly is filled twice.
    """
    import xarray as xr

    left = without_row_numbers(columns)
    stimulus = take_column(path, left, options.stimulus, STIMULUS_NAMES, "stimulus", "which stimulus was shown")
    neuroid = take_column(path, left, options.neuroid, ("neuroid_id",), "neuroid", "which neuroid responded")
    repetition = named(path, left, options.repetition, ("repetition",), "repetition")
    if repetition is not None and "" in repetition.words:
        raise NeuralDataError(f"{path}: column {repetition.name!r} has empty cells; every row says its presentation")
    bins = _bins(path, left)
    values = _values(path, left, options, keep={*_BINS, *([repetition.name] if repetition is not None else [])})
    if repetition is not None and repetition.name == "repetition":
        del left["repetition"]
    whose = take_animals(path, left, stimulus, neuroid, animals)
    neuroid, told = whose.neuroid, whose.told
    counted = repetition.codes if repetition is not None else _counted(stimulus, neuroid, bins)
    if repetition is not None and repetition.name != "repetition" and whose.animal is not None:
        counted = _ranked(whose.animal, stimulus, repetition)
    axes = (_Axis.of(stimulus.codes, counted), _Axis.of(neuroid.codes), bins)
    if whose.animal is not None:
        told += _leave_out(left, axes, whose.animal)
    data = _filled(path, values, axes, (stimulus, neuroid, repetition))
    coords = {
        "stimulus_id": ("presentation", stimulus.text[axes[0].first]),
        "repetition": ("presentation", _repetition(path, repetition, stimulus, counted, axes[0])),
        "neuroid_id": ("neuroid", neuroid.text[axes[1].first]),
        **_coordinates(path, left, axes, stimulus),
    }
    told += "".join(
        f", column {each!r} follows from the stimulus: kept as presentation_{each}"
        for each in OF_NEUROIDS
        if each in left and f"presentation_{each}" in coords
    )
    if bins is None and _BINS[0] in coords:
        coords |= {name: coords[name] for name in _BINS}
    dims = ("presentation", "neuroid", *(["time_bin"] if bins is not None else []))
    apart = repetition is None and bool(counted.any())
    pseudo = apart or whose.animal is not None
    assembly = xr.DataArray(data, dims=dims, coords=coords, attrs={PSEUDO: 1} if pseudo else {})
    return LongTable(assembly, _told(repetition, apart) + told)


def _told(repetition: Column | None, apart: bool) -> str:
    """Say how presentations were told apart."""
    if repetition is not None:
        return f"presentations by {repetition.name}"
    if apart:
        return "repetitions counted in the order of rows (neuroids are not taken as simultaneous)"
    return "one presentation a stimulus"


def _bins(path: Path, left: dict[str, Column]) -> _Axis | None:
    """The axis of time, in the order of time; None where there is one bin or none is said."""
    there = [name for name in _BINS if name in left]
    if not there:
        return None
    if len(there) == 1:
        other = _BINS[there == [_BINS[0]]]
        raise NeuralDataError(f"{path} has a column {there[0]!r} and none {other!r}; a bin of time has both ends")
    ends = []
    for name in _BINS:
        numbers = left[name].numbers
        if numbers is None or np.isnan(numbers).any():
            raise (
                no_number(path, left[name], right="bins are said in ms from onset")
                if numbers is None
                else NeuralDataError(f"{path}: column {name!r} has empty cells; every row says its bin, or no row does")
            )
        ends.append(numbers)
    if (ends[0] >= ends[1]).any():
        row = int(np.flatnonzero(ends[0] >= ends[1])[0])
        raise NeuralDataError(
            f"{path}: row {row + left[name].start} has a time bin of {ends[0][row]:g} to {ends[1][row]:g} ms; it ends "
            "after its start"
        )
    found = _Axis.of(left[_BINS[0]].codes, left[_BINS[1]].codes)
    if len(found) == 1:
        return None
    order = np.lexsort((ends[1][found.first], ends[0][found.first]))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return _Axis(rank[found.codes], found.first[order])


def _values(path: Path, left: dict[str, Column], options: FileOptions, *, keep: set[str]) -> np.ndarray:
    """Take the column of responses out of `left`: the one that is named, or the only one of numbers that is left."""
    name = options.value
    if name is None:
        numeric = [each for each, column in left.items() if each not in (*keep, *OF_NEUROIDS) and _may_be(column)]
        if len(numeric) != 1:
            which = f"{len(numeric)} columns of numbers ({', '.join(numeric[:10])})" if numeric else "none of numbers"
            raise NeuralDataError(
                f"{path}: which column holds the responses? there are {which} beside stimulus, neuroid and repetition; "
                f"say value=NAME{', one of ' + ', '.join(list(left)[:10]) if left and not numeric else ''}"
            )
        name = numeric[0]
    column = named(path, left, name, (), "value")
    assert column is not None
    if column.numbers is None:
        raise no_number(path, column)
    if np.isinf(column.numbers).any():
        row = int(np.flatnonzero(np.isinf(column.numbers))[0])
        raise NeuralDataError(
            f"{path}: column {name!r} holds infinity in row {row + column.start}; a missing response is empty"
        )
    del left[name]
    return column.numbers


def _may_be(column: Column) -> bool:
    """Tell a column of numbers, also one that a cell of text spoils: another must not be taken in its place."""
    return column.numbers is not None or any(word not in MISSING and number(word) is not None for word in column.words)


def _counted(stimulus: Column, neuroid: Column, bins: _Axis | None) -> np.ndarray:
    """Count how often a cell occurred in the rows above."""
    key = _Axis.of(stimulus.codes, neuroid.codes, *([bins.codes] if bins is not None else [])).codes
    order = np.argsort(key, kind="stable")
    out = np.empty(len(key), dtype=np.int64)
    out[order] = np.arange(len(key)) - np.searchsorted(key[order], key[order])
    return out


def _ranked(animal: Column, stimulus: Column, repetition: Column) -> np.ndarray:
    """Number the presentations of each stimulus to each animal, in the order of the file."""
    shown = _Axis.of(animal.codes, stimulus.codes, repetition.codes)
    return repetitions_of(_Axis.of(animal.codes, stimulus.codes).codes[shown.first])[shown.codes]


def _leave_out(left: dict[str, Column], axes: tuple[_Axis, _Axis, _Axis | None], animal: Column) -> str:
    """Leave out what a presentation to one animal had and that to another had not: trial, onset; say so."""
    each = _Axis.of(animal.codes, axes[0].codes)
    gone = [
        name
        for name, column in left.items()
        if column.follows_from(each.codes, len(each))
        and not any(column.follows_from(axis.codes, len(axis)) for axis in axes if axis is not None)
    ]
    for name in gone:
        del left[name]
    return f", without {', '.join(gone)} (other in each animal)" if gone else ""


def _filled(
    path: Path, values: np.ndarray, axes: tuple[_Axis, _Axis, _Axis | None], said: tuple[Column, Column, Column | None]
) -> np.ndarray:
    """Put every value into its cell; refuse a cell that two rows fill."""
    shape = tuple(len(each) for each in axes if each is not None)
    require_claim(path, "its assembly", claimed=8 * int(np.prod(shape, dtype=object)), stored=path.stat().st_size)
    flat = np.ravel_multi_index([each.codes for each in axes if each is not None], shape)
    order = np.argsort(flat, kind="stable")
    twice = np.flatnonzero(flat[order][1:] == flat[order][:-1])
    if len(twice):
        row = int(order[twice + 1].min())
        stimulus, neuroid, repetition = said
        showing = f", {repetition.name} {repetition.text[row]}" if repetition is not None else ""
        bin_ = " in this time bin" if axes[2] is not None else ""
        raise NeuralDataError(
            f"{path}: row {row + stimulus.start} is the second of stimulus {str(stimulus.text[row])!r}{showing}, "
            f"neuroid {str(neuroid.text[row])!r}{bin_}; a presentation has one response a neuroid"
        )
    data = np.full(shape, np.nan)
    data.reshape(-1)[flat] = values
    return data


def _repetition(
    path: Path, repetition: Column | None, stimulus: Column, counted: np.ndarray, presentation: _Axis
) -> np.ndarray:
    """Number of each presentation: as the column ``repetition`` has it, else counted from 0."""
    if repetition is None:
        return counted[presentation.first]
    if repetition.name != "repetition":  # a number of a trial: counted within its stimulus, and kept beside it
        return repetitions_of(stimulus.codes[presentation.first])
    if repetition.values.dtype.kind != "i":
        bad = next((each for each in repetition.words if not each.lstrip("-").isdigit()), "")
        raise NeuralDataError(
            f"{path}: column 'repetition' holds {bad[:40]!r}; repetitions are whole numbers (a column of another name "
            "may tell presentations apart by words: repetition=NAME)"
        )
    return repetition.values[presentation.first]


def _coordinates(
    path: Path, left: dict[str, Column], axes: tuple[_Axis, _Axis, _Axis | None], stimulus: Column
) -> dict[str, tuple[tuple[str, ...] | str, np.ndarray]]:
    """Place every other column on the dim that it follows from."""
    dims = {"presentation": axes[0], "neuroid": axes[1]}
    if axes[2] is not None:
        dims["time_bin"] = axes[2]
    placed: dict[str, tuple[tuple[str, ...] | str, np.ndarray]] = {}
    for name, column in left.items():
        if name in _BINS and axes[2] is None:
            placed[name] = ((), column.values[0])
            continue
        order = ["neuroid", "presentation"] if name.startswith("neuroid") or name in _OF_NEUROIDS else list(dims)
        order = ["time_bin"] if name in _BINS else [*order, *(each for each in dims if each not in order)]
        dim = next((each for each in order if column.follows_from(dims[each].codes, len(dims[each]))), None)
        if dim is None:
            raise NeuralDataError(
                f"{path}: column {name!r} follows neither from the presentation nor from the neuroid; take it out, or "
                "say with repetition=NAME which column tells presentations apart"
            )
        if name in ("", "stimulus_id", "repetition", "neuroid_id"):
            raise NeuralDataError(
                f"{path}: a column beside the ones that were named may not be called {name!r}; rename it"
            )
        if name in OF_NEUROIDS and dim == "presentation":  # else finishing and facts would take it as of the neuroids
            _require_of_stimuli(path, column, stimulus)
            name = f"presentation_{name}"
            if name in left:
                raise NeuralDataError(f"{path}: there is a column {name!r}, which another column becomes; rename it")
        placed[beside_dims(name)] = (dim, column.values[dims[dim].first])
    return placed


def _require_of_stimuli(path: Path, column: Column, stimulus: Column) -> None:
    """Refuse a region that changes within a neuroid from one presentation to another."""
    if column.name == "region" and not column.follows_from(stimulus.codes, len(stimulus.words)):
        raise NeuralDataError(
            f"{path}: column 'region' changes within a neuroid; a neuroid lies in one region: give those that are "
            "called alike names of their own"
        )
