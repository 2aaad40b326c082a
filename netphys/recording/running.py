"""How a network is run for a recording: in its own dtype, on a device.

It is in eval mode and left as it was found (:mod:`netphys.networks.running`); its buffers are put back before every
batch, too: all batches begin in the same state, so that no stimulus' activations depend on how many were shown before
it, and a recording that resumes is the undisturbed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from netphys.errors import RecordingError
from netphys.networks import Network

if TYPE_CHECKING:
    import torch

__all__ = ["compute_dtype", "on_device", "require_made"]


def compute_dtype(module: torch.nn.Module) -> torch.dtype:
    """Return the dtype that a network computes in: that of its first parameter; float32 where it has none."""
    import torch

    return next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)


def require_made(network: Network) -> None:
    """Refuse a network whose parameters are made in its first forward: what it is can only be said afterwards.

    Raises
    ------
    RecordingError
        Naming the parameter.
    """
    from torch.nn.parameter import is_lazy

    for name, each in [*network.module.named_parameters(), *network.module.named_buffers()]:
        if is_lazy(each):
            raise RecordingError(f"{network.name} makes {name!r} in its first forward; show it an image, then record")


@contextmanager
def on_device(module: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """Move a module to a device for a while, and back."""
    first: Callable[[], Any] = lambda: next(iter([*module.parameters(), *module.buffers()]), None)  # noqa: E731
    tensor = first()
    home = tensor.device if tensor is not None else device
    if home == device:
        yield
        return
    module.to(device)
    try:
        yield
    finally:
        module.to(home)
