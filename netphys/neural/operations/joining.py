"""Data and stimuli are joined by ``stimulus_id``, never by position (definitions: neural data, 1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netphys.errors import MatchError, NeuralDataError, near
from netphys.matching import Match, match_stimuli
from netphys.neural.assemblies import assembly_of, first_presentations, require_assembly

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.assemblies import Responses

__all__ = ["common_stimuli", "match"]


def match(
    assembly: Responses,
    stimulus_ids: Any,
    *,
    order: Literal["data", "given"] = "data",
    partial: bool = False,
    what: str = "the stimuli given",
) -> tuple[xr.DataArray, Match]:
    """Join an assembly with a list of stimuli: of a model, of a stimulus set, of another assembly.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or NeuralData of one
    stimulus_ids : sequence of str, or anything with ``ids`` (StimulusSet), an assembly or NeuralData
        Each once; compared as text.
    order : {"data", "given"}
        The order of the presentations that are returned: as they are in the data, or those of the first id first.
    partial : bool
        Whether stimuli of the data that are not in the list may be left out; the default is an error.
    what : str
        What messages call the list.

    Returns
    -------
    (xarray.DataArray, Match)
        All presentations of the stimuli that both have, and which rows of the list they are: ``match.stimulus_ids``
        and ``match.model_rows`` are in the order of the stimuli's first presentation in the assembly returned (that
        of :func:`netphys.neural.average_repetitions`); ``match.extra`` are stimuli that only the list has,
        ``match.missing`` those that only the data have.

    Raises
    ------
    MatchError
        If stimuli of the data are missing in the list (unless `partial`), none match, or an id is twice in the list;
        the message also names those of the list that were never shown.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"stimulus_id": ("presentation", ["b", "a", "b"]), "neuroid_id": ("neuroid", ["n"])}
    >>> shown = xr.DataArray([[1], [2], [3]], dims=("presentation", "neuroid"), coords=coords)
    >>> both, matched = match(shown, ["a", "b", "c"])
    >>> matched.stimulus_ids, matched.model_rows.tolist(), matched.extra
    (('b', 'a'), [1, 0], ('c',))
    """
    assembly = assembly_of(assembly)
    require_assembly(assembly, what="the assembly", dims=_dims(assembly))
    if order not in ("data", "given"):
        raise NeuralDataError(f"order {order!r} is neither 'data' nor 'given'")
    listed = _listed(stimulus_ids)
    shown, codes = first_presentations(assembly["stimulus_id"].values)
    matched = _matched(listed, shown, what, partial)
    place = np.full(len(shown), -1, dtype=np.int64)
    place[matched.data_rows] = matched.model_rows
    rows = np.flatnonzero(place[codes] >= 0)
    if order == "given":
        rows = rows[np.argsort(place[codes][rows], kind="stable")]
        # the stimuli of the result in its own order, so that rows and ids stay together
        first = np.argsort(matched.model_rows)
        matched = Match(
            tuple(matched.stimulus_ids[at] for at in first),
            matched.model_rows[first],
            matched.data_rows[first],
            matched.extra,
            matched.missing,
        )
    return assembly.isel(presentation=rows), matched


def common_stimuli(*assemblies: Responses | Sequence[str]) -> tuple[str, ...]:
    """Stimuli that all have, in the order of the first.

    Parameters
    ----------
    *assemblies : xarray.DataArray, NeuralData, or sequence of str, or anything with ``ids``
        At least one.

    Returns
    -------
    tuple of str

    Raises
    ------
    MatchError
        If they have no stimulus in common.

    Examples
    --------
    >>> common_stimuli(["a", "b", "c"], ["c", "b"])
    ('b', 'c')
    """
    if not assemblies:
        raise MatchError("common_stimuli needs at least one assembly")
    listed = [_ids(each) for each in assemblies]
    shared = set(listed[0]).intersection(*listed[1:])
    if not shared:
        some = "; ".join(", ".join(repr(each) for each in ids[:2]) + ", ..." for ids in listed[:3])
        raise MatchError(f"the {len(listed)} assemblies have no stimulus in common; they begin with {some}")
    return tuple(each for each in listed[0] if each in shared)


def _listed(stimulus_ids: Any) -> list[str]:
    """Ids of a list, of a stimulus set, or of neural data."""
    if hasattr(stimulus_ids, "coords") or hasattr(stimulus_ids, "stimulus_ids"):
        return list(_ids(stimulus_ids))
    return [str(each) for each in getattr(stimulus_ids, "ids", stimulus_ids)]


def _matched(listed: list[str], shown: tuple[str, ...], what: str, partial: bool) -> Match:
    """Join the two; where that fails for want of stimuli, name also those that were never shown."""
    try:
        return match_stimuli(listed, shown, model=what, partial=partial)
    except MatchError as error:
        never = [each for each in listed if each not in set(shown)]
        if len(set(listed)) < len(listed) or partial or not never or len(never) == len(listed):
            raise
        more = f" and {len(never) - 3} more" if len(never) > 3 else ""
        raise MatchError(
            f"{error}; {len(never)} of {what} were never shown: {', '.join(map(repr, never[:3]))}{more}"
            f"{near(never[0], shown)}; select(assembly, stimuli=...) or partial=True takes some of the stimuli"
        ) from None


def _ids(data: Any) -> tuple[str, ...]:
    """Unique ids of an assembly, neural data or a list."""
    if hasattr(data, "stimulus_ids"):
        return tuple(data.stimulus_ids)
    if hasattr(data, "coords"):
        require_assembly(data, what="an assembly", dims=_dims(data))
        return first_presentations(data["stimulus_id"].values)[0]
    return tuple(dict.fromkeys(str(each) for each in getattr(data, "ids", data)))


def _dims(assembly: xr.DataArray) -> tuple[str, str]:
    """The dims of an assembly of responses, or of behaviour."""
    return ("presentation", "choice") if "choice" in assembly.dims else ("presentation", "neuroid")
