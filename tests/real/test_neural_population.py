"""Cowley et al. 2023, macaque V4: neurons recorded together share noise, and a pseudo-population of them does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netphys.neural import load_neural
from netphys.neural.operations.averaging import average, repetitions
from netphys.neural.operations.pooling import pool, pseudo_population
from netphys.neural.operations.subsampling import subsample

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def v4(unpacked: Callable[[str], Path]):
    folder = unpacked("v4_cowley")
    address = f"{folder / 'responses.npz'}?variable=trials_210325&kind=responses&axes=neuroid,stimulus,repetition"
    return load_neural(address, ids=f"{folder / 'images_210325' / 'metadata.csv'}:file").assembly


def noise_correlation(assembly) -> float:
    """Mean correlation of two neurons' deviations from their means."""
    _, cube = repetitions(assembly)
    residual = (cube - np.nanmean(cube, axis=0)).reshape(-1, cube.shape[2])
    residual = residual[~np.isnan(residual).any(axis=1)]
    return float(np.corrcoef(residual.T)[np.triu_indices(cube.shape[2], 1)].mean())


def test_noise_correlations_of_v4_and_of_a_pseudo_population_of_it(v4):
    found = pseudo_population(v4)
    assert found.shape == (6 * 640, 50)
    # measured .0316 and .0002; 1225 pairs of 3840 residuals: a standard error below .001
    assert 0.028 < noise_correlation(v4) < 0.035
    assert abs(noise_correlation(found)) < 0.002


def test_counts_of_presentations_are_kept(v4):
    means = average(v4)
    assert means["n_repetitions"].dims == ("presentation",)  # the same for all neurons
    assert means["n_repetitions"].min() == 6 and means["n_repetitions"].max() == 10
    assert means["n_repetitions"].sum() == v4.sizes["presentation"]


def test_halves_of_the_population_put_together_again(v4):
    half = subsample(v4, 25, seed=1)
    rest = v4.isel(neuroid=~np.isin(v4["neuroid_id"].values, half["neuroid_id"].values))
    whole = pool([half, rest])
    assert whole.attrs["pseudo_population"] == 1  # the file names no presentation, so nobody can tell
    _, cube = repetitions(v4.isel(neuroid=np.argsort(v4["neuroid_id"].values)))
    _, again = repetitions(whole.isel(neuroid=np.argsort(whole["neuroid_id"].values)))
    np.testing.assert_array_equal(again, cube)
