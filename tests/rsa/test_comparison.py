"""Comparisons of RDMs: equal to rsatoolbox, joined by id, masked pairs left out."""

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from netphys.errors import MatchError, OptionError
from netphys.rsa import COMPARISONS, compare
from netphys.rsa.comparison import midranks
from netphys.rsa.pairs import pairs_of_stimuli


def some_rdms(values, ids=None):
    from rsatoolbox.rdm import RDMs

    return RDMs(values, pattern_descriptors=None if ids is None else {"stimulus_id": list(ids)})


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("method", COMPARISONS)
def test_equal_to_rsatoolbox(method, ties):
    from rsatoolbox.rdm import compare as theirs

    rng = np.random.default_rng(3)
    a, b = rng.random((4, 190)), rng.random((3, 190))
    if ties:
        a, b = (a * 5).round(), (b * 3).round()
    a, b = some_rdms(a), some_rdms(b)
    np.testing.assert_allclose(compare(a, b, method=method), theirs(a, b, method), atol=1e-10)


def test_rho_a_is_the_expected_spearman_under_random_breaking_of_ties():
    rng = np.random.default_rng(0)
    model = rng.integers(0, 2, 45).astype(float)
    data = model + rng.random(45)
    broken = [spearmanr(model + 1e-3 * rng.random(45), data).statistic for _ in range(1000)]
    expected = compare(model, data, method="rho-a")[0, 0]
    assert abs(np.mean(broken) - expected) < 4 * np.std(broken) / np.sqrt(1000)
    # negative control: Spearman is another thing on tied input
    assert abs(compare(model, data, method="spearman")[0, 0] - expected) > 0.01


def test_midranks_equal_scipy():
    values = np.random.default_rng(0).integers(0, 20, 100).astype(float)
    np.testing.assert_array_equal(midranks(values), rankdata(values))


def test_monotone_transform_keeps_spearman_and_not_corr():
    a, b = np.random.default_rng(0).random((2, 45))
    assert compare(np.exp(4 * a), b)[0, 0] == pytest.approx(compare(a, b)[0, 0], abs=1e-12)
    assert abs(compare(np.exp(4 * a), b, method="corr")[0, 0] - compare(a, b, method="corr")[0, 0]) > 1e-3


def test_permuted_rows_are_joined_by_id_and_not_by_position():
    rng = np.random.default_rng(0)
    ids = [f"s{k}" for k in range(20)]
    rdm = some_rdms(rng.random((1, 190)), ids)
    order = rng.permutation(20)
    moved = some_rdms(rdm.get_vectors()[:, pairs_of_stimuli(order, 20)], [ids[k] for k in order])
    for method in COMPARISONS:
        assert compare(moved, rdm, method=method)[0, 0] == pytest.approx(1, abs=1e-12)
    by_position = compare(moved.get_vectors(), rdm.get_vectors())[0, 0]
    assert abs(by_position) < 4 / np.sqrt(190)  # negative control


def test_stimuli_that_only_the_model_has_are_left_out():
    rng = np.random.default_rng(0)
    model = some_rdms(rng.random((2, 45)), [f"s{k}" for k in range(10)])
    rows = np.array([7, 2, 5, 1, 0])
    data = some_rdms(rng.random((1, 10)), [f"s{k}" for k in rows])
    expected = compare(model.get_matrices()[:, rows][:, :, rows], data.get_vectors())
    np.testing.assert_allclose(compare(model, data), expected)
    with pytest.raises(MatchError, match="5 of 10 stimuli of the second RDMs are not among the 5"):
        compare(data, model)


def test_masked_pairs_are_left_out_for_all_and_the_fraction_is_said():
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 45)), rng.random((2, 45))
    a[1, :9] = np.nan
    with pytest.warns(UserWarning, match="80.0% are in both"):
        found = compare(a, b, method="corr")
    expected = [[np.corrcoef(x[9:], y[9:])[0, 1] for y in b] for x in a]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    b[:, :9] = np.nan
    np.testing.assert_allclose(compare(a, b, method="corr"), expected, atol=1e-12)  # the same mask: nothing to warn of
    a[2, 9:40] = np.nan
    with pytest.raises(OptionError, match=r"only 11% of the pairs .* RDM 2 of the first RDMs lacks 69%"):
        compare(a, b)


def test_constant_rdm_is_nan_and_not_zero():
    """The reference gives 0, which reads as a finding."""
    found = compare(np.stack([np.full(10, 0.1), np.arange(10.0)]), np.arange(10.0), method="corr")
    assert np.isnan(found[0, 0])
    assert found[1, 0] == pytest.approx(1)


def test_errors():
    a, b = np.random.default_rng(0).random((2, 10))
    cases = [
        (OptionError, "no comparison 'spearmann'; near: 'spearman'", lambda: compare(a, b, method="spearmann")),
        (OptionError, "hold 11 dissimilarities, not the pairs", lambda: compare(np.ones(11), np.ones(11))),
        (MatchError, "have 5 stimuli, the second RDMs have 4", lambda: compare(a, b[:6])),
        (MatchError, "carry stimulus_id and the first RDMs do not", lambda: compare(a, some_rdms(b[None], "abcde"))),
        (OptionError, "infinite", lambda: compare(a, np.full(10, np.inf))),
        (OptionError, "not square", lambda: compare(a, np.ones((1, 4, 3)))),
    ]
    for kind, text, call in cases:
        with pytest.raises(kind, match=text):
            call()
