"""What is known of each element of a tensor, kept beside it: its unit, its place, the place of its key, its stimulus.

A companion is a tensor of whole numbers of the same shape, expanded: along an axis on which nothing changes its stride
is 0, so that it takes next to no memory and the axes on which something changes are read off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = [
    "Companion", "Places", "carried", "compact", "narrowed", "numbered", "renewed", "slim", "spread", "unit_axes",
    "varying",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Places:
    """Which place each element belongs to.

    `of` holds places in row order in `grid`, or a negative code: :mod:`netphys.recording.places`.
    """

    of: torch.Tensor
    grid: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Companion:
    """What is known of a tensor's elements; None: cannot be told.

    Attributes
    ----------
    units : tensor
        Which unit; equal numbers are the same unit, what the numbers are does not matter.
    places : Places
        Which place of the map, or what token.
    columns : Places
        Of attention weights: the same of the key.
    stimuli : tensor
        Which stimulus of the batch.
    """

    units: Any = None
    places: Places | None = None
    columns: Places | None = None
    stimuli: Any = None

    def __bool__(self) -> bool:
        return any(each is not None for each in (self.units, self.places, self.columns, self.stimuli))


def numbered(shape: Sequence[int], *axes: int) -> Any:
    """Number elements along some axes; all others are alike. A single one is no. -1."""
    import torch

    axes = tuple(axis % len(shape) for axis in axes)
    kept = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    n = prod(kept)
    numbers = torch.arange(n, dtype=torch.int32) if n != 1 else torch.full((1,), -1, dtype=torch.int32)
    return numbers.reshape(kept).expand(*shape)


def renewed(units: Any, shape: Sequence[int], axis: int) -> Any:
    """Exchange the units along one axis for new ones, and tell them apart by the other axes as before (heads)."""
    import torch

    axis %= len(shape)
    others = [each for each in varying(units) if each != axis]
    if not others or any(units.shape[each] != shape[each] for each in others):
        return numbered(shape, axis)
    old = narrowed(units, axis)
    ranks = old.unique(return_inverse=True)[1].to(torch.int32)
    along = torch.arange(shape[axis], dtype=torch.int32)
    along = along.reshape([-1 if each == axis else 1 for each in range(len(shape))])
    return (ranks * shape[axis] + along).expand(*shape)


def slim(companion: Any) -> Any:
    """Give axes on which nothing changes stride 0, and forget all else that the memory held."""
    shape = companion.shape
    if not companion.numel():
        return companion
    small = compact(companion)
    for axis in reversed(range(small.ndim)):
        if small.shape[axis] > 1 and bool((small == small.narrow(axis, 0, 1)).all()):
            small = small.narrow(axis, 0, 1)
    return small.clone().expand(shape)


def compact(companion: Any) -> Any:
    """Return what a companion holds, with size 1 on the axes on which nothing changes."""
    for axis, (size, stride) in enumerate(zip(companion.shape, companion.stride())):
        if size > 1 and stride == 0:
            companion = companion.narrow(axis, 0, 1)
    return companion


def narrowed(companion: Any, axis: int) -> Any:
    """Return a compact companion with the first element of one axis alone."""
    return compact(companion).narrow(axis, 0, 1)


def varying(companion: Any) -> tuple[int, ...]:
    """Return the axes on which something changes."""
    sizes = zip(companion.shape, companion.stride())
    return tuple(axis for axis, (size, stride) in enumerate(sizes) if size > 1 and stride != 0)


def spread(companion: Any, shape: Sequence[int]) -> Any:
    """Give a companion another shape where nothing changes; None where something does."""
    if companion is None or companion.ndim > len(shape):
        return None
    small = compact(companion)
    sizes = zip(reversed(small.shape), reversed(list(shape)))
    return small.expand(*shape) if all(own in (1, size) for own, size in sizes) else None


def carried(companion: Any, letters: str, wanted: str, shape: Sequence[int], *, mixed: bool = False) -> Any:
    """Carry a companion through a product: `letters` name its axes, `wanted` those of the output.

    None where something changes along an axis that is summed over, unless `mixed`: then the smallest stands for all.
    """
    if companion is None or len(letters) != companion.ndim or len(set(letters)) != len(letters):
        return None
    small = compact(companion)
    for axis, letter in enumerate(letters):
        if letter not in wanted and small.shape[axis] > 1:
            if not mixed:
                return None
            small = small.amin(axis, keepdim=True)
    kept = [letter for letter in wanted if letter in letters]
    if not kept:
        return None
    summed = [letter for letter in letters if letter not in wanted]
    small = small.permute([letters.index(letter) for letter in [*kept, *summed]]).flatten(len(kept) - 1)
    for axis, letter in enumerate(wanted):
        if letter not in letters:
            small = small.unsqueeze(axis)
    return spread(slim(small), shape)


def unit_axes(units: Any) -> tuple[int, ...] | None:
    """Return the axes along which each place is another unit, in the order of their numbers; None where units mix."""
    axes = varying(units)
    if not axes:  # a single unit
        single = [axis for axis, size in enumerate(units.shape) if size == 1 and axis > 0]
        return (single[0],) if single else None
    small = compact(units)
    if 0 in axes or len(small.unique()) != small.numel():
        return None
    first = small.flatten()[0]
    steps = {axis: int(small.select(axis, 1).flatten()[0] - first) for axis in axes}
    return tuple(sorted(axes, key=lambda axis: -abs(steps[axis])))
