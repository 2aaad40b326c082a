"""Dissimilarities: known answers, special patterns, and their warnings."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from netphys.errors import OptionError
from netphys.rsa import dissimilarities


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("method", ["correlation", "euclidean", "cosine"])
def test_equal_to_scipy(method, seed):
    x = np.random.default_rng(seed).gamma(2, size=(20, 33))
    expected = pdist(x, "sqeuclidean") / 33 if method == "euclidean" else pdist(x, method)
    np.testing.assert_allclose(dissimilarities(x, method), expected, atol=1e-12)


def test_invariances_are_those_of_the_measure():
    x = np.random.default_rng(0).normal(size=(10, 40))
    scales, levels = np.random.default_rng(1).uniform(0.5, 2, size=(2, 10, 1))
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(40, 40)))[0]
    np.testing.assert_allclose(dissimilarities(scales * x + levels), dissimilarities(x), atol=1e-12)
    np.testing.assert_allclose(dissimilarities(scales * x, "cosine"), dissimilarities(x, "cosine"), atol=1e-12)
    np.testing.assert_allclose(dissimilarities(x @ rotation, "euclidean"), dissimilarities(x, "euclidean"), atol=1e-12)
    # and no others
    assert np.abs(dissimilarities(x + levels, "cosine") - dissimilarities(x, "cosine")).max() > 0.01
    assert np.abs(dissimilarities(x @ rotation) - dissimilarities(x)).max() > 0.01


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_constant_pattern_is_nan_with_one_warning_that_names_it(value, dtype):
    x = np.random.default_rng(0).normal(size=(5, 101)).astype(dtype)
    x[3] = value
    with pytest.warns(UserWarning, match=r"layer 'conv1': a constant pattern for 1 of 5 stimuli \('d'\)") as caught:
        found = dissimilarities(x, stimulus_ids="abcde", what="layer 'conv1'")
    assert len(caught) == 1
    np.testing.assert_array_equal(np.isnan(found), [False, False, True, False, False, True, False, True, False, True])
    assert np.isfinite(dissimilarities(x, "euclidean")).all()


def test_cosine_of_a_constant_pattern_is_defined_and_of_zeros_is_not():
    x = np.random.default_rng(0).normal(size=(4, 9))
    x[1] = 3
    np.testing.assert_allclose(dissimilarities(x, "cosine"), pdist(x, "cosine"), atol=1e-12)
    x[1] = 0
    with pytest.warns(UserWarning, match=r"a pattern of zeros for 1 of 4 stimuli \('row 1'\)"):
        assert np.isnan(dissimilarities(x, "cosine")).sum() == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["correlation", "euclidean", "cosine"])
def test_nan_touches_its_own_pairs_only(method, bad):
    x = np.random.default_rng(0).normal(size=(6, 20))
    expected = dissimilarities(x, method)
    touched = x.copy()
    touched[2, 7] = bad
    with pytest.warns(UserWarning, match=r"values that are not finite for 1 of 6 stimuli \('row 2'\)"):
        found = dissimilarities(touched, method)
    first, second = np.triu_indices(6, 1)
    of_pair = (first == 2) | (second == 2)
    assert np.isnan(found[of_pair]).all()
    np.testing.assert_allclose(found[~of_pair], expected[~of_pair], atol=1e-12)


def test_one_unit_has_no_correlation():
    with pytest.warns(UserWarning, match="constant pattern for 4 of 4 stimuli"):
        assert np.isnan(dissimilarities(np.arange(4.0)[:, None])).all()


def test_unknown_method_is_named_with_the_near_ones():
    with pytest.raises(OptionError, match="no dissimilarity 'corelation'; near: 'correlation'"):
        dissimilarities(np.eye(4), "corelation")
    with pytest.raises(OptionError, match="reshape"):
        dissimilarities(np.ones((4, 3, 2)))
