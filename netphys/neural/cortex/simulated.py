"""The address ``world:cortex``: stimuli in, a simulated region with its truth out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from netphys.addresses import Query, integer, number
from netphys.errors import NeuralDataError, near
from netphys.neural.cortex.law import simulate_cortex, true_responses
from netphys.neural.cortex.noise import TrialNoise
from netphys.neural.cortex.populations import Cells, Population, Readouts, TolerantReadouts
from netphys.neural.cortex.receptive_fields import DEGREES
from netphys.neural.cortex.v1 import V1Bank, contrast_of
from netphys.neural.cortex.v4 import MAX_SIDE, V4Bank
from netphys.neural.data import NeuralData

__all__ = ["load_cortex"]

_REGIONS = ("V1", "V4", "IT")
_IMAGES = 256  # images asked for at once; bounds memory where stimuli are large


def load_cortex(query: Query, stimuli: Any, *, name: str | None = None, seed: int = 0) -> NeuralData:
    """Simulate the region that an address asks for, on the stimuli given.

    Parameters
    ----------
    query : Query
        Options: region (V1, V4, IT), seed, subjects, neuroids, repetitions, shared, name; noise_kind (gaussian,
        poisson), noise (gaussian), rate, fano (poisson), noise_spread, noise_correlation: see :class:`TrialNoise`.
    stimuli : StimulusSet, or its address
        What is shown; IT needs generated stimuli, whose latents are known.
    name : str, optional
        The dataset's name; default ``world:cortex``.
    seed : int
        The seed where the address names none.

    Raises
    ------
    NeuralDataError
        Without stimuli, for another region, for numbers that make no cortex, or for IT on stimuli without latents.
    """
    region = query.take("region", str, "IT")
    seed = query.take("seed", int, seed)
    sizes = {
        "n_subjects": query.take("subjects", integer(1, 10_000), 6),
        "n_neuroids": query.take("neuroids", integer(1, 1_000_000), 60),
        "n_repetitions": query.take("repetitions", integer(1, 10_000), 4),
    }
    shared, noise = query.take("shared", float, 0.8), _noise(query)
    called = query.take("name", str, name or "world:cortex")
    query.finish()
    if region not in _REGIONS:
        raise NeuralDataError(f"{query.address!r}: there is no simulated region {region!r}{near(region, _REGIONS)}")
    if stimuli is None:
        raise NeuralDataError(
            f"{query.address} is simulated on stimuli; give them: load_neural(..., stimuli=...), --stimuli of commands"
        )
    if isinstance(stimuli, str | Path):
        from netphys.stimuli import load_stimuli

        stimuli = load_stimuli(stimuli, seed=seed)
    ids = tuple(str(each) for each in stimuli.ids)
    if region == "IT":
        features, population, said = _it(query.address, stimuli)
    else:
        features, population, said = _cells(region, stimuli, seed)
    assembly = simulate_cortex(
        features, ids, region=region, **sizes, shared=shared, noise=noise, population=population, seed=seed
    )
    assembly.attrs["stimulus_set_digest"] = str(stimuli.digest)
    return NeuralData(
        kind="assembly",
        stimulus_ids=ids,
        subjects=tuple(dict.fromkeys(assembly["animal"].values.tolist())),
        region=region,
        name=called,
        source=f"simulated by {query.address} (seed {seed}) on {len(ids)} stimuli, joined by stimulus_id{said}",
        assembly=assembly,
        truth=true_responses(features, region=region, population=population, seed=seed),
    )


def _noise(query: Query) -> TrialNoise:
    """The law of noise that an address asks for; options of the other law are refused, not ignored."""
    kind: Any = query.take("noise_kind", str, "gaussian")
    given = {
        "variance": query.take("noise", float, None),
        "rate": query.take("rate", number, None),
        "fano": query.take("fano", float, None),
    }
    both = {
        "spread": query.take("noise_spread", float, 0.0),
        "correlation": query.take("noise_correlation", float, 0.0),
    }
    law = TrialNoise(kind, **both, **{key: value for key, value in given.items() if value is not None})
    for option, key, owner in (
        ("noise", "variance", "gaussian"),
        ("rate", "rate", "poisson"),
        ("fano", "fano", "poisson"),
    ):
        if given[key] is not None and kind != owner:
            raise NeuralDataError(
                f"{query.address!r}: {option} belongs to noise_kind={owner}, the noise here is {kind}; leave {option} "
                f"out or add noise_kind={owner}"
            )
    return law


def _cells(region: str, stimuli: Any, seed: int) -> tuple[np.ndarray, Population, str]:
    """Responses of the sampled V1 or V4 to the images, in parts, and the population of its cells."""
    starts = range(0, len(stimuli), _IMAGES)
    parts = (stimuli.images(range(at, min(at + _IMAGES, len(stimuli)))) for at in starts)
    if region == "V1":
        sampled: Callable[..., V1Bank | V4Bank] = V1Bank.sampled
        contrasts = (contrast_of(part) for part in parts)
    else:
        sampled, contrasts = V4Bank.sampled, (contrast_of(part, max_side=MAX_SIDE) for part in parts)
    first = next(contrasts)
    bank = sampled(*first.shape[1:], seed=seed)
    features = np.concatenate([bank.respond(first), *(bank.respond(contrast) for contrast in contrasts)])
    return features, Cells(bank.units.receptive_fields), ""


def _it(address: str, stimuli: Any) -> tuple[np.ndarray, Population, str]:
    """The causes of generated stimuli, and readouts of them that tolerate changes of position."""
    if "latents" not in stimuli.fields:
        raise NeuralDataError(
            f"{address} needs generated stimuli (world:scenes), whose causes are known; these have the fields "
            f"{', '.join(stimuli.fields) or 'none'}; take region=V1 or region=V4, which need images only"
        )
    latents = np.asarray(stimuli.get(range(len(stimuli)), field="latents"), dtype=np.float64)
    latents = latents.reshape(len(latents), -1)
    positions = _positions(stimuli, latents)
    if positions is None:
        return latents, Readouts(), "; no positions are known, so neuroids have no receptive fields"
    return latents, TolerantReadouts(positions), ""


def _positions(stimuli: Any, latents: np.ndarray) -> np.ndarray | None:
    """Centres of the main objects, degrees from the centre of the image; None where the latents are not the world's.

    Other sets may have a field of this name, too: a column counts as a position only where the metadata say the same.
    """
    from netphys.stimuli.world.features import FEATURE_NAMES

    metadata = getattr(stimuli, "metadata", None)
    if metadata is None or not {"x", "y"} <= set(metadata) or latents.shape[1] != len(FEATURE_NAMES):
        return None
    shares = latents[:, [FEATURE_NAMES.index(f"position:{axis}") for axis in "xy"]]
    try:
        told = np.column_stack([np.asarray(metadata[axis], dtype=np.float64) for axis in "xy"]) - 0.5
    except ValueError:
        return None
    return shares * DEGREES if np.allclose(told, shares, atol=1e-5) else None
