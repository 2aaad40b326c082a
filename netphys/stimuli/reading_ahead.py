"""Sets larger than memory are read batch by batch, the next batch while one is used; sets that fit live on the device.

A thread reads; decoding releases Python's lock, so that it runs beside the forward. Order, values and errors are those
of reading one batch after the other: what cannot be read is raised at its batch, after those before it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from netphys.errors import OptionError, StimulusError, near
from netphys.progress import bar
from netphys.stimuli.sources import clipped_of, conversions_of, gathered, targets_of

if TYPE_CHECKING:
    import torch

    from netphys.stimuli.sources import Source
    from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["OnDevice", "batches_of", "cuts", "hold", "read_ahead"]

P = TypeVar("P")
V = TypeVar("V")

_AHEAD = 2  # batches in flight beside the one that is used: one waits while the next is read
_BATCH = 64  # stimuli read at once where a set is held


def batches_of(
    stimuli: StimulusSet, batch_size: int = 32, *, field: str = "image", start: int = 0
) -> Generator[tuple[np.ndarray, Any], None, None]:
    """Read a set from `start` on, batch by batch: see :meth:`netphys.stimuli.StimulusSet.batches`.

    Parameters
    ----------
    stimuli : StimulusSet
        What is read.
    batch_size : int
        Stimuli in a batch; the last one may be smaller.
    field : str
        One of its fields.
    start : int
        Position of the first stimulus; ``len(stimuli)``: nothing is left to read.

    Raises
    ------
    OptionError
        If `batch_size` is below 1, or `start` is no position.
    StimulusError
        If the set has no such field; when a batch cannot be read, at that batch.

    Notes
    -----
    Closing the iterator (or leaving a loop over it, when it is forgotten) ends the thread.
    """
    if batch_size < 1:
        raise OptionError(f"batch_size={batch_size}: at least 1")
    if not 0 <= start <= len(stimuli):
        raise OptionError(f"start={start}: {stimuli.name} has stimuli 0 to {len(stimuli) - 1}")
    if field not in stimuli.fields:
        raise StimulusError(f"{stimuli.name} has no field {field!r}{near(field, stimuli.fields)}")
    return read_ahead(lambda rows: stimuli.get(rows, field), cuts(len(stimuli), batch_size, start=start))


def cuts(n: int, size: int, *, start: int = 0) -> Iterator[np.ndarray]:
    """Cut positions `start` to `n` into batches.

    Examples
    --------
    >>> [each.tolist() for each in cuts(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    return (np.arange(first, min(first + size, n)) for first in range(start, n, size))


def read_ahead(read: Callable[[P], V], parts: Iterable[P]) -> Generator[tuple[P, V], None, None]:
    """Call a reader for each part, up to two parts before they are asked for, in one thread.

    Parameters
    ----------
    read : callable
        Of a part, as positions. It runs with the torch threads and the gradient mode of whoever asks first.
    parts : iterable
        What is read, in this order.

    Yields
    ------
    (part, what was read)

    Examples
    --------
    >>> list(read_ahead(abs, [-3, 1]))
    [(-3, 3), (1, 1)]
    """
    as_here = _as_here()
    waiting: deque[tuple[P, Future[V]]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="netphys-reading")
    try:
        for part in parts:
            waiting.append((part, pool.submit(as_here, read, part)))
            if len(waiting) > _AHEAD:
                now, coming = waiting.popleft()
                yield now, coming.result()
        while waiting:
            now, coming = waiting.popleft()
            yield now, coming.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _as_here() -> Callable[[Callable[[P], V], P], V]:
    """Return a caller of functions in which torch is set as in the thread that calls now."""
    import torch

    n_threads, grad = torch.get_num_threads(), torch.is_grad_enabled()

    def call(read: Callable[[P], V], part: P) -> V:
        if torch.get_num_threads() != n_threads:  # a thread that torch has not met yet would take all
            torch.set_num_threads(n_threads)
        with torch.set_grad_enabled(grad):
            return read(part)

    return call


class OnDevice:
    """Images of a set on a device; its other fields stay where they are.

    Parameters
    ----------
    images : tensor (stimulus, 3, y, x), or list of tensors (3, y, x)
        On the device.
    source : Source
        What was read, for the other fields, the digests and the words on conversions.
    rows : array of int
        Our stimuli in it.
    """

    def __init__(self, images: torch.Tensor | list[torch.Tensor], source: Source, rows: np.ndarray) -> None:
        self._images, self._source, self._rows = images, source, rows
        self.fields = source.fields

    def read(self, field: str, indices: np.ndarray) -> Any:
        import torch

        if field != "image":
            return self._source.read(field, self._rows[indices])
        if isinstance(self._images, list):
            return gathered([self._images[index] for index in indices])
        return self._images[torch.as_tensor(indices, device=self._images.device)]

    def digests(self, indices: np.ndarray) -> list[Any]:
        return self._source.digests(self._rows[indices])

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        """Say what was done to the files."""
        return conversions_of(self._source, self._rows[indices])

    @property
    def targets(self) -> dict[str, Any]:
        """What a treatment measured."""
        return targets_of(self._source)

    def clipped(self, indices: np.ndarray, field: str) -> np.ndarray | None:
        """Say what a treatment clipped."""
        return clipped_of(self._source, self._rows[indices], field)


def hold(stimuli: StimulusSet, device: str | torch.device = "auto", budget: int | None = None) -> StimulusSet:
    """Hold all images of a set on a device, as they are: uint8, float32 for generated ones.

    Parameters
    ----------
    stimuli : StimulusSet
        What is read, once.
    device : str
        ``"auto"`` (the first CUDA device if there is one, else the CPU's memory), ``"cpu"``, ``"cuda"``.
    budget : int, optional
        Bytes that they may take. Default: half of what is free there.

    Returns
    -------
    StimulusSet
        With the same ids, metadata and digest; its images are tensors on the device.

    Raises
    ------
    StimulusError
        If they do not fit, or the set has no images.
    DeviceError
        If there is no such device.
    """
    from netphys.devices import resolve_device
    from netphys.stimuli.stimulus_set import StimulusSet

    place = resolve_device(device)
    if "image" not in stimuli.fields:
        raise StimulusError(f"{stimuli.name} has no images to hold; it has {', '.join(stimuli.fields)}")
    allowed = _free(place) // 2 if budget is None else budget
    source = OnDevice(_read_all(stimuli, place, allowed), stimuli._source, stimuli._rows)
    return StimulusSet(
        source, stimuli.metadata, name=stimuli.name, left_out=stimuli.left_out, treatment=stimuli.treatment,
        address=stimuli.address,
    )  # fmt: skip


def _read_all(stimuli: StimulusSet, place: torch.device, allowed: int) -> torch.Tensor | list[torch.Tensor]:
    """Read all images to a device: into one tensor as long as they are of one size, else a list."""
    import torch

    n, taken = len(stimuli), 0
    block: torch.Tensor | None = None
    images: list[torch.Tensor] = []
    with bar(n, label=f"reading {stimuli.name}") as progress:
        for rows, batch in batches_of(stimuli, _BATCH):
            done = int(rows[-1]) + 1
            taken += sum(each.nbytes for each in batch)
            expected = max(taken, round(taken / done * n))
            if expected > allowed:
                about = "" if done == n else "about "
                raise StimulusError(
                    f"the images of {stimuli.name} take {about}{expected} bytes, more than the {allowed} that may be "
                    f"held on {place.type}; do not hold them (they are read batch by batch), or select fewer"
                )
            if done == len(rows) and isinstance(batch, torch.Tensor):
                block = batch.new_empty((n, *batch.shape[1:]), device=place)
            fits = isinstance(batch, torch.Tensor) and block is not None and batch.shape[1:] == block.shape[1:]
            if block is not None and fits and batch.dtype == block.dtype:
                block[done - len(rows) : done] = batch.to(place)
            else:
                if block is not None:  # of another size: what is there becomes a list
                    images, block = [each.clone() for each in block[: done - len(rows)]], None
                images += [each.to(place, copy=True) for each in batch]
            progress.update(len(rows))
    return images if block is None else block


def _free(place: torch.device) -> int:
    """Bytes that are free on a device."""
    import torch

    if place.type == "cuda":
        return int(torch.cuda.mem_get_info(place)[0])
    try:
        known = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        return int(known["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux: all there is stands for what is free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
