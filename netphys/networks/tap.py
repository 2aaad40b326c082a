"""Taps: each wanted output is handed on at the moment its layer returns it.

What a layer returned may be overwritten by the next operation (in-place ReLU in AlexNet, VGG, ResNet, SqueezeNet), so
whoever keeps an output copies it inside the hook. Hooks are removed on every way out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from netphys.networks.outputs import layer_name

if TYPE_CHECKING:
    import torch

__all__ = ["Tap"]


Receive = Callable[[str, str, Any], None]  # path of the module, name without suffix, output


class _Reached(BaseException):
    """The deepest wanted layer has answered; not an Exception, for models contain ``except Exception``."""


class Tap:
    """Hooks on some modules; a context manager.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    paths : collection of str
        Which modules to listen to, by their path.
    receive : callable
        Called as ``receive(path, key, output)`` inside the hook; the key is the layer's name without the suffix that
        tells several outputs apart (``relu#2`` for the second call of ``relu`` in a forward).
    functions : callable, optional
        Which functions to listen to beside modules: called with a key (``conv2:relu``). Default: none.
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
        self._functions = functions
        self._last = last
        self._stop = False
        self._calls: Counter[str] = Counter()
        self._handles: list[Any] = []

    def __enter__(self) -> Tap:
        modules = dict(self._module.named_modules())
        try:
            self._handles.append(self._module.register_forward_pre_hook(self._restart))
            for path in self._paths:
                self._handles.append(modules[path].register_forward_hook(self._listen(path)))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def run(self, *inputs: Any) -> None:
        """Run a forward, no further than the last wanted call."""
        self._stop = self._last is not None
        try:
            self._module(*inputs)
        except _Reached:
            pass
        finally:
            self._stop = False

    def _restart(self, *_: object) -> None:
        self._calls.clear()

    def _listen(self, path: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            self._calls[path] += 1
            key = layer_name(path, self._calls[path])
            self._receive(path, key, output)
            if self._stop and key == self._last:
                raise _Reached

        return hook
