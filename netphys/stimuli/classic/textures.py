"""Texture controls of images: the statistics of Portilla and Simoncelli, and nothing else of what is in the image.

Synthesis begins with noise and moves its pixels until the statistics (of a steerable pyramid: moments, local
correlations, correlations of magnitudes across places, orientations and scales) are those of the image. The statistics
are plenoptic's (``pip install netphys[textures]``).

References
----------
Portilla J., Simoncelli E.P. (2000). A parametric texture model based on joint statistics of complex wavelet
coefficients. Int J Comput Vis 40, 49-71. doi:10.1023/A:1026553619983
Freeman J., Ziemba C.M., Heeger D.J., Simoncelli E.P., Movshon J.A. (2013). A functional and perceptual signature of
the second visual area in primates. Nat Neurosci 16, 974-981. doi:10.1038/nn.3402 (against phase-scrambled controls)
"""

from __future__ import annotations

import importlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError, StimulusError
from netphys.stimuli.classic.limits import seed_of
from netphys.stimuli.classic.releases import releases
from netphys.stimuli.classic.varied import Made, Stimuli, as_float, as_set, varied_set
from netphys.stimuli.stimulus_set import StimulusSet
from netphys.stimuli.treating.light import LUMA

__all__ = ["texture_controls", "texture_statistics"]

_LOG = logging.getLogger(__name__)
_DESCENT: dict[str, Any] = {
    "lr": 1.0,
    "max_iter": 10,
    "max_eval": 10,
    "history_size": 100,
    "line_search_fn": "strong_wolfe",
}
_PENALTY = 0.1  # of values out of [0, 1], plenoptic's default
_KEPT_BYTES = 1 << 28  # of finished textures, so that none is made twice while it is shown; the oldest goes first


def texture_controls(
    stimuli: Stimuli,
    *,
    n: int = 1,
    n_scales: int = 4,
    n_orientations: int = 4,
    neighbourhood: int = 7,
    iterations: int = 40,
    seed: int = 0,
) -> StimulusSet:
    """Make textures with the statistics of images; slow: half a minute for an image of 128 pixels a side.

    A texture is made when it is first read, and kept for a while: show a set, or write it with ``to_hdf5``, in one go.

    Parameters
    ----------
    stimuli : StimulusSet, address or array
        Images whose sides are multiples of 2**n_scales; their luma (ITU-R BT.601, of pixel values) is used.
    n : int
        Textures of each image, each from noise of its own.
    n_scales, n_orientations : int
        Of the pyramid.
    neighbourhood : int
        Side of the square of lags over which correlations are taken, pixels of each scale; odd.
    iterations : int
        Steps of L-BFGS, ten evaluations each.
    seed : int
        Noise hangs on the seed, the image's id and the number of the copy.

    Returns
    -------
    StimulusSet
        ``image`` float32 in [0, 1], grey; and ``mismatch`` (stimulus,), the distance that is left between the
        statistics of image and texture over that between image and noise.

    Raises
    ------
    StimulusError
        If plenoptic is not installed, or an image is of a size that the pyramid does not take (when it is read).
    OptionError
        If an option is outside what it means.
    """
    if min(n_scales, n_orientations - 1, iterations) < 1 or neighbourhood < 1 or neighbourhood % 2 == 0:
        raise OptionError(
            f"n_scales={n_scales}, n_orientations={n_orientations}, neighbourhood={neighbourhood}, "
            f"iterations={iterations}: 1, 2 and 1 at least, an odd side, 1 at least"
        )
    _plenoptic()
    stimuli, seed = as_set(stimuli), seed_of(seed)
    model = (n_scales, n_orientations, neighbourhood)
    kept: OrderedDict[tuple[int, int], Made] = OrderedDict()

    def make(row: int, copy: int, rng: np.random.Generator) -> Made:
        if (row, copy) not in kept:
            luma = _luma(as_float(stimuli.images([row])[0]))
            texture, mismatch = _synthesised(luma, rng, model, iterations, name=stimuli.ids[row])
            kept[row, copy] = {"image": texture.expand(3, -1, -1), "mismatch": torch.tensor(mismatch)}
            while len(kept) > 1 and len(kept) * texture.numel() * 4 > _KEPT_BYTES:
                kept.popitem(last=False)
        return kept[row, copy]

    recipe = {"made": "texture_controls", "model": model, "iterations": iterations, "seed": seed}
    recipe |= {"luma": LUMA, "libraries": releases("plenoptic", "torch")}
    columns = {"n_scales": n_scales, "n_orientations": n_orientations, "neighbourhood": neighbourhood}
    fields = ("image", "mismatch")
    return varied_set(stimuli, make, n=n, recipe=recipe, columns=columns, fields=fields, code=["textures"])


def texture_statistics(images: Tensor, *, n_scales: int = 4, n_orientations: int = 4, neighbourhood: int = 7) -> Tensor:
    """Measure the statistics of Portilla and Simoncelli.

    Parameters
    ----------
    images : Tensor, (stimulus, 3, y, x)
        uint8, or float in [0, 1]; their luma is used.
    n_scales, n_orientations, neighbourhood : int
        See :func:`texture_controls`.

    Returns
    -------
    Tensor of float64, (stimulus, statistic)

    Raises
    ------
    StimulusError
        As :func:`texture_controls`.
    """
    luma = torch.stack([_luma(as_float(each)) for each in images])[:, None].to(torch.float64)
    model = _model(luma.shape[-2:], (n_scales, n_orientations, neighbourhood), name="the image")
    with torch.no_grad():
        return torch.cat([model(each[None])[0] for each in luma])


def _plenoptic() -> Any:
    try:
        return importlib.import_module("plenoptic")
    except ImportError as error:
        raise StimulusError(
            f"texture controls need plenoptic, which is not installed ({error}); pip install 'netphys[textures]'"
        ) from None


def _luma(image: Tensor) -> Tensor:
    """(3, y, x) → (y, x)."""
    return sum(weight * plane for weight, plane in zip(LUMA, image))


def _model(shape: tuple[int, ...], model: tuple[int, int, int], *, name: str) -> Any:
    """Plenoptic's model in float64, or say what sizes it takes."""
    n_scales, n_orientations, neighbourhood = model
    if any(side % 2**n_scales or side // 2**n_scales < neighbourhood for side in shape):
        raise StimulusError(
            f"{name} is {shape[0]} x {shape[1]} pixels; {n_scales} scales and a neighbourhood of {neighbourhood} take "
            f"sides that are multiples of {2**n_scales}, at least {neighbourhood * 2**n_scales}: resize, crop, or take "
            "fewer scales"
        )
    return _built(tuple(shape), model)


@lru_cache(maxsize=4)
def _built(shape: tuple[int, ...], model: tuple[int, int, int]) -> Any:
    """Build the model; plenoptic tries its pyramid on an image of numpy's global generator, which is put back."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        made = _plenoptic().models.PortillaSimoncelli(shape, *model).to(torch.float64)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    for parameter in made.parameters():
        parameter.requires_grad_(False)
    return made.eval()


def _synthesised(
    luma: Tensor, rng: np.random.Generator, model: tuple[int, int, int], iterations: int, *, name: str
) -> tuple[Tensor, float]:
    """Descend from noise to the statistics of an image; the texture (y, x), and the mismatch that is left."""
    target = luma.to(torch.float64)[None, None]
    statistics = _model(luma.shape, model, name=name)
    distance = _plenoptic().loss.portilla_simoncelli_loss_factory(statistics, target)
    wanted = statistics(target)
    noise = (target.mean() + 0.1 * torch.from_numpy(rng.uniform(-0.5, 0.5, target.shape))).clamp(0, 1)
    with torch.enable_grad():
        texture = _descended(noise, lambda image: distance(statistics(image), wanted), iterations)
    texture = texture.clamp(0, 1).to(torch.float32)
    mismatch = float(distance(statistics(texture.to(torch.float64)), wanted) / distance(statistics(noise), wanted))
    if not np.isfinite(mismatch):
        raise StimulusError(
            f"no texture was found for {name}: its statistics are not finite; an image without contrast at some scale "
            "or orientation has none"
        )
    _LOG.info("%s: a texture, %.1f %% of the distance of noise left", name, 100 * mismatch)
    return texture[0, 0], mismatch


def _descended(start: Tensor, distance: Callable[[Tensor], Tensor], iterations: int) -> Tensor:
    """Move pixels until the distance is small; values out of [0, 1] are paid for by their square."""
    image = start.clone().requires_grad_()
    descent = torch.optim.LBFGS([image], **_DESCENT)

    def closure() -> Tensor:
        descent.zero_grad()
        outside = (-image).clamp(min=0).square().sum() + (image - 1).clamp(min=0).square().sum()
        total = distance(image) + _PENALTY * outside
        total.backward()
        return total

    for _ in range(iterations):
        if not torch.isfinite(torch.as_tensor(descent.step(closure))):
            break
    return image.detach()
