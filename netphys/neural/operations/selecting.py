"""Which presentations and neuroids? By conditions on coordinates; by stimuli, neuroids, regions, animals, sessions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError, StimulusError, near
from netphys.neural.assemblies import assembly_of, unique_values, unmarked

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from netphys.neural.assemblies import Responses

__all__ = ["coordinates_of", "rows_showing", "rows_where", "select", "where"]


def where(assembly: Responses, *, presentations: str | None = None, neuroids: str | None = None) -> xr.DataArray:
    """Keep the presentations, or neuroids, whose coordinates meet a condition.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]) or (presentation, choice), or NeuralData of one
    presentations : str, optional
        A condition on coordinates of presentations, as ``"variation == 3 and object_name != 'face'"``: the language of
        :meth:`netphys.StimulusSet.where` (columns, values and comparisons; nothing is called).
    neuroids : str, optional
        One on coordinates of neuroids, as ``"region in ['V4', 'IT'] and animal == 'Tito'"``.

    Returns
    -------
    xarray.DataArray
        In the order of the data, with all coordinates and attributes. A coordinate without a dim holds for all.
        ``pseudo_population`` is gone where one recording of a pool is left.

    Raises
    ------
    NeuralDataError
        If a condition is not understood, names no coordinate of that dim, or keeps nothing.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"stimulus_id": ("presentation", ["a", "b"]), "neuroid_id": ("neuroid", ["n1", "n2"]),
    ...           "region": ("neuroid", ["V4", "IT"])}
    >>> both = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], dims=("presentation", "neuroid"), coords=coords)
    >>> where(both, presentations="stimulus_id == 'b'", neuroids="region == 'IT'").item()
    4.0
    """
    chosen = assembly_of(assembly)
    for dim, condition in (("presentation", presentations), ("neuroid", neuroids)):
        if condition is not None:
            chosen = chosen.isel({dim: rows_where(chosen, dim, condition)})
    return unmarked(chosen)


def select(
    assembly: Responses,
    *,
    stimuli: Any = None,
    neuroids: str | Iterable[Any] | None = None,
    regions: str | Iterable[Any] | None = None,
    animals: str | Iterable[Any] | None = None,
    sessions: str | Iterable[Any] | None = None,
) -> xr.DataArray:
    """Keep all presentations of some stimuli, and some neuroids.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or NeuralData of one
    stimuli : StimulusSet, str or iterable of str, optional
        Values of ``stimulus_id``.
    neuroids, regions, animals, sessions : str or iterable of str, optional
        Values of ``neuroid_id``, ``region``, ``animal`` and ``session``; one alone needs no list. A session is one of
        presentations or of neuroids, whichever has the coordinate.

    Returns
    -------
    xarray.DataArray
        In the order of the data, not of the lists (:func:`netphys.neural.match` can order). ``pseudo_population`` is
        gone where one recording of a pool is left.

    Raises
    ------
    NeuralDataError
        If a value is not there (near ones are named), or nothing has all that was asked.
    """
    assembly = assembly_of(assembly)
    asked: Mapping[str, Any] = {
        "stimulus_id": getattr(stimuli, "ids", stimuli),
        "neuroid_id": neuroids,
        "region": regions,
        "animal": animals,
        "session": sessions,
    }
    kept: dict[str, np.ndarray] = {}
    for coordinate, wanted in asked.items():
        if wanted is None:
            continue
        dim, rows = _having(assembly, coordinate, [wanted] if isinstance(wanted, str) else list(wanted))
        if dim is not None:
            kept[dim] = kept[dim] & rows if dim in kept else rows
    empty = next((dim for dim, rows in kept.items() if not rows.any()), None)
    if empty is not None:
        said = ", ".join(f"{name} {_short(value)}" for name, value in asked.items() if value is not None)
        raise NeuralDataError(f"no {empty} has all that was asked ({said})")
    return unmarked(assembly.isel({dim: np.flatnonzero(rows) for dim, rows in kept.items()}))


def coordinates_of(assembly: xr.DataArray, dim: str) -> pd.DataFrame:
    """The flat coordinates of one dim as a table, one row a presentation, neuroid or time bin.

    Parameters
    ----------
    assembly : xarray.DataArray
    dim : str
        ``"presentation"``, ``"neuroid"`` or ``"time_bin"``.

    Returns
    -------
    pandas.DataFrame
        Index 0, 1, ...; coordinates without a dim stand in every row; those of several dims, and a MultiIndex itself
        (its levels are there), are left out.
    """
    import pandas as pd

    n = assembly.sizes[dim]
    levels = getattr(assembly.indexes.get(dim), "nlevels", 1)
    columns = {
        str(name): np.broadcast_to(each.values, (n,))
        for name, each in assembly.coords.items()
        if each.dims in ((), (dim,)) and not (name == dim and levels > 1)
    }
    return pd.DataFrame(columns, index=range(n))


def rows_showing(assembly: xr.DataArray, stimuli: Any, *, what: str) -> np.ndarray:
    """A mask of the presentations of some stimuli, bool (presentation,).

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, ...)
    stimuli : StimulusSet, str or iterable of str
    what : str
        What messages call the list: ``"of="``.

    Raises
    ------
    NeuralDataError
        If a stimulus was never shown, or the list is empty.
    """
    listed = getattr(stimuli, "ids", stimuli)
    wanted = dict.fromkeys(str(each) for each in ([listed] if isinstance(listed, str) else listed))
    shown = np.array([str(each) for each in assembly["stimulus_id"].values.tolist()])
    there = set(shown.tolist())
    unknown = [each for each in wanted if each not in there]
    if not wanted:
        raise NeuralDataError(f"{what}: no stimulus is named")
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        hint = near(unknown[0], sorted(there))
        raise NeuralDataError(f"{what}: the assembly has no stimulus {unknown[0]!r}{more}{hint}")
    return np.isin(shown, list(wanted))


def rows_where(assembly: xr.DataArray, dim: str, condition: str) -> np.ndarray:
    """Positions along a dim that meet a condition, rising; errors as :func:`where`."""
    from netphys.stimuli.conditions import rows_that_meet

    if dim not in assembly.dims:
        raise NeuralDataError(
            f"condition {condition!r} is on {dim}s, which the assembly has not; its dims are "
            f"{' x '.join(map(str, assembly.dims))}"
        )
    table = coordinates_of(assembly, dim)
    for name in _names(condition):
        if name not in table:
            others = [other for other in map(str, assembly.dims) if other != dim and name in assembly.coords]
            elsewhere = next((o for o in others if o in assembly[name].dims), None)
            hint = f"; it is one of {elsewhere}s" if elsewhere else near(name, map(str, table.columns))
            raise NeuralDataError(f"condition {condition!r}: {dim}s have no coordinate {name!r}{hint}")
    try:
        return rows_that_meet(condition, table, name="the assembly")
    except StimulusError as error:  # that room speaks of stimuli
        raise NeuralDataError(str(error).replace("no stimulus of", f"no {dim} of", 1)) from None


def _names(condition: str) -> list[str]:
    """Names of columns in a condition; none where it cannot be read, which is said elsewhere."""
    quoted = re.findall(r"`([^`]*)`", condition)
    try:
        tree = ast.parse(re.sub(r"`[^`]*`", "0", condition.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return []
    plain = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return [*quoted, *plain] if not any(isinstance(node, ast.Call) for node in ast.walk(tree)) else []


def _having(assembly: xr.DataArray, coordinate: str, wanted: list[Any]) -> tuple[str | None, np.ndarray]:
    """Which dim a coordinate lies on (None: it holds for all), and where it has one of the wanted values."""
    if coordinate not in assembly.coords:
        raise NeuralDataError(
            f"the assembly has no coordinate {coordinate!r}{near(coordinate, map(str, assembly.coords))}"
        )
    texts = [str(each) for each in wanted]
    there = unique_values(assembly, coordinate)
    missing = [each for each in dict.fromkeys(texts) if each not in set(there)]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise NeuralDataError(f"the assembly has no {coordinate} {missing[0]!r}{more}{near(missing[0], there)}")
    held = assembly[coordinate]
    if held.ndim > 1:
        raise NeuralDataError(f"{coordinate} lies on {' x '.join(map(str, held.dims))}; one can select by one dim only")
    if held.ndim == 0:
        return None, np.array([True])
    if coordinate in ("region", "animal") and "neuroid" in assembly.dims and held.dims != ("neuroid",):
        raise NeuralDataError(f"{coordinate} lies on {held.dims[0]}s; where(assembly, ...) chooses among those by it")
    return str(held.dims[0]), np.isin(held.values.astype(str), texts)


def _short(wanted: Any) -> str:
    """A few of what was asked."""
    values = [wanted] if isinstance(wanted, str) else [str(each) for each in wanted]
    return ", ".join(repr(each) for each in values[:3]) + (", ..." if len(values) > 3 else "")
