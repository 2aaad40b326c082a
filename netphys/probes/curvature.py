"""What a logistic regression's objective curves like, cheaply enough to precondition its descent.

Exact is ``mean_i (diag(p_i) - p_i p_i') ⊗ x_i x_i'``, too large to invert. At zero weights all p_i are the shares of
the classes and it is a product of two small matrices; at others its diagonal blocks, one a class, come close. No result
hangs on either: only how many steps it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["Curvature", "product"]

_WORTH = 10  # steps that factoring may cost where it is done for every penalty
_BLOCK_BYTES = 1 << 29  # blocks of more than half a gigabyte are not made
_JITTER = 1e-7  # of the largest diagonal: the rounding of float32, in which blocks are summed
_LEAST = 1e-10  # of the largest eigenvalue, below which there is none


class Curvature:
    """An approximate inverse of the curvature, for features whose last column is 1.

    Parameters
    ----------
    x : tensor (stimulus, feature + 1)
        Centred features and the column of ones.
    shares : tensor (class,)
        The share of each class.
    """

    def __init__(self, x: torch.Tensor, shares: torch.Tensor) -> None:
        import torch

        self._x = x
        self._spread, self._classes = torch.linalg.eigh(torch.diag(shares) - shares[:, None] * shares)
        self._spread = self._spread.clamp_min(1e-12)
        features = x[:, :-1]
        self._values, self._vectors = torch.linalg.eigh(product(features, features) / len(x))
        self._values = self._values.clamp_min(_LEAST * max(float(self._values[-1]), 1e-30))
        self._blocks: torch.Tensor | None = None
        self._inverses: torch.Tensor | None = None
        n_features, n_classes = x.shape[1], len(shares)
        self._affordable = 4 * n_classes * n_features**2 <= _BLOCK_BYTES
        # in steps, each a reading of x twice (measured): what factoring the blocks costs, and what making them costs
        self._factoring = 0.03 * n_classes * n_features**2 / len(x)
        self.patience = max(10, int(n_features / 50 + self._factoring))

    def prepare(self, penalty: float) -> None:
        """Take over another penalty."""
        self._penalty = penalty
        if self._factoring > _WORTH:
            self._inverses = None  # begin again at zero weights: cheaper than factoring for every penalty
        elif self._blocks is not None:
            self._factor()

    def refresh(self, probabilities: torch.Tensor) -> bool:
        """Make the blocks of the classes at the present weights; False where they would take too much memory."""
        import torch

        if not self._affordable:
            return False
        n_features, n_classes = self._x.shape[1], probabilities.shape[1]
        single = self._x.float()
        root = (probabilities * (1 - probabilities) / len(single)).sqrt().float()
        if self._blocks is None:
            self._blocks = torch.empty(n_classes, n_features, n_features)
        for index in range(n_classes):
            weighted = single * root[:, index, None]
            self._blocks[index] = product(weighted, weighted)
        self._factor()
        return True

    def solve(self, gradient: torch.Tensor) -> torch.Tensor:
        """Apply the approximate inverse to (feature + 1, class), without what is common to all classes."""
        import torch

        if self._inverses is not None:
            solved = torch.bmm(self._inverses, _balanced(gradient).T[:, :, None].float())[:, :, 0].T.double()
        else:
            turned = _balanced(gradient) @ self._classes
            curves = self._values[:, None] * self._spread + self._penalty
            weights = self._vectors @ ((self._vectors.T @ turned[:-1]) / curves)
            solved = torch.cat([weights, turned[-1:] / self._spread]) @ self._classes.T
        return _balanced(solved)

    def _factor(self) -> None:
        """Factor the blocks with the penalty on their diagonals."""
        import torch

        assert self._blocks is not None
        added = self._blocks.new_full((self._blocks.shape[1],), self._penalty, dtype=torch.float64)
        added[-1] = 0
        largest, jitter = float(self._blocks.diagonal(dim1=1, dim2=2).max()), _JITTER
        while True:
            blocks = self._blocks.double()
            blocks.diagonal(dim1=1, dim2=2).add_(added + jitter * largest)
            factors, failed = torch.linalg.cholesky_ex(blocks)
            if not failed.any():
                self._inverses = torch.cholesky_inverse(factors).float()
                return
            jitter *= 10


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Multiply (n, p)' with (n, q), n large, by numpy: its library takes half the time of torch's for these shapes."""
    import torch

    return torch.from_numpy(np.matmul(a.numpy().T, b.numpy()))


def _balanced(values: torch.Tensor) -> torch.Tensor:
    """Take out what all classes share: no probability hangs on it, so no curvature speaks of it."""
    return values - values.mean(1, keepdim=True)
