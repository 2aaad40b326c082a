"""What a module returned becomes named tensors: a tuple, dict or dataclass gives one layer a tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["LayerName", "layer_name", "tensors_in"]


def tensors_in(output: Any, suffix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk what a module returned: ``("", tensor)``, or ``("/0", tensor)``, ``("/hidden", tensor)``, ...

    What is no tensor (and holds none) is skipped.
    """
    import torch

    if isinstance(output, torch.Tensor):
        yield suffix, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from tensors_in(value, f"{suffix}/{key}")
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        for key, value in zip(output._fields, output):
            yield from tensors_in(value, f"{suffix}/{key}")
    elif isinstance(output, tuple | list):
        for index, value in enumerate(output):
            yield from tensors_in(value, f"{suffix}/{index}")
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for each in dataclasses.fields(output):
            yield from tensors_in(getattr(output, each.name), f"{suffix}/{each.name}")


@dataclasses.dataclass(frozen=True)
class LayerName:
    """A layer's address, ``path[#call][:function[#n]][/suffix]``: see :func:`layer_name`."""

    path: str
    call: int = 1
    function: str = ""  # with its number, where a module is followed by several: "relu#2"
    suffix: str = ""

    @classmethod
    def parse(cls, name: str) -> LayerName:
        """Take a name apart.

        Examples
        --------
        >>> LayerName.parse("encoder#2/hidden")
        LayerName(path='encoder', call=2, function='', suffix='/hidden')
        >>> LayerName.parse("conv2:relu#2").function
        'relu#2'
        """
        head, slash, tail = name.partition("/")
        module, _, function = head.partition(":")
        path, mark, call = module.partition("#")
        return cls(path, int(call) if mark and call.isdigit() else 1, function, slash + tail)

    @property
    def key(self) -> str:
        """The name without its suffix: what returned the tensors of which this is one."""
        head = (self.path or "output") + (f"#{self.call}" if self.call > 1 else "")
        return f"{head}:{self.function}" if self.function else head

    def __str__(self) -> str:
        return self.key + self.suffix


def layer_name(path: str, call: int, suffix: str = "") -> str:
    """Name a layer: the module's path, ``#2`` for its second call, ``/key`` for one of several outputs.

    What a function made that is no module is named after the module that last finished: ``conv2:relu``.

    Examples
    --------
    >>> layer_name("layer2.0.relu", 2)
    'layer2.0.relu#2'
    """
    return str(LayerName(path, call, "", suffix))
