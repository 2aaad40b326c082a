"""A lower bound whose pool holds the subject itself credits models with the subject's own noise."""

import numpy as np

from netphys.rsa import COMPARISONS, compare, noise_ceiling
from netphys.rsa.ceilings import pool


def test_noise_ceiling_with_the_subject_inside_its_own_mean():
    noise = np.random.default_rng(0).random((5, 780))  # subjects share nothing
    for method in COMPARISONS:
        lower = noise_ceiling(noise, method=method).lower
        inside = compare(pool(noise, method), noise, method=method).mean()
        if method == "cosine":  # unrelated positive RDMs: (mean / rms)² = 0.75 with one, 0.82 with a mean of 4
            assert abs(lower - 0.75 / np.sqrt((1 + 3 * 0.75) / 4)) < 0.02
        else:
            assert abs(lower) < 3 / np.sqrt(780)
        assert inside > lower + 0.05  # the wrong one is seen to be wrong
