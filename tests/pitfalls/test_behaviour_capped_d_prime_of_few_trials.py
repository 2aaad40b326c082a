"""d' of 0 and 100 % limited to 5, from few trials: the correction for noise then misses the truth, and says nothing."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.special import expit

from netphys.neural.behaviour.consistency import consistency

OBJECTS = np.repeat(np.arange(8), 10)


def observer(odds, n, rng):
    image, other = (np.repeat(each, n) for each in np.nonzero(OBJECTS[:, None] != np.arange(8)))
    right = rng.random(len(image)) < expit(odds[image, other])
    values = np.full((len(image), 8), np.nan)
    values[np.arange(len(image)), OBJECTS[image]], values[np.arange(len(image)), other] = right, ~right
    coords = {"stimulus_id": ("presentation", image.astype(str)), "truth": ("presentation", OBJECTS[image].astype(str))}
    return xr.DataArray(values, dims=("presentation", "choice"), coords={**coords, "choice": np.arange(8).astype(str)})


def test_two_noisy_observers_of_one_signature_at_ten_trials_a_pair():
    scores = {"cap": [], "loglinear": []}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        odds = 1.3 + 0.8 * rng.normal(size=(80, 1)) + 0.6 * rng.normal(size=(80, 8))
        a, b = observer(odds, 10, rng), observer(odds, 10, rng)
        for correction, found in scores.items():
            found.append(consistency(a, b, "i2n", correction=correction, n_splits=10, n_bootstraps=0).score)
    assert abs(np.mean(scores["loglinear"]) - 1) < 0.06  # the truth is 1; standard error of 4 runs .014
    assert np.mean(scores["cap"]) < 0.92  # the mistake: 10 trials have halves of 5, of which many are all right
