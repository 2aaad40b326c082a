"""Responses in plain arrays (.npy, .npz, .mat, HDF5): axes by name, ids from beside them or from the user's list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.data import NeuralData
from netphys.neural.files.array_files import carried_ids, held_variables, read_variable
from netphys.neural.files.contents import Variable, choose
from netphys.neural.files.finishing import assembled
from netphys.neural.files.ids import follow_ids

if TYPE_CHECKING:
    import xarray as xr

    from netphys.neural.files.options import FileOptions

__all__ = ["load_responses", "long_form", "refuse_choices"]


def load_responses(
    path: Path, suffix: str, options: FileOptions, ids: str | Sequence[str] | None, name: str
) -> NeuralData:
    """Load an array of responses (stimulus x neuroid unless ``axes=`` says otherwise) as an assembly."""
    refuse_choices(path, options)
    axes = options.axes or ("stimulus", "neuroid")
    held = held_variables(path, suffix)
    variable = choose(
        path,
        held,
        options.variable,
        lambda each: _may_be_responses(each, len(axes)),
        what=f"responses ({' x '.join(axes)})",
    )
    value, _ = read_variable(path, suffix, variable)
    if value.ndim != len(axes) or value.dtype.kind not in "fiub" or value.size == 0:
        raise NeuralDataError(
            f"{path}: {variable.name} of shape {value.shape} and {value.dtype} is not {' x '.join(axes)}; say axes="
        )
    order = [axes.index(each) for each in ("repetition", "stimulus", "neuroid") if each in axes]
    cube = value.transpose(order) if len(axes) == 3 else value.transpose(order)[None]
    own = carried_ids(path, suffix, held, variable, cube.shape[1])
    stimulus_ids, joined = follow_ids(path, cube.shape[1], own, ids)
    if np.isinf(cube).any():
        raise NeuralDataError(f"{path}: {variable.name} holds infinity; a response that is missing is NaN")
    what = f"variable {variable.name}" if suffix != ".npy" else ""
    source = ", ".join(part for part in (path.name, what, joined) if part)
    return assembled(path, long_form(cube, stimulus_ids, None), options, name, source)


def refuse_choices(path: Path, options: FileOptions) -> None:
    """Refuse the options that choose among RDMs."""
    if (options.index, options.average, options.stack, options.field) != (None, None, None, None):
        raise NeuralDataError(
            f"{path}: index=, average=, stack= and field= choose RDMs; leave them out with kind=responses"
        )


def long_form(cube: np.ndarray, stimulus_ids: tuple[str, ...], neuroids: Sequence[str] | None) -> xr.DataArray:
    """One row a presentation, of (repetition, stimulus, neuroid); rows that are NaN throughout are left out."""
    import xarray as xr

    n_repetitions, n_stimuli, n_neuroids = cube.shape
    values = cube.reshape(-1, n_neuroids)
    shown = (
        ~np.isnan(values).all(axis=1) if values.dtype.kind == "f" and n_repetitions > 1 else np.ones(len(values), bool)
    )
    coords = {
        "stimulus_id": ("presentation", np.tile(np.array(stimulus_ids), n_repetitions)[shown]),
        "repetition": ("presentation", np.repeat(np.arange(n_repetitions), n_stimuli)[shown]),
        "neuroid_id": (
            "neuroid",
            np.array(neuroids if neuroids is not None else [str(at) for at in range(n_neuroids)]),
        ),
    }
    return xr.DataArray(values[shown], dims=("presentation", "neuroid"), coords=coords)


def _may_be_responses(variable: Variable, n_axes: int) -> bool:
    """Tell from a header whether a variable can be responses."""
    return variable.kind == "numbers" and len(variable.shape) == n_axes and 0 not in variable.shape
