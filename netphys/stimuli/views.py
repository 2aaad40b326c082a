"""Views of images, a batch at once and on its device: crop and resize, flip, jitter, grey, blur.

A law (:class:`~netphys.stimuli.view_tables.ViewLaw`) draws a table of parameters on the host; :func:`apply_views`
applies it, a pure function of images and table. The images are worked on in tiles that stay in the processor's cache.
In a tile those whose hue turns at the same place in their order lie side by side, and brightness, contrast and
saturation are one blend with a factor and an aim for each image: so each image has an order of its own, hardly anything
is computed in vain, and nothing is asked of the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from netphys.errors import StimulusError
from netphys.stimuli.colour_jitter import blend_, grey, shift_hue_
from netphys.stimuli.resizing import (
    Taps,
    blur_weights,
    enlarged,
    enlarging_taps,
    on_device,
    resize_weights,
    separable,
)
from netphys.stimuli.view_tables import Blur, Crop, Jitter, ViewLaw, ViewTable

__all__ = ["Blur", "Crop", "Jitter", "ViewLaw", "ViewTable", "apply_views", "make_views"]

_TILE_BYTES = 1_600_000  # of float32 images in a tile: best of 0.2 to 8 MB where 1 MB of cache is next to the core
_DEVICE_ROWS = 1024  # images in a tile on a GPU: few launches, bounded temporaries
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)


def make_views(
    images: Tensor, law: ViewLaw, *, samples: Sequence[int] | np.ndarray | Tensor, seed: int, epoch: int,
    view: int | str,
) -> Tensor:  # fmt: skip
    """Make a view of each image of a batch.

    Parameters
    ----------
    images : Tensor of uint8, or of float in [0, 1], (image, 3, y, x)
        On any device.
    law : ViewLaw
        What is drawn.
    samples : sequence of int, (image,)
        Which sample of the training set each image is, on the host: its view is the same in every batch.
    seed, epoch : int
        Of the training.
    view : int or str
        Which view of the samples: 0 and 1 of a pair.

    Returns
    -------
    Tensor of float32 in [0, 1], (image, 3, y of the view, x of the view)
        On the device of the images.

    Raises
    ------
    StimulusError
        If the images are no colour images, or not as many as the samples.

    Examples
    --------
    >>> law = ViewLaw(size=(32, 32), crop=Crop(), flip=0.5)
    >>> images = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    >>> make_views(images, law, samples=range(4), seed=0, epoch=0, view=0).shape
    torch.Size([4, 3, 32, 32])
    """
    _require_images(images)
    table = law.table(samples, seed=seed, epoch=epoch, view=view, image_size=(images.shape[2], images.shape[3]))
    return apply_views(images, law, table)


@torch.no_grad()
def apply_views(images: Tensor, law: ViewLaw, table: ViewTable) -> Tensor:
    """Apply a table of views to images; no gradient passes.

    Parameters
    ----------
    images : Tensor of uint8, or of float in [0, 1], (image, 3, y, x)
        On any device.
    law : ViewLaw
        The law that drew the table.
    table : ViewTable
        A row an image, on the host.

    Returns
    -------
    Tensor of float32 in [0, 1], (image, 3, y of the view, x of the view)

    Raises
    ------
    StimulusError
        If the images are no colour images, or not as many as the rows of the table.
    """
    _require_images(images)
    if len(images) != len(table.box):
        raise StimulusError(f"{len(images)} images for a table of {len(table.box)} views: a row an image")
    device = images.device
    size = law.size or (images.shape[2], images.shape[3])
    out = torch.empty(len(images), 3, *size, device=device)
    # products in bfloat16 would be no views of torchvision's law; the meta device knows no autocast
    with torch.autocast(device.type, enabled=False) if device.type in ("cpu", "cuda") else nullcontext():
        for tile in _tiles(law, table, images, size):
            out.index_copy_(0, tile.rows, _view(images, law, tile, size).transpose(0, 1))
    return out


class _Tile(NamedTuple):
    """Some rows of a table, on the device of the images; rows whose hue turns at the same place lie side by side."""

    rows: Tensor  # (row,) int64: which images
    box: Tensor  # (4, row) float32: top, left, height, width
    taps: tuple[Taps, Taps] | None  # along y and x, where the boxes are enlarged
    flip: Tensor  # (row,) float32: 1 or 0
    whole: bool  # the whole images as they are, but for the flip
    flipped: Tensor  # which rows of the tile
    grey: Tensor  # which rows of the tile
    blurred: bool  # all rows, or none
    sigma: Tensor  # (row,) float32
    turns: bool  # the law turns hues
    hue: Tensor  # (row,) float32: turns
    blends: Tensor  # (stage, 3, row) float32: factor, share of grey, share of the mean
    hues: tuple[slice, ...]  # rows whose hue turns before each blend, and after the last


def _require_images(images: Tensor) -> None:
    """Refuse what is no batch of colour images."""
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise StimulusError(f"views are made of colour images (image, 3, y, x), not of shape {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise StimulusError(f"views are made of uint8 images, or of floats in [0, 1], not of {images.dtype}")


def _tiles(law: ViewLaw, table: ViewTable, images: Tensor, size: tuple[int, int]) -> Iterator[_Tile]:
    """Order the rows of a table, move it to the device of the images in two copies, and cut it into tiles."""
    slot, blends = _stages(law, table)
    whole = law.crop is None and size == tuple(images.shape[2:])
    shrunk = (table.box.numpy()[:, 2:] > size).any(1)
    kind = 2 * shrunk + table.blurred.numpy()
    order = np.lexsort((slot, kind))
    kind, slot = kind[order], slot[order]
    cuts = _cuts(kind, images.device, size)
    values = on_device(_numbers(table, blends)[:, order], images.device)
    rows, *chosen = _chosen(order, cuts, (table.flip.numpy(), table.grey.numpy()), images.device)
    box, flip = values[:4], values[4]
    taps = None
    if not whole and not shrunk.all():
        taps = enlarging_taps(box[0], box[2], size[0]), enlarging_taps(box[1], box[3], size[1], flip)
    for number, (start, stop) in enumerate(cuts):
        part = slice(start, stop)
        edges = np.searchsorted(slot[part], np.arange(len(blends) + 2)).tolist()
        yield _Tile(
            rows=rows[part],
            box=box[:, part],
            taps=(taps[0].of(part), taps[1].of(part)) if taps and kind[start] < 2 else None,
            flip=flip[part],
            whole=whole,
            flipped=chosen[2 * number],
            grey=chosen[2 * number + 1],
            blurred=bool(kind[start] % 2),
            sigma=values[5, part],
            turns=law.jitter is not None and law.jitter.hue > 0,
            hue=values[6, part],
            blends=values[7:, part].view(len(blends), 3, stop - start),
            hues=tuple(slice(a, b) for a, b in zip(edges[:-1], edges[1:])),
        )


def _chosen(
    order: np.ndarray, cuts: list[tuple[int, int]], flags: tuple[np.ndarray, ...], device: torch.device
) -> tuple[Tensor, ...]:
    """Move to the device, in one copy, the order of rows and, a tile after the other, its rows where each flag is."""
    parts = [order]
    for start, stop in cuts:
        parts += [np.flatnonzero(flag[order[start:stop]]) for flag in flags]
    return on_device(np.concatenate(parts), device).split([len(part) for part in parts])


def _numbers(table: ViewTable, blends: np.ndarray) -> np.ndarray:
    """Gather what the device needs of each row, and of its blends, (number, row) float32."""
    columns = [table.box.numpy().T, table.flip.numpy()[None], table.sigma.numpy()[None]]
    columns += [table.factors.numpy()[None, :, _HUE], blends.reshape(3 * len(blends), len(table.box))]
    return np.concatenate(columns, dtype=np.float32)


def _stages(law: ViewLaw, table: ViewTable) -> tuple[np.ndarray, np.ndarray]:
    """Say before which blend each row turns its hue (-1: not jittered), and what each blend is; (stage, 3, row)."""
    jitter, n = law.jitter, len(table.box)
    if jitter is None:
        return np.full(n, -1), np.zeros((0, 3, n))
    strengths = (jitter.brightness, jitter.contrast, jitter.saturation)
    active = [operation for operation in (_BRIGHTNESS, _CONTRAST, _SATURATION) if strengths[operation] > 0]
    order, jittered = table.order.numpy(), table.jittered.numpy()
    blending = np.isin(order, active)
    operation = order[blending].reshape(n, len(active))  # (row, stage)
    factor = np.take_along_axis(table.factors.numpy(), operation, 1)
    before = (blending & (np.cumsum(order == _HUE, 1) == 0)).sum(1) if jitter.hue > 0 else np.zeros(n, dtype=int)
    blends = np.stack([factor, operation == _SATURATION, operation == _CONTRAST]).transpose(2, 0, 1)
    return np.where(jittered, before, -1), blends


def _cuts(kind: np.ndarray, device: torch.device, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Cut ordered rows into tiles of one kind each; (first row, row after the last)."""
    most = max(1, _TILE_BYTES // (12 * size[0] * size[1])) if device.type == "cpu" else _DEVICE_ROWS
    cuts = []
    edges = [0, *(np.flatnonzero(np.diff(kind)) + 1).tolist(), len(kind)]
    for start, stop in zip(edges[:-1], edges[1:]):
        n_tiles = -(-(stop - start) // most)
        bounds = [start + (stop - start) * tile // max(n_tiles, 1) for tile in range(n_tiles + 1)]  # even ones
        cuts += list(zip(bounds[:-1], bounds[1:]))
    return cuts


def _view(images: Tensor, law: ViewLaw, tile: _Tile, size: tuple[int, int]) -> Tensor:
    """Make the views of a tile; planes (colour, row, y, x) of float32."""
    planes = _placed(images, tile, size)
    _jitter_(planes, tile)
    if len(tile.grey):
        faded = grey(planes.index_select(1, tile.grey))
        planes.index_copy_(1, tile.grey, faded.expand(3, *faded.shape))
    return _blurred(planes, law.blur, tile.sigma) if law.blur is not None and tile.blurred else planes


def _placed(images: Tensor, tile: _Tile, size: tuple[int, int]) -> Tensor:
    """Cut, resize and flip the images of a tile; planes (colour, row, y, x) of float32 in [0, 1]."""
    if tile.taps is not None:
        planes = enlarged(images, tile.rows, *tile.taps)
        return planes.div_(255) if images.dtype == torch.uint8 else planes
    some = images.index_select(0, tile.rows).transpose(0, 1)
    planes = torch.empty(some.shape, device=images.device).copy_(some)
    if images.dtype == torch.uint8:
        planes.div_(255)
    (top, left, height, width), (n_y, n_x) = tile.box, images.shape[2:]
    if tile.whole:
        if len(tile.flipped):
            planes.index_copy_(1, tile.flipped, planes.index_select(1, tile.flipped).flip(-1))
        return planes
    rows, columns = resize_weights(top, height, n_y, size[0]), resize_weights(left, width, n_x, size[1], tile.flip)
    return separable(planes, rows, columns)


def _jitter_(planes: Tensor, tile: _Tile) -> None:
    """Jitter the rows of a tile that are to be, each in its own order; planes (colour, row, y, x), in place."""
    jittered = slice(tile.hues[0].start, planes.shape[1])
    if jittered.start == jittered.stop:
        return
    for stage, rows in enumerate(tile.hues):
        if rows.start < rows.stop and tile.turns:
            shift_hue_(planes[:, rows], tile.hue[rows])
        if stage < len(tile.blends):
            blend_(planes[:, jittered], *tile.blends[stage][:, jittered])


def _blurred(planes: Tensor, blur: Blur, sigma: Tensor) -> Tensor:
    """Blur images, each with its own sigma."""
    truncate = 3.0 if blur.kernel is None else None
    along_y = blur_weights(sigma, planes.shape[2], blur.radius, truncate=truncate)
    square = planes.shape[2] == planes.shape[3]
    along_x = along_y if square else blur_weights(sigma, planes.shape[3], blur.radius, truncate=truncate)
    return separable(planes, along_y, along_x)
