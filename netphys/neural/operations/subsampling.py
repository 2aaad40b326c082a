"""How many neuroids does a result need? Populations of fewer, the same number from each animal, drawn with a seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.assemblies import assembly_of, first_presentations, neuroid_keys, require_assembly
from netphys.seeds import generator

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.assemblies import Responses

__all__ = ["population_sizes", "subsample", "subsamples"]


def subsample(
    assembly: Responses, n_neuroids: int, *, by: str | None = None, draw: int = 0, seed: int = 0
) -> xr.DataArray:
    """Draw neuroids without replacement.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or NeuralData of one
    n_neuroids : int
        How many; of each group where `by` says groups.
    by : str, optional
        A coordinate of neuroids (``"animal"``, ``"region"``): `n_neuroids` of each of its values, so that the animal
        with the most neuroids does not speak for all.
    draw : int
        Which of the seed's draws.
    seed : int
        Makes the draws. A draw depends on ids of neuroids (with animal and session where they have them), not on their
        order; fewer neuroids of the same draw are a
        part of more, so that a curve over sizes is not roughened by other neuroids.

    Returns
    -------
    xarray.DataArray (presentation, neuroid[, time_bin])
        Neuroids in the order of the data.

    Raises
    ------
    NeuralDataError
        If a group has fewer neuroids, or there is no such coordinate of neuroids.
    """
    assembly = assembly_of(assembly)
    require_assembly(assembly, what="the assembly")
    if isinstance(n_neuroids, bool) or not isinstance(n_neuroids, int | np.integer):
        raise NeuralDataError(f"n_neuroids={n_neuroids!r}: it is a whole number, how many neuroids to draw")
    keys, ranks = neuroid_keys(assembly), []
    for group, rows in _groups(assembly, by):
        if not 1 <= n_neuroids <= len(rows):
            whose = f" of {by} {group!r}" if by is not None else ""
            raise NeuralDataError(f"{n_neuroids} neuroids cannot be drawn from the {len(rows)}{whose}; draw 1 to that")
        by_id = np.array(sorted(rows.tolist(), key=keys.__getitem__), dtype=np.int64)
        order = generator(seed, "subsample", draw, by or "", group).permutation(len(rows))
        ranks.append(by_id[order[:n_neuroids]])
    return assembly.isel(neuroid=np.sort(np.concatenate(ranks)))


def subsamples(
    assembly: Responses, n_neuroids: int, n_draws: int, *, by: str | None = None, seed: int = 0
) -> Iterator[xr.DataArray]:
    """Draw several populations, one after another; more draws leave the first as they were.

    Parameters
    ----------
    assembly, n_neuroids, by, seed
        As :func:`subsample`.
    n_draws : int
        How many populations.

    Yields
    ------
    xarray.DataArray (presentation, neuroid[, time_bin])
        Draws share neuroids: their spread is not a standard error of the population.
    """
    if n_draws < 1:
        raise NeuralDataError(f"n_draws is at least 1, not {n_draws}")
    assembly = assembly_of(assembly)
    return (subsample(assembly, n_neuroids, by=by, draw=draw, seed=seed) for draw in range(n_draws))


def population_sizes(assembly: Responses, *, by: str | None = None, n_sizes: int = 8) -> tuple[int, ...]:
    """Sizes for a curve over population size, evenly spaced in logarithm, from 1 to the most that every group has.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or NeuralData of one
    by : str, optional
        As in :func:`subsample`.
    n_sizes : int
        How many at most; equal ones are taken once.

    Returns
    -------
    tuple of int
        Rising.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> coords = {"stimulus_id": ("presentation", ["a"]), "neuroid_id": ("neuroid", list("abcdefghijklmnop"))}
    >>> population_sizes(xr.DataArray(np.zeros((1, 16)), dims=("presentation", "neuroid"), coords=coords), n_sizes=5)
    (1, 2, 4, 8, 16)
    """
    assembly = assembly_of(assembly)
    require_assembly(assembly, what="the assembly")
    if n_sizes < 1:
        raise NeuralDataError(f"n_sizes is at least 1, not {n_sizes}")
    most = min(len(rows) for _, rows in _groups(assembly, by))
    return tuple(int(each) for each in np.unique(np.round(np.geomspace(1 if n_sizes > 1 else most, most, n_sizes))))


def _groups(assembly: xr.DataArray, by: str | None) -> list[tuple[str, np.ndarray]]:
    """Each group's name, and its neuroids."""
    n = assembly.sizes["neuroid"]
    if by is None:
        return [("", np.arange(n))]
    if by not in assembly.coords or assembly[by].dims not in ((), ("neuroid",)):
        there = [str(name) for name, each in assembly.coords.items() if each.dims == ("neuroid",)]
        raise NeuralDataError(f"neuroids have no coordinate {by!r}{near(by, there)}")
    names, codes = first_presentations(np.broadcast_to(assembly[by].values, n))
    return [(name, np.flatnonzero(codes == code)) for code, name in enumerate(names)]
