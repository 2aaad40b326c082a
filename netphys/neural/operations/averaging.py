"""Means over repetitions: what every comparison of stimuli starts from; and repetitions as an axis of their own.

Presentations are grouped by ``stimulus_id`` only; grouping by all coordinates but ``repetition`` would split a
stimulus in two where any other coordinate differs between repetitions (definitions: neural data, 1.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError
from netphys.matching import require_unique
from netphys.neural.assemblies import DIMS, assembly_of, first_presentations, require_assembly

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Float

    from netphys.neural.assemblies import Responses

__all__ = [
    "average",
    "average_repetitions",
    "columns_that_differ",
    "counts_of",
    "cube_of",
    "fewest_dims",
    "from_repetitions",
    "in_order",
    "repetitions",
    "require_trials",
    "turns_of",
]

_WHOLE = 1e-6  # a count written as a number with a point may miss the whole one by rounding


def average_repetitions(
    assembly: Responses,
) -> tuple[tuple[str, ...], Float[np.ndarray, "stimulus neuroid"]]:
    """Average the presentations of each stimulus, over those that are there.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid), or NeuralData of one
        NaN: no presentation. Where it has a coordinate ``n_repetitions``, its rows are averages already, and weigh by
        it, as in :func:`average`.

    Returns
    -------
    (tuple of str, float64 (stimulus, neuroid))
        Ids in the order of their first presentation, and means; NaN where a neuroid was never shown a stimulus.

    Raises
    ------
    NeuralDataError
        If there are several time bins, or no ``stimulus_id``.

    Notes
    -----
    Presentations are grouped by ``stimulus_id`` only; grouping by all coordinates but ``repetition`` would split a
    stimulus in two where any other coordinate differs between repetitions (definitions: neural data, 1.5).
    """
    ordered = in_order(assembly)
    if "time_bin" in ordered.dims:
        raise NeuralDataError(
            f"the assembly has {ordered.sizes['time_bin']} time bins; choose one, assembly.isel(time_bin=0), "
            "or average them"
        )
    ids, codes = first_presentations(ordered["stimulus_id"].values)
    return ids, _means(ordered, codes)[0]


def average(assembly: Responses) -> xr.DataArray:
    """Average the presentations of each stimulus, and keep how many there were.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin])
        NaN: no presentation. Where it has a coordinate ``n_repetitions``, its rows are averages already, and weigh by
        it.

    Returns
    -------
    xarray.DataArray (presentation, neuroid[, time_bin]), float64
        One row a stimulus, in the order of their first presentation. The coordinate ``n_repetitions`` (int64) says how
        many presentations are in each mean: one number a stimulus, or (presentation, neuroid) where neuroids differ,
        and time bins, too, where they do. Coordinates that are the same in all presentations of each stimulus are
        kept; ``repetition`` and others that differ are not.

    Notes
    -----
    The variance of a mean is that of a trial divided by ``n_repetitions``; whoever pools stimuli or neuroids with
    unequal counts needs them.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"stimulus_id": ("presentation", ["a", "b", "a"]), "neuroid_id": ("neuroid", ["n"])}
    >>> means = average(xr.DataArray([[1], [5], [2]], dims=("presentation", "neuroid"), coords=coords))
    >>> means.values.ravel().tolist(), means["n_repetitions"].values.tolist()
    ([1.5, 5.0], [2, 1])
    """
    import xarray as xr

    ordered = in_order(assembly)
    _, codes = first_presentations(ordered["stimulus_id"].values)
    means, counts, first = _means(ordered, codes)
    kept = ordered.isel(presentation=first).drop_vars(columns_that_differ(ordered, codes, first))
    made = xr.DataArray(means, dims=kept.dims, coords=kept.coords, attrs=kept.attrs, name=kept.name)
    return made.assign_coords(n_repetitions=fewest_dims(counts, made.dims))


def _means(ordered: xr.DataArray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and numbers of presentations of each stimulus, and the row of its first one."""
    values = ordered.values.astype(np.float64)
    weights = counts_of(ordered)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(codes.max() + 1))
    sums = np.add.reduceat(np.where(weights > 0, values, 0.0)[order] * weights[order], starts, axis=0)
    counts = np.add.reduceat(weights[order], starts, axis=0)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means, counts, order[starts]


def repetitions(assembly: Responses) -> tuple[tuple[str, ...], Float[np.ndarray, "repetition stimulus neuroid"]]:
    """Give repetitions an axis of their own: the cube R x n x P that reliability and resampling work on.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin])

    Returns
    -------
    (tuple of str, float64 (repetition, stimulus, neuroid[, time_bin]))
        Ids in the order of their first presentation, and responses; NaN where a stimulus was shown less often. The
        presentations of a stimulus stand in the order of the coordinate ``repetition`` (without it, of the rows),
        counted from 0 without gaps: R is the largest number of presentations of a stimulus.

    Raises
    ------
    NeuralDataError
        If it is no assembly, or its rows are averages (``n_repetitions`` above 1).
    """
    ordered = in_order(assembly)
    require_trials(ordered, "an axis of repetitions")
    return cube_of(ordered)


def cube_of(
    ordered: xr.DataArray,
) -> tuple[tuple[str, ...], Float[np.ndarray, "repetition stimulus neuroid"]]:
    """Give rows an axis of their own, as :func:`repetitions`, whatever they are: averages, too."""
    ids, codes = first_presentations(ordered["stimulus_id"].values)
    turn = _turns(ordered, codes)
    cube = np.full((int(turn.max()) + 1, len(ids), *ordered.shape[1:]), np.nan)
    cube[turn, codes] = ordered.values
    return ids, cube


def from_repetitions(
    cube: Float[np.ndarray, "repetition stimulus neuroid"], stimulus_ids: Sequence[object], *, like: Responses
) -> xr.DataArray:
    """Turn a cube of repetitions back into an assembly, one row a presentation.

    Parameters
    ----------
    cube : float (repetition, stimulus, neuroid[, time_bin])
        NaN where there was no presentation; a presentation that no neuroid has gets no row.
    stimulus_ids : sequence of str
        One a stimulus of the cube, each once.
    like : xarray.DataArray (presentation, neuroid[, time_bin])
        Has the neuroids and time bins of the cube: their coordinates, the attributes and those columns of stimuli that
        are the same in all presentations of each stimulus are taken from it.

    Returns
    -------
    xarray.DataArray (presentation, neuroid[, time_bin])
        All stimuli of repetition 0, then of 1, ...

    Raises
    ------
    NeuralDataError
        If shapes or stimuli differ.
    """
    import xarray as xr

    ordered = in_order(like)
    names = require_unique(stimulus_ids, what="the cube")
    values = np.asarray(cube, dtype=np.float64)
    if values.shape[1:] != (len(names), *ordered.shape[1:]):
        raise NeuralDataError(
            f"the cube has shape {values.shape}; for {len(names)} stimuli and an assembly of shape {ordered.shape} it "
            f"is (repetition, {', '.join(map(str, (len(names), *ordered.shape[1:])))})"
        )
    known, codes = first_presentations(ordered["stimulus_id"].values)
    place = {each: at for at, each in enumerate(known)}
    absent = [each for each in names if each not in place]
    if absent:
        raise NeuralDataError(f"{len(absent)} stimuli of the cube are not in the assembly it is like: {absent[0]!r}")
    first = np.unique(codes, return_index=True)[1]
    turn, stimulus = np.nonzero(~np.isnan(values).all(axis=tuple(range(2, values.ndim))))
    rows = first[[place[each] for each in names]][stimulus]
    bare = ordered.isel(presentation=rows).drop_vars(columns_that_differ(ordered, codes, first))
    made = xr.DataArray(values[turn, stimulus], dims=bare.dims, coords=bare.coords, attrs=bare.attrs, name=bare.name)
    return made.assign_coords(repetition=("presentation", turn.astype(np.int64)))


def in_order(assembly: Responses) -> xr.DataArray:
    """Dims in the order of an assembly, after seeing that it is one; a MultiIndex becomes the coordinates it is of."""
    assembly = assembly_of(assembly)
    require_assembly(assembly, what="the assembly")
    nested = [dim for dim in map(str, assembly.dims) if getattr(assembly.indexes.get(dim), "nlevels", 1) > 1]
    flat = assembly.reset_index(nested) if nested else assembly
    return flat.transpose(*DIMS, *[dim for dim in ("time_bin",) if dim in assembly.dims])


def require_trials(assembly: xr.DataArray, what: str) -> None:
    """Refuse averages for what needs every presentation a row; `what` is the subject of the message."""
    if "n_repetitions" not in assembly.coords:
        return
    most = float(np.nanmax(assembly["n_repetitions"].values.astype(np.float64), initial=0.0))
    if most > 1 + _WHOLE:
        raise NeuralDataError(
            f"{what} needs every presentation a row; these rows are means of up to {most:g} presentations "
            "(n_repetitions): take the data before averaging"
        )


def counts_of(assembly: xr.DataArray) -> np.ndarray:
    """How many presentations each number of an assembly stands for, int64 of its shape; 0 where it is NaN.

    Raises
    ------
    NeuralDataError
        If ``n_repetitions`` is no whole number, or below 1, where there is a response.
    """
    there = (~np.isnan(assembly.values)).astype(np.int64)
    if "n_repetitions" not in assembly.coords:
        return there
    held = assembly["n_repetitions"].broadcast_like(assembly).transpose(*assembly.dims).values
    if held.dtype.kind not in "fiub":
        raise NeuralDataError(f"n_repetitions is {held.dtype}; it is how many presentations are in each mean")
    held = np.where(there > 0, held, 0).astype(np.float64)
    whole = np.round(np.where(np.isfinite(held), held, 0.0))
    odd = (there > 0) & ~((np.abs(held - whole) <= _WHOLE) & (whole >= 1))
    if odd.any():
        at = np.unravel_index(int(np.argmax(odd)), odd.shape)
        raise NeuralDataError(
            f"n_repetitions is {held[at]:g} where presentation {at[0]} has a response; it is how many presentations "
            "are in each mean, a whole number from 1"
        )
    return whole.astype(np.int64)


def _turns(ordered: xr.DataArray, codes: np.ndarray) -> np.ndarray:
    """Count, for every presentation, how many of its stimulus come before it; by ``repetition`` where there is one."""
    held = ordered.coords.get("repetition")
    said = held.values if held is not None and held.dims == ("presentation",) else np.zeros(len(codes), dtype=np.int64)
    return turns_of(said, codes)


def turns_of(said: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Count repetitions of each code from 0 without gaps (int64), in the order of `said`, then of the rows."""
    order = np.lexsort((said, codes))  # stable: rows of one repetition stay in their order
    starts = np.searchsorted(codes[order], codes[order])
    turn = np.empty(len(codes), dtype=np.int64)
    turn[order] = np.arange(len(codes)) - starts
    return turn


def columns_that_differ(ordered: xr.DataArray, codes: np.ndarray, first: np.ndarray) -> list[str]:
    """Coordinates along presentations that are not the same in all presentations of each stimulus.

    `first` is a row of each stimulus, by code. The counts and ``repetition`` belong to presentations, whatever they
    say.
    """
    out = []
    for name, each in ordered.coords.items():
        if "presentation" not in each.dims or name == "stimulus_id":
            continue
        if name in ("repetition", "n_repetitions") or not _same(each.values[first][codes], each.values):
            out.append(str(name))
    return out


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays hold the same, NaN equal to NaN."""
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def fewest_dims(counts: np.ndarray, dims: tuple[str, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """Counts without the axes along which they never differ; that of presentations stays."""
    kept = list(dims)
    for dim in reversed(dims[1:]):
        axis = kept.index(dim)
        if (counts == np.take(counts, [0], axis=axis)).all():
            counts, kept = np.take(counts, 0, axis=axis), [each for each in kept if each != dim]
    return tuple(kept), counts
