"""At level 100 half precision has steps of 1/16: a pattern that varies by little is no constant pattern."""

import warnings

import numpy as np
import pytest

from netphys.rsa import dissimilarities


@pytest.mark.parametrize("level", [0.0, 100.0, 1000.0])
def test_low_contrast_in_half_precision(level):
    patterns = (level + 0.25 * np.random.default_rng(0).normal(size=(10, 2000))).astype(np.float16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = dissimilarities(patterns)
    np.testing.assert_allclose(found, (1 - np.corrcoef(patterns.astype(float)))[np.triu_indices(10, 1)], atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_constant_is_equal_everywhere_and_nothing_else(dtype):
    patterns = np.full((4, 6000), 0.1, dtype=dtype)
    patterns[0, -1] = np.nextafter(patterns[0, -1], dtype(1))  # one bit, in the last place
    patterns[1] = np.random.default_rng(0).random(6000)
    patterns[2] = np.random.default_rng(1).random(6000)
    with pytest.warns(UserWarning, match=r"a constant pattern for 1 of 4 stimuli \('row 3'\)"):
        found = dissimilarities(patterns)
    assert np.isnan(found).tolist() == [False, False, True, False, True, True]
    np.testing.assert_allclose(
        found[0], 1 - np.corrcoef((patterns[:2] - patterns[:2, :1]).astype(float))[0, 1], atol=1e-6
    )
