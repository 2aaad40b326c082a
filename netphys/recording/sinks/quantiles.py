"""Quantiles of every unit over stimuli and positions, in one pass: exact while all fits, then with a stated error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.colours import COLOURS
from netphys.errors import LayerNotFound, OptionError, near
from netphys.recording.sinks.blocks import by_unit, floating, of_layer, require_numbers
from netphys.recording.sinks.sketch import CONFIDENCE, Sketch

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from jaxtyping import Float64
    from matplotlib.axes import Axes

    from netphys.recording.layers import Layer

__all__ = ["LayerQuantiles", "Quantiles", "QuantilesResult"]


@dataclass(frozen=True, repr=False)
class LayerQuantiles:
    """Quantiles of one layer's units."""

    name: str
    n: int  # values a unit: stimuli x positions
    values: Float64[np.ndarray, "unit q"]  # activation
    rank_error: float  # share of the values of a unit; 0: exact. With 99 %, for one quantile of one unit

    def __repr__(self) -> str:
        how = "exact" if self.rank_error == 0 else f"rank error <= {self.rank_error:.2g}"
        return f"LayerQuantiles({self.name}: {len(self.values)} units, n = {self.n}, {how})"


@dataclass(frozen=True, repr=False)
class QuantilesResult:
    """Quantiles of every unit of some layers over stimuli and positions."""

    layers: Mapping[str, LayerQuantiles]
    q: tuple[float, ...]
    n_stimuli: int
    network: str = ""
    made: Mapping[str, Any] = field(default_factory=dict)  # provenance of the pass

    def __getitem__(self, layer: str) -> LayerQuantiles:
        if layer not in self.layers:
            raise LayerNotFound(f"no layer {layer!r} was measured{near(layer, self.layers)}")
        return self.layers[layer]

    def __repr__(self) -> str:
        worst = max((each.rank_error for each in self.layers.values()), default=0.0)
        how = "exact" if worst == 0 else f"rank error <= {worst:.2g} ({CONFIDENCE:.0%})"
        name = f"{self.network}: " if self.network else ""
        n_layers = f"{len(self.layers)} layer{'s' * (len(self.layers) != 1)}"
        return f"QuantilesResult({name}{n_layers} x {self.n_stimuli} stimuli, q = {', '.join(map(str, self.q))}, {how})"

    def of(self, layer: str, q: float) -> Float64[np.ndarray, " unit"]:
        """Return one quantile of every unit of a layer."""
        return self.layers[layer].values[:, self.q.index(q)]

    def to_frame(self) -> pd.DataFrame:
        """Return a row a unit and quantile: layer, unit, q, value, n, rank_error."""
        import pandas as pd

        frames = []
        for each in self.layers.values():
            unit, column = (axis.ravel() for axis in np.indices(each.values.shape))
            known = {"n": each.n, "rank_error": each.rank_error}
            values = {"unit": unit, "q": np.array(self.q)[column], "value": each.values.ravel()}
            frames.append(pd.DataFrame({"layer": each.name, **values, **known}))
        return pd.concat(frames, ignore_index=True)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each quantile by layer: the median unit, and the range of the middle 90 % of units."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(4.0, 2.8), layout="constrained").subplots()
        names = list(self.layers)
        for column, q in enumerate(self.q):
            spread = [np.quantile(self.layers[each].values[:, column], (0.05, 0.5, 0.95)) for each in names]
            low, middle, high = np.array(spread).T
            colour = COLOURS[column % len(COLOURS)]
            ax.plot(range(len(names)), middle, color=colour, marker="o", ms=3, label=f"q = {q:g}")
            ax.fill_between(range(len(names)), low, high, color=colour, alpha=0.15, lw=0)
        ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > 5 else 0)
        ax.set(xlabel="layer", ylabel="activation (a.u.)")
        # above the axes: bands fill them
        title = "median unit; band: 5 to 95 % of units"
        ax.legend(frameon=False, title=title, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(4, len(self.q)))
        return ax


class Quantiles:
    """Estimate quantiles of every unit over stimuli and positions: a sink of :func:`netphys.record`.

    Parameters
    ----------
    q : float or sequence of float
        Which quantiles, in [0, 1]. Default: quartiles, and the .995 of network dissection.
    capacity : int
        Values of a unit that a level of the sketch holds (:mod:`netphys.recording.sinks.sketch`), at least 8. Up to so
        many values a unit (stimuli × positions) the answer is exact; beyond, the standard deviation of a rank is
        .2 to .7 / capacity of all values (measured), and the result says a bound, 2 to 4 / capacity.
        Memory: 4 · capacity · log2(2n / capacity) bytes a unit for n values, less where a batch is larger than that.
    seed : int
        Of what is thrown away: each layer draws its own numbers, whatever other layers are recorded.

    Notes
    -----
    Quantiles are those of :func:`numpy.quantile` (linear) of what is kept; q = 0 and 1 are exact always. The rank
    error is uniform in q: at .995 a capacity of 2048 may put .9945 or .9955; where the tail matters give a larger one.

    Examples
    --------
    >>> import netphys
    >>> sink = Quantiles(q=[0.5, 0.995])
    >>> _ = netphys.record("netphys:gabor_energy", "world:scenes?n=5", layers="energy", keep="mean", sinks=[sink])
    >>> sink.close().of("energy", 0.995).shape
    (40,)
    """

    def __init__(
        self, q: float | Sequence[float] = (0.25, 0.5, 0.75, 0.995), *, capacity: int = 2048, seed: int = 0
    ) -> None:
        self.q = tuple(float(each) for each in np.atleast_1d(np.asarray(q, np.float64)))
        if not self.q or not all(0 <= each <= 1 for each in self.q):
            raise OptionError(f"q={q!r}: quantiles lie in [0, 1]")
        if capacity < 8:
            raise OptionError(f"capacity={capacity}: at least 8 values a level")
        self.capacity, self.seed = int(capacity), seed
        self._sketches: dict[str, Sketch] = {}
        self._ids: tuple[str, ...] = ()

    def plan(self) -> Mapping[str, Any]:
        """Say every option that the result depends on."""
        return {"q": list(self.q), "capacity": self.capacity, "seed": self.seed}

    def open(self, layers: Sequence[Layer], stimulus_ids: Sequence[str]) -> None:
        """Begin with nothing."""
        self._ids = tuple(stimulus_ids)
        self._sketches = {each.name: self._empty(each.name, each.n_units) for each in layers}

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation to some stimuli.

        Raises
        ------
        RecordingError
            If a value is not a number.
        """
        import torch

        require_numbers(layer, rows, self._ids, activation)
        values = floating(by_unit(activation)).transpose(0, 1)
        own = torch.empty(values.shape, dtype=values.dtype, device=values.device).copy_(values)  # it will be sorted
        self._sketches[layer].add(own.flatten(1), int(rows[0]))

    @property
    def result(self) -> QuantilesResult:
        """What came of it, when the pass is over."""
        return self.close()

    def close(self) -> QuantilesResult:
        """Return the quantiles; may be called again."""
        layers = {
            name: LayerQuantiles(name, each.n, each.quantiles(self.q), each.rank_error)
            for name, each in self._sketches.items()
        }
        return QuantilesResult(layers, self.q, len(self._ids))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the sketches, an array each of their parts."""
        return {
            f"{kind}/{name}": value
            for name, sketch in self._sketches.items()
            for kind, value in sketch.arrays().items()
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from saved sketches."""
        for name, sketch in self._sketches.items():
            sketch.load(of_layer(state, name))

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Join the sketches of other stimuli of the same pass; errors add as those of one, bits are not the same."""
        for name, sketch in self._sketches.items():
            arrays = of_layer(state, name)
            other = self._empty(name, arrays["ends"].shape[1])
            other.load(arrays)
            sketch.merge(other)

    def _empty(self, layer: str, n_units: int) -> Sketch:
        return Sketch(n_units, self.capacity, seed=self.seed, name=layer)
