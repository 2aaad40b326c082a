"""78 is 13 x 12 / 2: a square RDM of 78 stimuli has the shape of 78 RDMs of 13 stimuli."""

import numpy as np
import pytest

from netphys.errors import OptionError
from netphys.inference import stimulus_draws
from netphys.rsa import bootstrap, compare, evaluate, noise_ceiling, plot_rdm
from netphys.rsa.pairs import RDMSet


def square(n, seed=0):
    half = np.triu(np.random.default_rng(seed).random((n, n)), 1)
    return half + half.T


@pytest.mark.parametrize("n", [3, 6, 10, 78, 91])
@pytest.mark.parametrize("diagonal", [0.0, np.nan])
def test_one_square_rdm_taken_for_many(n, diagonal):
    rdm = square(n)
    np.fill_diagonal(rdm, diagonal)
    found = RDMSet.of(rdm, "the RDM")
    assert found.values.shape == (1, n * (n - 1) // 2)  # n vectors of as many pairs before
    np.testing.assert_array_equal(found.values[0], rdm[np.triu_indices(n, 1)])


def test_in_every_function(ax=None):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    a, b = square(10), square(10, seed=1)
    expected = compare(a[np.triu_indices(10, 1)], b[np.triu_indices(10, 1)])
    assert compare(a, b) == expected
    assert noise_ceiling(a).rule == "none: one RDM"
    found = evaluate(a, b, n_bootstraps=20)
    assert found.n_stimuli == 10 and found.scores == expected[0]
    assert evaluate({"a": a}, b, n_bootstraps=0).scores == expected[0]
    assert bootstrap(a, b, draws=stimulus_draws(10, 5)).shape == (5, 1)
    figure, ax = plt.subplots()
    assert np.asarray(plot_rdm(a, ax).images[0].get_array()).shape == (10, 10)
    plt.close(figure)


def test_other_square_arrays_are_refused():
    vectors = np.random.default_rng(0).random((10, 10))  # 10 subjects, 5 stimuli
    similarities = 1 - square(10)
    rounded = square(10).astype(np.float32)
    rounded[0, 1] = np.nextafter(rounded[0, 1], 2)
    assert RDMSet.of(rounded, "the RDM").values.shape == (1, 45)
    for given in (vectors, similarities, similarities[None], np.triu(square(10))):
        for call in (noise_ceiling, plot_rdm, lambda x: compare(x, x), lambda x: evaluate(x, x)):
            with pytest.raises(OptionError, match=r"no RDM, .* pass one RDM as .* as rsatoolbox.rdm.RDMs") as caught:
                call(given)
            assert "\n" not in str(caught.value)
    stack = np.zeros((10, 5, 5))
    stack[:, *np.triu_indices(5, 1)] = vectors
    assert RDMSet.of(stack + stack.transpose(0, 2, 1), "the RDMs").values.tolist() == vectors.tolist()
