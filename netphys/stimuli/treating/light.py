"""Steps on the light of a picture: grey, contrast, brightness, an aperture, clipping."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from netphys.colorimetry import lab_to_srgb, lightness
from netphys.errors import OptionError
from netphys.stimuli.treating.steady import by_blocks
from netphys.stimuli.treating.step import Picture, Step, number, one_of, option

__all__ = ["LUMA", "Aperture", "Brightness", "Clip", "Contrast", "Grey"]

LUMA = (0.299, 0.587, 0.114)  # Rec. ITU-R BT.601, section 2.5.1: of pixel values of red, green, blue
MEAN_GREY = 0.5


@dataclass(frozen=True)
class Grey(Step):
    """Take the colours away; three equal channels.

    Parameters
    ----------
    weights : {"luma", "lightness", "linear"}
        ``"luma"``: 0.299 R + 0.587 G + 0.114 B of the pixel values (Rec. 601), as Matlab's ``rgb2gray`` and SHINE.
        ``"lightness"``: CIE lightness / 100, as a network of ``colour="lightness"`` sees it.
        ``"linear"``: the grey whose luminance on an sRGB screen is that of the colour.
    """

    keyword: ClassVar[str] = "grey"
    weights: str = option(one_of("luma", "lightness", "linear"), "luma")

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        if self.weights != "luma":
            made = by_blocks(_light if self.weights == "lightness" else _linear_grey, picture.values)
            return picture.with_values(made[0].to(picture.values.dtype))
        if picture.is_grey:  # the weights sum to 1 but for rounding; what is grey stays to the last bit
            return picture
        red, green, blue = picture.values
        return picture.with_values(LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)


@dataclass(frozen=True)
class Contrast(Step):
    """Scale about mean grey.

    Parameters
    ----------
    factor : float
        1 changes nothing, 0 leaves a uniform picture, below 0 inverts.
    about : float in [0, 1] or "mean"
        What stays: a pixel value (default 0.5), or the mean of each picture.

    Notes
    -----
    ``x' = about + factor (x - about)``.
    """

    keyword: ClassVar[str] = "contrast"
    factor: float = option(number(-100, 100))
    about: float | str = option(lambda value: "mean" if value == "mean" else number(0, 1)(value), MEAN_GREY)

    @property
    def may_leave_range(self) -> bool:
        return not (0 <= self.factor <= 1)

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        values = picture.values
        about = float(values.numpy().mean(dtype=np.float64)) if isinstance(self.about, str) else self.about
        return picture.with_values(about + self.factor * (values - about))


@dataclass(frozen=True)
class Brightness(Step):
    """Add to every pixel value.

    Parameters
    ----------
    amount : float in [-1, 1]
        What is added.
    """

    keyword: ClassVar[str] = "brightness"
    amount: float = option(number(-1, 1))

    @property
    def may_leave_range(self) -> bool:
        return self.amount != 0

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        return picture.with_values(picture.values + self.amount)


@dataclass(frozen=True)
class Aperture(Step):
    """Show the picture through a round window with a soft edge, in its middle.

    Parameters
    ----------
    diameter : float
        Where the picture ends.
    edge : float
        Width of the soft edge, inside of the diameter; at most half of it.
    ground : float in [0, 1]
        Pixel value outside. Default: mean grey.
    unit : {"image", "pixel", "degree"}
        Of `diameter` and `edge`; ``"image"``: shares of the picture's shorter side.

    Notes
    -----
    At a distance r from the middle, with radius R and edge e,
    ``x' = ground + w(r) (x - ground)``; w = 1 up to R - e, ``(1 + cos(pi (r - R + e) / e)) / 2`` up to R, then 0.
    """

    keyword: ClassVar[str] = "aperture"
    diameter: float = option(number(0, 8192, above=True), 1.0)
    edge: float = option(number(0, 8192), 0.1)
    ground: float = option(number(0, 1), MEAN_GREY)
    unit: str = option(one_of("image", "pixel", "degree"), "image")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edge > self.diameter / 2:
            raise OptionError(f"aperture: edge={self.edge:g} is more than half of diameter={self.diameter:g}")

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        radius, edge = (picture.in_pixels(each, self.unit, "aperture") for each in (self.diameter / 2, self.edge))
        height, width = picture.size
        y = np.arange(height)[:, None] - (height - 1) / 2
        x = np.arange(width)[None] - (width - 1) / 2
        distance = np.sqrt(x * x + y * y)
        if edge:
            shape = 0.5 * (1 + np.cos(np.pi * ((distance - radius + edge) / edge).clip(0, 1)))
        else:
            shape = (distance <= radius).astype(float)
        window = torch.from_numpy(shape).to(picture.values.dtype)
        shown = picture.with_values(self.ground + window * (picture.values - self.ground))
        inside = window > 0
        return replace(shown, figures={ground: each & inside for ground, each in shown.figures.items()})


@dataclass(frozen=True)
class Clip(Step):
    """Set values below 0 to 0 and above 1 to 1; done at the end of every treatment, whether it says so or not."""

    keyword: ClassVar[str] = "clip"

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        return picture.with_values(picture.values.clamp(0, 1))


def _light(srgb: Tensor) -> Tensor:
    """Return CIE lightness / 100, (1, 1, 1, pixels)."""
    return lightness(srgb) / 100


def _linear_grey(srgb: Tensor) -> Tensor:
    """Return the grey of equal luminance, (1, 1, 1, pixels)."""
    light = lightness(srgb)
    none = torch.zeros_like(light)
    return lab_to_srgb(torch.cat([light, none, none], 1), clip=False)[:, 1:2]
