"""Steps that make the pictures of a set alike: mean and contrast, histogram, amplitude spectrum, or both; and range.

What is not given is measured on the whole set, after the steps before. The measures are those of the SHINE toolbox;
where it differs is said with each step.

References
----------
Willenbockel V. et al. (2010). Controlling low-level image properties: the SHINE toolbox. Behav Res Methods 42:671,
doi:10.3758/BRM.42.3.671.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from netphys.colorimetry import lab_to_srgb, srgb_to_lab
from netphys.errors import StimulusError
from netphys.stimuli.treating.flat import FlatRegions, is_ground
from netphys.stimuli.treating.histograms import HistogramSum, MeanHistogram
from netphys.stimuli.treating.spectra import MeanSpectrum, SpectrumSum
from netphys.stimuli.treating.steady import by_blocks, rounded
from netphys.stimuli.treating.step import Picture, Step, Target, number, one_of, option, or_none, whole

__all__ = ["Histogram", "Joint", "Luminance", "Rescale", "Spectrum"]

_UNIFORM = 1e-6  # standard deviation of pixel values below which a picture has no contrast: rounding of float32


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation."""

    mean: float
    sd: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"mean": self.mean, "sd": self.sd}


@dataclass(frozen=True)
class Range:
    """The least and the largest pixel value of a set."""

    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"low": self.low, "high": self.high}


@dataclass(frozen=True, eq=False)
class Both:
    """A histogram and a spectrum."""

    histogram: MeanHistogram
    spectrum: MeanSpectrum

    @property
    def notice(self) -> str:
        """What the user should know of the pictures it was measured on; empty: nothing."""
        return self.histogram.notice

    def to_dict(self) -> dict[str, Any]:
        """Plain data and arrays."""
        return {"histogram": self.histogram.to_dict(), "spectrum": self.spectrum.to_dict()}


class Matching(Step):
    """A step on one channel of pictures: their grey, or their lightness with the colours kept."""

    channel: str  # an option of each, the last one

    @property
    def needs_set(self) -> bool:
        return True

    @property
    def may_leave_range(self) -> bool:
        return True

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        ground = getattr(self, "ground", None)
        if ground is not None:  # whatever becomes of it, the figure of later steps is this one
            figure = torch.from_numpy(self._figure(picture, ground))
            picture = replace(picture, figures={**picture.figures, ground: figure})
        if self.channel == "grey":
            return picture.with_values(self._changed(_grey(picture, self.keyword), picture, target))
        lab = by_blocks(srgb_to_lab, picture.values)
        lab[0] = 100 * torch.from_numpy(self._changed(lab[0].numpy() / 100, picture, target))
        return picture.with_values(by_blocks(lambda each: lab_to_srgb(each, clip=False), lab))

    def _plane(self, picture: Picture) -> np.ndarray:
        """Return what is matched, float64 (y, x)."""
        if self.channel == "grey":
            return _grey(picture, self.keyword)
        return by_blocks(srgb_to_lab, picture.values)[0].numpy() / 100

    def _changed(self, plane: np.ndarray, picture: Picture, target: Any) -> np.ndarray:
        raise NotImplementedError

    def _figure(self, picture: Picture, ground: float | None) -> np.ndarray:
        """Say which pixels (y, x) are matched: all, or those that are not the ground."""
        if ground is None:
            return np.ones(picture.size, dtype=bool)
        known = picture.figures.get(ground)
        figure = ~is_ground(picture.values, ground) if known is None else known.numpy()
        if not figure.any():
            raise StimulusError(f"{self.keyword}: {picture.name} is nothing but ground; leave it out")
        return figure

    def _require_contrast(self, pixels: np.ndarray, picture: Picture) -> None:
        """Refuse a uniform picture: it has no contrast to change, no order of pixels and no spectrum."""
        if pixels.std() < _UNIFORM:
            raise StimulusError(f"{self.keyword}: {picture.name} is uniform; it has no contrast to match; leave it out")


@dataclass(frozen=True)
class Luminance(Matching):
    """Match mean and standard deviation of pixel values (SHINE's lumMatch).

    Parameters
    ----------
    mean : float in [0, 1], optional
        None: the mean of the pictures' means.
    sd : float in [0, 0.5], optional
        None: the mean of the pictures' standard deviations (divided by the number of pixels, not one less).
    ground : float in [0, 1], optional
        Pixels of this value, to half of an 8-bit level, in all colours, are ground: they stay, and count nowhere. For
        objects on a uniform ground, which would otherwise be matched for how much of the ground they cover. A later
        step of the same treatment and `ground` takes the same pixels, moved along: a pixel of the figure that was made
        as grey as the ground stays figure.
    channel : {"grey", "lightness"}
        ``"grey"``: pictures must be grey. ``"lightness"``: CIE lightness / 100, the colours (a, b) kept.

    Notes
    -----
    ``x' = mean + sd (x - m) / s`` with the picture's own mean m and standard deviation s. A uniform picture is refused.
    """

    keyword: ClassVar[str] = "luminance"
    mean: float | None = option(or_none(number(0, 1)), None)
    sd: float | None = option(or_none(number(0, 0.5)), None)
    ground: float | None = option(or_none(number(0, 1)), None)
    channel: str = option(one_of("grey", "lightness"), "grey")

    @property
    def needs_set(self) -> bool:
        return self.mean is None or self.sd is None

    def measure(self, pictures: Iterator[Picture]) -> Target:
        moments = []
        for each in pictures:
            figure = self._plane(each)[self._figure(each, self.ground)]
            self._require_contrast(figure, each)
            moments.append((figure.mean(), figure.std()))
        return Moments(*(float(each) for each in rounded(np.array(moments).mean(0))))

    def _changed(self, plane: np.ndarray, picture: Picture, target: Any) -> np.ndarray:
        mean = target.mean if self.mean is None else self.mean
        sd = target.sd if self.sd is None else self.sd
        figure = self._figure(picture, self.ground)
        self._require_contrast(plane[figure], picture)
        return np.where(figure, mean + (plane - plane[figure].mean()) * (sd / plane[figure].std()), plane)


@dataclass(frozen=True)
class Histogram(Matching):
    """Match the histogram exactly to the set's mean histogram (SHINE's histMatch).

    Parameters
    ----------
    ground, channel
        As of :class:`Luminance`.

    Notes
    -----
    The target has 65536 levels (SHINE: 256); values outside [0, 1] count at its ends. Equal pixels are ordered by
    their neighbourhood, never by chance (:mod:`netphys.stimuli.treating.histograms`; SHINE adds noise). So a flat
    region becomes noise: where more than a fifth of a picture's pixels have one value, a warning says how many pictures
    are such, and which `ground` leaves it out. A uniform picture is refused.
    """

    keyword: ClassVar[str] = "histogram"
    ground: float | None = option(or_none(number(0, 1)), None)
    channel: str = option(one_of("grey", "lightness"), "grey")

    @property
    def may_leave_range(self) -> bool:
        return self.channel == "lightness"  # a colour at another lightness may be none that a screen shows

    def measure(self, pictures: Iterator[Picture]) -> Target:
        histograms, flat = HistogramSum(), FlatRegions(self.keyword, self.ground)
        for each in pictures:
            plane, figure = self._plane(each), self._figure(each, self.ground)
            self._require_contrast(plane[figure], each)
            histograms.add(plane[figure])
            flat.add(each, plane, figure)
        return histograms.mean(flat.notice)

    def _changed(self, plane: np.ndarray, picture: Picture, target: Any) -> np.ndarray:
        figure = self._figure(picture, self.ground)
        self._require_contrast(plane[figure], picture)
        return target.given_to(plane, figure)


@dataclass(frozen=True)
class Spectrum(Matching):
    """Match the amplitude spectrum to the set's mean; phases, and so places, stay.

    Parameters
    ----------
    kind : {"rotational", "full"}
        ``"rotational"``: the average over directions at each spatial frequency (SHINE's sfMatch); each picture keeps
        its own distribution over directions. ``"full"``: every component (SHINE's specMatch).
    channel : {"grey", "lightness"}
        As of :class:`Luminance`.

    Notes
    -----
    At radius r (cycles per shorter side, rounded) ``F' = F T(r) / A(r)``, with A the picture's rotational average of
    |F| and T the mean of all A; ``"full"``: ``F' = F T(f) / |F|``. The mean (r = 0) is matched with the rest. A picture
    without any amplitude at a frequency stays without. Values often leave [0, 1]; nothing is rescaled (SHINE does)
    unless ``rescale()`` follows, and what is outside is clipped, counted and said. A uniform picture is refused.
    """

    keyword: ClassVar[str] = "spectrum"
    kind: str = option(one_of("rotational", "full"), "rotational")
    channel: str = option(one_of("grey", "lightness"), "grey")

    def measure(self, pictures: Iterator[Picture]) -> Target:
        spectra = SpectrumSum(self.kind)
        for each in pictures:
            plane = self._plane(each)
            self._require_contrast(plane, each)
            spectra.add(plane, each.name)
        return spectra.mean()

    def _changed(self, plane: np.ndarray, picture: Picture, target: Any) -> np.ndarray:
        self._require_contrast(plane, picture)
        return target.given_to(plane, picture.name)


@dataclass(frozen=True)
class Joint(Matching):
    """Match histogram and amplitude spectrum in turn, several times; the one that is done last is exact.

    Parameters
    ----------
    iterations : int
        How often both are done. Default 10; what it comes to is seen by :func:`netphys.stimuli.statistics.statistics`.
    kind : {"rotational", "full"}
        As of :class:`Spectrum`.
    last : {"histogram", "spectrum"}
        Which is done last. A histogram cannot leave [0, 1], so nothing is clipped after it.
    channel : {"grey", "lightness"}
        As of :class:`Luminance`.

    Notes
    -----
    Both targets are those of the set before; they stay the same over iterations. They differ in contrast: a mean of
    amplitudes has less power than the pictures have, and differences between the pictures' means widen the mean
    histogram. So the one that is not last is met but for a factor in common to all pictures: pictures become alike in
    both, at the contrast of the last. Put ``luminance()`` before to make that factor small. Flat regions and uniform
    pictures: as of :class:`Histogram`, but no ground can be left out.
    """

    keyword: ClassVar[str] = "joint"
    iterations: int = option(whole(1, 1000), 10)
    kind: str = option(one_of("rotational", "full"), "rotational")
    last: str = option(one_of("histogram", "spectrum"), "histogram")
    channel: str = option(one_of("grey", "lightness"), "grey")

    @property
    def may_leave_range(self) -> bool:
        return self.last == "spectrum" or self.channel == "lightness"

    def measure(self, pictures: Iterator[Picture]) -> Target:
        histograms, spectra = HistogramSum(), SpectrumSum(self.kind)
        flat = FlatRegions(self.keyword, None, takes_ground=False)
        for each in pictures:
            plane = self._plane(each)
            self._require_contrast(plane, each)
            histograms.add(plane)
            spectra.add(plane, each.name)
            flat.add(each, plane, self._figure(each, None))
        return Both(histograms.mean(flat.notice), spectra.mean())

    def _changed(self, plane: np.ndarray, picture: Picture, target: Any) -> np.ndarray:
        self._require_contrast(plane, picture)
        for _ in range(self.iterations):
            if self.last == "spectrum":
                plane = target.spectrum.given_to(target.histogram.given_to(plane), picture.name)
            else:
                plane = target.histogram.given_to(target.spectrum.given_to(plane, picture.name))
        return plane


@dataclass(frozen=True)
class Rescale(Step):
    """Bring the whole set into [0, 1] by one straight line, the same for all its pictures.

    Parameters
    ----------
    about : {"range", "grey"}
        ``"range"``: the set's least value becomes 0, its largest 1 (as SHINE does after matching spectra).
        ``"grey"``: contrast about mean grey 0.5 is lowered as far as needed, never raised; a mean-grey ground stays.
    """

    keyword: ClassVar[str] = "rescale"
    about: str = option(one_of("range", "grey"), "range")

    @property
    def needs_set(self) -> bool:
        return True

    @property
    def may_leave_range(self) -> bool:
        return True  # pictures that the range was not measured on, as rounding

    def measure(self, pictures: Iterator[Picture]) -> Target:
        ends = np.array([(float(each.min()), float(each.max())) for each in map(_single, pictures)])
        return Range(float(ends[:, 0].min()), float(ends[:, 1].max()))

    def apply(self, picture: Picture, target: Any = None) -> Picture:
        values = _single(picture).to(torch.float64)
        if self.about == "grey":
            farthest = max(0.5 - target.low, target.high - 0.5, 0.5)
            return picture.with_values(0.5 + (values - 0.5) * (0.5 / farthest))
        if target.high - target.low < _UNIFORM:
            raise StimulusError("rescale: the set is uniform; there is no range to bring into [0, 1]")
        return picture.with_values((values - target.low) / (target.high - target.low))


def _single(picture: Picture) -> Tensor:
    """Return values as float32: the least and the largest of a set are then free of a step's last bits."""
    return picture.values.to(torch.float32)


def _grey(picture: Picture, step: str) -> np.ndarray:
    """Return the one channel of a grey picture, or refuse it."""
    if not picture.is_grey:
        raise StimulusError(
            f"{step}: {picture.name} is in colour; put grey() before, or say channel=lightness to keep the colours"
        )
    return picture.values[0].to(torch.float64).numpy()
