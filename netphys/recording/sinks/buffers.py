"""Arrays that activations are copied to inside the hook: that copy is the clone, a second would be waste."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import RecordingError
from netphys.recording.keep import Keep
from netphys.recording.layers import Layer

if TYPE_CHECKING:
    import torch

__all__ = ["Buffers", "Memory", "bytes_a_stimulus", "check_overflow"]


class Buffers:
    """Arrays for some rows of every layer, allocated once and reused.

    Parameters
    ----------
    layers : sequence of Layer
        What is recorded.
    keep : Keep
        What is kept of a map.
    dtype : str
        Numpy's name of the stored dtype.
    n_rows : int
        How many stimuli they hold.
    """

    def __init__(self, layers: Sequence[Layer], *, keep: Keep, dtype: str, n_rows: int) -> None:
        self._keep = keep
        self._dtype = np.dtype(dtype)
        self._layers = {each.name: each for each in layers}
        self.arrays = {each.name: np.empty((n_rows, *keep.shape(each)), self._dtype) for each in layers}

    def write(self, layer: str, first: int, activation: torch.Tensor) -> None:
        """Copy what is kept of an activation to the rows from `first` on: the copy is the clone."""
        import torch

        kept = self.arrays[layer]
        values = self._keep.reduce(activation, self._layers[layer])
        into = kept[first : first + len(values)]
        torch.from_numpy(into).copy_(values)
        if torch.finfo(values.dtype).max > float(np.finfo(self._dtype).max):
            check_overflow(layer, into, values)


class Memory:
    """Keep a whole recording in memory."""

    def __init__(self, layers: Sequence[Layer], n_stimuli: int, *, keep: Keep, dtype: str) -> None:
        needed = n_stimuli * bytes_a_stimulus(layers, keep, dtype)
        available = _available_memory()
        if needed > 0.8 * available:
            raise RecordingError(
                f"{n_stimuli} stimuli x {len(layers)} layers take {needed / 1e9:.1f} GB of memory, "
                f"{available / 1e9:.1f} GB are free; record to a file (into='rec.h5'), fewer layers, or keep='mean'"
            )
        self._buffers = Buffers(layers, keep=keep, dtype=dtype, n_rows=n_stimuli)

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation."""
        self._buffers.write(layer, int(rows[0]), activation)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Layer → (stimulus, ...)."""
        return self._buffers.arrays


def bytes_a_stimulus(layers: Sequence[Layer], keep: Keep, dtype: str) -> int:
    """Bytes that one stimulus takes in a recording."""
    return sum(int(np.prod(keep.shape(each))) for each in layers) * np.dtype(dtype).itemsize


def check_overflow(layer: str, stored: np.ndarray, values: torch.Tensor) -> None:
    """Refuse values that became infinite when they were stored; what the network itself made infinite is kept.

    Raises
    ------
    RecordingError
        Naming the layer and how many.
    """
    n_overflowed = int(np.isinf(stored).sum())
    if n_overflowed:
        n_overflowed -= int(values.isinf().sum())
    if n_overflowed:
        largest = np.finfo(stored.dtype).max
        hint = "; say float32" if stored.dtype == np.float16 else ", the widest dtype that is stored"
        raise RecordingError(
            f"{n_overflowed} activations of {layer!r} exceed {largest:.5g}, too large for {stored.dtype}{hint}"
        )


def _available_memory() -> int:
    """Bytes of memory that are free or can be freed."""
    import os

    try:
        with open("/proc/meminfo") as lines:  # noqa: PTH123 - a kernel's table, not a file
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
