"""A network's probability among all choices set beside subjects' choices of two: the tasks differ, not the minds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from netphys.neural.behaviour.choices import i1, o1
from netphys.neural.behaviour.trials import observed, pair_trials

OBJECTS = np.repeat(np.arange(8), 10)


def both():
    """One mind in two tasks: probabilities among 8, and the expected shares when two are offered (Luce's law)."""
    scores = np.random.default_rng(0).normal(size=(80, 8))
    scores[np.arange(80), OBJECTS] += 1.5
    names = np.arange(8).astype(str)
    coords = {"stimulus_id": ("presentation", np.arange(80).astype(str)), "choice": names}
    coords["truth"] = ("presentation", names[OBJECTS])
    p = np.exp(scores)
    many = xr.DataArray(p / p.sum(axis=1, keepdims=True), dims=("presentation", "choice"), coords=coords)
    image, other = np.nonzero(OBJECTS[:, None] != np.arange(8))
    values = np.full((len(image), 8), np.nan)
    share = p[image, OBJECTS[image]] / (p[image, OBJECTS[image]] + p[image, other])
    values[np.arange(len(image)), OBJECTS[image]], values[np.arange(len(image)), other] = share, 1 - share
    coords |= {"stimulus_id": ("presentation", image.astype(str)), "truth": ("presentation", names[OBJECTS[image]])}
    return many, xr.DataArray(values, dims=("presentation", "choice"), coords=coords)


def test_read_as_binary_tasks_the_two_are_one_and_all_at_once_they_are_not():
    many, two = both()
    for measure in (i1, o1):
        np.testing.assert_allclose(measure(many).values, measure(two).values, atol=1e-12)
        wrong = measure(many, task="all").values  # the mistake
        assert np.abs(wrong - measure(two).values).mean() > 0.3
    hits, _ = pair_trials(observed(many)).tables()
    np.testing.assert_allclose(hits, pair_trials(observed(two)).tables()[0], atol=1e-12)
