"""Multinomial logistic regression with an L2 penalty, along a warm-started path of penalties.

Minimised is the mean cross-entropy plus ``penalty / 2 * sum(weights**2)``; the intercept is free. Features wider
than they are many are first turned into as many dimensions as there are stimuli (QR), which changes nothing: the
optimum lies in the span of the stimuli. L-BFGS (Liu & Nocedal 1989, doi:10.1007/BF01589116) runs in float64 and is
preconditioned by the curvature: at first that at zero weights, where it is slow that of each class at the present ones.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from netphys.errors import OptionError
from netphys.probes.curvature import Curvature, product

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float

__all__ = ["Logistic", "Reduced", "logistic_path"]

log = logging.getLogger(__name__)

TOLERANCE = 1e-6  # norm of the gradient of the mean objective: 1e-6 n of the sum over n stimuli
_MEMORY = 12  # pairs that L-BFGS remembers
_MOST = 2000  # iterations a penalty
_ARMIJO = 1e-4  # share of the promised decrease that a step must give
_ROUNDING = 1e-14  # of the objective, below which a difference means nothing


@dataclass(frozen=True, repr=False)
class Logistic:
    """A fitted regression.

    With ``C`` of scikit-learn's ``LogisticRegression`` and n stimuli, ``C = 1 / (n * penalty)`` gives the same weights
    for three classes or more. Its regression of two classes has one weight a feature, ours two that are opposite: there
    ``C = 2 / (n * penalty)``, and its weight is the difference of ours (second class minus first).
    """

    classes: tuple[str, ...]
    weights: Float[np.ndarray, "feature class"]
    intercept: Float[np.ndarray, " class"]
    penalty: float
    loss: float  # mean cross-entropy, without the penalty, nats
    gradient_norm: float  # of the mean objective, over weights and intercept
    n_iterations: int
    converged: bool  # gradient_norm below the tolerance; never where no optimum exists
    separated: bool  # every stimulus is on its class's side: without a penalty there is no optimum

    def __repr__(self) -> str:
        state = "converged" if self.converged else "NOT converged"
        return f"Logistic({self}, {state} in {self.n_iterations} iterations)"

    def __str__(self) -> str:
        return f"{len(self.classes)} classes, penalty {self.penalty:.3g}: cross-entropy {self.loss:.3f} nats"

    def logits(self, features: Float[np.ndarray, "stimulus feature"]) -> Float[np.ndarray, "stimulus class"]:
        """Return log odds of the classes, up to a constant a stimulus."""
        return features @ self.weights + self.intercept

    def predict(self, features: Float[np.ndarray, "stimulus feature"]) -> np.ndarray:
        """Return the most probable class of each stimulus."""
        return np.array(self.classes, dtype=object)[self.logits(features).argmax(axis=1)]


def logistic_path(
    features: Float[np.ndarray, "stimulus feature"],
    labels: Sequence[str],
    penalties: Sequence[float],
    *,
    tolerance: float = TOLERANCE,
) -> tuple[Logistic, ...]:
    """Fit a path of penalties, each from the solution of the one before it.

    Parameters
    ----------
    features : array (stimulus, feature)
        As they are: nothing is standardised here.
    labels : sequence of str
        The class of each stimulus; two or more classes.
    penalties : sequence of float
        0 or more; from large to small is quickest. Without a penalty, data whose classes a plane separates have no
        optimum: `separated` is set, `converged` is not, and the log says so.
    tolerance : float
        Norm of the gradient of the mean objective at which a fit is done.

    Returns
    -------
    tuple of Logistic
        One a penalty, in the order given.

    Raises
    ------
    OptionError
        If shapes do not fit, a value is not finite, there is one class only, or a penalty is negative.

    Notes
    -----
    ``mean_i (logsumexp_q z_iq - z_i,y(i)) + penalty / 2 * sum_jq W_jq**2`` with ``z = X W + b``; b is not penalised.

    Examples
    --------
    >>> one, two = logistic_path(np.array([[-2.0], [1.0], [-1.0], [2.0]]), ["a", "a", "b", "b"], [1e3, 1e-3])
    >>> two.converged, round(two.loss, 2)
    (True, 0.64)
    """
    x, names = np.asarray(features), [str(each) for each in labels]
    if x.ndim != 2 or len(x) != len(names):
        raise OptionError(f"features are {x.shape} for {len(names)} labels; expected (stimulus, feature)")
    if not np.isfinite(x).all():
        raise OptionError(f"{int((~np.isfinite(x)).sum())} of {x.size} features are not finite")
    classes, codes = np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)
    if len(classes) < 2:
        raise OptionError(f"all labels are {names[0]!r}; a probe needs two classes or more" if names else "no stimuli")
    if any(not each >= 0 for each in penalties):
        raise OptionError(f"penalties are 0 or more, not {min(penalties)}")
    reduced = Reduced(x)
    fit = Fit(reduced.scores, codes, len(classes))
    found = [fit.at(float(penalty), tolerance) for penalty in penalties]
    return tuple(reduced.named(each, tuple(map(str, classes))) for each in found)


class Reduced:
    """Features in no more dimensions than there are stimuli; weights go back without loss.

    Parameters
    ----------
    features : array (stimulus, feature)
        Finite numbers.
    """

    def __init__(self, features: np.ndarray) -> None:
        import torch

        x = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float64))
        self._basis = None
        if x.shape[1] > x.shape[0]:
            self._basis, triangle = torch.linalg.qr(x.T)
            x = triangle.T.contiguous()
        self.scores: torch.Tensor = x  # float64 (stimulus, dimension)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Bring other stimuli's features into the same dimensions."""
        return features if self._basis is None else features @ self._basis

    def named(self, solution: Solution, classes: tuple[str, ...]) -> Logistic:
        """Say a solution in the features that were given."""
        weights = solution.weights if self._basis is None else self._basis @ solution.weights
        return Logistic(
            classes,
            weights.numpy(),
            solution.intercept.numpy(),
            solution.penalty,
            solution.loss,
            solution.gradient_norm,
            solution.n_iterations,
            solution.converged,
            solution.separated,
        )


@dataclass(frozen=True)
class Solution:
    """Weights and intercept in the reduced dimensions, and how they were reached."""

    weights: torch.Tensor  # (dimension, class)
    intercept: torch.Tensor
    penalty: float
    loss: float
    gradient_norm: float
    n_iterations: int
    converged: bool
    separated: bool


class Fit:
    """Fits of the same features and labels, each from the weights of the last one.

    Parameters
    ----------
    scores : tensor (stimulus, dimension)
        float64.
    codes : int array (stimulus,)
        The class of each.
    n_classes : int
        How many classes there are.
    """

    def __init__(self, scores: torch.Tensor, codes: np.ndarray, n_classes: int) -> None:
        import torch

        self._mean = scores.mean(0)
        ones = torch.ones(len(scores), 1, dtype=scores.dtype)
        self._x = torch.cat([scores - self._mean, ones], dim=1)  # centred: weights and intercept are nearly independent
        self._targets = torch.from_numpy(np.ascontiguousarray(codes, dtype=np.int64))
        counts = torch.bincount(self._targets, minlength=n_classes).to(scores.dtype)
        self._weights = torch.zeros(self._x.shape[1], n_classes, dtype=scores.dtype)
        self._weights[-1] = (counts / len(scores)).clamp_min(0.5 / len(scores)).log()
        self._weights[-1] -= self._weights[-1].mean()
        self._curvature = Curvature(self._x, counts / len(scores))

    def at(self, penalty: float, tolerance: float = TOLERANCE, *, quiet: bool = False) -> Solution:
        """Go on from the present weights to the optimum of a penalty; `quiet` logs nothing."""
        ridge = self._x.new_full((self._x.shape[1], 1), penalty)
        ridge[-1] = 0
        state = _State(self._x, self._targets, self._weights, ridge).differentiate()
        self._curvature.prepare(penalty)
        solved = self._curvature.solve(state.gradient)
        history: list[_Pair] = []
        n_iterations = waited = 0
        stuck = False
        while state.gradient_norm > tolerance and n_iterations < _MOST and not stuck:
            if penalty == 0 and state.separated:
                break
            if waited >= self._curvature.patience and self._curvature.refresh(state.probabilities):
                history, waited, solved = [], 0, self._curvature.solve(state.gradient)
            following = state.step(_direction(state.gradient, solved, history))
            if following is None:
                stuck, history = not history, []  # once more without memory, before it is given up
                continue
            following_solved = self._curvature.solve(following.gradient)
            step, change = following.weights - state.weights, following.gradient - state.gradient
            along = float((step * change).sum())
            if along > 0:
                history = [*history[1 - _MEMORY :], _Pair(step, change, following_solved - solved, 1 / along)]
            state, solved = following, following_solved
            n_iterations, waited = n_iterations + 1, waited + 1
        self._weights = state.weights
        return self._solution(state, penalty, n_iterations, tolerance, quiet)

    def _solution(self, state: _State, penalty: float, n_iterations: int, tolerance: float, quiet: bool) -> Solution:
        separated = state.separated
        converged = state.gradient_norm <= tolerance and not (separated and penalty == 0)
        if not converged and not quiet:
            why = "the classes are separated by planes, so that without a penalty there is no optimum" * (
                separated and penalty == 0
            )
            log.warning(
                "logistic regression at penalty %.3g did not converge: %s",
                penalty,
                why or f"gradient norm {state.gradient_norm:.2g} after {n_iterations} iterations",
            )
        weights, free = state.weights[:-1], state.weights[-1]
        return Solution(
            weights,
            free - self._mean @ weights,
            penalty,
            state.cross_entropy,
            state.gradient_norm,
            n_iterations,
            converged,
            separated,
        )


class _State:
    """The objective, its gradient and what they are made of, at some weights."""

    def __init__(
        self,
        x: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
        ridge: torch.Tensor,
        logits: torch.Tensor | None = None,
    ) -> None:
        import torch

        self._x, self._targets, self._ridge, self.weights = x, targets, ridge, weights
        self.logits = x @ weights if logits is None else logits
        self._normaliser = torch.logsumexp(self.logits, 1)
        own = self.logits.gather(1, targets[:, None])[:, 0]
        self.cross_entropy = float((self._normaliser - own).mean())
        self.objective = self.cross_entropy + 0.5 * float((ridge * weights * weights).sum())

    def differentiate(self) -> _State:
        """Add probabilities and gradient: the costly part, for states that are kept."""
        self.probabilities = (self.logits - self._normaliser[:, None]).exp_()
        residual = self.probabilities / len(self._x)
        rows = np.arange(len(self._x))
        residual[rows, self._targets] -= 1 / len(self._x)
        self.gradient = product(residual, self._x).T + self._ridge * self.weights
        self.gradient_norm = float(self.gradient.norm())
        return self

    @property
    def separated(self) -> bool:
        """Tell whether every stimulus lies on the side of its class: a proof that planes separate the classes."""
        own = self.logits.gather(1, self._targets[:, None])
        others = self.logits.scatter(1, self._targets[:, None], -np.inf)
        return bool((own[:, 0] > others.amax(1)).all())

    def step(self, direction: torch.Tensor) -> _State | None:
        """Go along a direction until the objective falls; the logits move along a line, so trying costs little."""
        slope = float((self.gradient * direction).sum())
        if not slope < 0:
            return None
        moved, size = self._x @ direction, 1.0
        while size > 1e-12:
            tried = _State(
                self._x, self._targets, self.weights + size * direction, self._ridge, self.logits + size * moved
            )
            allowed = _ROUNDING * max(1.0, abs(self.objective))
            if tried.objective <= self.objective + _ARMIJO * size * slope + allowed:
                return tried.differentiate()
            size *= 0.5
        return None


class _Pair(NamedTuple):
    """A step that was taken, and what it told of the curvature."""

    step: torch.Tensor
    change: torch.Tensor  # of the gradient
    solved: torch.Tensor  # the same, through the approximate inverse
    inverse: float  # 1 / (step · change)


def _direction(gradient: torch.Tensor, solved: torch.Tensor, history: Sequence[_Pair]) -> torch.Tensor:
    """Return minus the two-loop recursion of L-BFGS.

    In its middle is the approximate inverse of the curvature. It is linear, so what it makes of the rest of the
    gradient follows from what it made of the gradient and of the changes: it is applied once a step.
    """
    rest, middle, shares = gradient.clone(), solved.clone(), []
    for pair in reversed(history):
        share = pair.inverse * float((pair.step * rest).sum())
        rest.sub_(pair.change, alpha=share)
        middle.sub_(pair.solved, alpha=share)
        shares.append(share)
    if history:
        last = history[-1]
        middle /= last.inverse * float((last.change * last.solved).sum())
    for pair, share in zip(history, reversed(shares)):
        middle.add_(pair.step, alpha=share - pair.inverse * float((pair.change * middle).sum()))
    return -middle
