"""When is a response counted? Windows and bins in ms from the onset of the stimulus, cut from finer time bins.

A window or bin is ``[start, stop)``: the bin 70..80 ms ends where 80..90 begins. Counts (unit ``"spikes"``) are summed,
rates (``"spikes/s"``) and everything else averaged by the width of the bins. A bin that lies partly inside would carry
spikes of another time into the window, and a window with a gap would lack some; both are refused, never rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.neural.assemblies import BEHAVIOUR_DIMS, DIMS, assembly_of, require_assembly

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.assemblies import Responses

__all__ = ["COUNT", "RATE", "binned_as", "in_unit", "rebin", "sliding_windows", "window"]

COUNT, RATE = "spikes", "spikes/s"
_UNITS = {"count": COUNT, "rate": RATE}
_SAME = 1e-6  # ms: edges nearer than a nanosecond are one edge; they come as sums of 0.1
_CLOSE = 1e-3  # of the narrowest bin: edges nearer than that are one edge
_MOST_BINS = 100_000
_UNSAID = (
    "the assembly does not say whether its numbers are counts or rates: say values=count or values=rate (in Python, "
    'assembly.attrs["unit"] = "spikes" or "spikes/s")'
)


def window(assembly: Responses, start: float, stop: float, *, unit: str | None = None) -> xr.DataArray:
    """Take one value of each presentation and neuroid: what happened in ``[start, stop)``.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid, time_bin), or NeuralData of one
        Coordinates ``time_bin_start``, ``time_bin_end`` in ms from stimulus onset; attribute ``unit``.
    start, stop : float
        ms from stimulus onset; edges of bins.
    unit : {"count", "rate"}, optional
        What the result is: spikes, or spikes/s. Default: what the assembly is.

    Returns
    -------
    xarray.DataArray (presentation, neuroid)
        ``time_bin_start`` and ``time_bin_end`` are scalars. NaN where a bin of the window is NaN. Counts that were
        integers are int64; everything else is float64.

    Raises
    ------
    NeuralDataError
        If the bins do not fill the window (the message says which edges would), if there are none, or if the assembly
        does not say its unit: neither a sum nor a mean can be taken (one bin of it as it is can).

    Notes
    -----
    Edges that differ by less than a thousandth of the narrowest bin, or by what float32 cannot tell, are one edge.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"stimulus_id": ("presentation", ["a"]), "neuroid_id": ("neuroid", ["n"]),
    ...           "time_bin_start": ("time_bin", [0, 10, 20]), "time_bin_end": ("time_bin", [10, 20, 30])}
    >>> spikes = xr.DataArray([[[1, 0, 3]]], dims=("presentation", "neuroid", "time_bin"), coords=coords,
    ...                       attrs={"unit": "spikes"})
    >>> window(spikes, 10, 30).item(), window(spikes, 10, 30, unit="rate").item()
    (3, 150.0)
    """
    return _cut(assembly, [(start, stop)], unit)


def rebin(assembly: Responses, edges: Sequence[float] | np.ndarray, *, unit: str | None = None) -> xr.DataArray:
    """Take wider bins, one beside the other.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid, time_bin)
    edges : sequence of float
        ms from stimulus onset, rising: n + 1 edges of n bins.
    unit : {"count", "rate"}, optional
        As in :func:`window`.

    Returns
    -------
    xarray.DataArray (presentation, neuroid, time_bin)
        Without the dim ``time_bin`` for a single bin.
    """
    rising = np.asarray(edges, dtype=np.float64)
    if rising.ndim != 1 or len(rising) < 2 or not (np.diff(rising) > 0).all():
        raise NeuralDataError(f"edges of bins rise, at least two of them, in ms; not {_short(rising)}")
    return _cut(assembly, list(zip(rising[:-1].tolist(), rising[1:].tolist())), unit)


def sliding_windows(
    assembly: Responses,
    start: float,
    stop: float,
    width: float,
    step: float | None = None,
    *,
    unit: str | None = None,
) -> xr.DataArray:
    """Take windows of one width at regular steps, as decoders over time do; they overlap where `step` < `width`.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid, time_bin)
    start, stop : float
        ms from stimulus onset; the first window starts at `start`, the last one ends at or before `stop`.
    width, step : float
        ms; `step` is `width` unless told.
    unit : {"count", "rate"}, optional
        As in :func:`window`.

    Returns
    -------
    xarray.DataArray (presentation, neuroid, time_bin)
        Neighbouring windows that overlap share spikes: they are not independent.
    """
    step = width if step is None else step
    if not (width > 0 and step > 0 and stop - start >= width - _SAME):
        raise NeuralDataError(
            f"windows of {width:g} ms at steps of {step:g} do not fit into {start:g} to {stop:g} ms; "
            "width and step are above 0, and stop - start is at least one width"
        )
    steps = (stop - start - width + _SAME) / step
    if not steps < _MOST_BINS:
        raise NeuralDataError(
            f"windows from {start:g} to {stop:g} ms at steps of {step:g} are more than {_MOST_BINS}; take a wider step"
        )
    n = int(np.floor(steps)) + 1
    return _cut(assembly, [(start + k * step, start + k * step + width) for k in range(n)], unit)


def in_unit(assembly: Responses, unit: str) -> xr.DataArray:
    """Turn counts into rates or back, by the width of each time bin.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or NeuralData of one
    unit : {"count", "rate"}
        Spikes, or spikes/s.

    Raises
    ------
    NeuralDataError
        If the bins are not known, the assembly does not say its unit, or it is another one.
    """
    assembly = assembly_of(assembly)
    held = _held_unit(assembly, unit)
    if not held:
        raise NeuralDataError(_UNSAID)
    wanted = _UNITS[unit]
    if held == wanted:
        return assembly
    starts, stops = _times(assembly)
    values = _converted(_in_order(assembly).values, stops - starts, held, wanted)
    return _in_order(assembly).copy(data=values).assign_attrs(unit=wanted)


def binned_as(
    assembly: Responses,
    *,
    window: tuple[float, float] | None = None,
    bins: tuple[float, float, float] | None = None,
    unit: str | None = None,
    values: str | None = None,
) -> xr.DataArray:
    """Do what an address says of time: ``values=``, ``window=START,STOP``, ``bins=START:STOP:WIDTH``, ``unit=``.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin])
    window : (float, float), optional
        One value: counts stay counts.
    bins : (float, float, float), optional
        Several: counts become rates, so that widths can differ between data sets.
    unit : {"count", "rate"}, optional
        What the result is; wins over these defaults. Data that are rates stay rates unless it says ``"count"``.
    values : {"count", "rate"}, optional
        What the numbers are, where the assembly does not say it.

    Raises
    ------
    NeuralDataError
        As :func:`window`; for `window` and `bins` together; if `values` contradicts the assembly.
    """
    assembly = _said_to_be(assembly_of(assembly), values)
    if window is not None and bins is not None:
        raise NeuralDataError("window is one value a presentation, bins are several; say one of them")
    if window is not None:
        return _cut(assembly, [window], unit)
    if bins is not None:
        start, stop, width = bins
        counts = assembly.attrs.get("unit") == COUNT
        edges = start + width * np.arange(round((stop - start) / width) + 1)
        return rebin(assembly, edges, unit=unit or ("rate" if counts else None))
    return assembly if unit is None else in_unit(assembly, unit)


def _said_to_be(assembly: xr.DataArray, values: str | None) -> xr.DataArray:
    """Set the unit that the user says the numbers have, unless the assembly has another one."""
    if values is None:
        return assembly
    if values not in _UNITS:
        raise NeuralDataError(f"values {values!r} is neither 'count' (spikes) nor 'rate' (spikes/s)")
    held, said = assembly.attrs.get("unit"), _UNITS[values]
    if isinstance(held, str) and held and held != said:
        raise NeuralDataError(
            f"values={values} says that the numbers are {said}, but the assembly says {held}: leave values= out; "
            "unit= says what they are to become"
        )
    return assembly.assign_attrs(unit=said)


def _cut(assembly: Responses, spans: list[tuple[float, float]], unit: str | None) -> xr.DataArray:
    """Cut spans of time out of an assembly, each a bin of the result."""
    for start, stop in spans:
        if not (np.isfinite(start) and np.isfinite(stop) and start < stop):
            raise NeuralDataError(f"a window has its start before its stop, in ms; not {start:g} to {stop:g}")
    assembly = assembly_of(assembly)
    starts, stops = _times(assembly)
    held = _held_unit(assembly, unit)
    ordered = _in_order(assembly)
    values = ordered.values if "time_bin" in ordered.dims else ordered.values[..., None]
    order = np.lexsort((stops, starts))
    same = _tolerance(starts, stops)
    filling = [_filling(starts, stops, order, span, same) for span in spans]
    if not held and (unit is not None or max(map(len, filling)) > 1):
        raise NeuralDataError(_UNSAID)
    pieces = [_summed(values, starts, stops, chosen, held) for chosen in filling]
    result = np.stack(pieces, axis=-1)
    widths = np.array([stop - start for start, stop in spans])
    wanted = held if unit is None else _UNITS[unit]
    return _with_bins(ordered, _converted(result, widths, held, wanted), spans, wanted)


def _times(assembly: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops of the time bins, float64 (time_bin,) in ms; one where they are scalars."""
    behaviour = "choice" in assembly.dims
    require_assembly(assembly, what="the assembly", dims=BEHAVIOUR_DIMS if behaviour else DIMS)
    for name in ("time_bin_start", "time_bin_end"):
        if name not in assembly.coords:
            there = [str(each) for each in assembly.coords]
            raise NeuralDataError(
                f"the assembly has no time bins (no coordinate {name!r}, in ms from the onset of the stimulus), "
                f"so no window can be cut and no rate be computed{near(name, there)}"
            )
    starts, stops = (np.atleast_1d(assembly[name].values) for name in ("time_bin_start", "time_bin_end"))
    n = assembly.sizes.get("time_bin", 1)
    if starts.dtype.kind not in "fiu" or stops.dtype.kind not in "fiu" or starts.shape != (n,) or stops.shape != (n,):
        raise NeuralDataError(
            f"time_bin_start and time_bin_end are {starts.dtype} {starts.shape} and {stops.dtype} {stops.shape}; "
            f"they are numbers in ms, one for each of {n} bins"
        )
    starts, stops = starts.astype(np.float64), stops.astype(np.float64)
    odd = np.flatnonzero(~(starts < stops))
    if odd.size:
        raise NeuralDataError(
            f"time bin {odd[0]} is from {starts[odd[0]]:g} to {stops[odd[0]]:g} ms; a bin ends after it starts"
        )
    return starts, stops


def _held_unit(assembly: xr.DataArray, unit: str | None) -> str:
    """The unit of the numbers; "" where the assembly does not say it."""
    if unit is not None and unit not in _UNITS:
        raise NeuralDataError(f"unit {unit!r} is neither 'count' (spikes) nor 'rate' (spikes/s)")
    held = assembly.attrs.get("unit")
    if not isinstance(held, str) or not held:
        return ""
    if unit is not None and held not in _UNITS.values():
        raise NeuralDataError(
            f"the assembly is in {held!r}, neither spikes nor spikes/s; it cannot be made a {unit}: leave unit out"
        )
    return held


def _tolerance(starts: np.ndarray, stops: np.ndarray) -> float:
    """How near two edges are one, in ms: files hold edges as float32, which is coarser than what the user writes."""
    narrowest = float((stops - starts).min())
    largest = np.float32(max(np.abs(starts).max(), np.abs(stops).max()))
    return max(_SAME, _CLOSE * narrowest, min(float(np.spacing(largest)), narrowest / 4))


def _filling(
    starts: np.ndarray, stops: np.ndarray, order: np.ndarray, span: tuple[float, float], same: float
) -> np.ndarray:
    """Positions of the bins that fill a span exactly, in the order of time."""
    start, stop = span
    exact = np.flatnonzero((np.abs(starts - start) < same) & (np.abs(stops - stop) < same))
    if exact.size == 1:
        return exact
    touched = order[(starts[order] < stop - same) & (stops[order] > start + same)]
    said = f"the window {start:g} to {stop:g} ms"
    if not touched.size:
        raise NeuralDataError(f"{said} holds no time bin; they reach from {starts.min():g} to {stops.max():g} ms")
    first, last = starts[touched], stops[touched]
    if first.min() < start - same or last.max() > stop + same:
        raise NeuralDataError(f"{said} cuts through time bins; {_right_edges(starts, stops, span, same)}")
    if first.min() > start + same or last.max() < stop - same:
        raise NeuralDataError(
            f"{said} is not filled: its time bins reach from {first.min():g} to {last.max():g} ms; "
            f"{_right_edges(starts, stops, span, same)}"
        )
    seams = first[1:] - last[:-1]
    if (seams < -same).any():
        at = int(np.argmin(seams))
        raise NeuralDataError(
            f"{said} holds time bins that overlap ({first[at]:g} to {last[at]:g} and {first[at + 1]:g} to "
            f"{last[at + 1]:g} ms), whose spikes would count twice; choose bins side by side by isel(time_bin=...)"
        )
    if (seams > same).any():
        at = int(np.argmax(seams))
        raise NeuralDataError(f"{said} has a gap: no time bin from {last[at]:g} to {first[at + 1]:g} ms")
    return touched


def _right_edges(starts: np.ndarray, stops: np.ndarray, span: tuple[float, float], same: float) -> str:
    """Say which edges would be right: of each end that is no edge, the ones beside it."""
    said = []
    for word, value, edges in (("start", span[0], starts), ("stop", span[1], stops)):
        if (np.abs(edges - value) < same).any():
            continue
        beside = [edges[edges < value].max(initial=-np.inf), edges[edges > value].min(initial=np.inf)]
        said.append(f"{word} {' or '.join(f'{each:g}' for each in beside if np.isfinite(each))}")
    return f"edges that would be right: {', '.join(said) or 'those of bins that do not overlap'}"


def _summed(values: np.ndarray, starts: np.ndarray, stops: np.ndarray, chosen: np.ndarray, held: str) -> np.ndarray:
    """Sum counts, average everything else by the width of the bins; NaN stays NaN."""
    part = values[..., chosen]
    if not held:
        return part[..., 0]  # one bin, as it is
    if held != COUNT:
        widths = (stops - starts)[chosen]
        return np.matmul(part.astype(np.float64), widths / widths.sum())
    whole = part.dtype.kind in "iub"  # 1 ms rasters are uint8: their sums are not
    return part.sum(axis=-1, dtype=np.int64 if whole else np.float64)


def _converted(values: np.ndarray, widths: np.ndarray, held: str, wanted: str) -> np.ndarray:
    """Counts to rates or back; `widths` in ms, one a bin, or one for all."""
    if held == wanted:
        return values
    seconds = (widths if values.ndim == 3 else widths[0]) / 1000.0
    return values / seconds if wanted == RATE else values * seconds


def _in_order(assembly: xr.DataArray) -> xr.DataArray:
    """Dims in the order of an assembly."""
    first = BEHAVIOUR_DIMS if "choice" in assembly.dims else DIMS
    return assembly.transpose(*first, *[dim for dim in ("time_bin",) if dim in assembly.dims])


def _with_bins(ordered: xr.DataArray, values: np.ndarray, spans: list[tuple[float, float]], unit: str) -> xr.DataArray:
    """Put the coordinates of an assembly around values of new bins; a single bin has no dim."""
    import xarray as xr

    bare = ordered.isel(time_bin=0, drop=True) if "time_bin" in ordered.dims else ordered
    bare = bare.drop_vars([name for name in ("time_bin_start", "time_bin_end") if name in bare.coords])
    edges = np.array(spans)
    if (edges == np.round(edges)).all():
        edges = edges.astype(np.int64)
    attrs = {**ordered.attrs, "unit": unit} if unit else dict(ordered.attrs)
    if len(spans) == 1:
        made = xr.DataArray(values[..., 0], dims=bare.dims, coords=bare.coords, attrs=attrs, name=ordered.name)
        return made.assign_coords(time_bin_start=edges[0, 0], time_bin_end=edges[0, 1])
    made = xr.DataArray(values, dims=(*bare.dims, "time_bin"), coords=bare.coords, attrs=attrs, name=ordered.name)
    return made.assign_coords(time_bin_start=("time_bin", edges[:, 0]), time_bin_end=("time_bin", edges[:, 1]))


def _short(values: np.ndarray) -> str:
    """A few of many numbers."""
    flat = values.reshape(-1)
    return ", ".join(f"{each:g}" for each in flat[:4]) + (", ..." if flat.size > 4 else "") or "none"
