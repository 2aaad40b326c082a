"""Moments: how many, mean, variance, smallest and largest of every unit, in one pass and without a second map.

References
----------
Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance, The American Statistician 37(3), equation
2.1: how counts, means and sums of squares of two parts become those of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netphys.errors import OptionError
from netphys.recording.sinks.blocks import by_unit, floating, in_blocks, of_layer, require_numbers
from netphys.recording.sinks.moments_table import LayerMoments, MomentsResult

if TYPE_CHECKING:
    import torch

    from netphys.recording.layers import Layer

__all__ = ["LayerMoments", "Moments", "MomentsResult"]

_KINDS = ("mean", "squares", "low", "high")


class Moments:
    """Take the moments of every unit of the layers of a recording pass: a sink of :func:`netphys.record`.

    Parameters
    ----------
    over : {"positions", "none"}
        What is pooled beside stimuli: the positions of a map (a number a unit), or nothing (a number a unit and
        position).

    Notes
    -----
    Within a batch, sums of x − c and (x − c)² are taken in float32 over the positions of a stimulus and in float64
    over stimuli, where c is the unit's mean so far. Batches are joined in float64 by Chan's update; since c is the
    mean so far, what is summed is at most about twice the sum of squares about the final mean, so that nothing
    cancels, however large the mean is. Values are never widened as a whole. Variances are divided by n.

    Examples
    --------
    >>> import netphys
    >>> sink = Moments()
    >>> _ = netphys.record("netphys:gabor_energy", "world:scenes?n=5", layers="energy", keep="mean", sinks=[sink])
    >>> sink.close().layers["energy"].mean.shape
    (40,)
    """

    def __init__(self, over: Literal["positions", "none"] = "positions") -> None:
        if over not in ("positions", "none"):
            raise OptionError(f"over={over!r}: 'positions' (a number a unit) or 'none' (a number a unit and position)")
        self.over = over
        self._layers: tuple[Layer, ...] = ()
        self._ids: tuple[str, ...] = ()
        self._parts: dict[str, _Part] = {}

    def plan(self) -> Mapping[str, Any]:
        """Say every option that the result depends on."""
        return {"over": self.over}

    def open(self, layers: Sequence[Layer], stimulus_ids: Sequence[str]) -> None:
        """Begin with nothing."""
        self._layers, self._ids = tuple(layers), tuple(stimulus_ids)
        self._parts = {each.name: _Part.empty(self._shape(each)) for each in layers}

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation to some stimuli.

        Raises
        ------
        RecordingError
            If a value is not a number, or infinite.
        """
        import torch

        before, values = self._parts[layer], by_unit(activation)
        sums = _sums if self.over == "positions" else _sums_apart
        centre = before.mean.to(values.device) if before.n else _first_mean(values, self.over)
        centre = centre.to(torch.promote_types(values.dtype, torch.float32))
        found = sums(values, centre)
        if not bool(found[1].isfinite().all()):
            require_numbers(layer, rows, self._ids, activation, infinite=False)
            found = sums(values, centre.double())  # squares of more than 1e38
        n = len(values) * (values.shape[2] if self.over == "positions" else 1)
        self._parts[layer] = before.joined(_Part.of(n, centre, *found))

    @property
    def result(self) -> MomentsResult:
        """What came of it, when the pass is over."""
        return self.close()

    def close(self) -> MomentsResult:
        """Return the moments; may be called again."""
        layers = {each.name: self._parts[each.name].table(each) for each in self._layers}
        return MomentsResult(layers, len(self._ids), self.over)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return counts and moments, an array each."""
        return {f"{kind}/{name}": value for name, part in self._parts.items() for kind, value in part.arrays().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from saved moments."""
        for name in self._parts:
            self._parts[name] = _Part.from_arrays(of_layer(state, name))

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Join the moments of other stimuli of the same pass; equal to one pass but for the last bits of float64."""
        for name, part in self._parts.items():
            self._parts[name] = part.joined(_Part.from_arrays(of_layer(state, name)))

    def _shape(self, layer: Layer) -> tuple[int, ...]:
        n_positions = int(np.prod(layer.shape[1:]))
        return (layer.n_units,) if self.over == "positions" else (layer.n_units, n_positions)


@dataclass(frozen=True)
class _Part:
    """Moments of some stimuli of one layer; all float64, (unit,) or (unit, position)."""

    n: int
    mean: torch.Tensor
    squares: torch.Tensor  # about the mean
    low: torch.Tensor
    high: torch.Tensor

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> _Part:
        """Make that of no stimuli."""
        import torch

        zero, most = torch.zeros(shape, dtype=torch.float64), torch.full(shape, torch.inf, dtype=torch.float64)
        return cls(0, zero, zero, most, -most)

    @classmethod
    def of(cls, n: int, centre: torch.Tensor, total: torch.Tensor, squares: torch.Tensor, *ends: torch.Tensor) -> _Part:
        """Make one of sums about a centre that lies near the mean."""
        mean = total / n
        return cls(n, centre.double() + mean, (squares - total * mean).clamp_(min=0), *(each.double() for each in ends))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> _Part:
        """Make one of what :meth:`arrays` returned."""
        import torch

        return cls(int(arrays["n"][0]), *(torch.from_numpy(np.array(arrays[kind])) for kind in _KINDS))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays."""
        values = {kind: getattr(self, kind).cpu().numpy().copy() for kind in _KINDS}
        return {"n": np.array([self.n]), **values}

    def joined(self, other: _Part) -> _Part:
        """Join two parts: Chan et al. (1983), equation 2.1."""
        import torch

        if not self.n:
            return other
        device = other.mean.device
        mean, squares, low, high = (getattr(self, kind).to(device) for kind in _KINDS)
        n, apart = self.n + other.n, other.mean - mean
        return _Part(
            n,
            mean + apart * (other.n / n),
            squares + other.squares + apart * apart * (self.n * (other.n / n)),
            torch.minimum(low, other.low),
            torch.maximum(high, other.high),
        )

    def table(self, layer: Layer) -> LayerMoments:
        """Return what a user gets."""
        shape = layer.shape if self.mean.ndim == 2 else layer.shape[:1]
        values = {kind: value.reshape(shape) for kind, value in self.arrays().items() if kind != "n"}
        variance = values["squares"] / max(self.n, 1)
        dims = layer.dims[: len(shape)]
        return LayerMoments(
            layer.name, dims, layer.index, self.n, values["mean"], variance, values["low"], values["high"]
        )


def _first_mean(values: torch.Tensor, over: str) -> torch.Tensor:
    """Return a mean to begin with, of the first batch; its last bits do not matter."""
    import torch

    means = [floating(each).mean(-1) if over == "positions" else floating(each) for each in in_blocks(values)]
    return torch.cat(means).mean(0)


def _sums(values: torch.Tensor, centre: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Sum x − c and (x − c)² over stimuli and positions; with them the smallest and the largest (unit,)."""
    import torch

    found = []
    for block in in_blocks(values):
        apart = block - centre[:, None]
        total = apart.sum(-1, dtype=apart.dtype).double().sum(0)
        squares = apart.square_().sum(-1).double().sum(0)
        found.append(torch.stack([total, squares, -block.amin(-1).amin(0).double(), block.amax(-1).amax(0).double()]))
    joined = torch.stack(found)
    total, squares = joined[:, :2].sum(0)
    low, high = joined[:, 2:].amax(0)
    return total, squares, -low, high


def _sums_apart(values: torch.Tensor, centre: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Sum x − c and (x − c)² over stimuli alone; with them the smallest and the largest (unit, position)."""
    import torch

    total, squares = torch.zeros_like(centre, dtype=torch.float64), torch.zeros_like(centre, dtype=torch.float64)
    for each in values:  # one stimulus at a time: no second map of the batch
        apart = (each - centre).double()
        total += apart
        squares.addcmul_(apart, apart)
    return total, squares, values.amin(0), values.amax(0)
