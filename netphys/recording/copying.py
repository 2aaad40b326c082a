"""Copies of activations on their way to arrays of the host: one copy each, beside the forward where there is a GPU.

On a CPU a copy goes straight to its place, inside the hook: it is the clone, a second would be waste.

From a GPU it goes through a ring of pinned buffers, on a stream of its own. Four things must be so, or values are lost
rarely and in silence: the copy waits for the stream that makes the activation; nothing later may overwrite its source;
the allocator must not give the source's memory away (``record_stream``); and the host reads the buffer only behind an
event. For the second there are two ways. Either the forward waits for the copy: then nothing overlaps, for the link to
the host is a hundred times slower than the GPU's memory. Or what is copied is a clone of its own on the device: that
costs twice the activation's bytes of device bandwidth and, until it has arrived, its bytes of device memory, of at most
as many activations as the ring has buffers. The second is done, and only where a conversion to the stored dtype or a
reduction has not made new memory already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["Copier", "CudaStreams", "Streams", "as_torch", "is_view_of"]

N_BUFFERS = 4  # at least 2: one is emptied while another fills; more let a burst of small layers through


class Streams(Protocol):
    """What copies beside the forward need of a device; :class:`CudaStreams` is the one of CUDA."""

    def pinned(self, n_bytes: int) -> torch.Tensor:
        """Allocate bytes that the device can write to while the host does something else."""

    def wait_for_producer(self) -> None:
        """Let the copying stream wait for all that the forward's stream has been given so far."""

    def send(self, source: torch.Tensor, host: torch.Tensor) -> None:
        """Enqueue a copy on the copying stream; returns at once."""

    def hold(self, source: torch.Tensor) -> None:
        """Tell the allocator that the copying stream still reads a tensor."""

    def mark(self) -> Any:
        """Return an event behind all that was enqueued; its ``synchronize()`` waits for it."""


class CudaStreams:
    """Streams of one CUDA device."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._device = device
        self._side = torch.cuda.Stream(device)

    def pinned(self, n_bytes: int) -> torch.Tensor:
        """Allocate page-locked bytes."""
        import torch

        return torch.empty(n_bytes, dtype=torch.uint8, pin_memory=True)

    def wait_for_producer(self) -> None:
        """Let the copying stream wait for the current one."""
        import torch

        self._side.wait_stream(torch.cuda.current_stream(self._device))

    def send(self, source: torch.Tensor, host: torch.Tensor) -> None:
        """Enqueue a copy."""
        import torch

        with torch.cuda.stream(self._side):
            host.copy_(source, non_blocking=True)

    def hold(self, source: torch.Tensor) -> None:
        """Keep the source's memory until the copying stream has passed this point."""
        source.record_stream(self._side)

    def mark(self) -> Any:
        """Record an event on the copying stream."""
        import torch

        event = torch.cuda.Event()
        event.record(self._side)
        return event


@dataclass
class _Sent:
    """A copy that is under way to a pinned buffer."""

    host: torch.Tensor  # a view of the buffer, in the stored dtype and shape
    event: Any
    into: torch.Tensor
    landed: Callable[[], None] | None

    def land(self) -> None:
        """Wait until the copy has ended, put it in its place, and say so."""
        self.event.synchronize()
        self.into.copy_(self.host)
        if self.landed is not None:
            self.landed()


class Copier:
    """Copies tensors to arrays of the host; asynchronously from a GPU.

    Parameters
    ----------
    device : torch.device
        Where the tensors are.
    streams : Streams, optional
        Default: those of the device; none on a CPU.
    n_buffers : int
        Length of the ring, at least 2. Each buffer grows to the largest tensor that came through it.
    """

    def __init__(self, device: torch.device, *, streams: Streams | None = None, n_buffers: int = N_BUFFERS) -> None:
        if streams is None and device.type == "cuda":
            streams = CudaStreams(device)
        self._streams = streams
        self._buffers: list[torch.Tensor | None] = [None] * max(2, n_buffers)
        self._sent: deque[_Sent] = deque()
        self._turn = 0

    @property
    def is_late(self) -> bool:
        """Whether copies may still be under way when :meth:`copy` returns."""
        return self._streams is not None

    def copy(
        self,
        values: torch.Tensor,
        into: np.ndarray | torch.Tensor,
        *,
        owned: bool = False,
        landed: Callable[[], None] | None = None,
    ) -> None:
        """Copy a tensor to an array; in its place when this returns (CPU), or after :meth:`finish` (GPU).

        Parameters
        ----------
        values : tensor
            Any strides, any floating dtype: what is stored has the dtype of `into`, logical order.
        into : array or CPU tensor of the same shape
            Contiguous. bfloat16 is given as a tensor, see :func:`as_torch`.
        owned : bool
            Nobody else writes to the memory of `values`: no clone is made of it.
        landed : callable, optional
            Called once, after the values are in `into`: checks of what was stored belong there.
        """
        target = as_torch(into) if isinstance(into, np.ndarray) else into
        if self._streams is None:
            target.copy_(values)
            if landed is not None:
                landed()
            return
        source = values.to(target.dtype).contiguous()
        if not owned and is_view_of(source, values):
            source = source.clone()
        host = self._free_buffer(source.nbytes)[: source.nbytes].view(source.dtype).view(source.shape)
        self._streams.wait_for_producer()
        self._streams.send(source, host)
        self._streams.hold(source)
        self._sent.append(_Sent(host, self._streams.mark(), target, landed))

    def finish(self) -> None:
        """Wait until all that was copied is in its place; an error of a check leaves nothing under way."""
        try:
            while self._sent:
                self._sent.popleft().land()
        finally:
            while self._sent:  # their buffers must not be written to again before they arrived
                self._sent.popleft().event.synchronize()

    def _free_buffer(self, n_bytes: int) -> torch.Tensor:
        """Return the next buffer of the ring, emptied, large enough."""
        assert self._streams is not None
        turn = self._turn = (self._turn + 1) % len(self._buffers)
        if len(self._sent) == len(self._buffers):
            self._sent.popleft().land()
        buffer = self._buffers[turn]
        if buffer is None or len(buffer) < n_bytes:
            buffer = self._buffers[turn] = self._streams.pinned(n_bytes)
        return buffer


def as_torch(array: np.ndarray, dtype: str = "") -> torch.Tensor:
    """View an array as a tensor; ``dtype="bfloat16"``: uint16 as bfloat16, which numpy does not know.

    Examples
    --------
    >>> as_torch(np.array([0x3FC0], dtype=np.uint16), "bfloat16").item()
    1.5
    """
    import torch

    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor


def is_view_of(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    """Tell whether two tensors share memory."""
    return bool(tensor.untyped_storage().data_ptr() == other.untyped_storage().data_ptr())
