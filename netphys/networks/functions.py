"""Functions as layers: what a network computes in its ``forward`` without a module for it (``F.relu``, ``x.relu_()``).

A module's hook never sees them. During a forward torch's function mode does: it is called for each function of torch
that is not itself called by another one. A function is named after the module that last finished in this forward:

==================  ==================================================================
``conv2:relu``      the first ReLU after ``conv2``
``conv2:relu#2``    the second one, no other module having finished in between
``conv2#2:relu``    the first one after the second call of ``conv2``
``input:relu``      before any module has finished
==================  ==================================================================

Which functions are layers stands in :data:`FUNCTIONS`; ``F.relu``, ``torch.relu``, ``x.relu()`` and ``x.relu_()`` are
all ``relu``. What a module without children of torch, torchvision or timm calls is never one: the module is the layer.
In a user's own module without children it is one, unless it is that module's very result (``Functions.repeats``).
Names depend on what the network does, never on which of them is wanted. What a scripted module calls is not seen.

Attention is named after the module that computes it: ``blocks.0.attn:attention``, ``:query``, ``:key``, ``:value``,
the second time in one call ``:attention#2``. See :mod:`netphys.networks.attention`; a softmax that is attention is not
listed as a softmax, too. Nothing of it is computed that is not wanted.
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from netphys.networks.attention import Explicit, attention_role, fused_parts, multihead_parts

if TYPE_CHECKING:
    import torch

__all__ = ["FUNCTIONS", "Functions", "function_in", "function_name", "modes_off"]

FUNCTIONS: dict[str, tuple[str, ...]] = {
    "activation": (
        "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid",
        "logsigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "softplus", "softsign", "softshrink",
        "hardshrink", "tanhshrink", "threshold", "clamp", "clamp_min", "clamp_max", "glu", "softmax", "softmin",
        "log_softmax", "gumbel_softmax",
    ),
    "pooling": (
        "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d",
        "lp_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
        "adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d", "fractional_max_pool3d",
        "max_unpool1d", "max_unpool2d", "max_unpool3d",
    ),
    "weights": (
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear",
        "bilinear", "embedding",
    ),
    "normalisation": (
        "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize",
    ),
    "other": ("interpolate", "upsample", "scaled_dot_product_attention"),
}  # fmt: skip
_KNOWN = frozenset(name for names in FUNCTIONS.values() for name in names)
_OTHERWISE = {"clip": "clamp", "expit": "sigmoid", "log_sigmoid": "logsigmoid"}  # other words for the same
_LIBRARIES = ("torch", "torchvision", "timm")
_OWN: ContextVar[bool] = ContextVar("netphys computes something itself", default=False)


def function_name(func: Callable[..., Any]) -> str:
    """Name a function of torch as a layer; empty where it is none.

    Examples
    --------
    >>> import torch
    >>> function_name(torch.Tensor.relu_), function_name(torch.nn.functional.max_pool2d), function_name(torch.add)
    ('relu', 'max_pool2d', '')
    """
    name = str(getattr(func, "__name__", ""))
    if name.startswith("__"):
        return ""
    name = name.strip("_").removeprefix("special_").removesuffix("_with_indices")
    name = _OTHERWISE.get(name, name)
    return name if name in _KNOWN else ""


def function_in(path: str, key: str) -> str:
    """Name the function of which a tap handed on `key`; empty where it is a module's own output.

    Examples
    --------
    >>> function_in("conv2", "conv2#2:relu#3"), function_in("", "input:tanh"), function_in("a:b", "a:b#2")
    ('relu', 'tanh', '')
    """
    head = path or ("input" if key.startswith("input:") else "output")
    return key.removeprefix(head).partition(":")[2].partition("#")[0]


class Functions:
    """Follows the functions that a network calls in a forward.

    Parameters
    ----------
    wanted : callable
        Called with a key; whether to hand on what that function returned.
    hand_on : callable
        Called as ``hand_on(path, key, output)`` right after the function has returned.

    Attributes
    ----------
    repeats : set of str
        Keys of functions whose result a user's module without children returned as it was: the module is that layer.
        Known when the module returns, so of a forward as a whole only at its end.
    """

    def __init__(self, wanted: Callable[[str], bool], hand_on: Callable[[str, str, Any], None]) -> None:
        self._wanted, self._hand_on = wanted, hand_on
        self._names: dict[Any, tuple[str, str]] = {}  # as a layer, and in attention
        self._counts: Counter[str] = Counter()
        self._frames: list[_Frame] = []
        self._last = ("", "input")  # path and key of the module that last finished
        self._outside: BaseException | None = None
        self._mode = _function_mode(self._call)
        self.repeats: set[str] = set()

    def begin(self) -> None:
        """Begin a forward."""
        self.end()
        self._counts.clear()
        self.repeats.clear()
        self._last, self._outside = ("", "input"), sys.exc_info()[1]
        self._mode.__enter__()

    def end(self) -> None:
        """Follow no longer; after a forward that was left by an interrupt, too."""
        self._frames.clear()
        _take_off(self._mode)

    def enter(self, path: str, call: int, module: torch.nn.Module) -> None:
        """Take note that a module is being called."""
        self._frames.append(_Frame(path, call, module))

    def leave(self, path: str, key: str, output: Any) -> bool:
        """Take note of what a module returned; returns False where it was left by an exception."""
        frame = None
        while any(each.path == path for each in self._frames) and (frame := self._frames.pop()).path != path:
            pass  # what an interrupt left behind
        if output is None and sys.exc_info()[1] not in (None, self._outside):
            return False
        if frame is not None and frame.made is not None and frame.made.of(output):
            self.repeats.add(frame.made.key)
        self._last = (path, key)
        return True

    def _call(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if _OWN.get():
            return result
        names = self._names.get(func)
        if names is None:
            names = self._names[func] = (function_name(func), attention_role(func))
        name, role = names
        if not self._frames or (role and self._attention(role, func, args, kwargs, result)):
            return result
        if name and not self._frames[-1].is_library_leaf:
            self._layer(name, result)
        return result

    def _attention(self, role: str, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> bool:
        """Hand on what is wanted of attention; returns whether the function did nothing else."""
        frame = self._frames[-2 if self._frames[-1].is_library_leaf and len(self._frames) > 1 else -1]
        with _unheard():
            if role == "fused":
                parts = fused_parts(args, kwargs)
            elif role == "multihead":
                parts = multihead_parts(func, args, kwargs)
            elif role == "softmax":
                parts = frame.explicit.softmax(args, kwargs, result)
            else:
                parts = frame.explicit.product(func, args, kwargs, result)
        if "attention" in parts:
            self._counts[frame.head] += 1
            frame.explicit.number = f"#{self._counts[frame.head]}" if self._counts[frame.head] > 1 else ""
        for what, make in parts.items():
            key = f"{frame.head}:{what}{frame.explicit.number}"
            if self._wanted(key):
                with _unheard():
                    made = make()
                self._hand_on(frame.path, key, made)
        return role == "softmax" and bool(parts)

    def _layer(self, name: str, result: Any) -> None:
        path, after = self._last
        key = f"{after}:{name}"
        self._counts[key] += 1
        if self._counts[key] > 1:
            key = f"{key}#{self._counts[key]}"
        if self._frames[-1].is_leaf:
            self._frames[-1].made = _Made(key, result)
        if self._wanted(key):
            self._hand_on(path, key, result)


class _Made:
    """What the latest function made, to be known again when the module around it returns."""

    def __init__(self, key: str, result: Any) -> None:
        self.key, self._version = key, _version(result)
        self._result = weakref.ref(result) if hasattr(result, "ndim") else None  # it may be freed

    def of(self, output: Any) -> bool:
        """Tell whether a module returned just that, not overwritten since."""
        return self._result is not None and self._result() is output and _version(output) == self._version


class _Frame:
    """A module that is being called."""

    __slots__ = ("_explicit", "head", "is_leaf", "is_library_leaf", "made", "path")

    def __init__(self, path: str, call: int, module: torch.nn.Module) -> None:
        self.path, self.head = path, (path or "output") + (f"#{call}" if call > 1 else "")
        self.made: _Made | None = None
        self._explicit: Explicit | None = None
        self.is_leaf = not module._modules
        self.is_library_leaf = self.is_leaf and type(module).__module__.partition(".")[0] in _LIBRARIES

    @property
    def explicit(self) -> Explicit:
        """What of attention the module has computed step by step; most compute none."""
        if self._explicit is None:
            self._explicit = Explicit()
        return self._explicit


@contextmanager
def _unheard() -> Iterator[None]:
    """Compute what no tap takes for a function of the network; other modes follow it."""
    token = _OWN.set(True)
    try:
        yield
    finally:
        _OWN.reset(token)


def modes_off() -> AbstractContextManager[Any]:
    """Make what a receiver computes no function of the network, for this tap and for whatever else follows it."""
    import torch

    context: AbstractContextManager[Any] = torch._C.DisableTorchFunction()
    return context


def _version(result: Any) -> int:
    """Count how often a tensor was written to; an inference tensor does not count."""
    countable = hasattr(result, "_version") if not getattr(result, "is_inference", bool)() else False
    return int(result._version) if countable else 0


def _function_mode(call: Callable[..., Any]) -> Any:
    """Make torch's function mode that has functions called by `call`."""
    from torch.overrides import TorchFunctionMode

    class Following(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return call(func, args, kwargs or {})

    return Following()


def _take_off(mode: Any) -> None:
    """Take a mode off torch's stack, wherever in it; others stay."""
    from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode

    if not any(each is mode for each in _get_current_function_mode_stack()):
        return
    above = []
    while (top := _pop_mode()) is not mode:
        above.append(top)
    for each in reversed(above):
        _push_mode(each)
