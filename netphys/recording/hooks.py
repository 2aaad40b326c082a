"""Hooks for a probing script: a dict of activations, and the network left as it was found.

Hooks, train/eval modes and the fused attention path, in which the hooks of submodules do not fire, are restored on
every way out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from netphys.errors import LayerNotFound, near
from netphys.networks import Network
from netphys.networks.outputs import LayerName, tensors_in
from netphys.networks.running import evaluating
from netphys.networks.tap import Tap
from netphys.recording.patterns import aliases_in, match_layers, may_match, not_an_alias

if TYPE_CHECKING:
    import torch

__all__ = ["hooks"]


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
    module = module.module if isinstance(module, Network) else module
    tape: dict[str, torch.Tensor] = {}
    seen: list[_Seen] = []
    modules = dict(module.named_modules())
    patterns, aliases = [layers] if isinstance(layers, str) else list(layers), aliases_in(module)
    _require_known(patterns, modules, aliases, type(module).__name__)
    tests = [may_match(pattern) for pattern in patterns]

    def receive(path: str, key: str, output: Any) -> None:
        for suffix, tensor in tensors_in(output):
            entry = _Seen(key + suffix, modules[path])
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
    exact = {LayerName.parse(pattern).path for pattern in patterns}
    if exact <= set(paths):
        return [path for path in paths if path in exact]
    return list(paths)


def _require_known(patterns: Sequence[str], modules: dict[str, Any], aliases: dict[str, str], network: str) -> None:
    """Refuse a plain name that no module has, before anything runs."""
    for pattern in patterns:
        not_an_alias(pattern, aliases)
        path = LayerName.parse(pattern).path
        plain = not any(mark in pattern for mark in "*?[:") and pattern not in ("all", "leaves", "output")
        if plain and path not in modules:
            raise LayerNotFound(f"no layer {pattern!r} in {network}{near(path, modules)}; netphys.layers lists all")
