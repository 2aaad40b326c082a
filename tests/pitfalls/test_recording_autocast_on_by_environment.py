"""Autocast on by environment: a recording inside somebody's autocast is computed in float32 all the same."""

from __future__ import annotations

import numpy as np
import torch

import netphys


def test_autocast_on_by_environment() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 5)).eval()
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (32, 3, 8, 8), dtype=np.uint8))
    expected = netphys.record(net, shown, layers="2").array("2")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        recorded = netphys.record(net, shown, layers="2").array("2")
        with torch.no_grad():
            lowered = net(shown.images(range(32)) / 255)
        assert torch.is_autocast_enabled("cpu")  # left as it was found
    assert np.array_equal(recorded, expected)
    assert lowered.dtype == torch.bfloat16 and not np.array_equal(lowered.float().numpy(), expected)  # the trap
