"""The patches that units saw: exact receptive-field boxes on the image at the size that the network sees.

A box that leaves the image is filled with grey there, and marked; it is never shifted inwards, so that what lies in the
middle of a patch lies in the middle of the field. Colours are those of the picture, not normalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import MatchError, OptionError
from netphys.networks import Network, Preprocess, as_network
from netphys.networks.fields import Field
from netphys.stimuli.reading_ahead import cuts, read_ahead
from netphys.units.top_table import LayerPatches

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, UInt8

    from netphys.stimuli import StimulusSet

__all__ = ["GREY", "Crops", "Pictures", "cut_patches", "read_pictures"]

GREY = 128  # what fills a box beyond the image, of 0..255
_BATCH = 64  # stimuli read at once


@dataclass(frozen=True, repr=False)
class Pictures:
    """Some stimuli at the size that a network sees, in colour, 0 to 255."""

    images: UInt8[np.ndarray, "picture 3 y x"]
    rows: np.ndarray  # (stimulus of the set,) → picture, -1 where it was not read
    exact: bool  # False: the network prepares its images itself, and boxes on these pictures mean nothing

    def __repr__(self) -> str:
        n, _, y, x = self.images.shape
        return f"Pictures({n} of {len(self.rows)} stimuli, {y} x {x} px)"


@dataclass(frozen=True, repr=False)
class Crops:
    """The patches of some units of a layer."""

    layer: str
    units: tuple[int, ...]
    images: UInt8[np.ndarray, "unit k 3 y x"]
    inside: Bool[np.ndarray, "unit k y x"]  # False: beyond the image, or no entry
    boxes: np.ndarray  # (unit, k, 4): top, bottom, left, right, pixels, inclusive
    note: str  # why the crop is the whole image; else empty

    def __repr__(self) -> str:
        n, k, _, y, x = self.images.shape
        return f"Crops({self.layer}: {n} units, {k} patches of {y} x {x} px{', ' + self.note if self.note else ''})"


def read_pictures(
    stimuli: StimulusSet, network: Network | torch.nn.Module | str, rows: Sequence[int] | np.ndarray
) -> Pictures:
    """Read some stimuli at the size that a network sees (resized and cropped, not normalised).

    Parameters
    ----------
    stimuli : StimulusSet
        What was shown.
    network : Network, torch.nn.Module or address
        To whom.
    rows : sequence of int
        Which stimuli, by their place in the set; each is read once.

    Returns
    -------
    Pictures
    """
    import torch

    network = as_network(network)
    wanted = np.unique(np.asarray(rows, dtype=np.int64))
    wanted = wanted[wanted >= 0]
    batches = (wanted[rows] for rows in cuts(len(wanted), _BATCH))
    parts = [_seen(network, images) for _, images in read_ahead(stimuli.images, batches)]
    known = network.preprocess is None or isinstance(network.preprocess, Preprocess)
    where = np.full(len(stimuli), -1)
    where[wanted] = np.arange(len(wanted))
    images = torch.cat(parts) if parts else torch.zeros((0, 3, 1, 1), dtype=torch.uint8)
    return Pictures(images.numpy(), where, known)


def cut_patches(layer: LayerPatches, units: Sequence[int], pictures: Pictures, field: Field) -> Crops:
    """Cut the receptive-field boxes of some units' top patches.

    Parameters
    ----------
    layer : LayerPatches
        The entries.
    units : sequence of int
        Which units.
    pictures : Pictures
        Holds all stimuli of these entries.
    field : Field
        The layer's receptive field at the pictures' size. Where it is unknown, or the whole image, the crop is the
        whole image, and :attr:`Crops.note` says so.

    Raises
    ------
    OptionError
        If the layer has no such unit.
    MatchError
        If a picture is missing, or the field is that of another image size or layer.
    """
    chosen = np.asarray(units, dtype=np.int64)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= layer.n_units):
        raise OptionError(f"layer {layer.name!r} has units 0 to {layer.n_units - 1}, not {chosen.tolist()}")
    stimulus, position = layer.stimulus[chosen], layer.position[chosen]
    there = stimulus >= 0
    picture = np.where(there, pictures.rows[np.where(there, stimulus, 0)], 0)
    if (picture < 0).any():
        raise MatchError(f"stimulus {int(stimulus[picture < 0][0])} of the top patches of {layer.name!r} was not read")
    note = _why_whole(layer, field, pictures)
    size: tuple[int, int] = tuple(pictures.images.shape[-2:])
    boxes = np.tile(np.array([0, size[0] - 1, 0, size[1] - 1]), (*stimulus.shape, 1))
    if not note:
        boxes = field.boxes(np.where(there[..., None], position, 0).reshape(stimulus.size, position.shape[-1]))
        boxes, size = boxes.reshape(*stimulus.shape, 4), field.size
    images, inside = _cut(pictures.images, picture, boxes, size)
    inside &= there[..., None, None]
    images = np.where(inside[:, :, None], images, np.uint8(GREY))
    return Crops(layer.name, tuple(chosen.tolist()), images, inside, boxes, note)


def _seen(network: Network, images: Any) -> torch.Tensor:
    """Resize and crop as the network does; of one that prepares its images itself, resize to the size it makes."""
    import torch

    if network.preprocess is None or isinstance(network.preprocess, Preprocess):
        seen = (network.preprocess or Preprocess()).seen(images)
    else:
        size = tuple(network.prepare(images).shape[-2:])
        seen = Preprocess(resize=(size[0], size[1]))(images)
    return (seen.clamp(0, 1) * 255).round().to(torch.uint8)


def _why_whole(layer: LayerPatches, field: Field, pictures: Pictures) -> str:
    """Say why the crop is the whole image; nothing where there is a box."""
    if not pictures.exact:
        return "the whole image: the network prepares its images itself"
    if field.problem:
        return f"the whole image: its receptive field is unknown, {field.problem}"
    if field.whole:
        return "the whole image is its receptive field"
    if field.layer != layer.name or field.image != pictures.images.shape[-2:]:
        shown = f"{pictures.images.shape[-2]} x {pictures.images.shape[-1]}"
        raise MatchError(
            f"the field is that of {field.layer!r} in images of {field.image[0]} x {field.image[1]}, "
            f"the patches are of {layer.name!r} in images of {shown}"
        )
    if field.n_positions != layer.shape[1:]:  # axes that a recording calls y and x may be windows or heads
        return "the whole image: its positions are not places in the image"
    return ""


def _cut(
    images: np.ndarray, picture: np.ndarray, boxes: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Cut boxes out of pictures, each in the middle of a canvas of `size`; tell what of it lies in the picture."""
    where, there = [], []
    for first, last, n, side in ((0, 1, images.shape[-2], size[0]), (2, 3, images.shape[-1], size[1])):
        low, high = boxes[..., first, None], boxes[..., last, None]
        pixel = low + np.arange(side) - (side - (high - low + 1)) // 2
        there.append((pixel >= np.maximum(low, 0)) & (pixel <= np.minimum(high, n - 1)))
        where.append(np.clip(pixel, 0, n - 1))
    rows, columns = where
    cut = images[picture[..., None, None], :, rows[..., :, None], columns[..., None, :]]
    return np.moveaxis(cut, -1, 2), there[0][..., :, None] & there[1][..., None, :]
