"""Ranks of NaN are those of the largest dissimilarities: a pool of RDMs with missing pairs would invent distances."""

import numpy as np
import pytest
from scipy.stats import rankdata

from netphys.rsa import COMPARISONS
from netphys.rsa.ceilings import pool
from netphys.rsa.comparison import midranks


@pytest.mark.parametrize("method", COMPARISONS)
def test_missing_pairs_pooled_as_large_dissimilarities(method):
    whole = np.random.default_rng(0).random((3, 45))
    lacking = whole.copy()
    lacking[0, :9] = np.nan  # a stimulus that one subject has no pattern of
    found = pool(lacking, method)
    assert np.isnan(found[:9]).all()
    np.testing.assert_allclose(found[9:], pool(whole[:, 9:], method))  # as if the others were all there is


def test_control_ranks_of_nan_are_the_largest():
    values = np.append(np.random.default_rng(0).random(10), np.nan)
    assert midranks(values)[-1] == 11 == rankdata(np.nan_to_num(values, nan=np.inf))[-1]
