"""Which stimuli a step sees: a pure function of the seed and the step.

An epoch is a permutation of the training stimuli, drawn from (seed, epoch); it is cut into full batches and its ragged
rest is dropped. Views are keyed by the place of a stimulus in its set, so that they depend neither on the order of the
batches nor on the rank that makes them. Stimuli that are held out are chosen once, from the seed, and never trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from netphys.seeds import derive_seed, generator
from netphys.stimuli.views import make_views
from netphys.training.images import on_device

if TYPE_CHECKING:
    from torch import Tensor

    from netphys.objectives.contract import Spec
    from netphys.training.images import Images

__all__ = ["Batches", "split"]

_FIXED = -1  # the epoch of views that are the same at every evaluation


def split(n_stimuli: int, n_held_out: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose which stimuli are trained on and which are held out.

    Returns
    -------
    training, held_out : array of int
        Places in the set; those that are trained on in the order of the set, the others in random order.
    """
    order = generator(seed, "held out").permutation(n_stimuli)
    return np.sort(order[n_held_out:]), order[:n_held_out]


class Batches:
    """The batches of a training.

    Parameters
    ----------
    images : Images
        By place in the set.
    labels : tensor of int64 (stimulus,), optional
        On the device.
    needs : mapping of Spec
        What the objective is given, by name.
    training, held_out : array of int
        Places in the set.
    batch_size : int
        Of all ranks together.
    seed : int
        Of the training.
    device : torch.device
        Where batches are wanted.
    rank, n_ranks : int
        Which slice of each batch this process takes.
    """

    def __init__(
        self,
        images: Images,
        labels: Tensor | None,
        needs: Mapping[str, Spec],
        *,
        training: np.ndarray,
        held_out: np.ndarray,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        self._images, self._labels, self._needs, self._device = images, labels, dict(needs), device
        self._training, self._held_out = training, held_out
        self.batch_size, self.seed = batch_size, derive_seed(seed, "training")
        share = batch_size // n_ranks
        self._slice = slice(rank * share, (rank + 1) * share)
        self.steps_per_epoch = len(training) // batch_size
        self._epoch, self._order = -1, training

    def epoch(self, step: int) -> int:
        """Say which epoch a step belongs to."""
        return step // self.steps_per_epoch

    def indices(self, step: int) -> np.ndarray:
        """Say which stimuli a step sees, on all ranks together."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = generator(self.seed, "order", epoch).permutation(self._training)
            self._epoch = epoch
        return self._order[within * self.batch_size : (within + 1) * self.batch_size]

    def at(self, step: int, *, last: bool = False) -> dict[str, Tensor]:
        """Make this rank's part of the batch of a step; unless it is the last, the next one is read meanwhile."""
        batch = self._make(self.indices(step)[self._slice], self.epoch(step))
        if not last:
            self._images.ahead(self.indices(step + 1)[self._slice])
        return batch

    def of_training(self, n: int) -> Iterator[dict[str, Tensor]]:
        """Yield the first `n` batches of the first epoch, whole, on every rank alike."""
        for step in range(min(n, self.steps_per_epoch)):
            yield self._make(self.indices(step), 0)

    def held_out(self) -> Iterator[dict[str, Tensor]]:
        """Yield the held-out stimuli in the same views each time; the last batch may be smaller."""
        for first in range(0, len(self._held_out), self.batch_size):
            yield self._make(self._held_out[first : first + self.batch_size], _FIXED)

    def close(self) -> None:
        """End what runs beside the training."""
        self._images.close()

    def _make(self, indices: np.ndarray, epoch: int) -> dict[str, Tensor]:
        images = self._images.take(indices)
        return {name: self._deliver(spec, images, indices, epoch) for name, spec in self._needs.items()}

    def _deliver(self, spec: Spec, images: Tensor, indices: np.ndarray, epoch: int) -> Tensor:
        """Make one input: labels, or views of the images."""
        if spec.kind == "label":
            assert self._labels is not None  # inputs are checked before anything is read
            return self._labels[on_device(torch.from_numpy(indices), self._device)]
        views: Sequence[Tensor] = [
            images.to(torch.float32) / 255
            if spec.law is None
            else make_views(images, spec.law, samples=indices, seed=self.seed, epoch=epoch, view=view)
            for view in range(spec.group)
        ]
        return views[0] if spec.group == 1 else torch.stack(list(views), dim=1)
