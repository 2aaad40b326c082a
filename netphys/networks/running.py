"""How a network is run and left as it was found: in eval mode, its buffers put back.

Buffers that a forward changes (counters, caches, statistics without ``track_running_stats``) are put back on every way
out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["State", "evaluating", "unchanged"]


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module in eval mode, with attention that its hooks can see, and restore both per submodule."""
    import torch

    modes = {each: each.training for each in module.modules()}
    fused = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for each, training in modes.items():
            each.training = training


class State:
    """The buffers of a module, as they were found."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._owners = [(path, each, dict(each._buffers)) for path, each in module.named_modules() if each._buffers]
        tensors = [tensor for _, _, own in self._owners for tensor in own.values() if tensor is not None]
        self._copies = {id(tensor): tensor.detach().clone() for tensor in tensors}
        self._versions = {id(tensor): _version(tensor) for tensor in tensors}

    def restore(self) -> list[str]:
        """Put back what was changed; return its names. What was not touched costs a look at its version."""
        import torch

        changed = []
        for path, owner, own in self._owners:
            for name in [each for each in owner._buffers if each not in own]:
                changed.append(f"{path}.{name}".lstrip("."))
                del owner._buffers[name]
            for name, tensor in own.items():
                exchanged = owner._buffers.get(name) is not tensor
                owner._buffers[name] = tensor
                if tensor is not None and (
                    _version(tensor) != self._versions[id(tensor)] or tensor.is_inference() or exchanged
                ):
                    copy = self._copies[id(tensor)]
                    if exchanged or not torch.equal(tensor, copy):
                        changed.append(f"{path}.{name}".lstrip("."))
                    with torch.no_grad():
                        tensor.copy_(copy)
                    self._versions[id(tensor)] = _version(tensor)
        return changed


@contextmanager
def unchanged(module: torch.nn.Module) -> Iterator[State]:
    """Put a module's buffers back at the end; in between, what is yielded can do so."""
    state = State(module)
    try:
        yield state
    finally:
        state.restore()


def _version(tensor: torch.Tensor) -> int | None:
    """How often a tensor was written to; tensors of the inference mode do not count."""
    return None if tensor.is_inference() else tensor._version
