"""Stimuli that mix in the batch: batch norm without running statistics uses the others, in eval mode too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import RecordingError


def test_stimuli_that_mix_in_the_batch() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8))
    images = shown.images(range(40)) / 255
    with torch.no_grad():
        assert not np.allclose(net(images)[39], net(images[39:])[0], atol=1e-2)  # the trap
    with pytest.raises(RecordingError, match="layer '1' .*: its activations to a stimulus depend on the other stimuli"):
        netphys.record(net, shown, layers=["0", "1"])
    tracked = nn.Sequential(net[0], nn.BatchNorm2d(4)).eval()
    assert netphys.record(tracked, shown, layers="1").layers == ("1",)
