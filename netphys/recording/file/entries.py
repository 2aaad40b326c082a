"""What a recording knows of a layer: its axes, what its tokens are, where they lie, what was measured on the way.

In the file it is one JSON text, the attribute ``facts`` of the layer's group, which the recording's checksum covers.
What each token is and where it lies are coordinates beside the activations, too, so that xarray shows them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from netphys.recording.keep import Keep
    from netphys.recording.layers import Layer

__all__ = ["AXES", "Entry", "coordinates", "default_dims", "entry_of", "known_dims", "read_facts", "said_facts"]

AXES = ("unit", "window", "time", "query", "key", "token", "y", "x")  # behind the stimulus, in this order
_DEFAULT = {2: ("unit",), 3: ("unit", "token"), 4: ("unit", "y", "x"), 5: ("unit", "time", "y", "x")}
_KIND_LENGTH = 32  # of "distillation" and its kin
_MOST = 1 << 20  # tokens or places that a stranger's text may spell out


@dataclass(frozen=True)
class Entry:
    """A layer of a recording, as patterns look at it.

    Attributes
    ----------
    name, kind : str
        Of the layer, and of the module or function that it is.
    dims : tuple of str
        Names of the axes behind the stimulus.
    shape : tuple of int
        Of one stimulus.
    index : int
        Its place among all layers of the network, where that is known, else in the recording.
    is_leaf : bool
        Whether it has no modules within.
    n_parameters : int
        Of its module.
    tokens : tuple of str
        What each token is (``"cls"``, ``"register"``, ``"distillation"``, ``"patch"``); () where there are none.
    grid : (int, int), optional
        Rows and columns of the places of patches.
    places : tuple of int
        Place, in row order in `grid`, of each token (of each window); -1: none. () where it is their order.
    measured : mapping
        What was found out on the way, such as the error of a projection.
    receptive_field : mapping
        Where it is known.
    """

    name: str
    kind: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    index: int
    is_leaf: bool = True
    n_parameters: int = 0
    tokens: tuple[str, ...] = ()
    grid: tuple[int, int] | None = None
    places: tuple[int, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)
    receptive_field: Mapping[str, Any] = field(default_factory=dict)


def known_dims(dims: Sequence[str]) -> bool:
    """Tell whether these are axes of activations, without the stimulus: units, and others in a fixed order.

    Examples
    --------
    >>> known_dims(("unit", "y", "x")), known_dims(("y", "x")), known_dims(("unit", "x", "y"))
    (True, False, False)
    """
    places = [AXES.index(each) for each in dims if each in AXES]
    ordered = all(one < other for one, other in zip(places[:-1], places[1:]))
    return len(places) == len(dims) > 0 and dims[0] == "unit" and ordered


def default_dims(n_axes: int) -> tuple[str, ...] | None:
    """Name the axes behind the stimulus of an array of so many axes; None where there is no usual meaning."""
    return _DEFAULT.get(n_axes)


def entry_of(
    layer: Layer,
    keep: Keep,
    *,
    measured: Mapping[str, Any] | None = None,
    receptive_field: Mapping[str, Any] | None = None,
) -> Entry:
    """Say what a recording keeps of a layer.

    Parameters
    ----------
    layer : Layer
        As the network has it.
    keep : Keep
        What is kept of it.
    measured : mapping, optional
        As of :meth:`netphys.recording.keep.Keep.measured`; asked of `keep` where it is not given.
    receptive_field : mapping, optional
        Where it is known.
    """
    dims, shape = keep.dims(layer), tuple(keep.shape(layer))
    tokens, grid, places = _kept(layer, dict(zip(dims, shape)))
    return Entry(
        layer.name, layer.kind, dims, shape, layer.index, layer.is_leaf, layer.n_parameters, tokens, grid, places,
        dict(keep.measured(layer) if measured is None else measured), dict(receptive_field or {}),
    )  # fmt: skip


def _kept(layer: Layer, sizes: Mapping[str, int]) -> tuple[tuple[str, ...], tuple[int, int] | None, tuple[int, ...]]:
    """Say of the tokens and places that are kept what they are; of what was reduced nothing is left to say."""
    arranged = layer.arrangement
    tokens, places, n_tokens = arranged.tokens, arranged.places, sizes.get("token", 0)
    patches = [row for row, each in enumerate(tokens) if each == "patch"]
    if n_tokens and n_tokens == len(patches) != len(tokens):  # only the patches were kept
        places = tuple(places[row] for row in patches) if len(places) == len(tokens) else ()
        tokens = ("patch",) * n_tokens
    if len(tokens) != n_tokens:
        tokens = ()
    n_places = math.prod(size for dim, size in sizes.items() if dim in ("window", "token", "y", "x"))
    if len(places) != n_places or (not n_tokens and "window" not in sizes):
        places = ()
    known = bool(tokens or places) or (arranged.grid is not None and (sizes.get("y"), sizes.get("x")) == arranged.grid)
    return tokens, arranged.grid if known else None, places


def coordinates(entry: Entry) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Make the coordinates of a layer: what each token is, and its row and column in the grid of patches.

    Returns
    -------
    dict
        ``token_kind`` (token), ``patch_y`` and ``patch_x`` (token), or (window, y, x) where the network folds windows;
        -1 where a token has no place. Empty where nothing is known.
    """
    sizes = dict(zip(entry.dims, entry.shape))
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    if entry.tokens and sizes.get("token") == len(entry.tokens):
        found["token_kind"] = (("token",), np.array(entry.tokens, dtype=object))
    dims = tuple(each for each in entry.dims if each in ("window", "token", "y", "x"))
    places = _places(entry)
    if entry.grid and len(places) and len(places) == math.prod(sizes[each] for each in dims):
        places = places.reshape([sizes[each] for each in dims])
        y, x = np.divmod(places, max(entry.grid[1], 1))
        for name, values in (("patch_y", y), ("patch_x", x)):
            found[name] = (dims, np.where(places < 0, -1, values).astype(np.int32))
    return found


def _places(entry: Entry) -> np.ndarray:
    """Place of each token: what is said, else patches in their order where they fill the grid."""
    if entry.places or not entry.tokens or not entry.grid:
        return np.array(entry.places, dtype=np.int64)
    is_patch = np.array([each == "patch" for each in entry.tokens])
    if is_patch.sum() != math.prod(entry.grid):
        return np.array([], dtype=np.int64)
    return np.where(is_patch, np.cumsum(is_patch) - 1, -1)


# As text


def said_facts(entry: Entry) -> str:
    """Write what a layer is as JSON."""
    facts = {
        "kind": entry.kind, "index": entry.index, "n_parameters": entry.n_parameters, "is_leaf": entry.is_leaf,
        "dims": list(entry.dims), "tokens": _runs(entry.tokens), "grid": entry.grid, "places": _steps(entry.places),
        "measured": dict(entry.measured), "receptive_field": dict(entry.receptive_field),
    }  # fmt: skip
    return json.dumps({key: each for key, each in facts.items() if each not in (None, [], {})}, sort_keys=True)


def read_facts(text: Any, sizes: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Read :func:`said_facts`; of a layer whose axes have these `sizes` tokens and places must be as many.

    Raises
    ------
    ValueError
        If it is no such text.
    """
    try:
        said = json.loads(text)
        grid, measured, seen = said.get("grid"), said.get("measured", {}), said.get("receptive_field", {})
        if not isinstance(measured, dict) or not isinstance(seen, dict):
            raise ValueError("measured")
        if grid is not None and (len(grid) != 2 or not all(type(each) is int and each > 0 for each in grid)):
            raise ValueError("grid")
        tokens = [(str(kind), int(n)) for kind, n in said.get("tokens", [])]
        places = [(int(first), int(n)) for first, n in said.get("places", [])]
        if any(len(kind) > _KIND_LENGTH for kind, _ in tokens) or not _fair(tokens) or not _fair(places):
            raise ValueError("tokens")
        if sizes is not None and not _fit(tokens, places, sizes):
            raise ValueError("sizes")
        n_parameters, is_leaf = int(said.get("n_parameters", 0)), bool(said.get("is_leaf", False))
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError("no facts of a layer") from error
    return {
        "is_leaf": is_leaf,
        "n_parameters": n_parameters,
        "tokens": tuple(kind for kind, n in tokens for _ in range(n)),
        "grid": None if grid is None else tuple(grid),
        "places": tuple(first + step * (first >= 0) for first, n in places for step in range(n)),
        "measured": measured,
        "receptive_field": seen,
    }


def _fair(runs: Sequence[tuple[Any, int]]) -> bool:
    return all(n >= 0 for _, n in runs) and sum(n for _, n in runs) <= _MOST


def _fit(tokens: Sequence[tuple[Any, int]], places: Sequence[tuple[Any, int]], sizes: Mapping[str, int]) -> bool:
    """Tell whether there are as many tokens, and places, as the axes have; none is right, too."""
    n_places = math.prod(size for dim, size in sizes.items() if dim in ("window", "token", "y", "x"))
    wanted = ((tokens, sizes.get("token", 0)), (places, n_places))
    return all(not runs or sum(n for _, n in runs) == most for runs, most in wanted)


def _runs(tokens: Sequence[str]) -> list[list[Any]]:
    """Say kinds by their runs: 1 CLS, 4 registers, 196 patches."""
    return [[kind, len(list(run))] for kind, run in groupby(tokens)]


def _steps(places: Sequence[int]) -> list[list[int]]:
    """Say places by runs of neighbours (of a window's row), and runs of -1."""
    found: list[list[int]] = []
    for place in places:
        follows = found and place == (found[-1][0] + found[-1][1] if found[-1][0] >= 0 else -1) and place != 0
        if follows:
            found[-1][1] += 1
        else:
            found.append([place, 1])
    return found
