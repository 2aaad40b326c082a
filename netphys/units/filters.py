"""What do the filters of the first layer look like? Weights as they act on the image, drawn, measured and fitted.

A first layer's weights act on what the network is given, which is not the picture: preprocessing divides by the
standard deviation of each colour, and some networks scale or mix colours themselves before they look. All of it is
linear in a pixel and is folded into the filters here, so that they act on an image in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import OptionError
from netphys.files import committing, ensure_folder, write_json, write_text
from netphys.networks import Network, Preprocess, as_network
from netphys.provenance import array_digest, provenance
from netphys.units.filter_spectra import amplitude_spectra, peaks_and_bandwidths
from netphys.units.first_layer import applied_weights, find_convolution
from netphys.units.gabor import PARAMETERS, SMALLEST, GaborFits, fit_gabors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import torch
    from jaxtyping import Float
    from matplotlib.axes import Axes

__all__ = ["FilterBank", "first_layer_filters"]


@dataclass(frozen=True, repr=False)
class FilterBank:
    """The filters of a first layer, as they act on an image in [0, 1]."""

    filters: Float[np.ndarray, "unit channel y x"]  # float32; channels r, g, b, or the one of lightness
    colour: str  # "rgb" or "lightness"
    layer: str
    network: str
    training: str
    stride: tuple[int, int]  # pixels, (y, x)
    padding: str  # as the layer was told: "(4, 4)", "same"
    _fits: dict[tuple[int, int], GaborFits] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        return f"FilterBank({self})"

    def __str__(self) -> str:
        n, _, y, x = self.filters.shape
        found = f"; {next(iter(self._fits.values())).fraction:.0%} Gabor-like" if self._fits else ""
        return f"{self.network} {self.layer}: {n} filters of {y} x {x} pixels, {self.colour}, {self.training}{found}"

    def __len__(self) -> int:
        return len(self.filters)

    @cached_property
    def _colours(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Main colour axis (unit, channel), its share (unit,), and the pattern along it (unit, y, x)."""
        n, channels, y, x = self.filters.shape
        axes, sizes, patterns = np.linalg.svd(
            self.filters.reshape(n, channels, y * x).astype(np.float64), full_matrices=False
        )
        sign = np.where(axes[:, :, 0].sum(1) < 0, -1.0, 1.0)
        energy = (sizes**2).sum(1)
        share = np.divide(sizes[:, 0] ** 2, energy, out=np.full(n, np.nan), where=energy > 0)
        pattern = (sign * sizes[:, 0])[:, None] * patterns[:, 0]
        return axes[:, :, 0] * sign[:, None], share, pattern.reshape(n, y, x)

    @property
    def colour_axes(self) -> Float[np.ndarray, "unit channel"]:
        """The colour along which each filter varies most (first singular vector of channel × pixel), length 1.

        Its sign is that of more light: its channels sum to at least 0.
        """
        return self._colours[0]

    @property
    def colour_share(self) -> Float[np.ndarray, " unit"]:
        """Share of a filter's squared weights along its main colour axis, in [1/3, 1]; NaN for a filter of 0."""
        return self._colours[1]

    @property
    def patterns(self) -> Float[np.ndarray, "unit y x"]:
        """Each filter along its main colour axis; what spectra and Gabor fits are of."""
        return self._colours[2]

    def spectra(self, side: int = 64) -> Float[np.ndarray, "unit fy fx"]:
        """Amplitude spectra of `patterns` (:func:`netphys.units.filter_spectra.amplitude_spectra`)."""
        return amplitude_spectra(self.patterns, side)

    def fit_gabors(self, n_null: int = 200, seed: int = 0) -> GaborFits:
        """Fit a Gabor function to each filter's main pattern (:func:`netphys.units.gabor.fit_gabors`); computed once.

        Raises
        ------
        OptionError
            If the filters are smaller than 7 x 7 pixels, or `n_null` below 200.
        """
        if (n_null, seed) not in self._fits:
            name = f"{self.network} {self.layer}"
            self._fits[n_null, seed] = fit_gabors(self.patterns, n_null=n_null, seed=seed, name=name)
        return self._fits[n_null, seed]

    def to_frame(self) -> pd.DataFrame:
        """One row a unit.

        ``norm`` (root of summed squared weights), the main colour axis (``axis_r axis_g axis_b``, or ``axis_l``) and
        its ``colour_share``; the Gabor fit (:data:`netphys.units.gabor.PARAMETERS`, ``r2 is_gabor is_blob``; missing
        where filters are smaller than 7 x 7 or all weights are equal); ``peak_frequency`` (cycles a pixel),
        ``peak_orientation`` (degrees) and ``bandwidth`` (octaves) of the spectrum. Orientations are of the bars,
        counter-clockwise from horizontal as seen, [0, 180).
        """
        import pandas as pd

        letters = "rgb" if self.colour == "rgb" else "l"
        peak, orientation, bandwidth = peaks_and_bandwidths(self.patterns)
        frame = pd.DataFrame(
            {"network": self.network, "training": self.training, "layer": self.layer, "unit": range(len(self))}
        )
        frame["norm"] = np.sqrt((self.filters.astype(np.float64) ** 2).sum((1, 2, 3)))
        for letter, column in zip(letters, self.colour_axes.T):
            frame[f"axis_{letter}"] = column
        frame["colour_share"] = self.colour_share
        if min(self.filters.shape[2:]) >= SMALLEST and np.ptp(self.patterns, axis=(1, 2)).any():
            fitted = self.fit_gabors().to_frame().drop(columns="unit")
        else:
            fitted = pd.DataFrame(np.nan, index=frame.index, columns=[*PARAMETERS, "r2", "is_gabor", "is_blob"])
        frame = pd.concat([frame, fitted], axis=1)
        return frame.assign(peak_frequency=peak, peak_orientation=orientation, bandwidth=bandwidth)

    def plot(self, ax: Axes | None = None, scale: str = "shared", order: str | Sequence[int] = "unit") -> Axes:
        """Draw all filters in a grid (:func:`netphys.units.filter_drawing.plot_filters`).

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where; a new figure by default.
        scale : {"shared", "each"}
            One scale for the whole grid, or each filter its own, which the title says. Weight 0 is mid-grey.
        order : {"unit", "norm", "frequency", "orientation"} or sequence of int
            Row by row: as in the layer; by norm, largest first; by the Gabor fit, those that are Gabor-like first.
        """
        from netphys.units.filter_drawing import plot_filters

        return plot_filters(self, ax, scale=scale, order=order)

    def save(self, folder: Path | str, name: str = "filters") -> Path:
        """Write ``NAME.npy`` (filters), ``NAME.csv`` (frame), ``NAME.json`` (what made them); return the CSV's path."""
        folder = ensure_folder(folder)
        with committing(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, self.filters, allow_pickle=False)
        text = self.to_frame().to_csv(index=False)
        record = provenance(
            "units.first_layer_filters",
            {"layer": self.layer, "colour": self.colour},
            {"filters": array_digest(self.filters)},
            network=self.network,
            stride=self.stride,
            padding=self.padding,
            finding=str(self),
        )
        write_json(folder / f"{name}.json", record)
        return write_text(folder / f"{name}.csv", text)


def first_layer_filters(network: Network | torch.nn.Module | str, *, layer: str | None = None) -> FilterBank:
    """Take the filters of a network's first convolution, as they act on an image in [0, 1].

    Parameters
    ----------
    network : Network, torch.nn.Module or address
        Any that looks at images (n, 3, y, x).
    layer : str, optional
        Path of a ``Conv2d``. Default: the first to run.

    Returns
    -------
    FilterBank
        1/std of the preprocessing, and what the network itself does to the colours of a pixel before the layer, are
        folded in. Where the preprocessing shows lightness on three equal channels, a filter is the sum of the three.

    Raises
    ------
    LayerNotFound
        If there is no such layer.
    OptionError
        If the network has no ``Conv2d``, the layer is none or does not see the image itself, its weights are not those
        that it applies, or the network prepares images in a way that cannot be folded.

    Examples
    --------
    >>> first_layer_filters("netphys:small_alexnet")
    FilterBank(netphys:small_alexnet conv1: 64 filters of 9 x 9 pixels, rgb, untrained)
    """
    network = as_network(network)
    preprocess = network.preprocess or Preprocess()
    if not isinstance(preprocess, Preprocess):
        raise OptionError(
            f"{network.name} prepares its images itself ({preprocess!r:.60}), so that its filters cannot be said to "
            "act on an image; use Preprocess(...), or pass the module alone for the weights as they are"
        )
    path, convolution, mixing = find_convolution(network, preprocess, layer)
    weights = applied_weights(path, convolution)
    filters = np.einsum("uiyx,ic->ucyx", weights, mixing / np.array(preprocess.std))
    if preprocess.colour == "lightness":
        filters = filters.sum(1, keepdims=True)
    stride = (int(convolution.stride[0]), int(convolution.stride[1]))
    return FilterBank(
        filters=filters.astype(np.float32),
        colour=preprocess.colour,
        layer=path,
        network=network.name,
        training=network.training,
        stride=stride,
        padding=str(convolution.padding),
    )
