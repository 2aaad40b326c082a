"""Means over repetitions: what every comparison of stimuli starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.assemblies import DIMS, first_presentations, require_assembly

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Float

__all__ = ["average_repetitions"]


def average_repetitions(
    assembly: xr.DataArray,
) -> tuple[tuple[str, ...], Float[np.ndarray, "stimulus neuroid"]]:
    """Average the presentations of each stimulus, over those that are there.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid)
        NaN: no presentation.

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
    require_assembly(assembly, what="the assembly")
    if "time_bin" in assembly.dims:
        raise NeuralDataError(
            f"the assembly has {assembly.sizes['time_bin']} time bins; choose one, assembly.isel(time_bin=0), "
            "or average them"
        )
    ids, codes = first_presentations(assembly["stimulus_id"].values)
    values = assembly.transpose(*DIMS).values.astype(np.float64)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(ids)))
    there = ~np.isnan(values)
    sums = np.add.reduceat(np.where(there, values, 0.0)[order], starts, axis=0)
    counts = np.add.reduceat(there[order].astype(np.int64), starts, axis=0)
    return ids, np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
