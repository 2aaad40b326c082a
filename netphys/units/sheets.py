"""A sheet of patches: units of a layer, each with the patches that drive it most, drawn as one mosaic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import OptionError, near
from netphys.networks import Network, as_network
from netphys.networks.fields import Field, times
from netphys.units.crops import Crops, cut_patches, read_pictures
from netphys.units.top_table import LayerPatches, TopPatchesResult

if TYPE_CHECKING:
    import torch
    from jaxtyping import UInt8
    from matplotlib.axes import Axes

    from netphys.stimuli import StimulusSet

__all__ = ["RULES", "check_rule", "choose_units", "draw_sheet", "mosaic", "plot_sheet", "sheet_title"]

RULES = {
    "spread": "evenly spread over those that are not dead",
    "selective": "with the steepest fall from the best to the last patch",
    "strongest": "with the largest activations",
}
_LARGEST = 64  # pixels a patch is drawn with: 18 of them and gaps fill a page's width at 200 dots an inch
_SMALLEST = 24  # pixels; smaller patches are enlarged by whole factors, so that their pixels can be seen
_GAP, _BLOCK_GAP = 0.08, 0.45  # of a patch's side: between patches, between units
_HATCH = (214, 236)  # greys of the stripes beyond the image: no picture looks like that
_INK = "#1d1f21"


def choose_units(layer: LayerPatches, n: int = 24, *, rule: str = "spread") -> tuple[int, ...]:
    """Choose units to show; dead ones are never chosen.

    Parameters
    ----------
    layer : LayerPatches
        The layer.
    n : int
        How many at most.
    rule : {"spread", "selective", "strongest"}
        Evenly spread over unit numbers; or the largest :attr:`LayerPatches.selectivity` (best over last activation),
        or the largest activation first.

    Raises
    ------
    OptionError
        If the rule is not known.
    """
    check_rule(rule)
    alive = np.flatnonzero(~layer.dead)
    if rule == "spread":
        chosen = alive[np.unique(np.linspace(0, len(alive) - 1, min(n, len(alive))).round().astype(int))]
    else:
        score = layer.selectivity if rule == "selective" else layer.value[:, 0]
        chosen = alive[np.argsort(-score[alive], kind="stable")[:n]]
    return tuple(chosen.tolist())


def check_rule(rule: str) -> str:
    """Refuse what is not one of :data:`RULES`."""
    if rule not in RULES:
        raise OptionError(f"rule={rule!r} is not known{near(rule, RULES)}")
    return rule


def plot_sheet(
    result: TopPatchesResult,
    layer: str,
    stimuli: StimulusSet,
    network: Network | torch.nn.Module | str,
    *,
    units: Sequence[int] | None = None,
    receptive_field: Field | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the top patches of some units of a layer.

    Parameters
    ----------
    result : TopPatchesResult
        The entries.
    layer : str
        Which layer.
    stimuli, network
        What was shown, to whom.
    units : sequence of int, optional
        Which units. Default: 24, evenly spread over those that are not dead.
    receptive_field : Field, optional
        Default: worked out (:func:`netphys.networks.geometry.receptive_fields`).
    ax : matplotlib Axes, optional
        Where to draw. Default: the only axes of a figure of its own.

    Returns
    -------
    Axes
    """
    from netphys.networks.geometry import receptive_fields

    network, patches = as_network(network), result[layer]
    chosen = choose_units(patches) if units is None else tuple(units)
    pictures = read_pictures(stimuli, network, patches.stimulus[list(chosen)].ravel())
    if receptive_field is None:
        fields = receptive_fields(network, size=pictures.images.shape[-2:])
        receptive_field = fields[layer] if layer in fields else Field(layer, problem="it is no module's output")
    crops = cut_patches(patches, chosen, pictures, receptive_field)
    ax = draw_sheet(mosaic(crops), chosen, patches, ax=ax)
    ax.set_title(sheet_title(patches, crops, receptive_field), fontsize=8, loc="left")
    return ax


def draw_sheet(
    laid: tuple[np.ndarray, list[tuple[int, int]], int],
    units: Sequence[int],
    layer: LayerPatches,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw a mosaic; above each block the unit's number and its best activation.

    Parameters
    ----------
    laid : picture, corners, side
        What :func:`mosaic` returns.
    units : sequence of int
        The units in it.
    layer : LayerPatches
        Where the activations come from.
    ax : matplotlib Axes, optional
        Where to draw. Default: the only axes of a figure of its own, as wide as a page.
    """
    image, corners, side = laid
    if ax is None:
        from matplotlib.figure import Figure

        width = 7.0  # inches: a page
        figure = Figure(figsize=(width, width * image.shape[0] / image.shape[1] + 0.3), layout="constrained")
        ax = figure.add_subplot()
    ax.imshow(image, interpolation="antialiased")
    ax.set_axis_off()
    for unit, (top, left) in zip(units, corners):
        ax.text(left, top - 0.1 * side, _label(layer, unit), fontsize=5.5, color=_INK, ha="left", va="bottom")
    return ax


def mosaic(crops: Crops, columns: int = 6) -> tuple[UInt8[np.ndarray, "y x 3"], list[tuple[int, int]], int]:
    """Lay all patches on one white picture: a block a unit, the best patch first in reading order.

    Beyond the image there are stripes of grey.

    Parameters
    ----------
    crops : Crops
        What is laid out.
    columns : int
        Units in a row.

    Returns
    -------
    picture, corners, side
        uint8; (top, left) of each unit's block; height of a patch in it.
    """
    patches = _striped(*_at_size(crops))
    n, k, height, width, _ = patches.shape
    across = math.ceil(math.sqrt(k))
    down = math.ceil(k / across)
    gap, between = max(1, round(_GAP * height)), max(4, round(_BLOCK_GAP * height))
    block = (down * (height + gap) - gap, across * (width + gap) - gap)
    columns = max(1, min(columns, n))
    rows = max(1, math.ceil(n / columns))
    picture = np.full((rows * (block[0] + between), columns * (block[1] + gap * 4) - gap * 4, 3), 255, dtype=np.uint8)
    corners = []
    for unit in range(n):
        top = (unit // columns) * (block[0] + between) + between
        left = (unit % columns) * (block[1] + gap * 4)
        corners.append((top, left))
        for entry in range(k):
            y, x = top + (entry // across) * (height + gap), left + (entry % across) * (width + gap)
            picture[y : y + height, x : x + width] = patches[unit, entry]
    return picture, corners, height


def sheet_title(layer: LayerPatches, crops: Crops, field: Field) -> str:
    """Say what a sheet shows: the layer, how many units of how many, how many are dead, and the field."""
    shown = f"{layer.name}: {len(crops.units)} of {layer.n_units} units, {layer.n_dead} dead"
    if crops.note:
        return f"{shown}; {crops.note.split(',')[0]}"
    return f"{shown}; fields of {times(field.size)} px, stride {times(field.stride)}"


def _label(layer: LayerPatches, unit: int) -> str:
    return f"{unit}: {layer.value[unit, 0]:.3g}"


def _striped(patches: np.ndarray, inside: np.ndarray) -> UInt8[np.ndarray, "unit k y x 3"]:
    """Mark what lies beyond the image by stripes, two pixels wide."""
    y, x = np.indices(inside.shape[-2:])
    stripes = np.where((y + x) // 2 % 2 == 0, *_HATCH).astype(np.uint8)
    return np.where(inside[..., None], patches, stripes[..., None])


def _at_size(crops: Crops) -> tuple[np.ndarray, np.ndarray]:
    """Bring patches to a size that can be drawn: means of pixels where they are large, whole factors where small."""
    import torch

    patches, inside = np.moveaxis(crops.images, 2, -1), crops.inside
    height, width = inside.shape[2:]
    largest = max(height, width)
    if largest > _LARGEST:
        size = [max(1, round(side * _LARGEST / largest)) for side in (height, width)]
        flat = torch.from_numpy(patches.reshape(-1, height, width, 3)).movedim(-1, 1).float()
        small = torch.nn.functional.interpolate(flat, size, mode="area").round().to(torch.uint8)
        rows, columns = ((np.arange(n) + 0.5) * side / n for n, side in zip(size, (height, width)))
        there = inside[..., rows.astype(int)[:, None], columns.astype(int)]
        return small.movedim(1, -1).numpy().reshape(*inside.shape[:2], *size, 3), there
    factor = max(1, math.ceil(_SMALLEST / largest))
    return (each.repeat(factor, axis=2).repeat(factor, axis=3) for each in (patches, inside))  # type: ignore[return-value]
