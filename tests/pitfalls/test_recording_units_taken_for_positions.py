"""Units taken for positions: a layer whose axes were guessed from its class is averaged over its units."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import netphys


class Block(nn.Module):
    """A ConvNeXt block: channels last in its middle, by functions and not by modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.dense, self.act = nn.Conv2d(3, 8, 3), nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.act(x + self.dense(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2))


def test_units_taken_for_positions() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block, line = Block().eval(), nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 5, 3), nn.ReLU())
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (32, 3, 9, 9), dtype=np.uint8))
    images = shown.images(range(32)) / 255
    with torch.no_grad():
        maps, traces = block(images).numpy(), line(images).numpy()
    recorded = netphys.record(block, shown, layers="act", keep="mean").array("act")
    assert np.allclose(recorded, maps.mean((2, 3)), atol=1e-6)
    assert maps.mean((1, 2)).shape == (32, 7)  # the trap: the last module that knew its axes had units last
    recorded = netphys.record(line, shown, layers="2", keep="mean").array("2")
    assert np.allclose(recorded, traces.mean(2), atol=1e-6)
    assert traces.mean(1).shape == (32, 79)  # the trap: what has three axes and is no convolution was taken for tokens
