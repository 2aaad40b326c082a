"""A layer of a recording as a data set of torch, for whoever trains on activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from netphys.recording.file.reading import Recording

__all__ = ["Activations"]


class Activations:
    """Activations of a layer, one stimulus an item, read when asked for; a map-style data set of torch.

    Made by :meth:`netphys.recording.Recording.dataset`. Items are (activation, label): a tensor (unit, ...), and the
    stimulus id or the stimulus' value in a column of the metadata. Goes to the workers of a ``DataLoader`` as it is:
    no file is held open.

    Parameters
    ----------
    recording : Recording
        What is read from.
    layer : str
        Its name.
    labels : sequence
        One a stimulus.
    """

    def __init__(self, recording: Recording, layer: str, labels: Sequence[Any]) -> None:
        self._recording, self._layer, self._labels = recording, layer, labels

    def __len__(self) -> int:
        return len(self._recording)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"stimulus {index} of {len(self)}")
        return self.__getitems__([index % len(self)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[torch.Tensor, Any]]:
        """Read a batch at once, which is how a ``DataLoader`` asks."""
        import torch

        values = torch.from_numpy(np.array(self._recording.read(self._layer, np.asarray(indices, dtype=np.int64))))
        return [(value, self._labels[index]) for value, index in zip(values, indices)]
