"""Steps that move things: resize, crop, pad, set into a field of view, rotate, flip. Maps of the image can follow."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from netphys.errors import StimulusError
from netphys.framing import INTERPOLATIONS, cropped, padded, resized, resized_size
from netphys.stimuli.treating.flat import same_ground
from netphys.stimuli.treating.step import Picture, Step, a_size, number, one_of, option, or_none, whole

__all__ = ["Crop", "Field", "Flip", "Move", "Pad", "Resize", "Rotate"]

_LARGEST = 8192  # pixels a side that an image is resized to


@dataclass(frozen=True)
class Move(Step):
    """A step that moves things."""

    moves: ClassVar[bool] = True

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        figures = {ground: self._followed(picture, ground) for ground in picture.figures}
        return replace(self.move(picture), figures=figures)

    def _followed(self, picture: Picture, ground: float) -> Tensor:
        """Let a figure follow; what is added around is ground where it has that value, else figure."""
        figure, around = picture.figures[ground], getattr(self, "ground", ground)
        inverted = not same_ground(around, ground)
        shape = (figure ^ inverted).to(torch.float64)[None]
        moved = self.move(Picture(shape, picture.name, picture.pixels_per_degree), is_map=True)
        return (moved.values[0] > 0.5) ^ inverted

    def move(self, picture: Picture, *, is_map: bool = False) -> Picture:
        """Do it to a picture; or to a map of it, whose values are not mixed (nearest neighbour) and 0 outside."""
        raise NotImplementedError


@dataclass(frozen=True)
class Resize(Move):
    """Resize, antialiased, as :class:`netphys.networks.Preprocess` does (to rounding, 1e-6).

    Parameters
    ----------
    size : int or (int, int)
        An int: the shorter side, pixels, the shape kept. ``(y, x)``: exactly this size.
    interpolation : {"bilinear", "bicubic", "nearest"}
        Bicubic overshoots at edges.
    """

    keyword: ClassVar[str] = "resize"
    size: int | tuple[int, int] = option(a_size)
    interpolation: str = option(one_of(*INTERPOLATIONS), "bilinear")

    @property
    def may_leave_range(self) -> bool:
        return self.interpolation == "bicubic"

    def move(self, picture: Picture, *, is_map: bool = False) -> Picture:
        size = resized_size(picture.size, self.size)
        return _resized(picture, size, "nearest" if is_map else self.interpolation)


@dataclass(frozen=True)
class Crop(Move):
    """Cut out the centre.

    Parameters
    ----------
    size : int or (int, int)
        (y, x), pixels. An image that is smaller is refused.
    """

    keyword: ClassVar[str] = "crop"
    size: int | tuple[int, int] = option(a_size)

    def move(self, picture: Picture, *, is_map: bool = False) -> Picture:
        return picture.with_values(cropped(picture.values, self.size))


@dataclass(frozen=True)
class Pad(Move):
    """Set into the middle of a larger ground.

    Parameters
    ----------
    size : int or (int, int)
        (y, x), pixels. An image that is larger is refused.
    ground : float in [0, 1]
        Pixel value around. Default: mean grey; an 8-bit grey of 128 is 0.50196.
    """

    keyword: ClassVar[str] = "pad"
    size: int | tuple[int, int] = option(a_size)
    ground: float = option(number(0, 1), 0.5)

    def move(self, picture: Picture, *, is_map: bool = False) -> Picture:
        return picture.with_values(padded(picture.values, self.size, 0 if is_map else self.ground))


@dataclass(frozen=True)
class Field(Move):
    """Set an image of some visual angle into the middle of a field of view.

    Parameters
    ----------
    degrees : float
        Side of the field, degrees of visual angle; for a network, what its input is taken to span (8 for Brain-Score).
    size : int
        Side of the field, pixels.
    stimulus_degrees : float, optional
        Width of the image, degrees. None: the column ``degrees`` of the metadata, or what the steps before make of it.
    ground : float in [0, 1]
        Pixel value where there is no image. Default: mean grey. An image whose own ground is the 8-bit grey 128 meets
        it at a step of 0.002: ``ground=0.50196`` (128 / 255) is that grey, 127 / 255 is 0.49804.
    interpolation : {"bilinear", "bicubic", "nearest"}
        How the image is resized.

    Notes
    -----
    The image becomes ``round(size * stimulus_degrees / degrees)`` pixels wide, its shape kept, and is resampled once;
    what is larger than the field is cut off. The rounding changes its scale by up to half a pixel in its width.

    References
    ----------
    Brain-Score (Schrimpf et al. 2018, doi:10.1101/407007) places stimuli so, on the degrees a network was given.
    """

    keyword: ClassVar[str] = "field"
    degrees: float = option(number(0, 360, above=True))
    size: int = option(whole(1, _LARGEST))
    stimulus_degrees: float | None = option(or_none(number(0, 360, above=True)), None)
    ground: float = option(number(0, 1), 0.5)
    interpolation: str = option(one_of(*INTERPOLATIONS), "bilinear")

    @property
    def may_leave_range(self) -> bool:
        return self.interpolation == "bicubic"

    def move(self, picture: Picture, *, is_map: bool = False) -> Picture:
        height, width = picture.size
        shown = self.stimulus_degrees or width / picture.scale("field")
        exact = self.size * shown / self.degrees
        new = (max(1, round(exact * height / width)), max(1, round(exact)))
        if max(new) > _LARGEST:
            raise StimulusError(f"field: {picture.name}, {shown:g} degrees wide, would be {new[1]} pixels wide")
        values = _resized(picture, new, "nearest" if is_map else self.interpolation).values
        values = cropped(values, (min(new[0], self.size), min(new[1], self.size)))
        values = padded(values, self.size, 0 if is_map else self.ground)
        return replace(picture, values=values, pixels_per_degree=self.size / self.degrees)


@dataclass(frozen=True)
class Rotate(Move):
    """Rotate about the centre; the size stays.

    Parameters
    ----------
    angle : float
        Degrees, counter-clockwise as seen. Square images are turned by multiples of 90 exactly, else bilinear.
    ground : float in [0, 1]
        Pixel value where there is no image. Default: mean grey.
    """

    keyword: ClassVar[str] = "rotate"
    angle: float = option(number(-360, 360))
    ground: float = option(number(0, 1), 0.5)

    def move(self, picture: Picture, *, is_map: bool = False) -> Picture:
        height, width = picture.size
        if self.angle % 180 == 0 or (self.angle % 90 == 0 and height == width):
            return picture.with_values(torch.rot90(picture.values, int(self.angle // 90) % 4, (-2, -1)).clone())
        ground = 0.0 if is_map else self.ground
        grid = _turned_grid(height, width, math.radians(self.angle)).to(picture.values.dtype)
        mode = "nearest" if is_map else "bilinear"
        above = (picture.values - ground)[None]
        turned = torch.nn.functional.grid_sample(above, grid[None], mode, "zeros", align_corners=False)
        return picture.with_values(turned[0] + ground)


@dataclass(frozen=True)
class Flip(Move):
    """Mirror.

    Parameters
    ----------
    direction : {"horizontal", "vertical"}
        Horizontal: left becomes right. Vertical: up becomes down.
    """

    keyword: ClassVar[str] = "flip"
    direction: str = option(one_of("horizontal", "vertical"), "horizontal")

    def move(self, picture: Picture, *, is_map: bool = False) -> Picture:
        return picture.with_values(picture.values.flip(-1 if self.direction == "horizontal" else -2))


def _resized(picture: Picture, size: tuple[int, int], interpolation: str) -> Picture:
    """Resize, and keep account of the pixels a degree (along x)."""
    per_degree = picture.pixels_per_degree
    if per_degree is not None:
        per_degree *= size[1] / picture.size[1]
    values = resized(picture.values[None], size, interpolation)[0]
    return replace(picture, values=values, pixels_per_degree=per_degree)


def _turned_grid(height: int, width: int, angle: float) -> Tensor:
    """Say where each pixel (y, x) of a picture turned counter-clockwise comes from: x, y in [-1, 1], y down."""
    x = torch.arange(width, dtype=torch.float64)[None] - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
    sine, cosine = math.sin(angle), math.cos(angle)
    return torch.stack([(cosine * x - sine * y) * 2 / width, (sine * x + cosine * y) * 2 / height], dim=-1)
