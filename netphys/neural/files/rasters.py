"""Packed rasters: a folder or .zip archive with one file a neuron, as the Neural Decoding Toolbox keeps them.

Neurons were recorded one after another, so presentations of two files must not be aligned: the r-th row of a stimulus
holds the r-th presentation that each neuron saw of it, in its own order, and the assembly says that its neuroids were
not recorded together (a pseudo-population).

References
----------
Meyers, E. M. (2013). The neural decoding toolbox. Frontiers in Neuroinformatics 7:8. doi:10.3389/fninf.2013.00008.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError, near
from netphys.guards import BUDGET
from netphys.neural.assemblies import PSEUDO, first_presentations, repetitions_of
from netphys.neural.data import NeuralData
from netphys.neural.files.finishing import assembled
from netphys.neural.files.ids import follow_ids
from netphys.neural.files.raster_files import DATA, LABELS, SITE, Raster, open_rasters

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.files.options import FileOptions

__all__ = ["load_rasters"]

_ONSET = "alignment_event_time"
_SESSIONS = ("session", "session_ID", "session_id", "sessionID")  # fields of a site that name its session
_KEPT: tuple[str, ...] = ("presentation", "neuroid", "time_bin", "stimulus_id", "repetition", "neuroid_id", "session")
_KEPT += ("time_bin_start", "time_bin_end")  # names of an assembly that no label or fact may take
_OF_NEUROIDS = ("animal", "region", "subject")  # of the recording: a label that is called so is of pictures


@dataclass
class _Neuron:
    """What is kept of one file: its responses in bins, and what they are of."""

    said: str
    name: str  # relative, without suffix
    values: np.ndarray  # (presentation, bin): sums over each bin
    span: tuple[int, int]  # ms from onset that the bins cover
    counts: bool  # whole numbers, none below 0
    stimulus: list[str]
    labels: dict[str, list[str]]
    site: dict[str, Any]


def load_rasters(path: Path, options: FileOptions, ids: str | Sequence[str] | None, name: str) -> NeuralData:
    """Load the rasters of a folder or .zip archive as an assembly of one pseudo-population.

    Parameters
    ----------
    path : Path
        A folder or .zip archive; every .mat and .npz file in it is one neuron's.
    options : FileOptions
        ``stimulus``: the label that says which stimulus was shown; ``align``: the column of stimulus onset (counted
        from 1), or the field of ``raster_site_info`` that holds it; ``variable``: another name of ``raster_data``;
        ``window``, ``bins``: whole ms, one column each. Without either every ms is a bin. ``where``: a condition on
        labels, ``stimulus_id`` and ``repetition``, met by each neuron's own presentations before they are put side by
        side, so that labels may be named that differ within a stimulus.
    ids : str, sequence of str, or None
        Rasters carry their ids; others are refused.
    name : str
        The dataset's name.

    Returns
    -------
    NeuralData
        float64 in windows and bins, float32 of single ms; NaN where a neuron had fewer presentations of a stimulus than
        another. Counts, or with ``bins=`` spikes/s; a raster of other than whole numbers is averaged.

    Raises
    ------
    NeuralDataError
        If there is no raster, or what it says is not enough or does not fit; one line that names the file.
    """
    neurons = [_neuron(path, at, raster, options) for at, raster in open_rasters(path, options.variable or DATA)]
    _require_alike(path, neurons, options)
    met = [_keep(path, neurons, options.where)] if options.where is not None else []
    columns, told = _columns(neurons, options)
    assembly = _assembly(path, neurons, columns, options)
    own, _ = first_presentations(assembly["stimulus_id"].values)
    follow_ids(path, len(own), own, ids)
    label = _stimulus_label(neurons[0].said, neurons[0].labels, options.stimulus)
    rasters = f"{len(neurons)} raster{'s' * (len(neurons) != 1)}"
    order = "each neuron's presentations in its own order (a pseudo-population)"
    source = ", ".join([path.name, rasters, *met, order, *told, f"by stimulus_id ({label})"])
    return assembled(path, assembly, replace(options, where=None), name, source, binned=True)


def _neuron(path: Path, name: str, raster: Raster, options: FileOptions) -> _Neuron:
    """Reduce a raster to the bins that are asked for."""
    label = _stimulus_label(raster.said, raster.labels, options.stimulus)
    shown = raster.labels[label]
    if "" in shown:
        raise NeuralDataError(f"{raster.said}: presentation {shown.index('') + 1} has no {LABELS}.{label}; name all")
    onset = _onset(raster, options.align)
    start, stop, width = _bins(raster, onset, options)
    first = start + onset - 1
    part = raster.values[:, first : first + stop - start]
    counts = _are_counts(raster.values)
    if width > 1:
        # a sum of uint8 in uint8 would be wrong from 256 spikes on
        part = part.reshape(len(part), -1, width).sum(axis=2, dtype=np.float64)
    elif counts and not np.isnan(part).any():
        part = part.astype(np.min_scalar_type(int(part.max())))
    else:
        part = part.astype(np.float32)
    stem = str(PurePosixPath(name).with_suffix(""))
    return _Neuron(raster.said, stem, part, (start, stop), counts, shown, raster.labels, raster.site)


def _are_counts(values: np.ndarray) -> bool:
    """Tell whether a whole raster holds whole numbers from 0; what is missing is neither."""
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)]
        if not (values == np.round(values)).all():
            return False
    return bool(values.min(initial=0) >= 0)


def _stimulus_label(said: str, labels: dict[str, list[str]], wanted: str | None) -> str:
    """The label that says which stimulus was shown: the one named, or the only one."""
    if wanted is not None:
        if wanted not in labels:
            raise NeuralDataError(f"{said}: {LABELS} has no {wanted!r}{near(wanted, labels)}")
        return wanted
    if len(labels) == 1:
        return next(iter(labels))
    told = ", ".join(f"{name} ({len(set(each))} values)" for name, each in list(labels.items())[:12])
    raise NeuralDataError(f"{said} has several labels; say which is the stimulus by ?stimulus=LABEL: {told}")


def _onset(raster: Raster, align: str | None) -> int:
    """The column of stimulus onset, counted from 1."""
    field = align if align is not None else _ONSET
    value: Any = raster.site.get(field)
    if value is None and align is not None and _is_number(align):
        field, value = "align", float(align)
    if value is None:
        numbers = [each for each, held in raster.site.items() if not isinstance(held, str)]
        if field in raster.arrays:
            raise NeuralDataError(f"{raster.said}: {SITE}.{field} is not one number; say align=COLUMN, counted from 1")
        raise NeuralDataError(
            f"{raster.said}: {SITE} has no {field!r}, the column of stimulus onset; say align=COLUMN (counted from 1) "
            f"or align=FIELD{near(field, numbers)}"
        )
    if isinstance(value, str) or not math.isfinite(value) or value != round(value):
        raise NeuralDataError(f"{raster.said}: {field} is {value!r}; onset is the whole number of a column, from 1")
    return int(value)


def _bins(raster: Raster, onset: int, options: FileOptions) -> tuple[int, int, int]:
    """Start, stop and width of the bins, in whole ms from onset: of a window one, else what is asked for, else 1 ms."""
    n = raster.values.shape[1]
    held = 1 - onset, n + 1 - onset
    if options.bins is not None:
        wanted = options.bins
    elif options.window is not None:
        wanted = (*options.window, options.window[1] - options.window[0])
    else:
        return (*held, 1)
    start, stop, width = (round(each) for each in wanted)
    if any(abs(each - round(each)) > 1e-6 for each in wanted):
        raise NeuralDataError(f"{raster.said}: a raster has columns of 1 ms; say windows and bins in whole ms")
    if start < held[0] or stop > held[1]:
        raise NeuralDataError(
            f"{raster.said} reaches from {held[0]} to {held[1]} ms from onset (column {onset}); "
            f"{start} to {stop} ms is not within it"
        )
    return start, stop, width


def _is_number(text: str) -> bool:
    """Tell whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _require_alike(path: Path, neurons: list[_Neuron], options: FileOptions) -> None:
    """Refuse rasters that are no population: of other times, of spikes and of other numbers, one neuron twice."""
    first = neurons[0]
    for each in neurons[1:]:
        if each.span != first.span:
            raise NeuralDataError(
                f"{each.said} reaches from {each.span[0]} to {each.span[1]} ms from onset, {first.said} from "
                f"{first.span[0]} to {first.span[1]} ms; say window= or bins= that all hold"
            )
        if each.counts != first.counts:
            spikes, other = (first, each) if first.counts else (each, first)
            raise NeuralDataError(
                f"{other.said} holds other numbers than counts, {spikes.said} holds counts; rasters of one folder are "
                "of one kind"
            )
    if options.unit == "count" and not first.counts:
        raise NeuralDataError(f"{first.said} holds other numbers than counts; leave unit=count out")
    names = [each.name for each in neurons]
    twice = next((each for each in names if names.count(each) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise NeuralDataError(f"{path} holds {twice} twice (.mat and .npz); a neuron has one file")


def _keep(path: Path, neurons: list[_Neuron], condition: str) -> str:
    """Keep the presentations of each neuron whose labels meet a condition, in place; gives it in words."""
    import xarray as xr

    from netphys.neural.operations.selecting import rows_where

    labels = [name for name in neurons[0].labels if all(name in each.labels for each in neurons)]
    held = {name: [text for each in neurons for text in each.labels[name]] for name in labels}
    held |= {f"label_{name}": held[name] for name in labels if name in _KEPT or name in _OF_NEUROIDS}
    held["stimulus_id"] = [text for each in neurons for text in each.stimulus]
    coords: dict[str, Any] = {name: ("presentation", np.array(texts)) for name, texts in held.items()}
    coords["repetition"] = ("presentation", np.concatenate([repetitions_of(each.stimulus) for each in neurons]))
    ends = np.cumsum([len(each.stimulus) for each in neurons])
    try:
        table = xr.DataArray(np.zeros(ends[-1]), dims=("presentation",), coords=coords)
        met = np.isin(np.arange(ends[-1]), rows_where(table, "presentation", condition))
    except NeuralDataError as error:
        raise NeuralDataError(f"{path}: {error}") from None
    for each, rows in zip(neurons, np.split(met, ends[:-1])):
        kept = np.flatnonzero(rows)
        each.values = each.values[kept]
        each.stimulus = [each.stimulus[at] for at in kept]
        each.labels = {name: [texts[at] for at in kept] for name, texts in each.labels.items()}
    none = sum(not each.stimulus for each in neurons)
    unseen = f"; {none} neuron{'s' * (none != 1)} saw none, NaN" if none else ""
    return f"{int(met.sum())} of {ends[-1]} presentations of single neurons, where {condition}{unseen}"


def _assembly(path: Path, neurons: list[_Neuron], columns: dict[str, np.ndarray], options: FileOptions) -> xr.DataArray:
    """Put the neurons side by side: rows are (stimulus, repetition), NaN where a neuron has no such presentation."""
    import xarray as xr

    stimuli = _stimuli(neurons)
    code = {shown: at for at, shown in enumerate(stimuli)}
    most = np.zeros(len(stimuli), dtype=np.int64)
    for each in neurons:
        most = np.maximum(most, np.bincount([code[shown] for shown in each.stimulus], minlength=len(stimuli)))
    repetition, shown = np.nonzero(np.arange(most.max())[:, None] < most)
    row = np.full((len(stimuli), most.max()), -1)
    row[shown, repetition] = np.arange(len(shown))
    shape = (len(shown), len(neurons), neurons[0].values.shape[1])
    dtype = neurons[0].values.dtype if neurons[0].values.dtype == np.float64 else np.dtype(np.float32)
    if math.prod(shape) * dtype.itemsize > BUDGET:
        raise NeuralDataError(
            f"{path}: {' x '.join(map(str, shape))} values take more than {BUDGET / 1e9:.1f} GB; say window= or bins="
        )
    values = np.full(shape, np.nan, dtype=dtype)
    for at, each in enumerate(neurons):
        rows = row[[code[one] for one in each.stimulus], repetitions_of(each.stimulus)]
        values[rows, at] = each.values
        each.values = each.values[:0]  # its memory is free before the next one is copied
    attrs = {PSEUDO: 1, **_in_unit(values, neurons[0], options)}
    coords: dict[str, Any] = {
        "stimulus_id": ("presentation", np.array(stimuli)[shown]),
        "repetition": ("presentation", repetition),
        **{name: ("presentation", each[shown]) for name, each in columns.items()},
        **{name: ("neuroid", each) for name, each in _sites(neurons).items()},
    }
    edges = np.linspace(*neurons[0].span, shape[2] + 1).round().astype(np.int64)
    if shape[2] == 1:
        coords |= {"time_bin_start": edges[0], "time_bin_end": edges[1]}
        return xr.DataArray(values[:, :, 0], dims=("presentation", "neuroid"), coords=coords, attrs=attrs)
    coords |= {"time_bin_start": ("time_bin", edges[:-1]), "time_bin_end": ("time_bin", edges[1:])}
    return xr.DataArray(values, dims=("presentation", "neuroid", "time_bin"), coords=coords, attrs=attrs)


def _in_unit(values: np.ndarray, neuron: _Neuron, options: FileOptions) -> dict[str, str]:
    """Turn sums into the unit asked for, in place; what is not counts is averaged. Gives the unit as an attribute."""
    width = (neuron.span[1] - neuron.span[0]) / values.shape[2]
    unit = options.unit or ("rate" if options.bins is not None else "count")
    if not neuron.counts:
        values /= width
        return {"unit": "spikes/s"} if options.values == "rate" else {}
    if unit == "rate":
        values *= 1000.0 / width
        return {"unit": "spikes/s"}
    return {"unit": "spikes"}


def _stimuli(neurons: list[_Neuron]) -> list[str]:
    """All stimuli, in the order in which the neurons saw them first."""
    return list(dict.fromkeys(shown for each in neurons for shown in each.stimulus))


def _columns(neurons: list[_Neuron], options: FileOptions) -> tuple[dict[str, np.ndarray], list[str]]:
    """Other labels that every stimulus has one value of: columns of the stimuli; and what is said of labels."""
    stimuli = _stimuli(neurons)
    chosen = _stimulus_label(neurons[0].said, neurons[0].labels, options.stimulus)
    taken = {*_KEPT, *_OF_NEUROIDS, *(field for each in neurons for field in each.site)}
    found, varying, told = {}, [], []
    for name in dict.fromkeys(label for each in neurons for label in each.labels if label != chosen):
        value: dict[str, str] = {}
        pairs = (pair for each in neurons if name in each.labels for pair in zip(each.stimulus, each.labels[name]))
        one = all(value.setdefault(shown, label) == label for shown, label in pairs)
        if not one or len(value) != len(stimuli):
            varying.append(name)
            continue
        found[f"label_{name}" if name in taken else name] = np.array([value[each] for each in stimuli])
        if name in _OF_NEUROIDS:
            told.append(f"label {name} as label_{name}")
    if varying:
        told.append(f"without {', '.join(varying[:6])} (not one value a stimulus; where= takes it)")
    return found, told


def _sites(neurons: list[_Neuron]) -> dict[str, np.ndarray]:
    """What the files say of their neurons: coordinates of the neuroids."""
    found = {"neuroid_id": np.array(_ids(neurons))}
    fields = dict.fromkeys(field for each in neurons for field in each.site if field != _ONSET)
    named = next((field for field in _SESSIONS if field in fields), None)
    ids = found["neuroid_id"].tolist()
    found["session"] = np.array(
        [_text(each.site.get(named, ids[at])) if named else ids[at] for at, each in enumerate(neurons)]
    )
    for field in fields:
        if field == "session":
            continue
        values = [each.site.get(field) for each in neurons]
        texts = any(isinstance(each, str) for each in values)
        if texts:
            column = np.array(["" if each is None else _text(each) for each in values])
        else:
            column = np.array([np.nan if each is None else each for each in values])
            whole = column.dtype.kind == "f" and bool((column == np.round(column)).all())
            column = column.astype(np.int64) if whole and (np.abs(column) < 2**53).all() else column
        found[f"site_{field}" if field in _KEPT else field] = column
    return found


def _text(value: Any) -> str:
    """A number or text as text, whole numbers without a point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _ids(neurons: list[_Neuron]) -> list[str]:
    """Names of the neurons: their files', with the folders where two are alike."""
    whole = [each.name.removesuffix(f"_{DATA}") for each in neurons]
    short = [PurePosixPath(each).name for each in whole]
    return short if len(set(short)) == len(short) else whole
