"""The bootstrap over stimuli: equal to rsatoolbox draw by draw, copies without a dissimilarity."""

import numpy as np
import pytest

from netphys.errors import OptionError
from netphys.inference import stimulus_draws
from netphys.rsa import COMPARISONS, bootstrap
from netphys.rsa.resampling import resample

N, MODELS, SUBJECTS = 14, 3, 4
PAIRS = N * (N - 1) // 2


def models_and_data(seed, ties=False, n_subjects=SUBJECTS):
    rng = np.random.default_rng(seed)
    shared = rng.random(PAIRS)
    data = 5 + shared + rng.random((n_subjects, PAIRS))
    models = np.stack([shared, rng.random(PAIRS), rng.integers(0, 3, PAIRS)]).astype(float)
    return (models.round(1), data.round(1)) if ties else (models, data)


def by_rsatoolbox(models, data, draws, method):
    """Resample with rsatoolbox itself: scores (draw, model), ceilings (draw, 2)."""
    from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
    from rsatoolbox.rdm import RDMs
    from rsatoolbox.rdm import compare as theirs

    models, data = RDMs(models), RDMs(data)
    scores, ceilings = [], []
    for draw in draws:
        sample = data.subsample_pattern("index", draw)
        scores.append(theirs(models.subsample_pattern("index", draw), sample, method).mean(axis=1))
        ceilings.append(boot_noise_ceiling(sample, method) if data.n_rdm > 1 else (np.nan, np.nan))
    return np.array(scores), np.array(ceilings)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("method", COMPARISONS)
def test_scores_and_ceilings_equal_rsatoolbox_draw_by_draw(method, ties):
    models, data = models_and_data(11, ties)
    draws = stimulus_draws(N, 80, seed=5)
    scores, ceilings = by_rsatoolbox(models, data, draws, method)
    found = resample(models, data, np.ones(PAIRS, dtype=bool), draws, method)
    np.testing.assert_allclose(found.scores, scores, atol=1e-10)
    np.testing.assert_allclose(np.stack([found.lower, found.upper], axis=1), ceilings, atol=1e-10)
    np.testing.assert_allclose(bootstrap(models, data, method=method, draws=draws), scores, atol=1e-10)


@pytest.mark.parametrize("method", COMPARISONS)
def test_one_subject_equals_rsatoolbox_and_has_no_ceiling(method):
    models, data = models_and_data(2, n_subjects=1)
    draws = stimulus_draws(N, 30, seed=1)
    found = resample(models, data, np.ones(PAIRS, dtype=bool), draws, method)
    np.testing.assert_allclose(found.scores, by_rsatoolbox(models, data, draws, method)[0], atol=1e-10)
    assert np.isnan(found.lower).all() and np.isnan(found.upper).all()


@pytest.mark.parametrize("method", COMPARISONS)
def test_masked_pairs_weigh_nothing(method):
    models, data = models_and_data(3)
    keep = np.random.default_rng(0).random(PAIRS) > 0.2
    models[:, ~keep] = data[:, ~keep] = np.nan
    draws = stimulus_draws(N, 20, seed=1)
    scores, ceilings = by_rsatoolbox(models, data, draws, method)
    found = resample(models, data, keep, draws, method)
    np.testing.assert_allclose(found.scores, scores, atol=1e-10)
    np.testing.assert_allclose(found.upper, ceilings[:, 1], atol=1e-10)


@pytest.mark.parametrize("method", COMPARISONS)
def test_the_draw_of_every_stimulus_once_is_the_plain_comparison(method):
    from netphys.rsa import compare, noise_ceiling

    models, data = models_and_data(4)
    draws = np.random.default_rng(0).permutation(N)[None]
    found = resample(models, data, np.ones(PAIRS, dtype=bool), draws, method)
    np.testing.assert_allclose(found.scores[0], compare(models, data, method=method).mean(axis=1), atol=1e-12)
    ceiling = noise_ceiling(data, method=method)
    assert (found.lower[0], found.upper[0]) == pytest.approx((ceiling.lower, ceiling.upper), abs=1e-12)


@pytest.mark.parametrize("method", COMPARISONS)
def test_blocks_do_not_matter(method, monkeypatch):
    models, data = models_and_data(5)
    draws = stimulus_draws(N, 50, seed=1)
    whole = resample(models, data, np.ones(PAIRS, dtype=bool), draws, method)
    monkeypatch.setattr("netphys.rsa.resampling._BLOCK_BYTES", 4096)
    monkeypatch.setattr("netphys.rsa.resampling._MOMENT_DRAWS", 7)
    cut = resample(models, data, np.ones(PAIRS, dtype=bool), draws, method)
    np.testing.assert_allclose(cut.scores, whole.scores, atol=1e-12)
    np.testing.assert_allclose(cut.lower, whole.lower, atol=1e-12)


def test_memory_does_not_grow_with_the_number_of_draws():
    import tracemalloc

    models, data = models_and_data(6)
    peaks = []
    for n_bootstraps in (2048, 8192):
        draws = stimulus_draws(N, n_bootstraps, seed=1)
        tracemalloc.start()
        bootstrap(models, data, method="corr", draws=draws)
        peaks.append(tracemalloc.get_traced_memory()[1] - 60 * n_bootstraps - 8 * MODELS * n_bootstraps)  # what is kept
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_draws_of_too_few_stimuli_have_no_score():
    models, data = models_and_data(7)
    draws = np.zeros((3, N), dtype=int)
    draws[1, 0] = 1
    draws[2, :2] = 1, 2
    found = bootstrap(models[:1], data, method="cosine", draws=draws)
    assert np.isnan(found[:2]).all()
    assert np.isfinite(found[2]).all()


def test_a_model_that_is_tied_over_all_drawn_pairs_has_no_score():
    """Categories {0, 1} and {the rest}: a draw of one category ties every pair; the reference gives 0."""
    category = np.arange(N) > 2
    first, second = np.triu_indices(N, 1)
    model = (category[first] != category[second]).astype(float)
    data = models_and_data(8)[1]
    draws = np.array([[3, 4, 5, 6] * 3 + [3, 4], [0, 4, 5, 6] * 3 + [3, 4]])
    for method in ("corr", "spearman"):
        found = bootstrap(model, data, method=method, draws=draws)
        assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


def test_large_offsets_of_rdms_do_not_cancel():
    models, data = models_and_data(9)
    draws = stimulus_draws(N, 20, seed=1)
    expected = bootstrap(models, data, method="corr", draws=draws)
    np.testing.assert_allclose(bootstrap(models + 1e6, data - 1e6, method="corr", draws=draws), expected, atol=1e-8)


def test_bad_draws_are_refused():
    models, data = models_and_data(0)
    for draws in (np.full((2, N), N), np.full((2, N), -1), np.zeros(N, dtype=int), np.zeros((2, N))):
        with pytest.raises(OptionError, match="draws must be row numbers of the 14 stimuli"):
            bootstrap(models, data, draws=draws)
