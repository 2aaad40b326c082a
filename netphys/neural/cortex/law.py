"""A simulated cortex with a known ceiling: the source of every known answer about neural data.

Responses are a shared part that a feature space explains, a private part that no model explains, and trial noise
(definitions: neural data, 8). Signal variance, the shared share and the reliability hold exactly on the stimuli shown,
not only in expectation, so that a test knows the truth of its very data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.cortex.noise import WINDOW, SubjectNoise, TrialNoise, noise_of
from netphys.neural.cortex.populations import Cells, Population, Readouts
from netphys.neural.cortex.receptive_fields import ReceptiveFields
from netphys.provenance import array_digest
from netphys.seeds import generator

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Float

__all__ = ["LAW_VERSION", "simulate_cortex", "true_responses"]

# Raised by whatever changes the numbers of a seed. 2: neuroids of V1 are single cells and those of IT have a tolerance
# of position, because readouts of the whole image have no receptive field
LAW_VERSION = 2


def simulate_cortex(
    features: Float[np.ndarray, "stimulus feature"],
    stimulus_ids: Sequence[str],
    *,
    region: str,
    n_subjects: int = 6,
    n_neuroids: int = 60,
    n_repetitions: int = 4,
    shared: float = 0.8,
    noise: float | TrialNoise = 1.0,
    population: Population | None = None,
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
    noise : float >= 0, or TrialNoise
        Variance v of Gaussian trial noise, in units of the signal variance (1 gives a reliability of 0.8 at four
        repetitions), or another law of noise.
    population : Population, optional
        How neuroids read the features; default :class:`Readouts`, random readouts of all of them.
    seed : int
        Makes all of it.

    Returns
    -------
    xarray.DataArray (presentation, neuroid), float64
        Gaussian noise: signal variance 1 a neuroid; counts: spikes in 100 ms. Coordinates stimulus_id, repetition;
        neuroid_id, animal, region, ``true_reliability`` rho, ``best_r2`` = q rho, and ``rf_x``, ``rf_y``, ``rf_size``
        (degrees, see :class:`ReceptiveFields`) where the population has receptive fields. Attributes: the ground truth
        (``shared``, the law of noise, ``n_repetitions``, ``reliability`` and ``best_r2``, means over neuroids,
        ``seed``).

    Notes
    -----
    For subject s, neuroid j, stimulus i and repetition r, with f standardised and B_s drawn from N(0, 1)::

        y = sqrt(q) z(f(x_i) B_sj) + sqrt(1 - q) z(p_sij) + sqrt(v) e_sijr,      rho = 1 / (1 + v / R)

    z standardises over the stimuli shown. The private part p is iid N(0, 1) over stimuli (a Gaussian process without
    smoothness, so that no features explain it) and made orthogonal to the shared part of its neuroid, so that q holds
    exactly. A stimulus' private part and noise are drawn by its id: another order of stimuli gives the same responses.
    Other populations have their own f(x_i) B_sj, other noise its own rho: see there.
    """
    values, ids = _checked(features, stimulus_ids)
    law = noise if isinstance(noise, TrialNoise) else TrialNoise(variance=noise)
    cortex = _Cortex(region, n_neuroids, n_repetitions, shared, law, population or Readouts(), seed)
    _check_numbers(cortex, n_subjects)
    scaled, varying = _standardised(values)
    subjects = [_subject(scaled, varying, ids, subject, cortex) for subject in range(n_subjects)]
    return _assembly(subjects, ids, cortex, {"features": array_digest(values)})


def true_responses(
    features: Float[np.ndarray, "stimulus feature"],
    *,
    region: str,
    n_neuroids: int = 2000,
    population: Population | None = None,
    seed: int = 0,
) -> Float[np.ndarray, "stimulus neuroid"]:
    """Noise-free responses, without private parts, of a large population under the same law.

    Parameters
    ----------
    features : float (stimulus, feature)
        As given to :func:`simulate_cortex`.
    region : str
        As given to :func:`simulate_cortex`.
    n_neuroids : int
        2000: the RDM of a random readout differs from that of infinitely many by about sqrt(2/n), 3 %. Of single cells
        each is there once, so that there are at most as many as the stimuli drive.
    population : Population, optional
        As given to :func:`simulate_cortex`.
    seed : int
        Draws a population of its own, no subject's.

    Returns
    -------
    float64 (stimulus, neuroid)
        Mean 0 and variance 1 a neuroid; what the true model would predict, so that scoring it gives the true ceiling.
    """
    values, _ = _checked(features, [str(row) for row in range(len(features))])
    scaled, varying = _standardised(values)
    population = population or Readouts()
    most = int(varying.sum()) if isinstance(population, Cells) else n_neuroids
    draws = generator(seed, "cortex", region, "truth", "readout")
    return _standardised(population.sites(scaled, varying, min(n_neuroids, most), draws).drive)[0]


@dataclass(frozen=True)
class _Cortex:
    """What makes a cortex, apart from its stimuli."""

    region: str
    n_neuroids: int
    n_repetitions: int
    shared: float
    noise: TrialNoise
    population: Population
    seed: int


@dataclass(frozen=True)
class _Subject:
    """One subject's responses and their truth."""

    responses: np.ndarray  # (repetition, stimulus, neuroid)
    reliability: np.ndarray  # (neuroid,)
    fields: ReceptiveFields | None


def _subject(scaled: np.ndarray, varying: np.ndarray, ids: Sequence[str], subject: int, cortex: _Cortex) -> _Subject:
    """Simulate one subject."""
    names = ("cortex", cortex.region)
    draws = generator(cortex.seed, *names, "readout", subject)
    sites = cortex.population.sites(scaled, varying, cortex.n_neuroids, draws)
    known = _fully_standardised(sites.drive)
    by_stimulus = [generator(cortex.seed, *names, "stimulus", subject, stimulus_id) for stimulus_id in ids]
    private = np.stack([each.standard_normal(cortex.n_neuroids) for each in by_stimulus])
    private -= private.mean(axis=0)
    private -= known * (known * private).mean(axis=0)  # known has variance 1: this is its projection
    private /= np.sqrt((private**2).mean(axis=0))
    signal = np.sqrt(cortex.shared) * known + np.sqrt(1.0 - cortex.shared) * private
    noise = noise_of(cortex.noise, signal, known, sites.fields, generator(cortex.seed, *names, "noise", subject))
    return _Subject(_trials(noise, by_stimulus, cortex), noise.reliability(cortex.n_repetitions), sites.fields)


def _trials(noise: SubjectNoise, by_stimulus: Sequence[np.random.Generator], cortex: _Cortex) -> np.ndarray:
    """Responses (repetition, stimulus, neuroid); each stimulus' generator goes on where its private part ended."""
    responses = np.empty((cortex.n_repetitions, len(by_stimulus), cortex.n_neuroids))
    for row, draws in enumerate(by_stimulus):
        responses[:, row] = noise.trials(row, cortex.n_repetitions, draws)
    return responses


def _assembly(subjects: Sequence[_Subject], ids: Sequence[str], cortex: _Cortex, facts: dict[str, Any]) -> xr.DataArray:
    """Responses with their coordinates and the ground truth."""
    import xarray as xr

    n_repetitions, region, n = cortex.n_repetitions, cortex.region, len(subjects)
    responses = np.concatenate([each.responses for each in subjects], axis=2)
    reliability = np.concatenate([each.reliability for each in subjects])
    names = [(subject, site) for subject in range(1, n + 1) for site in range(cortex.n_neuroids)]
    neuroid: dict[str, np.ndarray] = {
        "neuroid_id": np.array([f"{region}-{subject}-{site:04d}" for subject, site in names]),
        "animal": np.array([f"subject{subject}" for subject, _ in names]),
        "region": np.array([region] * len(names)),
        "true_reliability": reliability,
        "best_r2": cortex.shared * reliability,
    }
    fields = [each.fields.coordinates() for each in subjects if each.fields is not None]
    if fields:
        neuroid |= {name: np.concatenate([each[name] for each in fields]) for name in fields[0]}
    coords: dict[str, Any] = {
        "stimulus_id": ("presentation", np.array(list(ids) * n_repetitions)),
        "repetition": ("presentation", np.repeat(np.arange(n_repetitions), len(ids))),
        **{name: ("neuroid", values) for name, values in neuroid.items()},
    }
    if cortex.noise.kind == "poisson":
        coords |= {"time_bin_start": WINDOW[0], "time_bin_end": WINDOW[1]}
    mean = float(reliability[0] + (reliability - reliability[0]).mean())  # of equal numbers, that number
    attributes = {
        "identifier": f"world:cortex {region}",
        "shared": float(cortex.shared),
        **cortex.noise.attributes(),
        "n_repetitions": int(n_repetitions),
        "reliability": mean,
        "best_r2": float(cortex.shared) * mean,
        "seed": int(cortex.seed),
        "law_version": LAW_VERSION,
        **facts,
    }
    flat = responses.reshape(n_repetitions * len(ids), len(names))
    return xr.DataArray(flat, dims=("presentation", "neuroid"), coords=coords, attrs=attributes)


def _standardised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean 0 and variance 1 over stimuli of the columns that vary, and which those are."""
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    varying = spread > 1e-12 * np.maximum(np.abs(values).max(axis=0), 1e-300)  # rounding of a constant column
    return centred[:, varying] / spread[varying], varying


def _fully_standardised(drive: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 of every neuroid's drive."""
    known, varying = _standardised(drive)
    if not varying.all():
        raise NeuralDataError("the stimuli drive some simulated neuroids all the same; show different stimuli")
    return known


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


def _check_numbers(cortex: _Cortex, n_subjects: int) -> None:
    """Refuse numbers that make no cortex."""
    counts = {"n_subjects": n_subjects, "n_neuroids": cortex.n_neuroids, "n_repetitions": cortex.n_repetitions}
    for name, value in counts.items():
        if not isinstance(value, int | np.integer) or value < 1:
            raise NeuralDataError(f"a simulated cortex needs {name}, a whole number of at least 1, not {value!r}")
    if not 0.0 <= cortex.shared <= 1.0:
        raise NeuralDataError(f"shared={cortex.shared} is no share of the signal variance; it lies in [0, 1]")
