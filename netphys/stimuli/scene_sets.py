"""``world:scenes``: generated scenes as stimuli; every cause of a scene is a field or a column."""

from __future__ import annotations

from typing import Any

import numpy as np

from netphys.addresses import Query, integer
from netphys.errors import AddressError, near
from netphys.provenance import code_digest
from netphys.stimuli.sources import Generated
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["load_world", "scenes"]

_WORLDS = ("scenes",)
_KEPT_BYTES = 1 << 29  # sets up to half a gigabyte are rendered once


def load_world(kind: str, query: Query, *, seed: int) -> StimulusSet:
    """Load generated stimuli: ``n``, ``size``, ``seed`` and ``first`` are taken from the query.

    Raises
    ------
    AddressError
        If there is no such world.
    """
    if kind not in _WORLDS:
        raise AddressError(f"no generated stimuli 'world:{kind}'{near(kind, _WORLDS)}")
    n = query.take("n", integer(1, 10_000_000), 200)
    size = query.take("size", integer(32, 256), 64)
    seed = query.take("seed", integer(0), seed)
    first = query.take("first", integer(0), 0)
    return scenes(n, size=size, seed=seed, first=first)


def scenes(n: int, *, size: int = 64, seed: int = 0, first: int = 0) -> StimulusSet:
    """Generate scenes as stimuli: image, visible masks, boxes and latent variables are fields.

    Parameters
    ----------
    n : int
        How many; scene i is the same whatever n.
    size : int
        Side, pixels.
    seed : int
        The seed of the world.
    first : int
        Index of the first scene.
    """
    import torch

    from netphys.stimuli import world

    kept: dict[int, torch.Tensor] = {}

    def rendered(indices: np.ndarray) -> Any:
        return world.render_scenes(indices, seed=seed, size=size)

    def images(indices: np.ndarray) -> torch.Tensor:
        missing = [int(index) for index in indices if int(index) not in kept]
        fresh = dict(zip(missing, rendered(np.array(missing)).images)) if missing else {}
        if n * 12 * size * size <= _KEPT_BYTES:
            kept.update(fresh)
        return torch.stack([fresh[int(index)] if int(index) in fresh else kept[int(index)] for index in indices])

    metadata = world.scene_latents(np.arange(first, first + n), seed=seed).to_frame()
    metadata.insert(0, "stimulus_id", [f"scene-{seed}-{index:06d}" for index in range(first, first + n)])
    if "category" not in metadata:
        metadata.insert(1, "category", metadata["object"])
    source = Generated(
        {
            "image": images,
            "masks": lambda indices: rendered(indices).masks,
            "boxes": lambda indices: rendered(indices).boxes,
            "latents": lambda indices: world.latent_features(world.scene_latents(indices, seed=seed))[0],
        },
        {
            "world": "scenes",
            "version": world.WORLD_VERSION,
            "code": code_digest("stimuli/world"),
            "size": size,
            "seed": seed,
        },
        first=first,
    )
    return StimulusSet(source, metadata, name="world:scenes")
