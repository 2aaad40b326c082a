"""Responses drift from day to day: z-scores of each neuroid within each session, from the presentations one names.

Mean and standard deviation are statistics of data. Taken over all presentations they carry the test stimuli into the
training of whatever follows; `of` (ids of training stimuli) and `where` (a condition, as the blanks between stimuli)
say what they are taken from.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.assemblies import DIMS, assembly_of, first_presentations, require_assembly
from netphys.neural.operations.selecting import rows_showing, rows_where

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.assemblies import Responses

__all__ = ["z_score"]


def z_score(
    assembly: Responses,
    *,
    by: str | None = "session",
    of: Any = None,
    where: str | None = None,
    bins: Literal["each", "together"] = "each",
    ddof: int = 0,
) -> xr.DataArray:
    """Standardise each neuroid within each session.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or NeuralData of one
        NaN: no presentation; left out of the statistics, and NaN in the result.
    by : str, optional
        A coordinate of presentations whose values part them (``"session"``, ``"block"``), or one of neuroids, or one
        that holds for all: a neuroid then has all its presentations in one session. None: all presentations are one.
    of : StimulusSet, str or iterable of str, optional
        Only presentations of these stimuli give the statistics: the training stimuli.
    where : str, optional
        Only presentations that meet this condition do, as ``"object_name == 'blank'"`` (the language of
        :func:`netphys.neural.where`).
    bins : {"each", "together"}
        Whether each time bin has statistics of its own, as decoders want, or all bins of a neuroid the same ones,
        which keeps the shape of its response.
    ddof : int
        Squared deviations are summed and divided by n - `ddof`. 0, as :func:`scipy.stats.zscore`; 1 as MATLAB.

    Returns
    -------
    xarray.DataArray, float64
        Of the same dims, coordinates and attributes; unit ``"sd"``. NaN where a neuroid is constant in a session (a
        warning names such neuroids).

    Raises
    ------
    NeuralDataError
        If there is no such coordinate, a stimulus of `of` was never shown, or a session has no presentation that gives
        statistics.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"stimulus_id": ("presentation", ["a", "b", "a", "b"]), "neuroid_id": ("neuroid", ["n"]),
    ...           "session": ("presentation", ["mon", "mon", "tue", "tue"])}
    >>> drifting = xr.DataArray([[1], [3], [11], [13]], dims=("presentation", "neuroid"), coords=coords)
    >>> z_score(drifting).values.ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    assembly = assembly_of(assembly)
    require_assembly(assembly, what="the assembly")
    if bins not in ("each", "together"):
        raise NeuralDataError(f"bins {bins!r} is neither 'each' nor 'together'")
    ordered = assembly.transpose(*DIMS, *[dim for dim in ("time_bin",) if dim in assembly.dims])
    giving = _giving(ordered, of, where)
    axes = (0, 2) if bins == "together" and ordered.ndim == 3 else (0,)
    values = ordered.values.astype(np.float64)
    out = np.full(values.shape, np.nan)
    constant: list[np.ndarray] = []
    for session, rows in _sessions(ordered, by):
        base = rows[giving[rows]]
        if not base.size:
            raise NeuralDataError(
                f"{by} {session!r} has no presentation that meets of= and where=, so it has no mean and deviation; "
                "choose stimuli or a condition that every one has, or by=None"
            )
        mean, deviation = _statistics(values[base], axes, ddof)
        out[rows] = (values[rows] - mean) / deviation
        recorded = ~np.isnan(values[rows]).all(axis=(0, *axes[1:]), keepdims=True)[0]
        constant.append((np.isnan(deviation[0]) & recorded).reshape(values.shape[1], -1).any(axis=1))
    _warn(ordered, np.logical_or.reduce(constant), by)
    return ordered.copy(data=out).assign_attrs(unit="sd")


def _sessions(ordered: xr.DataArray, by: str | None) -> Iterable[tuple[str, np.ndarray]]:
    """Each session's name, and its presentations."""
    n = ordered.sizes["presentation"]
    if by is not None and by not in ordered.coords:
        raise NeuralDataError(
            f"the assembly has no coordinate {by!r}{near(by, map(str, ordered.coords))}; by=None takes all "
            "presentations as one session"
        )
    if by is None or "presentation" not in ordered[by].dims:
        yield "all", np.arange(n)
        return
    if ordered[by].ndim > 1:
        raise NeuralDataError(f"{by} lies on {' x '.join(map(str, ordered[by].dims))}; sessions are of presentations")
    names, codes = first_presentations(ordered[by].values)
    rows = np.argsort(codes, kind="stable")
    yield from zip(names, np.split(rows, np.searchsorted(codes[rows], np.arange(1, len(names)))))


def _giving(ordered: xr.DataArray, of: Any, where: str | None) -> np.ndarray:
    """A mask of the presentations that give the statistics."""
    giving = np.ones(ordered.sizes["presentation"], dtype=bool)
    if where is not None:
        giving[:] = False
        giving[rows_where(ordered, "presentation", where)] = True
    if of is not None:
        giving &= rows_showing(ordered, of, what="of=")
    return giving


def _statistics(base: np.ndarray, axes: tuple[int, ...], ddof: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation over some axes; NaN deviation where there is no spread or too few numbers."""
    there = ~np.isnan(base)
    n = there.sum(axis=axes, keepdims=True)
    filled = np.where(there, base, 0.0)
    mean = np.divide(filled.sum(axis=axes, keepdims=True), n, out=np.full(n.shape, np.nan), where=n > 0)
    squares = (np.where(there, base - mean, 0.0) ** 2).sum(axis=axes, keepdims=True)
    # by extremes, not by the sum of squares: the mean of equal numbers need not equal them in the last bit
    spread = np.where(there, base, -np.inf).max(axis=axes, keepdims=True) > np.where(there, base, np.inf).min(
        axis=axes, keepdims=True
    )
    return mean, np.sqrt(np.divide(squares, n - ddof, out=np.full(n.shape, np.nan), where=spread & (n > ddof)))


def _warn(ordered: xr.DataArray, constant: np.ndarray, by: str | None) -> None:
    """Name the neuroids that have no z-score, once."""
    if not constant.any():
        return
    names = ordered["neuroid_id"].values[constant].astype(str).tolist()
    some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    where = f"a {by}" if by is not None else "the data"
    told = f"{len(names)} neuroids ({some}) are constant in {where}, or have no presentation that gives statistics"
    warnings.warn(f"{told}; their z-scores there are NaN", UserWarning, stacklevel=3)
