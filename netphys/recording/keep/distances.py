"""How well a projection keeps distances, measured on what is projected: all pairs of the first batches.

The bound on which a projection's size is chosen holds for any points when entries are dense; of very sparse matrices
and heavy-tailed maps it is asymptotic. So it is measured: in each batch, until 1000 pairs have been seen, the squared
distance of each pair is compared with what it is behind the projection.

References
----------
Dasgupta & Gupta (2003), An elementary proof of a theorem of Johnson and Lindenstrauss, Random Struct. Alg. 22,
theorem 2.1 (the bound).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError

if TYPE_CHECKING:
    import torch

__all__ = ["Distances", "Ledger", "bound_of", "size_for"]

N_PAIRS = 1000  # at least, of each layer
_SAME = 1e-10  # squared distance, as a share of the largest, below which two stimuli are taken for the same


def size_for(eps: float, n: int) -> int:
    """Return the k that keeps all squared distances of `n` points within 1 +- `eps`: 4 ln n / (eps^2/2 - eps^3/3).

    Rounded down, as usual.

    Raises
    ------
    OptionError
        If `eps` is not between 0 and 1, or there are fewer than two points.

    Examples
    --------
    >>> size_for(0.1, 1000)
    5920
    """
    if not 0 < eps < 1:
        raise OptionError(f"eps={eps:g}: between 0 and 1, the largest relative error of a squared distance")
    if n < 2:
        raise OptionError(f"n={n}: at least 2 stimuli, whose distances are to be kept")
    return int(4 * log(n) / (eps**2 / 2 - eps**3 / 3))


def bound_of(k: int, n: int) -> float | None:
    """Return the eps that `k` numbers promise for `n` points; None where they are too few for any.

    Examples
    --------
    >>> round(bound_of(5920, 1000), 3)
    0.1
    """
    wanted = 4 * log(max(n, 2)) / k
    if wanted >= 1 / 6:  # of eps = 1
        return None
    low, high = 0.0, 1.0
    for _ in range(60):
        eps = (low + high) / 2
        low, high = (eps, high) if eps**2 / 2 - eps**3 / 3 < wanted else (low, eps)
    return high


class Distances:
    """Squared distances between the stimuli of one batch, summed up over blocks of their numbers in float64."""

    def __init__(self) -> None:
        self._gram: torch.Tensor | None = None

    def add(self, block: torch.Tensor) -> None:
        """Take a block (number, stimulus)."""
        exact = block.double()
        centred = exact - exact.mean(1, keepdim=True)  # the mean is in no distance, but in every digit
        gram = centred.t() @ centred
        self._gram = gram if self._gram is None else self._gram.add_(gram)

    def squared(self) -> np.ndarray:
        """Return the distances of all pairs, as a vector."""
        assert self._gram is not None
        gram = self._gram.cpu().numpy()
        first, second = np.triu_indices(len(gram), 1)
        own = gram.diagonal()
        return np.maximum(own[first] + own[second] - 2 * gram[first, second], 0)


class Ledger:
    """What the pairs of each layer's first batches said.

    Batches are told apart by their first row, so that processes which share the batches of one recording measure, put
    together, what one alone does.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[float, ...]]] = {}  # first row, max |ratio - 1|, sum of its squares, counts

    def wants(self, layer: str) -> bool:
        """Whether more pairs are needed."""
        return sum(row[4] for row in self._rows.get(layer, ())) < N_PAIRS

    def add(self, layer: str, first: int | None, exact: np.ndarray, projected: np.ndarray, n_stimuli: int) -> None:
        """Take the squared distances of a batch's pairs; stimuli that are the same have no ratio.

        Where nobody says which row a batch begins with, batches are counted.
        """
        told = exact > _SAME * exact.max(initial=0)
        off = projected[told] / exact[told] - 1
        rows = self._rows.setdefault(layer, [])
        row = (
            len(rows) if first is None else first,
            np.abs(off).max(initial=0),
            (off**2).sum(),
            told.sum(),
            len(exact),
            n_stimuli,
        )
        rows.append(tuple(float(each) for each in row))

    def summary(self, layer: str) -> dict[str, Any]:
        """Say how far squared distances were off: largest and root mean square, and of how many pairs."""
        taken: list[tuple[float, ...]] = []
        for row in sorted(self._rows.get(layer, ())):
            if sum(each[4] for each in taken) < N_PAIRS:
                taken.append(row)
        n_pairs = int(sum(row[3] for row in taken))
        return {
            "epsilon": max(row[1] for row in taken) if n_pairs else None,
            "epsilon_rms": sqrt(sum(row[2] for row in taken) / n_pairs) if n_pairs else None,
            "n_pairs": n_pairs,
            "n_stimuli": int(sum(row[5] for row in taken)),
        }

    def state_dict(self) -> dict[str, np.ndarray]:
        """Layer -> (batch, 6)."""
        return {layer: np.array(rows) for layer, rows in self._rows.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a saved state; an empty one begins anew."""
        self._rows = {layer: [tuple(map(float, row)) for row in rows] for layer, rows in state.items()}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Join what another ledger's `state_dict` returned; a batch that both saw counts once."""
        for layer, rows in state.items():
            known = {row[0]: row for row in self._rows.get(layer, ())}
            known |= {float(row[0]): tuple(map(float, row)) for row in rows}
            self._rows[layer] = sorted(known.values())
