"""Activations as the sinks that reduce them look at them: (stimulus, unit, position), a few stimuli at a time.

A block is small enough for a processor's cache, so that a sink that looks at it five times reads memory once, and
never makes a second map of a whole batch. How a batch is cut depends on shapes alone, and so do the last bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import RecordingError

if TYPE_CHECKING:
    import torch

__all__ = ["by_unit", "floating", "in_blocks", "of_layer", "require_numbers"]

_BLOCK = 1 << 20  # elements on a CPU: 4 MB of float32, a share of the cache
_BLOCK_ON_GPU = 1 << 25  # there a launch costs more than a look at memory


def by_unit(activation: torch.Tensor) -> torch.Tensor:
    """View (stimulus, unit, ...) as (stimulus, unit, position); a dense layer has one position."""
    return activation[..., None] if activation.ndim == 2 else activation.flatten(2)


def floating(values: torch.Tensor) -> torch.Tensor:
    """Widen half precision to float32; float32 and float64 are returned as they are, not copied."""
    return values.float() if values.dtype.itemsize < 4 else values


def in_blocks(values: torch.Tensor) -> Iterator[torch.Tensor]:
    """Cut along the first axis into blocks that a cache holds."""
    most = _BLOCK if values.device.type == "cpu" else _BLOCK_ON_GPU
    step = max(1, most // max(1, values[0].numel()))
    for start in range(0, len(values), step):
        yield values[start : start + step]


def of_layer(state: Mapping[str, np.ndarray], layer: str) -> dict[str, np.ndarray]:
    """Pick one layer's arrays of a state whose keys are ``kind/layer``."""
    split = {key: key.partition("/") for key in state}
    return {kind: state[key] for key, (kind, _, name) in split.items() if name == layer}


def require_numbers(
    layer: str, rows: np.ndarray, stimulus_ids: Sequence[str], activation: torch.Tensor, *, infinite: bool = True
) -> None:
    """Refuse what is not a number; also what is infinite, unless `infinite` values are welcome.

    Parameters
    ----------
    layer : str
        Whose activation it is.
    rows : array of int (stimulus,)
        Places of the stimuli in the set.
    stimulus_ids : sequence of str
        All of the set.
    activation : tensor (stimulus, unit, ...)
        What is looked at.
    infinite : bool
        Whether infinite values are let through.

    Raises
    ------
    RecordingError
        Naming the layer, the unit and the stimulus of the first one.
    """
    odd = activation.isnan() if infinite else ~activation.isfinite()
    if bool(odd.any()):
        where = odd.nonzero()[0]
        what = "not a number (NaN)" if bool(activation[tuple(where)].isnan()) else "infinite"
        raise RecordingError(
            f"unit {int(where[1])} of layer {layer!r} is {what} for stimulus {stimulus_ids[int(rows[int(where[0])])]!r}"
        )
