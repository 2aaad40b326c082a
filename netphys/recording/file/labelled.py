"""A layer of a recording as a variable of xarray that is read from the file only where it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    from netphys.recording.file.reading import Recording

__all__ = ["lazy_variable"]


def lazy_variable(recording: Recording, layer: str) -> xr.Variable:
    """Make a variable of xarray that reads from the recording's file where it is used, whatever part is asked for."""
    return xr.Variable(recording.dims(layer), indexing.LazilyIndexedArray(_OfRecording(recording, layer)))


class _OfRecording(BackendArray):
    """What xarray asks for a part."""

    def __init__(self, recording: Recording, layer: str) -> None:
        self._recording, self._layer = recording, layer
        self.shape, self.dtype = recording.shape(layer), recording.dtype(layer)

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        """Read the stimuli and units, then choose from the other axes one by one."""
        rows, units = (None if _is_whole(each) else _numbers(each, n) for each, n in zip(key[:2], self.shape))
        block = self._recording.read(self._layer, rows, units)
        for axis, each in enumerate(key[2:], start=2):
            if not _is_whole(each):
                block = np.take(block, _numbers(each, self.shape[axis]), axis=axis)
        return block.squeeze(tuple(axis for axis, each in enumerate(key) if isinstance(each, int | np.integer)))


def _is_whole(key: Any) -> bool:
    return isinstance(key, slice) and key == slice(None)


def _numbers(key: Any, n: int) -> np.ndarray:
    """Number what a key of one axis asks for."""
    return np.atleast_1d(np.arange(n)[key])
