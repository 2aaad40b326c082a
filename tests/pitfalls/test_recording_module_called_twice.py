"""A module called twice: the second call overwrites the first under one name."""

from __future__ import annotations

import numpy as np
import torch

import netphys


def test_module_called_twice() -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relu(self.conv(self.relu(self.conv(x))))

    net = Twice().eval()
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (32, 3, 8, 8), dtype=np.uint8))
    kept = {}
    handle = net.relu.register_forward_hook(lambda module, inputs, output: kept.__setitem__("relu", output.clone()))
    with torch.no_grad():
        first = net.conv(shown.images(range(32)) / 255).relu()
        second = net.conv(first).relu()
        net(shown.images(range(32)) / 255)
    handle.remove()
    assert torch.equal(kept["relu"], second) and not torch.equal(kept["relu"], first)  # the trap
    recording = netphys.record(net, shown, layers="relu*")
    assert recording.layers == ("relu", "relu#2")
    assert np.array_equal(recording.array("relu"), first.numpy())
    assert np.array_equal(recording.array("relu#2"), second.numpy())
