"""Principal components of a recorded layer, worked out in blocks: never the whole layer in memory at twice its size.

With more numbers than stimuli (D > n) they come from the n x n products of the centred stimuli (the dual form: with
Xc Xc' = U L U', the components are Xc' U / sqrt(L)), else from the D x D covariance. All sums are float64, in one
thread, so that they do not depend on how many there are.

References
----------
Jolliffe (2002), Principal component analysis, 2nd ed., section 3.5 (both forms, by the singular value decomposition).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import RecordingError

if TYPE_CHECKING:
    from netphys.recording.file.reading import Recording

__all__ = ["Principal", "principal_components"]

_BYTES = 32 << 20  # of a block in float64
_SMALLEST = 1e-12  # variance, as a share of the first component's, that float32 values still tell from none


@dataclass(frozen=True)
class Principal:
    """The first components of a layer.

    Attributes
    ----------
    mean : float64 array (number,)
        Over the stimuli.
    components : float32 array (number, component)
        Of length one; the largest loading of each is positive.
    variance : float64 array (component,)
        Of the stimuli along each, unbiased (n - 1).
    total : float
        Variance of all numbers together.
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    total: float


def principal_components(recording: Recording, layer: str, k: int) -> Principal:
    """Work out the first `k` components of a layer.

    Raises
    ------
    RecordingError
        If its stimuli vary along fewer than `k` directions, or it holds what is no number.
    """
    from threadpoolctl import threadpool_limits

    n, n_numbers = len(recording), int(np.prod(recording.shape(layer)[1:]))
    with threadpool_limits(1):
        mean = np.concatenate([block.mean(0) for block in _columns(recording, layer)])
        if not np.isfinite(mean).all():
            raise RecordingError(f"layer {layer!r} of the fit {recording.name} holds nan or infinity; record it again")
        dual = n_numbers > n
        products = _products(recording, layer, mean) if dual else _covariance(recording, layer, mean)
        values, vectors = _largest(products, k)
        n_found = int((values > _SMALLEST * max(values[0], np.finfo(float).tiny)).sum())
        if n_found < k:
            raise RecordingError(
                f"layer {layer!r} of the fit {recording.name} varies along {n_found} directions over its {n} stimuli; "
                f"k={k} is too many"
            )
        if dual:
            turned = vectors / np.sqrt(values)
            parts = [block.T @ turned for block in _centred(recording, layer, mean)]
            vectors = np.concatenate([part.astype(np.float32) for part in parts])
    return Principal(mean, _signed(vectors), values / (n - 1), float(np.trace(products)) / (n - 1))


def _columns(recording: Recording, layer: str) -> Iterator[np.ndarray]:
    """Go through a layer in blocks of numbers, all stimuli each, in float64."""
    step = max(1, _BYTES // (8 * len(recording)))
    for block in recording.unit_blocks(layer, max_bytes=_BYTES):
        for first in range(0, block.shape[1], step):
            yield block[:, first : first + step].astype(np.float64)


def _centred(recording: Recording, layer: str, mean: np.ndarray) -> Iterator[np.ndarray]:
    """Go through a layer in blocks of numbers, less their mean."""
    first = 0
    for block in _columns(recording, layer):
        block -= mean[first : first + block.shape[1]]
        first += block.shape[1]
        yield block


def _products(recording: Recording, layer: str, mean: np.ndarray) -> np.ndarray:
    """Sum up the products of all pairs of stimuli."""
    products = np.zeros((len(recording), len(recording)))
    for block in _centred(recording, layer, mean):
        products += block @ block.T
    return products


def _covariance(recording: Recording, layer: str, mean: np.ndarray) -> np.ndarray:
    """Sum up the products of all pairs of numbers, in blocks of stimuli."""
    products = np.zeros((len(mean), len(mean)))
    step = max(1, _BYTES // (8 * len(mean)))
    for first in range(0, len(recording), step):
        part = recording.select(stimuli=recording.stimulus_ids[first : first + step])
        rows = part.array(layer).reshape(len(part), -1) - mean
        products += rows.T @ rows
    return products


def _largest(products: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest `k` eigenvalues, largest first, and their vectors."""
    from scipy.linalg import eigh

    n = len(products)
    values, vectors = eigh(products, subset_by_index=[n - k, n - 1])
    return values[::-1], vectors[:, ::-1]


def _signed(components: np.ndarray) -> np.ndarray:
    """Turn each component so that its largest loading is positive; float32."""
    largest = np.abs(components).argmax(0)
    signs = np.sign(components[largest, np.arange(components.shape[1])])
    return np.ascontiguousarray(components * signs, dtype=np.float32)
