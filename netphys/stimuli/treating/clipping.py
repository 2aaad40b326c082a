"""Keeps account of what a treatment clips, and says it in the log."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

__all__ = ["Clipping"]

_LOG = logging.getLogger(__name__)

_ENOUGH = 64  # stimuli read before their share is compared with the one that was said first


class Clipping:
    """The share of values outside [0, 1] of each stimulus, field by field; nan until it is read.

    Parameters
    ----------
    treatment : object
        What is named in the log.
    n : int
        How many stimuli there are.
    """

    def __init__(self, treatment: Any, n: int) -> None:
        self._treatment, self._n = treatment, n
        self._shares: dict[str, np.ndarray] = {}
        self._first: float | None = None  # what the warning said
        self._done = False

    def add(self, field: str, indices: np.ndarray, shares: list[float]) -> None:
        """Remember what was found in stimuli as they were read; the first that are clipped are said in a warning."""
        if field not in self._shares:
            self._shares[field] = np.full(self._n, np.nan, dtype=np.float32)
        self._shares[field][indices] = shares
        if any(shares) and not self._done:
            self._say()

    def of(self, indices: np.ndarray, field: str | None = None) -> np.ndarray:
        """Return the shares of some stimuli, float64: of a field, or the mean over those that were read of it."""
        kept = [each[indices] for name, each in self._shares.items() if field in (None, name)]
        found = np.array(kept, dtype=float).reshape(len(kept), len(indices))
        read = (~np.isnan(found)).sum(0)
        return np.where(read > 0, np.nansum(found, axis=0) / np.maximum(read, 1), np.nan)

    def share(self, indices: np.ndarray) -> float | None:
        """Return the mean over those of some stimuli that were read; None where none was."""
        found = self.of(indices)
        found = found[~np.isnan(found)]
        return float(found.mean()) if len(found) else None

    def _say(self) -> None:
        """Warn at the first stimuli that are clipped; tell once more when it has become more than twice as much."""
        found = self.of(np.arange(self._n))
        found = found[~np.isnan(found)]
        n, share = len(found), float(found.mean())
        if self._first is None:
            self._first = share
            of_them = "the first stimulus" if n == 1 else f"the first {n} stimuli"
            _LOG.warning(
                "%s: values outside [0, 1] are clipped, %.2f %% of those of %s read; "
                "stimuli.statistics() counts them for each",
                self._treatment,
                100 * share,
                of_them,
            )
        elif n >= _ENOUGH and share > 2 * self._first:
            self._done = True
            _LOG.info("%s: by now %.2f %% of the values of %d stimuli are clipped", self._treatment, 100 * share, n)
