"""Arrays of any layout: axes by name, in any order, become presentation x neuroid [x time_bin]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.neural.assemblies import repetitions_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Layout", "laid_out"]


@dataclass(frozen=True)
class Layout:
    """What the axes of an array are, and what stands along them.

    Attributes
    ----------
    axes : tuple of str
        ``"stimulus"`` or ``"presentation"``, ``"neuroid"``, then ``"repetition"`` and ``"time"`` if there are; in the
        array's order.
    shown : sequence of str
        The stimulus of each row of the axis stimulus or presentation; only presentations may name one twice.
    neuroids : sequence of str
        Names along the axis neuroid: unique.
    repetition : int (presentation), optional
        Of presentations; default, counted for each stimulus from 0.
    presentation_columns, neuroid_columns : mapping of str to sequence
        Further coordinates.
    bins : float64 (time, 2), optional
        Starts and ends in ms from onset; one bin where there is no axis of time.
    behaviour : bool
        What is called neuroid are choices.
    """

    axes: tuple[str, ...]
    shown: Sequence[str]
    neuroids: Sequence[str]
    repetition: np.ndarray | None = None
    presentation_columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    neuroid_columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    bins: np.ndarray | None = None
    behaviour: bool = False


def laid_out(array: np.ndarray, layout: Layout) -> xr.DataArray:
    """Bring an array to presentation x neuroid [x time_bin], one row a presentation.

    Presentations that are NaN throughout never were, and are left out; a stimulus that has one value only keeps its
    row. Rows of an axis of repetitions are ordered by repetition, then by stimulus. Numbers keep their dtype.

    Parameters
    ----------
    array : numpy.ndarray
        Axes as `layout` says.
    layout : Layout

    Returns
    -------
    xarray.DataArray

    Raises
    ------
    ValueError
        If every presentation is left out.

    Examples
    --------
    >>> cube = np.array([[[1.0, np.nan], [2.0, 4.0]]])  # 1 neuroid, 2 stimuli, 2 repetitions
    >>> made = laid_out(cube, Layout(("neuroid", "stimulus", "repetition"), ["a", "b"], ["n0"]))
    >>> made["stimulus_id"].values.tolist(), made.values.ravel().tolist()
    (['a', 'b', 'b'], [1.0, 2.0, 4.0])
    """
    import xarray as xr

    rows = "presentation" if "presentation" in layout.axes else "stimulus"
    ordered = [each for each in ("repetition", rows, "neuroid", "time") if each in layout.axes]
    view = array.transpose([layout.axes.index(each) for each in ordered])
    view = view if "repetition" in layout.axes else view[None]
    repetition, at = _there(view, keep=layout.axes.count("repetition") == 0 and rows == "stimulus")
    values = view[0] if len(at) == view.shape[1] and len(view) == 1 else view[repetition, at]
    if rows == "presentation":
        shown = np.array(layout.shown)[at]
        repetition = repetitions_of(shown) if layout.repetition is None else np.asarray(layout.repetition)[at]
    second = "choice" if layout.behaviour else "neuroid"
    coords: dict[str, Any] = {
        "stimulus_id": ("presentation", np.array(layout.shown)[at]),
        "repetition": ("presentation", repetition),
        **{name: ("presentation", np.array(each)[at]) for name, each in layout.presentation_columns.items()},
        "choice" if layout.behaviour else "neuroid_id": (second, np.array(layout.neuroids)),
        **{name: (second, np.array(each)) for name, each in layout.neuroid_columns.items()},
    }
    dims = ["presentation", second]
    if "time" in layout.axes and values.shape[-1] == 1:
        values = values[..., 0]
    elif "time" in layout.axes:
        dims.append("time_bin")
    if layout.bins is not None:
        for which, edge in zip(("time_bin_start", "time_bin_end"), layout.bins.T):
            coords[which] = ("time_bin", edge) if "time_bin" in dims else edge[0]
    return xr.DataArray(values, dims=dims, coords=coords)


def _there(view: np.ndarray, *, keep: bool) -> tuple[np.ndarray, np.ndarray]:
    """Repetition and row of the presentations that are not NaN throughout (all, where `keep`), by repetition."""
    if view.dtype.kind == "f" and not keep:
        shown = ~np.isnan(view).all(axis=tuple(range(2, view.ndim)))
        if not shown.any():
            raise ValueError("every response is NaN")
    else:
        shown = np.ones(view.shape[:2], dtype=bool)
    repetition, at = np.nonzero(shown)
    return repetition, at
