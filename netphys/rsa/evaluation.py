"""Which layer agrees best with the brain, and how sure is that? Scores with intervals from a bootstrap over stimuli.

Schütt, Kipnis, Diedrichsen & Kriegeskorte (2023), eLife 12:e82566, doi:10.7554/eLife.82566.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import LayerNotFound, MatchError, OptionError, near
from netphys.files import ensure_folder, write_json, write_text
from netphys.inference import resampled_variance, stimulus_draws, t_interval, t_p
from netphys.provenance import digest, provenance
from netphys.rsa.ceilings import NoiseCeiling, ceiling_of
from netphys.rsa.comparison import check_comparison, similarity
from netphys.rsa.pairs import RDMSet, joined, shared_pairs, unique_or_error
from netphys.rsa.resampling import resample
from netphys.scores import tidy

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float
    from matplotlib.axes import Axes

__all__ = ["Difference", "RSAResult", "compare_models", "evaluate"]

_LEAST_STIMULI = 4  # three stimuli have three pairs, of which a draw mostly keeps one
_LOST_DRAWS = 0.05  # of the draws: more without a score are worth a warning
_NAMES = ("the model RDMs", "the data RDMs")


@dataclass(frozen=True, repr=False)
class RSAResult:
    """How well the RDMs of layers (or models) agree with those of neural data."""

    layers: tuple[str, ...]
    layer_index: tuple[int, ...]
    networks: tuple[str, ...]  # of each layer
    n_units: tuple[int | None, ...]  # of each layer, where known
    scores: Float[np.ndarray, " layer"]  # mean over subjects, on the stimuli as they were shown
    variance: Float[np.ndarray, " layer"]  # of the score, for other stimuli of the kind
    ceiling: NoiseCeiling
    subject_scores: Float[np.ndarray, "layer subject"]
    draws_scores: Float[np.ndarray, "bootstrap layer"]
    draws_ceiling: Float[np.ndarray, "bootstrap bound"]  # lower, upper
    subjects: tuple[str, ...]
    method: str
    measure: str  # "spearman of correlation RDMs"
    training: str
    dataset: str
    region: str
    n_stimuli: int
    kept: float  # fraction of the pairs of stimuli that have a dissimilarity in all RDMs
    n_bootstraps: int
    seed: int
    inputs: dict[str, str]  # digests

    def __repr__(self) -> str:
        return f"RSAResult({self})"

    def __str__(self) -> str:
        ceiling = f"ceiling {self.ceiling}"
        if not np.isfinite(self.scores).any():
            return f"no score for {len(self.layers)} layers, {ceiling}"
        best = self.best
        many = f" best of {len(self.layers)} layers" if len(self.layers) > 1 else ""
        low, high = self.ci_low[best], self.ci_high[best]
        interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else ""
        return f"{self.layers[best]}{many}: {self.scores[best]:.2f}{interval}, {ceiling}"

    @property
    def best(self) -> int:
        """The row of the best layer; chosen on these data, so its score is a little optimistic."""
        return int(np.nanargmax(self.scores))

    @property
    def dof(self) -> int:
        """Degrees of freedom of intervals and tests: stimuli - 1."""
        return self.n_stimuli - 1

    @cached_property
    def _interval(self) -> tuple[np.ndarray, np.ndarray]:
        return t_interval(self.scores, self.variance, self.dof)

    @property
    def ci_low(self) -> Float[np.ndarray, " layer"]:
        """Lower ends of the 95 % intervals."""
        return self._interval[0]

    @property
    def ci_high(self) -> Float[np.ndarray, " layer"]:
        """Upper ends of the 95 % intervals."""
        return self._interval[1]

    @property
    def p(self) -> Float[np.ndarray, " layer"]:
        """One-sided p-values against 0, not corrected for the number of layers (:func:`netphys.inference.fdr_bh`)."""
        return t_p(self.scores, self.variance, self.dof)

    def difference(self, layer_a: str, layer_b: str) -> Difference:
        """Compare two layers of this result, draw by draw.

        Examples
        --------
        >>> rdm = np.arange(1.0, 16.0)
        >>> evaluate({"a": rdm, "b": rdm[::-1]}, rdm, n_bootstraps=50).difference("a", "b").estimate
        2.0
        """
        return compare_models(self, self, layer_a=layer_a, layer_b=layer_b)

    def to_frame(self) -> pd.DataFrame:
        """Return the tidy frame, one row a layer (:mod:`netphys.scores`)."""
        subject = self.subjects[0] if len(self.subjects) == 1 else f"mean of {len(self.subjects)}"
        shared = {
            "training": self.training,
            "dataset": self.dataset,
            "region": self.region,
            "subject": subject,
            "measure": self.measure,
            "ceiling_low": self.ceiling.lower,
            "ceiling_high": self.ceiling.upper,
            "ceiling_rule": self.ceiling.rule,
            "n_stimuli": self.n_stimuli,
            "seed": self.seed,
        }
        ceiled = self.scores / self.ceiling.lower if self.ceiling.lower > 0 else np.full(len(self.scores), np.nan)
        return tidy(
            {
                **shared,
                "network": self.networks[row],
                "layer": layer,
                "layer_index": self.layer_index[row],
                "score": self.scores[row],
                "ci_low": self.ci_low[row],
                "ci_high": self.ci_high[row],
                "score_ceiled": ceiled[row],
                "n_units": self.n_units[row],
                "p": self.p[row],
            }
            for row, layer in enumerate(self.layers)
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw scores over layers, their intervals and the noise ceiling (:func:`netphys.rsa.drawing.plot_profile`)."""
        from netphys.rsa.drawing import plot_profile

        return plot_profile(self, ax)

    def save(self, folder: Path | str, name: str = "rsa") -> Path:
        """Write ``NAME.csv`` (the tidy frame) and ``NAME.json`` (what made it); return the path of the CSV."""
        folder = ensure_folder(folder)
        record = provenance(
            "rsa.evaluate",
            {"method": self.method, "n_bootstraps": self.n_bootstraps},
            self.inputs,
            seed=self.seed,
            finding=str(self),
            kept_pairs=self.kept,
            ceiling_noise_only=self.ceiling.noise_only,
            interval=f"95 %, t with {self.dof} degrees of freedom; variance over draws of stimuli times n/(n-1)",
            subjects=list(self.subjects),
        )
        write_json(folder / f"{name}.json", record)
        return write_text(folder / f"{name}.csv", self.to_frame().to_csv(index=False))


@dataclass(frozen=True, repr=False)
class Difference:
    """The difference of two scores on the same draws of stimuli."""

    first: str
    second: str
    estimate: float  # score of the first minus that of the second
    ci_low: float
    ci_high: float
    p: float  # two-sided
    n_bootstraps: int

    def __repr__(self) -> str:
        return f"Difference({self})"

    def __str__(self) -> str:
        interval = f"[{self.ci_low:.3f}, {self.ci_high:.3f}]"
        return f"{self.first} - {self.second}: {self.estimate:+.3f} {interval}, p = {self.p:.2g}"

    def to_frame(self) -> pd.DataFrame:
        """Return one row: first, second, estimate, ci_low, ci_high, p, n_bootstraps."""
        import pandas as pd

        return pd.DataFrame([vars(self)])


def evaluate(
    models: Any,
    data: Any,
    *,
    method: str = "spearman",
    n_bootstraps: int = 1000,
    network: str | None = None,
    training: str = "none",
    dataset: str = "",
    region: str | None = None,
    seed: int = 0,
) -> RSAResult:
    """Score model RDMs on the RDMs of one or more subjects.

    Parameters
    ----------
    models : rsatoolbox.rdm.RDMs, array (model, pair), or dict of one RDM a name
        Layers of a network, or any models; names come from the descriptors ``layer`` or ``name``.
    data : rsatoolbox.rdm.RDMs or array (subject, pair)
        One RDM a subject.
    method : {"spearman", "corr", "cosine", "rho-a"}
        How RDMs are compared (:func:`netphys.rsa.compare`).
    n_bootstraps : int
        Draws of stimuli; 1000 give the standard error within 2 %. 0 leaves intervals and p missing.
    network, training, dataset, region : str, optional
        Names for the tidy frame; network and region come from the descriptors unless given.
    seed : int
        Equal seeds draw the same stimuli, so that results can be compared draw by draw.

    Returns
    -------
    RSAResult
        One score a model: the mean over subjects of the comparison.

    Raises
    ------
    OptionError
        For an unknown method, fewer than 4 stimuli, two RDMs of one subject, or too few pairs without NaN.
    MatchError
        If stimuli of the data have no model RDM, or ids are on one side only.

    Notes
    -----
    The variance is ``n / (n - 1)`` times that over draws of stimuli (:func:`netphys.inference.resampled_variance`),
    the 95 % interval ``score ± t(n - 1) sqrt(variance)``, p the upper tail of t. This is rsatoolbox's
    ``eval_bootstrap_pattern`` on equal draws, but for the score itself: rsatoolbox reports the mean over draws,
    which copies of stimuli bias, here it is the score on the stimuli as they were shown. The interval speaks of
    other stimuli seen by these subjects, not of other subjects.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> brain = rng.random((3, 45))
    >>> result = evaluate({"conv1": rng.random(45), "conv2": brain.mean(axis=0)}, brain, n_bootstraps=200)
    >>> result.layers[result.best], result.draws_scores.shape
    ('conv2', (200, 2))
    """
    check_comparison(method)
    given, subjects = RDMSet.of(_named(models), _NAMES[0]), RDMSet.of(data, _NAMES[1])
    unique_or_error(subjects.descriptors.get("subject", []), "subject")
    given, subjects = joined(given, subjects, names=_NAMES)
    if subjects.n_stimuli < _LEAST_STIMULI:
        raise OptionError(f"{subjects.n_stimuli} stimuli are too few to compare RDMs: at least {_LEAST_STIMULI} needed")
    keep = shared_pairs(given, subjects, names=_NAMES)
    by_subject = similarity(given.values[:, keep], subjects.values[:, keep], method)
    draws = stimulus_draws(subjects.n_stimuli, n_bootstraps, seed)
    resampled = resample(given.values, subjects.values, keep, draws, method)
    labels = _labels(given)
    _warn_of_missing(by_subject, resampled.scores, labels)
    return RSAResult(
        layers=labels,
        layer_index=tuple(int(each) for each in given.descriptors.get("layer_index", range(len(labels)))),
        networks=_column(given, "network", network),
        n_units=tuple(given.descriptors.get("n_units", [None] * len(labels))),
        scores=by_subject.mean(axis=1),
        variance=resampled_variance(resampled.scores, subjects.n_stimuli),
        ceiling=ceiling_of(subjects.values[:, keep], method),
        subject_scores=by_subject,
        draws_scores=resampled.scores,
        draws_ceiling=np.stack([resampled.lower, resampled.upper], axis=1),
        subjects=_subjects(subjects),
        method=method,
        measure=_measure(method, given, subjects),
        training=training,
        dataset=dataset,
        region="+".join(dict.fromkeys(_column(subjects, "region", region))),
        n_stimuli=subjects.n_stimuli,
        kept=float(keep.mean()),
        n_bootstraps=n_bootstraps,
        seed=seed,
        inputs={
            "models": digest([given.values, list(labels)]),
            "data": digest([subjects.values[:, keep], keep, list(subjects.stimulus_ids or ())]),
        },
    )


def compare_models(
    result_a: RSAResult, result_b: RSAResult, *, layer_a: str | None = None, layer_b: str | None = None
) -> Difference:
    """Compare two scores on the same draws of stimuli.

    Parameters
    ----------
    result_a, result_b : RSAResult
        Results on the same data with the same method, seed and number of bootstraps.
    layer_a, layer_b : str, optional
        The layers to compare; by default the best of each, which is chosen on the same data.

    Returns
    -------
    Difference
        The 95 % interval and the two-sided p are by t with stimuli - 1 degrees of freedom, from the variance of the
        paired difference over draws, times ``n / (n - 1)``.

    Raises
    ------
    MatchError
        If the two results do not rest on the same data and draws.

    Examples
    --------
    >>> rdm = np.arange(1.0, 16.0)
    >>> a, b = (evaluate({"a": each}, rdm, n_bootstraps=50) for each in (rdm, rdm[::-1]))
    >>> compare_models(a, b).estimate
    2.0
    """
    for name in ("method", "seed", "n_bootstraps"):
        if getattr(result_a, name) != getattr(result_b, name):
            raise MatchError(
                f"results cannot be compared draw by draw: {name} is {getattr(result_a, name)!r} in one and "
                f"{getattr(result_b, name)!r} in the other"
            )
    if result_a.inputs["data"] != result_b.inputs["data"]:
        raise MatchError("results cannot be compared draw by draw: they are of other data, stimuli, or pairs of them")
    row_a, row_b = _row(result_a, layer_a), _row(result_b, layer_b)
    estimate = float(result_a.scores[row_a] - result_b.scores[row_b])
    paired = result_a.draws_scores[:, row_a] - result_b.draws_scores[:, row_b]
    variance = resampled_variance(paired, result_a.n_stimuli)
    low, high = t_interval(estimate, variance, result_a.dof)
    return Difference(
        first=_full_name(result_a, row_a),
        second=_full_name(result_b, row_b),
        estimate=estimate,
        ci_low=float(low),
        ci_high=float(high),
        p=float(t_p(estimate, variance, result_a.dof, sided="two")),
        n_bootstraps=result_a.n_bootstraps,
    )


def _named(models: Any) -> Any:
    """Turn a dict of one RDM a name into a set of RDMs."""
    if not isinstance(models, dict):
        return models
    sets = {name: RDMSet.of(rdm, f"model {name!r}") for name, rdm in models.items()}
    for name, each in sets.items():
        if len(each.values) != 1:
            raise OptionError(f"model {name!r} has {len(each.values)} RDMs; a dict holds one a name")
    if len({(each.values.shape[1], each.stimulus_ids) for each in sets.values()}) != 1:
        raise MatchError("the models of a dict must be of the same stimuli, in the same order")
    first = next(iter(sets.values()))
    values = np.concatenate([each.values for each in sets.values()])
    return RDMSet(values, first.stimulus_ids, first.measure, {"name": list(sets)})


def _labels(models: RDMSet) -> tuple[str, ...]:
    """Name the models: by layer, else by name, else by number."""
    for key in ("layer", "name"):
        if key in models.descriptors:
            return tuple(str(each) for each in models.descriptors[key])
    return tuple(f"model {row}" for row in range(len(models.values)))


def _column(rdms: RDMSet, key: str, given: str | None) -> tuple[str, ...]:
    """Read one descriptor of each RDM, unless it was given."""
    values = rdms.descriptors.get(key, [""] * len(rdms.values)) if given is None else [given] * len(rdms.values)
    return tuple(str(each) for each in values)


def _subjects(data: RDMSet) -> tuple[str, ...]:
    """Name the subjects."""
    for key in ("subject", "name"):
        if key in data.descriptors:
            return tuple(str(each) for each in data.descriptors[key])
    return tuple(f"RDM {row}" for row in range(len(data.values)))


def _measure(method: str, models: RDMSet, data: RDMSet) -> str:
    """Say what the score is."""
    of_models, of_data = models.measure or "given", data.measure or "given"
    if of_models == of_data:
        return f"{method} of {of_models} RDMs"
    return f"{method} of {of_models} RDMs (models) and {of_data} RDMs (data)"


def _warn_of_missing(by_subject: np.ndarray, draws: np.ndarray, labels: tuple[str, ...]) -> None:
    """Say which models have no score because an RDM is constant, and which lose many draws."""
    if np.isnan(by_subject).all(axis=0).any():
        raise OptionError("a data RDM, or every model's, is constant: there is nothing to agree with")
    missing = [label for label, row in zip(labels, by_subject) if np.isnan(row).any()]
    if missing:
        warnings.warn(f"constant RDM, no score: {', '.join(missing)}", UserWarning, stacklevel=3)
    lost = np.isnan(draws).mean(axis=0) if len(draws) else np.zeros(len(labels))
    many = [f"{label} ({part:.0%})" for label, part in zip(labels, lost) if part > _LOST_DRAWS and label not in missing]
    if many:
        warnings.warn(
            f"draws without a score (all drawn pairs tied, or fewer than 3 stimuli) are left out: {', '.join(many)}",
            UserWarning,
            stacklevel=3,
        )


def _row(result: RSAResult, layer: str | None) -> int:
    """Find a layer of a result; the best one by default."""
    if layer is None:
        return result.best
    if layer not in result.layers:
        raise LayerNotFound(f"no layer {layer!r} in this result{near(layer, result.layers)}")
    return result.layers.index(layer)


def _full_name(result: RSAResult, row: int) -> str:
    """Name a layer with its network, where that is known."""
    return f"{result.networks[row]} {result.layers[row]}".strip()
