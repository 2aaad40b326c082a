"""What drives the simulated V4: averages of products of two energy maps, the statistics that tell textures apart.

Complex-cell energies at four orientations and up to three spatial frequencies are multiplied in pairs (two
orientations, two frequencies, or two places) and averaged over a receptive field several times larger than in V1:
the correlations of magnitudes of Portilla and Simoncelli (2000), to which V2 (Freeman et al. 2013) and V4 (Okazawa et
al. 2015) respond. Every unit has its own field and a sparse set of products of its own; no model that the package
offers computes products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.cortex.receptive_fields import DEGREES, SDS, ReceptiveFields
from netphys.neural.cortex.v1 import ROUNDING, contrast_of
from netphys.seeds import generator

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["MAX_SIDE", "Product", "V4Bank", "V4Units", "energy_maps", "sample_v4", "v4_features"]

ORIENTATIONS = (0.0, 45.0, 90.0, 135.0)  # degrees, along the stripes, counter-clockwise
FREQUENCIES = (1.0, 2.0, 4.0)  # cycles per degree; those above 0.3 cycles per pixel are left out
_BANDWIDTH = 0.5  # octaves, standard deviation in log frequency: neighbours in FREQUENCIES meet at 0.61 of the peak
_TURN = 20.0  # degrees, standard deviation in orientation: neighbours in ORIENTATIONS meet at 0.53 of the peak
_NYQUIST = 0.3  # cycles per pixel

# Diameters: 3 to 5.5 times the median of our V1 (0.82 degrees), log-uniform: our choice. Within the central 5 degrees
# they are 4 to 7 times those of V1 (Desimone and Schein 1987, doi 10.1152/jn.1987.57.3.835); the image spans only 4
_SIZES = (2.5, 4.5)
_SCATTER = 1.5  # degrees: centres are uniform in the square of this half side
_PRODUCTS = 4  # products that a unit reads: our choice of sparseness
_HALF = 0.02  # contrast: mean energy at which products are divided by twice their square
MAX_SIDE = 64  # pixels; larger images are averaged down to it, the highest frequency then has 4 pixels a cycle
_MARGIN = 1.0  # degrees by which the image is mirrored at its borders: a cycle of the lowest frequency
_SPACING = 0.125  # degrees between places of a map: half a cycle of the highest frequency
_BATCH = 64  # images at a time; bounds memory at 64 x 12 maps of 48 x 48 complex numbers (28 MB) and their products


class Product(NamedTuple):
    """Two maps, as (frequency, orientation) by index, and by how many cycles the second is moved along its stripes and
    across them."""

    first: tuple[int, int]
    second: tuple[int, int]
    along: int = 0
    across: int = 0


@dataclass(frozen=True)
class V4Units:
    """Parameters of the units, one entry a unit."""

    x: np.ndarray  # degrees from the centre of the image, rightwards
    y: np.ndarray  # degrees from the centre, downwards
    size: np.ndarray  # degrees, 4 standard deviations of the field
    products: tuple[Product, ...]  # all that there are
    reads: np.ndarray  # (unit, 4) index into products
    weights: np.ndarray  # (unit, 4), at least 0, sums 1

    def __len__(self) -> int:
        return len(self.x)

    @property
    def receptive_fields(self) -> ReceptiveFields:
        """Where the units look."""
        return ReceptiveFields(self.x, self.y, self.size)


def v4_features(images: Any, *, n_units: int = 1000, seed: int = 0) -> Float[np.ndarray, "stimulus unit"]:
    """Responses of sampled V4 units to images.

    Parameters
    ----------
    images : uint8 or float (stimulus, 3, height, width), or a torch tensor of it
        0..255 or [0, 1]. The image spans 4 degrees.
    n_units : int
        How many units.
    seed : int
        Draws the units.

    Returns
    -------
    float64 (stimulus, unit)
        At least 0; near 1 where the energies of a pair are unrelated and equal to the mean, more where they are high
        at the same places.

    Raises
    ------
    NeuralDataError
        If the images are no images, or too small for any frequency (14 pixels a side).

    Notes
    -----
    With E_a the amplitude of a log-Gabor quadrature pair on the contrast image c = 2 grey - 1 (scaled to 1 on its
    preferred grating), E the mean of all E_a, and G_k the Gaussian field of unit k, which sums to 1 over the image::

        r_k = sum_m w_km <E_a(m)(p) E_b(m)(p + d(m))>_k / (0.02^2 + <E(p)>_k^2),     <f>_k = sum_p G_k(p) f(p)

    The division takes contrast away, not what is sparse: products are compared with what their means would give.

    References
    ----------
    Portilla J, Simoncelli EP (2000). Int J Comput Vis 40:49, section 2.2. doi:10.1023/A:1026553619983.
    Freeman J, Ziemba CM, Heeger DJ, Simoncelli EP, Movshon JA (2013). Nat Neurosci 16:974. doi:10.1038/nn.3402.
    Okazawa G, Tajima S, Komatsu H (2015). PNAS 112:E351. doi:10.1073/pnas.1415146112.
    """
    contrast = contrast_of(images, max_side=MAX_SIDE)
    return V4Bank.sampled(*contrast.shape[1:], n_units=n_units, seed=seed).respond(contrast)


@dataclass(frozen=True)
class V4Bank:
    """Sampled units for images of one size: what :func:`v4_features` makes anew at every call."""

    units: V4Units
    height: int
    width: int

    @classmethod
    def sampled(cls, height: int, width: int, *, n_units: int = 1000, seed: int = 0) -> V4Bank:
        """Units for contrast images of `height` x `width`."""
        return cls(sample_v4(n_units, pixels_per_degree=max(height, width) / DEGREES, seed=seed), height, width)

    def respond(self, contrast: Float[np.ndarray, "stimulus y x"]) -> Float[np.ndarray, "stimulus unit"]:
        """Responses to contrast images; see :func:`v4_features`."""
        return np.concatenate([self._part(contrast[at : at + _BATCH]) for at in range(0, len(contrast), _BATCH)])

    @cached_property
    def _maps(self) -> _Maps:
        return _Maps.of(self.height, self.width)

    @cached_property
    def _windows(self) -> np.ndarray:
        """Receptive fields (place, unit), sums of 1 over places."""
        y, x = self._maps.places
        units = self.units
        squared = (x.reshape(-1, 1) - units.x) ** 2 + (y.reshape(-1, 1) - units.y) ** 2
        windows = np.exp(-0.5 * squared / (units.size / SDS) ** 2)
        return windows / windows.sum(axis=0)

    def _part(self, contrast: np.ndarray) -> np.ndarray:
        """Responses to a few images."""
        maps, energy = self._maps, self._maps.energies(contrast)
        still = maps.core(energy, (0, 0)).reshape(*energy.shape[:2], -1)
        summed = np.zeros((len(contrast), len(self.units)))
        for at, product in enumerate(self.units.products):
            units, slots = np.nonzero(self.units.reads == at)
            second = maps.core(energy[:, maps.index(product.second)], maps.shift(product))
            both = still[:, maps.index(product.first)] * second.reshape(len(contrast), -1)
            part = (both @ self._windows[:, units]) * self.units.weights[units, slots]
            np.add.at(summed.T, units, part.T)
        return summed / (_HALF**2 + (still.mean(axis=1) @ self._windows) ** 2)


def sample_v4(n_units: int, *, pixels_per_degree: float, seed: int = 0) -> V4Units:
    """Draw units one at a time, each from its own generator: more units leave the first ones as they were.

    Parameters
    ----------
    n_units : int
    pixels_per_degree : float
        Bounds the spatial frequencies at 0.3 cycles per pixel.
    seed : int
    """
    if n_units < 1:
        raise NeuralDataError(f"the simulated V4 needs at least 1 unit, not {n_units}")
    kinds = _products(len(_frequencies(pixels_per_degree)))
    products = tuple(product for kind in kinds for product in kind)
    starts = np.cumsum([0, *(len(kind) for kind in kinds)])
    fields, reads, weights = np.empty((3, n_units)), np.empty((n_units, _PRODUCTS), int), np.empty((n_units, _PRODUCTS))
    for unit in range(n_units):
        draws = generator(seed, "cortex", "V4", "unit", unit)
        fields[:2, unit] = draws.uniform(-_SCATTER, _SCATTER, size=2)
        fields[2, unit] = np.exp(draws.uniform(*np.log(_SIZES)))
        for slot in range(_PRODUCTS):  # each kind of product as often as the others, however many there are of it
            kind = draws.integers(len(kinds))
            reads[unit, slot] = starts[kind] + draws.integers(len(kinds[kind]))
        weights[unit] = draws.dirichlet(np.ones(_PRODUCTS))
    return V4Units(fields[0], fields[1], fields[2], products, reads, weights)


def energy_maps(contrast: Float[np.ndarray, "stimulus y x"]) -> Float[np.ndarray, "stimulus map y x"]:
    """Energy maps of contrast images, frequency by frequency, orientations 0, 45, 90, 135 degrees within each.

    Places are an eighth of a degree apart, or a pixel where pixels are larger.
    """
    maps = _Maps.of(*contrast.shape[1:])
    parts = [maps.core(maps.energies(contrast[at : at + _BATCH]), (0, 0)) for at in range(0, len(contrast), _BATCH)]
    return np.concatenate(parts)


@dataclass(frozen=True)
class _Maps:
    """Filters for images of one size, and how their maps are laid out."""

    height: int
    width: int
    step: int  # pixels between places
    margin: int  # pixels that are mirrored at each border, a multiple of step
    frequencies: tuple[float, ...]
    filters: np.ndarray  # (map, y, x) of the padded image's spectrum, real

    @classmethod
    def of(cls, height: int, width: int) -> _Maps:
        """Filters for images of `height` x `width`."""
        density = max(height, width) / DEGREES
        step = max(1, round(_SPACING * density))
        margin = step * int(np.ceil(_MARGIN * density / step))
        frequencies = _frequencies(density)
        padded = [step * int(np.ceil(side / step)) + 2 * margin for side in (height, width)]
        v, u = np.meshgrid(*(np.fft.fftfreq(side) * density for side in padded), indexing="ij")
        radius, direction = np.hypot(u, v), np.rad2deg(np.arctan2(-v, u))
        radius[0, 0] = 1e-9  # grey drives nothing
        filters = [
            2.0
            * np.exp(-0.5 * (np.log2(radius / frequency) / _BANDWIDTH) ** 2)
            * np.exp(-0.5 * (_turned(direction - orientation - 90.0) / _TURN) ** 2)
            for frequency in frequencies
            for orientation in ORIENTATIONS
        ]
        return cls(height, width, step, margin, frequencies, np.stack(filters))

    def energies(self, contrast: np.ndarray) -> np.ndarray:
        """Amplitudes (stimulus, map, y, x) at every `step` pixels, margins included."""
        rows, columns = self.filters.shape[1:]
        before = self.margin
        after = (rows - self.height - before, columns - self.width - before)
        padded = np.pad(contrast, ((0, 0), (before, after[0]), (before, after[1])), mode="symmetric")
        spectrum = np.fft.fft2(padded)
        step = self.step
        energy = np.empty((len(contrast), len(self.filters), rows // step, columns // step))
        for at, kernel in enumerate(self.filters):  # taking every step-th pixel folds the spectrum
            folded = (spectrum * kernel).reshape(len(contrast), step, rows // step, step, columns // step)
            energy[:, at] = np.abs(np.fft.ifft2(folded.mean(axis=(1, 3))))
        energy[energy < ROUNDING] = 0.0  # an even image has no energy
        return energy

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Y and x of the places within the image, degrees from its centre."""
        side = DEGREES / max(self.height, self.width)
        across = [(np.arange(0, size, self.step) - (size - 1) / 2) * side for size in (self.height, self.width)]
        y, x = np.meshgrid(*across, indexing="ij")
        return y, x

    def core(self, energy: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
        """Maps within the image, moved by `shift` places."""
        rows, columns = (-(-size // self.step) for size in (self.height, self.width))
        top, left = (self.margin // self.step + each for each in shift)
        return energy[..., top : top + rows, left : left + columns]

    def index(self, which: tuple[int, int]) -> int:
        """Index of a map."""
        return which[0] * len(ORIENTATIONS) + which[1]

    def shift(self, product: Product) -> tuple[int, int]:
        """By how many places, down and to the right, the second map is moved."""
        frequency, angle = self.frequencies[product.second[0]], np.deg2rad(ORIENTATIONS[product.second[1]])
        cycle = max(self.height, self.width) / DEGREES / self.step / frequency
        right = product.along * np.cos(angle) - product.across * np.sin(angle)
        up = product.along * np.sin(angle) + product.across * np.cos(angle)
        return round(-up * cycle), round(right * cycle)


def _turned(degrees: np.ndarray) -> np.ndarray:
    """Angles within [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0


def _frequencies(pixels_per_degree: float) -> tuple[float, ...]:
    """Spatial frequencies that the pixels carry."""
    carried = tuple(each for each in FREQUENCIES if each <= _NYQUIST * pixels_per_degree)
    if not carried:
        least = int(np.ceil(FREQUENCIES[0] / _NYQUIST * DEGREES))
        raise NeuralDataError(f"the simulated V4 needs images of at least {least} pixels a side")
    return carried


def _products(n_frequencies: int) -> tuple[tuple[Product, ...], ...]:
    """All products by kind: two orientations, two neighbouring frequencies, two places a cycle apart."""
    n = len(ORIENTATIONS)
    orientations = [Product((f, a), (f, b)) for f in range(n_frequencies) for a in range(n) for b in range(a + 1, n)]
    frequencies = [Product((f, a), (f + 1, a)) for f in range(n_frequencies - 1) for a in range(n)]
    along = [Product((f, a), (f, a), along=1) for f in range(n_frequencies) for a in range(n)]
    across = [Product((f, a), (f, a), across=1) for f in range(n_frequencies) for a in range(n)]
    return tuple(tuple(kind) for kind in (orientations, frequencies, along + across) if kind)
