"""What a module computes with, beside its weights: plain attributes, hooks, the source of its classes.

A number kept as an attribute (a gain), a tensor that is no buffer (a lesion mask) or a hook that somebody left on a
layer changes the activations as weights do; a recording must not be taken for another's because of them.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.provenance import array_digest, code_digest, digest

if TYPE_CHECKING:
    import torch

__all__ = ["callable_digest", "classes_digest", "module_state", "source_digest"]

_LIBRARIES = ("torch", "torchvision", "timm")  # their versions count instead of their source
_OWN = {"training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_is_full_backward_hook"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def module_state(module: torch.nn.Module) -> dict[str, Any]:
    """Gather what a module computes with beside its weights, as plain data.

    Returns
    -------
    dict
        ``attributes`` and ``hooks`` by submodule, ``classes``: names with digests of their source.
    """
    attributes, hooks, classes = {}, {}, set()
    for path, each in module.named_modules():
        own = {name: value for name, value in vars(each).items() if name not in _OWN and "hook" not in name}
        attributes[path] = {name: _plain(value) for name, value in sorted(own.items())}
        left = [source_digest(hook) for kind in _HOOKS for hook in getattr(each, kind, {}).values()]
        if left:
            hooks[path] = left
        kind = type(each)
        if kind.__module__.partition(".")[0] not in _LIBRARIES:
            own_room = kind.__module__.startswith("netphys.")
            classes.add((kind.__qualname__, code_digest("networks") if own_room else source_digest(kind)))
    return {"attributes": attributes, "hooks": hooks, "classes": sorted(classes)}


def _plain(value: Any) -> Any:
    """Reduce an attribute to plain data; of what has no value of its own, the type."""
    import torch

    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, torch.Tensor):
        return array_digest(value.detach().cpu().to(torch.float64).numpy())
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiubc":
        return array_digest(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in (sorted(value, key=repr) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, torch.nn.Module):
        return type(value).__qualname__  # it is a submodule, or its repr says what it is
    if callable(value):
        return source_digest(value)
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text else text


def source_digest(thing: Callable[..., Any]) -> str:
    """Digest the source of a class or function and what it closes over; of what has no source, its name."""
    try:
        source = inspect.getsource(thing)
    except (OSError, TypeError):
        return getattr(thing, "__qualname__", type(thing).__qualname__)
    closed = [_plain(cell.cell_contents) for cell in getattr(thing, "__closure__", None) or ()]
    own = [] if getattr(thing, "__name__", "") != "<lambda>" else [_of_code(thing.__code__)]  # several share a line
    return digest([textwrap.dedent(source), closed, *own])


def _of_code(code: Any) -> list[Any]:
    """Say what a lambda's code computes: its source is the whole line, on which there may be others."""
    constants = [_of_code(each) if hasattr(each, "co_code") else repr(each) for each in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def callable_digest(thing: Callable[..., Any]) -> str:
    """Digest what a callable computes with: of a partial its arguments, too, of an instance its class and attributes.

    Raises
    ------
    OSError, TypeError
        If its source cannot be found.
    """
    if isinstance(thing, partial):
        return digest([callable_digest(thing.func), _plain(thing.args), _plain(thing.keywords)])
    owner = getattr(thing, "__self__", None)  # of a bound method
    if not inspect.isroutine(thing) and not isinstance(thing, type):
        owner = thing
    if owner is None or inspect.ismodule(owner):
        inspect.getsource(thing)
        return source_digest(thing)
    if not isinstance(owner, type):
        state = {name: _plain(value) for name, value in getattr(owner, "__dict__", {}).items()}
        return digest([getattr(thing, "__name__", ""), classes_digest(type(owner)), state])
    return digest([getattr(thing, "__name__", ""), classes_digest(owner)])


def classes_digest(kind: type) -> str:
    """Digest the source of a class and of all that it inherits from but netphys, torch and what is built in.

    Raises
    ------
    OSError, TypeError
        If a source cannot be found.
    """
    left = (*_LIBRARIES, "netphys", "builtins", "typing", "abc")
    theirs = [each for each in kind.__mro__ if each.__module__.partition(".")[0] not in left]
    if not theirs:
        raise TypeError(f"{kind.__qualname__} is a class of a library")
    return digest([inspect.getsource(each) for each in theirs])
