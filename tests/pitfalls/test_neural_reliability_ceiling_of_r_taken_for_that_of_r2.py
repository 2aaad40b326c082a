"""The reliability bounds r squared; a correlation divided by it, and squared, makes a perfect model twice perfect."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from netphys.neural import average_repetitions
from netphys.neural.quality.ceilings import ceiling, noise_corrected


def test_a_perfect_model_is_perfect_by_both_ceilings_and_by_no_mixture():
    rng = np.random.default_rng(0)
    signal, codes = rng.normal(size=(300, 100)), np.tile(np.arange(300), 6)
    coords = {
        "stimulus_id": ("presentation", codes.astype(str)),
        "neuroid_id": ("neuroid", np.arange(100).astype(str)),
    }
    noisy = signal[codes] + 2.5 * rng.normal(size=(1800, 100))
    assembly = xr.DataArray(noisy, dims=("presentation", "neuroid"), coords=coords)
    _, means = average_repetitions(assembly)
    r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(signal.T, means.T)])
    rho = ceiling(assembly, of="r2")
    assert noise_corrected(r**2, rho, of="r2").mean() == pytest.approx(1.0, abs=0.03)
    assert noise_corrected(r, rho, of="r").mean() == pytest.approx(1.0, abs=0.03)
    assert ((r / rho) ** 2).mean() > 1.8  # the trap
