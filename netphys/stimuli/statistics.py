"""What differs between pictures before anybody looks at them: their mean, contrast, histogram and spectrum.

All is of the grey of a picture (Rec. 601, as ``grey()``) or of its CIE lightness / 100, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from netphys.colours import colours_of
from netphys.errors import OptionError, StimulusError, near
from netphys.progress import bar
from netphys.stimuli.sources import clipped_of
from netphys.stimuli.treating.histograms import LEVELS, HistogramSum
from netphys.stimuli.treating.light import Grey
from netphys.stimuli.treating.spectra import SpectrumSum, amplitudes, frequencies, rotational_average
from netphys.stimuli.treating.step import Picture
from netphys.stimuli.treating.treated import PICTURES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["mean_histogram", "mean_spectrum", "plot_histograms", "plot_spectra", "statistics"]

_CHUNK = 16  # stimuli read at once
_CHANNELS = {"grey": Grey(), "lightness": Grey("lightness")}
_STYLES = ("-", (0, (4, 2)), (0, (1, 1)))  # what lies below shows through: matched sets lie on one another
_LEVEL = 1e-3  # slope below which a power law has its mean where the mean logarithm is, to 1e-5
_UNIFORM = 1e-6  # standard deviation below which there is no spectrum but rounding


def statistics(stimuli: StimulusSet, *, field: str | None = None, channel: str = "grey") -> pd.DataFrame:
    """Measure each picture of a set, in one pass.

    Parameters
    ----------
    stimuli : StimulusSet
        Read once, in memory that does not grow with it.
    field : str, optional
        Default: the first of ``image``, ``left``, ``right``, ``clip``. A clip's frames count as one large picture; its
        slope is the mean over them.
    channel : {"grey", "lightness"}
        What is measured.

    Returns
    -------
    pandas.DataFrame
        One row a stimulus: ``stimulus_id``; ``mean``, ``sd`` (divided by the number of pixels), ``min``, ``max``;
        ``rms_contrast``, sd / mean; ``michelson``, (max - min) / (max + min); ``slope`` of the logarithm of the
        rotational average of the amplitude spectrum over the logarithm of the frequency, 1 cycle per shorter side to
        half its pixels, each radius weighing the same (1/f: -1, exactly); ``saturated``, the share of pixels at 0 or 1;
        ``clipped``, the share of values that a treatment left outside [0, 1] (nan where none was done).

    Raises
    ------
    StimulusError
        If there is no such field of pictures.
    OptionError
        If there is no such channel.

    References
    ----------
    Peli E. (1990). Contrast in complex images. J Opt Soc Am A 7:2032, doi:10.1364/JOSAA.7.002032.

    Examples
    --------
    >>> import netphys
    >>> frame = statistics(netphys.load_stimuli("world:scenes?n=4&size=32"))
    >>> list(frame.columns)[:4]
    ['stimulus_id', 'mean', 'sd', 'min']
    """
    import pandas as pd

    field = _field(stimuli, field)
    rows = [_measured(planes) for planes in _planes(stimuli, field, channel)]
    frame = pd.DataFrame(rows)
    frame.insert(0, "stimulus_id", stimuli.ids)
    clipped = clipped_of(stimuli._source, stimuli._rows, field)
    frame["clipped"] = np.nan if clipped is None else clipped
    return frame


def mean_histogram(stimuli: StimulusSet, *, bins: int = 64, channel: str = "grey") -> pd.DataFrame:
    """Average the histograms of a set's pictures.

    Parameters
    ----------
    stimuli : StimulusSet
        Read once.
    bins : int
        Of [0, 1]; divides 65536.
    channel : {"grey", "lightness"}
        What is measured.

    Returns
    -------
    pandas.DataFrame
        ``value``, the middle of a bin; ``share`` of pixels in it.
    """
    import pandas as pd

    if bins < 1 or LEVELS % bins:
        raise OptionError(f"bins={bins} does not divide {LEVELS}; 64 and 256 do")
    total = HistogramSum()
    for planes in _planes(stimuli, _field(stimuli, None), channel):
        for plane in planes:
            total.add(plane)
    shares = np.diff(total.mean().cumulated, prepend=0).reshape(bins, -1).sum(1)
    return pd.DataFrame({"value": (np.arange(bins) + 0.5) / bins, "share": shares})


def mean_spectrum(stimuli: StimulusSet, *, channel: str = "grey") -> pd.DataFrame:
    """Average the amplitude spectra of a set's pictures, over directions and over pictures.

    Returns
    -------
    pandas.DataFrame
        ``cycles``, per shorter side, from 1 to half its pixels; ``amplitude``, |FFT| divided by the number of pixels.

    Raises
    ------
    StimulusError
        If pictures differ in size.
    """
    import pandas as pd

    total, shape = SpectrumSum("rotational"), (1, 1)
    for index, planes in enumerate(_planes(stimuli, _field(stimuli, None), channel)):
        for plane in planes:
            shape = plane.shape
            total.add(plane, f"stimulus {stimuli.ids[index]!r}")
    cycles = np.arange(1, min(shape) // 2 + 1)
    return pd.DataFrame({"cycles": cycles, "amplitude": total.mean().amplitude[cycles] / (shape[0] * shape[1])})


def plot_histograms(sets: Mapping[str, StimulusSet], ax: Axes | None = None, *, bins: int = 64) -> Axes:
    """Draw the mean histograms of sets, as before and after a treatment.

    Parameters
    ----------
    sets : mapping of str to StimulusSet
        What they are called, and they.
    ax : Axes, optional
        Where. Default: a figure of its own.
    bins : int
        Of [0, 1].

    Returns
    -------
    Axes
    """
    ax, styles = _axes(ax), cycle(_STYLES)
    for (name, stimuli), colour in zip(sets.items(), colours_of(sets).values()):
        frame = mean_histogram(stimuli, bins=bins)
        edges = np.linspace(0, 1, bins + 1)
        ax.stairs(100 * frame["share"], edges, label=name, color=colour, linestyle=next(styles), linewidth=1)
    ax.set(xlabel="Pixel value", ylabel="Pixels (%)", xlim=(0, 1), ylim=(0, None))
    return _legended(ax)


def plot_spectra(sets: Mapping[str, StimulusSet], ax: Axes | None = None) -> Axes:
    """Draw the mean amplitude spectra of sets; parameters are those of :func:`plot_histograms`."""
    ax, styles = _axes(ax), cycle(_STYLES)
    for (name, stimuli), colour in zip(sets.items(), colours_of(sets).values()):
        frame = mean_spectrum(stimuli)
        ax.loglog(frame["cycles"], frame["amplitude"], label=name, color=colour, linestyle=next(styles), linewidth=1)
    ax.set(xlabel="Spatial frequency (cycles per image)", ylabel="Amplitude")
    return _legended(ax)


def _axes(ax: Axes | None) -> Any:
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(2.6, 2), layout="constrained").add_subplot()


def _legended(ax: Any) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, handlelength=1.2)
    return ax


def _field(stimuli: StimulusSet, field: str | None) -> str:
    """Return the field of pictures that is measured."""
    there = [each for each in PICTURES if each in stimuli.fields]
    if not there or (field is not None and field not in there):
        raise StimulusError(
            f"{stimuli.name} has no pictures {field or 'to measure'}{near(field or '', stimuli.fields)}"
        )
    return field or there[0]


def _planes(stimuli: StimulusSet, field: str, channel: str) -> Iterator[np.ndarray]:
    """Read what is measured of each stimulus: float64 (frame, y, x)."""
    if channel not in _CHANNELS:
        raise OptionError(f"channel={channel!r} is not one of {', '.join(_CHANNELS)}")
    grey: Callable[[Picture], Picture] = _CHANNELS[channel].apply
    with bar(len(stimuli), label=f"measuring {stimuli.name}") as progress:
        for places, batch in stimuli.batches(_CHUNK, field=field):
            for values in batch:
                tensor = torch.as_tensor(values).cpu()
                tensor = tensor / 255 if tensor.dtype == torch.uint8 else tensor
                frames = tensor[None] if tensor.ndim == 3 else tensor
                yield np.stack([grey(Picture(each)).values[0].to(torch.float64).numpy() for each in frames])
            progress.update(len(places))


def _measured(planes: np.ndarray) -> dict[str, float]:
    """Measure one stimulus (frame, y, x)."""
    mean, sd, least, most = planes.mean(), planes.std(), planes.min(), planes.max()
    return {
        "mean": mean,
        "sd": sd,
        "min": least,
        "max": most,
        "rms_contrast": sd / mean if mean > 0 else np.nan,
        "michelson": (most - least) / (most + least) if most > 0 else np.nan,
        "slope": float(np.mean([_slope(each) for each in planes])),
        "saturated": float(((planes <= 0) | (planes >= 1)).mean()),
    }


def _slope(plane: np.ndarray) -> float:
    """Fit a line to the logarithms of a rotational average; nan where there is no spectrum.

    A radius holds frequencies of half a cycle below to half a cycle above it. It stands at the one at which a power law
    has its mean over them: with the mean of their logarithms first, then twice with the slope that was found.
    """
    radius = np.arange(1, min(plane.shape) // 2 + 1)
    if plane.std() < _UNIFORM or len(radius) < 2:
        return np.nan
    shape = (plane.shape[0], plane.shape[1])
    average = rotational_average(amplitudes(plane), shape)[radius]
    if (average <= 0).any():
        return np.nan
    cycles = np.log(np.maximum(frequencies(shape) * min(shape), 0.5))  # 0.5: the mean, which no radius holds
    slope, place = 0.0, rotational_average(cycles, shape)[radius]
    for _ in range(3):
        if abs(slope) > _LEVEL:
            place = np.log(rotational_average(np.exp(slope * cycles), shape)[radius]) / slope
        slope = float(np.polyfit(place, np.log(average), 1)[0])
    return slope
