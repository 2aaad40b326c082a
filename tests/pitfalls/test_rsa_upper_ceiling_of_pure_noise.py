"""The upper noise ceiling is far from 0 for subjects that share nothing; the result states how far."""

import numpy as np

from netphys.rsa import dissimilarities, evaluate, noise_ceiling


def test_upper_ceiling_of_pure_noise():
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        subjects = [dissimilarities(rng.normal(size=(40, 50))) for _ in range(5)]  # 780 pairs of nothing
        found.append(noise_ceiling(subjects, method="corr"))
    assert np.mean([each.upper for each in found]) > 0.4  # reads like a ceiling
    assert abs(np.mean([each.upper for each in found]) - found[0].noise_only) < 0.02
    assert found[0].noise_only == 1 / np.sqrt(5)
    assert abs(np.mean([each.lower for each in found])) < 0.02
    said = evaluate(subjects[0], subjects, method="corr", n_bootstraps=0)
    assert "upper for pure noise: 0.45" in repr(said)
