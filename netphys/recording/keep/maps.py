"""What is kept of a map: ``all`` positions, their ``mean`` or ``max``, the ``centre`` one, or a ``pooled`` grid.

Tokens of a network that cuts the image into patches are laid out in the grid of the patches, windows are put back where
they were cut out: ``centre`` and ``pooled`` are of that map. ``mean`` and ``max`` are over its patches: class tokens,
registers and padding are left out where tokens can be told apart; where they cannot, and where there is no patch among
them, over all.

``pooled`` averages a map over the cells of a grid of s x s, s the largest power of two with units x s x s <= 512 that
is no larger than the map: 512 numbers, or one a unit where there are more; what a probe needs of a layer that knows
places. Sides that s does not divide have cells that overlap by a position (torch's adaptive average pooling). Of what
is no map of the image (clips, attention weights, tokens whose places are not known) ``pooled`` keeps the mean, of a
dense layer all.

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

__all__ = ["OfMaps", "as_map", "grid_side", "patches_of", "reduce_map", "taken", "units_first"]

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
        if self.address == "all":
            return activation
        if activation.ndim > 2 and layer.arrangement.places:
            laid_out = self.address in ("centre", "pooled") and layer.grid is not None
            activation = as_map(activation, layer) if laid_out else patches_of(activation, layer)
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
    if keep == "pooled" and layer.grid is not None:
        return ("unit", "y", "x")
    return layer.dims if keep == "all" else layer.dims[:1]


def kept_shape(layer: Layer, keep: str) -> tuple[int, ...]:
    """Shape that is kept of one stimulus.

    Raises
    ------
    RecordingError
        If there is no centre.
    """
    if keep == "pooled" and layer.grid is not None:
        side = grid_side(layer.shape[0], *layer.grid)
        return (layer.shape[0], side, side)
    has_centre = layer.dims == ("unit",) or layer.grid is not None or ("time" in layer.dims and not layer.moved)
    if keep == "centre" and not has_centre:
        axes = ", ".join(layer.dims)
        raise RecordingError(
            f"layer {layer.name!r} ({axes}) has no centre: where in the image its positions are is not known; "
            "say keep='mean' or 'all'"
        )
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


def units_first(activation: torch.Tensor, layer: Layer) -> torch.Tensor:
    """View an activation as (stimulus, unit, ...), however the network arranges it.

    Units may be last, lie along several axes (heads and their features), or not have an axis of their own; windows
    may be folded into the batch, or lie along several axes.
    """
    if layer.moved:
        axes, n_windows = layer.arrangement.unit_axes, layer.arrangement.n_windows
        if activation.ndim == 1:
            activation = activation[:, None]
        if n_windows > 1:
            activation, axes = activation.unflatten(0, (-1, n_windows)), tuple(axis + 1 for axis in axes)
        activation = activation.movedim(axes, tuple(range(1, 1 + len(axes))))
        activation = activation.flatten(1, len(axes)) if len(axes) > 1 else activation
    elif activation.ndim == 1:
        return activation[:, None]
    n_more = activation.ndim - 1 - len(layer.shape)
    return activation.flatten(2, 2 + n_more) if n_more > 0 else activation


def as_map(activation: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Lay an activation (stimulus, unit, ...) out as the map that it is: (stimulus, unit, y, x), see ``Layer.grid``."""
    if not layer.arrangement.places or layer.grid is None:
        return activation
    return taken(activation.flatten(2), layer.arrangement.order).unflatten(2, layer.grid)


def patches_of(activation: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Leave out tokens that are no patches, as (stimulus, unit, patch); as it is where they cannot be told apart."""
    tokens, patches = layer.arrangement.tokens, layer.arrangement.patches
    if not patches or len(patches) == len(tokens) or "query" in layer.dims:
        return activation
    return taken(activation.flatten(2), patches)


def taken(activation: torch.Tensor, positions: tuple[int, ...]) -> torch.Tensor:
    """Take some of the positions of (stimulus, unit, position), without a copy where they follow each other."""
    import torch

    first = positions[0]
    if positions[-1] - first + 1 == len(positions) and positions == tuple(range(first, first + len(positions))):
        return activation.narrow(2, first, len(positions))
    return activation.index_select(2, torch.tensor(positions, device=activation.device))


def reduce_map(activation: torch.Tensor, keep: str, shape: tuple[int, ...] = ()) -> torch.Tensor:
    """Reduce (stimulus, unit, ...) to what is kept.

    ``centre`` is position (⌊h/2⌋, ⌊w/2⌋): for even sizes the lower right of the four in the middle. `shape` is what
    is kept of one stimulus (:func:`kept_shape`); only ``pooled`` needs it. Means of half precision are float32.
    """
    if keep == "all" or activation.ndim <= 2:
        return activation
    if keep in ("mean", "pooled") and activation.itemsize < 4:
        activation = activation.float()
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
