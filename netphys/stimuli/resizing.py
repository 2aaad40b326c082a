"""Boxes cut out and resized, and images blurred, as products with a matrix of weights for each axis and image.

Resizing is separable and linear: a view is ``W_y @ image @ W_x.T``, where a row of W holds the weights of one pixel of
the view. The weights are those of a triangle filter, stretched by the scale where the box is larger than the view
(antialiased bilinear), and they end at the box, as if it had been cut out first. A left-right flip is W_x upside down.
A Gaussian blur with a mirrored border is another such matrix. So both are two batched products whatever the boxes are,
and each image has a box of its own. Where a box is enlarged, a row of W has two weights that are not 0, and
:func:`enlarged` gathers those two pixels instead: the same sums, in a third of the time.

References
----------
Heckbert P. (1989). Fundamentals of texture mapping and image warping. UC Berkeley, section 3.5 (scaled filters).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Taps", "blur_weights", "enlarged", "enlarging_taps", "on_device", "resize_weights", "separable"]


class Taps(NamedTuple):
    """The two pixels of an axis that a pixel of an enlarged view lies between; each (image, pixel of the view)."""

    low: Tensor  # int64
    high: Tensor  # int64
    share: Tensor  # float32: of the high one

    def of(self, rows: slice) -> Taps:
        """Return the taps of some images."""
        return Taps(self.low[rows], self.high[rows], self.share[rows])


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
    centres, scale = _centres(length, n_out, flip)
    places = torch.arange(n_in, device=start.device, dtype=torch.float32)[None] - start[:, None]
    inside = ((places >= 0) & (places < length[:, None])).to(torch.float32)
    distance = (places + 0.5)[:, None] - centres[:, :, None]  # kept small: the interval's own coordinates
    weights = distance.abs_().mul_(-1 / scale.clamp(min=1)[:, :, None]).add_(1).clamp_(min=0).mul_(inside[:, None])
    return weights.div_(weights.sum(-1, keepdim=True))


def enlarging_taps(start: Tensor, length: Tensor, n_out: int, flip: Tensor | None = None) -> Taps:
    """Say between which two pixels those of an enlarged interval lie; the weights of :func:`resize_weights`.

    Parameters are its own; right where no `length` is above `n_out`.
    """
    centres, _ = _centres(length, n_out, flip)
    first = torch.floor(centres - 0.5)
    share = (centres - first).sub_(0.5)
    low = first.clamp(min=0).add_(start[:, None])
    high = torch.minimum(first + 1, length[:, None] - 1).add_(start[:, None])
    return Taps(low.to(torch.int64), high.to(torch.int64), share)


def enlarged(images: Tensor, rows: Tensor, along_y: Taps, along_x: Taps) -> Tensor:
    """Cut and enlarge images by two taps an axis.

    Parameters
    ----------
    images : Tensor of uint8 or float, (any, 3, y, x)
        Images, of which some are wanted.
    rows : Tensor of int64, (image,)
        Which.
    along_y, along_x : Taps
        Of these images.

    Returns
    -------
    Tensor of float32, (colour, image, y of the view, x of the view)
        x varies slowest in memory: the second axis is gathered by whole rows too, of the transposed images.
    """
    n, height, width = len(rows), *images.shape[2:]
    colours = torch.arange(3, device=images.device)[:, None, None]
    source, base = images.reshape(-1, width), ((rows * 3)[:, None] + colours) * height
    turned = _between(source, base, along_y).view(3, n, -1, width).transpose(2, 3).contiguous()
    base = (torch.arange(n, device=images.device)[:, None] + colours * n) * width
    return (
        _between(turned.view(3 * n * width, -1), base, along_x).view(3, n, along_x.share.shape[1], -1).transpose(2, 3)
    )


def _between(source: Tensor, base: Tensor, taps: Taps) -> Tensor:
    """Blend two rows of `source` for each pixel of the view; (colour, image, pixel of the view, column) float32."""
    shape = (*(base + taps.low).shape, source.shape[1])
    low, high = (source.index_select(0, (base + tap).view(-1)).to(torch.float32) for tap in (taps.low, taps.high))
    share = taps.share[None, :, :, None].expand(shape)
    return torch.lerp(low.view(shape), high.view(shape), share)


def _centres(length: Tensor, n_out: int, flip: Tensor | None) -> tuple[Tensor, Tensor]:
    """Say where the centres of a view's pixels lie in its interval (image, n_out), and the scale (image, 1)."""
    pixels = torch.arange(n_out, device=length.device, dtype=torch.float32)[None] + 0.5
    if flip is not None:
        pixels = pixels + flip[:, None] * (n_out - 2 * pixels)
    scale = (length / n_out)[:, None]
    return scale * pixels, scale


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
        folded = (pixels + offset) % period  # a mirror at each end: what leaves comes back
        counts[abs(offset), pixels, np.minimum(folded, period - folded)] += 1
    return on_device(counts.reshape(radius + 1, n * n), device)


def on_device(values: np.ndarray, device: torch.device) -> Tensor:
    """Move numbers of the host to a device, without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
