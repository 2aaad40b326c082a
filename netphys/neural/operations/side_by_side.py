"""How neuroids of several assemblies come to stand in one: rows, coordinates, ids and attributes of the pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.assemblies import DIMS, behind_identity, first_presentations, require_assembly, unique_values
from netphys.neural.operations.averaging import columns_that_differ, counts_of, cube_of, fewest_dims, in_order

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["IDENTITIES", "filled", "presentation_keys", "require_alike", "shared_attributes", "side_by_side"]

IDENTITIES = (
    "presentation_id",
    "trial_id",
    "trial",
    "start_time",
    "onset",
    "presentation_time",
)  # which showing it was
_OWN = ("stimulus_id", "repetition", "n_repetitions")
_TIMES = ("time_bin_start", "time_bin_end")


def require_alike(parts: Sequence[xr.DataArray]) -> None:
    """Refuse assemblies of different units or time bins: their numbers do not belong into one array."""
    for number, part in enumerate(parts):
        require_assembly(part, what=f"assembly {number}")
        mine, first = part.attrs.get("unit"), parts[0].attrs.get("unit")
        if mine != first:
            raise NeuralDataError(
                f"assembly 0 is in {first or 'no unit'!r}, assembly {number} in {mine or 'no unit'!r}; make them alike "
                "by in_unit(assembly, 'rate'), or set attrs['unit']"
            )
        if _bins(part) != _bins(parts[0]):
            raise NeuralDataError(
                f"assembly 0 has {_said(parts[0])}, assembly {number} {_said(part)}; cut the same window or bins first"
            )


def presentation_keys(part: xr.DataArray, identity: str) -> list[tuple[Any, ...]] | None:
    """Session, identity and stimulus of every presentation; None where one of them is not known.

    Parameters
    ----------
    part : xarray.DataArray (presentation, neuroid[, time_bin])
        With the coordinate ``session``.
    identity : str
        A coordinate of presentations: an id, or a time.
    """
    sessions = unique_values(part, "session")
    if part["session"].dims == ("presentation",):
        each_session = part["session"].values.astype(str).tolist()
    elif len(sessions) == 1:  # of all neuroids, or of all
        each_session = list(sessions) * part.sizes["presentation"]
    else:
        return None
    named = part[identity].values.tolist()
    if any(each != each for each in named) or "" in (*named, *each_session):  # NaN and "": not known
        return None
    return list(zip(each_session, named, part["stimulus_id"].values.astype(str).tolist()))


def side_by_side(
    parts: Sequence[xr.DataArray], ids: Sequence[str], names: Sequence[str] | None, *, identity: str | None = None
) -> xr.DataArray:
    """Put the neuroids of assemblies side by side.

    Parameters
    ----------
    parts : sequence of xarray.DataArray
        Alike (:func:`require_alike`).
    ids : sequence of str
        The stimuli of the result, in order.
    names : sequence of str, optional
        Prefixes of the neuroids' ids.
    identity : str, optional
        The coordinate that names a presentation within its session, where all parts have the same presentations.
        None: repetitions are aligned by their counter.
    """
    import xarray as xr

    ordered = [in_order(each) for each in parts]
    if identity is not None or len(ordered) == 1:
        values, counts, shown = _by_identity(ordered, ids, identity)
    else:
        values, counts, shown = _by_counter(ordered, ids)
    dims = (*DIMS, "time_bin") if values.ndim == 3 else DIMS
    made = xr.DataArray(values, dims=dims, attrs=shared_attributes(parts), name=parts[0].name)
    made = made.assign_coords({name: ("presentation", column) for name, column in shown.items()})
    made = made.assign_coords({name: ("neuroid", column) for name, column in _neuroids(ordered, shown, names).items()})
    times = {str(name): each for name, each in ordered[0].coords.items() if each.dims == ("time_bin",)}
    times |= {name: ordered[0][name] for name in _TIMES if name in ordered[0].coords}
    made = made.assign_coords({name: (each.dims, each.values) for name, each in times.items()})
    if any("n_repetitions" in each.coords for each in parts):
        made = made.assign_coords(n_repetitions=fewest_dims(counts, dims))
    return made


def _by_counter(parts: list[xr.DataArray], ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Values, counts and columns of presentations, repetition r of one assembly beside r of the others."""
    cubes = [_cube(part, ids) for part in parts]
    n = max(len(values) for values, _ in cubes)
    values = np.concatenate([_padded(each, n, np.nan) for each, _ in cubes], axis=2)
    counts = np.concatenate([_padded(each, n, 0) for _, each in cubes], axis=2)
    turn, stimulus = np.nonzero(~np.isnan(values).all(axis=tuple(range(2, values.ndim))))
    shown = {"stimulus_id": np.array(ids)[stimulus], "repetition": turn.astype(np.int64)}
    shown |= {name: column[stimulus] for name, column in _stimulus_columns(parts, ids).items()}
    return values[turn, stimulus], counts[turn, stimulus], shown


def _cube(part: xr.DataArray, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Responses, and counts, of the stimuli wanted: (repetition, stimulus, neuroid[, time_bin])."""
    own, cube = cube_of(part)
    _, counts = cube_of(part.copy(data=counts_of(part)))
    place = {each: at for at, each in enumerate(own)}
    at = np.array([place.get(each, -1) for each in ids])
    missing = at < 0
    cube, counts = cube[:, at], np.nan_to_num(counts[:, at]).astype(np.int64)
    cube[:, missing], counts[:, missing] = np.nan, 0
    return cube, counts


def _padded(cube: np.ndarray, n: int, filling: float) -> np.ndarray:
    """A cube with n repetitions."""
    return np.concatenate([cube, np.full((n - len(cube), *cube.shape[1:]), filling, dtype=cube.dtype)])


def _by_identity(
    parts: list[xr.DataArray], ids: Sequence[str], identity: str | None
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The same, row by row what it was in the first assembly; the others' rows are found by identity."""
    kept = np.flatnonzero(np.isin(parts[0]["stimulus_id"].values.astype(str), list(ids)))
    rows = [kept]
    if identity is not None:
        keys = [presentation_keys(part, identity) or [] for part in parts]
        places = [{key: row for row, key in enumerate(mine)} for mine in keys[1:]]
        rows += [np.array([place[keys[0][row]] for row in kept], dtype=np.int64) for place in places]
    shown: dict[str, np.ndarray] = {}
    for part, order in zip(parts, rows):
        for coordinate, each in part.coords.items():
            if each.dims == ("presentation",) and coordinate not in ("presentation", "n_repetitions"):
                shown.setdefault(str(coordinate), each.values[order])
    values = np.concatenate([part.values[order] for part, order in zip(parts, rows)], axis=1)
    counts = np.concatenate([counts_of(part)[order] for part, order in zip(parts, rows)], axis=1)
    return values, counts, shown


def _stimulus_columns(parts: list[xr.DataArray], ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns that belong to stimuli: the same in all presentations of each, and in all assemblies that have them."""
    place = {each: at for at, each in enumerate(ids)}
    out = {}
    for name in _names(parts, "presentation"):
        held = [part for part in parts if name in part.coords and part[name].dims == ("presentation",)]
        columns = [_by_stimulus(part, name, place) for part in held]
        if name not in (*_OWN, *IDENTITIES, "session", "presentation") and all(each is not None for each in columns):
            merged = _merged([each for each in columns if each is not None], len(ids))
            if merged is not None:
                out[name] = merged
    return out


def _by_stimulus(part: xr.DataArray, name: str, place: dict[str, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Which stimuli have a value, and the values; None where it differs between presentations of a stimulus."""
    shown, codes = first_presentations(part["stimulus_id"].values)
    first = np.unique(codes, return_index=True)[1]
    if name in columns_that_differ(part, codes, first):
        return None
    at = np.array([place.get(each, -1) for each in shown])
    return at[at >= 0], part[name].values[first][at >= 0]


def _merged(columns: list[tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray | None:
    """One column of several, filled where none has a value; None where two contradict each other."""
    out, known = np.full(n, None, dtype=object), np.zeros(n, dtype=bool)
    for at, values in columns:
        new, old = values.astype(object), out[at]
        if (known[at] & ~((new == old) | ((new != new) & (old != old)))).any():
            return None
        out[at], known[at] = new, True
    return filled(out, known, [values.dtype for _, values in columns])


def _neuroids(
    parts: list[xr.DataArray], shown: dict[str, np.ndarray], names: Sequence[str] | None
) -> dict[str, np.ndarray]:
    """Columns of neuroids; of those that hold for a whole assembly, the ones in which assemblies may differ."""
    n = sum(part.sizes["neuroid"] for part in parts)
    out: dict[str, np.ndarray] = {}
    for name in dict.fromkeys([*_names(parts, "neuroid"), *_names(parts, None), *_names(parts, "presentation")]):
        if name in shown or name in ("neuroid", "presentation", *_OWN, *_TIMES):
            continue
        values, known, dtypes, start = np.full(n, None, dtype=object), np.zeros(n, dtype=bool), [], 0
        for part in parts:
            stop = start + part.sizes["neuroid"]
            column = _of_neuroids(part, name)
            if column is not None:
                values[start:stop], known[start:stop] = column.astype(object), True
                dtypes.append(column.dtype)
            start = stop
        if known.any():
            out[name] = filled(values, known, dtypes)
    out["neuroid_id"] = _unique_ids(out, parts, names)
    return out


def _of_neuroids(part: xr.DataArray, name: str) -> np.ndarray | None:
    """A coordinate as one value a neuroid; None where it has none, or presentations have several."""
    if name not in part.coords or part[name].ndim > 1:
        return None
    if part[name].dims == ("presentation",):
        single = len(unique_values(part, name)) == 1
        return np.repeat(part[name].values[:1], part.sizes["neuroid"]) if single else None
    return np.broadcast_to(part[name].values, part.sizes["neuroid"]) if part[name].dims != ("time_bin",) else None


def _unique_ids(columns: dict[str, np.ndarray], parts: list[xr.DataArray], names: Sequence[str] | None) -> np.ndarray:
    """Ids of neuroids, each once: as they are, or behind the names given, or behind animal and session."""
    ids = columns["neuroid_id"].astype(str)
    if names is not None:
        named = np.repeat(np.array([str(each) for each in names]), [part.sizes["neuroid"] for part in parts])
        ids = _behind([named], ids)
    elif not _unique(ids):
        alone = behind_identity(ids, columns)
        ids = ids if alone is None else alone
    if not _unique(ids):
        twice = [each for each, count in Counter(ids.tolist()).items() if count > 1]
        raise NeuralDataError(
            f"{len(twice)} neuroid_ids are in the pool more than once, also with animal and session before them: "
            f"{', '.join(repr(each) for each in twice[:3])}; give names=, one an assembly, to put before them"
        )
    return ids


def _behind(prefixes: Iterable[np.ndarray], ids: np.ndarray) -> np.ndarray:
    return np.array(["/".join(each) for each in zip(*prefixes, ids)])


def _unique(ids: np.ndarray) -> bool:
    return len(set(ids.tolist())) == len(ids)


def filled(values: np.ndarray, known: np.ndarray, dtypes: Sequence[np.dtype]) -> np.ndarray:
    """A column of objects as text or numbers; what is not known is ``""`` or NaN."""
    kinds = {dtype.kind for dtype in dtypes}
    if kinds <= set("fiub"):
        if known.all():
            return values.astype(np.result_type(*dtypes))
        return np.where(known, values, np.nan).astype(np.float64)
    if len(kinds) == 1 and kinds <= set("mM"):
        return np.where(known, values, np.array("NaT", dtype=dtypes[0])).astype(dtypes[0])
    return np.array([str(each) if there else "" for each, there in zip(values, known)])


def _names(parts: Sequence[xr.DataArray], dim: str | None) -> list[str]:
    """Names of coordinates on one dim (None: on none) in any of the assemblies, in order of appearance."""
    wanted = () if dim is None else (dim,)
    return list(dict.fromkeys(str(name) for part in parts for name, c in part.coords.items() if c.dims == wanted))


def shared_attributes(parts: Sequence[xr.DataArray]) -> dict[str, Any]:
    """Attributes that all share; identifiers joined."""
    out = {
        key: value
        for key, value in parts[0].attrs.items()
        if all(key in part.attrs and _equal(part.attrs[key], value) for part in parts)
    }
    identifiers = dict.fromkeys(str(part.attrs["identifier"]) for part in parts if "identifier" in part.attrs)
    return {**out, "identifier": "+".join(identifiers)} if identifiers else out


def _equal(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b))


def _bins(part: xr.DataArray) -> tuple[Any, ...]:
    """What must be the same of time: how many bins, and their edges where known."""
    edges = [
        np.round(np.atleast_1d(part[name].values).astype(float), 6).tolist() for name in _TIMES if name in part.coords
    ]
    return (part.sizes.get("time_bin"), edges)


def _said(part: xr.DataArray) -> str:
    """The time bins of an assembly, in words."""
    n, edges = part.sizes.get("time_bin", 1), _bins(part)[1]
    span = f" from {edges[0][0]:g} to {edges[1][-1]:g} ms" if len(edges) == 2 else " of unknown times"
    return f"{n} time bin{'s' * (n != 1)}{span}"
