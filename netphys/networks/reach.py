"""Which pixels each entry of a tensor reads: tables of intervals, and how operations combine them.

A table holds, for every entry of a tensor, the first and last row (or column) of the image that the entry depends on:
the hull of its inputs, exact for every graph of operations. Two hulls are kept side by side: what is really read,
within the image, and what would be read if the image went on beyond its borders, from which sizes and strides are read
off and boxes are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

__all__ = [
    "Reach",
    "Taps",
    "compact",
    "image_reach",
    "jump_of",
    "moved",
    "reduced",
    "transposed_taps",
    "union",
    "window_taps",
    "windowed",
]

_NOTHING = float("inf")  # the hull of no pixel, in tables whose hulls are minima


@dataclass(frozen=True)
class Reach:
    """What the entries of a tensor read.

    `tables` are of rows and of columns: (4, ...) each, behind the 4 the axes of the tensor, with size 1 along an axis
    on which nothing depends. The four are first pixel, minus the last pixel, and the same two of the endless image;
    last pixels are kept as negative, so that every hull is a minimum. `jumps` are pixels from one place to the next.
    `gated` tells that a gate over the whole image (squeeze-excite) was left out.
    """

    shape: tuple[int, ...]
    tables: tuple[torch.Tensor, torch.Tensor]
    jumps: tuple[float, float]
    gated: bool = False

    @property
    def constant(self) -> bool:
        """Tell whether all entries read the same."""
        return all(table.numel() == 4 for table in self.tables)

    def holds(self, other: Reach) -> bool:
        """Tell whether every entry of this one reads all that `other` reads anywhere."""
        return all(
            bool((mine.flatten(1).amax(1) <= theirs.flatten(1).amin(1)).all())
            for mine, theirs in zip(self.tables, other.tables)
        )


@dataclass(frozen=True)
class Taps:
    """Which entries along one axis are read: (place, tap) numbers, and which of them there are (None: all)."""

    index: torch.Tensor
    there: torch.Tensor | None
    step: float  # places of the input from one place of the output to the next


def image_reach(shape: Sequence[int]) -> Reach:
    """Return what the pixels of an image (n, colour, y, x) read: themselves."""
    tables = []
    for axis in (2, 3):
        pixel = torch.arange(shape[axis], dtype=torch.float64)
        size = [4, 1, 1, 1, 1]
        size[axis + 1] = shape[axis]
        tables.append(torch.stack([pixel, -pixel, pixel, -pixel]).view(size))
    return Reach(tuple(shape), (tables[0], tables[1]), (1.0, 1.0))


def union(reaches: Sequence[Reach], shape: Sequence[int]) -> Reach:
    """Combine what is read by tensors that are broadcast together to `shape`."""
    tables = []
    for axis in (0, 1):
        padded = [_padded(each.tables[axis], len(shape)) for each in reaches]
        table = padded[0]
        for other in padded[1:]:
            table = torch.minimum(table, other)
        tables.append(table)
    return _with(reaches, shape, tables)


def reduced(reach: Reach, dims: Sequence[int], shape: Sequence[int], *, keepdim: bool) -> Reach:
    """Combine what is read along some axes; `keepdim` leaves them with size 1 (or, to be broadcast, any size)."""
    axes = [dim % max(1, len(reach.shape)) + 1 for dim in dims]
    tables = [table.amin(axes, keepdim=keepdim) if axes and reach.shape else table for table in reach.tables]
    return _with([reach], shape, tables)


def moved(reach: Reach, call: Callable[[torch.Tensor], Any]) -> list[Reach]:
    """Do to the tables what an operation does that only moves entries (a view, a permutation, a selection).

    Parameters
    ----------
    reach : Reach
        Of the tensor that is moved.
    call : callable
        The operation: a tensor of that shape → a tensor, or a list of them.
    """
    tables = []
    for table in reach.tables:
        parts = [call(each.expand(reach.shape)) for each in table]
        many = [[part] if isinstance(part, torch.Tensor) else list(part) for part in parts]
        tables.append([compact(torch.stack(each)) for each in zip(*many)])
    shapes = [part.shape for part in many[0]]
    return [_with([reach], shape, pair) for shape, *pair in zip(shapes, *tables)]


def windowed(reach: Reach, taps: dict[int, Taps], shape: Sequence[int]) -> Reach:
    """Combine what is read within windows along some axes (a convolution, a pooling).

    Parameters
    ----------
    reach : Reach
        Of the input.
    taps : dict of int to Taps
        Axis of the tensor → what each place reads.
    shape : sequence of int
        Of the output.
    """
    tables, jumps = list(reach.tables), list(reach.jumps)
    n_dims = len(reach.shape)
    for dim, tap in taps.items():
        for axis in (0, 1):
            own = n_dims >= 4 and dim == n_dims - 2 + axis
            jump = jumps[axis] if own else 0.0
            tables[axis] = _windows(tables[axis], dim + 1, reach.shape[dim], tap, jump)
            if own:
                jumps[axis] *= tap.step
    return replace(reach, shape=tuple(shape), tables=(tables[0], tables[1]), jumps=(jumps[0], jumps[1]))


def window_taps(n_out: int, size: int, stride: int, padding: int, dilation: int) -> Taps:
    """Place t reads t·stride − padding + m·dilation, m = 0 ... size − 1."""
    start = torch.arange(n_out)[:, None] * stride - padding
    return Taps(start + torch.arange(size) * dilation, None, float(stride))


def transposed_taps(n_out: int, size: int, stride: int, padding: int, dilation: int) -> Taps:
    """Place t reads every i with t = i·stride − padding + m·dilation for an m in 0 ... size − 1."""
    offset = torch.arange(n_out)[:, None] + padding - torch.arange(size) * dilation
    return Taps(offset.div(stride, rounding_mode="floor"), offset % stride == 0, 1.0 / stride)


def jump_of(table: torch.Tensor) -> float | None:
    """Return the distance of neighbouring places, of the middles of their intervals; None where it is not one."""
    middle = (table[2] - table[3]).squeeze() / 2
    if middle.ndim != 1 or len(middle) < 2:
        return None
    steps = middle.diff()
    return float(steps[0]) if float(steps[0]) > 0 and bool((steps == steps[0]).all()) else None


def _jump_of_groups(table: torch.Tensor, other: torch.Tensor) -> float | None:
    """Share the way from a group of places that read the same (a window of a Swin) to the next among its places.

    None where there are no groups of one size, or the axis holds places of both axes of the image (tokens).
    """
    along = [dim for dim, n in enumerate(table.shape) if dim and n > 1]
    if len(along) != 1 or (along[0] < other.ndim and other.shape[along[0]] > 1):
        return None
    middle = (table[2] - table[3]).flatten() / 2
    groups, sizes = middle.unique_consecutive(return_counts=True)
    if len(groups) < 2 or int(sizes.max()) == 1 or not bool((sizes == sizes[0]).all()):
        return None
    steps = groups.diff()
    return float(steps[0] / sizes[0]) if float(steps[0]) > 0 and bool((steps == steps[0]).all()) else None


def compact(table: torch.Tensor) -> torch.Tensor:
    """Cut axes along which nothing changes to size 1."""
    for dim in range(1, table.ndim):
        first = table.narrow(dim, 0, 1)
        if table.shape[dim] > 1 and bool((table == first).all()):
            table = first
    return table.contiguous()


def _windows(table: torch.Tensor, dim: int, n: int, taps: Taps, jump: float) -> torch.Tensor:
    """Take the hull within windows along one axis; beyond the ends the endless image goes on by `jump` a place."""
    if table.shape[dim] == 1 and n > 1:
        return table  # the same everywhere
    inside = taps.index.clamp(0, n - 1)
    beyond = (taps.index - inside).to(table.dtype)
    shape = [1] * table.ndim
    shape[dim : dim + 1] = list(inside.shape)
    picked = table.index_select(dim, inside.flatten()).unflatten(dim, inside.shape).clone()
    outside = (beyond != 0).view(shape)
    picked[:2] = picked[:2].masked_fill(outside[0], _NOTHING)
    picked[2] += (beyond * jump).view(shape)[0]
    picked[3] -= (beyond * jump).view(shape)[0]
    if taps.there is not None:
        picked = picked.masked_fill(~taps.there.view(shape), _NOTHING)
    return picked.amin(dim + 1)


def _padded(table: torch.Tensor, n_dims: int) -> torch.Tensor:
    """Give a table leading axes of size 1, as broadcasting does."""
    return table.view(4, *([1] * (n_dims + 1 - table.ndim)), *table.shape[1:])


def _with(reaches: Sequence[Reach], shape: Sequence[int], tables: Sequence[torch.Tensor]) -> Reach:
    """Make a reach of tables, with the jumps that they show, else those of the inputs."""
    varied = [each for each in reaches if not each.constant] or list(reaches)
    jumps = [
        jump_of(table) or _jump_of_groups(table, other) or old
        for table, other, old in zip(tables, reversed(tables), varied[0].jumps)
    ]
    return Reach(tuple(shape), (tables[0], tables[1]), (jumps[0], jumps[1]), any(each.gated for each in reaches))
