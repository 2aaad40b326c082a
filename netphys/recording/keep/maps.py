"""What is kept of a map: ``all`` positions, their ``mean`` or ``max``, the ``centre`` one, or a ``pooled`` grid.

``pooled`` averages a map over the cells of a grid of s x s, s the largest power of two with units x s x s <= 512 that
is no larger than the map: 512 numbers, or one a unit where there are more; what a probe needs of a layer that knows
places. Sides that s does not divide have cells that overlap by a position (torch's adaptive average pooling). What is
no map (unit, y, x) of units first has no grid: of tokens, clips, and layers with units last ``pooled`` keeps the mean,
of a dense layer all.

Reductions are computed inside the hook, before anything can overwrite the activation, and need no copy of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netphys.errors import RecordingError
from netphys.recording.layers import Layer

if TYPE_CHECKING:
    import torch

__all__ = ["OfMaps", "grid_side", "reduce_map", "units_first"]

_POOLED = 512  # numbers of a layer that pooling keeps at most, unless the layer has more units


@dataclass(frozen=True)
class OfMaps:
    """Keep all positions, or what one number a unit (or a small grid) says of them: see the module's text."""

    address: str

    def plan(self) -> Mapping[str, Any]:
        """Everything is in the name."""
        return {}

    def dims(self, layer: Layer) -> tuple[str, ...]:
        """Names of the axes that are kept, behind ``stimulus``."""
        return kept_dims(layer, self.address)

    def shape(self, layer: Layer) -> tuple[int, ...]:
        """Shape that is kept of one stimulus."""
        return kept_shape(layer, self.address)

    def reduce(self, activation: torch.Tensor, layer: Layer) -> torch.Tensor:
        """Reduce (stimulus, unit, ...) to (stimulus, *shape)."""
        return reduce_map(activation, self.address, kept_shape(layer, self.address))

    def measured(self, layer: Layer) -> Mapping[str, Any]:
        """Nothing is measured."""
        return {}

    def state_dict(self) -> Mapping[str, Any]:
        """Nothing is measured."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing is measured."""


def kept_dims(layer: Layer, keep: str) -> tuple[str, ...]:
    """Names of the axes that are kept, behind ``stimulus``."""
    return layer.dims if keep == "all" or (keep == "pooled" and _has_grid(layer)) else layer.dims[:1]


def kept_shape(layer: Layer, keep: str) -> tuple[int, ...]:
    """Shape that is kept of one stimulus.

    Raises
    ------
    RecordingError
        If tokens have no centre.
    """
    if keep == "centre" and "token" in layer.dims:
        raise RecordingError(f"layer {layer.name!r} holds tokens, which have no centre; say keep='mean' or 'all'")
    if keep == "centre" and layer.moved:
        raise RecordingError(
            f"layer {layer.name!r} has units last, its places may be windows or heads; say keep='mean' or 'all'"
        )
    if keep == "pooled" and _has_grid(layer):
        side = grid_side(*layer.shape)
        return (layer.shape[0], side, side)
    return layer.shape if keep == "all" else layer.shape[:1]


def grid_side(n_units: int, height: int, width: int) -> int:
    """Return the side of the grid that ``pooled`` keeps of a map.

    Examples
    --------
    >>> grid_side(64, 56, 56), grid_side(512, 7, 7), grid_side(3, 224, 224), grid_side(4096, 6, 6)
    (2, 1, 8, 1)
    """
    side = 1
    while 4 * side * side * n_units <= _POOLED and 2 * side <= min(height, width):
        side *= 2
    return side


def _has_grid(layer: Layer) -> bool:
    """Tell whether places of a layer are places in the image: windows and heads are not."""
    return layer.dims == ("unit", "y", "x") and not layer.moved


def units_first(activation: torch.Tensor, layer: Layer) -> torch.Tensor:
    """View an activation as (stimulus, unit, ...), however the network arranges it.

    Units may be last, lie along several axes (heads and their features), or not have an axis of their own; windows
    may be folded into the batch.
    """
    if activation.ndim == 1:
        return activation[:, None]
    if not layer.moved:
        return activation
    arrangement = layer.arrangement
    if arrangement.n_windows > 1:
        activation = activation.unflatten(0, (-1, arrangement.n_windows))
        axes = tuple(axis + 1 for axis in arrangement.unit_axes)
    else:
        axes = arrangement.unit_axes
    moved = activation.movedim(axes, tuple(range(1, 1 + len(axes))))
    return moved.flatten(1, len(axes)) if len(axes) > 1 else moved


def reduce_map(activation: torch.Tensor, keep: str, shape: tuple[int, ...] = ()) -> torch.Tensor:
    """Reduce (stimulus, unit, ...) to what is kept.

    ``centre`` is position (⌊h/2⌋, ⌊w/2⌋): for even sizes the lower right of the four in the middle. `shape` is what
    is kept of one stimulus (:func:`kept_shape`); only ``pooled`` needs it.
    """
    if keep == "all" or activation.ndim <= 2:
        return activation
    if keep == "pooled" and len(shape) == 3:
        from torch.nn.functional import adaptive_avg_pool2d

        return adaptive_avg_pool2d(activation, shape[1:])
    if keep in ("mean", "pooled"):
        return activation.flatten(2).mean(-1)
    if keep == "max":
        return activation.flatten(2).amax(-1)
    for size in activation.shape[2:]:
        activation = activation.select(2, size // 2)
    return activation
