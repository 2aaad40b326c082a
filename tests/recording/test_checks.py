"""Stimuli that leak into each other's activations are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import RecordingError


def _shown(n: int = 6, *, same: bool = False) -> netphys.StimulusSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 6, 6), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(pixels[[0] * n] if same else pixels)


class Then(nn.Module):
    """A layer that computes something of the whole batch, behind a sane one."""

    def __init__(self, compute: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.compute, self.mixes = nn.Conv2d(3, 4, 1), compute, nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixes(self.compute(self.conv(x)))


MIXING = {
    "batch norm": lambda x: nn.functional.batch_norm(x, None, None, training=True),
    "mean of the batch": lambda x: x - x.mean(0, keepdim=True),
    "attention over the batch": lambda x: (lambda v: (v @ v.T / 50).softmax(-1) @ v)(x.flatten(1)),
    "sequence first, as long as the probe": (
        lambda x: x.permute(1, 0, 2, 3)[:3, :, :, 0].mean(1)[:, None].expand(-1, 3, -1)
    ),
    "a largest of all": lambda x: x / x.abs().max(),
}  # fmt: skip


@pytest.mark.parametrize("how", MIXING)
@pytest.mark.parametrize("n", [1, 6])
def test_a_layer_that_looks_across_the_batch_is_refused(how: str, n: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Then(MIXING[how])
    if how == "a largest of all" and n == 1:
        return  # at half its contrast an image has no larger value
    with pytest.raises(
        RecordingError, match="'mixes' of Then cannot be recorded: (its activations to a stim|its first dim|which ax)"
    ):
        netphys.record(net, _shown(n), layers=["conv", "mixes"], batch_size=4)
    assert netphys.record(net, _shown(n), layers="conv", batch_size=4).layers == (
        "conv",
    )  # no further than is asked for


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3), nn.GroupNorm(1, 3), nn.InstanceNorm2d(3), nn.Dropout2d()])
def test_what_looks_like_it_and_does_not_is_recorded(norm: nn.Module) -> None:
    """Control: the check does not refuse everything."""
    net = nn.Sequential(norm, nn.Conv2d(3, 4, 3))
    alone = netphys.record(net, _shown().subset([5]), layers="all")
    among = netphys.record(net, _shown(), layers="all")
    assert np.array_equal(alone.array("1")[0], among.array("1")[5])


def test_networks_that_draw_at_random_are_not_taken_for_such() -> None:
    class Noise(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    assert len(netphys.record(Noise(), _shown(), layers="output")) == 6


def test_state_that_is_no_buffer_is_found() -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last: Any = 0.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last = self.last + x.mean((1, 2, 3), keepdim=True).mean()
            return x + self.last

    with pytest.raises(RecordingError, match="or change from call to call"):
        netphys.record(Remembers(), _shown(), layers="output")


@pytest.mark.slow
def test_a_network_under_torch_compile_is_recorded() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    compiled = torch.compile(net, backend="eager")
    recorded = netphys.record(compiled, _shown(), layers="leaves")
    assert np.array_equal(recorded.array(recorded.layers[-1]), netphys.record(net, _shown(), layers="1").array("1"))
