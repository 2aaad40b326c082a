"""How batches of images are resized, cropped and padded: one rule for what a network wants and for what is shown.

Images are floating point (..., y, x) with at least one axis before y; any device. Resizing is antialiased where an
image becomes smaller (a triangle or cubic filter stretched by the scale), except by nearest neighbour. What is cut off
or added on the two sides of the centre differs by at most one pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netphys.errors import StimulusError
from netphys.resampling import resized_crop

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["INTERPOLATIONS", "crop_corner", "cropped", "padded", "pair", "resized", "resized_size"]

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return a size as (y, x)."""
    return (size, size) if isinstance(size, int) else size


def resized_size(size: tuple[int, int], resize: int | tuple[int, int] | None) -> tuple[int, int]:
    """Say how large an image becomes.

    Parameters
    ----------
    size : (int, int)
        (y, x) of the image, pixels.
    resize : int or (int, int), optional
        (y, x): exactly this. An int: the shorter side, the shape kept (the longer one is rounded down). None: as it is.

    Examples
    --------
    >>> resized_size((300, 200), 100), resized_size((300, 200), (64, 64))
    ((150, 100), (64, 64))
    """
    if resize is None:
        return size
    if not isinstance(resize, int):
        return resize
    short = min(size)
    return (int(resize * size[0] / short), int(resize * size[1] / short))


def resized(values: Tensor, size: tuple[int, int], interpolation: str = "bilinear") -> Tensor:
    """Resize images.

    Parameters
    ----------
    values : tensor (n, channel, y, x)
        Floating point.
    size : (int, int)
        (y, x) of the result, pixels.
    interpolation : {"bilinear", "bicubic", "nearest"}
        Bicubic overshoots: the result may lie outside the range of `values`.

    Returns
    -------
    tensor (n, channel, *size)
        `values` itself where they have this size.

    Notes
    -----
    Bilinear resizing on the CPU is :func:`netphys.resampling.resized_crop`: a third of the time of torch's, and right
    where the result is one pixel wide, where torch's is not.
    """
    import torch

    if size == tuple(values.shape[-2:]):
        return values
    if interpolation == "bilinear" and values.device.type == "cpu":
        return resized_crop(values, size, (0, 0), size).to(values.dtype)
    if interpolation == "nearest":
        return torch.nn.functional.interpolate(values, size, mode="nearest-exact")
    return torch.nn.functional.interpolate(values, size, mode=interpolation, antialias=True, align_corners=False)


def cropped(values: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Cut the centre out of images.

    Parameters
    ----------
    values : tensor (..., y, x)
        Images.
    size : int or (int, int)
        (y, x) of the result, pixels.

    Returns
    -------
    tensor (..., *size)
        A view of `values`.

    Raises
    ------
    StimulusError
        If an image is smaller than that.
    """
    height, width = pair(size)
    top, left = crop_corner((values.shape[-2], values.shape[-1]), (height, width))
    return values[..., top : top + height, left : left + width]


def crop_corner(image: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Say where the centre of an image begins, (y, x) of its first pixel.

    Raises
    ------
    StimulusError
        If the image is smaller than `size`.
    """
    (y, x), (height, width) = image, size
    if y < height or x < width:
        raise StimulusError(f"an image of {y} x {x} cannot be cropped to {height} x {width}; resize it first")
    return round((y - height) / 2), round((x - width) / 2)


def padded(values: Tensor, size: int | tuple[int, int], ground: float = 0.5) -> Tensor:
    """Set images in the middle of a larger ground; the inverse of :func:`cropped`.

    Parameters
    ----------
    values : tensor (..., y, x)
        Images.
    size : int or (int, int)
        (y, x) of the result, pixels.
    ground : float
        The value of the pixels around.

    Returns
    -------
    tensor (..., *size)

    Raises
    ------
    StimulusError
        If an image is larger than that.
    """
    height, width = pair(size)
    y, x = values.shape[-2:]
    if y > height or x > width:
        raise StimulusError(f"an image of {y} x {x} cannot be padded to {height} x {width}; resize or crop it first")
    top, left = round((height - y) / 2), round((width - x) / 2)
    out = values.new_full((*values.shape[:-2], height, width), ground)
    out[..., top : top + y, left : left + x] = values
    return out
