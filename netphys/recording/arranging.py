"""How what a layer returned becomes (stimulus, unit, ...): which axes are which, and what each token is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from netphys.recording.companions import Companion, Places, compact, unit_axes, varying
from netphys.recording.places import tokens_of

if TYPE_CHECKING:
    import torch

__all__ = ["Arrangement", "Described", "described"]

_DIMS = {0: (), 1: ("token",), 2: ("y", "x"), 3: ("time", "y", "x")}  # behind the unit
_ATTENTION = {"attention": (1,), "query": (1, 3), "key": (1, 3), "value": (1, 3)}  # where their units are, by meaning


@dataclass(frozen=True)
class Arrangement:
    """How what a layer returned becomes (stimulus, unit, ...).

    Attributes
    ----------
    unit_axes : tuple of int
        The axes that hold units, in the order in which units are numbered; all others keep their order.
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
    tokens: tuple[str, ...] = ()
    grid: tuple[int, int] | None = None
    places: tuple[int, ...] = ()
    keys: Arrangement | None = None


@dataclass(frozen=True)
class Described:
    """One raw output: how it becomes (stimulus, unit, ...), its axes and shape then, and why it cannot be recorded."""

    arrangement: Arrangement = Arrangement()
    dims: tuple[str, ...] = ("unit",)
    shape: tuple[int, ...] = (1,)
    problem: str = ""


def described(tensor: torch.Tensor, known: Companion, n_stimuli: int, function: str = "") -> Described:
    """Describe one raw output.

    Parameters
    ----------
    tensor : tensor
        What was returned.
    known : Companion
        What is known of its elements.
    n_stimuli : int
        How many the network was shown.
    function : str
        ``"attention"``, ``"query"``, ``"key"``, ``"value"``, whose axes are known by what they mean; else empty.
    """
    problem = _no_activation(tensor) or _not_by_stimulus(tensor, known, n_stimuli)
    if problem:
        return Described(Arrangement(), ("unit",), tuple(tensor.shape[1:]) or (1,), problem)
    n_windows = tensor.shape[0] // n_stimuli
    axes, problem = _units_of(tensor, known, function)
    rest = [axis for axis in range(1, tensor.ndim) if axis not in axes]
    keys = function == "attention" or (known.columns is not None and len(rest) == 2)
    dims = ("query", "key") if keys else _DIMS.get(len(rest), ("",) * len(rest))
    if n_windows > 1:
        dims = ("window", *dims) if dims else ("token",)
    shape = (prod(tensor.shape[axis] for axis in axes), *((n_windows,) if n_windows > 1 else ()))
    shape = (*shape, *(tensor.shape[axis] for axis in rest))
    arrangement = Arrangement(axes or (1,), n_windows)
    if not problem and (len(rest) > 3 or (n_windows > 1 and len(rest) > 2)):
        problem = f"it has {len(rest)} axes beside its units: {tuple(tensor.shape)}"
    if not problem and keys:
        arrangement = _attention(arrangement, known, n_stimuli, rest, tensor.shape)
    elif not problem and rest and dims != _DIMS[3]:
        arrangement = _placed(arrangement, known.places, n_stimuli, rest, tensor.shape, of_map=dims == _DIMS[2])
    return Described(arrangement, ("unit", *dims), shape, problem)


def _no_activation(tensor: torch.Tensor) -> str:
    if not tensor.is_floating_point():
        return f"it holds {str(tensor.dtype).removeprefix('torch.')}, not activations"
    return f"it is empty: {tuple(tensor.shape)}" if tensor.ndim and not tensor.numel() else ""


def _not_by_stimulus(tensor: torch.Tensor, known: Companion, n_stimuli: int) -> str:
    """Say why the first axis cannot be cut into stimuli; empty where it can.

    A first dimension that is a whole multiple of the batch holds parts of a stimulus beside each other. Where the
    stimuli could not be followed that is seen to before a recording: their activations must be their own.
    """
    said = f"its first dimension is not the batch: {tuple(tensor.shape)} for {n_stimuli} stimuli"
    if tensor.ndim < 1 or tensor.shape[0] % n_stimuli:
        return said
    if known.units is not None and 0 in varying(known.units):
        return f"{said}, it holds units, too"
    if known.stimuli is None or n_stimuli == 1:
        return ""
    axes = varying(known.stimuli)
    if axes and axes != (0,):
        return f"its stimuli lie along axis {axes[-1]} of {tuple(tensor.shape)}, not along its first"
    found, n_parts = compact(known.stimuli).flatten().tolist(), tensor.shape[0] // n_stimuli
    if axes and found != [index for index in range(n_stimuli) for _ in range(n_parts)]:
        return f"{said}, but {n_parts} parts in which stimuli alternate; parts of a stimulus must lie beside each other"
    return ""


def _units_of(tensor: torch.Tensor, known: Companion, function: str) -> tuple[tuple[int, ...], str]:
    """Return the axes of the units, and why they cannot be told."""
    if tensor.ndim <= 2:
        return (tuple(range(1, tensor.ndim)), "")
    found = None if known.units is None else unit_axes(known.units)
    if found is None:
        found = _ATTENTION.get(function) if tensor.ndim == 4 else None
    if found is not None:
        return found, ""
    said = f"which axis of {tuple(tensor.shape)} holds its units cannot be told; record a module inside or behind it"
    return (1,), said


def _placed(
    arrangement: Arrangement,
    places: Places | None,
    n_stimuli: int,
    rest: Sequence[int],
    shape: Sequence[int],
    *,
    of_map: bool = False,
) -> Arrangement:
    """Add what is known of the tokens; nothing where places differ from unit to unit, or between stimuli."""
    codes = _codes(places, n_stimuli, rest, shape)
    if codes is None or places is None:
        return arrangement
    tokens, grid = tokens_of(codes), places.grid
    if not tokens:
        return arrangement
    own = tuple(max(code, -1) for code in codes)
    if of_map and grid == tuple(shape[axis] for axis in rest) and own == tuple(range(len(own))):
        return Arrangement(arrangement.unit_axes, arrangement.n_windows, (), grid)
    grid = grid if "patch" in tokens else None
    return Arrangement(arrangement.unit_axes, arrangement.n_windows, tokens, grid, own)


def _attention(
    arrangement: Arrangement, known: Companion, n_stimuli: int, rest: Sequence[int], shape: Sequence[int]
) -> Arrangement:
    """Add what is known of queries and keys."""
    queries = _placed(arrangement, known.places, n_stimuli, rest[:1], shape)
    keys = _placed(Arrangement((), arrangement.n_windows), known.columns, n_stimuli, rest[1:], shape)
    return Arrangement(
        arrangement.unit_axes, arrangement.n_windows, queries.tokens, queries.grid, queries.places,
        keys if keys.tokens else None,
    )  # fmt: skip


def _codes(places: Places | None, n_stimuli: int, rest: Sequence[int], shape: Sequence[int]) -> list[int] | None:
    """Return the place of each position, of each window in turn; None where other axes change it."""
    if places is None or not set(varying(places.of)) <= {0, *rest}:
        return None
    small: Any = places.of
    for axis in range(1, len(shape)):
        if axis not in rest:
            small = small.narrow(axis, 0, 1)
    parts = small.reshape(n_stimuli, -1)
    return parts[0].tolist() if bool((parts == parts[:1]).all()) else None
