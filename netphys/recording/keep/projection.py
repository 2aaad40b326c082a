"""``projection``: a sparse random projection of a layer to k numbers, which keeps the distances between stimuli.

What is kept is y = sqrt(s/k) R x, the signs of R one in s (:mod:`netphys.recording.keep.sparse_matrix`): squared norms
and distances are right on average, and all those of n stimuli within 1 +- eps when k >= 4 ln n / (eps^2/2 - eps^3/3).
How far they are off is measured on the way (:mod:`netphys.recording.keep.distances`).

====================================  ===================================================================
``projection?k=1000``                 s = sqrt(D), D the layer's numbers (Li, Hastie & Church 2006)
``projection?k=1000&s=3``             s = 3 (Achlioptas 2003): safe for heavy tails, sqrt(D)/3 times the work
``projection?eps=0.1&n=1000``         k = 5920, from the bound for 1000 stimuli
====================================  ===================================================================

Layers of no more than k numbers are kept whole, flattened. A projected number has no place: the axis is called
``unit``, and is none of the network's units.

Entries are held, at 2 bytes each, D k / s of them a layer, up to 256 MB of all layers; those of further layers are made
again for every batch, which is slow, and said.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import isfinite, prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.addresses import Query, integer, number
from netphys.errors import OptionError, RecordingError
from netphys.recording.keep.distances import Distances, Ledger, bound_of, size_for
from netphys.recording.keep.sparse_matrix import LARGEST_S, SparseMatrix
from netphys.recording.layers import Layer

if TYPE_CHECKING:
    import torch

__all__ = ["HELD_BYTES", "Projection"]

log = logging.getLogger(__name__)

_DEFAULT_S: float | str = "sqrt"
HELD_BYTES = 256 << 20  # of the entries of all layers; VGG16's convolutions take 0.15 GB at k = 5920 and s = sqrt(D)


class Projection:
    """Keep k numbers of a layer, a sparse random projection of it.

    Parameters
    ----------
    k : int, optional
        How many. Or say `eps` and `n`.
    eps : float, optional
        Largest relative error of a squared distance, in (0, 1).
    n : int, optional
        Of how many stimuli.
    s : "sqrt" or float
        One entry in s is not zero: the square root of the layer's numbers, or a number from 1 (dense) to 65536.
    seed : int
        Of the entries.

    Raises
    ------
    OptionError
        If it is not said how many numbers, or an option is out of its range.

    Examples
    --------
    >>> Projection(eps=0.1, n=1000).address
    'projection?k=5920&s=sqrt&seed=0'
    """

    def __init__(
        self,
        k: int | None = None,
        *,
        eps: float | None = None,
        n: int | None = None,
        s: float | str = "sqrt",
        seed: int = 0,
    ) -> None:
        self.k, self.s, self.seed = _size(k, eps, n), _density(s), int(seed)
        self._matrices: dict[str, SparseMatrix] = {}
        self._ledger = Ledger()
        self._next: int | None = None

    @classmethod
    def from_query(cls, query: Query) -> Projection:
        """Make what an address says."""
        k, eps, n = (
            query.take("k", integer(1), None),
            query.take("eps", number, None),
            query.take("n", integer(2), None),
        )
        s = query.take("s", _one_in, _DEFAULT_S)
        seed = query.take("seed", integer(0), 0)
        query.finish()  # a misspelt k is not a k that is missing
        return cls(k, eps=eps, n=n, s=s, seed=seed)

    def __repr__(self) -> str:
        return f"Projection({self.address!r})"

    @property
    def address(self) -> str:
        """The text that makes it again."""
        s = self.s if isinstance(self.s, str) else f"{self.s!r}".removesuffix(".0")
        return f"projection?k={self.k}&s={s}&seed={self.seed}"

    def plan(self) -> Mapping[str, Any]:
        """Everything is in the address."""
        return {}

    def dims(self, layer: Layer) -> tuple[str, ...]:
        """Names of the axes that are kept, behind ``stimulus``."""
        return ("unit",)

    def shape(self, layer: Layer) -> tuple[int, ...]:
        """Shape that is kept of one stimulus.

        Raises
        ------
        RecordingError
            If the layer has fewer numbers than one entry in s.
        """
        n_numbers = prod(layer.shape)
        if n_numbers > self.k and self._s(n_numbers) > n_numbers:
            raise RecordingError(
                f"layer {layer.name!r} has {n_numbers} numbers a stimulus; of a projection with s={self.s:g} they meet "
                "hardly an entry: say s=sqrt or s=3"
            )
        return (min(n_numbers, self.k),)

    def at(self, first: int) -> None:
        """Say which row of the recording the next batch begins with."""
        self._next = first

    def reduce(self, activation: torch.Tensor, layer: Layer) -> torch.Tensor:
        """Reduce (stimulus, unit, ...) to (stimulus, k)."""
        activation, n = activation.detach(), len(activation)
        if activation[0].numel() <= self.k:
            return activation.reshape(n, -1)
        matrix = self._matrix(layer.name, activation[0].numel())
        exact = Distances() if n > 1 and self._ledger.wants(layer.name) else None
        kept = matrix.times(activation, exact.add if exact else None) * sqrt(matrix.s / self.k)
        if exact is not None:
            projected = Distances()
            projected.add(kept.t())
            self._ledger.add(layer.name, self._next, exact.squared(), projected.squared(), n)
        return kept

    def measured(self, layer: Layer) -> Mapping[str, Any]:
        """Say how far squared distances were off behind the projection.

        Returns
        -------
        dict
            ``epsilon`` the largest |ratio - 1| of the squared distances of `n_pairs` pairs, ``epsilon_rms`` the root
            of its mean square; ``n_stimuli`` that were compared, each with those of its batch, and the ``bound`` on
            epsilon for so many (None: k is too small for any); ``k``, ``s``, ``n_numbers``. Of a layer that is kept
            whole only the last, and ``whole``.
        """
        n_numbers = prod(layer.shape)
        if n_numbers <= self.k:
            return {"whole": True, "n_numbers": n_numbers}
        found = self._ledger.summary(layer.name)
        options = {"k": self.k, "s": self._s(n_numbers), "n_numbers": n_numbers}
        return {**found, **options, "bound": bound_of(self.k, found["n_stimuli"])}

    def state_dict(self) -> dict[str, np.ndarray]:
        """What :meth:`measured` needs to go on after a stop."""
        return self._ledger.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; an empty one begins anew."""
        self._ledger.load_state_dict(state)

    def merge(self, state: Mapping[str, Any]) -> None:
        """Join what another process measured in its share of the batches."""
        self._ledger.merge(state)

    def _s(self, n_numbers: int) -> float:
        return float(self.s) if not isinstance(self.s, str) else min(sqrt(n_numbers), LARGEST_S)

    def _matrix(self, layer: str, n_numbers: int) -> SparseMatrix:
        """Return the matrix of a layer; its entries are held as long as all that are fit."""
        matrix = self._matrices.get(layer)
        if matrix is None or matrix.n_numbers != n_numbers:
            self._matrices.pop(layer, None)
            matrix = SparseMatrix(layer, n_numbers, self.k, self._s(n_numbers), self.seed)
            held = sum(each.n_bytes for each in self._matrices.values() if each.held)
            matrix.held = held + matrix.n_bytes <= HELD_BYTES
            if not matrix.held:
                log.warning(
                    "the projection of layer %r has %.1f GB of entries, too much to be held beside %.1f GB of other "
                    "layers: they are made again for every batch; a smaller k or s=sqrt is faster",
                    layer, matrix.n_bytes / 1e9, held / 1e9,
                )  # fmt: skip
            self._matrices[layer] = matrix
        return matrix


def _size(k: int | None, eps: float | None, n: int | None) -> int:
    """Return k, said or from the bound."""
    if k is not None and eps is not None:
        raise OptionError("a projection takes k= or eps=, not both")
    if k is not None:
        if isinstance(k, bool) or k != int(k) or k < 1:
            raise OptionError(f"k={k}: a whole number, at least 1")
        if n is not None:
            raise OptionError("a projection takes n= only with eps=: k is said already")
        return int(k)
    if eps is None:
        raise OptionError("a projection needs k=, how many numbers are kept of a layer (or eps= and n=)")
    if n is None:
        raise OptionError(f"a projection with eps={eps:g} needs n=, the number of stimuli, of which k follows")
    return size_for(eps, n)


def _one_in(text: str) -> float | str:
    return text if text == "sqrt" else number(text)


def _density(s: float | str) -> float | str:
    if s == "sqrt":
        return s
    if isinstance(s, str) or not isfinite(s) or not 1 <= s <= LARGEST_S:
        raise OptionError(f"s={s}: 'sqrt' or a number from 1 to {LARGEST_S:.0f}, one entry in s is not zero")
    return float(s)
