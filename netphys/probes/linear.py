"""A linear probe: which class can be read from features by planes, with nothing tuned on the test.

Features are standardised on the training stimuli; the penalty is searched on a held part of them, from coarse to fine
(Radford et al. 2021, arXiv:2103.00020, appendix A.3); the probe is fitted again on all of them and meets the test once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import OptionError
from netphys.files import ensure_folder, write_json, write_text
from netphys.probes.logistic import Fit, Reduced, Solution
from netphys.probes.splitting import hold_out
from netphys.provenance import array_digest, provenance

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from jaxtyping import Float, Int
    from matplotlib.axes import Axes

__all__ = ["PENALTIES", "LinearProbe", "linear_probe"]

PENALTIES = tuple(float(each) for each in np.logspace(-6, 6, 96))
_HELD = 0.2  # of the training stimuli, to choose the penalty
_COARSE = 16  # penalties between those that are tried first: seven of 96
_CONSTANT = 1e-10  # a unit whose sd is below this part of its largest value says nothing
_SETTLED = 1e-4  # gradient norm at which a fit of the search is done; the last fit is exact
_RISE = 0.02  # nats above the least so far, behind which the search for the penalty goes no further down


@dataclass(frozen=True, repr=False)
class LinearProbe:
    """What a linear probe read from features, and how."""

    classes: tuple[str, ...]
    accuracy: float  # share of the test stimuli that are told right
    chance: float  # share of the largest class of the test: no constant answer does better
    confusion: Int[np.ndarray, "class answer"]  # test stimuli by class and by the answer given
    correct: np.ndarray  # bool (test stimulus,), in the order of `test`
    test: Int[np.ndarray, " stimulus"]  # rows of the features
    penalty: float
    held_accuracy: float  # of the chosen penalty on the held part of the training stimuli
    converged: bool
    gradient_norm: float  # of the mean objective, at the last fit
    n_train: int
    n_features: int
    seed: int
    inputs: dict[str, str]  # digests

    def __repr__(self) -> str:
        return f"LinearProbe({self})"

    def __str__(self) -> str:
        return (
            f"{self.accuracy:.3f} of {len(self.correct)} test stimuli told right, chance {self.chance:.3f} "
            f"(1/{len(self.classes)} = {1 / len(self.classes):.3f}), penalty {self.penalty:.2g}"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the confusion matrix, one row a pair: class, answer, n, share of the class."""
        import pandas as pd

        share = self.confusion / np.maximum(self.confusion.sum(1, keepdims=True), 1)
        n = len(self.classes)
        return pd.DataFrame(
            {
                "class": np.repeat(np.array(self.classes, dtype=object), n),
                "answer": np.tile(np.array(self.classes, dtype=object), n),
                "n": self.confusion.ravel(),
                "share": share.ravel(),
            }
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the confusion matrix: of each class (row) the share of each answer, in percent."""
        from netphys.probes.drawing import plot_confusion

        return plot_confusion(self, ax)

    def save(self, folder: Path | str, name: str = "probe") -> list[Path]:
        """Write ``NAME.csv`` (the confusion matrix) and ``NAME.json`` (what made it); return both paths."""
        folder = ensure_folder(folder)
        options = {"penalty": self.penalty, "n_train": self.n_train, "n_features": self.n_features}
        made = provenance("probes.linear_probe", options, self.inputs, seed=self.seed, finding=str(self))
        table = write_text(folder / f"{name}.csv", self.to_frame().to_csv(index=False))
        return [table, write_json(folder / f"{name}.json", made)]


def linear_probe(
    features: Float[np.ndarray, "stimulus feature"],
    labels: Sequence[str],
    *,
    train: Sequence[int] | np.ndarray,
    test: Sequence[int] | np.ndarray,
    groups: Sequence[str] | None = None,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> LinearProbe:
    """Probe features for a label.

    Parameters
    ----------
    features : array (stimulus, feature)
        Activations, as they are.
    labels : sequence of str
        The class of each stimulus.
    train, test : sequence of int, or bool array (stimulus,)
        Which rows; no row is in both. The held part is drawn by the place in `train`.
    groups : sequence of str, optional
        What each stimulus is of: the held part of the training stimuli is one of whole groups, too.
    penalties : sequence of float
        Searched on a held fifth of the training stimuli, from coarse to fine; the least cross-entropy on the held part
        wins. Default: 96 from 1e-6 to 1e6.
    seed : int
        Of the held part.

    Returns
    -------
    LinearProbe

    Raises
    ------
    OptionError
        If rows are shared, values are not finite, or a class has fewer than 2 training stimuli.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.array(["a", "b"] * 50)
    >>> features = rng.normal(size=(100, 5)) + 3.0 * (labels == "b")[:, None]
    >>> linear_probe(features, labels, train=range(60), test=range(60, 100))
    LinearProbe(1.000 of 40 test stimuli told right, chance 0.500 (1/2 = 0.500), penalty 0.00014)
    """
    x, names = np.asarray(features), np.array([str(each) for each in labels])
    train, test = _parts(x, names, train, test)
    classes, codes = np.unique(names[train], return_inverse=True)
    _require_classes(names, train, test, classes, codes)
    if len(penalties) < 1 or min(penalties) < 0:
        raise OptionError("penalties are one number or more, each 0 or more")
    reduced, across = _reduced(x, train, test)
    own_groups = None if groups is None else np.array([str(each) for each in groups])[train]
    held = hold_out(
        [f"{at:012d}" for at in range(len(train))], names[train], _HELD, groups=own_groups, seed=seed, name="search"
    )
    ladder = np.sort(np.array(penalties, dtype=float))[::-1]
    chosen, held_accuracy = _search(reduced.scores, codes, held, len(classes), ladder)
    fitted = Fit(reduced.scores, codes, len(classes)).at(chosen)
    answers = (across @ fitted.weights + fitted.intercept).numpy().argmax(1)
    truth = np.searchsorted(classes, names[test])
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (truth, answers), 1)
    return LinearProbe(
        classes=tuple(map(str, classes)),
        accuracy=float((answers == truth).mean()),
        chance=float(confusion.sum(1).max() / len(test)),
        confusion=confusion,
        correct=answers == truth,
        test=test,
        penalty=float(chosen),
        held_accuracy=held_accuracy,
        converged=fitted.converged,
        gradient_norm=fitted.gradient_norm,
        n_train=len(train),
        n_features=x.shape[1],
        seed=seed,
        inputs={"features": array_digest(x), "labels": array_digest(codes), "test": array_digest(test)},
    )


def _parts(x: np.ndarray, names: np.ndarray, train: object, test: object) -> tuple[np.ndarray, np.ndarray]:
    """Turn masks into rows, and see that the parts share none."""
    if x.ndim != 2 or len(x) != len(names):
        raise OptionError(f"features are {x.shape} for {len(names)} labels; expected (stimulus, feature)")
    if not np.isfinite(x).all():
        raise OptionError(f"{int((~np.isfinite(x)).sum())} of {x.size} activations are not finite (NaN or infinite)")
    rows = [np.asarray(list(each) if isinstance(each, range) else each) for each in (train, test)]
    rows = [np.flatnonzero(each) if each.dtype == bool else each.astype(np.int64) for each in rows]
    shared = np.intersect1d(rows[0], rows[1])
    if len(shared):
        raise OptionError(f"{len(shared)} stimuli are in training and test, first row {shared[0]}; no row may be")
    if not all(map(len, rows)):
        raise OptionError("training and test need stimuli, one at least each")
    return rows[0], rows[1]


def _require_classes(
    names: np.ndarray, train: np.ndarray, test: np.ndarray, classes: np.ndarray, codes: np.ndarray
) -> None:
    """Refuse labels that cannot be learnt or tested."""
    if len(classes) < 2:
        raise OptionError(f"all training stimuli are {str(classes[0])!r}; a probe needs two classes or more")
    counts = np.bincount(codes)
    if counts.min() < 2:
        few = str(classes[int(counts.argmin())])
        raise OptionError(f"class {few!r} has fewer than 2 training stimuli; leave it out, or take fewer for the test")
    unknown = np.setdiff1d(names[test], classes)
    if len(unknown):
        raise OptionError(f"class {str(unknown[0])!r} is in the test only; no probe can know it")


def _reduced(x: np.ndarray, train: np.ndarray, test: np.ndarray) -> tuple[Reduced, torch.Tensor]:
    """Standardise on the training stimuli and reduce: the training features, and the test in their dimensions."""
    import torch

    own, other = x[train].astype(np.float64), x[test].astype(np.float64)
    mean, scale = own.mean(0), own.std(0)
    scale[scale <= _CONSTANT * np.abs(own).max(0)] = np.inf  # a constant unit becomes 0
    reduced = Reduced((own - mean) / scale)
    return reduced, reduced.project(torch.from_numpy((other - mean) / scale))


def _search(
    scores: torch.Tensor, codes: np.ndarray, held: np.ndarray, n_classes: int, ladder: np.ndarray
) -> tuple[float, float]:
    """Find the penalty with the least cross-entropy on the held part: coarse, then halfway on both sides of the best.

    The cross-entropy has one valley along the penalty, where accuracy has steps and ties: the coarse descent ends
    behind the valley, before the small penalties whose fits are the longest.
    """
    fit = Fit(scores[~held], codes[~held], n_classes)
    inside, truth = scores[held], codes[held]
    tried: dict[int, tuple[float, float]] = {}

    def judge(index: int) -> float:
        if 0 <= index < len(ladder) and index not in tried:
            tried[index] = _judged(fit.at(float(ladder[index]), _SETTLED, quiet=True), inside, truth)
        return tried[index][0] if index in tried else np.inf

    least = np.inf
    for index in [*range(0, len(ladder), _COARSE), len(ladder) - 1]:
        if judge(index) > least + _RISE:
            break
        least = min(least, tried[index][0])
    step = _COARSE // 2
    while step:
        best = min(tried, key=lambda index: tried[index])
        for index in (best - step, best + step):
            judge(index)
        step //= 2
    best = min(tried, key=lambda index: tried[index])
    return float(ladder[best]), tried[best][1]


def _judged(solution: Solution, inside: torch.Tensor, truth: np.ndarray) -> tuple[float, float]:
    """Cross-entropy and accuracy on the held part."""
    import torch

    logits = inside @ solution.weights + solution.intercept
    targets = torch.from_numpy(truth)
    accuracy = float((logits.argmax(1) == targets).double().mean())
    return float(torch.nn.functional.cross_entropy(logits, targets)), accuracy
