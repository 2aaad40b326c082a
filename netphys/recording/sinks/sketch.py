"""A sketch of the values of many units at once, from which quantiles are read; small, mergeable, its error known.

Values lie in levels; one at level h stands for 2^h of what was seen. A level that is larger than its capacity is
sorted, and every second value (the even or the odd ones, by the toss of a seeded coin a unit) rises to the next. The
rank of any number is then off by at most 2^h, as often up as down. A batch larger than the capacity enters at the
level where it fits, as every 2^j-th of its sorted values from a random one on. All units see as many values, so the
levels of a layer are arrays (unit, value), and nothing is done unit by unit.

References
----------
Karnin, Lang & Liberty (2016), Optimal quantile approximation in streams, FOCS, section 3: compactors and their error.
Agarwal et al. (2012), Mergeable summaries, PODS, section 3.1: every second value of what was merged and sorted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.seeds import generator

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float64

__all__ = ["CONFIDENCE", "Sketch"]

CONFIDENCE = 0.99  # that the rank of a number is off by no more than is said


class Sketch:
    """What is known of the values of some units that all see equally many.

    Parameters
    ----------
    n_units : int
        How many units.
    capacity : int
        Values that a level holds. Up to so many in all, nothing is lost.
    seed : int
        Of the coins.
    name : str
        Of what is sketched: each draws its own coins.
    """

    def __init__(self, n_units: int, capacity: int, *, seed: int, name: str) -> None:
        import torch

        self.n = 0
        self.capacity = capacity
        self._key = (seed, "quantiles", name)
        self._levels: list[torch.Tensor] = [torch.empty((n_units, 0))]
        self._coins = [np.zeros(n_units, np.uint8)]  # of the latest compaction of each level
        self._tosses = [0]
        self._variance = 0.0  # a bound for that of a rank, of sub-Gaussian error
        self._ends = torch.tensor([[torch.inf], [-torch.inf]]).repeat(1, n_units)  # exact

    def add(self, values: torch.Tensor, at: int) -> None:
        """Take in (unit, value), which is overwritten; `at` says where in the stream, for the coins."""
        import torch

        ends = torch.stack([values.amin(1), values.amax(1)])
        self._to(values)
        self._ends = torch.stack([torch.minimum(self._ends[0], ends[0]), torch.maximum(self._ends[1], ends[1])])
        n = values.shape[1]
        self.n += n
        if n <= self.capacity:
            self._append(0, values)
        else:
            self._enter(values, at)
        self._settle("at", at)

    def merge(self, other: Sketch) -> None:
        """Take in another sketch of the same units, seed and capacity."""
        import torch

        self._to(other._ends)
        self._ends = torch.stack(
            [torch.minimum(self._ends[0], other._ends[0]), torch.maximum(self._ends[1], other._ends[1])]
        )
        before = self.n
        self.n += other.n
        self._variance += other._variance
        for height, values in enumerate(other._levels):
            self._append(height, values)
        self._settle("merge", before, other.n)

    def quantiles(self, q: Sequence[float]) -> Float64[np.ndarray, "unit q"]:
        """Read quantiles: those of :func:`numpy.quantile` (linear), each value in the middle of those it stands for."""
        held = np.concatenate([each.cpu().numpy() for each in self._levels], axis=1).astype(np.float64)
        weights = np.concatenate([np.full(each.shape[1], 1 << height) for height, each in enumerate(self._levels)])
        order = np.argsort(held, axis=1, kind="stable")
        weights = weights[order]
        low, high = self._ends.double().cpu().numpy()[:, :, None]
        values = np.hstack([low, np.take_along_axis(held, order, axis=1), high])
        ranks = np.cumsum(weights, axis=1) - (weights + 1) / 2  # from 0
        ranks = np.hstack([np.zeros_like(low), ranks, np.full_like(high, self.n - 1)])
        ends = {0.0: low[:, 0], 1.0: high[:, 0]}  # what is held may end before them, at the same rank
        found = [ends[each] if each in ends else _at_rank(values, ranks, each * (self.n - 1)) for each in q]
        return np.stack(found, axis=1)

    @property
    def rank_error(self) -> float:
        """Share of all values by which the rank of a quantile is off at most, with :data:`CONFIDENCE`.

        Hoeffding's bound for the rank of a number, and half of what the heaviest value stands for. 0: exact.
        """
        highest = max(height for height, each in enumerate(self._levels) if each.shape[1] or not height)
        heaviest = 1 << highest if highest else 0
        return (math.sqrt(2 * math.log(2 / (1 - CONFIDENCE)) * self._variance) + heaviest / 2) / max(1, self.n)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays."""
        return {
            **{f"level{height}": each.cpu().numpy().copy() for height, each in enumerate(self._levels)},
            "coins": np.stack(self._coins),
            "counts": np.array([self.n, *self._tosses]),
            "variance": np.array([self._variance]),
            "ends": self._ends.cpu().numpy().copy(),
        }

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`arrays` returned."""
        import torch

        self.n, *self._tosses = (int(each) for each in arrays["counts"])
        self._levels = [torch.from_numpy(np.array(arrays[f"level{height}"])) for height in range(len(self._tosses))]
        self._coins = list(np.array(arrays["coins"]))
        self._variance = float(arrays["variance"][0])
        self._ends = torch.from_numpy(np.array(arrays["ends"]))

    def _to(self, values: torch.Tensor) -> None:
        """Be where the values are, in their dtype."""
        self._levels = [each.to(values) for each in self._levels]
        self._ends = self._ends.to(values)

    def _enter(self, values: torch.Tensor, at: int) -> None:
        """Take in more values than a level holds: every 2^j-th of them, sorted."""
        height = math.ceil(math.log2(values.shape[1] / self.capacity))
        step = 1 << height
        rest = values.shape[1] % step
        self._append(0, values[:, values.shape[1] - rest :])
        first = generator(*self._key, "enter", at).integers(0, step, len(values))
        self._append(height, _every(_sorted(values[:, : values.shape[1] - rest]), step, first))
        self._variance += step * step / 4  # within a range of 2^j: Hoeffding's lemma

    def _append(self, height: int, values: torch.Tensor) -> None:
        import torch

        while len(self._levels) <= height:
            self._levels.append(self._levels[0][:, :0])
            self._coins.append(np.zeros_like(self._coins[0]))
            self._tosses.append(0)
        self._levels[height] = torch.cat([self._levels[height], values.to(self._levels[height])], dim=1)

    def _settle(self, *when: str | int) -> None:
        """Compact every level that holds too much, from the lowest up."""
        height = 0
        while height < len(self._levels):
            if self._levels[height].shape[1] > self.capacity:
                self._compact(height, *when)
            height += 1

    def _compact(self, height: int, *when: str | int) -> None:
        """Let every second value of a level rise.

        Coins are tossed for every second compaction; the one after takes the other half, so that errors of the two
        cancel more often than they add, and together are no larger than one. Where values are odd in number the
        first that came stays: which one is not to hang on this level's coins.
        """
        values = self._levels[height]
        odd = values.shape[1] % 2
        if self._tosses[height] % 2:
            self._coins[height] = 1 - self._coins[height]
        else:
            coins = generator(*self._key, "compact", height, *when).integers(0, 2, len(values))
            self._coins[height] = coins.astype(np.uint8)
            self._variance += 4.0**height
        self._tosses[height] += 1
        rising = _every(_sorted(values[:, odd:]), 2, self._coins[height])
        self._levels[height] = values[:, :odd].clone()
        self._append(height + 1, rising)


def _sorted(values: torch.Tensor) -> torch.Tensor:
    """Sort (unit, value) along units' values; in place on a CPU, where numpy sorts four times as fast as torch."""
    if values.device.type == "cpu":
        values.numpy().sort(axis=1)
        return values
    return values.sort(dim=1).values


def _every(values: torch.Tensor, step: int, first: np.ndarray) -> torch.Tensor:
    """Take every `step`-th value of each unit, from a place of its own on."""
    import torch

    groups = values.reshape(len(values), -1, step)
    at = torch.from_numpy(first.astype(np.int64)).to(values.device)[:, None, None]
    return groups.gather(2, at.expand(-1, groups.shape[1], 1))[..., 0]


def _at_rank(values: np.ndarray, ranks: np.ndarray, place: float) -> np.ndarray:
    """Interpolate each unit's values, ascending, at a rank; from the nearer side, as numpy does."""
    after = np.minimum((ranks <= place).sum(axis=1, keepdims=True), ranks.shape[1] - 1)
    first, last = (np.take_along_axis(ranks, at, axis=1)[:, 0] for at in (after - 1, after))
    below, above = (np.take_along_axis(values, at, axis=1)[:, 0] for at in (after - 1, after))
    share = np.minimum((place - first) / np.maximum(last - first, 0.5), 1)
    with np.errstate(invalid="ignore"):  # of infinite values
        apart = above - below
        between = np.where(share >= 0.5, above - apart * (1 - share), below + apart * share)
    return np.where((below == above) | (share == 0), below, between)
