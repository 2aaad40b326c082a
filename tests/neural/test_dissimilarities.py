"""What counts as an RDM, and what its rows are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import squareform

from netphys.errors import NeuralDataError
from netphys.neural.files.dissimilarities import Choice, n_stimuli_of, rows_of, triangle

FILE = Path("file.mat")


def _rows(value: np.ndarray, **choice):
    return rows_of(FILE, value, Choice(**choice), what="rdm")


def test_order_of_pairs_is_that_of_squareform(stack, pairs):
    np.testing.assert_array_equal(triangle(FILE, stack, what="rdm"), pairs)
    np.testing.assert_array_equal(squareform(pairs[0]), stack[0])
    lower = np.tril_indices(6, -1)
    assert not np.array_equal(stack[0][lower], pairs[0])  # control: lower rows are another order


def test_n_stimuli_of_pairs():
    assert [n_stimuli_of(n * (n - 1) // 2) for n in range(2, 200)] == list(range(2, 200))
    assert n_stimuli_of(0) is None and n_stimuli_of(2) is None and n_stimuli_of(4187) is None


def test_a_permutation_of_stimuli_permutes_the_pairs(stack):
    order = np.array([4, 2, 5, 0, 1, 3])
    permuted = triangle(FILE, stack[:, order][:, :, order], what="rdm")
    np.testing.assert_array_equal(np.array([squareform(each) for each in permuted]), stack[:, order][:, :, order])


def test_checks_of_a_matrix(stack):
    good = stack[0]
    nearly = good.copy()
    nearly[0, 1] += 1e-7 * good.max()  # rounding of a file in float32
    np.testing.assert_allclose(triangle(FILE, nearly, what="rdm"), triangle(FILE, good, what="rdm"), atol=1e-6)
    with_nan = good.copy()
    np.fill_diagonal(with_nan, np.nan)
    np.testing.assert_array_equal(triangle(FILE, with_nan, what="rdm"), triangle(FILE, good, what="rdm"))
    for change, told in {
        "asymmetric": r"rdm is not symmetric: entries differ by up to 0\.1",
        "nan": r"has 1 dissimilarities that are NaN or infinite",
        "inf": r"has 1 dissimilarities that are NaN or infinite",
        "diagonal": r"has 0\.5 on its diagonal; an RDM has 0",
        "similarity": r"looks like similarities: save 1 - similarity",
    }.items():
        bad = good.copy()
        if change == "asymmetric":
            bad[0, 1] += 0.1
        elif change in ("nan", "inf"):
            bad[2, 3] = bad[3, 2] = float(change)
        elif change == "diagonal":
            bad[2, 2] = 0.5
        else:
            bad = 1.0 - bad
        with pytest.raises(NeuralDataError, match=told):
            triangle(FILE, bad, what="rdm")


def test_what_is_no_rdm():
    for value, told in (
        (np.zeros((2, 2)), r"an RDM of 2 stimuli; at least 3"),
        (np.zeros(7), r"of shape \(7,\) is no RDM"),
        (np.zeros((4, 5)), r"of shape \(4, 5\) is no RDM"),
        (np.zeros((2, 3, 4, 5)), r"is no RDM"),
        (np.zeros(0), r"is empty"),
        (np.array(["a"]), r"holds <U1"),
        (np.full(3, np.nan), r"3 dissimilarities that are NaN"),
    ):
        with pytest.raises(NeuralDataError, match=told):
            _rows(value)


def test_cells_of_different_sizes():
    cell = np.empty(2, dtype=object)
    cell[0], cell[1] = np.zeros((3, 3)), np.zeros((4, 4))
    with pytest.raises(NeuralDataError, match=r"RDMs of different sizes \(3, 4 stimuli\)"):
        _rows(cell)


def test_stacks_of_more_axes_and_the_toolbox_of_matlab(stack, pairs):
    cube = np.stack([stack[:3], stack[:3] * 2])  # (session 2, subject 3, 6, 6)
    np.testing.assert_array_equal(_rows(cube, index=(1,)).dissimilarities, pairs[:3] * 2)
    np.testing.assert_allclose(_rows(cube, average=0).dissimilarities, pairs[:3] * 1.5, rtol=1e-15)
    np.testing.assert_array_equal(_rows(pairs.T[None]).dissimilarities, pairs)  # (1, pair, subject)
    np.testing.assert_array_equal(_rows(cube, index=(0, slice(None, None, 2))).dissimilarities, pairs[[0, 2]])


@pytest.mark.parametrize(
    ("names", "average", "labels"),
    [
        ([["hIT | BE | S1", "hIT | BE | S2"], ["hIT | KO | S1", "hIT | KO | S2"]], 1, ("BE", "KO")),
        ([["BE_1", "BE_2"], ["KO_1", "KO_2"]], 1, ("BE", "KO")),
        ([["a", "b"], ["c", "d"]], 1, None),  # nothing shared: no name, so rows are numbered
        ([["x", "x"], ["x", "x"]], 1, None),  # nothing tells the rows apart
    ],
)
def test_names_of_averaged_rows(stack, names, average, labels):
    struct = np.empty((2, 2), dtype=[("RDM", object), ("name", object)])
    for at in np.ndindex(2, 2):
        struct[at] = (stack[2 * at[0] + at[1]], np.array([names[at[0]][at[1]]]))
    assert _rows(struct, average=average).labels == labels
