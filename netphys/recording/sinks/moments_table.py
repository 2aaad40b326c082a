"""The moments of every unit of some layers: a table, and a profile over layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.colours import COLOURS
from netphys.errors import LayerNotFound, near

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float64
    from matplotlib.axes import Axes

__all__ = ["LayerMoments", "MomentsResult"]


@dataclass(frozen=True, repr=False)
class LayerMoments:
    """Moments of one layer's units, float64; (unit,), or (unit, y, x) and the like where positions stand apart."""

    name: str
    dims: tuple[str, ...]
    index: int  # the layer's place in its network
    n: int  # values behind each number
    mean: Float64[np.ndarray, "unit ..."]
    variance: Float64[np.ndarray, "unit ..."]  # divided by n
    min: Float64[np.ndarray, "unit ..."]
    max: Float64[np.ndarray, "unit ..."]

    @property
    def sd(self) -> Float64[np.ndarray, "unit ..."]:
        """Standard deviation, divided by n."""
        return np.sqrt(self.variance)

    def __repr__(self) -> str:
        constant = int((self.min == self.max).sum())
        return f"LayerMoments({self.name}: {len(self.mean)} units, n = {self.n}, {constant} constant)"


@dataclass(frozen=True, repr=False)
class MomentsResult:
    """Moments of every unit of some layers over stimuli (and positions)."""

    layers: Mapping[str, LayerMoments]
    n_stimuli: int
    over: str
    network: str = ""
    made: Mapping[str, Any] = field(default_factory=dict)  # provenance of the pass

    def __getitem__(self, layer: str) -> LayerMoments:
        if layer not in self.layers:
            raise LayerNotFound(f"no layer {layer!r} was measured{near(layer, self.layers)}")
        return self.layers[layer]

    def __repr__(self) -> str:
        n_values = sum(each.mean.size for each in self.layers.values())
        constant = sum(int((each.min == each.max).sum()) for each in self.layers.values())
        of = "units" if self.over == "positions" else "units at their positions"
        name = f"{self.network}: " if self.network else ""
        n_layers = f"{len(self.layers)} layer{'s' * (len(self.layers) != 1)}"
        return f"MomentsResult({name}{n_layers} x {self.n_stimuli} stimuli, {constant} of {n_values} {of} constant)"

    def to_frame(self) -> pd.DataFrame:
        """Return a row a unit (and position): layer, unit, axes of positions, n, mean, variance, sd, min, max."""
        import pandas as pd

        frames = []
        for each in self.layers.values():
            axes = dict(zip(each.dims, np.indices(each.mean.shape).reshape(len(each.dims), -1), strict=True))
            kinds = ("mean", "variance", "sd", "min", "max")
            values = {kind: getattr(each, kind).ravel() for kind in kinds}
            frames.append(pd.DataFrame({"layer": each.name, **axes, "n": each.n, **values}))
        return pd.concat(frames, ignore_index=True)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw mean and standard deviation by layer: the median unit, and the range of the middle 90 % of units."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(4.0, 2.8), layout="constrained").subplots()
        names = list(self.layers)
        for colour, kind, label in zip(COLOURS, ("mean", "sd"), ("mean", "standard deviation"), strict=False):
            spread = [np.quantile(getattr(self.layers[each], kind), (0.05, 0.5, 0.95)) for each in names]
            low, middle, high = np.array(spread).T
            ax.plot(range(len(names)), middle, color=colour, marker="o", ms=3, label=label)
            ax.fill_between(range(len(names)), low, high, color=colour, alpha=0.2, lw=0)
        ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > 5 else 0)
        ax.set(xlabel="layer", ylabel="activation (a.u.)")
        # above the axes: bands fill them
        title = "median unit; band: 5 to 95 % of units"
        ax.legend(frameon=False, title=title, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        return ax
