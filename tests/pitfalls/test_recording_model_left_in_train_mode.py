"""A model left in train mode: dropout draws, batch norm uses the batch and moves its running statistics."""

from __future__ import annotations

import numpy as np
import torch

import netphys


def test_model_left_in_train_mode() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5))
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (32, 3, 8, 8), dtype=np.uint8))
    images = shown.images(range(32)) / 255
    with torch.no_grad():
        expected = net.eval()(images).numpy()
    net.train()
    mean = net[1].running_mean.clone()
    recorded = netphys.record(net, shown, layers="2").array("2")
    assert np.array_equal(recorded, expected)
    assert net[0].training and net[2].training and torch.equal(net[1].running_mean, mean)
    with torch.no_grad():
        assert not np.array_equal(net(images).numpy(), expected)  # the trap
    assert not torch.equal(net[1].running_mean, mean)
