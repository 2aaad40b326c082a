"""Which view of a sample is shown: laws of augmentation, and the table of what they draw.

Every parameter of a view is a hash of (seed, epoch, sample, view), drawn on the host for a whole batch at once. So a
sample's view is the same in whatever batch, order, process or rank it is made, and a resumed training goes on with the
same views without the state of any generator. The laws are those of torchvision's ``RandomResizedCrop``,
``RandomHorizontalFlip``, ``ColorJitter``, ``RandomGrayscale`` and ``GaussianBlur``.

References
----------
Chen T. et al. (2020). A simple framework for contrastive learning of visual representations. ICML, section 3 and
appendix A, https://arxiv.org/abs/2002.05709.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError
from netphys.seeds import derive_seed
from netphys.stimuli.world.hashing import Draws

__all__ = ["Blur", "Crop", "Jitter", "ViewLaw", "ViewTable"]

_TRIES = 10  # of a box that fits, as torchvision; then its fallback, a central one
# Columns of the uniform draws of a sample. Fixed: a law without a crop flips the same samples as one with a crop.
_AREA, _RATIO, _CORNER, _FLIP = slice(0, 10), slice(10, 20), slice(20, 22), 22
_JITTERED, _FACTORS, _ORDER, _GREY, _BLURRED, _SIGMA = 23, slice(24, 28), slice(28, 32), 32, 33, 34
_N_DRAWS = 35


@dataclass(frozen=True)
class Crop:
    """A box of random area and aspect, resized to the view.

    Parameters
    ----------
    scale : (float, float)
        Smallest and largest area of the box, a share of the image's, in (0, 1]; uniform.
    ratio : (float, float)
        Smallest and largest width / height of the box; its logarithm is uniform.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise OptionError(f"scale of Crop is (smallest, largest) in (0, 1], not {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise OptionError(f"ratio of Crop is (smallest, largest) above 0, not {self.ratio}")


@dataclass(frozen=True)
class Jitter:
    """Random brightness, contrast, saturation and hue, in a random order for each image.

    Parameters
    ----------
    brightness, contrast, saturation : float
        Strength s >= 0; the factor is uniform in [max(0, 1 - s), 1 + s].
    hue : float
        Strength h in [0, 0.5], turns of the colour circle; the shift is uniform in [-h, h].
    p : float
        Probability that an image is jittered at all.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    p: float = 0.8

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name} of Jitter is a strength of 0 or more, not {getattr(self, name)}")
        if not 0 <= self.hue <= 0.5:
            raise OptionError(f"hue of Jitter is in [0, 0.5] turns, not {self.hue}")
        _require_probability(self.p, "p of Jitter")


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur of random width, with a mirrored border.

    Parameters
    ----------
    sigma : (float, float)
        Smallest and largest standard deviation, pixels of the view; uniform.
    p : float
        Probability that an image is blurred at all.
    kernel : int, optional
        Size of the kernel, pixels, odd, as torchvision's: 3 at sigma 2 is far from a Gaussian. None: the kernel reaches
        to 3 sigma, whatever sigma is.
    """

    sigma: tuple[float, float]
    p: float = 0.5
    kernel: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.sigma[0] <= self.sigma[1] < math.inf:
            raise OptionError(f"sigma of Blur is (smallest, largest) above 0, pixels, not {self.sigma}")
        if self.kernel is not None and (self.kernel < 1 or self.kernel % 2 == 0):
            raise OptionError(f"kernel of Blur is odd and above 0, or None for a radius of 3 sigma, not {self.kernel}")
        _require_probability(self.p, "p of Blur")

    @property
    def radius(self) -> int:
        """The farthest tap of the widest kernel, pixels."""
        return self.kernel // 2 if self.kernel is not None else int(3 * self.sigma[1])


class ViewTable(NamedTuple):
    """What was drawn for a batch, on the host, one row a sample; `box` alone hangs on the size of the images."""

    box: Tensor  # (sample, 4) int32: top, left, height, width; pixels of the image
    flip: Tensor  # (sample,) bool
    jittered: Tensor  # (sample,) bool
    factors: Tensor  # (sample, 4) float32: brightness, contrast, saturation (factors), hue (shift in turns)
    order: Tensor  # (sample, 4) int32: which of these comes first, second, third, last
    grey: Tensor  # (sample,) bool
    blurred: Tensor  # (sample,) bool
    sigma: Tensor  # (sample,) float32: pixels of the view


@dataclass(frozen=True, repr=False)
class ViewLaw:
    """A law of augmentation: crop and resize, flip, jitter, grey, blur, in this order.

    Parameters
    ----------
    size : (int, int), optional
        Size (y, x) of the view, pixels; None is the size of the image.
    crop : Crop, optional
        None: the whole image.
    flip : float
        Probability of a left-right flip.
    jitter : Jitter, optional
        Of colours.
    grey : float
        Probability that colour is taken away.
    blur : Blur, optional
        After everything else.

    Examples
    --------
    >>> ViewLaw(size=(64, 64), crop=Crop(), flip=0.5)
    ViewLaw(size=(64, 64), crop=Crop(scale=(0.08, 1.0), ratio=(0.75, 1.3333333333333333)), flip=0.5)
    """

    size: tuple[int, int] | None = None
    crop: Crop | None = None
    flip: float = 0.0
    jitter: Jitter | None = None
    grey: float = 0.0
    blur: Blur | None = None

    def __post_init__(self) -> None:
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise OptionError(f"size of ViewLaw is (y, x) in pixels, or None for the image's, not {self.size}")
        _require_probability(self.flip, "flip of ViewLaw")
        _require_probability(self.grey, "grey of ViewLaw")

    def __repr__(self) -> str:
        said = [(each.name, getattr(self, each.name)) for each in fields(self)]
        return f"ViewLaw({', '.join(f'{name}={value!r}' for name, value in said if value)})"

    def to_dict(self) -> dict[str, Any]:
        """Say the law as plain data, for digests and files."""
        return asdict(self)

    def table(
        self, samples: Sequence[int] | np.ndarray | Tensor, *, seed: int, epoch: int, view: int | str,
        image_size: tuple[int, int],
    ) -> ViewTable:  # fmt: skip
        """Draw the parameters of the views of some samples.

        Parameters
        ----------
        samples : sequence of int, (sample,)
            Which samples of the training set, on the host; a sample's row is the same in every batch.
        seed, epoch : int
            Of the training.
        view : int or str
            Which view of the sample: 0 and 1 of a pair. Inputs that must share a crop share this.
        image_size : (int, int)
            Size (y, x) of the images, pixels.

        Returns
        -------
        ViewTable
            On the host.
        """
        if isinstance(samples, Tensor) and samples.device.type != "cpu":
            raise OptionError(f"samples of a view table are numbers on the host, not on {samples.device}")
        ids = torch.as_tensor(np.asarray(samples, dtype=np.int64))
        if ids.ndim != 1:
            raise OptionError(f"samples of a view table are a list of numbers, not of shape {tuple(ids.shape)}")
        uniform = Draws(derive_seed(seed, "views", epoch, view), ids).uniform("view", _N_DRAWS).numpy()
        jitter, blur = self.jitter, self.blur
        sigma = blur.sigma if blur else (0.0, 0.0)
        return ViewTable(
            box=torch.from_numpy(_boxes(self.crop, uniform, image_size)),
            flip=torch.from_numpy(uniform[:, _FLIP] < self.flip),
            jittered=torch.from_numpy(uniform[:, _JITTERED] < (jitter.p if jitter else 0.0)),
            factors=torch.from_numpy(_factors(jitter, uniform[:, _FACTORS])),
            order=torch.from_numpy(np.argsort(uniform[:, _ORDER], axis=1, kind="stable").astype(np.int32)),
            grey=torch.from_numpy(uniform[:, _GREY] < self.grey),
            blurred=torch.from_numpy(uniform[:, _BLURRED] < (blur.p if blur else 0.0)),
            sigma=torch.from_numpy(_between(uniform[:, _SIGMA], *sigma).astype(np.float32)),
        )


def _require_probability(value: float, what: str) -> None:
    if not 0 <= value <= 1:
        raise OptionError(f"{what} is a probability, not {value}")


def _between(uniform: np.ndarray, low: float, high: float) -> np.ndarray:
    """Stretch uniform numbers of [0, 1) to [low, high), in float64."""
    return low + uniform.astype(np.float64) * (high - low)


def _boxes(crop: Crop | None, uniform: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Draw a box (top, left, height, width) a row: the first of ten tries that fits, else the central one; int32."""
    height, width = image_size
    if crop is None:
        return np.tile(np.array([0, 0, height, width], dtype=np.int32), (len(uniform), 1))
    area = height * width * _between(uniform[:, _AREA], *crop.scale)
    ratio = np.exp(_between(uniform[:, _RATIO], math.log(crop.ratio[0]), math.log(crop.ratio[1])))
    w, h = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.argmax(axis=1)[:, None]
    w, h = np.take_along_axis(w, first, 1)[:, 0], np.take_along_axis(h, first, 1)[:, 0]
    corner = uniform[:, _CORNER].astype(np.float64)
    top, left = np.floor(corner[:, 0] * (height - h + 1)), np.floor(corner[:, 1] * (width - w + 1))
    boxes = np.stack([top, left, h, w], axis=1).astype(np.int32)
    boxes[~fits.any(axis=1)] = _central_box(crop, height, width)
    return boxes


def _central_box(crop: Crop, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the box of an image of which none of ten tries fits: the largest central one of a legal aspect."""
    low, high = crop.ratio
    w, h = width, height
    if width / height < low:
        h = round(w / low)
    elif width / height > high:
        w = round(h * high)
    return (height - h) // 2, (width - w) // 2, h, w


def _factors(jitter: Jitter | None, uniform: np.ndarray) -> np.ndarray:
    """Draw brightness, contrast, saturation and hue; (row, 4) float32."""
    if jitter is None:
        return np.tile(np.array([1, 1, 1, 0], dtype=np.float32), (len(uniform), 1))
    strength = np.array([jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue])
    centre = np.array([1.0, 1.0, 1.0, 0.0])
    low = np.where(centre > 0, np.maximum(centre - strength, 0), -strength)
    return (low + uniform.astype(np.float64) * (centre + strength - low)).astype(np.float32)
