"""Sessions and animals as one population, and what that population can no longer say.

Neuroids that were recorded together share their presentations: row t of two of them is one moment. Neuroids of
different sessions or animals share only the stimulus; put side by side, their trials are paired by chance. Such a
pseudo-population has the means, reliabilities and RDMs of a population, but no noise correlations (Averbeck, Latham
and Pouget 2006, Nat Rev Neurosci 7:358). It is marked by the attribute ``pseudo_population``, which
:func:`require_simultaneous` reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.assemblies import (
    PSEUDO,
    RECORDING,
    assembly_of,
    is_pseudo,
    neuroid_keys,
    require_assembly,
    unique_values,
)
from netphys.neural.operations.averaging import from_repetitions, in_order, repetitions, require_trials
from netphys.neural.operations.joining import common_stimuli
from netphys.neural.operations.side_by_side import IDENTITIES, presentation_keys, require_alike, side_by_side
from netphys.seeds import generator

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.assemblies import Responses

__all__ = ["IDENTITIES", "pool", "pseudo_population", "require_simultaneous", "same_presentations"]


def pool(
    assemblies: Sequence[Responses],
    *,
    stimuli: Literal["common", "all"] = "common",
    names: Sequence[str] | None = None,
) -> xr.DataArray:
    """Put the neuroids of several sessions, animals or regions side by side, on the same stimuli.

    Parameters
    ----------
    assemblies : sequence of xarray.DataArray (presentation, neuroid[, time_bin]), or NeuralData of them
        Of one unit and the same time bins.
    stimuli : {"common", "all"}
        Those that every assembly has, or those of any; a neuroid is NaN where it was not shown one.
    names : sequence of str, optional
        One an assembly, put before its neuroids' ids (``NAME/ID``). Default: ids stay as they are where each is once;
        else animal or session, or both, is put before them.

    Returns
    -------
    xarray.DataArray (presentation, neuroid[, time_bin])
        Neuroids in the order given. If all were recorded at once (:func:`same_presentations`), row by row what the
        first assembly was. Otherwise float64, stimuli in the order of the first assembly: repetition r of a stimulus
        stands beside repetition r of every other assembly, NaN where fewer, and the attribute ``pseudo_population``
        is 1: the rows of two neuroids are then unrelated. Rows of the neuroids of one assembly still are its
        presentations; the coordinate ``recording`` says which those neuroids are (``""``: of an assembly that was a
        pseudo-population itself), and :func:`netphys.neural.select` of one recording takes the mark away.
        Coordinates of neuroids that only some have are ``""`` or NaN in the others. Those of presentations are kept
        where they belong to the stimulus and all agree; ``session`` and others that have one value in each assembly
        become coordinates of neuroids; those that change from presentation to presentation are gone (z-score by
        session before pooling). Attributes are kept where all agree; ``identifier`` is joined by ``+``.

    Raises
    ------
    NeuralDataError
        If units or time bins differ, or ids of neuroids cannot be made unique.
    MatchError
        If the assemblies have no stimulus in common and `stimuli` is ``"common"``.
    """
    if stimuli not in ("common", "all"):
        raise NeuralDataError(f"stimuli {stimuli!r} is neither 'common' nor 'all'")
    parts = _parts(assemblies)
    if not parts:
        raise NeuralDataError("pool needs at least one assembly")
    require_alike(parts)
    if names is not None and len(names) != len(parts):
        raise NeuralDataError(f"{len(names)} names for {len(parts)} assemblies")
    ids = common_stimuli(*parts) if stimuli == "common" else _all_stimuli(parts)
    identity = _identity(parts)
    made = side_by_side(parts, ids, names, identity=identity)
    together = len(parts) == 1 or identity is not None
    if together and not any(map(is_pseudo, parts)):
        return made
    recordings = np.array([each for at, part in enumerate(parts) for each in _recordings(part, at, len(parts), names)])
    return made.assign_coords({RECORDING: ("neuroid", recordings)}).assign_attrs({PSEUDO: 1})


def same_presentations(*assemblies: Responses) -> bool:
    """Whether assemblies are parts of one recording: the same showings of the same stimuli.

    True only if the data themselves say so: each has the coordinate ``session`` and one of `IDENTITIES` (an id or the
    time of each presentation) on presentations; session, identity and stimulus name each presentation once, and are
    the same in all, in any order; and animals, where known, are the same one (sessions of two animals may have the
    same name and clock). Equal stimuli and counters of repetition are no evidence: every two sessions of an experiment
    have them.
    """
    return _identity([assembly_of(each) for each in assemblies]) is not None


def pseudo_population(
    assemblies: Responses | Sequence[Responses], n_repetitions: int | None = None, *, seed: int = 0
) -> xr.DataArray:
    """Draw the repetitions of each neuroid and stimulus independently of all other neuroids.

    Parameters
    ----------
    assemblies : xarray.DataArray (presentation, neuroid[, time_bin]), or a sequence of them
        Several are pooled first, on their common stimuli.
    n_repetitions : int, optional
        How many of each stimulus and neuroid, without replacement. Default: the least that any has.
    seed : int
        Makes the draw, of each neuroid by its ``neuroid_id``, with animal and session where neuroids have them: another
        order of neuroids, or more of them, draws the same.

    Returns
    -------
    xarray.DataArray (presentation, neuroid[, time_bin]), float64
        `n_repetitions` rows a stimulus, without NaN rows; attribute ``pseudo_population`` 1. Noise correlations of
        neuroids that were recorded together are destroyed; the distribution of each neuroid's responses is not.

    Raises
    ------
    NeuralDataError
        If a neuroid has fewer repetitions of a stimulus (the message names it), or rows are averages.

    Notes
    -----
    A presentation of a neuroid is one where not all of its time bins are NaN. All its bins are drawn together.
    """
    if n_repetitions is not None and not _is_whole(n_repetitions):
        raise NeuralDataError(f"n_repetitions={n_repetitions!r}: it is a whole number, how many of each to draw")
    parts = [in_order(each) for each in assemblies] if isinstance(assemblies, Sequence) else [in_order(assemblies)]
    for each in parts:
        require_trials(each, "a pseudo-population")
    assembly = pool(parts) if isinstance(assemblies, Sequence) else parts[0]
    ids, cube = repetitions(assembly)
    names = [str(each) for each in assembly["neuroid_id"].values]
    there = ~np.isnan(cube).all(axis=tuple(range(3, cube.ndim)))  # (repetition, stimulus, neuroid)
    counts = there.sum(axis=0)
    n = int(counts.min()) if n_repetitions is None else n_repetitions
    _require_counts(counts, n, ids, names)
    sorted_ids = np.argsort(np.array(ids))  # the draw must not depend on which stimulus came first
    keys = np.empty(there.shape)
    for at, key in enumerate(neuroid_keys(assembly)):
        keys[:, sorted_ids, at] = generator(seed, "pseudo_population", *key).random(there.shape[:2])
    drawn = np.argsort(np.where(there, keys, np.inf), axis=0)[:n]
    index = drawn.reshape(*drawn.shape, *[1] * (cube.ndim - 3))
    made = from_repetitions(np.take_along_axis(cube, index, axis=0), ids, like=assembly)
    return made.drop_vars(RECORDING, errors="ignore").assign_attrs({PSEUDO: 1})


def require_simultaneous(assembly: Responses, what: str) -> None:
    """Refuse data whose neuroids were not recorded together, for what needs the trials of two neuroids to be one.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or NeuralData of one
    what : str
        What needs it, as the subject of the message: ``"the noise covariance"``.

    Raises
    ------
    NeuralDataError
        If the assembly is marked as a pseudo-population, or its neuroids are of several animals, or of several
        sessions (a coordinate of neuroids).
    """
    assembly = assembly_of(assembly)
    require_assembly(assembly, what="the assembly")
    if is_pseudo(assembly):
        known = [each for each in unique_values(assembly, RECORDING) if each]
        raise NeuralDataError(
            f"{what} needs neuroids that were recorded together; this is a pseudo-population ({PSEUDO} = 1), whose "
            "trials are paired by chance: "
            + (
                f'take one recording, where(assembly, neuroids="{RECORDING} == {known[0]!r}")'
                if known
                else "take the data of one session as they were recorded"
            )
        )
    for name in ("animal", "session"):
        values = unique_values(assembly, name)
        if len(values) > 1 and assembly[name].dims == ("neuroid",):
            raise NeuralDataError(
                f"{what} needs neuroids that were recorded together; these are of {len(values)} {name}s "
                f"({', '.join(values[:3])}{', ...' if len(values) > 3 else ''}): take one, select(assembly, "
                f"{name}s={values[0]!r})"
            )


def _parts(assemblies: Sequence[Responses]) -> list[xr.DataArray]:
    """The assemblies to pool; one alone is a list of one."""
    single = hasattr(assemblies, "coords") or hasattr(assemblies, "assembly")
    return [assembly_of(each) for each in ([assemblies] if single else assemblies)]


def _recordings(part: xr.DataArray, at: int, n_parts: int, names: Sequence[str] | None) -> list[str]:
    """Name, for each neuroid of a part, the recording that it is of; "" where that is not known."""
    n = part.sizes["neuroid"]
    name = str(at) if names is None else str(names[at])
    if not is_pseudo(part):
        return [name] * n
    if RECORDING not in part.coords:
        return [""] * n
    inner = np.broadcast_to(part[RECORDING].values, n).astype(str).tolist()
    return inner if n_parts == 1 else [f"{name}/{each}" if each else "" for each in inner]


def _identity(parts: Sequence[xr.DataArray]) -> str | None:
    """The coordinate by which assemblies are seen to hold the same presentations; None: they are not seen to."""
    animals = {each for part in parts for each in unique_values(part, "animal")}
    if len(animals) > 1 or any(is_pseudo(part) or "session" not in part.coords for part in parts):
        return None
    for name in IDENTITIES:
        if not all(name in part.coords and part[name].dims == ("presentation",) for part in parts):
            continue
        keys = [presentation_keys(part, name) for part in parts]
        sets = [set(each) for each in keys if each is not None and len(set(each)) == len(each)]
        if len(sets) == len(parts) and all(each == sets[0] for each in sets):
            return name
    return None


def _all_stimuli(parts: list[xr.DataArray]) -> tuple[str, ...]:
    """Stimuli of any assembly, in the order of first appearance."""
    return tuple(dict.fromkeys(each for part in parts for each in unique_values(part, "stimulus_id")))


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _require_counts(counts: np.ndarray, n: int, ids: Sequence[str], names: Sequence[str]) -> None:
    """Refuse to draw more repetitions than there are, naming the first neuroid and stimulus."""
    if n >= 1 and counts.min() >= n:
        return
    stimulus, neuroid = np.unravel_index(int(counts.argmin()), counts.shape)
    n_short = int((counts < max(n, 1)).any(axis=0).sum())
    raise NeuralDataError(
        f"{n} repetitions cannot be drawn: neuroid {names[int(neuroid)]!r} has {counts[stimulus, neuroid]} of stimulus "
        f"{ids[int(stimulus)]!r} ({n_short} of {len(names)} neuroids have too few); draw from 1 to the least count, or "
        "leave neuroids or stimuli out"
    )
