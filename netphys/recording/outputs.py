"""What a module returned becomes named tensors: a tuple, dict or dataclass gives one layer a tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["layer_name", "split_name", "tensors_in"]


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


def layer_name(path: str, call: int, suffix: str = "") -> str:
    """Name a layer: the module's path, ``#2`` for its second call, ``/key`` for one of several outputs.

    Examples
    --------
    >>> layer_name("layer2.0.relu", 2)
    'layer2.0.relu#2'
    """
    return (path or "output") + (f"#{call}" if call > 1 else "") + suffix


def split_name(name: str) -> tuple[str, int, str]:
    """Split a layer's name into path, call and suffix.

    Examples
    --------
    >>> split_name("encoder#2/hidden")
    ('encoder', 2, '/hidden')
    """
    head, slash, tail = name.partition("/")
    path, mark, call = head.partition("#")
    return path, int(call) if mark and call.isdigit() else 1, slash + tail
