"""The package's own networks: a small AlexNet for images of 64 pixels, Gabor energy, and pixels.

Pixels and Gabor energy learn nothing; they stand beside every network as the floor that it must leave.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

__all__ = ["OWN_NETWORKS", "GaborEnergy", "OwnNetwork", "Pixels", "SmallAlexNet"]


FIRST_SD = 0.01  # of the first filters, as in AlexNet: what they learn is not hidden under what they began as


class SmallAlexNet(nn.Module):
    """Five convolutions as in AlexNet, scaled to images of 64 pixels; the trunk without a head.

    Input (n, 3, y, x) in [0, 1]; layers ``conv1 norm1 relu1 pool1 ... conv5 norm5 relu5 pool5``; output
    (n, 4 width, y/16, x/16). First filters are 9 x 9, large enough to be looked at.

    Parameters
    ----------
    width : int
        Channels of the first layer; the others have 2, 3, 3 and 4 times as many.

    References
    ----------
    Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with deep convolutional neural networks, section 3.5.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w = width
        plan = [(3, w, 9, 2), (w, 2 * w, 5, 1), (2 * w, 3 * w, 3, 1), (3 * w, 3 * w, 3, 1), (3 * w, 4 * w, 3, 1)]
        pooled = {1, 2, 5}
        for index, (n_in, n_out, side, stride) in enumerate(plan, start=1):
            self.add_module(f"conv{index}", nn.Conv2d(n_in, n_out, side, stride, padding=side // 2, bias=False))
            self.add_module(f"norm{index}", nn.BatchNorm2d(n_out))
            self.add_module(f"relu{index}", nn.ReLU(inplace=True))
            if index in pooled:
                self.add_module(f"pool{index}", nn.MaxPool2d(3, 2, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.get_parameter("conv1.weight"), std=FIRST_SD)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Run all layers in their order."""
        values = images - 0.5  # mean grey is nothing
        for layer in self.children():
            values = layer(values)
        return values


class GaborEnergy(nn.Module):
    """A bank of Gabor quadrature pairs: simple cells and their energy, on a regular grid.

    Five wavelengths (4 to 16 pixels, half an octave apart) x eight orientations; Gaussian envelope of sd 0.5
    wavelengths (about one octave); every filter has mean 0 and norm 1; stride 4 pixels.

    Layers: ``simple`` (half-rectified phases 0, 90, 180, 270 degrees; 160 units) and ``energy``
    (sqrt(even² + odd²); 40 units).

    References
    ----------
    Adelson & Bergen (1985), Spatiotemporal energy models for the perception of motion, J Opt Soc Am A 2:284.
    Jones & Palmer (1987), J Neurophysiol 58:1233.
    """

    WAVELENGTHS = tuple(4.0 * 2 ** (step / 2) for step in range(5))  # pixels
    N_ORIENTATIONS = 8
    STRIDE = 4  # pixels

    filters: torch.Tensor  # (80, 1, side, side): 40 even, then 40 odd

    def __init__(self) -> None:
        super().__init__()
        even, odd = _gabor_pairs(self.WAVELENGTHS, self.N_ORIENTATIONS)
        self.register_buffer("filters", torch.cat([even, odd]))
        self.simple = _Rectified()
        self.energy = _Energy()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return energy (n, 40, y/4, x/4)."""
        weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        grey = (images * weights).sum(1, keepdim=True)
        pad = self.filters.shape[-1] // 2
        padded = nn.functional.pad(grey, (pad, pad, pad, pad), mode="replicate")
        linear = nn.functional.conv2d(padded, self.filters, stride=self.STRIDE)
        self.simple(linear)
        return self.energy(linear)


class _Rectified(nn.Module):
    """Half-rectified responses of both signs of both phases."""

    def forward(self, linear: torch.Tensor) -> torch.Tensor:
        return torch.cat([linear, -linear], dim=1).clamp_min(0)


class _Energy(nn.Module):
    """sqrt(even² + odd²) of a stack of even and odd responses."""

    def forward(self, linear: torch.Tensor) -> torch.Tensor:
        even, odd = linear.chunk(2, dim=1)
        return (even.square() + odd.square()).sqrt()


class Pixels(nn.Module):
    """The image itself, one layer ``pixels``: what any comparison must beat."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the image."""
        return self.pixels(images)


def _gabor_pairs(wavelengths: tuple[float, ...], n_orientations: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make even and odd filters (unit, 1, side, side), ordered by wavelength, then orientation."""
    side = 2 * math.ceil(1.5 * max(wavelengths)) + 1  # three sd of the widest envelope on either side
    axis = torch.arange(side, dtype=torch.float64) - side // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    even, odd = [], []
    for wavelength in wavelengths:
        envelope = torch.exp(-(x.square() + y.square()) / (2 * (0.5 * wavelength) ** 2))
        for step in range(n_orientations):
            angle = math.pi * step / n_orientations
            phase = 2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / wavelength
            even.append(_normalised(envelope * torch.cos(phase), envelope))
            odd.append(_normalised(envelope * torch.sin(phase), envelope))
    return tuple(torch.stack(each)[:, None].to(torch.float32) for each in (even, odd))  # type: ignore[return-value]


def _normalised(values: torch.Tensor, envelope: torch.Tensor) -> torch.Tensor:
    """Mean 0 (by a share of the envelope, so that the edge stays 0) and norm 1."""
    centred = values - envelope * values.sum() / envelope.sum()
    return centred / centred.norm()


class OwnNetwork(NamedTuple):
    """One of the package's own networks: what builds it, whether it learns, and whole numbers that tune it."""

    build: Callable[..., nn.Module]
    learns: bool
    options: tuple[str, ...] = ()


OWN_NETWORKS: dict[str, OwnNetwork] = {
    "small_alexnet": OwnNetwork(SmallAlexNet, True, ("width",)),
    "gabor_energy": OwnNetwork(GaborEnergy, False),
    "pixels": OwnNetwork(Pixels, False),
}
