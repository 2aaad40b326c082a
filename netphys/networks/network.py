"""Network: a torch module with what it wants done to an image, and a digest of everything its activations depend on."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netphys.errors import OptionError
from netphys.networks.preprocessing import Preprocess
from netphys.provenance import code_digest, digest

if TYPE_CHECKING:
    import torch

__all__ = ["Network", "as_network", "weights_digest"]


@dataclass(frozen=True, repr=False)
class Network:
    """A module that looks at images.

    Parameters
    ----------
    module : torch.nn.Module
        Takes float32 (n, 3, y, x).
    preprocess : Preprocess, optional
        What is done to an image first. None: uint8 is divided by 255, float is left as it is. Any callable of a batch
        is taken, too; it then must have a ``repr`` that says what it does.
    address : str, optional
        Where the network came from.
    name : str
        What figures and tables call it. Default: the address, else the module's class.
    training : str
        An objective's name, ``"pretrained"``, ``"untrained"``, or ``"none"`` (nothing in it is learned).
    source : str
        Digest of the source of a user's file, where there is one.
    """

    module: torch.nn.Module
    preprocess: Preprocess | Callable[[Any], torch.Tensor] | None = None
    address: str | None = None
    name: str = ""
    training: str = "untrained"
    source: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.address or type(self.module).__name__)

    def __repr__(self) -> str:
        n_parameters = sum(each.numel() for each in self.module.parameters())
        return f"Network({self.name}: {type(self.module).__name__}, {n_parameters:,} parameters, {self.training})"

    def prepare(self, images: Any, device: Any = "cpu") -> torch.Tensor:
        """Do to a batch of images what the network wants; the result is on `device`."""
        if self.preprocess is None or isinstance(self.preprocess, Preprocess):
            return (self.preprocess or Preprocess())(images, device)
        return self.preprocess(images).to(device)

    @property
    def digest(self) -> str:
        """Digest of weights, the repr of the modules, preprocessing and source; computed anew at each call.

        Weights may change between two calls (training does that), so nothing is remembered here.
        """
        return digest(
            {
                "weights": weights_digest(self.module),
                "modules": repr(self.module),
                "preprocess": self.preprocess.to_dict()
                if isinstance(self.preprocess, Preprocess)
                else repr(self.preprocess),
                "source": self.source or _source_of(self.module),
            }
        )


def as_network(network: Network | torch.nn.Module) -> Network:
    """Accept a plain module wherever a Network is.

    Raises
    ------
    OptionError
        If it is neither.
    """
    import torch

    if isinstance(network, Network):
        return network
    if isinstance(network, torch.nn.Module):
        return Network(network)
    raise OptionError(f"a network is a netphys Network or a torch.nn.Module, not {type(network).__name__}")


def weights_digest(module: torch.nn.Module) -> str:
    """Digest every parameter and buffer: name, dtype, shape, bytes (buffers that are not saved included)."""
    import torch

    sha = hashlib.sha256()
    entries = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name in sorted(entries):
        tensor = entries[name].detach().cpu().contiguous()
        sha.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _source_of(module: torch.nn.Module) -> str:
    """Digest the source of a module's class; of libraries the version counts (provenance), of netphys its room."""
    kind = type(module)
    if kind.__module__.startswith("netphys."):
        return code_digest("networks")
    try:
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()
    except (OSError, TypeError):  # built in a session: its repr and weights are all there is
        return ""
