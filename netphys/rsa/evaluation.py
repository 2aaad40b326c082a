"""Which layer agrees best with the brain, and how sure is that? Scores with intervals from a bootstrap over stimuli.

Schütt, Kipnis, Diedrichsen & Kriegeskorte (2023), eLife 12:e82566, doi:10.7554/eLife.82566.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from netphys.errors import MatchError, OptionError
from netphys.inference import resampled_variance, stimulus_draws
from netphys.provenance import digest
from netphys.rsa.ceilings import ceiling_of
from netphys.rsa.comparison import check_comparison, similarity
from netphys.rsa.pairs import RDMSet, joined, shared_pairs, unique_or_error, with_dissimilarities
from netphys.rsa.resampling import resample
from netphys.rsa.results import RSAResult

__all__ = ["evaluate"]

_LEAST_STIMULI = 4  # three stimuli have three pairs, of which a draw mostly keeps one
_LOST_DRAWS = 0.05  # of the draws: more without a score are worth a warning
_NAMES = ("the model RDMs", "the data RDMs")


def evaluate(
    models: Any,
    data: Any,
    *,
    method: str = "spearman",
    n_bootstraps: int = 1000,
    ceiling_draws: bool = True,
    network: str | None = None,
    training: str | None = None,
    dataset: str = "",
    region: str | None = None,
    seed: int = 0,
) -> RSAResult:
    """Score model RDMs on the RDMs of one or more subjects.

    Parameters
    ----------
    models : rsatoolbox.rdm.RDMs, NeuralData, array (model, pair), or dict of one RDM a name
        Layers of a network, or any models; names come from the descriptors ``layer``, ``name`` or
        ``subject``. A square array is one RDM, (rdm, stimulus, stimulus) several.
    data : rsatoolbox.rdm.RDMs, NeuralData, or array (subject, pair)
        One RDM a subject; of neural responses correlation distances, one RDM an animal (:func:`netphys.rsa.rdms`).
    method : {"spearman", "corr", "cosine", "rho-a"}
        How RDMs are compared (:func:`netphys.rsa.compare`).
    n_bootstraps : int
        Draws of stimuli; 1000 give the standard error within 2 %. 0 leaves intervals and p missing.
    ceiling_draws : bool
        Whether to compute the noise ceiling in every draw, too, for comparisons with it; rank methods then take about
        twice as long. The ceiling itself does not hang on it.
    network, training, dataset, region : str, optional
        Names for the tidy frame; network, training and region come from the descriptors unless given.
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

    Warns
    -----
    UserWarning
        Names stimuli without any dissimilarity (constant patterns): they are left out, neither drawn nor counted.

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
    _require_enough(subjects)
    given, subjects, compared = with_dissimilarities(given, subjects, names=_NAMES)
    _require_enough(subjects)
    keep = shared_pairs(given, subjects, names=_NAMES)
    by_subject = similarity(given.values[:, keep], subjects.values[:, keep], method)
    draws = stimulus_draws(subjects.n_stimuli, n_bootstraps, seed)
    resampled = resample(given.values, subjects.values, keep, draws, method, ceilings=ceiling_draws)
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
        training=tuple(each or "none" for each in _column(given, "training", training)),
        dataset=dataset,
        region="+".join(dict.fromkeys(_column(subjects, "region", region))),
        n_stimuli=subjects.n_stimuli,
        kept=float(compared.mean()),
        n_bootstraps=n_bootstraps,
        seed=seed,
        inputs={
            "models": digest([given.values, list(labels)]),
            "data": digest([subjects.values[:, keep], keep, list(subjects.stimulus_ids or ())]),
        },
    )


def _require_enough(data: RDMSet) -> None:
    """Refuse too few stimuli."""
    if data.n_stimuli < _LEAST_STIMULI:
        raise OptionError(f"{data.n_stimuli} stimuli are too few to compare RDMs: at least {_LEAST_STIMULI} needed")


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
    """Name the models: by layer, else by name, else by subject, else by number."""
    for key in ("layer", "name", "subject"):
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
