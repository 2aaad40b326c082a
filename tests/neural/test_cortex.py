"""The simulated cortex: what was put in comes out, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from netphys.errors import NeuralDataError
from netphys.neural import average_repetitions, read_assembly, simulate_cortex, true_responses, write_assembly

N, D = 600, 8


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(11).normal(size=(N, D)) * np.logspace(-3, 3, D) + 5.0  # units of any size


IDS = [f"stimulus {at}" for at in range(N)]


def _anova(assembly, n_repetitions: int) -> np.ndarray:
    """Reliability of each neuroid's mean, by one-way analysis of variance (definitions: 1.6)."""
    y = assembly.values.reshape(n_repetitions, -1, assembly.shape[1])
    within = y.var(axis=0, ddof=1).mean(axis=0)
    between = n_repetitions * y.mean(axis=0).var(axis=0, ddof=1)
    signal = (between - within) / n_repetitions
    return signal / (signal + within / n_repetitions)


def _held_out_r2(features: np.ndarray, responses: np.ndarray) -> float:
    """Squared correlation of a least-squares prediction with the other half of the stimuli, mean over neuroids."""
    design = np.column_stack([(features - features.mean(0)) / features.std(0), np.ones(len(features))])
    train = np.arange(len(features)) % 2 == 0
    predicted = design[~train] @ np.linalg.lstsq(design[train], responses[train], rcond=None)[0]
    a, b = predicted - predicted.mean(0), responses[~train] - responses[~train].mean(0)
    r = (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return float(np.mean(np.sign(r) * r**2))


def test_signal_variance_and_shape_are_exact(features):
    assembly = simulate_cortex(features, IDS, region="IT", n_subjects=2, n_neuroids=5, n_repetitions=3, noise=0.0)
    assert (
        assembly.dims == ("presentation", "neuroid") and assembly.shape == (3 * N, 10) and assembly.dtype == np.float64
    )
    means = assembly.values.reshape(3, N, 10)
    np.testing.assert_array_equal(means[0], means[2])  # without noise every repetition is the same
    np.testing.assert_allclose(means[0].mean(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(means[0].var(0), 1.0, rtol=1e-12)
    assert assembly["stimulus_id"].values.tolist() == IDS * 3
    assert assembly["repetition"].values.tolist() == [r for r in range(3) for _ in range(N)]
    assert assembly["animal"].values.tolist() == ["subject1"] * 5 + ["subject2"] * 5
    assert len(set(assembly["neuroid_id"].values)) == 10 and set(assembly["region"].values) == {"IT"}


@pytest.mark.parametrize(("noise", "n_repetitions"), [(0.5, 4), (4.0, 4), (9.0, 10)])
def test_reliability_comes_out(features, noise, n_repetitions):
    assembly = simulate_cortex(
        features, IDS, region="IT", n_subjects=2, n_neuroids=40, n_repetitions=n_repetitions, noise=noise, seed=1
    )
    rho = 1.0 / (1.0 + noise / n_repetitions)
    assert assembly.attrs["reliability"] == rho
    # one neuroid's estimate has a standard error near (1 - rho) sqrt(2/n) < 0.03; the mean of 80 below 0.004
    assert _anova(assembly, n_repetitions).mean() == pytest.approx(rho, abs=0.015)


@pytest.mark.parametrize("shared", [0.25, 0.5, 1.0])
def test_the_true_features_reach_the_ceiling_and_no_others_do(features, shared):
    assembly = simulate_cortex(
        features, IDS, region="IT", n_subjects=2, n_neuroids=40, n_repetitions=10, noise=4.0, shared=shared
    )
    _, means = average_repetitions(assembly)
    rho = assembly.attrs["reliability"]
    assert assembly.attrs["best_r2"] == pytest.approx(shared * rho)
    # definitions 8: ceiled score q +- 0.03; nine coefficients from 300 stimuli cost below 0.02
    assert _held_out_r2(features, means) / rho == pytest.approx(shared, abs=0.03)
    permuted = np.random.default_rng(0).permutation(N)
    assert abs(_held_out_r2(features[permuted], means) / rho) < 0.02  # control: labels permuted
    others = np.random.default_rng(5).normal(size=(N, D))
    assert abs(_held_out_r2(others, means) / rho) < 0.02  # control: features that drive nothing


def test_the_private_part_is_explained_by_nothing(features):
    assembly = simulate_cortex(
        features, IDS, region="IT", n_subjects=2, n_neuroids=40, n_repetitions=1, noise=0.0, shared=0.0
    )
    y = assembly.values
    assert abs(_held_out_r2(features, y)) < 0.02
    between = np.corrcoef(y[:, :40].T, y[:, 40:].T)[:40, 40:]  # of different subjects
    assert np.abs(between).mean() == pytest.approx(np.sqrt(2 / np.pi / N), rel=0.1)  # what independent columns give


def test_same_seed_same_bits_other_names_other_numbers(features):
    def made(**changes):
        return simulate_cortex(
            features, IDS, **{"region": "IT", "n_subjects": 2, "n_neuroids": 4, "seed": 3, **changes}
        ).values

    np.testing.assert_array_equal(made(), made())
    assert not np.allclose(made(), made(seed=4)) and not np.allclose(made(), made(region="V1"))
    np.testing.assert_array_equal(made()[:, :4], made(n_subjects=3)[:, :4])  # another subject changes no subject
    assert np.abs(np.corrcoef(made()[:, :4].T, made()[:, 4:].T)[:4, 4:]).max() < 0.9  # subjects differ


def test_the_order_of_stimuli_is_of_no_account(features):
    order = np.random.default_rng(2).permutation(N)
    plain = simulate_cortex(features, IDS, region="IT", n_subjects=1, n_neuroids=5, n_repetitions=2)
    moved = simulate_cortex(
        features[order], [IDS[at] for at in order], region="IT", n_subjects=1, n_neuroids=5, n_repetitions=2
    )
    rows = plain.values.reshape(2, N, 5)[:, order].reshape(-1, 5)
    np.testing.assert_allclose(moved.values, rows, atol=1e-10)  # sums over stimuli in another order
    by_position = plain.values
    assert np.abs(np.corrcoef(moved.values[:, 0], by_position[:, 0])[0, 1]) < 0.15  # control: joined by position


def test_units_of_features_are_of_no_account(features):
    scaled = features * np.linspace(1, 50, D) - 3.0
    constant = np.column_stack([scaled, np.full(N, 0.1)])
    plain = simulate_cortex(features, IDS, region="IT", n_subjects=1, n_neuroids=5).values
    np.testing.assert_allclose(
        simulate_cortex(constant, IDS, region="IT", n_subjects=1, n_neuroids=5).values, plain, atol=1e-8
    )


def test_true_responses_have_the_geometry_of_the_features(features):
    few = features[:60]
    truth = true_responses(few, region="IT")
    assert truth.shape == (60, 2000)
    np.testing.assert_allclose(truth.var(0), 1.0, rtol=1e-12)
    scaled = (few - few.mean(0)) / few.std(0)
    assert spearmanr(pdist(truth, "sqeuclidean"), pdist(scaled, "sqeuclidean")).statistic > 0.98
    big = simulate_cortex(
        few, IDS[:60], region="IT", n_subjects=1, n_neuroids=2000, n_repetitions=1, noise=0.0, shared=1.0
    )
    assert spearmanr(pdist(truth, "correlation"), pdist(big.values, "correlation")).statistic > 0.98
    small = simulate_cortex(
        few, IDS[:60], region="IT", n_subjects=1, n_neuroids=60, n_repetitions=2, noise=4.0, shared=0.3
    )
    _, means = average_repetitions(small)
    noisy = spearmanr(pdist(truth, "correlation"), pdist(means, "correlation")).statistic
    assert 0.05 < noisy < 0.8  # noise and private parts lower it
    shuffled = truth[np.random.default_rng(1).permutation(60)]
    assert abs(spearmanr(pdist(shuffled, "correlation"), pdist(big.values, "correlation")).statistic) < 0.15  # control


def test_it_is_written_with_its_truth(tmp_path: Path, features):
    assembly = simulate_cortex(features, IDS, region="IT", n_subjects=1, n_neuroids=3, seed=7, shared=0.5)
    back = read_assembly(write_assembly(assembly, tmp_path / "it.nc"))
    np.testing.assert_array_equal(back.values, assembly.values)
    assert {key: back.attrs[key] for key in ("shared", "noise", "n_repetitions", "reliability", "best_r2", "seed")} == {
        "shared": 0.5, "noise": 1.0, "n_repetitions": 4, "reliability": 0.8, "best_r2": 0.4, "seed": 7,
    }  # fmt: skip


def test_what_makes_no_cortex(features):
    for arguments, told in (
        ({"features": features[:5]}, r"a row for each of 600 ids; these have shape \(5, 8\)"),
        ({"stimulus_ids": ["a"] * N}, r"unique stimulus ids"),
        ({"features": features[:2], "stimulus_ids": IDS[:2]}, r"at least 3 stimuli"),
        ({"features": np.where(features > 5, np.nan, features)}, r"hold NaN"),
        ({"features": np.ones((N, 2))}, r"do not vary"),
        ({"shared": 1.2}, r"shared=1\.2 is no share"),
        ({"shared": float("nan")}, r"shared=nan is no share"),
        ({"noise": -1.0}, r"noise=-1\.0 is no variance"),
        ({"n_neuroids": 0}, r"n_neuroids, a whole number of at least 1"),
    ):
        with pytest.raises(NeuralDataError, match=told):
            simulate_cortex(**{"features": features, "stimulus_ids": IDS, "region": "IT", **arguments})
