"""Noise ceilings: equal to rsatoolbox, known answers, and what noise alone gives."""

import numpy as np
import pytest

from netphys.errors import OptionError
from netphys.rsa import COMPARISONS, NoiseCeiling, compare, noise_ceiling
from netphys.rsa.ceilings import pool


def subjects(n=6, n_stimuli=15, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    p = n_stimuli * (n_stimuli - 1) // 2
    shared = rng.random(p)
    scales = rng.uniform(0.1, 10, size=(n, 1))
    return scales * (shared + noise * rng.random((n, p))), shared


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("method", COMPARISONS)
def test_equal_to_rsatoolbox(method, seed):
    from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
    from rsatoolbox.rdm import RDMs

    data = subjects(seed=seed)[0]
    if method == "rho-a":
        data = data.round(1)  # ties
    found = noise_ceiling(data, method=method)
    np.testing.assert_allclose((found.lower, found.upper), boot_noise_ceiling(RDMs(data), method), atol=1e-10)


@pytest.mark.parametrize("method", COMPARISONS)
def test_equal_subjects_give_one_and_noise_gives_what_is_stated(method):
    shared = np.random.default_rng(0).random(105)
    same = noise_ceiling(np.stack([shared] * 5), method=method)
    assert same.lower == pytest.approx(1, abs=1e-12)
    assert same.upper == pytest.approx(1, abs=1e-12)
    found = [noise_ceiling(np.random.default_rng(seed).random((5, 780)), method=method) for seed in range(20)]
    level = 0.75 if method == "cosine" else 0.0  # unrelated positive RDMs have a cosine: (mean / rms)²
    lower, upper = np.mean([(each.lower, each.upper) for each in found], axis=0)
    if method != "cosine":
        assert abs(lower - level) < 0.02
    assert abs(upper - found[0].noise_only) < 0.02  # ranking the pool again costs rank methods 0.01


@pytest.mark.parametrize("method", COMPARISONS)
def test_lower_is_below_upper_and_leaving_nobody_out_exceeds_the_lower(method):
    data, shared = subjects(noise=2.0)
    found = noise_ceiling(data, method=method)
    assert found.lower < found.upper
    inside = compare(pool(data, method), data, method=method).mean()
    assert inside == pytest.approx(found.upper)
    assert inside > found.lower + 0.01  # the control: the subject inside its own mean
    true_model = compare(shared, data, method=method).mean()
    assert found.lower - 0.05 < true_model < found.upper


def test_scale_of_a_subject_does_not_rule_the_pool():
    data = subjects()[0]
    louder = data * np.array([1000.0, 1, 1, 1, 1, 1])[:, None]
    for method in COMPARISONS:
        assert noise_ceiling(louder, method=method).upper == pytest.approx(noise_ceiling(data, method=method).upper)
    raw = compare(louder.mean(axis=0), data, method="corr").mean()
    assert raw < noise_ceiling(data, method="corr").upper - 0.01  # control: raw averaging


def test_one_subject_has_no_ceiling_and_says_so():
    found = noise_ceiling(np.random.default_rng(0).random((1, 45)))
    assert np.isnan([found.lower, found.upper, found.noise_only]).all()
    assert found.rule == "none: one RDM"
    assert found.n_subjects == 1
    assert str(found) == str(NoiseCeiling.none()) == "none: one RDM"


def test_two_rdms_of_one_subject_are_refused():
    from rsatoolbox.rdm import RDMs

    rdms = RDMs(np.random.default_rng(0).random((3, 45)), rdm_descriptors={"subject": ["a", "b", "a"]})
    with pytest.raises(OptionError, match="subject 'a' has 2 RDMs"):
        noise_ceiling(rdms)


def test_rule_says_how():
    found = noise_ceiling(subjects()[0], method="corr")
    assert found.rule == (
        "6 subjects, lower: each against the others, upper: against all; pooled as mean of z-scored RDMs; "
        "unrelated RDMs would give an upper bound of 0.41"
    )
    assert "upper for pure noise: 0.41" in repr(found)


def test_rdms_without_a_pair_in_common_have_no_pool():
    halves = np.where([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], 1.0, np.nan)
    with pytest.raises(OptionError, match="no pair of stimuli has a dissimilarity in all 2 RDMs"):
        pool(halves, "spearman")
