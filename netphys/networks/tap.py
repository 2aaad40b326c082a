"""Taps: each wanted output is handed on at the moment its layer returns it.

What a layer returned may be overwritten by the next operation (in-place ReLU in AlexNet, VGG, ResNet, SqueezeNet), so
whoever keeps an output copies it inside the hook. Hooks are removed on every way out.

Modules are listened to by hooks, functions (``conv2:relu``) by a mode of torch that is on during the forward only: see
:mod:`netphys.networks.functions`. A compiled module runs uncompiled under a tap, for compiled code calls neither. A
scripted one runs as it is: its own output is seen, what happens inside is not. Calls outside a forward of the network
(a checkpointed block that is computed again for its gradient) are not handed on.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from netphys.networks.functions import Functions, modes_off

if TYPE_CHECKING:
    import torch

__all__ = ["Tap"]


Receive = Callable[[str, str, Any], None]  # path of the module, name without suffix, output


class _Reached(BaseException):
    """The deepest wanted layer has answered; not an Exception, for models contain ``except Exception``."""


class Tap:
    """Hooks on some modules, and on functions between them; a context manager.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    paths : collection of str
        Which modules to listen to, by their path.
    receive : callable
        Called as ``receive(path, key, output)`` the moment a module or a function has returned, with torch's function
        modes off; the key is the layer's name without the suffix that tells several outputs apart (``relu#2`` for the
        second call of ``relu`` in a forward). The path of a function is that of the module that last finished, ``""``
        before any has; of attention that of the module which computes it.
    functions : callable, optional
        Which functions to listen to beside modules: called with a key (``conv2:relu``, ``blocks.0.attn:attention``).
        Default: none, at no cost.
    last : str, optional
        The key after which a forward made through :meth:`run` stops.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        paths: Collection[str],
        receive: Receive,
        *,
        functions: Callable[[str], bool] | None = None,
        last: str | None = None,
    ) -> None:
        self._module = module
        self._paths = set(paths)
        self._receive = receive
        self._functions = None if functions is None else Functions(functions, self._hand_on)
        self._last = last
        self._stop = self._running = False
        self._calls: Counter[str] = Counter()
        self._handles: list[Any] = []

    @property
    def repeats(self) -> frozenset[str]:
        """Keys of functions, of the latest forward, whose result is that of the user's module around them.

        Such a module has no children, and is the layer; a list of layers leaves these functions out.
        """
        return frozenset() if self._functions is None else frozenset(self._functions.repeats)

    def __enter__(self) -> Tap:
        _AS_WRITTEN.begin()
        try:
            self._hook_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._end()
        _AS_WRITTEN.end()

    def run(self, *inputs: Any, **named: Any) -> None:
        """Run a forward, no further than the last wanted call."""
        self._stop = self._last is not None
        try:
            self._module(*inputs, **named)
        except _Reached:
            pass
        finally:
            self._stop = False
            self._end()

    def _hook_all(self) -> None:
        from torch.nn import Module

        before, after = Module.register_forward_pre_hook, Module.register_forward_hook  # scripted ones refuse by name
        modules, follow = dict(self._module.named_modules()), self._functions is not None
        self._handles.append(before(self._module, self._begin))
        for path in modules if follow else self._paths:
            if follow:  # which module is being called, whether or not it is listened to
                self._handles.append(before(modules[path], self._enter(path)))
            hook = self._listen(path, path in self._paths)
            self._handles.append(after(modules[path], hook, always_call=follow))
        self._handles.append(after(self._module, self._end, always_call=True))

    def _begin(self, *_: object) -> None:
        self._calls.clear()
        self._running = True
        if self._functions is not None:
            self._functions.begin()

    def _end(self, *_: object) -> None:
        self._running = False
        if self._functions is not None:
            self._functions.end()

    def _enter(self, path: str) -> Callable[..., None]:
        functions = self._functions

        def hook(module: Any, inputs: Any) -> None:
            if self._running and functions is not None:
                functions.enter(path, self._calls[path] + 1, module)

        return hook

    def _listen(self, path: str, wanted: bool) -> Callable[..., None]:
        name, functions = path or "output", self._functions

        def hook(module: Any, inputs: Any, output: Any) -> None:
            if not self._running:
                return
            call = self._calls[path] + 1
            key = name if call == 1 else f"{name}#{call}"
            if functions is not None and not functions.leave(path, key, output):
                return
            self._calls[path] = call
            if wanted:
                self._hand_on(path, key, output)

        return hook

    def _hand_on(self, path: str, key: str, output: Any) -> None:
        with modes_off():
            self._receive(path, key, output)
        if self._stop and key == self._last:
            raise _Reached


class _AsWritten:
    """Has compiled modules run as they were written while any tap is on; taps may be left in any order."""

    def __init__(self) -> None:
        self._n_taps = 0
        self._stance: Any = None

    def begin(self) -> None:
        self._n_taps += 1
        if self._stance is None and "torch._dynamo" in sys.modules:  # else nothing was ever compiled
            import torch

            if hasattr(torch.compiler, "set_stance"):  # torch 2.6; before it hooks of compiled modules are not called
                self._stance = torch.compiler.set_stance("force_eager")

    def end(self) -> None:
        self._n_taps -= 1
        if self._stance is not None and self._n_taps == 0:
            self._stance.__exit__(None, None, None)
            self._stance = None


_AS_WRITTEN = _AsWritten()
