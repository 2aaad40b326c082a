"""A cut-out scaled, turned and moved onto a screen, by one antialiased warp.

Colours are multiplied with what is shown of each pixel before they are interpolated, so that what lay behind an object
when it was cut out leaves no seam around it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["extent_of", "placed", "squared"]


def extent_of(part: Tensor) -> float:
    """Longer side of the box around what is shown, pixels; 0 where nothing is."""
    shown = part > 0
    sides = [torch.nonzero(shown.any(axis)).flatten() for axis in (0, 1)]
    return float(max((int(each[-1] - each[0]) + 1 if len(each) else 0) for each in sides))


def placed(
    image: Tensor, part: Tensor, size: int, *, centre: tuple[float, float], scale: float, rotation: float
) -> tuple[Tensor, Tensor]:
    """Place a cut-out on a screen.

    Parameters
    ----------
    image : Tensor of float32, (3, y, x)
        Its colours.
    part : Tensor of float32, (y, x)
        What is shown of each pixel, in [0, 1].
    size : int
        Side of the screen, pixels.
    centre : (float, float)
        Where the centre of mass of `part` comes to lie, pixels from the middle of the screen, x right and y up.
    scale : float
        Pixels of the screen a pixel of the cut-out.
    rotation : float
        Degrees, counter-clockwise.

    Returns
    -------
    (Tensor of float32 (3, y, x), Tensor of float32 (y, x))
        Colours multiplied with what is shown, and what is shown.
    """
    height, width = part.shape
    planes = torch.cat([image * part, part[None]])[None]
    middle_x, middle_y = _centre_of_mass(part)
    if scale < 1:
        wanted = (max(1, round(height * scale)), max(1, round(width * scale)))
        planes = functional.interpolate(planes, size=wanted, mode="bilinear", antialias=True)
    along = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    right, up = along[None, :] - centre[0], -along[:, None] - centre[1]
    angle = torch.deg2rad(torch.tensor(rotation, dtype=torch.float64))
    x = middle_x + (angle.cos() * right + angle.sin() * up) / scale  # pixels of the cut-out
    y = middle_y - (angle.cos() * up - angle.sin() * right) / scale
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)[None].to(torch.float32)
    warped = functional.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    return warped[:3], warped[3].clamp(0, 1)


def squared(image: Tensor, size: int) -> Tensor:
    """Cut the largest square out of the middle of an image (3, y, x), and bring it to a size, antialiased."""
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[:, top : top + side, left : left + side]
    if side == size:
        return square
    return functional.interpolate(square[None], size=(size, size), mode="bilinear", antialias=True)[0].clamp(0, 1)


def _centre_of_mass(part: Tensor) -> tuple[float, float]:
    """Centre of mass, pixels from the centre of the first one: x, y down."""
    weights = part.to(torch.float64)
    total = weights.sum()
    across = torch.arange(part.shape[1], dtype=torch.float64)
    down = torch.arange(part.shape[0], dtype=torch.float64)
    return float((weights.sum(0) * across).sum() / total), float((weights.sum(1) * down).sum() / total)
