"""Occluded images: an exact share of the pixels hidden, by a disc, bars, all but bubbles, or from one side.

A shape is a number at each pixel; the pixels of the lowest numbers are hidden, as many as the share says. So the share
is exact to a pixel whatever the shape.

References
----------
Gosselin F., Schyns P.G. (2001). Bubbles: a technique to reveal the use of information in recognition tasks. Vision Res
41, 2261-2271. doi:10.1016/S0042-6989(01)00097-9
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from netphys.errors import OptionError, near
from netphys.stimuli.classic.limits import seed_of
from netphys.stimuli.classic.varied import Made, Stimuli, as_float, as_set, varied_set
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["occluded"]

Kind = Literal["disc", "bars", "bubbles", "edge"]

_BARS = 4  # across the image's longer side
_BUBBLES = 10


def occluded(
    stimuli: Stimuli, *, n: int = 1, fraction: float = 0.5, kind: Kind = "disc", fill: float = 0.5, seed: int = 0
) -> StimulusSet:
    """Hide a share of each image.

    Parameters
    ----------
    stimuli : StimulusSet, address or array
        Images of any sizes.
    n : int
        Occluded ones of each image, with occluders of their own.
    fraction : float
        Share of the pixels that are hidden, in [0, 1]; exact to half a pixel.
    kind : {"disc", "bars", "bubbles", "edge"}
        A disc about a random place (cut off by the border where it is near); four bars, or five, of a random
        orientation and phase; all but ten round holes at random places, sharp-edged; everything on one side of a line
        of random orientation.
    fill : float
        Grey value of what hides, in [0, 1].
    seed : int
        Places hang on the seed, the image's id and the number of the copy; they are the same for every fraction.

    Returns
    -------
    StimulusSet
        ``image`` float32 in [0, 1], and ``mask`` (stimulus, y, x) bool: what is visible.

    Raises
    ------
    OptionError
        If an option is outside what it means.

    Examples
    --------
    >>> import numpy as np
    >>> grey = StimulusSet.from_arrays(np.full((1, 3, 20, 20), 255, dtype=np.uint8))
    >>> int(occluded(grey, fraction=0.25).get([0], "mask").sum())
    300
    """
    if not 0 <= fraction <= 1 or not 0 <= fill <= 1:
        raise OptionError(f"fraction={fraction}, fill={fill}: a share of the pixels, and a grey value, 0 to 1")
    if kind not in _SHAPES:
        raise OptionError(f"no kind {kind!r} of occluder{near(kind, _SHAPES)}")

    stimuli, seed = as_set(stimuli), seed_of(seed)

    def make(row: int, copy: int, rng: np.random.Generator) -> Made:
        image = as_float(stimuli.images([row])[0])
        height, width = image.shape[-2:]
        order = np.argsort(_SHAPES[kind](*_places(height, width), rng).ravel(), kind="stable")
        visible = np.ones(height * width, dtype=bool)
        visible[order[: round(fraction * height * width)]] = False
        mask = torch.from_numpy(visible.reshape(height, width))
        return {"image": torch.where(mask, image, fill), "mask": mask}

    recipe = {"made": "occluded", "fraction": float(fraction), "kind": kind, "fill": float(fill), "seed": seed}
    columns = {"fraction": float(fraction), "occluder": kind}
    fields = ("image", "mask")
    return varied_set(stimuli, make, n=n, recipe=recipe, columns=columns, fields=fields, code=["occlusion"])


def _places(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of pixels, x and y, in longer sides of the image, 0 in its middle: (1, x), (y, 1)."""
    longer = max(height, width)
    return (np.arange(width) - (width - 1) / 2)[None] / longer, (np.arange(height) - (height - 1) / 2)[:, None] / longer


def _random_place(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(x.min(), x.max())), float(rng.uniform(y.min(), y.max()))


def _disc(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    at_x, at_y = _random_place(x, y, rng)
    return np.hypot(x - at_x, y - at_y)


def _bars(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle, phase = rng.uniform(0, np.pi), rng.uniform()
    return np.abs((_BARS * (x * np.cos(angle) + y * np.sin(angle)) + phase) % 1 - 0.5)


def _bubbles(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    holes = [_random_place(x, y, rng) for _ in range(_BUBBLES)]
    return -np.min([np.hypot(x - at_x, y - at_y) for at_x, at_y in holes], axis=0)


def _edge(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return x * np.cos(angle) + y * np.sin(angle)


_SHAPES: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "disc": _disc,
    "bars": _bars,
    "bubbles": _bubbles,
    "edge": _edge,
}
