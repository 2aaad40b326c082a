"""The address ``world:cortex``: stimuli in, a simulated region with its truth out."""

from __future__ import annotations

from typing import Any

import numpy as np

from netphys.addresses import Query, integer
from netphys.errors import NeuralDataError, near
from netphys.neural.cortex.law import simulate_cortex, true_responses
from netphys.neural.cortex.v1 import V1Bank, contrast_of
from netphys.neural.data import NeuralData

__all__ = ["load_cortex"]

_REGIONS = ("V1", "IT")
_IMAGES = 256  # images asked for at once; bounds memory where stimuli are large


def load_cortex(query: Query, stimuli: Any, *, name: str | None = None, seed: int = 0) -> NeuralData:
    """Simulate the region that an address asks for, on the stimuli given.

    Parameters
    ----------
    query : Query
        Options: region (V1, IT), seed, subjects, neuroids, repetitions, noise, shared, name.
    stimuli : StimulusSet
        What is shown; IT needs generated stimuli, whose latents are known.
    name : str, optional
        The dataset's name; default ``world:cortex``.
    seed : int
        The seed where the address names none.

    Raises
    ------
    NeuralDataError
        Without stimuli, for another region, or for IT on stimuli without latents.
    """
    region = query.take("region", str, "IT")
    seed = query.take("seed", int, seed)
    n_subjects = query.take("subjects", integer(1, 10_000), 6)
    n_neuroids = query.take("neuroids", integer(1, 1_000_000), 60)
    n_repetitions = query.take("repetitions", integer(1, 10_000), 4)
    shared, noise = query.take("shared", float, 0.8), query.take("noise", float, 1.0)
    called = query.take("name", str, name or "world:cortex")
    query.finish()
    if region not in _REGIONS:
        raise NeuralDataError(f"{query.address!r}: there is no simulated region {region!r}{near(region, _REGIONS)}")
    if stimuli is None:
        raise NeuralDataError(f"{query.address} is simulated on stimuli; give them: load_neural(..., stimuli=...)")
    ids = tuple(str(each) for each in stimuli.ids)
    features = _v1(stimuli, seed) if region == "V1" else _it(query.address, stimuli)
    assembly = simulate_cortex(
        features,
        ids,
        region=region,
        n_subjects=n_subjects,
        n_neuroids=n_neuroids,
        n_repetitions=n_repetitions,
        shared=shared,
        noise=noise,
        seed=seed,
    )
    assembly.attrs["stimulus_set_digest"] = str(stimuli.digest)
    return NeuralData(
        kind="assembly",
        stimulus_ids=ids,
        subjects=tuple(dict.fromkeys(assembly["animal"].values.tolist())),
        region=region,
        name=called,
        source=f"simulated by {query.address} (seed {seed}) on {len(ids)} stimuli, joined by stimulus_id",
        assembly=assembly,
        truth=true_responses(features, region=region, seed=seed),
    )


def _v1(stimuli: Any, seed: int) -> np.ndarray:
    """Responses of the sampled V1 to the images, in parts."""
    starts = range(0, len(stimuli), _IMAGES)
    parts = (stimuli.images(range(at, min(at + _IMAGES, len(stimuli)))) for at in starts)
    contrasts = (contrast_of(part) for part in parts)
    first = next(contrasts)
    bank = V1Bank.sampled(*first.shape[1:], seed=seed)
    return np.concatenate([bank.respond(first), *(bank.respond(contrast) for contrast in contrasts)])


def _it(address: str, stimuli: Any) -> np.ndarray:
    """The causes of generated stimuli."""
    if "latents" not in stimuli.fields:
        raise NeuralDataError(
            f"{address} needs generated stimuli (world:scenes), whose causes are known; these have the fields "
            f"{', '.join(stimuli.fields) or 'none'}; take region=V1, which needs images only"
        )
    latents = np.asarray(stimuli.get(range(len(stimuli)), field="latents"), dtype=np.float64)
    return latents.reshape(len(latents), -1)
