"""Receptive fields, theoretical: which pixels a unit at a position can depend on, and how these places tile the image.

One forward of one image is followed operation by operation: for each entry of each tensor the first and last row and
column that it reads are kept, and combined as the operation combines its inputs (:mod:`netphys.networks.reach`,
:mod:`netphys.networks.reach_rules`). Branches, residual paths, reused modules, adaptive pooling, windows of tokens and
attention are so right by construction. What no rule is known for is said, never guessed. A network that takes values
out of torch on its way (numpy) and adds them to others is beyond this: what came that way counts as a constant.

Pixel i has its centre at i; y points down. For a chain of convolutions and poolings the result is that of the usual
recursion: jump j ← j·s, size r ← r + (k − 1)·d·j, centre c ← c + ((k − 1)·d/2 − p)·j.

References
----------
Araujo, Norris & Sim (2019), Computing receptive fields of convolutional neural networks, Distill 4(11):e21.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from netphys.errors import OptionError
from netphys.networks.fields import Field, Fields, times
from netphys.networks.network import Network
from netphys.networks.outputs import LayerName, tensors_in
from netphys.networks.preprocessing import Preprocess
from netphys.networks.reach import Reach, image_reach
from netphys.networks.reach_moves import Call
from netphys.networks.reach_rules import rule_of
from netphys.networks.running import evaluating, unchanged
from netphys.networks.tap import Tap
from netphys.seeds import forked_torch

__all__ = ["Field", "Fields", "receptive_fields"]

log = logging.getLogger(__name__)

_CONSTANT = ("new_", "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like")  # read no values
_WRITTEN = "a part of it was written to in place"
_LOST = "its path from the image leaves torch, or does not begin at the image"


def receptive_fields(
    network: Network | torch.nn.Module,
    *,
    size: tuple[int, int] | None = None,
    layers: Sequence[str] | None = None,
) -> Fields:
    """Work out the theoretical receptive fields of a network's layers.

    Parameters
    ----------
    network : Network or torch.nn.Module
        Any network of images; it is left as it was found. One forward of one image is run.
    size : (int, int), optional
        Rows and columns of the image *that the network sees*, after its preprocessing. Default: what its preprocessing
        makes, else 64 x 64.
    layers : sequence of str, optional
        Names of the layers wanted. Default: all.

    Returns
    -------
    Fields
        Layer name → :class:`Field`; names as in a recording (``relu#2`` is the second call of ``relu``, ``conv2:relu``
        a function behind ``conv2``).

    Raises
    ------
    OptionError
        If the network cannot look at an image of that size.
    LayerNotFound
        If there is no layer of such a name.

    Examples
    --------
    >>> from torch import nn
    >>> chain = nn.Sequential(nn.Conv2d(3, 2, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2))
    >>> fields = receptive_fields(chain, size=(224, 224))
    >>> fields["2"]
    Field(2: 19 x 19 px, stride 8 x 8)
    >>> fields["2"].box(0, 0)
    (-2, 16, -2, 16)
    """
    module = network.module if isinstance(network, Network) else network
    name = network.name if isinstance(network, Network) else type(module).__name__
    size = size or _own_size(network)
    fields = Fields(_follow(module, name, size), network=name)
    if layers is None:
        return fields
    return Fields({each: fields[each] for each in layers}, network=name)


def _own_size(network: Network | torch.nn.Module) -> tuple[int, int]:
    """Size of what a network sees: what its preprocessing makes, else 64 pixels."""
    preprocess = network.preprocess if isinstance(network, Network) else None
    return preprocess.output_size((64, 64)) if isinstance(preprocess, Preprocess) else (64, 64)


def _follow(module: torch.nn.Module, name: str, size: tuple[int, int]) -> dict[str, Field]:
    """Run one forward and describe the field of every output of every module and function."""
    like = next((each for each in module.parameters() if each.is_floating_point()), torch.zeros(0))
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(like.device, like.dtype)
    trace, found = _Trace(image), dict[str, Field]()
    paths = [path for path, _ in module.named_modules() if path] or [""]

    def receive(_: str, key: str, output: Any) -> None:
        for suffix, tensor in tensors_in(output):
            found[key + suffix] = _field(key + suffix, trace.of(tensor), tuple(tensor.shape), size)

    tap = Tap(module, paths, receive, functions=lambda key: True)
    try:
        with evaluating(module), unchanged(module), torch.no_grad(), forked_torch(0), tap, trace:
            module(image)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OptionError(
            f"{name} cannot look at an image of {times(size)} ({reason:.120}); give another size"
        ) from error
    return {layer: field for layer, field in found.items() if LayerName.parse(layer).key not in tap.repeats}


class _Trace(TorchDispatchMode):
    """Follows what every tensor of a forward reads; tensors are kept, so that none takes another's place."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        self._reach: dict[int, Reach | str] = {id(image): image_reach(image.shape)}
        self._kept = {id(image): image}
        self._memories: set[int] = set()  # written to in place: what is not followed there may read the image too

    def of(self, tensor: torch.Tensor) -> Reach | str:
        """Return what a tensor reads, or why that is unknown."""
        return self._reach.get(id(tensor), _WRITTEN if self._is_written(tensor) else _LOST)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for each in _flat([*args, *kwargs.values()]):
            if id(each) not in self._reach and self._is_written(each):
                self._reach[id(each)], self._kept[id(each)] = _WRITTEN, each
        strides = args[0].stride() if args and isinstance(args[0], torch.Tensor) else ()
        result = func(*args, **kwargs)
        inputs = [each for each in _flat([*args, *kwargs.values()]) if id(each) in self._reach]
        name = func._schema.name.removeprefix("aten::")
        if inputs and not name.startswith(_CONSTANT):
            outputs = _flat([result])
            targets = _targets(func, args, kwargs)
            outputs += [each for each in targets if all(each is not other for other in outputs)]
            for tensor, reach in zip(outputs, self._after(func, args, kwargs, outputs, strides)):
                if any(each is tensor for each in targets) and self._reach.get(id(tensor)) is not reach:
                    self._forget_views(tensor, reach)
                self._reach[id(tensor)], self._kept[id(tensor)] = reach, tensor
        return result

    def _after(self, func: Any, args: Any, kwargs: Any, outputs: list[torch.Tensor], strides: Any) -> list[Reach | str]:
        """Work out what the outputs of an operation read."""
        name = func._schema.name.removeprefix("aten::")
        unknown = [
            each for each in (self._reach.get(id(tensor)) for tensor in _flat([*args, *kwargs.values()])) if each
        ]
        problem = next((each for each in unknown if isinstance(each, str)), None)
        rule = rule_of(func)
        if problem is None and rule is None:
            problem = f"what {name!r} reads is not known"
        if problem is not None or rule is None:
            return [problem or ""] * len(outputs)
        out = {id(each) for each in _flat([kwargs.get("out")])}  # is written, not read
        call = Call(func, args, kwargs, outputs, lambda each: None if id(each) in out else self._known(each))
        call.given["strides before"] = strides
        try:
            reaches: list[Reach | str] = list(rule(call))
        except NotImplementedError as error:
            return [f"{name!r} {error}"] * len(outputs)
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:  # called in an unforeseen way
            log.debug("rule of %s: %s", name, error)
            return [f"what {name!r} reads is not known"] * len(outputs)
        return [
            each if isinstance(each, str) or _fits(each, tensor) else f"what {name!r} reads is not known"
            for each, tensor in zip(reaches, outputs)
        ]

    def _known(self, tensor: Any) -> Reach | None:
        found = self._reach.get(id(tensor)) if isinstance(tensor, torch.Tensor) else None
        return found if isinstance(found, Reach) else None

    def _forget_views(self, tensor: torch.Tensor, reach: Reach | str) -> None:
        """An operation in place changed what a tensor reads: other views of its memory are no longer known."""
        before = self._reach.get(id(tensor))
        if isinstance(before, Reach) and isinstance(reach, Reach) and _alike(before, reach):
            return
        memory = _memory(tensor)
        if not memory:
            return
        self._memories.add(memory)
        for key, other in self._kept.items():
            if other is not tensor and _memory(other) == memory:
                self._reach[key] = _WRITTEN

    def _is_written(self, tensor: torch.Tensor) -> bool:
        return bool(self._memories) and _memory(tensor) in self._memories


def _fits(reach: Reach, tensor: torch.Tensor) -> bool:
    """Tell whether tables can be those of a tensor: a rule that was given something unforeseen is not believed."""
    return all(
        table.ndim == tensor.ndim + 1 and all(a in (1, b) for a, b in zip(table.shape[1:], tensor.shape))
        for table in reach.tables
    )


def _alike(a: Reach, b: Reach) -> bool:
    return all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a.tables, b.tables))


def _memory(tensor: torch.Tensor) -> int:
    """Tell which memory a tensor views; 0 where it is none of its own kind (empty, sparse)."""
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else 0


def _targets(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    """List the tensors that an operation writes to: in place, or given as ``out``."""
    arguments = func._schema.arguments
    given = {**dict(zip((each.name for each in arguments), args)), **kwargs}
    return _flat([given.get(each.name) for each in arguments if each.alias_info and each.alias_info.is_write])


def _flat(values: Sequence[Any]) -> list[torch.Tensor]:
    """List the tensors of arguments, those in lists included."""
    found: list[torch.Tensor] = []
    for each in values:
        if isinstance(each, torch.Tensor):
            found.append(each)
        elif isinstance(each, list | tuple):
            found += _flat(each)
    return found


def _field(layer: str, reach: Reach | str, shape: tuple[int, ...], image: tuple[int, int]) -> Field:
    """Describe the field of one output."""
    if isinstance(reach, str):
        return Field(layer, image=image, problem=reach)
    tables, places = _places(reach, shape)
    if not any(bool(np.isfinite(each).any()) for each in tables):
        return Field(layer, image=image, problem=_LOST)
    whole = _is_whole(tables, image, reach.jumps if len(shape) < 3 else (1.0, 1.0))
    sizes, centres = zip(*(_size_and_centre(table, jump) for table, jump in zip(tables, reach.jumps)))
    if whole:
        tables, places = [table.reshape(4, -1).min(1) for table in tables], ()
    return Field(
        layer=layer,
        size=(sizes[0], sizes[1]),
        stride=reach.jumps,
        centre=(centres[0], centres[1]),
        n_positions=places,
        image=image,
        whole=whole,
        gated=reach.gated,
        _tables={"y": tables[0], "x": tables[1]},
    )


def _size_and_centre(table: np.ndarray, jump: float) -> tuple[int, float]:
    """Read the size, and where position 0 has its centre, off a table; off an inner position where it is regular."""
    there = np.isfinite(table[2:]).all(0).ravel()  # a class token reads nothing yet
    first, last = np.where(there, table[2].ravel(), 0), np.where(there, -table[3].ravel(), 0)
    length, middle = last - first + 1, (first + last) / 2
    n, inner = len(middle), len(middle) // 2
    steps = np.diff(middle)[n // 4 : n - n // 4]  # borders may differ (reflection)
    regular = inner > 0 and there.all() and (steps > 0).all() and middle[inner] - middle[inner - 1] == jump
    centre = middle[inner] - inner * jump if regular else middle[there][0]
    return int(length[there].max()), float(centre)


def _places(reach: Reach, shape: tuple[int, ...]) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """Take the hull over units; return tables over positions, and how many there are along each axis.

    Of one image, a first axis longer than 1 counts windows that the network folds into its batch.
    """
    if len(shape) < 3:
        return [table.flatten(1).amin(1).numpy() for table in reach.tables], ()
    varies = [any(table.shape[dim + 1] > 1 for table in reach.tables) for dim in range(len(shape))]
    last = varies[1] and not varies[-1]  # units come last
    without = [len(shape) - 1 if last else 1] + [0] * (shape[0] == 1)
    places = tuple(n for dim, n in enumerate(shape) if dim not in without)
    return [table.amin([dim + 1 for dim in without]).numpy() for table in reach.tables], places


def _is_whole(tables: Sequence[np.ndarray], image: tuple[int, int], rests: tuple[float, float]) -> bool:
    """Tell whether every position reads all that the layer reads: of one position alone, all of the image.

    Strides may leave a rest at the border that nothing reads, less than one of them; for a layer without positions
    such a rest (`rests`, pixels) is still the whole image.
    """
    if all(table[0].size == 1 for table in tables):
        ends = zip(tables, image, rests)
        return all(table[2].item() <= 0 and -table[3].item() >= n - rest for table, n, rest in ends)
    flat = [table[:2].reshape(2, -1) for table in tables]
    return all(bool((each == each.min(1, keepdims=True)).all()) for each in flat)
