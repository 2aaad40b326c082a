"""Facts of neural data in words: what ``netphys neural`` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.neural.assemblies import PSEUDO, unique_values
from netphys.neural.data import NeuralData

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.quality.reliability import Reliability

__all__ = ["assembly_facts", "held_facts", "late_bins", "rdm_facts", "reliability_words", "title_of"]

_SOME = 4  # names of many that are written out
_LONG = 40  # letters of a name
_OTHERS = 12  # further coordinates that are told
_TOLD = {  # coordinates that have a line of their own
    *("stimulus_id", "repetition", "neuroid_id", "choice", "animal", "region", "subject", "session"),
    *("time_bin_start", "time_bin_end"),
}
_APART = "of neuroids that were not recorded together (a pseudo-population)"


def held_facts(held: dict[str, Any]) -> dict[str, str]:
    """What a file holds, in words."""
    facts = {"holds": str(held.get("kind", "arrays"))}
    kinds = held.get("kinds", {})
    for name, shape in held.get("variables", {}).items():
        kind = kinds.get(name, "numbers")
        dims = held.get("dims", {}).get(name)
        sizes = " x ".join(map(str, shape)) or "one value"
        facts[f"  {name}"] = (
            f"{sizes}{f' ({chr(32).join(dims)})' if dims else ''}{'' if kind == 'numbers' else ' ' + kind}"
        )
    return facts


def rdm_facts(data: NeuralData) -> dict[str, str]:
    """Facts of RDMs."""
    from netphys.neural.telling.drawing import agreement

    assert data.dissimilarities is not None
    values = data.dissimilarities
    facts = {
        "what": f"{len(values)} RDM{'s' * (len(values) != 1)}",
        "stimuli": f"{len(data.stimulus_ids)}: {_some(data.stimulus_ids)}",
        "source": data.source,
        "subjects": f"{len(data.subjects)}: {_some(data.subjects)}",
        "region": data.region,
        "values": f"{values.min():.3g} to {values.max():.3g}, mean {values.mean():.3g}",
    }
    if len(values) > 1:
        each = agreement(data)
        facts["agreement"] = (
            f"each subject with the mean of the others, Spearman: mean {each.mean():.3f}, "
            f"{each.min():.3f} to {each.max():.3f}"
        )
    return {key: value for key, value in facts.items() if value}


def assembly_facts(data: NeuralData, assembly: xr.DataArray, repeats: np.ndarray) -> dict[str, str]:
    """Facts of an assembly or of behaviour."""
    least, most = int(repeats.min()), int(repeats.max())
    times = f"{least}" if least == most else f"{least} to {most}"
    second = str(assembly.dims[1])
    facts = {
        "what": "behaviour" if data.kind == "behaviour" else "an assembly of responses",
        "stimuli": f"{len(data.stimulus_ids)}: {_some(data.stimulus_ids)}",
        "source": data.source,
        "presentations": f"{assembly.sizes['presentation']}, {times} of each stimulus",
        f"{second}s": f"{assembly.sizes[second]}: {_some(_named(assembly, second))}",
        "regions": _counted(assembly, "region"),
        "animals": _counted(assembly, "animal"),
        "subjects": _counted(assembly, "subject"),
        "sessions": _counted(assembly, "session"),
        "time bins": _times(assembly),
        **_others(assembly),
        "values": _values(assembly),
        "trials": _APART if assembly.attrs.get(PSEUDO) else "",
    }
    return {key: value for key, value in facts.items() if value}


def title_of(data: NeuralData) -> str:
    """Name, region, window of time and numbers, for the head of a figure."""
    n = len(data.stimulus_ids)
    told = [data.name if len(data.name) <= _LONG else f"{data.name[: _LONG - 1]}…", data.region]
    if data.assembly is None:
        return ", ".join([*filter(None, told), _many(len(data.subjects), "subject"), _many(n, "stimulus", "stimuli")])
    assembly = data.assembly
    if {"time_bin_start", "time_bin_end"} <= set(map(str, assembly.coords)):
        told.append(f"{assembly['time_bin_start'].values.min():g} to {assembly['time_bin_end'].values.max():g} ms")
    second = str(assembly.dims[1])
    counts = [_many(assembly.sizes[second], second), _many(n, "stimulus", "stimuli")]
    return ", ".join([*filter(None, told), *counts, _many(assembly.sizes["presentation"], "presentation")])


def _many(n: int, one: str, several: str = "") -> str:
    """Write a number and what it is of."""
    return f"{n} {one if n == 1 else several or one + 's'}"


def late_bins(assembly: xr.DataArray) -> xr.DataArray:
    """The time bins that start after the onset, of which reliability is told; all, where none does or no one knows."""
    late = assembly["time_bin_start"].values >= 0 if "time_bin_start" in assembly.coords else np.array([False])
    return assembly.isel(time_bin=late) if late.any() else assembly


def reliability_words(assembly: xr.DataArray, reliable: Reliability) -> str:
    """Say what a reliability is of, and what stands in its brackets."""
    of = ""
    if "time_bin" in assembly.dims:
        late = late_bins(assembly)
        known = {"time_bin_start", "time_bin_end"} <= set(late.coords)
        bins = f"{late['time_bin_start'].values.min():g} to {late['time_bin_end'].values.max():g} ms" if known else ""
        of = f"of the mean of {bins or 'all time bins'}; "
    name = "split halves, Spearman-Brown" if reliable.method == "split_half" else "analysis of variance"
    return (
        f"{of}{name}; in brackets the medians of the neuroids' {100 * reliable.confidence:g} % intervals over stimuli"
    )


def _others(assembly: xr.DataArray) -> dict[str, str]:
    """Further coordinates with their values: few texts with their numbers, numbers as a range."""
    found = {}
    for dim in map(str, assembly.dims[:2]):
        names = [str(key) for key, each in assembly.coords.items() if each.dims == (dim,) and key not in _TOLD]
        for name in names[:_OTHERS]:
            if told := _range_or_few(assembly, name):
                found[name] = f"{told}, a {dim}"
    return found


def _range_or_few(assembly: xr.DataArray, name: str) -> str:
    """Values of a coordinate; nothing of texts that differ everywhere."""
    values = assembly[name].values
    if values.dtype.kind in "fiu":
        known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        return f"{known.min():.4g} to {known.max():.4g}" if known.size and known.min() < known.max() else (
            f"{known[0]:.4g}" if known.size else ""
        )  # fmt: skip
    return _counted(assembly, name)


def _named(assembly: xr.DataArray, dim: str) -> tuple[str, ...]:
    """Names along the second dim."""
    return unique_values(assembly, "neuroid_id" if dim == "neuroid" else dim)


def _counted(assembly: xr.DataArray, coordinate: str) -> str:
    """Values of a coordinate and how many there are of each."""
    if coordinate not in assembly.coords:
        return ""
    names, counts = np.unique(np.atleast_1d(assembly[coordinate].values).astype(str), return_counts=True)
    if assembly[coordinate].ndim == 0:
        return str(names[0])
    told = [f"{name} ({count})" for name, count in zip(names[:_SOME], counts)]
    return ", ".join(told) + (f", ... ({len(names)} in all)" if len(names) > _SOME else "")


def _times(assembly: xr.DataArray) -> str:
    """The bins of time."""
    if "time_bin_start" not in assembly.coords or "time_bin_end" not in assembly.coords:
        return f"{assembly.sizes['time_bin']}, without times" if "time_bin" in assembly.dims else ""
    starts, ends = (np.atleast_1d(assembly[f"time_bin_{which}"].values) for which in ("start", "end"))
    widths = np.unique((ends - starts).round(6))
    width = f" of {widths[0]:g} ms" if len(widths) == 1 and len(starts) > 1 else ""
    return f"{len(starts)}{width}, {starts.min():g} to {ends.max():g} ms from onset"


def _values(assembly: xr.DataArray) -> str:
    """Dtype, unit, range and what is missing."""
    values = assembly.values
    missing = float(np.isnan(values).mean()) if values.dtype.kind == "f" else 0.0
    there = values[~np.isnan(values)] if missing else values
    if there.size == 0:
        return f"{values.dtype}, all missing"
    unit = f" {assembly.attrs['unit']}" if "unit" in assembly.attrs else ""
    lost = f", {100 * missing:.2g} % missing" if missing else ""
    return (
        f"{values.dtype}, {there.min():.4g} to {there.max():.4g}{unit}, mean {there.mean(dtype=np.float64):.4g}{lost}"
    )


def _some(names: Sequence[str]) -> str:
    """Name a few of many."""
    return ", ".join(names[:_SOME]) + (", ..." if len(names) > _SOME else "")
