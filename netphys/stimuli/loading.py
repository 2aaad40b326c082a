"""An address becomes a StimulusSet: a folder of images, or ``world:scenes?n=200&size=64&seed=0``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from netphys.addresses import Query, integer, split_address
from netphys.errors import AddressError, StimulusError, near
from netphys.provenance import code_digest
from netphys.stimuli.sources import Generated
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["as_stimuli", "load_stimuli"]

_WORLDS = ("scenes",)
_KEPT_BYTES = 1 << 29  # sets up to half a gigabyte are rendered once


def load_stimuli(address: str | Path, *, seed: int = 0, skip_broken: bool = False) -> StimulusSet:
    """Load the stimuli that an address leads to.

    Parameters
    ----------
    address : str
        A folder of images; or ``world:scenes`` with ``n`` (default 200), ``size`` (pixels, default 64), ``seed`` and
        ``first`` (the index of the first scene, default 0). A folder takes ``where`` (a condition on its metadata).
    seed : int
        The seed of generated stimuli whose address names none.
    skip_broken : bool
        Leave out images that cannot be decoded, and log how many.

    Raises
    ------
    AddressError, StimulusError
        If the address leads nowhere or the stimuli cannot be read.

    Examples
    --------
    >>> load_stimuli("world:scenes?n=4&size=32")  # doctest: +ELLIPSIS
    StimulusSet(world:scenes: 4 stimuli; ...)
    """
    body, query = split_address(str(address))
    if body.startswith("world:"):
        return _load_world(body.removeprefix("world:"), query, seed)
    if Path(body).is_dir():
        condition = query.take("where", str, "")
        query.finish()
        shown = StimulusSet.from_folder(body, skip_broken=skip_broken)
        return shown.where(condition) if condition else shown
    if Path(body).is_file():
        raise StimulusError(f"{body} is a file; stimuli are a folder of images or world:scenes?n=100")
    raise AddressError(
        f"no stimuli at {str(address)!r}: there is no such folder below {Path.cwd()}, and it is not world:scenes?n=100"
    )


def as_stimuli(stimuli: Any) -> StimulusSet:
    """Accept an address, or images as an array or tensor (stimulus, 3, y, x), wherever a StimulusSet is.

    Raises
    ------
    StimulusError
        If it is none of them.
    """
    if isinstance(stimuli, StimulusSet):
        return stimuli
    if isinstance(stimuli, str | Path):
        return load_stimuli(stimuli)
    if hasattr(stimuli, "shape"):
        return StimulusSet.from_arrays(stimuli)
    kind = type(stimuli).__name__
    raise StimulusError(f"stimuli are a StimulusSet, an address, or an array of images (stimulus, 3, y, x), not {kind}")


def _load_world(kind: str, query: Query, seed: int) -> StimulusSet:
    """Load generated stimuli."""
    if kind not in _WORLDS:
        raise AddressError(f"no generated stimuli 'world:{kind}'{near(kind, _WORLDS)}")
    n = query.take("n", integer(1, 10_000_000), 200)
    size = query.take("size", integer(32, 256), 64)
    seed = query.take("seed", integer(0), seed)
    first = query.take("first", integer(0), 0)
    query.finish()
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
