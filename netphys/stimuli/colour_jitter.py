"""Colours changed at random: blends (brightness, contrast, saturation), hue, and grey, each image by its own factors.

All work on planes (colour, image, y, x) in place, without branches and without asking the device anything. The
definitions are torchvision's for floats in [0, 1].

References
----------
Smith A. R. (1978). Color gamut transform pairs. SIGGRAPH '78, https://doi.org/10.1145/800248.807361 (hue as a sextant).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["GREY_WEIGHTS", "blend_", "grey", "shift_hue_"]

GREY_WEIGHTS = (0.2989, 0.587, 0.114)  # of ITU-R BT.601, rounded as torchvision and Pillow do; they sum to 0.9999
_NOTHING = 1e-30  # added to a range of colours, so that a grey pixel divides 0 by this; far below 1 / 255


def grey(planes: Tensor) -> Tensor:
    """Return the grey of colours: (colour, image, y, x) → (image, y, x)."""
    red, green, blue = GREY_WEIGHTS
    return (planes[0] * red).add_(planes[1], alpha=green).add_(planes[2], alpha=blue)


def blend_(planes: Tensor, factor: Tensor, of_grey: Tensor, of_mean: Tensor) -> None:
    """Blend images with black, their grey, or their mean grey, then clamp to [0, 1]; in place.

    Parameters
    ----------
    planes : Tensor, (colour, image, y, x)
        Images in [0, 1].
    factor : Tensor, (image,)
        Share f of the image, 0 or more: ``f image + (1 - f) other``.
    of_grey, of_mean : Tensor, (image,)
        What the other is: 0, 0 black (brightness); 1, 0 the image's grey (saturation); 0, 1 its mean (contrast).
    """
    other = grey(planes)
    mean = other.mean((1, 2), keepdim=True)
    other.mul_(of_grey[:, None, None]).add_(mean * of_mean[:, None, None])
    torch.lerp(other.expand_as(planes), planes, factor[:, None, None].expand_as(planes), out=planes)
    planes.clamp_(0, 1)


def shift_hue_(planes: Tensor, turns: Tensor) -> None:
    """Turn the hue of images, their value and chroma unchanged; in place.

    Parameters
    ----------
    planes : Tensor, (colour, image, y, x)
        Images in [0, 1].
    turns : Tensor, (image,)
        Shift, turns of the colour circle, in [-0.5, 0.5].

    Notes
    -----
    With the largest colour V, the smallest m and the chroma ``C = V - m``, the hue in sextants from red is
    ``sign(g - b) (C + g - m + b - r) / C``, without a branch. With H that hue plus 3 and the shift, modulo 6, the
    colours are ``V - C k(H - 3)``, ``m + C k(H - 2)``, ``m + C k(H - 4)``, where ``k(d) = min(max(|d| - 1, 0), 1)``.
    """
    red, green, blue = planes
    largest = torch.maximum(torch.maximum(red, green), blue)
    smallest = torch.minimum(torch.minimum(red, green), blue)
    chroma = largest - smallest
    sextants = (green - smallest).add_(blue).sub_(red).add_(chroma)  # times chroma; how far from red, in [0, 3]
    sextants.copysign_(green - blue)  # towards yellow, or towards magenta
    start = (
        torch.frac(turns + 1)[:, None, None] + 0.5
    )  # in [0.5, 1.5): what follows is positive, and small, for its last bits
    hue = torch.addcdiv(start, sextants, chroma + _NOTHING, value=1 / 6).frac_().mul_(6)  # 3 is red
    for plane, centre, base, sign in ((red, 3, largest, -1), (green, 2, smallest, 1), (blue, 4, smallest, 1)):
        share = (hue - centre).abs_().sub_(1).clamp_(0, 1)
        torch.addcmul(base, chroma, share, value=sign, out=plane)
