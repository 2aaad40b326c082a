"""Inner products of the activations of all stimuli, layer by layer: what representations look like to an RDM.

With G the matrix of inner products of the flattened activations, s their sums and F how many numbers a stimulus has:

    squared Euclidean distance    d²(i, j) = G(i, i) + G(j, j) − 2 G(i, j)
    covariance over features      c(i, j) = G(i, j) − s(i) s(j) / F
    correlation distance          1 − c(i, j) / √(c(i, i) c(j, j))
    centred over stimuli          H G H, H = I − 1/n: what CKA compares
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import LayerNotFound, OptionError, near

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float64
    from matplotlib.axes import Axes

__all__ = ["GramResult"]


@dataclass(frozen=True, repr=False)
class GramResult:
    """Matrices of inner products of some layers, (stimulus, stimulus), float64; symmetric to the bit."""

    matrices: Mapping[str, Float64[np.ndarray, "stimulus stimulus"]]
    sums: Mapping[str, Float64[np.ndarray, " stimulus"]]  # of all numbers of a stimulus
    n_features: Mapping[str, int]  # numbers of a stimulus
    stimulus_ids: tuple[str, ...]
    network: str = ""
    made: Mapping[str, Any] = field(default_factory=dict)  # provenance of the pass

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of execution."""
        return tuple(self.matrices)

    def __repr__(self) -> str:
        name = f"{self.network}: " if self.network else ""
        n_layers = f"{len(self.layers)} layer{'s' * (len(self.layers) != 1)}"
        last = self.layers[-1]
        cosine = f"mean cosine of two stimuli in {last} {self.mean_cosine(last):.3f}"
        return f"GramResult({name}{n_layers} x {len(self.stimulus_ids)} stimuli, {cosine})"

    def matrix(self, layer: str) -> Float64[np.ndarray, "stimulus stimulus"]:
        """Return the inner products of a layer.

        Raises
        ------
        LayerNotFound
            If it is not among the layers.
        """
        if layer not in self.matrices:
            raise LayerNotFound(f"no layer {layer!r} in {self!r}{near(layer, self.layers)}")
        return self.matrices[layer]

    def centred(self, layer: str) -> Float64[np.ndarray, "stimulus stimulus"]:
        """Return the inner products of deviations from the mean over stimuli: rows and columns sum to 0."""
        matrix = self.matrix(layer)
        mean = matrix.mean(axis=0)
        return matrix - mean - mean[:, None] + mean.mean()

    def covariance(self, layer: str) -> Float64[np.ndarray, "stimulus stimulus"]:
        """Return the sums of products of deviations from each stimulus' own mean over features."""
        matrix, sums = self.matrix(layer), self.sums[layer]
        return matrix - np.outer(sums, sums) / self.n_features[layer]

    def mean_cosine(self, layer: str) -> float:
        """Return the mean cosine of two different stimuli; NaN of fewer than two, or where one is silent."""
        matrix = self.matrix(layer)
        length = np.sqrt(np.diag(matrix))
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = (matrix / np.outer(length, length))[np.triu_indices(len(matrix), 1)]
        return float(cosines.mean()) if len(cosines) else float("nan")

    def to_frame(self) -> pd.DataFrame:
        """Return a row a pair of stimuli, each with itself included: layer, stimulus_id, other_id, inner_product."""
        import pandas as pd

        ids = np.array(self.stimulus_ids, dtype=object)
        one, other = np.triu_indices(len(ids))
        pairs = {"stimulus_id": ids[one], "other_id": ids[other]}
        frames = [
            pd.DataFrame({"layer": name, **pairs, "inner_product": matrix[one, other]})
            for name, matrix in self.matrices.items()
        ]
        return pd.concat(frames, ignore_index=True)

    def plot(self, ax: Axes | None = None, *, layer: str | None = None) -> Axes:
        """Draw the inner products of a layer as cosines; only one layer need not be named.

        Raises
        ------
        OptionError
            If there are several layers and none is named.
        """
        if layer is None and len(self.layers) > 1:
            raise OptionError(f"layer=None: one of {len(self.layers)} layers can be drawn{near('', self.layers)}")
        matrix = self.matrix(layer or self.layers[0])
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(3.6, 3.0), layout="constrained").subplots()
        length = np.sqrt(np.diag(matrix))
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = matrix / np.outer(length, length)
        image = ax.imshow(cosines, cmap="viridis", vmax=1.0)
        ax.figure.colorbar(image, ax=ax, label="cosine")
        ax.set(xlabel="stimulus", ylabel="stimulus", title=layer or self.layers[0])
        return ax
