"""What drives the simulated V1: complex and simple cells sampled one by one from published distributions.

Gabor energy of a quadrature pair (Adelson and Bergen 1985) with divisive normalisation (Heeger 1992). Every unit has
its own position, orientation, spatial frequency and size, so that this generator is not among the models that the
package offers: ``netphys:gabor_energy`` is a regular bank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.cortex.receptive_fields import DEGREES, SDS, ReceptiveFields
from netphys.seeds import generator

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["ROUNDING", "V1Bank", "V1Units", "contrast_of", "sample_v1", "v1_features"]

# Preferred orientation, degrees, bins of 45 centred on 0, 45, 90, 135: numbers of macaque cells
# (De Valois, Yund and Hepler 1982, doi 10.1016/0042-6989(82)90112-2; as tabulated by Dapello et al. 2020, VOneNet)
_ORIENTATION_COUNTS = (66, 49, 77, 54)
# Preferred spatial frequency, cycles per degree, half-octave bins: numbers of macaque cells
# (De Valois, Albrecht and Thorell 1982, doi 10.1016/0042-6989(82)90113-4; as tabulated by Dapello et al. 2020)
_FREQUENCY_EDGES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
_FREQUENCY_COUNTS = (4, 4, 8, 25, 32, 26, 28, 12)
# Width of the envelope across the stripes, in cycles (sigma times frequency): the two bins of Ringach 2002
# (doi 10.1152/jn.00881.2001; as tabulated by Dapello et al. 2020) that a quadrature pair can have; below 0.3 cycles
# even and odd member differ by more than 1 % in their response to the preferred grating
_WIDTH_EDGES = (0.302, 0.525, 0.912)
_WIDTH_COUNTS = (42, 12)
_ASPECT = (0.8, 2.0)  # length along the stripes over width, log-uniform: our summary of the same joint histogram

_MAX_SIDE = 96  # pixels; larger images are averaged down to it (the filters then take at most 9,216 pixels a unit)
_NYQUIST = 0.3  # cycles per pixel that a unit may prefer; above it a sampled Gabor is no Gabor any more
_HALF = 0.1  # contrast at which a unit alone in its pool gives half of its greatest response
_POOL = 2.0  # standard deviation of the normalisation pool, in those of the receptive field; about the whole surround
ROUNDING = 1e-10  # of the response to the preferred grating: sums of 9,216 pixels leave less of an even image
_BATCH = 64  # images a product; bounds memory at 64 x 9,216 float64
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601: grey of red, green, blue


@dataclass(frozen=True)
class V1Units:
    """Parameters of the units, one entry a unit."""

    x: np.ndarray  # degrees from the centre of the image, rightwards
    y: np.ndarray  # degrees from the centre, downwards
    orientation: np.ndarray  # degrees in [-22.5, 157.5): direction along the stripes
    frequency: np.ndarray  # cycles per degree
    width: np.ndarray  # standard deviation of the envelope across the stripes, degrees
    length: np.ndarray  # along the stripes, degrees

    def __len__(self) -> int:
        return len(self.x)

    @property
    def receptive_fields(self) -> ReceptiveFields:
        """Where the units look; sizes are of the envelope's geometric mean, tuning is orientation and frequency."""
        size = SDS * np.sqrt(self.width * self.length)
        return ReceptiveFields(self.x, self.y, size, {"orientation": self.orientation, "frequency": self.frequency})


def v1_features(
    images: Any,
    *,
    n_units: int = 1000,
    cells: Literal["complex", "simple"] = "complex",
    normalise: bool = True,
    seed: int = 0,
) -> Float[np.ndarray, "stimulus unit"]:
    """Responses of sampled V1 units to images.

    Parameters
    ----------
    images : uint8 or float (stimulus, 3, height, width), or a torch tensor of it
        0..255 or [0, 1]. The image spans 4 degrees.
    n_units : int
        How many units. 1000: RDMs of two draws then correlate above 0.9 (docs/cortex.md); time and memory grow with it.
    cells : {"complex", "simple"}
        Energy of the quadrature pair, or its even member half-rectified.
    normalise : bool
        Whether responses are divided by those of the neighbourhood.
    seed : int
        Draws the units.

    Returns
    -------
    float64 (stimulus, unit)
        At least 0; 1 without normalisation is the response to the preferred grating at full contrast.

    Notes
    -----
    With the filters g scaled to 1 on their preferred grating and the contrast image c = 2 grey - 1::

        E_k = sqrt((g_even_k . c)^2 + (g_odd_k . c)^2),     r_k = E_k / (0.1 + sqrt(sum_j w_kj E_j^2))

    w_kj falls with the distance of the receptive fields (a Gaussian of twice the envelope of k) and sums to 1 over j.

    References
    ----------
    Adelson EH, Bergen JR (1985). J Opt Soc Am A 2:284. doi:10.1364/JOSAA.2.000284.
    Heeger DJ (1992). Vis Neurosci 9:181. doi:10.1017/S0952523800009640.
    """
    contrast = contrast_of(images)
    return V1Bank.sampled(*contrast.shape[1:], n_units=n_units, seed=seed).respond(contrast, cells, normalise)


@dataclass(frozen=True)
class V1Bank:
    """Sampled units with their filters for images of one size: what :func:`v1_features` makes anew at every call."""

    units: V1Units
    filters: np.ndarray  # (pixel, 2 * unit): even members, then odd ones
    pools: np.ndarray  # (unit, unit): weights of the normalisation

    @classmethod
    def sampled(cls, height: int, width: int, *, n_units: int = 1000, seed: int = 0) -> V1Bank:
        """Sample units for contrast images of `height` x `width`."""
        units = sample_v1(n_units, pixels_per_degree=max(height, width) / DEGREES, seed=seed)
        return cls(units, np.concatenate(_filters(units, height, width), axis=1), _pools(units))

    def respond(
        self,
        contrast: Float[np.ndarray, "stimulus y x"],
        cells: Literal["complex", "simple"] = "complex",
        normalise: bool = True,
    ) -> Float[np.ndarray, "stimulus unit"]:
        """Responses to contrast images; see :func:`v1_features`."""
        if cells not in ("complex", "simple"):
            raise NeuralDataError(f"there are no cells {cells!r}; complex or simple")
        flat = contrast.reshape(len(contrast), -1)
        products = np.concatenate([flat[at : at + _BATCH] @ self.filters for at in range(0, len(flat), _BATCH)])
        products[np.abs(products) < ROUNDING] = 0.0
        evens, odds = products[:, : len(self.units)], products[:, len(self.units) :]
        energy = np.sqrt(evens**2 + odds**2)
        responses = energy if cells == "complex" else np.maximum(evens, 0.0)
        return responses / (_HALF + np.sqrt(energy**2 @ self.pools.T)) if normalise else responses


def sample_v1(n_units: int, *, pixels_per_degree: float, seed: int = 0) -> V1Units:
    """Draw units one at a time, each from its own generator: more units leave the first ones as they were.

    Parameters
    ----------
    n_units : int
    pixels_per_degree : float
        Bounds the spatial frequency at 0.3 cycles per pixel (the distribution is cut there).
    seed : int
    """
    if n_units < 1:
        raise NeuralDataError(f"the simulated V1 needs at least 1 unit, not {n_units}")
    if _NYQUIST * pixels_per_degree <= _FREQUENCY_EDGES[0]:
        least = math.floor(DEGREES * _FREQUENCY_EDGES[0] / _NYQUIST) + 1
        raise NeuralDataError(
            f"the simulated V1 needs images of at least {least} pixels on the longer side, not "
            f"{round(DEGREES * pixels_per_degree)}: smaller ones carry none of the frequencies that its cells prefer"
        )
    drawn = np.array([_unit(generator(seed, "cortex", "V1", "unit", at), pixels_per_degree) for at in range(n_units)])
    return V1Units(*drawn.T)


def contrast_of(images: Any, *, max_side: int = _MAX_SIDE) -> Float[np.ndarray, "stimulus y x"]:
    """Grey images as contrast about mid-grey, in [-1, 1], averaged down to at most `max_side` pixels a side."""
    values = np.asarray(images)
    if values.ndim != 4 or values.shape[1] not in (1, 3) or 0 in values.shape:
        raise NeuralDataError(
            f"the simulated cortex needs images (n, 3, height, width), these have shape {values.shape}"
        )
    weights = np.array(_LUMA if values.shape[1] == 3 else (1.0,))
    if values.dtype == np.uint8:
        weights = weights / 255.0
    elif values.dtype.kind != "f":
        raise NeuralDataError(
            f"the simulated cortex needs images of uint8 or float in [0, 1], these are {values.dtype}"
        )
    height, width = values.shape[2:]
    shrink = min(1.0, max_side / max(height, width))
    rows, columns = _averaging(height, shrink), _averaging(width, shrink)
    grey = np.concatenate([
        rows @ np.einsum("nchw,c->nhw", values[at : at + _BATCH].astype(np.float64), weights) @ columns.T
        for at in range(0, len(values), _BATCH)
    ])  # fmt: skip
    return 2.0 * grey - 1.0


def _unit(draws: np.random.Generator, pixels_per_degree: float) -> tuple[float, ...]:
    """Draw one unit: x, y, orientation, frequency, width, length."""
    x, y = draws.uniform(-DEGREES / 2, DEGREES / 2, size=2)
    bin_at = draws.choice(4, p=np.array(_ORIENTATION_COUNTS) / sum(_ORIENTATION_COUNTS))
    orientation = 45.0 * bin_at + draws.uniform(-22.5, 22.5)
    frequency = _from_histogram(draws, _FREQUENCY_EDGES, _FREQUENCY_COUNTS)
    while frequency > _NYQUIST * pixels_per_degree:
        frequency = _from_histogram(draws, _FREQUENCY_EDGES, _FREQUENCY_COUNTS)
    width = _from_histogram(draws, _WIDTH_EDGES, _WIDTH_COUNTS) / frequency
    length = width * np.exp(draws.uniform(*np.log(_ASPECT)))
    return x, y, orientation, frequency, width, length


def _from_histogram(draws: np.random.Generator, edges: tuple[float, ...], counts: tuple[int, ...]) -> float:
    """Draw a bin by its count and a value log-uniform within it."""
    at = draws.choice(len(counts), p=np.array(counts) / sum(counts))
    return float(np.exp(draws.uniform(np.log(edges[at]), np.log(edges[at + 1]))))


def _filters(units: V1Units, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Even and odd filters, (pixel, unit): no response to grey, response 1 to the preferred grating."""
    side = DEGREES / max(height, width)  # degrees a pixel
    across_x = (np.arange(width) - (width - 1) / 2) * side
    across_y = (np.arange(height) - (height - 1) / 2) * side
    y, x = (each.reshape(-1, 1) for each in np.meshgrid(across_y, across_x, indexing="ij"))
    angle = np.deg2rad(units.orientation)
    along = (x - units.x) * np.cos(angle) - (y - units.y) * np.sin(angle)  # y points down: counter-clockwise angles
    across = (x - units.x) * np.sin(angle) + (y - units.y) * np.cos(angle)
    envelope = np.exp(-0.5 * ((along / units.length) ** 2 + (across / units.width) ** 2))
    envelope /= envelope.sum(axis=0)
    phase = 2.0 * np.pi * units.frequency * across
    even = envelope * (np.cos(phase) - (envelope * np.cos(phase)).sum(axis=0))
    odd = envelope * (np.sin(phase) - (envelope * np.sin(phase)).sum(axis=0))
    return even / (even * np.cos(phase)).sum(axis=0), odd / (odd * np.sin(phase)).sum(axis=0)


def _pools(units: V1Units) -> np.ndarray:
    """Weights of the normalisation pools, (unit, unit), rows summing to 1."""
    distance = (units.x[:, None] - units.x) ** 2 + (units.y[:, None] - units.y) ** 2
    spread = _POOL * np.sqrt(units.width * units.length)
    weights = np.exp(-0.5 * distance / spread[:, None] ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


def _averaging(size: int, shrink: float) -> np.ndarray:
    """Matrix (out, in) that averages `size` pixels down by area; the identity where nothing shrinks."""
    out = max(1, round(size * shrink))
    edges = np.linspace(0.0, size, out + 1)
    low, high = edges[:-1, None], edges[1:, None]
    cover = np.clip(np.minimum(high, np.arange(1, size + 1)) - np.maximum(low, np.arange(size)), 0.0, 1.0)
    return cover / cover.sum(axis=1, keepdims=True)
