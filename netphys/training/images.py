"""The images of a training, as uint8 of one size: held on the device where they fit, else read one batch ahead.

Photographs are uint8 already. Generated images are float in [0, 1] and are rounded to 1/255, as a file would hold them:
four times as many fit. Held or streamed, a batch holds the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from netphys.errors import StimulusError
from netphys.networks import Preprocess
from netphys.progress import bar
from netphys.stimuli.reading_ahead import cuts, read_ahead

if TYPE_CHECKING:
    from torch import Tensor

    from netphys.stimuli import StimulusSet

__all__ = ["BUDGET", "Held", "Images", "Sizer", "Streamed", "images_of"]

BUDGET = 4 * 2**30  # bytes of images that are held on the device: 350,000 of 64 pixels, 28,000 of 224
_CHUNK = 256  # stimuli that are read at once


class Images(Protocol):
    """Images by their place in the set of stimuli."""

    def take(self, indices: np.ndarray) -> Tensor:
        """Return images, uint8 (n, 3, y, x), on the device."""

    def ahead(self, indices: np.ndarray) -> None:
        """Say what will be taken next."""

    def close(self) -> None:
        """End what runs beside the training."""


class Sizer:
    """Bring images to one size, and to uint8.

    Parameters
    ----------
    size : int, optional
        The shorter side is resized to it and the centre cropped, pixels. Default: images are of one size already.
    preprocess : Preprocess
        What the network wants; its geometry comes after `size`, its colours are left to the training.
    """

    def __init__(self, size: int | None, preprocess: Preprocess) -> None:
        self._first = None if size is None else Preprocess(resize=size, crop=size)
        self._then = preprocess if preprocess.resize is not None or preprocess.crop is not None else None

    def __call__(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Return uint8 (n, 3, y, x).

        Raises
        ------
        StimulusError
            If the images are of several sizes.
        """
        for step in (self._first, self._then):
            if step is not None and isinstance(images, torch.Tensor):
                images = step.seen(images)
            elif step is not None:
                images = [step.seen(image[None])[0] for image in images]
        if not isinstance(images, torch.Tensor):
            sizes = sorted({tuple(each.shape[-2:]) for each in images})
            if len(sizes) > 1:
                raise _differ(*sizes[:2])
            images = torch.stack(list(images))
        return _bytes(images)


class Held:
    """All images on the device."""

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self._images = images.to(device)

    def take(self, indices: np.ndarray) -> Tensor:
        """Return images, uint8 (n, 3, y, x), on the device."""
        return self._images[on_device(torch.from_numpy(indices), self._images.device)]

    def ahead(self, indices: np.ndarray) -> None:
        """Nothing is to be done: all are there."""

    def close(self) -> None:
        """Nothing runs."""


class Streamed:
    """Images that are read when they are wanted, by a thread that is one batch ahead."""

    def __init__(self, read: Callable[[np.ndarray], Tensor], device: torch.device) -> None:
        self._read, self._device = read, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netphys-images")
        self._coming: tuple[bytes, Future[Tensor]] | None = None

    def take(self, indices: np.ndarray) -> Tensor:
        """Return images, uint8 (n, 3, y, x), on the device."""
        coming, self._coming = self._coming, None
        images = coming[1].result() if coming and coming[0] == indices.tobytes() else self._read(indices)
        return on_device(images, self._device)

    def ahead(self, indices: np.ndarray) -> None:
        """Begin to read what will be taken next."""
        self._coming = (indices.tobytes(), self._thread.submit(self._read, indices))

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def images_of(
    stimuli: StimulusSet, sizer: Sizer, device: torch.device, *, size: tuple[int, int], budget: int = BUDGET
) -> Images:
    """Hold the images of a set on the device if they fit in `budget` bytes, else stream them.

    Parameters
    ----------
    stimuli : StimulusSet
        What is shown.
    sizer : Sizer
        Brings them to `size`, pixels (y, x).
    device : torch.device
        Where they are wanted.
    size : (int, int)
        Of an image.
    budget : int
        Bytes.
    """

    def read(indices: np.ndarray) -> Tensor:
        return sizer(stimuli.images(indices))

    if len(stimuli) * 3 * size[0] * size[1] > budget:
        return Streamed(read, device)
    held = torch.empty((len(stimuli), 3, *size), dtype=torch.uint8)
    with bar(len(stimuli), label=f"reading {stimuli.name}") as progress:
        for rows, images in read_ahead(read, cuts(len(stimuli), _CHUNK)):
            if images.shape[1:] != held.shape[1:]:
                raise _differ(size, tuple(images.shape[-2:]))
            held[rows[0] : rows[-1] + 1] = images
            progress.update(len(rows))
    return Held(held, device)


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """Move a tensor of the host without waiting for the device."""
    return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)


def _differ(size: tuple[int, ...], other: tuple[int, ...]) -> StimulusError:
    """Say that images differ in size, and what to do."""
    shown = " and ".join(f"{y} x {x}" for y, x in (size, other))
    return StimulusError(
        f"images differ in size ({shown}); size=64 (--size 64) resizes the shorter side and crops the centre"
    )


def _bytes(images: Tensor) -> Tensor:
    """Round images to what a file holds."""
    return images if images.dtype == torch.uint8 else (images * 255).round_().clamp_(0, 255).to(torch.uint8)
