"""Trials bootstrapped with replacement before they are halved: a trial stands in both halves, and noise is reliable."""

from __future__ import annotations

import numpy as np
import xarray as xr

from netphys.neural.behaviour.consistency import consistency

OBJECTS = np.repeat(np.arange(4), 25)


def guessing(seed, n=8):
    """An observer who guesses: no image is easier than another."""
    rng = np.random.default_rng(seed)
    image, other = (np.repeat(each, n) for each in np.nonzero(OBJECTS[:, None] != np.arange(4)))
    right = rng.random(len(image)) < 0.7
    values = np.full((len(image), 4), np.nan)
    values[np.arange(len(image)), OBJECTS[image]], values[np.arange(len(image)), other] = right, ~right
    coords = {"stimulus_id": ("presentation", image.astype(str)), "truth": ("presentation", OBJECTS[image].astype(str))}
    return xr.DataArray(values, dims=("presentation", "choice"), coords={**coords, "choice": np.arange(4).astype(str)})


def test_the_halves_of_noise_are_unrelated_and_those_of_doubled_trials_are_not():
    right, wrong = [], []
    for seed in range(4):
        trials = guessing(seed)
        rows = np.random.default_rng(seed).integers(0, trials.sizes["presentation"], trials.sizes["presentation"])
        options = {"kind": "i1n", "correction": "loglinear", "n_splits": 20, "n_bootstraps": 0}
        right.append(consistency(trials, trials, **options).splits_a.mean())
        wrong.append(consistency(trials.isel(presentation=rows), trials, **options).splits_a.mean())
    assert abs(np.mean(right)) < 3 * 0.1 / 2  # standard error of one correlation of 100 images .1, of 4 runs half of it
    assert np.mean(wrong) > 0.2  # the mistake: noise looks reliable
