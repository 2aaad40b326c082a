"""What is kept of a map: ``all`` positions, their ``mean`` or ``max``, or the ``centre`` one.

Reductions are computed inside the hook, before anything can overwrite the activation, and need no copy of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netphys.errors import OptionError, RecordingError, near
from netphys.recording.layers import Layer

if TYPE_CHECKING:
    import torch

__all__ = ["KEEPS", "kept_dims", "kept_shape", "reduce_map", "units_first"]

KEEPS = ("all", "mean", "max", "centre")


def check_keep(keep: str) -> str:
    """Refuse what is not one of :data:`KEEPS`."""
    if keep not in KEEPS:
        raise OptionError(f"keep={keep!r} is not known{near(keep, KEEPS, n=4)}")
    return keep


def kept_dims(layer: Layer, keep: str) -> tuple[str, ...]:
    """Names of the axes that are kept, behind ``stimulus``."""
    return layer.dims if keep == "all" else layer.dims[:1]


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
    return layer.shape if keep == "all" else layer.shape[:1]


def units_first(activation: torch.Tensor, layer: Layer) -> torch.Tensor:
    """View an activation as (stimulus, unit, ...), also where the network has units last or no axis for one."""
    if activation.ndim == 1:
        return activation[:, None]
    return activation.movedim(-1, 1) if layer.moved else activation


def reduce_map(activation: torch.Tensor, keep: str) -> torch.Tensor:
    """Reduce (stimulus, unit, ...) to what is kept.

    ``centre`` is position (⌊h/2⌋, ⌊w/2⌋): for even sizes the lower right of the four in the middle.
    """
    if keep == "all" or activation.ndim <= 2:
        return activation
    if keep == "mean":
        return activation.flatten(2).mean(-1)
    if keep == "max":
        return activation.flatten(2).amax(-1)
    for size in activation.shape[2:]:
        activation = activation.select(2, size // 2)
    return activation
