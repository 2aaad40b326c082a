"""Gradients of a chosen scalar beside activations: what would change it, at the moment a layer returned.

The scalar is one number a stimulus; its gradient with respect to a layer's activation has the activation's shape and
is recorded as a layer of its own, ``features.3/gradient``. A stimulus' gradient is its own: before anything is recorded
it is compared beside itself and beside another stimulus, since what lies behind a layer may mix a batch that the layer
does not mix.

The gradient is that of the value at the moment the layer returned it, all its later uses included. A hook of torch on
the tensor stays with that value also when it is written to in place, but for views: a later write to their memory
moves them to another place in the graph. To a view a leaf of negative zeros is added, in place, which changes no bit of
any number, and the gradient is that of the leaf.

======================  ============================================================================
``output[207]``         an entry of what the network returns (a logit)
``output.max``          the largest entry of what it returns, for each stimulus
``layer4.1[17]``        the mean over places of a unit of a layer
``layer4.1[17,3,2]``    a unit at a place (y, x), or at a token
======================  ============================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from netphys.errors import OptionError, RecordingError
from netphys.networks.outputs import tensors_in
from netphys.networks.state import callable_digest
from netphys.recording.layers import Layer
from netphys.recording.patterns import match_layers

if TYPE_CHECKING:
    import torch

__all__ = ["SUFFIX", "Scalar", "as_scalar", "frozen", "gradient_layer", "gradients_begin", "watched"]

SUFFIX = "/gradient"
_ENTRY = re.compile(r"^(?P<layer>.+)\[(?P<at>\d+(?:,\d+)*)\]$")


@dataclass(frozen=True)
class Scalar:
    """One number a stimulus, of which gradients are taken.

    `text` says it, for digests and people; `layer` is where it is read (None: what the network returns); `pick` makes
    of that (stimulus, ...) the numbers (stimulus,).
    """

    text: str
    layer: Layer | None
    pick: Callable[[Any], torch.Tensor]

    def of(self, value: Any, n_stimuli: int) -> torch.Tensor:
        """Return the numbers, one a stimulus.

        Raises
        ------
        RecordingError
            If they are not that, or no gradient can be taken of them.
        """
        import torch

        try:
            picked = self.pick(value)
        except IndexError as error:
            raise RecordingError(f"there is no {self.text}: {error}") from None
        if not isinstance(picked, torch.Tensor) or tuple(picked.shape) != (n_stimuli,):
            shape = tuple(picked.shape) if isinstance(picked, torch.Tensor) else type(picked).__name__
            raise RecordingError(f"the scalar {self.text} is {shape}, not one number for each of {n_stimuli} stimuli")
        if not picked.requires_grad:
            raise RecordingError(f"no gradient can be taken of {self.text}: nothing in it is differentiable")
        return picked


def as_scalar(scalar: str | Callable[[Any], Any], table: Sequence[Layer], *, network: str) -> Scalar:
    """Make what a text names (see the module's table), or take a function of what the network returns.

    Raises
    ------
    OptionError
        If the text is not understood.
    LayerNotFound
        If there is no such layer.
    """
    if callable(scalar):
        name = getattr(scalar, "__qualname__", type(scalar).__name__)
        try:
            return Scalar(f"{name} {callable_digest(scalar)}", None, scalar)
        except (OSError, TypeError):
            raise OptionError(f"the source of {name} cannot be found; define it in a file, or say output[5]") from None
    if scalar == "output.max":
        return Scalar(scalar, None, lambda output: _first(output).flatten(1).amax(1))
    match = _ENTRY.match(scalar)
    if match is None:
        raise OptionError(f"gradient of {scalar!r} is not understood; say output[5], output.max or LAYER[unit,y,x]")
    at = tuple(int(each) for each in match["at"].split(","))
    if match["layer"] == "output" and all(layer.name != "output" for layer in table):
        return Scalar(scalar, None, lambda output: _entry(_first(output), at))
    (name,) = match_layers(match["layer"], table, network=network)[:1]
    layer = next(each for each in table if each.name == name)
    if len(at) not in (1, len(layer.shape)):
        raise OptionError(f"gradient of {scalar!r}: layer {name!r} is {layer.shape}; say [unit] or one number an axis")
    if any(number >= size for number, size in zip(at, layer.shape)):
        raise OptionError(f"gradient of {scalar!r}: layer {name!r} is {layer.shape}, counted from 0")
    return Scalar(scalar, layer, lambda activation: _entry(activation, at))


def watched(tensor: torch.Tensor) -> torch.Tensor | None:
    """Add a leaf to a view, in its memory, so that gradients with respect to the view as it is now reach the leaf.

    Returns None for what is no view, and for views that torch lets nobody write to (of ``split``, expanded ones): a
    hook on the tensor itself does, as long as nobody writes to their memory.
    """
    import torch
    from torch.autograd import _unsafe_preserve_version_counter

    if not tensor._is_view():
        return None
    leaf = torch.full_like(tensor, -0.0, memory_format=torch.contiguous_format).requires_grad_()
    try:
        with _unsafe_preserve_version_counter(tensor):  # no value changes, so that what was saved of it stays right
            tensor.add_(leaf)
    except RuntimeError:
        return None
    return leaf


def gradient_layer(layer: Layer) -> Layer:
    """Describe the gradient with respect to a layer's activation: a layer of the same shape."""
    return replace(layer, name=layer.name + SUFFIX, n_parameters=0, suffix=layer.suffix + SUFFIX)


@contextmanager
def frozen(module: torch.nn.Module) -> Iterator[None]:
    """Take parameters out of the graph for a while: only gradients with respect to activations are wanted."""
    flags = [(each, each.requires_grad) for each in module.parameters()]
    for each, _ in flags:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each, flag in flags:
            each.requires_grad_(flag)


def gradients_begin(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Begin the graph at what the network is shown.

    The inputs are no leaves, so that a network which begins with an in-place operation can still write to them.
    """
    return tuple(each.detach().requires_grad_().clone() if each.is_floating_point() else each for each in inputs)


def _first(output: Any) -> torch.Tensor:
    """Return the first tensor of what a network returned."""
    for _, tensor in tensors_in(output):
        return tensor
    raise RecordingError(f"the network returned {type(output).__name__}, of which no gradient can be taken")


def _entry(activation: torch.Tensor, at: tuple[int, ...]) -> torch.Tensor:
    """Read a unit, at a place or on average."""
    if len(at) > 1:
        for number in at:
            activation = activation.select(1, number)
        return activation
    unit = activation[:, at[0]]
    return unit.flatten(1).mean(1) if unit.ndim > 1 else unit
