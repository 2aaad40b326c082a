"""Logistic regression: scikit-learn's numbers, an exact gradient, an honest word where there is no optimum."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.errors import OptionError
from netphys.probes import logistic_path
from netphys.probes.curvature import Curvature


def problem(seed: int, *, n: int = 300, d: int = 12, q: int = 4, strength: float = 1.0):
    """Correlated features of unlike scales, and classes drawn from a softmax of them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5 @ rng.normal(size=(d, d)) + rng.normal(size=d)
    logits = strength * (x - x.mean(0)) @ rng.normal(size=(d, q)) / np.sqrt(d)
    y = (logits + rng.gumbel(size=(n, q))).argmax(1)
    return x, np.array([f"class {code}" for code in y])


def sklearn_at(x, y, penalty, q):
    from sklearn.linear_model import LogisticRegression

    c = (2 if q == 2 else 1) / (len(x) * penalty)
    return LogisticRegression(C=c, tol=1e-10, max_iter=20_000).fit(x, y)


@pytest.mark.parametrize("seed", np.random.SeedSequence().generate_state(2).tolist())
@pytest.mark.parametrize(("n", "d", "q"), [(300, 12, 4), (120, 8, 2), (60, 90, 3)])
def test_equals_scikit_learn_on_fresh_data(seed, n, d, q):
    x, y = problem(seed, n=n, d=d, q=q)
    fresh, truth = problem(seed + 1, n=n, d=d, q=q)
    for ours in logistic_path(x, y, [1.0, 0.1, 1e-2], tolerance=1e-9):
        peer = sklearn_at(x, y, ours.penalty, len(ours.classes))
        weights = ours.weights.T if len(ours.classes) > 2 else (ours.weights[:, 1] - ours.weights[:, 0])[None]
        scale = max(1.0, np.abs(peer.coef_).max())
        assert np.abs(weights - peer.coef_).max() <= 1e-4 * scale, seed  # the definition's tolerance
        assert ours.classes == tuple(peer.classes_)
        accuracy = (ours.predict(fresh) == truth).mean(), (peer.predict(fresh) == truth).mean()
        assert abs(accuracy[0] - accuracy[1]) <= max(1e-3, 1.01 / len(truth)), seed  # one stimulus on the very plane


def test_another_penalty_is_seen():
    """Control: the comparison with scikit-learn fails at twice the penalty."""
    x, y = problem(0)
    (ours,) = logistic_path(x, y, [0.1])
    assert np.abs(ours.weights.T - sklearn_at(x, y, 0.2, 4).coef_).max() > 1e-2


def gradient(x, y, fitted):
    """By hand, of the mean objective."""
    logits = fitted.logits(x)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    residual = (p - (y[:, None] == np.array(fitted.classes))) / len(x)
    return np.concatenate([x.T @ residual + fitted.penalty * fitted.weights, residual.sum(0, keepdims=True)])


@pytest.mark.parametrize("shape", [(300, 12), (40, 200)])
def test_the_gradient_at_the_solution_is_what_is_said(shape):
    x, y = problem(1, n=shape[0], d=shape[1])
    x = x - x.mean(0)  # what is said is of centred features
    for fitted in logistic_path(x, y, [10.0, 1e-2, 1e-4]):
        assert fitted.converged and fitted.gradient_norm < 1e-6
        assert np.linalg.norm(gradient(x, y, fitted)) == pytest.approx(fitted.gradient_norm, abs=1e-9)
        fitted.weights[0, 0] += 0.1  # control: other weights have another gradient
        assert np.linalg.norm(gradient(x, y, fitted)) > 1e-6


def test_separable_data_without_a_penalty_are_flagged(caplog):
    x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    (fitted,) = logistic_path(x, ["a", "a", "b", "b"], [0.0])
    assert fitted.separated and not fitted.converged and "NOT converged" in repr(fitted)
    assert "without a penalty there is no optimum" in caplog.text
    (mixed,) = logistic_path(x, ["a", "b", "a", "b"], [0.0])  # control: no plane separates these
    assert mixed.converged and not mixed.separated


def test_a_path_reaches_the_same_optima_in_any_order():
    x, y = problem(2)
    down = logistic_path(x, y, [1.0, 1e-2, 1e-4], tolerance=1e-9)
    up = logistic_path(x, y, [1e-4, 1e-2, 1.0], tolerance=1e-9)
    for a, b in zip(down, reversed(up)):
        # strictly convex with the penalty: weights differ by at most the sum of the gradients over the penalty
        assert np.abs(a.weights - b.weights).max() <= 2e-9 / a.penalty


def test_order_of_stimuli_and_rotation_do_not_count():
    x, y = problem(3)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(x.shape[1],) * 2))[0]
    order = np.random.default_rng(1).permutation(len(x))
    (plain,), (turned,) = (
        logistic_path(features, labels, [0.1], tolerance=1e-10)
        for features, labels in ((x, y), (x[order] @ turn, y[order]))
    )
    assert np.allclose(turn.T @ plain.weights, turned.weights, rtol=0, atol=1e-8)  # 1e-10 / penalty, and rounding


def test_more_dimensions_than_stimuli_are_reduced_without_loss():
    x, y = problem(4, n=50, d=20)
    wide = np.concatenate([x, np.zeros((50, 80))], axis=1)
    wide = wide @ np.linalg.qr(np.random.default_rng(0).normal(size=(100, 100)))[0]
    (narrow,), (reduced,) = (logistic_path(each, y, [0.05], tolerance=1e-10) for each in (x, wide))
    assert np.allclose(narrow.logits(x), reduced.logits(wide), rtol=0, atol=1e-7)


def test_the_curvature_never_changes_the_solution(monkeypatch):
    x, y = problem(5, strength=6.0)
    with_blocks = logistic_path(x, y, [1e-3, 1e-5], tolerance=1e-8)
    monkeypatch.setattr(Curvature, "refresh", lambda *_: False)
    without = logistic_path(x, y, [1e-3, 1e-5], tolerance=1e-8)
    assert sum(each.n_iterations for each in with_blocks) < sum(each.n_iterations for each in without)
    for a, b in zip(with_blocks, without):
        assert np.abs(a.weights - b.weights).max() <= 2e-8 / a.penalty


@pytest.mark.parametrize(
    ("features", "labels", "penalties", "text"),
    [
        (np.zeros((3, 2)), ["a", "b"], [1], r"features are \(3, 2\) for 2 labels"),
        (np.array([[np.nan], [1.0]]), ["a", "b"], [1], "1 of 2 features are not finite"),
        (np.zeros((2, 1)), ["a", "a"], [1], "all labels are 'a'; a probe needs two classes"),
        (np.zeros((2, 1)), ["a", "b"], [-1], "penalties are 0 or more, not -1"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(features, labels, penalties, text):
    with pytest.raises(OptionError, match=text):
        logistic_path(features, labels, penalties)
