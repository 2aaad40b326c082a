"""The same neuroids on several days: presentations of one session below those of another.

Chronic arrays keep their sites over days. Their sessions become one assembly by ``neuroid_id``; responses drift
between days, so :func:`netphys.neural.z_score` within sessions follows. Neuroids of different sessions that are not
the same belong side by side: :func:`netphys.neural.pool`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.assemblies import PSEUDO, RECORDING, first_presentations, is_pseudo, subjects_of, unique_values
from netphys.neural.operations.averaging import counts_of, fewest_dims, in_order, turns_of
from netphys.neural.operations.side_by_side import filled, require_alike, shared_attributes

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.assemblies import Responses

__all__ = ["stack_sessions"]

_OWN = ("presentation", "neuroid", "neuroid_id", "n_repetitions", "time_bin_start", "time_bin_end")


def stack_sessions(
    assemblies: Sequence[Responses],
    *,
    neuroids: Literal["common", "all"] = "common",
    names: Sequence[str] | None = None,
) -> xr.DataArray:
    """Put the presentations of several sessions of the same neuroids one below another.

    Parameters
    ----------
    assemblies : sequence of xarray.DataArray (presentation, neuroid[, time_bin]), or NeuralData of them
        Of one unit, the same time bins and the same animals; neuroids are joined by ``neuroid_id``, whatever their
        order.
    neuroids : {"common", "all"}
        Those that every session has, or those of any; NaN in sessions that lack them.
    names : sequence of str, optional
        One an assembly: its ``session``. Default: what the assembly says, on presentations, on all neuroids or for
        all.

    Returns
    -------
    xarray.DataArray (presentation, neuroid[, time_bin])
        Neuroids in the order of the first. ``session`` is a coordinate of presentations; ``repetition`` counts on over
        sessions in the order given. Coordinates of presentations that only some have are ``""`` or NaN in the others;
        those of neuroids are kept where all agree.

    Raises
    ------
    NeuralDataError
        If units, time bins or animals differ, no neuroid is common, or an id is twice in a session.
    """
    import xarray as xr

    if neuroids not in ("common", "all"):
        raise NeuralDataError(f"neuroids {neuroids!r} is neither 'common' nor 'all'")
    single = hasattr(assemblies, "coords") or hasattr(assemblies, "assembly")
    parts = [in_order(each) for each in ([assemblies] if single else assemblies)]
    if not parts:
        raise NeuralDataError("stack_sessions needs at least one assembly")
    require_alike(parts)
    if names is not None and len(names) != len(parts):
        raise NeuralDataError(f"{len(names)} names for {len(parts)} assemblies")
    ids = _neuroids(parts, neuroids)
    places = [_places(part, ids) for part in parts]
    values = np.concatenate([_placed(part.values, at, np.nan) for part, at in zip(parts, places)])
    counts = np.concatenate([_placed(counts_of(part), at, 0) for part, at in zip(parts, places)])
    made = xr.DataArray(values, dims=parts[0].dims, attrs=shared_attributes(parts), name=parts[0].name)
    made = made.assign_coords({name: ("presentation", each) for name, each in _presentations(parts, names).items()})
    columns = _agreeing(parts, places, len(ids))
    made = made.assign_coords({"neuroid_id": ("neuroid", np.array(ids))} | {n: ("neuroid", c) for n, c in columns})
    times = {str(name): each for name, each in parts[0].coords.items() if each.dims == ("time_bin",)}
    times |= {name: parts[0][name] for name in _OWN[-2:] if name in parts[0].coords}
    made = made.assign_coords({name: (each.dims, each.values) for name, each in times.items()})
    if any("n_repetitions" in part.coords for part in parts):
        made = made.assign_coords(n_repetitions=fewest_dims(counts, tuple(map(str, made.dims))))
    marked = [part for part in parts if is_pseudo(part)]
    if any(RECORDING not in part.coords for part in marked):  # nothing is known of that part
        made = made.drop_vars(RECORDING, errors="ignore")
    return made.assign_attrs({PSEUDO: 1}) if marked else made


def _neuroids(parts: Sequence[xr.DataArray], neuroids: str) -> list[str]:
    """Ids of the neuroids of the result, after seeing that animals and ids are those of one population."""
    listed = [[str(each) for each in part["neuroid_id"].values] for part in parts]
    animals = [subjects_of(part) for part in parts]
    for number, names in enumerate(listed):
        if len(set(names)) < len(names):
            twice = next(each for each in names if names.count(each) > 1)
            raise NeuralDataError(f"assembly {number} has neuroid_id {twice!r} more than once")
        if animals[number] != animals[0] and set(animals[number]) != set(animals[0]):
            raise NeuralDataError(
                f"assembly 0 is of {', '.join(animals[0]) or 'no animal'}, assembly {number} of "
                f"{', '.join(animals[number]) or 'no animal'}: their neuroids are not the same; pool puts them side by "
                "side"
            )
    if neuroids == "all":
        return list(dict.fromkeys(each for names in listed for each in names))
    shared = set(listed[0]).intersection(*listed[1:])
    if not shared:
        raise NeuralDataError(
            f"the {len(parts)} sessions have no neuroid_id in common (the first is {listed[0][0]!r}, then "
            f"{listed[-1][0]!r}); pool puts other neuroids side by side"
        )
    return [each for each in listed[0] if each in shared]


def _places(part: xr.DataArray, ids: Sequence[str]) -> np.ndarray:
    """Where each neuroid of the result is in an assembly; -1 where it is not."""
    own = {str(each): at for at, each in enumerate(part["neuroid_id"].values)}
    return np.array([own.get(each, -1) for each in ids])


def _placed(values: np.ndarray, at: np.ndarray, filling: float) -> np.ndarray:
    """Neuroids in the order of the result; whole numbers stay whole where none is missing."""
    if (at >= 0).all():
        return values[:, at]
    out = values[:, at].astype(np.result_type(values.dtype, type(filling)))
    out[:, at < 0] = filling
    return out


def _presentations(parts: Sequence[xr.DataArray], names: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Columns of presentations, filled where an assembly lacks one; sessions and repetitions over all."""
    sizes = [part.sizes["presentation"] for part in parts]
    total, starts = sum(sizes), np.cumsum([0, *sizes])
    held = [_columns(part, None if names is None else str(names[at])) for at, part in enumerate(parts)]
    out = {}
    for name in dict.fromkeys(each for columns in held for each in columns):
        values, known = np.full(total, None, dtype=object), np.zeros(total, dtype=bool)
        for columns, start, stop in zip(held, starts, starts[1:]):
            if name in columns:
                values[start:stop], known[start:stop] = columns[name].astype(object), True
        out[name] = filled(values, known, [columns[name].dtype for columns in held if name in columns])
    _, codes = first_presentations(out["stimulus_id"])
    of_part = np.repeat(np.arange(len(parts)), sizes)
    within = np.unique(out.get("repetition", np.zeros(total)), return_inverse=True)[1]
    out["repetition"] = turns_of(of_part * (within.max() + 1) + within, codes)
    return out


def _columns(part: xr.DataArray, session: str | None) -> dict[str, np.ndarray]:
    """Flat coordinates of presentations of one assembly, with its session where it is known."""
    n = part.sizes["presentation"]
    out = {
        str(name): each.values
        for name, each in part.coords.items()
        if each.dims == ("presentation",) and name not in _OWN
    }
    sessions = unique_values(part, "session")
    if session is not None:
        out["session"] = np.full(n, session)
    elif "session" not in out and len(sessions) == 1:
        out["session"] = np.full(n, sessions[0])
    return out


def _agreeing(parts: Sequence[xr.DataArray], places: Sequence[np.ndarray], n: int) -> list[tuple[str, np.ndarray]]:
    """Columns of neuroids in which no two assemblies contradict each other."""
    out = []
    names = dict.fromkeys(
        str(name) for part in parts for name, c in part.coords.items() if c.dims in ((), ("neuroid",))
    )
    for name in names:
        if name in (*_OWN, "session"):
            continue
        values, known, dtypes, agree = np.full(n, None, dtype=object), np.zeros(n, dtype=bool), [], True
        for part, at in zip(parts, places):
            if name not in part.coords or part[name].dims not in ((), ("neuroid",)):
                continue
            column = np.broadcast_to(part[name].values, part.sizes["neuroid"])[at].astype(object)
            old, there = values.copy(), at >= 0
            agree &= not (known & there & ~((old == column) | ((old != old) & (column != column)))).any()
            values[there], known[there] = column[there], True
            dtypes.append(part[name].dtype)
        if agree:
            out.append((name, filled(values, known, dtypes)))
    return out
