"""A stimulus drawn twice is a pair of equal stimuli: kept as zeros, such pairs are agreed on by every model."""

import numpy as np
import pytest

from netphys.inference import stimulus_draws
from netphys.rsa import bootstrap, compare


@pytest.mark.parametrize("method", ["corr", "spearman"])
def test_bootstrapped_stimuli_whose_copies_have_dissimilarity_0(method):
    rng = np.random.default_rng(0)
    n = 20
    model, data = 1 + rng.random((2, n * (n - 1) // 2))  # unrelated, all dissimilarities in [1, 2]
    draws = stimulus_draws(n, 200, seed=0)
    found = bootstrap(model, data, method=method, draws=draws)
    assert abs(found.mean()) < 0.2

    first, second = np.triu_indices(n, 1)
    squares = np.zeros((2, n, n))
    for square, values in zip(squares, (model, data)):
        square[first, second] = square[second, first] = values
    kept = [compare(*(square[np.ix_(draw, draw)][None] for square in squares), method=method)[0, 0] for draw in draws]
    assert np.mean(kept) > abs(found.mean()) + 0.1  # zeros kept: agreement out of nothing
