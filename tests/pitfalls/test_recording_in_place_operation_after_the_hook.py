"""An in-place operation after the hook overwrites what a hook kept: convolutions come out rectified."""

from __future__ import annotations

import numpy as np
import torch

import netphys


def test_in_place_operation_after_the_hook() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(inplace=True)).eval()
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (32, 3, 8, 8), dtype=np.uint8))
    images, kept = shown.images(range(32)) / 255, []
    handle = net[0].register_forward_hook(lambda module, inputs, output: kept.append(output.numpy()))  # no copy
    with torch.no_grad():
        expected = net[0](images).numpy().copy()
        net(images)
    handle.remove()
    assert (expected < 0).any() and not np.array_equal(kept[-1], expected)  # the trap
    assert (kept[-1] >= 0).all()
    assert np.array_equal(netphys.record(net, shown, layers="0").array("0"), expected)
