"""Amplitude spectra of pictures: radii of frequencies, rotational averages, pictures given another amplitude.

The spectrum is that of the picture as it is, no window: it wraps around, and borders that do not meet have power along
the axes. Frequencies are in cycles a pixel; a *radius* is a frequency in cycles per shorter side, rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft

from netphys.errors import StimulusError
from netphys.stimuli.treating.steady import rounded

__all__ = ["MeanSpectrum", "SpectrumSum", "amplitudes", "frequencies", "radii", "rotational_average", "with_gain"]

_NOTHING = 1e-10  # of the largest amplitude: below it there is only rounding, and no phase to keep


@dataclass(frozen=True, eq=False)
class MeanSpectrum:
    """The mean amplitude spectrum of a set.

    Parameters
    ----------
    kind : {"rotational", "full"}
        Whether directions are averaged.
    size : (int, int)
        (y, x) of the pictures.
    amplitude : array of float64, (radius,) or (y, x // 2 + 1)
        Mean over pictures of the amplitude |FFT|, not divided by the number of pixels.
    """

    kind: str
    size: tuple[int, int]
    amplitude: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Plain data and arrays."""
        return {"kind": self.kind, "size": self.size, "amplitude": self.amplitude}

    def given_to(self, plane: np.ndarray, name: str) -> np.ndarray:
        """Give a picture (y, x) this spectrum; its phases stay."""
        _require_size(plane, self.size, name)
        spectrum = scipy.fft.rfft2(plane)
        amplitude = np.abs(spectrum)
        if self.kind == "full":
            gain = _ratio(self.amplitude, amplitude, amplitude.max())
        else:
            average = rotational_average(amplitude, self.size)
            gain = _ratio(self.amplitude, average, amplitude.max())[radii(self.size)[0]]
        return scipy.fft.irfft2(spectrum * gain, s=plane.shape)


class SpectrumSum:
    """Adds up the amplitude spectra of pictures of one size."""

    def __init__(self, kind: str) -> None:
        self._kind, self._n = kind, 0
        self._size = (0, 0)
        self._sum: np.ndarray | None = None

    def add(self, plane: np.ndarray, name: str) -> None:
        """Add a picture (y, x)."""
        if self._sum is None:
            self._size = (plane.shape[0], plane.shape[1])
        _require_size(plane, self._size, name)
        found = amplitudes(plane)
        if self._kind == "rotational":
            found = rotational_average(found, self._size)
        self._sum = found if self._sum is None else self._sum + found
        self._n += 1

    def mean(self) -> MeanSpectrum:
        """Return the mean."""
        assert self._sum is not None
        mean = self._sum / self._n
        return MeanSpectrum(self._kind, self._size, rounded(np.where(mean > _NOTHING * mean.max(), mean, 0)))


def amplitudes(plane: np.ndarray) -> np.ndarray:
    """Return |FFT| of a picture (y, x): the half plane (y, x // 2 + 1) of a real one."""
    return np.abs(scipy.fft.rfft2(plane))


@lru_cache(maxsize=8)
def frequencies(shape: tuple[int, int]) -> np.ndarray:
    """Return the frequency of each entry of the half plane, cycles a pixel."""
    y, x = scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])[None]
    return np.sqrt(y * y + x * x)


@lru_cache(maxsize=8)
def radii(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the radius of each entry of the half plane, how often it stands in the plane, and entries a radius."""
    radius = np.rint(frequencies(shape) * min(shape)).astype(np.int64)
    times = np.full(radius.shape, 2.0)
    times[:, 0] = 1
    if shape[1] % 2 == 0:
        times[:, -1] = 1
    return radius, times, np.bincount(radius.ravel(), times.ravel())


def rotational_average(amplitude: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Average an amplitude spectrum over directions.

    Parameters
    ----------
    amplitude : array (y, x // 2 + 1)
        Half plane.
    shape : (int, int)
        (y, x) of the picture.

    Returns
    -------
    array of float64 (radius,)
        At 0, 1, 2, ... cycles per shorter side, the corners of the plane included.
    """
    radius, times, n = radii(shape)
    return np.bincount(radius.ravel(), (amplitude * times).ravel(), len(n)) / np.maximum(n, 1)


def with_gain(plane: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Filter a picture (y, x) by a gain on the half plane."""
    return scipy.fft.irfft2(scipy.fft.rfft2(plane) * gain, s=plane.shape)


def _require_size(plane: np.ndarray, size: tuple[int, int], name: str) -> None:
    if plane.shape != size:
        (y, x), (other_y, other_x) = plane.shape, size
        raise StimulusError(
            f"spectra are matched between pictures of one size: {name} is {y} x {x}, others {other_y} x {other_x}; "
            "put resize((y, x)) or crop(...) before"
        )


def _ratio(wanted: np.ndarray, found: np.ndarray, largest: float) -> np.ndarray:
    """Divide; where a picture has nothing but rounding, it gets nothing."""
    some = found > _NOTHING * largest
    return np.where(some, wanted / np.where(some, found, 1), 0)
