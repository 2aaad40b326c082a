"""What a Gabor fit makes of noise: untrained filters of the same size and the same radial spectrum.

A patch cut from smooth noise holds one or two blobs and looks like a Gabor function; noise made by scaling the
transform of the patch itself is periodic, is fitted worse, and makes a threshold that smooth noise passes. So the noise
here is a patch cut from a stationary field, whose spectrum is such that the *patch* has the filter's radial spectrum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netphys.seeds import generator

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["radial_noise", "radial_spectra"]

_FINE = 2  # rings of the field to a ring of the patch's transform
_HIGHEST = 0.72  # cycles a pixel: just beyond the corner of the square of frequencies, 0.5 √2


def radial_noise(patterns: Float[np.ndarray, "filter y x"], n: int, *, seed: int = 0) -> Float[np.ndarray, "noise y x"]:
    """Draw noise that has the radial spectra of patterns, and nothing else of them.

    Noise i takes the spectrum of pattern i modulo their number. The field is isotropic and Gaussian: its power on thin
    rings (covariance J0(2πfr)) and its white part, none negative, are those whose patch comes nearest to the
    pattern's radial spectrum, by least squares. So smoothness is kept; orientation, phase and place are those of noise.

    Parameters
    ----------
    patterns : array (filter, y, x)
        Any scale; none of them zero.
    n : int
        How many to draw.
    seed : int
        Of the noise.

    Returns
    -------
    array (n, y, x)
        Each with the expected energy of its pattern.
    """
    from scipy.optimize import nnls

    shape = patterns.shape[1:]
    used = patterns[:n]
    side = 2 * max(shape)
    covariances = _ring_covariances(side)
    window = np.fft.ifft2(np.abs(np.fft.fft2(np.ones(shape), (side, side))) ** 2).real  # pairs of pixels at each lag
    expected = _by_ring(np.fft.fft2(covariances * window).real).T  # (ring of the patch, ring of the field)
    y, x = np.indices(shape).reshape(2, -1)
    lags = (y[:, None] - y) % side, (x[:, None] - x) % side
    draws = generator(seed, "units", "gabor_null").normal(size=(n, patterns[0].size))
    noise = np.empty((n, patterns[0].size))
    for row, spectrum in enumerate(radial_spectra(used)):
        power, _ = nnls(expected, spectrum / spectrum.max())
        values, vectors = np.linalg.eigh(np.tensordot(power * spectrum.max(), covariances, 1)[lags])
        noise[row :: len(used)] = draws[row :: len(used)] * np.sqrt(np.maximum(values, 0)) @ vectors.T
    return noise.reshape(n, *shape)


def radial_spectra(patterns: Float[np.ndarray, "filter y x"]) -> Float[np.ndarray, "filter ring"]:
    """Power of the transform, zero-padded to twice the longer side s, averaged on rings 1/2s cycles a pixel wide."""
    side = 2 * max(patterns.shape[1:])
    return _by_ring(np.abs(np.fft.fft2(patterns, (side, side))) ** 2)


def _by_ring(power: np.ndarray) -> np.ndarray:
    """Average over rings of frequency: (.., y, x) to (.., ring)."""
    frequency = np.fft.fftfreq(power.shape[-1])
    ring = np.rint(np.hypot(frequency[:, None], frequency) * power.shape[-1]).astype(int).ravel()
    count = np.bincount(ring)
    return np.stack([np.bincount(ring, each.ravel()) / count for each in power])


def _ring_covariances(side: int) -> np.ndarray:
    """Covariance over lags (y, x), wrapped, of fields with unit power on one ring each; the last is white."""
    from scipy.special import j0

    lag = np.minimum(np.arange(side), side - np.arange(side))
    distance = np.hypot(lag[:, None], lag)
    rings = np.arange(0, _HIGHEST, 1 / (_FINE * side))
    return np.concatenate([j0(2 * np.pi * rings[:, None, None] * distance), [distance == 0]])
