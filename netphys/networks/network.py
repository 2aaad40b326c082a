"""Network: a torch module with what it wants done to an image, and a digest of everything its activations depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from netphys.errors import OptionError
from netphys.networks.preprocessing import Preprocess
from netphys.networks.state import module_state, source_digest
from netphys.provenance import digest

if TYPE_CHECKING:
    import torch

__all__ = ["Network", "weights_digest"]


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
        An objective's name, ``"pretrained"``, ``"untrained"``, ``"none"`` (nothing in it is learned), or
        ``"unknown"``: nobody said.
    source : str
        Digest of the source of a user's file, where there is one.
    fields : tuple of str
        The fields of the stimuli that its forward is given, in this order. Default: the image.
    """

    module: torch.nn.Module
    preprocess: Preprocess | Callable[[Any], torch.Tensor] | None = None
    address: str | None = None
    name: str = ""
    training: str = "unknown"
    source: str = ""
    fields: tuple[str, ...] = ("image",)

    def __post_init__(self) -> None:
        if isinstance(self.fields, str) or not self.fields:
            raise OptionError(f"fields={self.fields!r}: a tuple of at least one name of a field, such as ('image',)")
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
        """Digest of everything that its activations depend on; computed anew at each call.

        That is weights and buffers, the repr of the modules, their plain attributes, hooks that users left on them, the
        source of classes that belong to no library, preprocessing, and the source of a user's file. Weights may change
        between two calls (training does that), so nothing is remembered here.

        Raises
        ------
        OptionError
            If `preprocess` is an object whose repr does not say what it does.
        """
        return digest(
            {
                "weights": weights_digest(self.module),
                "modules": repr(self.module),
                "state": module_state(self.module),
                "preprocess": _preprocess_digest(self.preprocess),
                "source": self.source,
                **({} if self.fields == ("image",) else {"fields": list(self.fields)}),
            }
        )


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


def _preprocess_digest(preprocess: Any) -> Any:
    """Say what is done to an image; a callable must say it by its source or its repr."""
    if preprocess is None or isinstance(preprocess, Preprocess):
        return (preprocess or Preprocess()).to_dict()
    if isinstance(preprocess, FunctionType):
        return source_digest(preprocess)
    if " at 0x" in repr(preprocess):
        raise OptionError(
            f"preprocess={preprocess!r} does not say what it does; give it a __repr__ that does, or use Preprocess(...)"
        )
    return repr(preprocess)
