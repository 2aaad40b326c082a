"""A neuroid without a reliability is counted and left out by name; a mean over the others does not hide it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from netphys.neural.quality.ceilings import drop_unreliable
from netphys.neural.quality.reliability import reliability


def test_neuroids_without_a_value_are_said_and_dropped():
    rng = np.random.default_rng(0)
    signal, codes = rng.normal(size=(50, 10)), np.tile(np.arange(50), 4)
    values = signal[codes] + 0.5 * rng.normal(size=(200, 10))
    values[:, 3] = 0.0  # a dead electrode
    values[:, 7] = np.nan  # never recorded
    coords = {
        "stimulus_id": ("presentation", codes.astype(str)),
        "neuroid_id": ("neuroid", np.array(list("abcdefghij"))),
    }
    assembly = xr.DataArray(values, dims=("presentation", "neuroid"), coords=coords)
    found = reliability(assembly)
    assert np.flatnonzero(np.isnan(found.rho)).tolist() == [3, 7]
    assert np.isnan(found.rho.mean())  # numpy's mean says so, too
    assert "10 neuroids" in str(found) and "2 without a value" in str(found)
    kept = drop_unreliable(assembly)
    assert kept["neuroid_id"].values.tolist() == list("abcefgij")
    assert kept.attrs["n_dropped"] == 2 and kept.sizes["neuroid"] == 8
