"""Copies to the host: in place at once on a CPU; from a device behind an event, whatever the forward does meanwhile.

There is no GPU in most places where this runs. A device is played by the slowest and rudest one that is allowed: a copy
is carried out only when somebody waits for an event behind it, and memory that nobody holds is overwritten at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.recording.copying import Copier, CudaStreams, as_torch, is_view_of

DEVICE = torch.device("cpu")


class Event:
    def __init__(self, device: Late, upto: int) -> None:
        self._device, self._upto = device, upto

    def synchronize(self) -> None:
        self._device.log.append("event")
        self._device.carry_out(self._upto)


class Late:
    """A device that copies as late as it may."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self._queue: list[Callable[[], None]] = []
        self._done = 0
        self._held: dict[int, int] = {}  # storage: behind which copy it may be given away
        self._waited = False
        self.n_pinned = 0

    def pinned(self, n_bytes: int) -> torch.Tensor:
        self.n_pinned += 1
        return torch.full((n_bytes,), 255, dtype=torch.uint8)

    def wait_for_producer(self) -> None:
        self.log.append("wait")
        self._waited = True

    def send(self, source: torch.Tensor, host: torch.Tensor) -> None:
        self.log.append("send")
        assert self._waited, "the copy may begin before the activation is made"
        self._waited = False
        address, index = source.untyped_storage().data_ptr(), len(self._queue)
        seen, given_away = source.detach(), [False]

        def forgotten() -> None:
            given_away[0] = self._held.get(address, -1) < index

        def copy() -> None:
            host.copy_(torch.full_like(seen, -7) if given_away[0] else seen)

        weakref.finalize(source, forgotten)
        self._queue.append(copy)

    def hold(self, source: torch.Tensor) -> None:
        self.log.append("hold")
        self._held[source.untyped_storage().data_ptr()] = len(self._queue) - 1

    def mark(self) -> Event:
        self.log.append("mark")
        return Event(self, len(self._queue))

    def carry_out(self, upto: int) -> None:
        while self._done < upto:
            self._queue[self._done]()
            self._done += 1


def _forward(copier: Copier, n: int, shape: tuple[int, ...] = (2, 3), *, owned: bool = False) -> tuple[Any, Any]:
    """Copy `n` activations, each overwritten as soon as the copier has returned, as an in-place ReLU would."""
    generator = torch.Generator().manual_seed(0)
    truth = [torch.randn(shape, generator=generator) for _ in range(n)]
    found = [np.full(shape, np.nan, np.float32) for _ in range(n)]
    for values, into in zip(truth, found):
        activation = values.clone()
        copier.copy(activation, into, owned=owned)
        activation.fill_(-1)
        del activation
    return truth, found


def _equal(truth: Any, found: Any) -> list[bool]:
    return [bool(np.array_equal(each.numpy(), other)) for each, other in zip(truth, found)]


def test_on_a_cpu_one_copy_goes_straight_to_its_place() -> None:
    copier = Copier(DEVICE)
    truth, found = _forward(copier, 3)
    assert all(_equal(truth, found))  # before finish
    order: list[str] = []
    into = np.zeros(2, np.float16)
    copier.copy(torch.tensor([1.0, 2.0]), into, landed=lambda: order.append(str(into.tolist())))
    assert order == ["[1.0, 2.0]"]


@pytest.mark.parametrize("n_buffers", [2, 4, 7])
@pytest.mark.parametrize("n", [1, 4, 11])
def test_late_copies_arrive_although_the_forward_goes_on(n: int, n_buffers: int) -> None:
    late = Late()
    copier = Copier(DEVICE, streams=late, n_buffers=n_buffers)
    truth, found = _forward(copier, n)
    under_way = min(n, n_buffers)
    assert _equal(truth, found) == [True] * (n - under_way) + [False] * under_way  # the ring bounds what is under way
    copier.finish()
    assert all(_equal(truth, found))
    assert late.n_pinned == under_way  # buffers are used again
    assert late.log[:4] == ["wait", "send", "hold", "mark"] and late.log.count("event") == n


def test_the_ring_grows_and_serves_another_batch() -> None:
    late = Late()
    copier = Copier(DEVICE, streams=late, n_buffers=2)
    for shape in [(2, 3), (4, 5, 5), (1,), (0, 3)]:
        truth, found = _forward(copier, 3, shape)
        copier.finish()
        assert all(_equal(truth, found))
    assert late.n_pinned == 4


def test_what_is_stored_is_contiguous_in_logical_order_and_in_its_dtype() -> None:
    values = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    for streams in (None, Late()):
        copier = Copier(DEVICE, streams=streams)
        for name, dtype in (("float32", np.float32), ("float16", np.float16), ("bfloat16", np.uint16)):
            into = np.zeros((2, 3, 4, 4), dtype)
            copier.copy(values, as_torch(into, name))
            copier.finish()
            expected = values.to(getattr(torch, name)).contiguous()
            assert torch.equal(as_torch(into, name), expected)


def test_checks_run_behind_the_copy_and_an_error_leaves_nothing_under_way() -> None:
    late = Late()
    copier = Copier(DEVICE, streams=late)
    into, other = np.zeros(3, np.float16), np.zeros(3, np.float16)
    seen: list[Any] = []

    def refuse() -> None:
        seen.append(np.isinf(into).sum())
        raise ValueError("too large")

    copier.copy(torch.tensor([1e6, 1.0, -1e6]), into, landed=refuse)
    copier.copy(torch.ones(3), other)
    assert not seen
    with pytest.raises(ValueError, match="too large"):
        copier.finish()
    assert seen == [2]
    assert late.log.count("event") == 2  # the second was waited for, too
    copier.finish()
    assert late.log.count("event") == 2


# Sabotage: each of the four rules is seen to matter


class NoEvent(Late):
    def mark(self) -> Any:
        class Passed:
            def synchronize(self) -> None:
                """Nobody waits."""

        return Passed()


def test_without_the_event_the_host_reads_before_the_copy_ended() -> None:
    copier = Copier(DEVICE, streams=NoEvent())
    truth, found = _forward(copier, 3)
    copier.finish()
    assert not any(_equal(truth, found))


def test_without_the_clone_the_copy_finds_what_was_written_afterwards() -> None:
    copier = Copier(DEVICE, streams=Late())
    truth, found = _forward(copier, 3, owned=True)  # a lie: the forward writes to it
    copier.finish()
    assert not any(_equal(truth, found))
    assert all((each == -1).all() or (each == -7).all() for each in found)


class NoHold(Late):
    def hold(self, source: torch.Tensor) -> None:
        """The allocator is not told."""


def test_without_record_stream_the_memory_is_somebody_elses() -> None:
    copier = Copier(DEVICE, streams=NoHold())
    truth, found = _forward(copier, 3)
    copier.finish()
    assert not any(_equal(truth, found))


class NoWait(Late):
    def wait_for_producer(self) -> None:
        """The copying stream runs ahead."""


def test_without_waiting_for_the_producer_the_copy_begins_too_early() -> None:
    with pytest.raises(AssertionError, match="before the activation is made"):
        _forward(Copier(DEVICE, streams=NoWait()), 1)


# A recording over the ring


def test_a_recording_over_the_late_device_is_the_plain_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3), nn.ReLU(inplace=True))
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (11, 3, 8, 8), dtype=np.uint8))
    plain = netphys.record(net, shown, layers="all", batch_size=3)
    late: list[Late] = []

    def slow(_: torch.device) -> Copier:
        late.append(Late())
        return Copier(DEVICE, streams=late[-1])

    monkeypatch.setattr("netphys.recording.sinks.buffers.Copier", slow)
    for into in (None, tmp_path / "late.h5"):
        other = netphys.record(net, shown, layers="all", batch_size=3, into=into)
        for layer in ("0", "1", "2", "3"):
            assert np.array_equal(other.array(layer), plain.array(layer)), layer
    assert [each.log.count("send") for each in late] == [16, 16]  # four batches of four layers


def test_shared_memory_is_told() -> None:
    tensor = torch.zeros(2, 3)
    assert is_view_of(tensor.T[1:], tensor)
    assert not is_view_of(tensor.clone(), tensor)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu() -> None:
    device = torch.device("cuda")
    assert isinstance(Copier(device)._streams, CudaStreams)
    copier = Copier(device, n_buffers=2)
    truth = [torch.randn(32, 64, 56, 56, device=device) for _ in range(8)]
    found = [np.empty(tuple(each.shape), np.float32) for each in truth]
    for values, into in zip(truth, found):
        activation = values.clone()
        copier.copy(activation, into)
        activation.relu_()
    copier.finish()
    assert all(np.array_equal(values.cpu().numpy(), into) for values, into in zip(truth, found))
