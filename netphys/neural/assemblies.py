"""What an assembly is: ``xarray.DataArray``, presentation x neuroid [x time_bin], flat coordinates, BrainIO's names.

Presentation has ``stimulus_id`` (older files: ``image_id``) and ``repetition``; neuroid has ``neuroid_id``, ``animal``,
``region``, ``session``; time_bin has ``time_bin_start`` and ``time_bin_end`` in ms from the onset of the stimulus
(definitions: neural data, 1.1 and 1.2). Behaviour has choices in the place of neuroids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from netphys.errors import NeuralDataError, near

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.data import NeuralData

    Responses: TypeAlias = xr.DataArray | NeuralData

__all__ = [
    "BEHAVIOUR_DIMS",
    "DIMS",
    "PSEUDO",
    "RECORDING",
    "as_text",
    "assembly_of",
    "behind_identity",
    "first_presentations",
    "is_pseudo",
    "neuroid_keys",
    "regions_of",
    "repetitions_of",
    "require_assembly",
    "subjects_of",
    "unique_values",
    "unmarked",
    "whose",
]

DIMS = ("presentation", "neuroid")
BEHAVIOUR_DIMS = ("presentation", "choice")
PSEUDO = "pseudo_population"  # attribute, 1 where neuroids were not recorded together: trials of two are then unrelated
RECORDING = "recording"  # coordinate of pooled neuroids: those of one value share their trials; "": not known
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
    """Animals of the neuroids of an assembly, subjects of behaviour; () where it does not say.

    What lies on presentations of responses says nothing of neuroids.
    """
    return _of_whom(assembly, whose(assembly))


def regions_of(assembly: xr.DataArray) -> tuple[str, ...]:
    """Regions of the neuroids of an assembly, those of mixed ones (``V4+IT``) one by one; () where it does not say."""
    return tuple(dict.fromkeys(part for each in _of_whom(assembly, "region") for part in each.split("+")))


def _of_whom(assembly: xr.DataArray, coordinate: str) -> tuple[str, ...]:
    """Values of a coordinate that lies on neuroids, or holds for all; of behaviour on whichever dim it lies."""
    if "neuroid" in assembly.dims and coordinate in assembly.coords and "presentation" in assembly[coordinate].dims:
        return ()
    return unique_values(assembly, coordinate)


def whose(assembly: xr.DataArray) -> str:
    """Name the coordinate that says whose responses or choices they are: ``animal``, or ``subject`` of behaviour."""
    return "subject" if "choice" in assembly.dims and "animal" not in assembly.coords else "animal"


def assembly_of(data: Responses) -> xr.DataArray:
    """Give the assembly of neural data, or an assembly as it is: what every operation starts with.

    Raises
    ------
    NeuralDataError
        If the data are RDMs, or something else.
    """
    if hasattr(data, "kind") and hasattr(data, "assembly"):
        if data.assembly is None:
            raise NeuralDataError(f"{data.name} is RDMs, not responses; this takes an assembly of responses")
        return data.assembly
    if hasattr(data, "dims") and hasattr(data, "coords"):
        return data
    raise NeuralDataError(
        f"this takes an assembly (xarray.DataArray, presentation x neuroid) or NeuralData, not {type(data).__name__}"
    )


def is_pseudo(assembly: xr.DataArray) -> bool:
    """Whether neuroids were not recorded together: marked so, and not of one recording of a pool."""
    if not int(assembly.attrs.get(PSEUDO, 0)):
        return False
    recordings = unique_values(assembly, RECORDING)
    return len(recordings) != 1 or recordings[0] == ""


def unmarked(assembly: xr.DataArray) -> xr.DataArray:
    """Take the mark of a pseudo-population from what is one recording of it."""
    if not assembly.attrs.get(PSEUDO) or is_pseudo(assembly):
        return assembly
    out = assembly.copy(deep=False)
    out.attrs = {key: value for key, value in assembly.attrs.items() if key != PSEUDO}
    return out


def neuroid_keys(assembly: xr.DataArray) -> list[tuple[str, ...]]:
    """What names each neuroid in draws: its id, its animal and session where known, and a number where all are alike.

    Two neuroids of two animals may have one id; a draw by ids alone would be the same for both.
    """
    n = assembly.sizes["neuroid"]
    columns = [assembly["neuroid_id"].values.astype(str).tolist()]
    for name in ("animal", "session"):
        if name in assembly.coords and assembly[name].dims in ((), ("neuroid",)):
            columns.append(np.broadcast_to(assembly[name].values, n).astype(str).tolist())
    seen: dict[tuple[str, ...], int] = {}
    keys = []
    for each in zip(*columns):
        seen[each] = seen.get(each, 0) + 1
        keys.append(each if seen[each] == 1 else (*each, str(seen[each])))
    return keys


def behind_identity(ids: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Ids that are each once behind animal, session or both (``ANIMAL/ID``); None where they are not.

    Parameters
    ----------
    ids : str (neuroid,)
    columns : mapping of str to (neuroid,)
        Where ``animal`` and ``session`` are, if they are.
    """
    for prefix in (("animal",), ("session",), ("animal", "session")):
        held = [columns[each].astype(str) for each in prefix if each in columns]
        if len(held) < len(prefix) or any((each == "").any() for each in held):
            continue
        named = np.array(["/".join(each) for each in zip(*held, ids)])
        if len(set(named.tolist())) == len(named):
            return named
    return None


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
