"""Sparse random matrices of signs that are the same everywhere, made in blocks and never dense.

R (k x D) has the entries +1, 0, -1 with the probabilities 1/(2s), 1 - 1/s, 1/(2s). The entries of a block of 16384
columns follow from (seed, layer, block) alone: a bit generator whose stream is fixed (PCG64), compared with a table of
whole numbers. No logarithm and no distribution of a library takes part, so the entries are equal bit for bit on every
machine and with every version of numpy.

References
----------
Achlioptas (2003), Database-friendly random projections, J. Comput. Syst. Sci. 66, theorem 1.1 (s = 1 and 3).
Li, Hastie & Church (2006), Very sparse random projections, KDD, section 2 (s = sqrt(D)).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from netphys.recording.keep.flat_blocks import flat_blocks, numbers_first
from netphys.seeds import derive_seed

if TYPE_CHECKING:
    import torch

__all__ = ["BLOCK", "LARGEST_S", "SparseMatrix", "signed_cells"]

BLOCK = 16384  # columns: 2 MB of a batch of 32, about a core's cache; below 2^15. Another number is another matrix
LARGEST_S = 65536.0  # the table below has 2 s entries


class SparseMatrix:
    """R of one layer: applied block by block, its entries held or made again each time.

    Parameters
    ----------
    layer : str
        The layer's name; part of what its entries follow from.
    n_numbers : int
        D, the layer's numbers a stimulus.
    k : int
        Rows: the numbers that are kept.
    s : float
        One entry in s is not zero; 1 to 65536.
    seed : int
        As of the whole recording, or of the projection.
    """

    def __init__(self, layer: str, n_numbers: int, k: int, s: float, seed: int) -> None:
        self.layer, self.n_numbers, self.k, self.s, self.seed = layer, n_numbers, k, float(s), seed
        self.held = True
        self._made: dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]] = {}

    @property
    def n_blocks(self) -> int:
        """How many blocks of columns there are."""
        return -(-self.n_numbers // BLOCK)

    @property
    def n_bytes(self) -> int:
        """About how much memory all entries take, where they are held: 2 bytes each, and 4 k a block."""
        return int(2 * self.n_numbers * self.k / self.s) + 4 * self.k * self.n_blocks

    def entries(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Make the entries of a block of columns.

        Returns
        -------
        columns : int16 array
            Counted from the block's first, row after row; of an entry -1 its complement (``~column``, below 0).
        starts : int32 array (k,)
            Where each row begins.
        """
        width = min(BLOCK, self.n_numbers - block * BLOCK)
        bits = np.random.PCG64(derive_seed(self.seed, "projection", self.layer, block))
        cells, negative = signed_cells(self.k * width, self.s, bits)
        rows, columns = np.divmod(cells, width)
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=self.k))[:-1]])
        return np.where(negative, ~columns, columns).astype(np.int16), starts.astype(np.int32)

    def times(self, activation: torch.Tensor, watch: Callable[[torch.Tensor], None] | None = None) -> torch.Tensor:
        """Return R x for each stimulus, without any scale.

        Sums of a block's entries, then of blocks: float32 loses less that way than in one long sum. What comes out for
        a stimulus does not depend on how many others there are.

        Parameters
        ----------
        activation : tensor (stimulus, unit, ...)
            In any order of memory, on any device.
        watch : callable, optional
            Is shown every block as well, (number, stimulus).

        Returns
        -------
        tensor (stimulus, k)
            float32, or float64 of float64.
        """
        import torch
        from torch.nn.functional import embedding_bag

        dtype = torch.promote_types(activation.dtype, torch.float32)
        sums = torch.zeros((self.k, len(activation)), dtype=dtype, device=activation.device)
        for first, block in flat_blocks(activation, BLOCK):
            turned = numbers_first(block, dtype)
            held, starts = self._on(activation.device, first // BLOCK)
            columns = held.int()
            negative = columns >> 31  # -1 where it is, else 0
            signs = (negative | 1).to(dtype)  # as weights: sums of +1 less sums of -1 would lose a digit
            sums += embedding_bag(columns ^ negative, turned, starts, mode="sum", per_sample_weights=signs)
            if watch is not None:
                watch(turned)
        return sums.t()

    def _on(self, device: torch.device, block: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a block's entries on a device, held or made."""
        import torch

        key = (block, str(device))
        made = self._made.get(key)
        if made is None:
            columns, starts = self.entries(block)
            made = (torch.from_numpy(columns).to(device), torch.from_numpy(starts).to(device))
            if self.held:
                self._made[key] = made
        return made


def signed_cells(n_cells: int, s: float, bits: np.random.PCG64) -> tuple[np.ndarray, np.ndarray]:
    """Draw which of `n_cells` cells are not zero, one in `s`, and which of those are negative.

    A draw of 64 bits tells how far it is to the next cell, by its place in the table of the probabilities that there is
    none among the next m; its last bit is the sign. A draw beyond the table moves on and hits nothing: the distance has
    no memory.

    Returns
    -------
    cells : int64 array
        Ascending.
    negative : bool array
        One each.
    """
    none_yet = _none_among(s)
    a_draw = s * (1 - (1 - 1 / s) ** len(none_yet))  # cells that a draw moves on by, on average
    cells, negative, reached = [], [], 0
    while reached < n_cells:
        left = (n_cells - reached) / a_draw
        drawn = bits.random_raw(ceil(left + 6 * sqrt(left)) + 16)
        empty = len(none_yet) - np.searchsorted(none_yet, drawn, side="right")
        hit = empty < len(none_yet)
        ends = reached + np.cumsum(empty + hit)
        cells.append(ends[hit] - 1)
        negative.append((drawn[hit] & np.uint64(1)).astype(bool))
        reached = int(ends[-1])
    found = np.concatenate(cells)
    n_found = int(np.searchsorted(found, n_cells))
    return found[:n_found], np.concatenate(negative)[:n_found]


@lru_cache(maxsize=64)
def _none_among(s: float) -> np.ndarray:
    """Tabulate 2^64 (1 - 1/s)^m for m = 2 s, ..., 1: whole numbers, exact wherever it is computed."""
    one = 1 << 128
    zero = one - int(one / Fraction(s))
    left, table = one, []
    for _ in range(2 * ceil(s)):
        left = left * zero >> 128
        table.append(left >> 64)
    return np.array(table[::-1], dtype=np.uint64)
