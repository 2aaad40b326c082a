"""Noise: white, 1/f, of a band of frequencies, of a band of orientations; mean grey 0.5 and a stated rms contrast.

Noise number i has generators of its own, from the seed and i, so it is the same whatever else is asked for. Under
every filter, number i starts from the same white noise: two sets differ by their filter alone. Filters work on the
discrete Fourier transform of the whole screen, so the picture tiles the plane.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError
from netphys.seeds import generator
from netphys.stimuli.classic.factorial import Columns, Numbers, Recipe, Words, colour_names, crossed, frames_of
from netphys.stimuli.classic.limits import counted, numbers, require_spatial, seed_of, whole, words
from netphys.stimuli.classic.releases import releases
from netphys.stimuli.classic.screen import Screen

if TYPE_CHECKING:
    from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["noise"]

_LOG = logging.getLogger(__name__)
# The largest rms contrast that stays in [0, 1]: of two levels 1; of a uniform density 1/sqrt(3); of a Gaussian there
# is none, and at 1/3 (3 standard deviations) a share of .003 is clipped.
_LARGEST = {"gaussian": 1 / 3, "uniform": 1 / math.sqrt(3), "binary": 1.0}
_FILTERS = ("alpha", "centre_frequency", "bandwidth", "orientation", "orientation_bandwidth")
_TAGS = {
    "alpha": "a",
    "centre_frequency": "cf",
    "bandwidth": "bw",
    "orientation": "o",
    "orientation_bandwidth": "ob",
    "contrast": "c",
    "distribution": "",
    "colour": "",
    "grain": "g",
    "size": "px",
    "degrees": "deg",
    "n_frames": "nf",
    "frame_rate": "hz",
    "seed": "s",
    "index": "i",
}
_ALWAYS = ("alpha", "contrast", "distribution", "seed", "index")
_Filter = tuple[Any, ...]  # a value of each of _FILTERS


def noise(
    n: int = 16,
    *,
    alpha: Numbers = 0.0,
    centre_frequency: Numbers | None = None,
    bandwidth: Numbers = 1.0,
    orientation: Numbers | None = None,
    orientation_bandwidth: Numbers = 30.0,
    contrast: Numbers = 0.2,
    distribution: Words = "gaussian",
    colour: Words = "achromatic",
    grain: int = 1,
    size: int = 224,
    degrees: float | None = None,
    n_frames: int | None = None,
    frame_rate: float = 60.0,
    first: int = 0,
    seed: int = 0,
) -> StimulusSet:
    """Make `n` pictures of noise for every combination of the parameters, the last one fastest but the number.

    Parameters
    ----------
    n : int
        How many of each kind; number i is the same whatever n.
    alpha : float or sequence
        The amplitude spectrum falls as ``1 / f^alpha`` (the power spectrum as ``1 / f^(2 alpha)``), [-3, 3]; 0: white,
        1: as natural images.
    centre_frequency : float or sequence
        Keep one band, of this centre, cycles a degree or a pixel. Default: all frequencies.
    bandwidth : float or sequence
        Octaves between the band's ends, ``centre * 2^(-b/2)`` and ``centre * 2^(b/2)``; nothing is outside.
    orientation : float or sequence
        Keep one band of orientations, of the bars, degrees counter-clockwise from horizontal, [0, 180). Default: all.
    orientation_bandwidth : float or sequence
        Degrees between the ends of that band; nothing is outside.
    contrast : float or sequence
        rms contrast: standard deviation over mean, over the pixels of a picture. At most 1/3 (``gaussian``), .577
        (``uniform``), 1 (``binary``).
    distribution : str or sequence
        Of white noise's pixels: ``"gaussian"``, ``"uniform"``, ``"binary"``. Filtered noise is Gaussian.
    colour : str, (r, g, b) or a sequence of them
        Axis of modulation, as for :func:`netphys.stimuli.classic.gratings`.
    grain : int
        Side of the squares that white noise is made of, pixels; it divides `size`.
    size : int
        Side of the screen, pixels.
    degrees : float, optional
        Side of the screen, degrees.
    n_frames : int, optional
        Make clips (field ``clip``) of so many frames, each drawn anew. None: images.
    frame_rate : float
        Frames a second.
    first : int
        Number of the first one.
    seed : int
        Seed of all.

    Returns
    -------
    StimulusSet
        float32 in [0, 1], mean 0.5 and rms contrast as stated in each picture (each frame), to rounding. Gaussian
        values beyond [0, 1] (one in two million at contrast .2) are set to its ends, the rest stretched so that both
        moments hold; a warning counts them.

    Raises
    ------
    OptionError
        If a value is out of range, a band holds no frequency of the screen, or a filter is to keep levels.

    Examples
    --------
    >>> noise(2, alpha=[0, 1], size=64).ids[:2]
    ('noise-a0-c0.2-gaussian-px64-s0-i0', 'noise-a0-c0.2-gaussian-px64-s0-i1')
    """
    screen = Screen(size, degrees)
    n, first = whole("n", n, 1, 10_000_000), whole("first", first, 0, 1 << 62)
    factors: dict[str, Sequence[Any]] = {
        "alpha": numbers("alpha", alpha, low=-3, high=3),
        "centre_frequency": _or_none("centre_frequency", centre_frequency, low=0, rule="(]"),
        "bandwidth": numbers("bandwidth", bandwidth, low=0, rule="(]"),
        "orientation": _or_none("orientation", orientation, low=0, high=180, rule="[)"),
        "orientation_bandwidth": numbers("orientation_bandwidth", orientation_bandwidth, low=0, high=180, rule="(]"),
        "contrast": numbers("contrast", contrast, low=0, high=1),
        "distribution": words("distribution", distribution, tuple(_LARGEST)),
        "colour": colour_names(colour),
        "index": range(first, first + n),
    }
    columns = _seeded(crossed(factors), screen, grain=grain, seed=seed)
    frames, rate = frames_of(n_frames, frame_rate)
    if frames is not None:
        for name, value in (("n_frames", frames), ("frame_rate", rate)):
            columns[name] = [value] * len(columns["index"])
    usual = {name: each.default for name, each in inspect.signature(noise).parameters.items() if name not in _ALWAYS}
    draw = partial(_noise, screen=screen, frames=frames or 1)
    recipe = Recipe("noise", screen, draw, ("noise_field",), _TAGS, usual, frames, releases("numpy"))
    return recipe.stimuli(columns, name="classic:noise")


def _or_none(name: str, value: Any, **limits: Any) -> list[Any]:
    return [None] if value is None else list(numbers(name, value, **limits))


def _seeded(columns: Columns, screen: Screen, *, grain: int, seed: int) -> Columns:
    """Refuse what cannot be drawn, blank out what has no meaning, and add the grain and the seed."""
    grain = whole("grain", grain, 1, screen.size)
    if screen.size % grain:
        raise OptionError(f"grain={grain} does not divide size={screen.size}")
    for band, width in (("centre_frequency", "bandwidth"), ("orientation", "orientation_bandwidth")):
        if columns[band][0] is None and len(set(columns[width])) > 1:
            raise OptionError(f"several values of {width}, but no {band}")
        columns[width] = [None if at is None else each for at, each in zip(columns[band], columns[width])]
    for row in {*zip(*(columns[key] for key in (*_FILTERS, "contrast", "distribution")))}:
        _require_drawable(row, screen, grain)
    rows = len(columns["index"])
    return {**columns, "grain": [grain] * rows, "seed": [seed_of(seed)] * rows}


def _require_drawable(row: tuple[Any, ...], screen: Screen, grain: int) -> None:
    """Refuse a filter that keeps nothing or levels, and a contrast that [0, 1] cannot hold."""
    *made, contrast, distribution = row
    filtered = made[0] != 0 or made[1] is not None or made[3] is not None
    if filtered and (distribution != "gaussian" or grain != 1):
        raise OptionError(f"filtered noise has no grain and is gaussian, not {distribution} with grain={grain}")
    if contrast > _LARGEST[distribution]:
        raise OptionError(f"rms contrast={contrast:g}: {distribution} noise has at most {_LARGEST[distribution]:.3g}")
    if made[1] is not None:
        require_spatial([made[1]], screen, name="centre_frequency")
    if filtered and not bool(_gain(tuple(made), screen).any()):
        raise OptionError(
            f"no frequency of a screen of {counted(screen.size, 'pixel')} is in the band of {_said(made)}"
        )


def _said(made: list[Any]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in zip(_FILTERS, made) if value is not None)


def _noise(columns: Columns, *, screen: Screen, frames: int) -> Tensor:
    """Draw noise, one picture after another: each has generators of its own."""
    size = screen.size
    shown = torch.empty((len(columns["index"]), frames, size, size), dtype=torch.float64)
    clipped = 0
    for row in range(len(shown)):
        one = {name: values[row] for name, values in columns.items()}
        for frame in range(frames):
            name = ("noise", one["index"]) if "n_frames" not in one else ("noise", one["index"], frame)
            shown[row, frame], over = _picture(one, screen, generator(one["seed"], *name))
            clipped += over
    if clipped:
        _LOG.warning("%d of %d pixels of noise were beyond [0, 1] and are clipped", clipped, shown.numel())
    return shown


def _picture(one: dict[str, Any], screen: Screen, random: np.random.Generator) -> tuple[Tensor, int]:
    """Return one picture, modulation in [-1, 1], and how many of its pixels are clipped."""
    side = screen.size // one["grain"]
    if one["distribution"] != "gaussian":
        grains = one["contrast"] * torch.from_numpy(_levels(one["distribution"], side, random))
        return grains.repeat_interleave(one["grain"], 0).repeat_interleave(one["grain"], 1), 0
    field = torch.from_numpy(random.standard_normal((side, side)))
    made = tuple(one[name] for name in _FILTERS)
    if made[0] != 0 or made[1] is not None or made[3] is not None:
        field = torch.fft.ifft2(torch.fft.fft2(field) * _gain(made, screen)).real
    field, over = _standard(field, one["contrast"])
    over *= one["grain"] ** 2
    return field.repeat_interleave(one["grain"], 0).repeat_interleave(one["grain"], 1), over


def _levels(distribution: str, side: int, random: np.random.Generator) -> np.ndarray:
    """Return white noise of mean 0 and variance 1: equally spaced levels, or two, in random places.

    Every level is used equally often, so that both moments are exact; of an odd number of pixels, one is in the middle.
    """
    rank = random.permutation(side * side).reshape(side, side)
    level = (2 * rank + 1 - side * side) / (side * side)  # symmetric about 0
    level = np.sign(level) if distribution == "binary" else level
    return level / max(math.sqrt(float(np.mean(level**2))), 1e-12)


def _standard(field: Tensor, contrast: float) -> tuple[Tensor, int]:
    """Return a field of mean 0 and standard deviation `contrast` within [-1, 1], and how many pixels are clipped."""
    for _ in range(50):  # each turn brings the moments nearer; without clipping the first is exact
        centred = field - field.mean()
        field = centred * (contrast / centred.square().mean().sqrt().clamp(min=1e-30))
        over = int((field.abs() > 1).sum())
        if not over or float(field.abs().max()) < 1 + 1e-9:
            break
        field = field.clamp(-1, 1)
    return field.clamp(-1, 1), int((field.abs() >= 1).sum()) if contrast else 0


@lru_cache(maxsize=16)
def _gain(made: _Filter, screen: Screen) -> Tensor:
    """Return a filter's gain at the frequencies of the screen, float64 (y, x) as of an FFT; 0 at frequency 0."""
    alpha, centre, octaves, orientation, wide = made
    a_pixel = torch.fft.fftfreq(screen.size, dtype=torch.float64)
    on_x, up = a_pixel[None, :] * screen.pixels_per_unit, -a_pixel[:, None] * screen.pixels_per_unit
    radius = (on_x**2 + up**2).sqrt()
    gain = torch.where(radius > 0, radius.clamp(min=1e-12) ** -alpha, 0.0)
    if centre is not None:
        gain = gain * ((radius >= centre * 2 ** (-octaves / 2)) & (radius <= centre * 2 ** (octaves / 2)))
    if orientation is not None:
        bars_at = (torch.rad2deg(torch.atan2(up, on_x)) + 90 - orientation + 90) % 180 - 90
        gain = gain * (bars_at.abs() <= wide / 2)
        if screen.size % 2 == 0:  # a frequency of half the sampling rate stands for two orientations
            gain[screen.size // 2, :] = gain[:, screen.size // 2] = 0
    return gain
