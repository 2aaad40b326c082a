"""``cls`` and ``patches``: one token of a vision transformer, or its patches as a map.

===========  ==========================================================================================================
``cls``      The class token: (unit). Of attention weights: how much the class token looks at each patch, (unit, y, x)
             with a unit a head, as the network computed it: what it gives to itself and to registers is left out, so
             that a head's map sums to less than 1.
``patches``  A map (unit, y, x): tokens of patches in their grid, without class tokens and registers; windows put back
             where they were cut out and shifts undone. Maps of convolutions are as they are.
===========  ==========================================================================================================

Which token is which is followed through the forward (:mod:`netphys.recording.places`), not counted off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netphys.errors import RecordingError
from netphys.recording.keep.maps import as_map, taken
from netphys.recording.layers import Layer

if TYPE_CHECKING:
    import torch

__all__ = ["Cls", "Patches"]


@dataclass(frozen=True)
class _Measureless:
    """A way to keep that is all in its name."""

    def plan(self) -> Mapping[str, Any]:
        """Everything is in the name."""
        return {}

    def measured(self, layer: Layer) -> Mapping[str, Any]:
        """Nothing is measured."""
        return {}

    def state_dict(self) -> Mapping[str, Any]:
        """Nothing is measured."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing is measured."""


@dataclass(frozen=True)
class Cls(_Measureless):
    """Keep the class token; of attention weights its row over the patches."""

    address: str = "cls"

    def dims(self, layer: Layer) -> tuple[str, ...]:
        """Names of the axes that are kept, behind ``stimulus``."""
        return ("unit", "y", "x") if "query" in layer.dims else ("unit",)

    def shape(self, layer: Layer) -> tuple[int, ...]:
        """Shape that is kept of one stimulus.

        Raises
        ------
        RecordingError
            If the layer has no class token, or several, or it cannot be told which one it is; of attention, also if
            its keys are not the patches of a grid.
        """
        _place_of_cls(layer)
        if "query" not in layer.dims:
            return layer.shape[:1]
        keys = layer.arrangement.keys
        if keys is None or not keys.order or keys.grid is None or "window" in layer.dims:
            raise RecordingError(f"layer {layer.name!r}: the patches that it looks at are not known; say keep='all'")
        return (layer.shape[0], *keys.grid)

    def reduce(self, activation: torch.Tensor, layer: Layer) -> torch.Tensor:
        """Reduce (stimulus, unit, ...) to (stimulus, *shape)."""
        row = activation.select(2, _place_of_cls(layer))
        keys = layer.arrangement.keys
        return row if keys is None or keys.grid is None else taken(row, keys.order).unflatten(2, keys.grid)


@dataclass(frozen=True)
class Patches(_Measureless):
    """Keep the patches as a map."""

    address: str = "patches"

    def dims(self, layer: Layer) -> tuple[str, ...]:
        """Names of the axes that are kept, behind ``stimulus``."""
        return ("unit", "y", "x")

    def shape(self, layer: Layer) -> tuple[int, ...]:
        """Shape that is kept of one stimulus.

        Raises
        ------
        RecordingError
            If the layer is no map, or the places of its tokens are not known, or not all of them are there.
        """
        if layer.grid is not None:
            return (layer.shape[0], *layer.grid)
        axes = ", ".join(layer.dims)
        if "query" in layer.dims:
            said = "holds attention weights, which are no map of patches; say keep='cls' or 'all'"
        elif layer.arrangement.grid is not None:
            height, width = layer.arrangement.grid
            said = f"({axes}) does not have each patch of {height} x {width} just once; say keep='mean' or 'all'"
        elif layer.arrangement.tokens:
            said = f"has no patches ({_counted(layer)}); say keep='all'"
        elif layer.dims == ("unit",):
            said = "has no tokens and no map; say keep='all'"
        else:
            said = f"({axes}) is no map of patches that is known; say keep='mean' or 'all'"
        raise RecordingError(f"layer {layer.name!r} {said}")

    def reduce(self, activation: torch.Tensor, layer: Layer) -> torch.Tensor:
        """Reduce (stimulus, unit, ...) to (stimulus, unit, y, x)."""
        return as_map(activation, layer)


def _place_of_cls(layer: Layer) -> int:
    """Return which token is the class token."""
    tokens = layer.arrangement.tokens
    if "token" not in layer.dims and "query" not in layer.dims:
        said = f"({', '.join(layer.dims)}) has no tokens, so that none is the class token"
    elif not tokens:
        said = "has tokens of which it cannot be told which is the class token"
    elif tokens.count("cls") != 1 or "window" in layer.dims:
        said = f"has {tokens.count('cls') or 'no'} class token{'s'[: tokens.count('cls') > 1]} ({_counted(layer)})"
    else:
        return tokens.index("cls")
    raise RecordingError(f"layer {layer.name!r} {said}; say keep='mean' or 'all'")


def _counted(layer: Layer) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in Counter(layer.arrangement.tokens).items())
