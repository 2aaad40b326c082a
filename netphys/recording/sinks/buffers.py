"""Arrays that activations are copied to inside the hook: that copy is the clone, a second would be waste.

Much of a copy's cost is the first touch of fresh memory. numpy asks the kernel for huge pages where an array has 4 MiB
or more, which makes it a quarter of what torch's own allocation costs; what is recorded to a file goes through arrays
that are touched once and used again for every shard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import RecordingError
from netphys.recording.copying import Copier, as_torch, is_view_of
from netphys.recording.file.bfloat16 import storage_dtype
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
    dtype : {"float32", "float16", "bfloat16"}
        Stored dtype; bfloat16 is kept as uint16 (:mod:`netphys.recording.file.bfloat16`).
    n_rows : int
        How many stimuli they hold.
    as_computed : bool
        Lay each stimulus out in memory as the network does, units last for instance: the axes of an array are the
        same, its strides are not. A copy that turns the axes costs up to ten times one that does not.
    """

    def __init__(
        self, layers: Sequence[Layer], *, keep: Keep, dtype: str, n_rows: int, as_computed: bool = False
    ) -> None:
        self._keep, self._dtype = keep, dtype
        self._unplaced = {each.name for each in layers} if as_computed else set()
        self._layers = {each.name: each for each in layers}
        self._arrays = {each.name: _empty((n_rows, *keep.shape(each)), storage_dtype(dtype)) for each in layers}
        self._rows = {name: as_torch(array, dtype) for name, array in self._arrays.items()}
        self._copier: Copier | None = None

    def write(self, layer: str, first: int, activation: torch.Tensor) -> None:
        """Copy what is kept of an activation to the rows from `first` on: the copy is the clone.

        From a GPU the copy may still be under way when this returns; :attr:`arrays` waits for it.
        """
        if self._copier is None:
            self._copier = Copier(activation.device)
        values = self._keep.reduce(activation, self._layers[layer])
        if layer in self._unplaced:
            self._place(layer, values)
        into = self._rows[layer][first : first + len(values)]
        landed = _overflow_check(layer, into, values) if _is_narrower(into, values) else None
        owned = self._copier.is_late and not is_view_of(values, activation)  # a question that costs microseconds
        self._copier.copy(values, into, owned=owned, landed=landed)

    def _place(self, layer: str, values: torch.Tensor) -> None:
        """Lay the rows of a layer out like what is first written to them; until then nothing has touched them."""
        self._unplaced.discard(layer)
        order = [0, *sorted(range(1, values.ndim), key=values.stride, reverse=True)]
        if order != list(range(values.ndim)):
            given = self._arrays[layer]
            array = _empty([given.shape[axis] for axis in order], given.dtype).transpose(np.argsort(order))
            self._arrays[layer], self._rows[layer] = array, as_torch(array, self._dtype)

    def finish(self) -> None:
        """Wait until every row that was written is in its array.

        Raises
        ------
        RecordingError
            If values became infinite when they were stored.
        """
        if self._copier is not None:
            self._copier.finish()

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Layer → (stimulus, ...), after all copies have ended."""
        self.finish()
        return self._arrays


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
        self._buffers = Buffers(layers, keep=keep, dtype=dtype, n_rows=n_stimuli, as_computed=True)

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation."""
        self._buffers.write(layer, int(rows[0]), activation)

    def finish(self) -> None:
        """Wait until every row that was written is in its array: :meth:`Buffers.finish`."""
        self._buffers.finish()

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Layer → (stimulus, ...), after all copies have ended."""
        return self._buffers.arrays


def bytes_a_stimulus(layers: Sequence[Layer], keep: Keep, dtype: str) -> int:
    """Bytes that one stimulus takes in a recording."""
    return sum(int(np.prod(keep.shape(each))) for each in layers) * storage_dtype(dtype).itemsize


def check_overflow(layer: str, stored: torch.Tensor, n_infinite: Callable[[], int]) -> None:
    """Refuse values that became infinite when they were stored; what the network itself made infinite is kept.

    Parameters
    ----------
    layer : str
        Name that the error says.
    stored : CPU tensor
        What was stored, after its copy ended.
    n_infinite : callable
        How many values the network made infinite; asked only where infinities were stored.

    Raises
    ------
    RecordingError
        Naming the layer and how many.
    """
    import torch

    n_overflowed = _n_infinite(stored)
    if n_overflowed:
        n_overflowed -= n_infinite()
    if n_overflowed:
        name = str(stored.dtype).removeprefix("torch.")
        hint = ", the widest dtype that is stored" if stored.dtype == torch.float32 else "; say float32"
        raise RecordingError(
            f"{n_overflowed} activations of {layer!r} exceed {torch.finfo(stored.dtype).max:.5g}, "
            f"too large for {name}{hint}"
        )


def _overflow_check(layer: str, stored: torch.Tensor, values: torch.Tensor) -> Callable[[], None]:
    """Make the check of a copy; on a GPU infinities are counted now, before anything overwrites the values."""
    if values.device.type == "cpu":
        return lambda: check_overflow(layer, stored, lambda: int(values.isinf().sum()))
    counted = values.isinf().sum()
    return lambda: check_overflow(layer, stored, lambda: int(counted))


def _empty(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Allocate an array as torch does: numpy asks for huge pages, whose first touch can cost five times more."""
    import torch

    n_bytes = int(np.prod(shape)) * dtype.itemsize
    return torch.empty(n_bytes, dtype=torch.uint8).numpy().view(dtype).reshape(shape)


def _is_narrower(stored: torch.Tensor, values: torch.Tensor) -> bool:
    """Tell whether a dtype holds less than another."""
    import torch

    return stored.dtype != values.dtype and torch.finfo(stored.dtype).max < torch.finfo(values.dtype).max


def _n_infinite(values: torch.Tensor) -> int:
    """Count infinities; the largest and smallest value tell at a tenth of the time that there are none."""
    import torch

    if not values.numel():
        return 0
    low, high = torch.aminmax(values)  # NaN where any value is: then all are looked at
    return 0 if bool(low.isfinite() and high.isfinite()) else int(values.isinf().sum())


def _available_memory() -> int:
    """Bytes of memory that are free or can be freed."""
    import os

    try:
        with open("/proc/meminfo") as lines:  # noqa: PTH123 - a kernel's table, not a file
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
