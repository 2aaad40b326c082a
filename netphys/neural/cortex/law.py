"""A simulated cortex with a known ceiling: the source of every known answer about neural data.

Responses are a shared part that a feature space explains, a private part that no model explains, and trial noise
(definitions: neural data, 8). Signal variance and the shared share hold exactly on the stimuli shown, not only in
expectation, so that a test knows the truth of its very data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError
from netphys.provenance import array_digest
from netphys.seeds import generator

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Float

__all__ = ["LAW_VERSION", "simulate_cortex", "true_responses"]

LAW_VERSION = 1  # raised by whatever changes the numbers of a seed


def simulate_cortex(
    features: Float[np.ndarray, "stimulus feature"],
    stimulus_ids: Sequence[str],
    *,
    region: str,
    n_subjects: int = 6,
    n_neuroids: int = 60,
    n_repetitions: int = 4,
    shared: float = 0.8,
    noise: float = 1.0,
    seed: int = 0,
) -> xr.DataArray:
    """Simulate responses of several subjects to stimuli whose features are given.

    Parameters
    ----------
    features : float (stimulus, feature)
        What drives the region; each feature is standardised over the stimuli (constant ones are left out), so that
        none counts by its unit.
    stimulus_ids : sequence of str
        One a row of `features`.
    region : str
        The region's name, part of every generator's name.
    n_subjects, n_neuroids, n_repetitions : int
        Subjects, neuroids of each, presentations of each stimulus. Six subjects and four repetitions as in small
        data sets that exist.
    shared : float in [0, 1]
        Share q of the signal variance that the features explain.
    noise : float >= 0
        Trial noise variance v, in units of the signal variance; 1 gives a reliability of 0.8 at four repetitions.
    seed : int
        Makes all of it.

    Returns
    -------
    xarray.DataArray (presentation, neuroid), float64
        Signal variance 1 a neuroid. Coordinates stimulus_id, repetition; neuroid_id, animal, region. Attributes: the
        ground truth (``shared``, ``noise``, ``n_repetitions``, ``reliability`` rho, ``best_r2`` = q rho, ``seed``).

    Notes
    -----
    For subject s, neuroid j, stimulus i and repetition r, with f standardised and B_s drawn from N(0, 1)::

        y = sqrt(q) z(f(x_i) B_sj) + sqrt(1 - q) z(p_sij) + sqrt(v) e_sijr,      rho = 1 / (1 + v / R)

    z standardises over the stimuli shown. The private part p is iid N(0, 1) over stimuli (a Gaussian process without
    smoothness, so that no features explain it) and made orthogonal to the shared part of its neuroid, so that q holds
    exactly. A stimulus' private part and noise are drawn by its id: another order of stimuli gives the same responses.
    """
    values, ids = _checked(features, stimulus_ids)
    law = _Law(region, n_neuroids, n_repetitions, shared, noise, seed)
    _check_law(law, n_subjects)
    scaled = _standardised(values)
    blocks = [_subject(scaled, ids, subject, law) for subject in range(n_subjects)]
    responses = np.concatenate(blocks, axis=2).reshape(n_repetitions * len(ids), n_subjects * n_neuroids)
    import xarray as xr

    animals = [f"subject{subject + 1}" for subject in range(n_subjects) for _ in range(n_neuroids)]
    sites = [f"{region}-{subject + 1}-{site:04d}" for subject in range(n_subjects) for site in range(n_neuroids)]
    reliability = 1.0 / (1.0 + noise / n_repetitions)
    return xr.DataArray(
        responses,
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", np.array(list(ids) * n_repetitions)),
            "repetition": ("presentation", np.repeat(np.arange(n_repetitions), len(ids))),
            "neuroid_id": ("neuroid", np.array(sites)),
            "animal": ("neuroid", np.array(animals)),
            "region": ("neuroid", np.array([region] * len(sites))),
        },
        attrs={
            "identifier": f"world:cortex {region}",
            "shared": float(shared),
            "noise": float(noise),
            "n_repetitions": int(n_repetitions),
            "reliability": reliability,
            "best_r2": float(shared) * reliability,
            "seed": int(seed),
            "law_version": LAW_VERSION,
            "features": array_digest(values),
        },
    )


def true_responses(
    features: Float[np.ndarray, "stimulus feature"], *, region: str, n_neuroids: int = 2000, seed: int = 0
) -> Float[np.ndarray, "stimulus neuroid"]:
    """Noise-free responses, without private parts, of a large population under the same law.

    Parameters
    ----------
    features : float (stimulus, feature)
        As given to :func:`simulate_cortex`.
    region : str
        As given to :func:`simulate_cortex`.
    n_neuroids : int
        2000: the RDM of a random readout differs from that of infinitely many by about sqrt(2/n), 3 %.
    seed : int
        Draws a population of its own, no subject's.

    Returns
    -------
    float64 (stimulus, neuroid)
        Mean 0 and variance 1 a neuroid; what the true model would predict, so that scoring it gives the true ceiling.
    """
    values, _ = _checked(features, [str(row) for row in range(len(features))])
    scaled = _standardised(values)
    readout = generator(seed, "cortex", region, "truth", "readout").standard_normal((scaled.shape[1], n_neuroids))
    return _standardised(scaled @ readout)


@dataclass(frozen=True)
class _Law:
    """What makes a cortex, apart from its stimuli."""

    region: str
    n_neuroids: int
    n_repetitions: int
    shared: float
    noise: float
    seed: int


def _subject(scaled: np.ndarray, ids: Sequence[str], subject: int, law: _Law) -> np.ndarray:
    """Responses of one subject, (repetition, stimulus, neuroid)."""
    readout = generator(law.seed, "cortex", law.region, "readout", subject)
    known = _standardised(scaled @ readout.standard_normal((scaled.shape[1], law.n_neuroids)))
    private = np.empty_like(known)
    trials = np.empty((law.n_repetitions, *known.shape))
    for row, stimulus_id in enumerate(ids):
        draws = generator(law.seed, "cortex", law.region, "stimulus", subject, stimulus_id)
        private[row] = draws.standard_normal(law.n_neuroids)
        trials[:, row] = draws.standard_normal((law.n_repetitions, law.n_neuroids))
    private -= private.mean(axis=0)
    private -= known * (known * private).mean(axis=0)  # known has variance 1: this is its projection
    private /= np.sqrt((private**2).mean(axis=0))
    signal = np.sqrt(law.shared) * known + np.sqrt(1.0 - law.shared) * private
    return signal[None] + np.sqrt(law.noise) * trials


def _standardised(values: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 over stimuli; columns that do not vary are left out."""
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    varying = spread > 1e-12 * np.maximum(np.abs(values).max(axis=0), 1e-300)  # rounding of a constant column
    return centred[:, varying] / spread[varying]


def _checked(features: np.ndarray, stimulus_ids: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Features as float64 and unique ids, or the line that says what is wrong."""
    values = np.asarray(features, dtype=np.float64)
    ids = tuple(str(each) for each in stimulus_ids)
    if values.ndim != 2 or len(values) != len(ids):
        raise NeuralDataError(
            f"a simulated cortex needs features (stimulus, feature) with a row for each of {len(ids)} ids; "
            f"these have shape {values.shape}"
        )
    if len(set(ids)) != len(ids):
        raise NeuralDataError(
            "a simulated cortex needs unique stimulus ids; show each stimulus once, repetitions are simulated"
        )
    if len(ids) < 3:
        raise NeuralDataError(f"a simulated cortex needs at least 3 stimuli, there are {len(ids)}")
    if not np.isfinite(values).all():
        raise NeuralDataError("the features of a simulated cortex hold NaN or infinity; leave those stimuli out")
    if (values == values[0]).all():
        raise NeuralDataError("the features of a simulated cortex do not vary over the stimuli; show different stimuli")
    return values, ids


def _check_law(law: _Law, n_subjects: int) -> None:
    """Refuse numbers that make no cortex."""
    counts = {"n_subjects": n_subjects, "n_neuroids": law.n_neuroids, "n_repetitions": law.n_repetitions}
    for name, value in counts.items():
        if value < 1:
            raise NeuralDataError(f"a simulated cortex needs {name} of at least 1, not {value}")
    if not 0.0 <= law.shared <= 1.0:
        raise NeuralDataError(f"shared={law.shared} is no share of the signal variance; it lies in [0, 1]")
    if not (law.noise >= 0.0 and np.isfinite(law.noise)):
        raise NeuralDataError(f"noise={law.noise} is no variance; it is 0 or more, in units of the signal variance")
