"""What an assembly is: ``xarray.DataArray``, presentation x neuroid [x time_bin], flat coordinates, BrainIO's names.

Presentation has ``stimulus_id`` (older files: ``image_id``) and ``repetition``; neuroid has ``neuroid_id``, ``animal``,
``region``, ``session``; time_bin has ``time_bin_start`` and ``time_bin_end`` in ms from the onset of the stimulus
(definitions: neural data, 1.1 and 1.2). Behaviour has choices in the place of neuroids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NeuralDataError, near

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "BEHAVIOUR_DIMS",
    "DIMS",
    "PSEUDO",
    "as_text",
    "first_presentations",
    "repetitions_of",
    "require_assembly",
    "subjects_of",
    "unique_values",
    "whose",
]

DIMS = ("presentation", "neuroid")
BEHAVIOUR_DIMS = ("presentation", "choice")
PSEUDO = "pseudo_population"  # attribute, 1 where neuroids were not recorded together: trials of two are then unrelated
_REQUIRED = {"presentation": "stimulus_id", "neuroid": "neuroid_id"}


def first_presentations(stimulus_ids: Sequence[Any] | np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Unique ids in the order of first appearance, and for every presentation which of them it shows."""
    row: dict[str, int] = {}
    codes = np.array([row.setdefault(str(each), len(row)) for each in stimulus_ids], dtype=np.int64)
    return tuple(row), codes


def repetitions_of(stimulus_ids: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Count, for every presentation, how often its stimulus was shown before: 0, 1, 2, ... (int64)."""
    _, codes = first_presentations(stimulus_ids)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    out = np.empty(len(codes), dtype=np.int64)
    out[order] = np.arange(len(codes)) - starts
    return out


def unique_values(assembly: xr.DataArray, coordinate: str) -> tuple[str, ...]:
    """Values of a coordinate as str, in the order of first appearance; () where there is none."""
    if coordinate not in assembly.coords:
        return ()
    return tuple(dict.fromkeys(str(each) for each in np.atleast_1d(assembly[coordinate].values).tolist()))


def subjects_of(assembly: xr.DataArray) -> tuple[str, ...]:
    """Animals of an assembly, subjects of behaviour; () where it does not say."""
    return unique_values(assembly, whose(assembly))


def whose(assembly: xr.DataArray) -> str:
    """Name the coordinate that says whose responses or choices they are: ``animal``, or ``subject`` of behaviour."""
    return "subject" if "choice" in assembly.dims and "animal" not in assembly.coords else "animal"


def require_assembly(assembly: xr.DataArray, *, what: str, dims: tuple[str, str] = DIMS) -> None:
    """Refuse what has not the dims and coordinates of an assembly, saying which it lacks."""
    allowed = {*dims, "time_bin"}
    if not set(dims) <= set(assembly.dims) or not set(assembly.dims) <= allowed:
        raise NeuralDataError(
            f"{what} has dims {' x '.join(map(str, assembly.dims)) or '()'}; "
            f"an assembly has {' x '.join(dims)} [x time_bin]"
        )
    for dim, name in _REQUIRED.items():
        if dim in dims and name not in assembly.coords:
            raise NeuralDataError(f"{what} has no coordinate {name!r}{near(name, map(str, assembly.coords))}")
    if 0 in assembly.shape:
        raise NeuralDataError(f"{what} is empty: {dict(assembly.sizes)}")
    if assembly.dtype.kind not in "fiub":
        raise NeuralDataError(f"{what} holds {assembly.dtype}; responses are real numbers")


def as_text(values: np.ndarray) -> np.ndarray:
    """Bytes, objects and numbers as str."""
    flat = [each.decode() if isinstance(each, bytes) else str(each) for each in values.reshape(-1).tolist()]
    return np.array(flat, dtype=str).reshape(values.shape)
