"""Views of images, a batch at once and on its device: crop and resize, flip, jitter, grey, blur.

A law (:class:`~netphys.stimuli.view_tables.ViewLaw`) draws a table of parameters on the host; :func:`apply_views`
applies it, a pure function of images and table. The images are worked on in tiles that stay in the processor's cache,
ordered so that those whose hue turns at the same place in the order lie side by side: then every image has its own
order of operations and nothing is computed twice, and nothing is asked of the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from netphys.errors import StimulusError
from netphys.stimuli.colour_jitter import blend_, grey, shift_hue_
from netphys.stimuli.resizing import Taps, blur_weights, enlarged, enlarging_taps, resize_weights, separable
from netphys.stimuli.view_tables import Blur, Crop, Jitter, ViewLaw, ViewTable

__all__ = ["Blur", "Crop", "Jitter", "ViewLaw", "ViewTable", "apply_views", "make_views"]

_TILE_BYTES = 400_000  # of float32 images in a tile: with its temporaries it stays in a megabyte of second-level cache
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
    size = law.size or (images.shape[2], images.shape[3])
    out = torch.empty(len(images), 3, *size, device=images.device)
    for tile in _tiles(law, table, images, size):
        planes = _placed(images, tile, size)
        _jitter_(planes, tile)
        if len(tile.grey):
            faded = grey(planes.index_select(1, tile.grey))
            planes.index_copy_(1, tile.grey, faded.expand(3, *faded.shape))
        if law.blur is not None and tile.blurred:
            planes = _blurred(planes, law.blur, tile.sigma)
        out.index_copy_(0, tile.rows, planes.transpose(0, 1))
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
    """Order the rows of a table, move it to the device of the images, and cut it into tiles."""
    slot, blends = _stages(law, table)
    shrunk = (table.box.numpy()[:, 2:] > size).any(1)
    kind = 2 * shrunk + table.blurred.numpy()
    order = np.lexsort((slot, kind))
    kind, slot = kind[order], slot[order]
    cuts = _cuts(kind, slot, images.device, size)
    values = _on(_numbers(table, blends)[:, order], images.device)
    chosen = [
        [np.flatnonzero(flags.numpy()[order[start:stop]]) for flags in (table.flip, table.grey)]
        for start, stop in cuts
    ]  # fmt: skip
    lengths = [len(order), *(len(each) for of_tile in chosen for each in of_tile)]
    indices, *picked = _on(np.concatenate([order, *(each for pair in chosen for each in pair)]), images.device).split(
        lengths
    )
    taps = None
    whole = law.crop is None and size == tuple(images.shape[2:])
    if not whole and not shrunk.all():
        (top, left, height, width), flip = values[:4], values[4]
        taps = enlarging_taps(top, height, size[0]), enlarging_taps(left, width, size[1], flip)
    for number, (start, stop) in enumerate(cuts):
        part = values[:, start:stop]
        edges = np.searchsorted(slot[start:stop], np.arange(len(blends) + 2)).tolist()
        enlarging = taps is not None and kind[start] < 2
        yield _Tile(
            rows=indices[start:stop],
            box=part[:4],
            taps=(taps[0].of(slice(start, stop)), taps[1].of(slice(start, stop))) if taps and enlarging else None,
            flip=part[4],
            whole=whole,
            flipped=picked[2 * number],
            grey=picked[2 * number + 1],
            blurred=bool(kind[start] % 2),
            sigma=part[5],
            turns=law.jitter is not None and law.jitter.hue > 0,
            hue=part[6],
            blends=part[7:].view(len(blends), 3, stop - start),
            hues=tuple(slice(a, b) for a, b in zip(edges[:-1], edges[1:])),
        )


def _numbers(table: ViewTable, blends: np.ndarray) -> np.ndarray:
    """Gather what the device needs of each row, and of its blends, (number, row) float32."""
    columns = [table.box.numpy().T, table.flip.numpy()[None], table.sigma.numpy()[None]]
    columns += [table.factors.numpy()[None, :, _HUE], blends.reshape(-1, len(table.box))]
    return np.concatenate(columns, dtype=np.float32)


def _on(values: np.ndarray, device: torch.device) -> Tensor:
    """Move a table to a device, without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


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


def _cuts(kind: np.ndarray, slot: np.ndarray, device: torch.device, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Cut ordered rows into tiles of one kind each; on a processor also of one place of the hue."""
    changes = np.diff(kind) != 0
    most = _DEVICE_ROWS
    if device.type == "cpu":
        changes |= np.diff(slot) != 0
        most = max(1, _TILE_BYTES // (12 * size[0] * size[1]))
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(slot)]
    cuts = []
    for start, stop in zip(edges[:-1], edges[1:]):
        n_tiles = -(-(stop - start) // most)  # even ones: 9 rows are 5 and 4, not 8 and 1
        bounds = [start + (stop - start) * tile // max(n_tiles, 1) for tile in range(n_tiles + 1)]
        cuts += list(zip(bounds[:-1], bounds[1:]))
    return cuts


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
