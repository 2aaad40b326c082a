"""A network is left as it was found, every batch begins in the same state, and it computes in its own dtype."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import RecordingError
from netphys.networks.running import State, unchanged
from netphys.recording.recorder import recording_plan
from netphys.recording.running import compute_dtype


def _shown(n: int) -> netphys.StimulusSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 6, 6), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(pixels)


class Counts(nn.Module):
    """Adds how often it was called: in place, by another tensor, and by a buffer that comes on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(()))
        self.register_buffer("constant", torch.ones(2))
        self.layer = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.replaced = self.replaced + 1
        self.register_buffer("late", torch.ones(1), persistent=False)
        return self.layer(x + self.calls + self.replaced)


def test_every_batch_begins_in_the_state_that_was_found(caplog: pytest.LogCaptureFixture) -> None:
    net, shown = Counts(), _shown(7)
    before, buffers = recording_plan(net, shown, layers="layer")["network"], dict(net._buffers)
    with caplog.at_level(logging.WARNING):
        recorded = netphys.record(net, shown, layers="layer", batch_size=2)
    expected = shown.images(range(7)) / 255 + 1 + 1
    assert np.array_equal(recorded.array("layer"), expected.numpy())
    assert dict(net._buffers) == buffers and float(net.calls) == float(net.replaced) == 0
    assert net._buffers["calls"] is buffers["calls"]
    assert recording_plan(net, shown, layers="layer")["network"] == before == netphys.networks.Network(net).digest
    assert "Counts changes its buffer 'late' in a forward; every batch of a recording begins with it" in caplog.text
    with torch.no_grad():  # control: by itself it adds up
        later = [net(shown.images([0]) / 255) for _ in range(3)][-1]
    assert not torch.equal(later[0], expected[0])


def test_a_network_that_keeps_its_state_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    with caplog.at_level(logging.WARNING):
        netphys.record(net, _shown(3), layers="1")
    assert not caplog.text


def test_buffers_are_put_back_after_an_exception() -> None:
    net = Counts()
    with pytest.raises(ZeroDivisionError), torch.no_grad(), unchanged(net):
        net(torch.rand(1, 3, 2, 2))
        raise ZeroDivisionError
    assert float(net.calls) == 0 and "late" not in net._buffers
    state = State(net)
    assert state.restore() == []
    net.constant.mul_(1)  # written to, and the same
    assert state.restore() == []
    net.constant[0] = 3
    assert state.restore() == ["constant"] and net.constant.tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_dtype_is_shown_images_of_its_own(dtype: torch.dtype) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, shown = nn.Sequential(nn.Flatten(), nn.Linear(108, 4)).to(dtype), _shown(5)
    images = shown.images(range(5)) / 255
    with torch.no_grad():
        expected = net(images.to(dtype)).float().numpy()
    assert np.array_equal(netphys.record(net, shown, layers="1", batch_size=5).array("1"), expected)
    assert recording_plan(net, shown, layers="1")["compute"] == str(dtype).removeprefix("torch.")
    assert "compute" not in recording_plan(net.float(), shown, layers="1")
    with pytest.raises(RuntimeError, match="dtype"):  # control: it refuses others
        net.to(dtype)(images)
    assert compute_dtype(nn.Identity()) == torch.float32


def test_values_beyond_the_stored_dtype_are_refused_and_infinite_ones_kept() -> None:
    class Large(nn.Module):
        def __init__(self, factor: Any) -> None:
            super().__init__()
            self.factor, self.layer = factor, nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer((x.flatten(1)[:, :3] + 1).double() * self.factor)

    with pytest.raises(RecordingError, match=r"9 activations of 'layer' exceed 3.4028e\+38, too large for float32"):
        netphys.record(Large(1e60), _shown(3), layers="layer", batch_size=3)
    for stored in ("float32", "float16"):
        kept = netphys.record(Large(float("inf")), _shown(3), layers="layer", dtype=stored).array("layer")
        assert np.isinf(kept).all()


def test_a_network_that_is_made_in_its_first_forward_is_shown_an_image_first() -> None:
    net = nn.Sequential(nn.LazyConv2d(4, 1))
    with pytest.raises(RecordingError, match=r"makes '0.weight' in its first forward; show it an image, then record"):
        netphys.record(net, _shown(2), layers="0")
    net(_shown(1).images([0]) / 255)
    assert netphys.record(net, _shown(2), layers="0").shape("0") == (2, 4, 6, 6)
