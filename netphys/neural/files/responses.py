"""Responses in plain arrays (.npy, .npz, .mat, HDF5): axes by name, in any order, and what stands along them.

Ids, neuroids, repetitions, times, regions, animals and sessions are arrays of the same file that the address names, or
a list that the user names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.data import NeuralData
from netphys.neural.files.array_files import ArrayFile, carried_ids
from netphys.neural.files.contents import Variable
from netphys.neural.files.finishing import assembled
from netphys.neural.files.ids import follow_ids, read_ids
from netphys.neural.files.layouts import Layout, laid_out
from netphys.neural.files.time_bins import bins_of, spelt_bins

if TYPE_CHECKING:
    from netphys.neural.files.options import FileOptions

__all__ = ["load_responses", "refuse_choices"]

_WHOSE = ("region", "subject", "session")  # options that may name an array of the file


def load_responses(
    path: Path, suffix: str, options: FileOptions, ids: str | Sequence[str] | None, name: str
) -> NeuralData:
    """Load an array of responses (stimulus x neuroid unless ``axes=`` says otherwise) as an assembly.

    Parameters
    ----------
    path : Path
        The file.
    suffix : str
        Of the file, in lower case.
    options : FileOptions
        ``axes``: what the axes are, in the file's order (of MATLAB, in MATLAB's). ``stimulus``, ``neuroid``,
        ``repetition``: arrays of the file with one text or number each. ``time``: an array of starts, edges or
        (bin, 2) in ms, or START:STOP:WIDTH. ``region``, ``subject``, ``session``: an array of the file with one value a
        neuroid (a session also: a presentation), else the value itself.
    ids : str, sequence of str, or None
        The list that stimuli or presentations follow where the file has no ids.
    name : str
        The dataset's name.

    Raises
    ------
    NeuralDataError
        If the file does not hold what is said of it.
    """
    refuse_choices(path, options)
    file = ArrayFile(path, suffix, options.group)
    axes = options.axes or ("stimulus", "neuroid")
    variable = _variable(file, options.variable, axes)
    value = _array(file, variable, axes)
    shown, joined = _shown(file, variable, options, ids, axes, value.shape)
    neuroids = _neuroids(file, options, value.shape[axes.index("neuroid")])
    columns, left = _whose(file, options, axes, value.shape)
    layout = Layout(
        axes,
        shown,
        neuroids,
        repetition=_repetition(file, options, axes, value.shape),
        presentation_columns=columns["presentation"],
        neuroid_columns=columns["neuroid"],
        bins=_bins(file, options, axes, value.shape),
        behaviour=options.kind == "behaviour",
    )
    try:
        assembly = laid_out(value, layout)
    except ValueError as error:
        raise NeuralDataError(f"{path}: {variable.name}: {error}; choose another variable") from None
    what = f"variable {variable.name}" if suffix != ".npy" else ""
    by_arrays = [f"{each} by an array" for each in _WHOSE if getattr(options, each) != getattr(left, each)]
    source = ", ".join(part for part in (path.name, what, *by_arrays, joined) if part)
    return assembled(path, assembly, left, name, source)


def refuse_choices(path: Path, options: FileOptions) -> None:
    """Refuse the options that choose among RDMs."""
    if (options.index, options.average, options.stack, options.field) != (None, None, None, None):
        raise NeuralDataError(
            f"{path}: index=, average=, stack= and field= choose RDMs; leave them out with kind=responses"
        )


def _variable(file: ArrayFile, wanted: str | None, axes: tuple[str, ...]) -> Variable:
    """The variable of responses: the one named, or the only one of numbers with so many axes."""
    fitting = {each.name for each in file.held.values() if _may_be_responses(each, len(axes))}
    if file.suffix == ".mat" and not fitting:  # MATLAB drops axes of length 1 at the end
        fitting = {each.name for each in file.held.values() if _may_be_responses(each, 2)}
    return file.choose(wanted, lambda each: each.name in fitting, what=f"responses ({' x '.join(axes)})")


def _may_be_responses(variable: Variable, n_axes: int) -> bool:
    """Tell from a header whether a variable can be responses."""
    return variable.kind == "numbers" and len(variable.shape) == n_axes and 0 not in variable.shape


def _array(file: ArrayFile, variable: Variable, axes: tuple[str, ...]) -> np.ndarray:
    """Read the responses and see that they can have these axes."""
    value = file.read(variable)
    if file.suffix == ".mat" and value.ndim < len(axes):
        value = value.reshape(*value.shape, *[1] * (len(axes) - value.ndim))
    if value.ndim != len(axes) or value.dtype.kind not in "fiub" or value.size == 0:
        held = f"{variable.name} of shape {value.shape} and {value.dtype}"
        raise NeuralDataError(f"{file.path}: {held} is not {' x '.join(axes)}; say axes=")
    if value.dtype.kind == "f" and np.isinf(value).any():
        raise NeuralDataError(f"{file.path}: {variable.name} holds infinity; a response that is missing is NaN")
    return value


def _shown(
    file: ArrayFile,
    variable: Variable,
    options: FileOptions,
    ids: str | Sequence[str] | None,
    axes: tuple[str, ...],
    shape: tuple[int, ...],
) -> tuple[Sequence[str], str]:
    """Which stimulus each row shows, and how that is known."""
    axis = "presentation" if "presentation" in axes else "stimulus"
    n = shape[axes.index(axis)]
    own: Sequence[str] | None
    if options.stimulus is not None:
        own = file.labels(options.stimulus, n, option="stimulus", axis=axis)
    else:
        own = carried_ids(file.path, file.suffix, file.held, variable, n)
    if axis == "stimulus":
        return follow_ids(file.path, n, own, ids)
    listed = read_ids(ids) if isinstance(ids, str) else None if ids is None else tuple(map(str, ids))
    if own is not None and listed is not None and tuple(own) != listed:
        raise NeuralDataError(
            f"{file.path} carries its own stimulus ids ({own[0]!r}, ...), and ids= names others; leave ids out"
        )
    if own is None and listed is None:
        raise NeuralDataError(
            f"{file.path} does not say which stimulus its {n} presentations show; say stimulus=VARIABLE of {n} ids, or "
            "--ids FILE:COLUMN"
        )
    if listed is not None and len(listed) != n:
        raise NeuralDataError(
            f"{file.path} has {n} presentations, but the list has {len(listed)} ids; name one for each presentation"
        )
    return (own, "by stimulus_id") if own is not None else (listed or (), "by order to the list of presentations")


def _neuroids(file: ArrayFile, options: FileOptions, n: int) -> list[str]:
    """Names along the axis of neuroids (of behaviour, choices)."""
    if options.neuroid is None:
        if options.kind == "behaviour":
            raise NeuralDataError(f"{file.path}: say which {n} choices there are by neuroid=VARIABLE of their names")
        return [str(at) for at in range(n)]
    names = file.labels(options.neuroid, n, option="neuroid", axis="neuroid")
    if len(set(names)) < n:
        twice = next(each for each in names if names.count(each) > 1)
        raise NeuralDataError(f"{file.path}: {options.neuroid} names {twice!r} twice; a neuroid has a name of its own")
    return names


def _repetition(
    file: ArrayFile, options: FileOptions, axes: tuple[str, ...], shape: tuple[int, ...]
) -> np.ndarray | None:
    """Repetition of each presentation, where an array of the file says it."""
    if options.repetition is None:
        return None
    if "presentation" not in axes:
        raise NeuralDataError(f"{file.path}: repetition= is of an axis of presentations, and axes= has none")
    values = file.read(file.find(options.repetition)).reshape(-1)
    n = shape[axes.index("presentation")]
    if len(values) != n or values.dtype.kind not in "fiu" or not (values == np.round(values)).all() or values.min() < 0:
        raise NeuralDataError(
            f"{file.path}: {options.repetition} of {len(values)} {values.dtype} is not the repetition of each of {n} "
            "presentations, whole numbers from 0"
        )
    return values.astype(np.int64)


def _bins(file: ArrayFile, options: FileOptions, axes: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray | None:
    """Starts and ends of the time bins, ms; of an array without time the one bin that the user spells."""
    if options.time is None:
        if "time" in axes:
            raise NeuralDataError(
                f"{file.path}: say when the {shape[axes.index('time')]} time bins are: time=VARIABLE (starts or edges "
                "in ms from onset) or time=START:STOP:WIDTH"
            )
        return None
    n = shape[axes.index("time")] if "time" in axes else 1
    try:
        bins = spelt_bins(options.time)
        bins = bins_of(file.read(file.find(options.time)), n) if bins is None else bins
    except ValueError as error:
        raise NeuralDataError(f"{file.path}: time={options.time}: {error}") from None
    if len(bins) != n:
        where = "its axis of time has" if "time" in axes else "axes= names no time, so there is"
        raise NeuralDataError(f"{file.path}: time={options.time} is {len(bins)} bins; {where} {n}")
    return bins


def _whose(
    file: ArrayFile, options: FileOptions, axes: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[dict[str, dict[str, list[str]]], FileOptions]:
    """Regions, animals and sessions that arrays of the file say; what is no such array is the value itself."""
    sizes = {axis: shape[axes.index(axis)] for axis in ("neuroid", "presentation") if axis in axes}
    found: dict[str, dict[str, list[str]]] = {"neuroid": {}, "presentation": {}}
    subject = options.subject[0] if options.subject is not None and len(options.subject) == 1 else None
    told = (
        ("region", "region", options.region),
        ("animal", "subject", subject),
        ("session", "session", options.session),
    )
    for coordinate, option, said in told:
        variable = _named(file, said, option) if said is not None else None
        n = file.entries(variable) if variable is not None else None
        n = 1 if variable is not None and (variable.kind, variable.shape) == ("text", ()) else n
        if said is None or variable is None or n is None:
            continue
        if n == 1:  # one for all
            found["neuroid"][coordinate] = file.labels(said, 1, option=option, axis="neuroid") * sizes["neuroid"]
            options = replace(options, **{option: None})
            continue
        over = [axis for axis, size in sizes.items() if size == n and (axis == "neuroid" or coordinate == "session")]
        if len(over) != 1:
            has = " and ".join(f"{size} {axis}s" for axis, size in sizes.items())
            raise NeuralDataError(
                f"{file.path}: {option}={said} names a variable of {n} values for {has}; "
                + ("which of them, cannot be told" if over else "it has one a neuroid")
            )
        found[over[0]][coordinate] = file.labels(said, n, option=option, axis=over[0])
        options = replace(options, **{option: None})
    return found, options


def _named(file: ArrayFile, said: str, option: str) -> Variable | None:
    """The variable that is named as region, animal or session; None where what is said is the value itself.

    Numbers may be sessions, never regions or animals: an array ``V4`` of rates is no column. What names a part of a
    variable or group of the file is no value.

    Raises
    ------
    NeuralDataError
        If that part is not there (near names are told), or holds numbers.
    """
    variable = file.find(said, missing=None)
    group = said.rpartition("/")[0]
    part = said.partition(".")[0] in file.held or (group and any(each.startswith(f"{group}/") for each in file.held))
    if variable is None and said not in file.held and part:
        file.find(said)
    if variable is None or variable.kind != "numbers" or option == "session":
        return variable
    if part and said != said.partition(".")[0]:
        raise NeuralDataError(f"{file.path}: {option}={said} holds numbers; a {option} is text, name it itself")
    return None
