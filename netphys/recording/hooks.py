"""Hooks: each wanted output is handed on at the moment its layer returns it, and the network is left as it was found.

What a layer returned may be overwritten by the next operation (in-place ReLU in AlexNet, VGG, ResNet, SqueezeNet), so
whoever keeps an output copies it inside the hook. Hooks, train/eval modes and the fused attention path, in which the
hooks of submodules do not fire, are restored on every way out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from netphys.errors import LayerNotFound, near
from netphys.networks import Network
from netphys.recording.outputs import layer_name, tensors_in
from netphys.recording.patterns import aliases_in, match_layers, may_match, not_an_alias
from netphys.recording.running import evaluating

if TYPE_CHECKING:
    import torch

__all__ = ["Tap", "hooks"]

Receive = Callable[[str, int, Any], None]  # path, call, output


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
        Called as ``receive(path, call, output)`` inside the hook, `call` counting from 1 in each forward.
    last : (str, int), optional
        The call after which a forward made through :meth:`run` stops.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        paths: Collection[str],
        receive: Receive,
        *,
        last: tuple[str, int] | None = None,
    ) -> None:
        self._module = module
        self._paths = set(paths)
        self._receive = receive
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
            call = self._calls[path]
            self._receive(path, call, output)
            if self._stop and (path, call) == self._last:
                raise _Reached

        return hook


@contextmanager
def hooks(module: torch.nn.Module | Network, layers: str | Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Record in a script: a dict of activations, filled anew by each forward.

    Every output is cloned the moment its layer returns it (in the graph, where gradients are on), so a following
    in-place operation changes nothing. The module is in eval mode inside the block; on the way out, also by an
    exception, hooks and modes are as they were.

    Parameters
    ----------
    module : torch.nn.Module or Network
        Any network.
    layers : str or sequence of str
        Layer patterns, see :mod:`netphys.recording.patterns`.

    Yields
    ------
    dict of str to tensor
        Layer name → activation of the latest forward, in order of execution.

    Raises
    ------
    LayerNotFound
        If a pattern matches no module, or after the first forward no layer.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(inplace=True))
    >>> with hooks(net, ["0", "1"]) as tape:
    ...     _ = net(torch.ones(1, 2))
    >>> list(tape), bool((tape["0"].clamp(min=0) == tape["1"]).all())
    (['0', '1'], True)
    """
    if isinstance(module, Network):
        module = module.module
    tape: dict[str, torch.Tensor] = {}
    seen: list[_Seen] = []
    modules = dict(module.named_modules())
    patterns, aliases = [layers] if isinstance(layers, str) else list(layers), aliases_in(module)
    _require_known(patterns, modules, aliases, type(module).__name__)
    tests = [may_match(pattern) for pattern in patterns]

    def receive(path: str, call: int, output: Any) -> None:
        for suffix, tensor in tensors_in(output):
            entry = _Seen(layer_name(path, call, suffix), modules[path])
            seen.append(entry)
            if any(matches(entry) for matches in tests):  # a copy costs as much as many a layer
                tape[entry.name] = tensor.clone()

    def restart(*_: object) -> None:
        seen.clear()
        tape.clear()

    def select(*_: object) -> None:
        wanted = match_layers(patterns, seen, network=type(module).__name__, aliases=aliases)
        for name in [each for each in tape if each not in wanted]:
            del tape[name]

    paths = [path for path in modules if path or len(modules) == 1]
    candidates = _candidates(patterns, paths, modules)
    with evaluating(module), Tap(module, candidates, receive):
        before, after = module.register_forward_pre_hook(restart, prepend=True), module.register_forward_hook(select)
        try:
            yield tape
        finally:
            before.remove()
            after.remove()


class _Seen:
    """A layer that has answered, as patterns look at it."""

    def __init__(self, name: str, module: torch.nn.Module) -> None:
        self.name = name
        self.kind = type(module).__name__
        self.is_leaf = next(module.children(), None) is None


def _candidates(patterns: Sequence[str], paths: Sequence[str], modules: dict[str, Any]) -> list[str]:
    """Return modules that a pattern may mean; for exact names alone no other needs a hook."""
    exact = {pattern.split("#")[0].split("/")[0] for pattern in patterns}
    if exact <= set(paths):
        return [path for path in paths if path in exact]
    return list(paths)


def _require_known(patterns: Sequence[str], modules: dict[str, Any], aliases: dict[str, str], network: str) -> None:
    """Refuse a plain name that no module has, before anything runs."""
    for pattern in patterns:
        not_an_alias(pattern, aliases)
        path = pattern.split("#")[0].split("/")[0]
        plain = not any(mark in pattern for mark in "*?[:") and pattern not in ("all", "leaves", "output")
        if plain and path not in modules:
            raise LayerNotFound(f"no layer {pattern!r} in {network}{near(path, modules)}; netphys.layers lists all")
