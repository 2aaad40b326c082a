"""Hooks for a probing script: a dict of activations, and the network left as it was found.

Hooks, torch's function modes, train/eval modes and the fused attention path, in which the hooks of submodules do not
fire, are restored on every way out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from netphys.errors import LayerNotFound, RecordingError, near
from netphys.networks import Network
from netphys.networks.attention import ATTENTION
from netphys.networks.functions import function_in
from netphys.networks.outputs import tensors_in
from netphys.networks.running import evaluating
from netphys.networks.tap import Tap
from netphys.recording.patterns import aliases_in, match_layers, may_match, may_mean_functions, not_an_alias, path_in

if TYPE_CHECKING:
    import torch

__all__ = ["hooks"]


@contextmanager
def hooks(module: torch.nn.Module | Network, layers: str | Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Record in a script: a dict of activations, filled anew by each forward.

    Every output is cloned the moment its layer returns it (in the graph, where gradients are on), so a following
    in-place operation changes nothing. It is as the layer gave it: features of tokens come last, windows lie in the
    batch. The module may be called in any way, with several inputs and by keyword. It is in eval mode inside the block;
    on the way out, also by an exception, hooks and modes are as they were.

    Parameters
    ----------
    module : torch.nn.Module or Network
        Any network.
    layers : str or sequence of str
        Layer patterns, see :mod:`netphys.recording.patterns`. Functions (``conv2:relu``) and attention
        (``blocks.0.attn:attention``: stimulus, head, query, key) are followed where a pattern may mean them.

    Yields
    ------
    dict of str to tensor
        Layer name → activation of the latest forward, in order of execution.

    Raises
    ------
    LayerNotFound
        If a pattern matches no module, or after the first forward no layer.
    RecordingError
        In a forward of a scripted network of which more than its ``output`` is asked for.

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
    patterns = [layers] if isinstance(layers, str) else list(layers)
    tape = _Tape(module, patterns)
    functions = tape.wants if any(may_mean_functions(pattern) for pattern in patterns) else None
    tap = Tap(module, tape.paths, tape.receive, functions=functions)
    with evaluating(module), tap:
        from torch.nn import Module  # by its own name scripted ones refuse

        before = Module.register_forward_pre_hook(module, tape.restart, prepend=True)
        after = Module.register_forward_hook(module, lambda *_: tape.select(tap.repeats))
        try:
            yield tape.activations
        finally:
            before.remove()
            after.remove()


class _Seen(NamedTuple):
    """A layer that has answered, as patterns look at it."""

    name: str
    kind: str
    is_leaf: bool
    may_be_meant: bool = False


class _Tape:
    """What answered in a forward, and a copy of each that a pattern may mean."""

    def __init__(self, module: torch.nn.Module, patterns: Sequence[str]) -> None:
        import torch

        self._is_scripted = isinstance(module, torch.jit.ScriptModule)
        self._network, self._aliases = type(module).__name__, aliases_in(module)
        self._modules = dict(module.named_modules())
        self._patterns = patterns
        self._require_known()
        self._tests = [may_match(pattern) for pattern in patterns]
        self._seen: list[_Seen] = []
        self._entries: dict[str, _Seen] = {}  # a forward is seldom the only one: each name is looked at once
        self._chosen: tuple[list[_Seen], set[str]] = ([], set())  # and what all patterns meant of a whole forward
        self.paths = self._candidates()
        self.activations: dict[str, torch.Tensor] = {}

    def restart(self, *_: object) -> None:
        """Begin a forward."""
        self._seen.clear()
        self.activations.clear()

    def wants(self, key: str) -> bool:
        """Tell whether a function is to be handed on: attention only where a pattern may mean it."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._enter(key, key.rpartition(":")[2].partition("#")[0], True)
        if entry.kind not in ATTENTION or entry.may_be_meant:
            return True
        self._seen.append(entry)  # it is not computed, but a message may say that it is there
        return False

    def receive(self, path: str, key: str, output: Any) -> None:
        """Copy what a layer returned if it may be meant."""
        for suffix, tensor in tensors_in(output):
            name = key + suffix
            entry = self._entries.get(name)
            if entry is None:
                module, function = self._modules[path], function_in(path, key)
                is_leaf = bool(function) or next(module.children(), None) is None
                entry = self._enter(name, function or type(module).__name__, is_leaf)
            self._seen.append(entry)
            if entry.may_be_meant:  # a copy costs as much as many a layer
                self.activations[name] = tensor.clone()

    def select(self, repeats: Collection[str]) -> None:
        """End a forward: keep what the patterns mean of all that answered."""
        seen = [entry for entry in self._seen if entry.name not in repeats]
        if not seen and self._is_scripted:
            raise RecordingError(
                f"{self._network} is scripted: of it only 'output' is seen, not {', '.join(map(repr, self._patterns))}"
            )
        if seen != self._chosen[0] or not seen:
            names = match_layers(self._patterns, seen, network=self._network, aliases=self._aliases)
            self._chosen = (seen, set(names))
        for name in [each for each in self.activations if each not in self._chosen[1]]:
            del self.activations[name]

    def _enter(self, name: str, kind: str, is_leaf: bool) -> _Seen:
        entry = _Seen(name, kind, is_leaf)
        self._entries[name] = entry._replace(may_be_meant=any(matches(entry) for matches in self._tests))
        return self._entries[name]

    def _candidates(self) -> list[str]:
        """List modules that a pattern may mean; for exact names alone no other needs a hook."""
        paths = [path for path in self._modules if path or len(self._modules) == 1]
        exact = [path_in(pattern, self._modules) for pattern in self._patterns]
        if all(path is not None or _of_root(pattern) for path, pattern in zip(exact, self._patterns)):
            paths = [path for path in paths if path in exact]
        whole = "output" not in self._modules and any(_of_root(pattern) for pattern in self._patterns)
        return list(dict.fromkeys([*paths, *([""] if whole else [])]))

    def _require_known(self) -> None:
        """Refuse a plain name that no module has, before anything runs."""
        for pattern in self._patterns:
            not_an_alias(pattern, self._aliases)
            special = pattern in ("all", "leaves") or pattern.startswith(("kind:", "input:")) or _of_root(pattern)
            if special or any(mark in pattern for mark in "*?["):
                continue
            if path_in(pattern, self._modules) is None:
                path = pattern.partition(":")[0].partition("#")[0]
                tail = f"{near(path, self._modules)}; netphys.layers lists all"
                raise LayerNotFound(f"no layer {pattern!r} in {self._network}{tail}")


def _of_root(pattern: str) -> bool:
    return path_in(pattern, ["output"]) is not None
