"""The frequency view of filters: what a filter passes, where it passes most, and how widely.

A convolution is a multiplication of transforms only where the borders wrap round (:func:`circular_responses`); a layer
that pads with zeros differs from it near the border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["amplitude_spectra", "circular_responses", "peaks_and_bandwidths"]

SIDE = 64  # pixels to which filters are zero-padded
_FINE = 16  # points to a step of the padded transform, where the peak is refined and on the ray through it


def amplitude_spectra(patterns: Float[np.ndarray, "... y x"], side: int = SIDE) -> Float[np.ndarray, "... fy fx"]:
    """|DFT| of patterns zero-padded to `side` pixels (or their own size, where larger).

    Frequencies are those of ``np.fft.fftfreq``, cycles a pixel, zero first; ``np.fft.fftshift`` puts it in the middle.
    The mean is not removed: amplitude at zero is the answer to a uniform field.
    """
    side = max(side, *patterns.shape[-2:])
    return np.abs(np.fft.fft2(patterns, (side, side)))


def peaks_and_bandwidths(
    patterns: Float[np.ndarray, "unit y x"],
) -> tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " unit"], Float[np.ndarray, " unit"]]:
    """Where the amplitude spectrum is largest, and how wide it is there.

    Returns
    -------
    frequency : array (unit,)
        Cycles a pixel, to 1/1024 in both directions; 0 for a filter that passes the uniform field most.
    orientation : array (unit,)
        Of the bars, degrees counter-clockwise from horizontal as seen, [0, 180); NaN where the frequency is 0.
    bandwidth : array (unit,)
        Octaves, log2(f_high / f_low) at half the peak's amplitude along the ray from zero through the peak, as in
        De Valois et al. (1982); NaN where the amplitude does not fall to half on either side, below the highest
        frequency that pixels carry.

    References
    ----------
    De Valois, Albrecht & Thorell (1982), Vision Res 22:545, doi:10.1016/0042-6989(82)90113-4.

    Examples
    --------
    >>> x = np.arange(31) - 15
    >>> wave = np.exp(-(x**2 + x[:, None] ** 2) / 50) * np.cos(2 * np.pi * 0.2 * x)
    >>> [round(float(each[0]), 2) for each in peaks_and_bandwidths(wave[None])]
    [0.2, 90.0, 0.55]
    """
    patterns = np.asarray(patterns, np.float64)
    spectra = amplitude_spectra(patterns)
    side = spectra.shape[-1]
    half = spectra[:, :, : side // 2 + 1]  # the other half is its mirror image
    row, column = np.unravel_index(half.reshape(len(half), -1).argmax(1), half.shape[1:])
    fy, fx = np.fft.fftfreq(side)[row], column / side
    frequency, orientation, bandwidth = np.zeros(len(fx)), np.full(len(fx), np.nan), np.full(len(fx), np.nan)
    for unit in np.flatnonzero(np.hypot(fx, fy) > 0):
        peak = _refined(patterns[unit], fy[unit], fx[unit], side)
        frequency[unit] = np.hypot(*peak)
        if frequency[unit] == 0:
            continue
        orientation[unit] = np.rad2deg(np.arctan2(peak[1], peak[0])) % 180  # bars are at right angles to their change
        radii = np.arange(0, 0.5 * frequency[unit] / np.abs(peak).max() + 1e-9, 1 / (_FINE * side))
        ray = _along(patterns[unit], peak / frequency[unit], radii)
        bandwidth[unit] = _octaves(radii, ray, int(np.abs(radii - frequency[unit]).argmin()))
    return frequency, orientation, bandwidth


def circular_responses(
    image: Float[np.ndarray, "channel y x"], filters: Float[np.ndarray, "unit channel fy fx"]
) -> Float[np.ndarray, "unit y x"]:
    """What a convolutional layer answers where the image's borders wrap round, by multiplying transforms.

    Deep nets call convolution what is a correlation: the filter is not turned round, so its transform is conjugated.
    The answer at (y, x) is that of the filter whose middle (⌊fy/2⌋, ⌊fx/2⌋) lies there.
    """
    *_, height, width = filters.shape
    spectrum = np.conj(np.fft.fft2(filters, image.shape[-2:])) * np.fft.fft2(image)
    responses = np.fft.ifft2(spectrum.sum(1)).real
    return np.roll(responses, (height // 2, width // 2), axis=(1, 2))


def _refined(pattern: np.ndarray, fy: float, fx: float, side: int) -> np.ndarray:
    """Find the peak (fy, fx) on a fine grid around that of the padded transform."""
    steps = np.arange(-_FINE, _FINE + 1) / (_FINE * side)
    ys, xs = np.clip(fy + steps, -0.5, 0.5), np.clip(fx + steps, -0.5, 0.5)
    waves_y = np.exp(-2j * np.pi * np.outer(ys, np.arange(pattern.shape[0])))
    waves_x = np.exp(-2j * np.pi * np.outer(np.arange(pattern.shape[1]), xs))
    row, column = np.unravel_index(np.abs(waves_y @ pattern @ waves_x).argmax(), (len(ys), len(xs)))
    return np.array([ys[row], xs[column]])


def _along(pattern: np.ndarray, direction: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Amplitude at frequencies on a ray."""
    y, x = np.indices(pattern.shape).reshape(2, -1)
    place = y * direction[0] + x * direction[1]
    return np.abs(np.exp(-2j * np.pi * radii[:, None] * place) @ pattern.ravel())


def _octaves(radii: np.ndarray, ray: np.ndarray, top: int) -> float:
    """Width at half the peak in octaves, crossings interpolated; NaN where one is missing."""
    below = ray < ray[top] / 2
    low, high = np.flatnonzero(below[:top]), top + np.flatnonzero(below[top:])
    if not len(low) or not len(high):
        return float("nan")
    crossings = []
    for outside, inside in ((low[-1], low[-1] + 1), (high[0], high[0] - 1)):
        share = (ray[top] / 2 - ray[outside]) / (ray[inside] - ray[outside])
        crossings.append(radii[outside] + share * (radii[inside] - radii[outside]))
    return float(np.log2(crossings[1] / crossings[0]))
