"""The streaming Gram matrix: blocks do not matter, offsets do not cancel."""

import numpy as np
import pytest

from netphys.errors import OptionError
from netphys.rsa.distances import dissimilarities, dissimilarities_of_blocks
from netphys.rsa.gram import feature_blocks, gram_of_blocks


def patterns(seed=0, n=12, units=50):
    return np.random.default_rng(seed).normal(size=(n, units))


@pytest.mark.parametrize("method", ["correlation", "euclidean", "cosine"])
@pytest.mark.parametrize("width", [1, 7, 50])
def test_blocks_of_channels_agree(method, width):
    x = patterns()
    blocks = (x[:, start : start + width] for start in range(0, 50, width))
    found, n_units = dissimilarities_of_blocks(blocks, method)
    assert n_units == 50
    np.testing.assert_allclose(found, dissimilarities(x, method), atol=1e-12)


def test_averaged_block_correlations_are_another_thing():
    """Negative control: what a stream must not do."""
    x = patterns()
    averaged = np.mean([dissimilarities(x[:, start : start + 10]) for start in range(0, 50, 10)], axis=0)
    assert np.abs(averaged - dissimilarities(x)).max() > 1e-3


@pytest.mark.parametrize("offset", [1e2, 1e6])
def test_offsets_do_not_cancel_and_the_uncentred_float32_form_does(offset):
    x = patterns(units=200)
    shifted = (x + offset).astype(np.float32)
    exact = shifted.astype(np.longdouble)
    square = ((exact[:, None] - exact[None]) ** 2).mean(axis=2)[np.triu_indices(12, 1)].astype(float)
    np.testing.assert_allclose(dissimilarities(shifted, "euclidean"), square, rtol=1e-12)
    norms = (shifted**2).sum(axis=1)
    uncentred = ((norms[:, None] + norms - 2 * shifted @ shifted.T) / 200)[np.triu_indices(12, 1)]
    assert np.abs(uncentred / square - 1).max() > 1e-5  # 4e-3 at an offset of 100


def test_correlation_survives_an_offset_of_each_stimulus():
    x = patterns(units=200)
    levels = 1e8 * np.random.default_rng(1).normal(size=(12, 1))
    moved = x + levels
    expected = 1 - np.corrcoef((moved.astype(np.longdouble) - levels).astype(float))[np.triu_indices(12, 1)]
    np.testing.assert_allclose(dissimilarities(moved), expected, atol=1e-10)
    raw = moved @ moved.T - np.outer(moved.sum(1), moved.sum(1)) / 200  # without the pilot
    scale = np.sqrt(np.abs(np.diag(raw)))
    naive = (1 - raw / np.outer(scale, scale))[np.triu_indices(12, 1)]
    assert np.abs(naive - expected).max() > 1e-3


def test_integers_booleans_and_big_endian_keep_their_values():
    x = np.random.default_rng(0).integers(0, 100, size=(6, 30))
    expected = dissimilarities(x.astype(float), "euclidean")
    for dtype in (np.uint8, np.int16, ">f4", ">i8"):
        np.testing.assert_allclose(dissimilarities(x.astype(dtype), "euclidean"), expected, rtol=1e-12)
    assert np.isfinite(dissimilarities(x > 50, "euclidean")).all()


def test_equal_patterns_have_dissimilarity_zero_never_below():
    x = np.repeat(patterns(units=333)[:3], 2, axis=0).astype(np.float32) + np.float32(100)
    for method in ("correlation", "euclidean", "cosine"):
        found = dissimilarities(x, method)
        assert found.min() >= 0
        np.testing.assert_allclose(found[[0, 9, 14]], 0, atol=1e-12)


def test_memory_is_that_of_a_block():
    import tracemalloc

    rng = np.random.default_rng(0)
    blocks = (rng.normal(size=(100, 1000)) for _ in range(50))  # 40 MB in all
    tracemalloc.start()
    gram = gram_of_blocks(blocks, shift="stimulus")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert gram.n_features == 50_000
    assert peak < 8e6  # two blocks and their shifted copies of 0.8 MB each, products of 0.08 MB


def test_feature_blocks_cover_every_channel_once():
    x = patterns(units=23)
    blocks = list(feature_blocks(x, max_bytes=8 * 12 * 5))
    assert [each.shape[1] for each in blocks] == [5, 5, 5, 5, 3]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), x)


def test_errors_say_what_is_wrong():
    with pytest.raises(OptionError, match="the layer has no units"):
        gram_of_blocks(iter([]), shift="none")
    with pytest.raises(OptionError, match="11 stimuli, those before it 12"):
        gram_of_blocks([patterns(), patterns(n=11)], shift="none")
    with pytest.raises(OptionError, match="stimulus x unit"):
        gram_of_blocks([np.array([["a"]])], shift="none")


def test_constant_is_told_over_all_blocks():
    x = patterns(units=30)
    x[0], x[1], x[2] = 7.0, np.repeat([7.0, 8.0, 9.0], 10), 0.0  # constant, constant in each block only, zero
    blocks = [x[:, start : start + 10] for start in range(0, 30, 10)]
    assert np.flatnonzero(gram_of_blocks(blocks, shift="stimulus").constant).tolist() == [0, 2]
    assert np.flatnonzero(gram_of_blocks(blocks, shift="none").constant).tolist() == [2]
    each = [np.flatnonzero(gram_of_blocks([block], shift="stimulus").constant).tolist() for block in blocks]
    assert each == [[0, 1, 2]] * 3  # control: a block alone cannot tell
