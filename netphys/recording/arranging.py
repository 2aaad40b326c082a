"""How what a layer returned becomes (stimulus, unit, ...): which axes are which, and what each token is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from netphys.recording.companions import Companion, Places, compact, unit_axes, varying
from netphys.recording.places import among_units, tokens_of

if TYPE_CHECKING:
    import torch

__all__ = ["Arrangement", "Described", "by_query_and_key", "described", "placed", "unusable"]

_DIMS = {0: (), 1: ("token",), 2: ("y", "x"), 3: ("time", "y", "x")}  # behind the unit


@dataclass(frozen=True)
class Arrangement:
    """How what a layer returned becomes (stimulus, unit, ...).

    Attributes
    ----------
    unit_axes : tuple of int
        The axes that hold units, in the order in which units are numbered; all others keep their order. Axis 0 among
        them: what the network folds into the batch are units (heads of attention).
    n_windows : int
        Parts of a stimulus that the network folds into the batch (windows of a Swin, frames of a film); 1: none.
    tokens : tuple of str
        What each token is (of each window): ``"cls"``, ``"register"``, ``"distillation"``, ``"extra"`` (of a parameter
        of another name), ``"patch"``, ``"padding"``; () where there are none, or that cannot be told. Of attention
        weights: what each query is.
    grid : (int, int), optional
        Rows and columns of the places (patches, positions of a map), where they are known.
    places : tuple of int
        The place, in row order in `grid`, of each token, or of each token of each window; -1 for none. () for a map
        in its order.
    keys : Arrangement, optional
        Tokens, grid and places of the keys of attention weights.
    """

    unit_axes: tuple[int, ...] = (1,)
    n_windows: int = 1
    tokens: tuple[str, ...] = field(default=(), repr=False)  # hundreds
    grid: tuple[int, int] | None = None
    places: tuple[int, ...] = field(default=(), repr=False)
    keys: Arrangement | None = None

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Where each place of the grid is, in row order; () where not each of them is there just once."""
        found = {place: position for position, place in enumerate(self.places) if place >= 0}
        whole = self.grid is not None and len(found) == prod(self.grid) == sum(place >= 0 for place in self.places)
        return tuple(found[place] for place in range(len(found))) if whole else ()

    @cached_property
    def patches(self) -> tuple[int, ...]:
        """Which tokens are patches."""
        return tuple(position for position, token in enumerate(self.tokens) if token == "patch")


@dataclass(frozen=True)
class Described:
    """One raw output: how it becomes (stimulus, unit, ...), its axes and shape then, and why it cannot be recorded."""

    arrangement: Arrangement = Arrangement()
    dims: tuple[str, ...] = ("unit",)
    shape: tuple[int, ...] = (1,)
    problem: str = ""


def described(tensor: torch.Tensor, known: Companion, n_stimuli: int, *, constant: bool = False) -> Described:
    """Describe one raw output that is no part of attention: those see :mod:`netphys.recording.attending`.

    Parameters
    ----------
    tensor : tensor
        What was returned.
    known : Companion
        What is known of its elements.
    n_stimuli : int
        How many the network was shown.
    constant : bool
        Whether it was computed from weights alone.
    """
    problem = unusable(tensor, known, n_stimuli, constant=constant)
    if not problem and known.units is not None and 0 in varying(known.units):
        problem = f"{_not_the_batch(tensor, n_stimuli)}, it holds units, too"
    if problem:
        return Described(Arrangement(), ("unit",), tuple(tensor.shape[1:]) or (1,), problem)
    n_windows = tensor.shape[0] // n_stimuli
    axes, problem = _units_of(tensor, known)
    rest = [axis for axis in range(1, tensor.ndim) if axis not in axes]
    sizes = [*([n_windows] if n_windows > 1 else []), *(tensor.shape[axis] for axis in rest)]
    arrangement = Arrangement(axes or (1,), n_windows)
    n_units = prod(tensor.shape[axis] for axis in axes)
    if problem:
        dims: tuple[str, ...] = ("window", "token") if len(sizes) == 2 else _DIMS.get(len(sizes), ())
        return Described(arrangement, ("unit", *dims), (n_units, *sizes), problem)
    if known.columns is not None and not among_units(known.columns) and len(rest) in (2, 3):
        arrangement = by_query_and_key(arrangement, known, n_stimuli, rest, tensor.shape)
        dims = (*(("window",) if len(sizes) > 2 else ()), "query", "key")
    else:
        arrangement = placed(arrangement, known.places, n_stimuli, rest, tensor.shape)
        dims = _names(arrangement, sizes)
    if len(sizes) > len(dims):  # windows along several axes
        sizes = [prod(sizes[: 1 - len(dims)]), *sizes[1 - len(dims) :]]
    return Described(arrangement, ("unit", *dims), (n_units, *sizes), "")


def _names(arrangement: Arrangement, sizes: Sequence[int]) -> tuple[str, ...]:
    """Name the axes behind the unit.

    Two are rows and columns where they are known to be those of a map (a single place is one), else tokens in windows;
    more than three are windows of maps.
    """
    in_windows = arrangement.n_windows > 1 or bool(arrangement.tokens)
    if len(sizes) == 2 and (arrangement.n_windows > 1 or tuple(sizes) not in (arrangement.grid, (1, 1))):
        return ("window", "token")
    if len(sizes) > 3 or (len(sizes) == 3 and in_windows):
        return ("window", "y", "x")
    return _DIMS[len(sizes)]


def unusable(tensor: torch.Tensor, known: Companion, n_stimuli: int, *, constant: bool = False) -> str:
    """Say why a raw output is no activation of each stimulus; empty where it is. See :func:`described`."""
    if constant:
        return f"it is made of weights alone and does not hang on the stimuli: {tuple(tensor.shape)}"
    return _no_activation(tensor) or _not_by_stimulus(tensor, known, n_stimuli)


def _not_the_batch(tensor: torch.Tensor, n_stimuli: int) -> str:
    return f"its first dimension is not the batch: {tuple(tensor.shape)} for {n_stimuli} stimuli"


def _no_activation(tensor: torch.Tensor) -> str:
    if not tensor.is_floating_point():
        return f"it holds {str(tensor.dtype).removeprefix('torch.')}, not activations"
    return f"it is empty: {tuple(tensor.shape)}" if tensor.ndim and not tensor.numel() else ""


def _not_by_stimulus(tensor: torch.Tensor, known: Companion, n_stimuli: int) -> str:
    """Say why the first axis cannot be cut into stimuli; empty where it can.

    A first dimension that is a whole multiple of the batch holds parts of a stimulus beside each other. Where the
    stimuli could not be followed that is seen to before a recording: their activations must be their own.
    """
    said = _not_the_batch(tensor, n_stimuli)
    if tensor.ndim < 1 or tensor.shape[0] % n_stimuli:
        return said
    if known.stimuli is None or n_stimuli == 1:
        return ""
    axes = varying(known.stimuli)
    if axes and axes != (0,):
        return f"its stimuli lie along axis {axes[-1]} of {tuple(tensor.shape)}, not along its first"
    found, n_parts = compact(known.stimuli).flatten().tolist(), tensor.shape[0] // n_stimuli
    if axes and found != [index for index in range(n_stimuli) for _ in range(n_parts)]:
        return f"{said}, but {n_parts} parts in which stimuli alternate; parts of a stimulus must lie beside each other"
    return ""


def _units_of(tensor: torch.Tensor, known: Companion) -> tuple[tuple[int, ...], str]:
    """Return the axes of the units, and why they cannot be told."""
    if tensor.ndim <= 2:
        return (tuple(range(1, tensor.ndim)), "")
    found = None if known.units is None else unit_axes(known.units)
    if found is not None:
        return found, ""
    said = f"which axis of {tuple(tensor.shape)} holds its units cannot be told; record a module inside or behind it"
    return (1,), said


def placed(
    arrangement: Arrangement, places: Places | None, n_stimuli: int, rest: Sequence[int], shape: Sequence[int]
) -> Arrangement:
    """Add what is known of the tokens along the axes `rest`.

    Nothing where places differ from unit to unit, or between stimuli.
    """
    heads_in_batch = 0 in arrangement.unit_axes
    codes = _codes(places, n_stimuli, rest, shape, alike=heads_in_batch)
    if codes is None or places is None or (not rest and (arrangement.n_windows == 1 or heads_in_batch)):
        return arrangement
    tokens, grid = tokens_of(codes), places.grid
    own = tuple(max(code, -1) for code in codes)
    if grid == tuple(shape[axis] for axis in rest) and own == tuple(range(len(own))):
        return Arrangement(arrangement.unit_axes, arrangement.n_windows, (), grid)
    if not tokens:
        return arrangement
    return Arrangement(arrangement.unit_axes, arrangement.n_windows, tokens, grid if "patch" in tokens else None, own)


def by_query_and_key(
    arrangement: Arrangement, known: Companion, n_stimuli: int, rest: Sequence[int], shape: Sequence[int]
) -> Arrangement:
    """Add what is known of queries and keys, the last two axes of `rest`; those before them are windows."""
    *windows, query, key = rest
    queries = placed(arrangement, known.places, n_stimuli, [*windows, query], shape)
    keys = placed(arrangement, known.columns, n_stimuli, [*windows, key], shape)
    return Arrangement(
        arrangement.unit_axes, arrangement.n_windows, queries.tokens, queries.grid, queries.places,
        keys if keys.tokens else None,
    )  # fmt: skip


def _codes(
    places: Places | None, n_stimuli: int, rest: Sequence[int], shape: Sequence[int], *, alike: bool = False
) -> list[int] | None:
    """Return the place of each position, of each window in turn; None where other axes change it.

    `alike`: what is folded into the batch are no windows; all parts of a stimulus have the same places.
    """
    if places is None or not set(varying(places.of)) <= {0, *rest}:
        return None
    small: Any = places.of
    for axis in range(1, len(shape)):
        if axis not in rest:
            small = small.narrow(axis, 0, 1)
    parts = small.reshape(shape[0] if alike else n_stimuli, -1)
    return parts[0].tolist() if bool((parts == parts[:1]).all()) else None
