"""Which axes of attention weights, queries, keys and values are heads and windows.

What they are is known from how attention is computed: (..., head, query, key) and (..., head, token, feature). What
stands before the last two axes may hold windows, too (folded into the batch, or in an axis of their own on either side
of the heads), and heads may be folded into the batch. Which of these axes holds the heads is where units change along
it. Nothing else of units is asked: places may count as units where a network mixes them.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from netphys.recording.arranging import Arrangement, Described, by_query_and_key, placed, unusable
from netphys.recording.companions import Companion, varying
from netphys.recording.places import among_units

if TYPE_CHECKING:
    import torch

__all__ = ["attention_described", "heads_and_features"]


def attention_described(
    tensor: torch.Tensor, known: Companion, n_stimuli: int, function: str, *, constant: bool = False
) -> Described:
    """Describe weights, queries, keys or values as :mod:`netphys.networks.attention` hands them on.

    Parameters
    ----------
    tensor : tensor (batch, ..., query, key) or (batch, ..., token, feature)
        Four axes or more, one of them heads.
    known : Companion
        What is known of its elements.
    n_stimuli : int
        How many the network was shown.
    function : str
        ``"attention"``, ``"query"``, ``"key"`` or ``"value"``.
    constant : bool
        Whether it was computed from weights alone.
    """
    problem = unusable(tensor, known, n_stimuli, constant=constant)
    if not problem and function == "attention" and among_units(known.columns):
        problem = "it is attention among channels, not tokens"
    axes: tuple[int, ...] = ()
    if not problem:
        axes, problem = heads_and_features(tensor.shape, known.units, n_stimuli, function)
    if problem:
        return Described(Arrangement(), ("unit",), tuple(tensor.shape[1:]) or (1,), problem)
    n_parts = tensor.shape[0] // n_stimuli
    arrangement = Arrangement(axes, n_parts)
    rest = [axis for axis in range(1, tensor.ndim) if axis not in axes]
    n_units = prod(n_parts if axis == 0 else tensor.shape[axis] for axis in axes)
    dims: tuple[str, ...]
    if function == "attention":
        arrangement, dims = by_query_and_key(arrangement, known, n_stimuli, rest, tensor.shape), ("query", "key")
    else:
        arrangement, dims = placed(arrangement, known.places, n_stimuli, rest, tensor.shape), ("token",)
    in_batch = [n_parts] if n_parts > 1 and 0 not in axes else []
    sizes = [*in_batch, *(tensor.shape[axis] for axis in rest)]
    windows, own = sizes[: -len(dims)], sizes[-len(dims) :]
    if windows:
        return Described(arrangement, ("unit", "window", *dims), (n_units, prod(windows), *own))
    return Described(arrangement, ("unit", *dims), (n_units, *own))


def heads_and_features(
    shape: tuple[int, ...], units: Any, n_stimuli: int, function: str
) -> tuple[tuple[int, ...], str]:
    """Return the axes of the units (heads; of queries, keys and values also features), and why they cannot be told.

    Axis 0 among them: the heads are what the network folds into the batch. Of four axes, with nothing folded, heads are
    axis 1; wherever another axis may hold them it must be known, and it must not be known that axis 1 does not.
    """
    features, folded = len(shape) - 1, shape[0] > n_stimuli
    before = range(1, features - 1)
    changing: tuple[int, ...] = () if units is None else varying(units)
    heads = [axis for axis in [*([0] if folded else []), *before] if axis in changing]
    said = f"which axis of {tuple(shape)} holds its heads cannot be told"
    if len(heads) > 1:
        return (), f"{said}: units change along axes {', '.join(map(str, heads))}"
    if heads == [0] and not _only_heads(units, shape[0] // n_stimuli, n_stimuli):
        return (), f"{said}: its first holds heads and windows"
    if heads == [0] and shape[1] == 1:
        heads = [0, 1]  # no axis of its own
    if not heads and units is not None and set(changing) <= {features}:  # a single head
        heads = [axis for axis in before if shape[axis] == 1][:1]
        if not heads:
            return (), said
    if not heads and (folded or len(before) > 1):
        return (), said
    heads = heads or [1]
    if function == "attention":
        return tuple(heads), ""
    among_features = heads[0] in changing and features - 1 in changing and features not in changing
    return (*heads, features - 1 if among_features else features), ""


def _only_heads(units: Any, n_parts: int, n_stimuli: int) -> bool:
    """Tell whether each part of a stimulus in the batch is another unit, the same in every stimulus."""
    small = units
    for axis in range(1, units.ndim):
        small = small.narrow(axis, 0, 1)
    parts = small.reshape(n_stimuli, n_parts)
    return len(parts[0].unique()) == n_parts and bool((parts == parts[:1]).all())
