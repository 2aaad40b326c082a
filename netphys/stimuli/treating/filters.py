"""Steps that filter a picture: blur, low-, high- and band-pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from netphys.errors import OptionError
from netphys.stimuli.treating.spectra import frequencies, with_gain
from netphys.stimuli.treating.step import Picture, Step, number, one_of, option, or_none, whole

__all__ = ["Bandpass", "Blur", "Highpass", "Lowpass"]

_UNIT = one_of("image", "degree", "pixel")
_CUTOFF = number(0, 8192, above=True)
_ORDER = or_none(whole(1, 64))


@dataclass(frozen=True)
class Blur(Step):
    """Blur with a Gaussian; borders are mirrors.

    Parameters
    ----------
    sigma : float
        Standard deviation, pixels; the Gaussian ends at 4 of them.
    """

    keyword: ClassVar[str] = "blur"
    sigma: float = option(number(0, 1000, above=True))

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        from scipy.ndimage import gaussian_filter

        return picture.each_channel(lambda plane: gaussian_filter(plane, self.sigma, mode="mirror", truncate=4.0))


@dataclass(frozen=True)
class Lowpass(Step):
    """Keep low spatial frequencies: ``1 / sqrt(1 + (f / cutoff)^(2 order))`` (Butterworth).

    Parameters
    ----------
    cutoff : float
        Where half of the power is left.
    order : int, optional
        Steepness; None: all below and at the cutoff, nothing above.
    unit : {"image", "degree", "pixel"}
        Cycles per what; ``"image"``: per the picture's shorter side.

    Notes
    -----
    The picture is taken to wrap around at its borders.
    """

    keyword: ClassVar[str] = "lowpass"
    cutoff: float = option(_CUTOFF)
    order: int | None = option(_ORDER, 4)
    unit: str = option(_UNIT, "image")

    @property
    def may_leave_range(self) -> bool:
        return True

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        cutoff = _per_pixel(picture, self.cutoff, self.unit, self.keyword)
        return _filtered(picture, lambda f: _low(f, cutoff, self.order))


@dataclass(frozen=True)
class Highpass(Step):
    """Keep high spatial frequencies, and the mean: ``1 / sqrt(1 + (cutoff / f)^(2 order))`` above 0.

    Parameters
    ----------
    cutoff, order, unit
        As of :class:`Lowpass`; with order None, all at and above the cutoff.
    """

    keyword: ClassVar[str] = "highpass"
    cutoff: float = option(_CUTOFF)
    order: int | None = option(_ORDER, 4)
    unit: str = option(_UNIT, "image")

    @property
    def may_leave_range(self) -> bool:
        return True

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        cutoff = _per_pixel(picture, self.cutoff, self.unit, self.keyword)
        return _filtered(picture, lambda f: _high(f, cutoff, self.order))


@dataclass(frozen=True)
class Bandpass(Step):
    """Keep a band of spatial frequencies, and the mean: a high- and a low-pass, one after the other.

    Parameters
    ----------
    low, high : float
        The cutoffs, `low` below `high`.
    order, unit
        As of :class:`Lowpass`.
    """

    keyword: ClassVar[str] = "bandpass"
    low: float = option(_CUTOFF)
    high: float = option(_CUTOFF)
    order: int | None = option(_ORDER, 4)
    unit: str = option(_UNIT, "image")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low >= self.high:
            raise OptionError(f"bandpass: low={self.low:g} is not below high={self.high:g}")

    @property
    def may_leave_range(self) -> bool:
        return True

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        low, high = (_per_pixel(picture, each, self.unit, self.keyword) for each in (self.low, self.high))
        return _filtered(picture, lambda f: _high(f, low, self.order) * _low(f, high, self.order))


def _per_pixel(picture: Picture, frequency: float, unit: str, step: str) -> float:
    """Turn a frequency into cycles a pixel."""
    return frequency / picture.in_pixels(1, unit, step)


def _filtered(picture: Picture, gain_at: Callable[[np.ndarray], np.ndarray]) -> Picture:
    gain = gain_at(frequencies(picture.size))
    gain[0, 0] = 1  # the mean stays
    return picture.each_channel(lambda plane: with_gain(plane, gain))


def _low(f: np.ndarray, cutoff: float, order: int | None) -> np.ndarray:
    ratio = f / cutoff
    if order is None:
        return (ratio <= 1 + 1e-9).astype(float)  # a frequency that is the cutoff is in, whatever its rounding
    with np.errstate(over="ignore"):  # far above the cutoff nothing is left
        return 1 / np.sqrt(1 + ratio ** (2 * order))


def _high(f: np.ndarray, cutoff: float, order: int | None) -> np.ndarray:
    if order is None:
        return (f / cutoff >= 1 - 1e-9).astype(float)
    with np.errstate(over="ignore", divide="ignore"):
        return 1 / np.sqrt(1 + (cutoff / f) ** (2 * order))
