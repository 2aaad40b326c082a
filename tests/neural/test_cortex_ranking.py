"""The true layer of a simulated region wins against its neighbours, and its score is the shared share."""

from __future__ import annotations

import numpy as np
import pytest

import netphys
from netphys.neural import average_repetitions, simulate_cortex
from netphys.neural.cortex.populations import Cells, TolerantReadouts
from netphys.neural.cortex.v1 import V1Bank, contrast_of
from netphys.neural.cortex.v4 import V4Bank, energy_maps

pytestmark = pytest.mark.slow  # 400 scenes are rendered and shown to four banks and two networks

N, N_DRAWS = 400, 100
TRAIN = np.arange(N) % 2 == 0
PENALTIES = 10.0 ** np.arange(-3, 3)  # in units of the mean eigenvalue of the training Gram matrix


@pytest.fixture(scope="module")
def layers() -> dict[str, np.ndarray]:
    """The three true layers and what is near them, (stimulus, feature) each."""
    scenes = netphys.load_stimuli(f"world:scenes?n={N}&size=64&seed=0")
    contrast = contrast_of(np.asarray(scenes.images(range(N))))
    bank, other = V1Bank.sampled(64, 64), V1Bank.sampled(64, 64, seed=1)
    found = {
        "V1": bank.respond(contrast),
        "V1, simple cells": bank.respond(contrast, "simple"),
        "V1, not normalised": bank.respond(contrast, normalise=False),
        "V1, another seed": other.respond(contrast),
        "V4": V4Bank.sampled(64, 64).respond(contrast),
        "V4, another seed": V4Bank.sampled(64, 64, seed=1).respond(contrast),
        "energy maps": energy_maps(contrast).reshape(N, -1),
        "pixels": contrast.reshape(N, -1),
        "IT": np.asarray(scenes.get(range(N), field="latents"), dtype=np.float64),
        "IT, other scenes": np.asarray(
            netphys.load_stimuli(f"world:scenes?n={N}&size=64&seed=1").get(range(N), field="latents"), dtype=np.float64
        ),
        "positions": (scenes.metadata[["x", "y"]].to_numpy(dtype=np.float64) - 0.5) * 4.0,
    }
    for address, layer in (("netphys:gabor_energy", "energy"), ("netphys:small_alexnet?width=32", "pool2")):
        network = netphys.load_network(address)
        recording = netphys.record(network, scenes, layers=[layer])
        found[f"{address} {layer}"] = np.asarray(recording[layer]).reshape(N, -1)
    return found


REGIONS = {
    "V1": ("V1, simple cells", "V1, not normalised", "V1, another seed", "V4", "energy maps", "pixels"),
    "V4": ("V1", "V1, simple cells", "V1, not normalised", "V4, another seed", "energy maps", "pixels"),
    "IT": ("V1", "V1, simple cells", "V4", "energy maps", "pixels", "IT, other scenes"),
}
NETWORKS = ("netphys:gabor_energy energy", "netphys:small_alexnet?width=32 pool2")


@pytest.mark.parametrize("region", REGIONS)
def test_the_true_layer_wins_against_eight_neighbours(layers, region):
    names = (region, *REGIONS[region], *NETWORKS)
    assert len(names) == 9
    fits = [_Ridge(layers[name]) for name in names]
    scores = np.array([[fit.score(means) for fit in fits] for means in _draws(layers, region)])
    wins = int((scores.argmax(axis=1) == 0).sum())
    assert wins >= 0.95 * N_DRAWS, dict(zip(names, scores.mean(axis=0).round(3)))  # definitions 8
    permuted = _Ridge(layers[region][np.random.default_rng(0).permutation(N)])
    lost = np.mean([permuted.score(means) for means in _draws(layers, region, n=20)])
    assert abs(lost) < 0.02  # control: labels permuted


@pytest.mark.parametrize("region", ["V1", "V4"])
@pytest.mark.parametrize("shared", [0.25, 0.5, 1.0])
def test_the_cell_that_a_neuroid_is_scores_the_shared_share(layers, region, shared):
    """Of cells the fit is the choice of one: on half of the stimuli, scored on the others."""
    means, rho = next(_draws(layers, region, n=1, shared=shared, n_neuroids=200)), 1.0 / 1.4
    assert _one_to_one(layers[region], means) / rho == pytest.approx(shared, abs=0.03)  # definitions 8
    permuted = layers[region][np.random.default_rng(0).permutation(N)]
    assert abs(_one_to_one(permuted, means)) / rho < 0.02  # control
    assert _one_to_one(layers[f"{region}, another seed"], means) / rho < shared - 0.02  # control: other cells


def _draws(layers, region, *, n=N_DRAWS, shared=0.8, n_neuroids=60):
    """Mean responses (stimulus, neuroid) of one subject after ten repetitions, seed after seed."""
    if region == "IT":
        population = TolerantReadouts(layers["positions"])
    else:
        bank = V1Bank if region == "V1" else V4Bank
        population = Cells(bank.sampled(64, 64).units.receptive_fields)
    ids = [f"scene {at}" for at in range(N)]
    for seed in range(n):
        assembly = simulate_cortex(
            layers[region], ids, region=region, n_subjects=1, n_neuroids=n_neuroids, n_repetitions=10, shared=shared,
            noise=4.0, population=population, seed=seed,
        )  # fmt: skip
        yield average_repetitions(assembly)[1]


class _Ridge:
    """Ridge regression of all neuroids at once; the penalty of each by leaving out one training stimulus."""

    def __init__(self, features: np.ndarray) -> None:
        train = features[TRAIN]
        spread = train.std(axis=0)
        scaled = ((features - train.mean(axis=0)) / np.where(spread > 1e-9, spread, np.inf))[:, spread > 1e-9]
        gram = scaled @ scaled[TRAIN].T
        values, vectors = np.linalg.eigh(gram[TRAIN])
        values = values.clip(0.0)
        self.fits = []
        for penalty in PENALTIES * values.mean():
            inverse = (vectors / (values + penalty)) @ vectors.T
            left_out = penalty * np.diag(inverse) - 1.0 / len(inverse)  # 1 - leverage, with the intercept's
            self.fits.append((gram[~TRAIN] @ inverse, penalty * inverse, left_out))

    def score(self, means: np.ndarray) -> float:
        """Signed squared correlation with the other half of the stimuli, mean over neuroids."""
        centred = means[TRAIN] - means[TRAIN].mean(axis=0)
        errors = [((rest @ centred / left_out[:, None]) ** 2).mean(axis=0) for _, rest, left_out in self.fits]
        best, columns = np.argmin(errors, axis=0), np.arange(means.shape[1])
        predicted = np.stack([hat @ centred for hat, _, _ in self.fits])[best, :, columns].T
        return _signed_r2(predicted, means[~TRAIN]).mean()


def _one_to_one(features: np.ndarray, means: np.ndarray) -> float:
    """Score of the unit that correlates most with each neuroid on the training half."""
    scaled = (features[TRAIN] - features[TRAIN].mean(axis=0)) / features[TRAIN].std(axis=0)
    best = (scaled.T @ (means[TRAIN] - means[TRAIN].mean(axis=0))).argmax(axis=0)
    return _signed_r2(features[~TRAIN][:, best], means[~TRAIN]).mean()


def _signed_r2(predicted: np.ndarray, found: np.ndarray) -> np.ndarray:
    a, b = predicted - predicted.mean(axis=0), found - found.mean(axis=0)
    r = (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0) + 1e-30)
    return np.sign(r) * r**2
