"""Colours of a screen as an observer measures them: sRGB to CIE Lab and back, and lightness alone.

sRGB of IEC 61966-2-1, linearised; its own white (D65 at x = 0.3127, y = 0.3290) is the white of Lab throughout, so that
greys have a = b = 0 and white is (100, 0, 0). All is arithmetic on whole batches: nothing waits for a device, and
nothing is a matrix product, which autocast would run in half precision.

References
----------
IEC 61966-2-1:1999, sRGB: transfer function and primaries. CIE 15:2004, Colorimetry, section 8.2.1: Lab.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["lab_to_srgb", "lightness", "srgb_to_lab"]

_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # x, y of red, green and blue
_WHITE = (0.3127, 0.3290)  # x, y of D65
_KNEE = 6 / 29  # of Lab's cube root: below its cube the curve is a line
_DARK = 0.04045  # sRGB below which the transfer function is a line


def srgb_to_lab(images: Tensor) -> Tensor:
    """Convert sRGB to CIE Lab.

    Parameters
    ----------
    images : tensor (n, 3, y, x)
        sRGB: uint8 in 0..255, or floating point in [0, 1]. Any further axes after the second will do.

    Returns
    -------
    tensor (n, 3, y, x)
        L in [0, 100], a and b (about -86..98 and -108..94); float32, or float64 where the images are.

    Examples
    --------
    >>> import torch
    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    >>> [round(float(each), 1) for each in srgb_to_lab(red).flatten()]
    [53.2, 80.1, 67.2]
    """
    import torch

    red, green, blue = _linear(images).unbind(1)
    x, y, z = (_root(_sum(row, red, green, blue)) for row in _to_relative_xyz())
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lightness(images: Tensor) -> Tensor:
    """Return the CIE lightness of sRGB.

    Parameters
    ----------
    images : tensor (n, 3, y, x)
        sRGB: uint8 in 0..255, or floating point in [0, 1].

    Returns
    -------
    tensor (n, 1, y, x)
        L in [0, 100]; the same as the first channel of :func:`srgb_to_lab`.
    """
    red, green, blue = _linear(images).unbind(1)
    return (116 * _root(_sum(_to_relative_xyz()[1], red, green, blue)) - 16)[:, None]


def lab_to_srgb(lab: Tensor, clip: bool = True) -> Tensor:
    """Convert CIE Lab to sRGB.

    Parameters
    ----------
    lab : tensor (n, 3, y, x)
        L, a, b.
    clip : bool
        Clip what no screen shows to [0, 1]; otherwise it lies outside, which is how one tells.

    Returns
    -------
    tensor (n, 3, y, x)
        sRGB; within 1e-4 of the images that the Lab was made of.
    """
    import torch

    light, a, b = lab.unbind(1)
    y = (light + 16) / 116
    xyz = [_cube(y + a / 500), _cube(y), _cube(y - b / 200)]
    linear = torch.stack([_sum(row, *xyz) for row in np.linalg.inv(_to_relative_xyz())], dim=1)
    bright = 1.055 * linear.clamp_min(1e-6).pow(1 / 2.4) - 0.055
    images = torch.where(linear > 0.0031308, bright, 12.92 * linear)
    return images.clamp(0, 1) if clip else images


@lru_cache(maxsize=1)
def _to_relative_xyz() -> np.ndarray:
    """Return the matrix (3, 3) from linear RGB to X/Xn, Y/Yn, Z/Zn; its rows sum to 1 because white is (1, 1, 1)."""
    primaries = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in _PRIMARIES]).T
    x, y = _WHITE
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    return primaries * np.linalg.solve(primaries, white) / white[:, None]


def _linear(images: Tensor) -> Tensor:
    """Undo the transfer function of sRGB; below float32 nothing is computed."""
    import torch

    if images.dtype == torch.uint8:
        values = images.to(torch.float32) / 255
    else:
        values = images.to(torch.promote_types(images.dtype, torch.float32))
    return torch.where(values > _DARK, ((values + 0.055) / 1.055).pow(2.4), values / 12.92)


def _sum(row: np.ndarray, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Weigh three channels."""
    return (first * float(row[0])).add_(second, alpha=float(row[1])).add_(third, alpha=float(row[2]))


def _root(ratio: Tensor) -> Tensor:
    """Lab's cube root, a line near black."""
    import torch

    return torch.where(ratio > _KNEE**3, ratio.clamp_min(0).pow(1 / 3), ratio / (3 * _KNEE**2) + 4 / 29)


def _cube(root: Tensor) -> Tensor:
    """Undo :func:`_root`."""
    import torch

    return torch.where(root > _KNEE, root.pow(3), 3 * _KNEE**2 * (root - 4 / 29))
