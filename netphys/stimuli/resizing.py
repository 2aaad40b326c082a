"""Boxes cut out and resized, and images blurred, as products with a matrix of weights for each axis and image.

Resizing is separable and linear: a view is ``W_y @ image @ W_x.T``, where a row of W holds the weights of one pixel of
the view. The weights are those of a triangle filter, stretched by the scale where the box is larger than the view
(antialiased bilinear), and they end at the box, as if it had been cut out first. A left-right flip is W_x upside down.
A Gaussian blur with a mirrored border is another such matrix. So both are two batched products whatever the boxes are,
and each image has a box of its own.

References
----------
Heckbert P. (1989). Fundamentals of texture mapping and image warping. UC Berkeley, section 3.5 (scaled filters).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["blur_weights", "resize_weights", "separable"]


def separable(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Weigh both axes of images, each image with its own weights.

    Parameters
    ----------
    planes : Tensor, (colour, image, y, x)
        Images.
    rows : Tensor, (image, y of the view, y)
        Weights along y.
    columns : Tensor, (image, x of the view, x)
        Weights along x.

    Returns
    -------
    Tensor, (colour, image, y of the view, x of the view)
    """
    out = planes.new_empty(len(planes), len(rows), rows.shape[1], columns.shape[1])
    turned = columns.transpose(1, 2)
    for plane, into in zip(planes, out, strict=True):
        torch.bmm(rows, torch.bmm(plane, turned), out=into)
    return out


def resize_weights(start: Tensor, length: Tensor, n_in: int, n_out: int, flip: Tensor | None = None) -> Tensor:
    """Weights that cut an interval out of an axis and resize it, antialiased bilinear.

    Parameters
    ----------
    start, length : Tensor of float32, (image,)
        The interval, pixels: whole numbers.
    n_in, n_out : int
        Length of the axis in the image and in the view, pixels.
    flip : Tensor of float32, (image,), optional
        1: the view is mirrored; 0: it is not.

    Returns
    -------
    Tensor of float32, (image, n_out, n_in)
        Each row sums to 1.

    Notes
    -----
    Pixel i of the view has its centre at ``c = (i + 1/2) s`` of the interval, ``s = length / n_out``; pixel j of the
    interval weighs ``max(0, 1 - |j + 1/2 - c| / max(s, 1))``, divided by the sum of the weights.
    """
    pixels = torch.arange(n_out, device=start.device, dtype=torch.float32)[None] + 0.5
    if flip is not None:
        pixels = pixels + flip[:, None] * (n_out - 2 * pixels)
    scale = (length / n_out)[:, None]
    places = torch.arange(n_in, device=start.device, dtype=torch.float32)[None] - start[:, None]
    inside = ((places >= 0) & (places < length[:, None])).to(torch.float32)
    distance = (places + 0.5)[:, None] - (scale * pixels)[:, :, None]  # kept small: the interval's own coordinates
    weights = distance.abs_().mul_(-1 / scale.clamp(min=1)[:, :, None]).add_(1).clamp_(min=0).mul_(inside[:, None])
    return weights.div_(weights.sum(-1, keepdim=True))


def blur_weights(sigma: Tensor, n: int, radius: int, *, truncate: float | None = None) -> Tensor:
    """Weights of a Gaussian blur along an axis whose borders are mirrors (the border pixel is not repeated).

    Parameters
    ----------
    sigma : Tensor of float32, (image,)
        Standard deviation, pixels.
    n : int
        Length of the axis, pixels.
    radius : int
        The farthest tap, pixels.
    truncate : float, optional
        Taps farther than this many sigma are left out; None keeps all up to `radius`.

    Returns
    -------
    Tensor of float32, (image, n, n)
        Each row sums to 1.
    """
    distance = torch.arange(radius + 1, device=sigma.device, dtype=torch.float32)[None]
    taps = torch.exp(-0.5 * (distance / sigma[:, None]) ** 2)
    if truncate is not None:
        taps = taps * (distance <= truncate * sigma[:, None])
    taps = taps / (2 * taps.sum(1, keepdim=True) - taps[:, :1])
    return (taps @ _mirrored(n, radius, sigma.device)).reshape(len(sigma), n, n)


@lru_cache(maxsize=32)
def _mirrored(n: int, radius: int, device: torch.device) -> Tensor:
    """Say how often the tap at a distance (row) falls from pixel i to pixel j (column i n + j); (radius + 1, n n)."""
    counts = np.zeros((radius + 1, n, n), dtype=np.float32)
    period = max(2 * (n - 1), 1)
    pixels = np.arange(n)
    for offset in range(-radius, radius + 1):
        folded = (pixels + offset) % period
        np.add.at(counts, (abs(offset), pixels, np.minimum(folded, period - folded) if n > 1 else 0 * pixels), 1)
    return torch.from_numpy(counts.reshape(radius + 1, n * n)).to(device)
