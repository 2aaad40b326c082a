"""Neurons of two sessions side by side have rows, but no common trials: their noise covariance is a fiction."""

import numpy as np
import pytest
import xarray as xr

from netphys.errors import NeuralDataError
from netphys.neural.operations.averaging import repetitions
from netphys.neural.operations.pooling import pool, require_simultaneous


def session(name, seed):
    """8 neuroids whose noise is common to all of them, correlation 0.5; 20 stimuli, 30 repetitions."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(600, 1)) + rng.normal(size=(600, 8))
    return xr.DataArray(
        values,
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", np.tile([f"s{k}" for k in range(20)], 30)),
            "repetition": ("presentation", np.repeat(np.arange(30), 20)),
            "session": ("presentation", [name] * 600),
            "start_time": ("presentation", np.arange(600.0)),
            "neuroid_id": ("neuroid", [f"{name}-{k}" for k in range(8)]),
        },
    )


def correlations(assembly):
    _, cube = repetitions(assembly)
    return np.corrcoef((cube - cube.mean(axis=0)).reshape(-1, cube.shape[2]).T)


def test_trials_of_a_pseudo_population_taken_for_simultaneous():
    one, other = session("mon", 0), session("tue", 1)
    across = correlations(pool([one, other]))[:8, 8:].mean()
    assert (
        abs(across) < 0.12
    )  # 0.5 if they had been recorded together; here the common noises of two days: 1 / sqrt(600)
    with pytest.raises(NeuralDataError, match=r"recorded together; this is a pseudo-population"):
        require_simultaneous(pool([one, other]), "the noise covariance")
    # control: halves of one session are put together again, and may be asked
    halves = pool([one.isel(neuroid=slice(4)), one.isel(neuroid=slice(4, 8))])
    require_simultaneous(halves, "the noise covariance")
    assert correlations(halves)[:4, 4:].mean() > 0.4
