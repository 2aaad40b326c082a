"""Which entries of two sets of RDMs stand for the same two stimuli: reading, joining by id, masks.

A set of RDMs is ``rsatoolbox.rdm.RDMs`` at the boundary (or neural data, of which RDMs are made) and plain arrays
inside. Sets that carry ``stimulus_id`` are joined by it; two bare arrays can only agree in length.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import MatchError, OptionError
from netphys.matching import match_stimuli
from netphys.neural import NeuralData
from netphys.neural.files.dissimilarities import n_stimuli_of
from netphys.rsa.building import rdms as rdms_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = [
    "RDMSet",
    "joined",
    "pair_index",
    "pairs_of_stimuli",
    "shared_pairs",
    "unique_or_error",
    "whole",
    "with_dissimilarities",
]

_LEAST_KEPT = 0.5  # of the pairs: below, a score would describe other stimuli than those that were shown
_LEAST_STIMULI = 3  # two stimuli are one pair, which correlates with nothing
_ASYMMETRY = 1e-6  # of the largest dissimilarity; rounding of float32 is 6e-8


@dataclass(frozen=True, repr=False)
class RDMSet:
    """RDMs as plain arrays, with what their descriptors say."""

    values: Float[np.ndarray, "rdm pair"]
    stimulus_ids: tuple[str, ...] | None = None
    measure: str | None = None
    descriptors: dict[str, list[Any]] = field(default_factory=dict)  # one value an RDM

    @classmethod
    def of(cls, rdms: Any, what: str) -> RDMSet:
        """Read RDMs, neural data, a recording, or an array of dissimilarities.

        Of neural data and recordings the RDMs are made (correlation distance). An array is (pair,), (rdm, pair),
        (stimulus, stimulus) or (rdm, stimulus, stimulus).
        """
        if isinstance(rdms, cls):
            return rdms
        if isinstance(rdms, NeuralData) or hasattr(rdms, "unit_blocks"):
            rdms = rdms_of(rdms)
        if not hasattr(rdms, "get_vectors"):
            return cls(_checked(_vectors(np.asarray(rdms), what), what))
        ids = rdms.pattern_descriptors.get("stimulus_id")
        return cls(
            _checked(np.asarray(rdms.get_vectors(), dtype=np.float64), what),
            None if ids is None else tuple(str(each) for each in ids),
            rdms.dissimilarity_measure,
            {key: list(value) for key, value in rdms.rdm_descriptors.items()},
        )

    def __repr__(self) -> str:
        return f"RDMSet({len(self.values)} RDMs of {self.n_stimuli} stimuli)"

    @property
    def n_stimuli(self) -> int:
        """The number of stimuli."""
        return n_stimuli_of(self.values.shape[1]) or 0

    def of_stimuli(self, rows: Int[np.ndarray, " stimulus"]) -> RDMSet:
        """Take stimuli, in the order of `rows`."""
        if np.array_equal(rows, np.arange(self.n_stimuli)):
            return self
        ids = None if self.stimulus_ids is None else tuple(self.stimulus_ids[row] for row in rows)
        return replace(self, values=self.values[:, pairs_of_stimuli(rows, self.n_stimuli)], stimulus_ids=ids)

    def label(self, rdm: int) -> str:
        """Name one of the RDMs for a message."""
        for key in ("layer", "name", "subject"):
            if key in self.descriptors:
                return f"{key} {self.descriptors[key][rdm]!r}"
        return f"RDM {rdm}"


def pair_index(n_stimuli: int) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """List both stimuli of each pair, in upper-triangle row order.

    Examples
    --------
    >>> first, second = pair_index(3)
    >>> first.tolist(), second.tolist()
    ([0, 0, 1], [1, 2, 2])
    """
    return np.triu_indices(n_stimuli, 1)


def pairs_of_stimuli(rows: Int[np.ndarray, " stimulus"], n_stimuli: int) -> Int[np.ndarray, " pair"]:
    """Find where the pairs of chosen stimuli are among the pairs of all `n_stimuli`.

    Examples
    --------
    >>> pairs_of_stimuli(np.array([2, 0, 1]), 3).tolist()  # pairs (2, 0), (2, 1), (0, 1)
    [1, 2, 0]
    """
    first, second = pair_index(len(rows))
    low = np.minimum(rows[first], rows[second])
    high = np.maximum(rows[first], rows[second])
    return low * n_stimuli - low * (low + 1) // 2 + high - low - 1


def joined(models: RDMSet, data: RDMSet, *, names: tuple[str, str]) -> tuple[RDMSet, RDMSet]:
    """Bring two sets of RDMs to the same stimuli, in the order of the second.

    Raises
    ------
    MatchError
        If a stimulus of the data is not among the models', an id occurs twice, only one of the two carries ids, or
        neither does and their sizes differ.
    """
    model_ids, data_ids = models.stimulus_ids, data.stimulus_ids
    if model_ids is not None and data_ids is not None:
        match = match_stimuli(model_ids, data_ids, model=names[0], data=names[1])
        return models.of_stimuli(match.model_rows), data.of_stimuli(match.data_rows)
    if (model_ids is None) != (data_ids is None):
        with_ids, without = names if data_ids is None else names[::-1]
        raise MatchError(
            f"{with_ids} carry stimulus_id and {without} do not, so they cannot be joined; set "
            "rdms.pattern_descriptors['stimulus_id'], or compare arrays (rdms.get_vectors()) by position"
        )
    if models.values.shape[1] != data.values.shape[1]:
        raise MatchError(f"{names[0]} have {models.n_stimuli} stimuli, {names[1]} have {data.n_stimuli}")
    return models, data


def shared_pairs(models: RDMSet, data: RDMSet, *, names: tuple[str, str]) -> Bool[np.ndarray, " pair"]:
    """Find the pairs that have a dissimilarity in every RDM of both sets.

    A pair that is NaN in any RDM is left out for all, so that all scores are of the same pairs. Warns with the
    fraction that is kept when the two sets lack different pairs.

    Raises
    ------
    OptionError
        If there are fewer than 3 stimuli, or fewer than half of the pairs remain; it names the RDM that lacks most.
    """
    of_models, of_data = _there(models, data, names)
    keep = of_models & of_data
    if not np.array_equal(of_models, of_data):
        warnings.warn(
            f"{names[0]} and {names[1]} lack (NaN) different pairs of stimuli; {keep.mean():.1%} are in both and "
            "compared",
            UserWarning,
            stacklevel=3,
        )
    return keep


def with_dissimilarities(
    models: RDMSet, data: RDMSet, *, names: tuple[str, str]
) -> tuple[RDMSet, RDMSet, Bool[np.ndarray, " pair"]]:
    """Leave out stimuli that have no pair in all RDMs of both sets, with one warning that names them.

    They would be drawn and counted though no score hangs on them. Returns both sets and, of all pairs that there were,
    those that are compared.
    """
    of_models, of_data = _there(models, data, names)
    keep = of_models & of_data
    first, second = pair_index(data.n_stimuli)
    has_pair = np.zeros(data.n_stimuli, dtype=bool)
    has_pair[first[keep]] = has_pair[second[keep]] = True
    if not has_pair.all():
        out = np.flatnonzero(~has_pair)
        called = [repr(data.stimulus_ids[row]) if data.stimulus_ids else f"row {row}" for row in out]
        some = ", ".join(called[:3]) + (f" and {len(out) - 3} more" if len(out) > 3 else "")
        warnings.warn(
            f"{len(out)} of {len(has_pair)} stimuli have no dissimilarity in all RDMs and are left out: {some}",
            UserWarning,
            stacklevel=3,
        )
    rows = np.flatnonzero(has_pair)
    return models.of_stimuli(rows), data.of_stimuli(rows), keep


def whole(rdms: RDMSet, name: str) -> RDMSet:
    """Leave out the pairs that are NaN in any RDM of one set."""
    keep = shared_pairs(rdms, rdms, names=(name, name))
    return rdms if keep.all() else replace(rdms, values=rdms.values[:, keep])


def _there(models: RDMSet, data: RDMSet, names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Find the pairs that have a dissimilarity in all RDMs of each set; in both must be at least half of them."""
    if data.n_stimuli < _LEAST_STIMULI:
        raise OptionError(
            f"{names[1]} are of {data.n_stimuli} stimuli, which have one dissimilarity; comparing RDMs takes at least "
            f"{_LEAST_STIMULI}"
        )
    there = [~np.isnan(each.values) for each in (models, data)]
    of_models, of_data = (each.all(axis=0) for each in there)
    kept = float((of_models & of_data).mean())
    if kept < _LEAST_KEPT:
        lacking = [
            (float(1 - row.mean()), each.label(k), name)
            for each, rows, name in zip((models, data), there, names)
            for k, row in enumerate(rows)
        ]
        most, label, name = max(lacking)
        raise OptionError(
            f"only {kept:.0%} of the pairs of stimuli have a dissimilarity (not NaN) in all RDMs, at least "
            f"{_LEAST_KEPT:.0%} are needed; {label} of {name} lacks {most:.0%}: leave it out, or the stimuli it lacks"
        )
    return of_models, of_data


def _vectors(array: np.ndarray, what: str) -> np.ndarray:
    """Bring an array of dissimilarities to (rdm, pair)."""
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2, 3) or array.size == 0:
        raise OptionError(
            f"{what} must be RDMs or dissimilarities (rdm, pair), got {array.dtype} {array.shape}; netphys.rdms(x) "
            "makes RDMs of a recording, an assembly or patterns"
        )
    values = np.atleast_2d(array).astype(np.float64)
    if values.ndim == 2 and (len(values) != values.shape[1] or len(values) == 1):
        return values
    square = values.reshape(-1, *values.shape[-2:])
    if square.shape[1] != square.shape[2]:
        raise OptionError(f"{what} of shape {array.shape} are not square RDMs (rdm, stimulus, stimulus)")
    if not _is_rdm(square):
        raise OptionError(
            f"{what} of shape {array.shape} are square but no RDM, which is symmetric with 0 (or NaN) on its diagonal; "
            "pass one RDM as such a matrix, several as (rdm, stimulus, stimulus), or as many vectors as one has pairs "
            "as rsatoolbox.rdm.RDMs(vectors)"
        )
    return square[:, *pair_index(square.shape[1])]


def _is_rdm(square: Float[np.ndarray, "rdm stimulus stimulus"]) -> bool:
    """Tell RDMs from other square arrays: equal to their transpose, nothing on the diagonal."""
    allowed = _ASYMMETRY * np.abs(square[np.isfinite(square)]).max(initial=0.0)
    diagonal = np.diagonal(square, axis1=1, axis2=2)
    symmetric = np.allclose(square, square.transpose(0, 2, 1), rtol=0, atol=allowed, equal_nan=True)
    return symmetric and bool((np.isnan(diagonal) | (np.abs(diagonal) <= allowed)).all())


def _checked(values: np.ndarray, what: str) -> np.ndarray:
    """See that dissimilarities are of a whole number of stimuli and not infinite."""
    if n_stimuli_of(values.shape[1]) is None:
        raise OptionError(
            f"{what} hold {values.shape[1]} dissimilarities, not the pairs of any number of stimuli (n(n-1)/2)"
        )
    if np.isinf(values).any():
        raise OptionError(f"{what} hold infinite dissimilarities; NaN marks pairs that are missing")
    return values


def unique_or_error(names: Sequence[str], what: str) -> None:
    """Raise an OptionError if a name occurs twice."""
    twice = sorted({each for each in names if list(names).count(each) > 1})
    if twice:
        raise OptionError(f"{what} {twice[0]!r} has {list(names).count(twice[0])} RDMs; average or select them first")
