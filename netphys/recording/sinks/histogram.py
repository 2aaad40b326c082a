"""Histograms of every unit: how often its activation, at any position, fell between fixed edges; counts are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.colours import COLOURS
from netphys.errors import OptionError
from netphys.recording.sinks.blocks import by_unit, floating, in_blocks, of_layer, require_numbers

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from jaxtyping import Float64, Int64
    from matplotlib.axes import Axes

    from netphys.recording.layers import Layer

__all__ = ["Histogram", "HistogramResult"]


@dataclass(frozen=True, repr=False)
class HistogramResult:
    """Counts of every unit of some layers over stimuli and positions; bins are half-open, the last one closed."""

    edges: Float64[np.ndarray, " edge"]  # activation
    counts: Mapping[str, Int64[np.ndarray, "unit bin"]]
    below: Mapping[str, Int64[np.ndarray, " unit"]]  # smaller than the first edge
    above: Mapping[str, Int64[np.ndarray, " unit"]]  # larger than the last
    n_stimuli: int
    network: str = ""
    made: Mapping[str, Any] = field(default_factory=dict)  # provenance of the pass

    def __repr__(self) -> str:
        inside = sum(int(each.sum()) for each in self.counts.values())
        outside = sum(int(each.sum()) for part in (self.below, self.above) for each in part.values())
        share = outside / max(1, inside + outside)
        name = f"{self.network}: " if self.network else ""
        n_layers = f"{len(self.counts)} layer{'s' * (len(self.counts) != 1)}"
        reach = f"{len(self.edges) - 1} bins from {self.edges[0]:g} to {self.edges[-1]:g}"
        return f"HistogramResult({name}{n_layers} x {self.n_stimuli} stimuli, {reach}, {share:.2%} outside)"

    def density(self, layer: str) -> Float64[np.ndarray, "unit bin"]:
        """Return counts over the width of their bin and all that fell into bins: it integrates to 1; NaN where none."""
        counts = self.counts[layer]
        with np.errstate(invalid="ignore"):
            return counts / np.diff(self.edges) / counts.sum(axis=1, keepdims=True)

    def to_frame(self) -> pd.DataFrame:
        """Return a row a unit and bin: layer, unit, low, high, count; −inf and inf are ends of what fell outside."""
        import pandas as pd

        low, high = np.append(-np.inf, self.edges), np.append(self.edges, np.inf)
        frames = []
        for name, counts in self.counts.items():
            every = np.column_stack([self.below[name], counts, self.above[name]])
            unit, at = (each.ravel() for each in np.indices(every.shape))
            frames.append(
                pd.DataFrame({"layer": name, "unit": unit, "low": low[at], "high": high[at], "count": every.ravel()})
            )
        return pd.concat(frames, ignore_index=True)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the density of each layer, all its units together; what fell outside the edges is not in it."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(4.0, 2.8), layout="constrained").subplots()
        for at, (name, counts) in enumerate(self.counts.items()):
            total = counts.sum(axis=0)
            density = total / np.diff(self.edges) / max(1, total.sum())
            style = "-" if at < len(COLOURS) else "--"
            ax.stairs(density, self.edges, color=COLOURS[at % len(COLOURS)], linestyle=style, label=name)
        ax.set(xlabel="activation (a.u.)", ylabel="density", yscale="log", xlim=(self.edges[0], self.edges[-1]))
        ax.legend(frameon=False, title="layer", loc="upper left", bbox_to_anchor=(1.0, 1.0))  # curves fill the axes
        return ax


class Histogram:
    """Count the activations of every unit between fixed edges: a sink of :func:`netphys.record`.

    Parameters
    ----------
    bins : int or sequence of float
        How many bins of equal width lie in `range`; or the edges, ascending.
    range : (float, float), optional
        The outer edges, in the layer's own units (arbitrary). Needed where `bins` is a number: what the values are is
        known only when they have all been seen.

    Notes
    -----
    Bins are [low, high), the last one [low, high]; what falls outside is counted, too. Counts, and edges made of a
    number of bins, are those of :func:`numpy.histogram` of the layer's float32 values.

    Examples
    --------
    >>> import netphys
    >>> sink = Histogram(20, (0, 2))
    >>> _ = netphys.record("netphys:gabor_energy", "world:scenes?n=5", layers="energy", keep="mean", sinks=[sink])
    >>> sink.close().counts["energy"].shape
    (40, 20)
    """

    def __init__(self, bins: int | Sequence[float] = 100, range: tuple[float, float] | None = None) -> None:
        self.edges = _edges(bins, range)
        self._uniform = isinstance(bins, int | np.integer)
        self._n = len(self.edges) + 1  # bins with those below and above
        self._counts: dict[str, torch.Tensor] = {}
        self._ids: tuple[str, ...] = ()

    def plan(self) -> Mapping[str, Any]:
        """Say every option that the result depends on."""
        return {"edges": self.edges.tolist()}

    def open(self, layers: Sequence[Layer], stimulus_ids: Sequence[str]) -> None:
        """Begin with counts of 0."""
        import torch

        self._ids = tuple(stimulus_ids)
        self._counts = {each.name: torch.zeros((each.n_units, self._n), dtype=torch.int64) for each in layers}

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation to some stimuli; infinite values are counted as what fell outside.

        Raises
        ------
        RecordingError
            If a value is not a number.
        """
        import torch

        require_numbers(layer, rows, self._ids, activation)
        counts = self._counts[layer] = self._counts[layer].to(activation.device)
        first = torch.arange(0, counts.numel(), self._n, dtype=torch.int32, device=counts.device)[:, None]
        for block in in_blocks(by_unit(activation)):
            bins = self._bins(floating(block)).add_(first)
            counts += torch.bincount(bins.flatten(), minlength=counts.numel()).view_as(counts)

    @property
    def result(self) -> HistogramResult:
        """What came of it, when the pass is over."""
        return self.close()

    def close(self) -> HistogramResult:
        """Return the counts; may be called again."""
        counts = {name: each.cpu().numpy() for name, each in self._counts.items()}
        return HistogramResult(
            self.edges,
            {name: each[:, 1:-1].copy() for name, each in counts.items()},
            {name: each[:, 0].copy() for name, each in counts.items()},
            {name: each[:, -1].copy() for name, each in counts.items()},
            len(self._ids),
        )

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the counts."""
        return {f"counts/{name}": each.cpu().numpy().copy() for name, each in self._counts.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from saved counts."""
        import torch

        for name in self._counts:
            self._counts[name] = torch.from_numpy(np.array(of_layer(state, name)["counts"]))

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Add the counts of other stimuli of the same pass; equal to one pass, bit for bit."""
        import torch

        for name, counts in self._counts.items():
            counts += torch.from_numpy(np.array(of_layer(state, name)["counts"])).to(counts.device)

    def _bins(self, values: torch.Tensor) -> torch.Tensor:
        """Number of the bin of each value, int32: 0 below the first edge, then from 1 on."""
        import torch

        edges = self._comparable(values)
        if not self._uniform:
            return torch.bucketize(values, edges, right=True, out_int32=True)
        low, n = float(edges[0]), len(edges) - 1
        scale = n / float(self.edges[-1] - self.edges[0])
        guess = ((values - low) * scale).add_(1).clamp_(0.5, n + 1.5)
        # rounding moves a guess by a few units in the last place; where that could matter it is looked up
        most = 8 * torch.finfo(values.dtype).eps * (n + 2 + scale * float(np.abs(self.edges).max()))
        unsure = (guess - guess.round()).abs_() < most
        unsure &= values != low  # what a rectifier made 0 is most of a map, and is known
        bins = guess.to(torch.int32)
        at = unsure.flatten().nonzero()[:, 0]
        bins.view(-1)[at] = torch.bucketize(values.flatten()[at], edges, right=True, out_int32=True)
        return bins

    def _comparable(self, values: torch.Tensor) -> torch.Tensor:
        """Edges in the dtype of the values, so that >= decides as it would in float64; the last one is exclusive."""
        import torch

        dtype = np.float32 if values.dtype == torch.float32 else np.float64
        near = self.edges.astype(dtype)
        up = np.where(near < self.edges, np.nextafter(near, dtype(np.inf)), near)
        down = np.where(near > self.edges, np.nextafter(near, dtype(-np.inf)), near)
        up[-1] = np.nextafter(down[-1], dtype(np.inf))
        return torch.from_numpy(up).to(values.device)


def _edges(bins: int | Sequence[float], range: tuple[float, float] | None) -> np.ndarray:
    """Make the edges, or see that they ascend."""
    if isinstance(bins, int | np.integer):
        if range is None:
            raise OptionError(f"bins={bins}: a number of bins needs range=(low, high); or give the edges")
        low, high = (float(each) for each in range)
        if bins < 1 or not np.isfinite([low, high]).all() or low >= high:
            raise OptionError(
                f"bins={bins}, range=({low:g}, {high:g}): at least one bin, from a number to a larger one"
            )
        edges = np.histogram_bin_edges(np.empty(0, np.float32), int(bins), (low, high)).astype(np.float64)
    else:
        if range is not None:
            raise OptionError("bins are edges already: range=None")
        edges = np.asarray(bins, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise OptionError(f"edges of {np.size(edges)} numbers: at least two, finite, each larger than the one before")
    return edges
