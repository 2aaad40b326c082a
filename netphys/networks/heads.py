"""The head of a classifier: found by a forward, and taken off, so that what is left can learn something else.

A head is the linear layer whose output is the network's output (``fc`` of a ResNet, ``classifier.6`` of AlexNet). In
its place stands the identity; ``?head=none`` in an address does the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netphys.errors import OptionError
from netphys.networks.network import Network
from netphys.networks.preprocessing import Preprocess
from netphys.seeds import forked_torch

if TYPE_CHECKING:
    import torch

__all__ = ["head_of", "without_head"]

_SIDE = 64  # pixels, of the image of the forward, for a network that says nothing of its input


def head_of(network: Network) -> str:
    """Name the linear layer whose output is the network's output; empty where there is none.

    Raises
    ------
    OptionError
        If the network cannot look at an image of its own size.
    """
    import torch

    module, found = network.module, dict[str, Any]()
    linear = {path: each for path, each in module.named_modules() if isinstance(each, torch.nn.Linear) and path}
    handles = [
        each.register_forward_hook(lambda _, __, output, path=path: found.__setitem__(path, output))
        for path, each in linear.items()
    ]
    modes = {each: each.training for each in module.modules()}
    try:
        module.eval()
        with torch.no_grad(), forked_torch(0):
            output = module(_example(network))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OptionError(f"{network.name}: its head cannot be found, a forward fails ({reason})") from error
    finally:
        for handle in handles:
            handle.remove()
        for each, training in modes.items():
            each.training = training
    return next((path for path, each in found.items() if each is output), "")


def without_head(network: Network) -> Network:
    """Put the identity in the place of the head; the module itself is changed.

    Returns
    -------
    Network
        Whose address says ``head=none``, where there is an address.

    Raises
    ------
    OptionError
        If the network's output is not that of a linear layer.
    """
    import torch

    path = head_of(network)
    if not path:
        raise OptionError(f"{network.name} has no head to take off: its output is not that of a linear layer")
    parent, _, name = path.rpartition(".")
    setattr(network.module.get_submodule(parent), name, torch.nn.Identity())
    if network.address is None or "head=none" in network.address:
        return network
    address = f"{network.address}{'&' if '?' in network.address else '?'}head=none"
    return replace(network, address=address)


def _example(network: Network) -> torch.Tensor:
    """Grey images of the size and dtype that the network wants; two, for norms that need more than one."""
    import torch

    side = (_SIDE, _SIDE)
    if isinstance(network.preprocess, Preprocess):
        side = network.preprocess.output_size(side)
    first = next(network.module.parameters(), None)
    images = torch.full((2, 3, *side), 0.5)
    return images if first is None else images.to(first.device, first.dtype)
