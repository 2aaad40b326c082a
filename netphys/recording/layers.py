"""The layers of a network, found by one probing forward in eval mode, in order of execution.

A layer is one output of one call of one module. The forward runs on three images, so that a layer which folds something
else into the batch dimension (windows, frames) is recognised.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from netphys.errors import RecordingError
from netphys.networks import Network
from netphys.networks.functions import function_in
from netphys.networks.outputs import tensors_in
from netphys.networks.running import evaluating, unchanged
from netphys.networks.tap import Tap
from netphys.recording.arranging import Arrangement
from netphys.recording.layout import Layout
from netphys.recording.showing import prepared
from netphys.seeds import forked_torch

if TYPE_CHECKING:
    import torch


__all__ = ["N_PROBE", "Layer", "probe_layers"]

log = logging.getLogger(__name__)

N_PROBE = 3  # stimuli of the probing forward; a recording in batches of three is probed with four


@dataclass(frozen=True)
class Layer:
    """One output of one call of one module, or of a function.

    `shape` is without the batch, in the order of `dims`, which are those of a recording: ``unit``, then nothing,
    ``y x`` (only of what is known to be a map), ``token``, ``time y x``, ``window token`` or ``window y x`` (parts of a
    stimulus that the network looks at apart; also two axes of which nothing is known), ``query key`` or
    ``window query key`` (attention weights).
    `path` is that of the module that returned it, or that finished before its function; `key` is the name without
    `suffix`: what returned it. `arrangement` tells how the raw output becomes that.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    path: str = ""
    index: int = 0
    suffix: str = ""
    is_leaf: bool = True
    n_parameters: int = 0
    arrangement: Arrangement = Arrangement()
    problem: str = ""

    @property
    def key(self) -> str:
        """The name without its suffix: what a :class:`netphys.networks.tap.Tap` calls what returned it."""
        return self.name.removesuffix(self.suffix)

    @property
    def moved(self) -> bool:
        """Whether units are elsewhere than in axis 1 of the raw output, or parts of a stimulus in its batch."""
        return self.arrangement.unit_axes != (1,) or self.arrangement.n_windows > 1

    @cached_property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the layer as a map of the image; None where it is none, or its places are not known."""
        known = self.arrangement
        if known.places:
            return known.grid if known.order and known.keys is None and "query" not in self.dims else None
        if self.dims != ("unit", "y", "x"):
            return None
        sides = (self.shape[1], self.shape[2])
        return sides if not self.moved or known.grid == sides or sides == (1, 1) else None

    @property
    def n_units(self) -> int:
        """How many units the layer has (channels; features of a dense layer)."""
        return self.shape[0]


def probe_layers(network: Network, values: Any, device: Any = "cpu") -> list[Layer]:
    """Run the probing forward on some stimuli (images, or a tuple of one value a field) and list what answered.

    Raises
    ------
    RecordingError
        If the network cannot look at such images.
    """
    import torch

    modules = dict(network.module.named_modules())
    found: list[Layer] = []

    def receive(path: str, key: str, output: Any) -> None:
        for suffix, tensor in tensors_in(output):
            names = (path, key, suffix)
            found.append(_describe(tensor, names, modules[path], layout, len(found), len(inputs[0])))

    paths = [path for path in modules if path or len(modules) == 1]
    inputs = prepared(network, values if isinstance(values, tuple) else (values,), device)
    layout = Layout(network.module, inputs[0])
    for each in inputs[1:]:
        layout.show(each)
    tap = Tap(network.module, paths, receive, functions=lambda key: True)
    with evaluating(network.module), torch.no_grad(), forked_torch(0), unchanged(network.module) as state, layout, tap:
        try:
            tap.run(*inputs)
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            shape = ", ".join(str(tuple(each.shape[1:])) for each in inputs)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            several = "positional argument" in reason  # it is given other fields than it looks at
            hint = "?fields=left,right in its address says what it looks at" if several else "?resize=224 may help"
            raise RecordingError(f"{network.name} cannot look at images of {shape} ({reason}); {hint}") from error
        changed = state.restore()
    if changed:
        log.warning(
            "%s changes its buffer %r in a forward; every batch of a recording begins with it as it was found",
            network.name,
            changed[0],
        )
    if not found:
        scripted = isinstance(network.module, torch.jit.ScriptModule)
        why = ": it is scripted, what happens inside is not seen; record the module that it was made of"
        raise RecordingError(f"{network.name} has no module whose output could be recorded{why if scripted else ''}")
    kept = (layer for layer in found if layer.key not in tap.repeats)
    return [replace(layer, index=index) for index, layer in enumerate(kept)]


def _describe(
    tensor: torch.Tensor,
    names: tuple[str, str, str],
    module: torch.nn.Module,
    layout: Layout,
    index: int,
    n_stimuli: int,
) -> Layer:
    """Describe one output: which of its axes is which."""
    path, key, suffix = names
    function = function_in(path, key)
    found = layout.described(tensor, n_stimuli, function)
    return Layer(
        name=key + suffix,
        kind=function or type(module).__name__,
        shape=found.shape,
        dims=found.dims,
        path=path,
        index=index,
        suffix=suffix,
        is_leaf=bool(function) or next(module.children(), None) is None,
        n_parameters=0 if function else sum(each.numel() for each in module.parameters()),
        arrangement=found.arrangement,
        problem=found.problem,
    )
