"""A unit is a channel of a map, or a dense layer's feature: never a place in the map, whatever the memory's order."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import netphys
from netphys.units import top_patches


class UnitsLast(nn.Module):
    """A map whose channels come last, as in ConvNeXt and Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x).permute(0, 2, 3, 1))


def test_units_taken_for_channels_in_top_activating() -> None:
    torch.manual_seed(0)
    module = UnitsLast()
    stimuli = netphys.load_stimuli("world:scenes?n=10&size=32")
    result = top_patches(module, stimuli, layers=["conv", "norm"], k=2)
    activation = module.norm(module.conv(stimuli.images(range(10))).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).detach()
    assert result["norm"].value.shape == (8, 2) and result["norm"].shape == (8, 30, 30)
    best = activation.flatten(2).amax(2).argmax(0)
    assert np.array_equal(result["norm"].stimulus[:, 0], best)
    unit = 5
    y, x = result["norm"].position[unit, 0]
    assert activation[best[unit], unit, y, x] == activation[best[unit], unit].max()
    as_places = activation.permute(0, 2, 3, 1).flatten(2).amax(2)  # control: what the mistake would call units
    assert as_places.shape[1] != 8


def test_channels_last_memory_gives_the_same_places() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3))
    stimuli = netphys.load_stimuli("world:scenes?n=10&size=32")
    plain = top_patches(module, stimuli, layers="0", k=2)["0"]
    other = top_patches(module.to(memory_format=torch.channels_last), stimuli, layers="0", k=2)["0"]
    assert np.array_equal(plain.stimulus, other.stimulus) and np.array_equal(plain.position, other.position)
