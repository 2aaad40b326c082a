"""Gram: inner products of the activations of all stimuli, exact, for layers that are too wide to store.

As a sink it holds the activations of all stimuli, since each meets all others; :func:`netphys.recording.gram` does the
same for sets that are larger than memory, in several passes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import RecordingError
from netphys.recording.sinks.blocks import floating, of_layer, require_numbers
from netphys.recording.sinks.gram_table import GramResult

if TYPE_CHECKING:
    import torch

    from netphys.recording.layers import Layer

__all__ = ["MEMORY", "Gram", "GramResult", "Products"]

log = logging.getLogger(__name__)

MEMORY = 2 << 30  # bytes of activations that are held, unless told
_FEATURES = 4096  # products of so many numbers are summed in float32, their sums in float64


class Gram:
    """Take the inner products of the activations of all stimuli: a sink of :func:`netphys.record`.

    Parameters
    ----------
    memory : int
        Bytes of activations (float32) that may be held, for all layers together. Default: 2 GiB.

    Notes
    -----
    Products are taken in float32 over blocks of 4096 features and summed in float64: within 1e-6 of the products of
    the lengths. Where float32 products are set to a lower precision (TF32, bfloat16), they are taken in float64. All
    activations of a layer are flattened: features are units × positions. The matrices, 8 n² bytes a layer, come
    beside `memory`; both are said in the log before the pass begins.

    Examples
    --------
    >>> import netphys
    >>> sink = Gram()
    >>> _ = netphys.record("netphys:gabor_energy", "world:scenes?n=5", layers="energy", keep="mean", sinks=[sink])
    >>> sink.close().matrix("energy").shape
    (5, 5)
    """

    def __init__(self, *, memory: int = MEMORY) -> None:
        self.memory = int(memory)
        self._layers: tuple[Layer, ...] = ()
        self._ids: tuple[str, ...] = ()
        self._products: dict[str, Products] = {}

    def plan(self) -> Mapping[str, Any]:
        """Nothing hangs on an option: memory changes no number."""
        return {}

    def open(self, layers: Sequence[Layer], stimulus_ids: Sequence[str]) -> None:
        """Begin with nothing.

        Raises
        ------
        RecordingError
            If more would be held than `memory`.
        """
        n, n_features = len(stimulus_ids), sum(int(np.prod(each.shape)) for each in layers)
        needed = 4 * n * n_features
        if needed > self.memory:
            raise RecordingError(
                f"Gram would hold {needed / 2**30:.1f} GiB of activations ({n} stimuli x {n_features} numbers), more "
                f"than memory={self.memory}; netphys.recording.gram(network, stimuli, layers=...) does it in passes"
            )
        say_what_is_held(needed, n, len(layers))
        self._layers, self._ids = tuple(layers), tuple(stimulus_ids)
        self._products = {each.name: Products(n, int(np.prod(each.shape))) for each in layers}
        for each in self._products.values():
            each.begin(0, n)

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation to some stimuli.

        Raises
        ------
        RecordingError
            If a value is not a number, or infinite.
        """
        require_numbers(layer, rows, self._ids, activation, infinite=False)
        self._products[layer].take(rows, activation)

    @property
    def result(self) -> GramResult:
        """What came of it, when the pass is over."""
        return self.close()

    def close(self) -> GramResult:
        """Return the matrices; may be called again."""
        return result_of(self._products, self._ids)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the activations so far, and their products."""
        return {
            f"{kind}/{name}": value for name, each in self._products.items() for kind, value in each.arrays().items()
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from saved activations."""
        for name, products in self._products.items():
            products.load(of_layer(state, name))


class Products:
    """The inner products of one layer: a block of stimuli is held, and meets itself and all that come later.

    Tiles are of one batch against one batch, so that their bits do not hang on how many are held.

    Parameters
    ----------
    n_stimuli, n_features : int
        Of the whole set; numbers of a stimulus.
    """

    def __init__(self, n_stimuli: int, n_features: int) -> None:
        self.n_features = n_features
        self.matrix = np.zeros((n_stimuli, n_stimuli))
        self.sums = np.zeros(n_stimuli)
        self._first = self._n_held = 0
        self._tiles: list[tuple[np.ndarray, torch.Tensor]] = []

    def begin(self, first: int, n_held: int) -> None:
        """Hold `n_held` stimuli from row `first` on; what was held before is let go."""
        self._first, self._n_held, self._tiles = first, n_held, []

    def take(self, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take (stimulus, ...) of rows that come in order, whole batches."""
        features = floating(activation).reshape(len(rows), -1)
        exact = features.dtype.itemsize > 4 or _lowered(features.device)
        self._tiles = [(held_rows, held.to(features.device)) for held_rows, held in self._tiles]
        if rows[0] < self._first + self._n_held:
            self._tiles.append((np.array(rows), features.clone()))
            self.sums[rows] = _sums(features)
        for held_rows, held in self._tiles:
            tile = inner_products(features, held, exact=exact)
            if held_rows[0] == rows[0]:  # which of two halves is rounded which way is left to no kernel
                tile = np.tril(tile) + np.tril(tile, -1).T
            self.matrix[np.ix_(rows, held_rows)] = tile
            self.matrix[np.ix_(held_rows, rows)] = tile.T

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything that a pass in which all are held needs to go on."""
        return {
            "matrix": self.matrix.copy(),
            "sums": self.sums.copy(),
            "sizes": np.array([len(rows) for rows, _ in self._tiles], np.int64),
            **{f"tile{at}": tile.cpu().numpy().copy() for at, (_, tile) in enumerate(self._tiles)},
        }

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`arrays` returned."""
        import torch

        self.matrix, self.sums = np.array(arrays["matrix"]), np.array(arrays["sums"])
        ends = np.cumsum(arrays["sizes"])
        self._tiles = [
            (np.arange(end - size, end), torch.from_numpy(np.array(arrays[f"tile{at}"])))
            for at, (end, size) in enumerate(zip(ends, arrays["sizes"], strict=True))
        ]


def inner_products(one: torch.Tensor, other: torch.Tensor, *, exact: bool = False) -> np.ndarray:
    """Inner products (row, row of the other), float64: float32 within blocks of features unless `exact`."""
    import torch

    total = torch.zeros((len(one), len(other)), dtype=torch.float64, device=one.device)
    for start in range(0, one.shape[1], _FEATURES):
        first, second = (each[:, start : start + _FEATURES] for each in (one, other))
        total += first.double() @ second.double().T if exact else (first @ second.T).double()
    found: np.ndarray = total.cpu().numpy()
    return found


def result_of(products: Mapping[str, Products], stimulus_ids: tuple[str, ...], **more: Any) -> GramResult:
    """Gather what was found."""
    return GramResult(
        {name: each.matrix for name, each in products.items()},
        {name: each.sums for name, each in products.items()},
        {name: each.n_features for name, each in products.items()},
        stimulus_ids,
        **more,
    )


def say_what_is_held(n_bytes: int, n_stimuli: int, n_layers: int, passes: str = "one pass") -> None:
    """Say how much memory it will take, before it is taken."""
    log.info(
        "inner products of %d stimuli in %d layers: %s, %.3g GB of activations held, %.3g GB of matrices",
        n_stimuli, n_layers, passes, n_bytes / 1e9, 8e-9 * n_stimuli * n_stimuli * n_layers,
    )  # fmt: skip


def _lowered(device: torch.device) -> bool:
    """Tell whether products of float32 are computed with less than float32."""
    from netphys.recording.plan import numerics

    return numerics(device)["matmul"] not in ("ieee", "highest", False)


def _sums(features: torch.Tensor) -> np.ndarray:
    """Sum each row: float32 within blocks of features, float64 over them."""
    import torch

    parts = [each.sum(1).double() for each in features.split(_FEATURES, dim=1)]
    found: np.ndarray = torch.stack(parts).sum(0).cpu().numpy()
    return found
