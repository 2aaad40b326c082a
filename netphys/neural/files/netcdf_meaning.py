"""What an assembly of a stranger's netCDF file means by its names: whose a coordinate is, the unit, ms or seconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.files.time_bins import SHORTEST

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["as_meant", "require_ms"]

_OF_NEUROIDS = ("animal", "region", "subject")  # of the recording: a presentation's that is called so is a picture's
_WORDS = {  # units as files spell them, in small letters
    "spikes": ("spikes", "spike", "count", "counts", "spike count", "spike counts", "spike_count", "spike_counts"),
    "spikes/s": ("spikes/s", "spike/s", "spikes/sec", "spikes/second", "spikes per second", "spikes s-1", "spikes s^-1")
    + ("hz", "hertz", "sp/s", "spk/s", "s-1", "1/s", "s^-1", "imp/s", "impulses/s"),
}


def as_meant(path: Path, assembly: xr.DataArray) -> tuple[xr.DataArray, list[str]]:
    """Give coordinates and the unit of responses the names that are ours.

    Parameters
    ----------
    path : Path
        The file, for messages.
    assembly : xarray.DataArray (presentation, neuroid[, time_bin])

    Returns
    -------
    xarray.DataArray
        Coordinates ``animal``, ``region`` and ``subject`` of presentations are called ``presentation_animal``, ...:
        they are of what was shown. Attribute ``unit`` is "spikes" or "spikes/s" where the file's ``unit``, or the
        ``units`` of CF, is a word for it.
    list of str
        What was done, in words.

    Raises
    ------
    NeuralDataError
        If ``unit`` and ``units`` contradict each other.
    """
    odd = [name for name in _OF_NEUROIDS if name in assembly.coords and assembly[name].dims == ("presentation",)]
    renamed = {name: f"presentation_{name}" for name in odd if f"presentation_{name}" not in assembly.coords}
    said = [f"{name} of presentations as {into}" for name, into in renamed.items()]
    out = assembly.rename(renamed)
    held = {key: assembly.attrs.get(key) for key in ("unit", "units")}
    known = {key: _word(each) for key, each in held.items()}
    if known["units"] and held["unit"] is not None and known["unit"] != known["units"]:
        raise NeuralDataError(
            f"{path} says unit {held['unit']!r} and units {held['units']!r}; mend the attribute that is wrong"
        )
    word = known["unit"] or known["units"]
    if not word:
        return out, said
    by = "unit" if known["unit"] else "units"
    out.attrs = {key: each for key, each in assembly.attrs.items() if key != "units" or not known["units"]}
    out.attrs["unit"] = word
    return out, [*said, f"in {word} ({by}: {held[by]})"] if by == "units" or held[by] != word else said


def _word(said: Any) -> str:
    """The unit that a word says; "" where it says another one, or none."""
    plain = " ".join(str(said).lower().split())
    return next((word for word, spelt in _WORDS.items() if plain in spelt), "")


def require_ms(path: Path, assembly: xr.DataArray) -> None:
    """Refuse bins of time that are too short to be of ms."""
    edges = [assembly.coords[name].values for name in ("time_bin_start", "time_bin_end") if name in assembly.coords]
    if len(edges) < 2 or any(each.dtype.kind not in "fiu" for each in edges) or edges[0].shape != edges[1].shape:
        return
    starts, stops = (each.astype(np.float64) for each in edges)
    width = float(np.min(stops - starts, initial=np.inf))
    if width <= 0:
        raise NeuralDataError(f"{path} has a time bin of {width:g} ms; time_bin_end is after time_bin_start")
    if width < SHORTEST:
        raise NeuralDataError(
            f"{path} has a time bin of {width:g} ms, too short to be neural; time_bin_start and time_bin_end are in "
            "ms, these may be seconds: write them in ms"
        )
