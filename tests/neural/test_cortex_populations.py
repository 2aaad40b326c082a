"""Populations of the simulated cortex: cells with receptive fields, readouts that tolerate changes of position."""

from __future__ import annotations

import numpy as np
import pytest

import netphys
from netphys.errors import NeuralDataError
from netphys.neural import average_repetitions, simulate_cortex, true_responses
from netphys.neural.cortex.populations import Cells, TolerantReadouts
from netphys.neural.cortex.receptive_fields import ReceptiveFields

N, D = 300, 12
IDS = [f"stimulus {at}" for at in range(N)]
_DRAWS = np.random.default_rng(8)
FEATURES = _DRAWS.normal(size=(N, D))
POSITIONS = _DRAWS.uniform(-1.5, 1.5, size=(N, 2))
FIELDS = ReceptiveFields(np.arange(D) - 6.0, np.arange(D) / 2.0, np.full(D, 0.7), {"frequency": np.arange(D) + 1.0})
QUIET = {"n_subjects": 1, "n_repetitions": 1, "noise": 0.0, "shared": 1.0, "region": "IT"}


def test_cells_are_features_with_their_own_fields():
    assembly = simulate_cortex(FEATURES, IDS, n_neuroids=D, population=Cells(FIELDS), **QUIET)
    scaled = (FEATURES - FEATURES.mean(0)) / FEATURES.std(0)
    which = (assembly["rf_x"].values + 6.0).astype(int)
    assert sorted(which) == list(range(D))  # each once
    np.testing.assert_allclose(assembly.values, scaled[:, which], atol=1e-12)
    np.testing.assert_array_equal(assembly["rf_frequency"].values, which + 1.0)
    twice = simulate_cortex(FEATURES, IDS, n_neuroids=2 * D, population=Cells(FIELDS), **QUIET)
    assert sorted(twice["rf_y"].values * 2.0) == sorted([*range(D), *range(D)])
    assert len(set(twice["neuroid_id"].values)) == 2 * D
    assert true_responses(FEATURES, region="IT", population=Cells(FIELDS)).shape == (N, D)


def test_cells_that_the_stimuli_do_not_drive_are_not_recorded():
    silent = FEATURES.copy()
    silent[:, [2, 5]] = 0.25
    assembly = simulate_cortex(silent, IDS, n_neuroids=10, population=Cells(FIELDS), **QUIET)
    assert sorted(assembly["rf_x"].values + 6.0) == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]
    scaled = (FEATURES - FEATURES.mean(0)) / FEATURES.std(0)
    which = (assembly["rf_x"].values + 6.0).astype(int)
    np.testing.assert_allclose(assembly.values, scaled[:, which], atol=1e-12)  # names and columns go together


def test_tolerant_readouts_have_large_central_fields():
    assembly = simulate_cortex(FEATURES, IDS, n_neuroids=500, population=TolerantReadouts(POSITIONS), **QUIET)
    size = assembly["rf_size"].values
    assert 2.8 <= size.min() < 3.2 and 22.0 < size.max() <= 26.0
    centre = np.hypot(assembly["rf_x"].values, assembly["rf_y"].values)
    assert (centre <= 0.4501 * size).all() and centre.max() > 2.0  # the fovea is inside


def test_the_gain_falls_with_the_distance_of_the_object():
    law = TolerantReadouts(POSITIONS)
    assembly = simulate_cortex(FEATURES, IDS, n_neuroids=400, population=law, **QUIET)
    x, y, size = (assembly[f"rf_{name}"].values for name in ("x", "y", "size"))
    far = np.hypot(POSITIONS[:, :1] - x, POSITIONS[:, 1:] - y) / size
    small = size < 5.0
    strength = np.abs(assembly.values)
    near_by, away = strength[:, small][far[:, small] < 0.2].mean(), strength[:, small][far[:, small] > 0.4].mean()
    assert near_by > 1.8 * away  # exp(-8 far^2) falls from > 0.72 to < 0.28
    large = size > 15.0
    close, off = far[:, large] < 0.06, far[:, large] > 0.1
    assert strength[:, large][close].mean() < 1.15 * strength[:, large][off].mean()  # control: large fields tolerate
    shuffled = np.random.default_rng(0).permutation(N)
    assert strength[shuffled][:, small][far[:, small] < 0.2].mean() < 1.2 * strength[shuffled][:, small].mean()


N_SCENES = 12_000  # ample: 102 coefficients from 6,000 stimuli cost below 0.02 of the score at q = 0.25


@pytest.fixture(scope="module")
def scenes():
    return netphys.load_stimuli(f"world:scenes?n={N_SCENES}&size=32&seed=0")  # latents only, nothing is rendered


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.25, 0.5, 1.0])
def test_latents_and_positions_reach_the_ceiling_of_it_and_permuted_ones_do_not(scenes, shared):
    address = f"world:cortex?repetitions=10&noise=4&subjects=1&neuroids=20&shared={shared}"
    data = netphys.load_neural(address, stimuli=scenes)
    _, means = average_repetitions(data.assembly)
    latents = np.asarray(scenes.get(range(N_SCENES), field="latents"), dtype=np.float64)
    linear = np.column_stack([np.ones(N_SCENES), latents])
    at = scenes.metadata[["x", "y"]].to_numpy(dtype=np.float64) - 0.5
    powers = [at[:, :1] ** a * at[:, 1:] ** b for a in range(3) for b in range(3 - a)]  # a Gaussian gain is smooth
    basis = np.column_stack([linear * power for power in powers])
    rho = data.assembly.attrs["reliability"]
    assert _held_out(basis, means) / rho == pytest.approx(shared, abs=0.03)  # definitions 8
    assert abs(_held_out(basis[np.random.default_rng(0).permutation(N_SCENES)], means)) / rho < 0.02  # control
    assert 0.75 * shared < _held_out(linear, means) / rho < 0.99 * shared  # latents alone lack the tolerance


def _held_out(design: np.ndarray, responses: np.ndarray) -> float:
    """Signed squared correlation of least-squares predictions with the other half of the stimuli."""
    train = np.arange(len(design)) % 2 == 0
    predicted = design[~train] @ np.linalg.lstsq(design[train], responses[train], rcond=1e-8)[0]
    a, b = predicted - predicted.mean(0), responses[~train] - responses[~train].mean(0)
    r = (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return float(np.mean(np.sign(r) * r**2))


def test_mistakes():
    with pytest.raises(NeuralDataError, match=r"there are 11 features and 12 receptive fields"):
        simulate_cortex(FEATURES[:, :11], IDS, population=Cells(FIELDS), **QUIET)
    with pytest.raises(NeuralDataError, match=r"positions \(stimulus, 2\) of 300 stimuli; these have shape \(5, 2\)"):
        simulate_cortex(FEATURES, IDS, population=TolerantReadouts(POSITIONS[:5]), **QUIET)
