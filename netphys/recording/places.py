"""Which place of the picture a token belongs to, and what it is where it belongs to none.

Places are born with the image and numbered in row order. A convolution, a pooling or a resizing of a map makes a map of
other places: they are numbered anew in its own row order, so that the grid of a patch embedding is that of its
convolution. Permutations, windows, rolls and selections move them; linear layers and norms over features keep them;
attention takes them from its queries. A token that stems from a parameter is what the parameter is called.

Codes below 0: the token is padding (a place outside), cannot be told, or is of one of the :data:`KINDS`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netphys.recording.companions import Places, compact, narrowed, numbered, slim, spread, varying

if TYPE_CHECKING:
    pass

__all__ = [
    "KINDS", "agreed", "among_units", "joined", "kind_of", "mixed_over_last", "named", "of_parameter", "of_picture",
    "of_units", "on_new_map", "padded", "reduced", "stepped", "tokens_of", "unfolded",
]  # fmt: skip

KINDS = ("cls", "register", "distillation", "extra")
_NOWHERE, _UNKNOWN, _FIRST_KIND = -1, -2, -3
_OF_UNITS = _FIRST_KIND - len(KINDS)  # of keys alone
_NO_PLACE = 2**31 - 1
_NAMES = {"cls": r"cls|class", "register": r"(^|_)reg(_|$)|register", "distillation": r"(^|_)dist(_|$)|distil"}


def kind_of(parameter: str) -> str:
    """Say what tokens are that stem from a parameter.

    Examples
    --------
    >>> [kind_of(each) for each in ("cls_token", "class_token", "reg_token", "dist_token", "pos_embed")]
    ['cls', 'cls', 'register', 'distillation', 'extra']
    """
    last = parameter.rpartition(".")[2].lower()
    return next((kind for kind, pattern in _NAMES.items() if re.search(pattern, last)), "extra")


def of_parameter(name: str, shape: Sequence[int]) -> Places:
    """Places of what stems from a parameter: none, but a kind."""
    import torch

    code = _FIRST_KIND - KINDS.index(kind_of(name))
    return Places(torch.full((1,) * len(shape), code, dtype=torch.int32).expand(*shape))


def of_picture(shape: Sequence[int]) -> Places:
    """Places of a map (..., y, x) in row order."""
    import torch

    height, width = shape[-2:]
    rows = torch.arange(height * width, dtype=torch.int32).reshape(*([1] * (len(shape) - 2)), height, width)
    return Places(slim(rows).expand(*shape), (height, width))


def on_new_map(given: Places | None, shape: Sequence[int]) -> Places | None:
    """Places behind a convolution, a pooling or a resizing of (n, unit, y, x): in row order of the new map.

    Known only where the old map was in row order; a convolution inside windows that keeps their size, or inside
    patches, keeps the places.
    """
    if given is None or len(shape) != 4 or given.of.ndim != 4:
        return None
    if _in_order(given, (2, 3)):
        return of_picture(shape)
    if given.of.shape[0] != shape[0] or 1 in varying(given.of) or _patchless(given):
        return None
    inside_one = not {2, 3} & set(varying(given.of))  # each window is one patch
    return _shaped(given, shape) if inside_one or given.of.shape[2:] == tuple(shape[2:]) else None


def of_units(shape: Sequence[int]) -> Places:
    """Mark the keys of a product that weighs units, not tokens, by each other: they are no places."""
    import torch

    return Places(torch.full((1,) * len(shape), _OF_UNITS, dtype=torch.int32).expand(*shape))


def among_units(keys: Places | None) -> bool:
    """Tell whether keys are units: see :func:`of_units`."""
    return keys is not None and not varying(keys.of) and bool((compact(keys.of) == _OF_UNITS).all())


def stepped(given: Places, moved: Any, axes: Sequence[int]) -> Places | None:
    """Places of every second row or column: in row order of the map that they make.

    `moved` are the old places, selected; `axes` the axes that were stepped along.
    """
    if not set(axes) & set(varying(given.of)):
        return Places(moved, given.grid)
    inside = varying(given.of)
    if len(inside) == 2 and moved.ndim == given.of.ndim and _in_order(given, inside, padding=True):
        grid = tuple(moved.shape[axis] for axis in inside)
        return Places(slim(numbered(moved.shape, *inside).clamp(min=0)), (grid[0], grid[1]))
    return _condensed(Places(moved, given.grid))


def mixed_over_last(given: Places | None, shape: Sequence[int]) -> Places | None:
    """Places behind a layer that mixes the last axis.

    Where several places are mixed (merged patches) the first stands for them; where all are, none is known.
    """
    if given is None or given.of.ndim != len(shape):
        return None
    if given.of.ndim - 1 not in varying(given.of):
        return _shaped(given, shape)
    found = spread(slim(_first_place(compact(given.of), (-1,), keepdim=True)), shape)
    return _condensed(Places(found, given.grid)) if found is not None and varying(found) else None


def reduced(given: Places | None, axes: Sequence[int], *, keepdim: bool) -> Places | None:
    """Places of what is left when axes are summed over: the first of those that are taken together.

    Known where that leaves whole rows and columns of a coarser grid (pooled windows); of all places together none is.
    """
    if given is None:
        return None
    if not set(axes) & set(varying(given.of)):
        return Places(slim(given.of.amax(tuple(axes), keepdim=keepdim)), given.grid)
    small = compact(given.of)
    found = slim(_first_place(small, tuple(axes), keepdim=keepdim).expand(_without(given.of.shape, axes, keepdim)))
    return _condensed(Places(found, given.grid), whole=True) if varying(found) else None


def unfolded(given: Places | None, call: Sequence[Any], shape: Sequence[int]) -> Places | None:
    """Places of blocks cut out of a map (n, unit, y, x), as torch's ``unfold`` numbers them: in row order.

    `call` holds kernel size, dilation, padding and stride.
    """
    if given is None or given.of.ndim != 4 or len(shape) != 3 or not _in_order(given, (2, 3)):
        return None
    kernel, dilation, padding, stride = ((each, each) if isinstance(each, int) else tuple(each) for each in call)
    grid = [
        (given.of.shape[2 + axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        for axis in (0, 1)
    ]
    return Places(slim(numbered(shape, 2).clamp(min=0)), (grid[0], grid[1])) if grid[0] * grid[1] == shape[2] else None


def padded(given: Places | None, pad: Sequence[int], shape: Sequence[int]) -> Places | None:
    """Places of a padded tensor; what was added has none. `pad` as in torch: last axis first, before and after."""
    import torch

    if given is None:
        return None
    small = compact(given.of)
    own = [0] * len(pad)
    for index in range(0, len(pad), 2):
        if small.ndim - 1 - index // 2 in varying(given.of):
            own[index : index + 2] = pad[index : index + 2]
    found = spread(slim(torch.nn.functional.pad(small, own, value=_NOWHERE)), shape)
    return None if found is None else Places(found, given.grid)


def joined(parts: Sequence[tuple[Places | None, Sequence[int]]], axis: int) -> Places | None:
    """Places of tensors put beside each other: each its own, or all the same where they agree (maps of units)."""
    import torch

    axis %= len(parts[0][1])
    if all(places is None for places, _ in parts):
        return None
    size = sum(shape[axis] for _, shape in parts)
    whole = [size if each == axis else extent for each, extent in enumerate(parts[0][1])]
    known = [places for places, _ in parts if places is not None and places.of.ndim == len(whole)]
    if all(axis not in varying(each.of) and not _patchless(each) for each in known):
        alike = agreed(known, [narrowed(each.of, axis) for each in known])
        if alike is not None and varying(alike.of):
            return _shaped(alike, whole)
    grids = {each.grid for each in known if not _patchless(each)}
    if len(grids) > 1:
        return None
    unknown = torch.full((1,) * len(whole), _UNKNOWN, dtype=torch.int32)
    own = [(unknown if places is None else places.of).expand(*shape) for places, shape in parts]
    return Places(slim(torch.cat(own, axis)), grids.pop() if grids else None)


def agreed(parents: Sequence[Places], values: Sequence[Any] | None = None) -> Places | None:
    """Find the places of what was computed element by element: parents that know patches win, then named tokens.

    Where some know each patch once and others do not (a coarser map laid out over it), the former win, and of these
    those that know most places (of a product with a sum of each row). None where those that know most disagree. Padding
    takes the token to which it is added.
    """
    values = [each.of for each in parents] if values is None else values
    ranked = [(_rank(each), Places(value, each.grid)) for each, value in zip(parents, values)]
    best = max((rank for rank, _ in ranked), default=0)
    known = [places for rank, places in ranked if rank == best]
    joint = _merged(known, with_grid=best > 1) if known else None
    if joint is None and best > 1:
        once = {index: compact(each.of).numel() for index, each in enumerate(known) if _patches_once(each)}
        telling = [known[index] for index, n in once.items() if n == max(once.values())]
        joint = _merged(telling, with_grid=True) if telling else None
    return joint


def tokens_of(codes: Sequence[int]) -> tuple[str, ...]:
    """Say of each code what the token is; () where one cannot be told, or a patch comes twice."""
    patches = [code for code in codes if code >= 0]
    if _UNKNOWN in codes or len(set(patches)) < len(patches):
        return ()
    names = {_NOWHERE: "padding"} | {_FIRST_KIND - index: kind for index, kind in enumerate(KINDS)}
    return tuple("patch" if code >= 0 else names[code] for code in codes)


def named(places: Places) -> str:
    """Say how much is known: ``"patch"`` where there is one, ``"token"`` with a name, ``"extra"``."""
    return "patch" if _rank(places) > 1 else ("extra", "token")[_rank(places)]


def _merged(known: Sequence[Places], *, with_grid: bool) -> Places | None:
    """Join places that agree, padding aside; without a patch no grid says anything."""
    first, *others = known
    found = first.of
    for each in others:
        if (with_grid and each.grid != first.grid) or each.of.shape != found.shape:
            return None
        one, other = compact(found), compact(each.of)
        if one.shape == other.shape and bool((one == other).all()):
            continue
        joint = one.where(one != _NOWHERE, other)
        if not bool(((joint == other) | (other == _NOWHERE)).all()):
            return None
        found = slim(joint.expand(found.shape))
    return Places(found, first.grid)


def _patches_once(places: Places) -> bool:
    inside = compact(places.of)
    inside = inside[inside >= 0]
    return len(inside.unique()) == len(inside)


def _rank(places: Places) -> int:
    """How much a parent knows: 0 for a parameter without a name for its tokens."""
    small = compact(places.of)
    if places.grid is not None and small.numel() > 1 and bool((small >= 0).any()):
        return 3
    return 2 if bool((small >= 0).any()) else 1 if bool((small > _FIRST_KIND - KINDS.index("extra")).any()) else 0


def _patchless(places: Places) -> bool:
    return not bool((compact(places.of) >= 0).any())


def _shaped(given: Places, shape: Sequence[int]) -> Places | None:
    found = spread(given.of, shape)
    return None if found is None else Places(found, given.grid)


def _in_order(given: Places, axes: Sequence[int], *, padding: bool = False) -> bool:
    """Tell whether rows and columns of the grid are two axes of the tensor, in order; `padding` behind them is fine."""
    if given.grid is None or not set(varying(given.of)) <= set(axes):
        return False
    small = given.of
    for axis in range(small.ndim):
        if axis not in axes:
            small = small.narrow(axis, 0, 1)
    shape = tuple(given.of.shape[axis] for axis in axes)
    found = small.reshape(shape)
    height, width = given.grid
    if padding:
        inside = found[:height, :width]
        if bool((found >= 0).sum() != inside.numel()):
            return False
        found = inside
    return tuple(found.shape) == given.grid and bool((found.flatten() == of_picture(given.grid).of.flatten()).all())


def _first_place(small: Any, axes: tuple[int, ...], *, keepdim: bool) -> Any:
    """Return the smallest place along some axes; a code below 0 where there is none."""
    inside = small.masked_fill(small < 0, _NO_PLACE).amin(axes, keepdim=keepdim)
    return small.amin(axes, keepdim=keepdim).where(inside == _NO_PLACE, inside)


def _without(shape: Sequence[int], axes: Sequence[int], keepdim: bool) -> list[int]:
    return [1 if axis in axes else size for axis, size in enumerate(shape) if keepdim or axis not in axes]


def _condensed(given: Places, *, whole: bool = False) -> Places | None:
    """Number anew what is left of a grid, if it is whole rows and columns of a coarser one; else `given`, or None."""
    import torch

    small = compact(given.of)
    inside = small[small >= 0].unique().long()
    if given.grid is None or not len(inside):
        return given
    rows, columns = (inside // given.grid[1]).unique(), (inside % given.grid[1]).unique()
    if len(rows) * len(columns) != len(inside):
        return None if whole else given
    ranks = torch.arange(len(inside), dtype=torch.int32)
    found = ranks[torch.searchsorted(inside, small.clamp(min=0).long()).clamp(max=len(inside) - 1)]
    return Places(found.where(small >= 0, small).expand(given.of.shape), (len(rows), len(columns)))
