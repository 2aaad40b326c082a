"""What a network is shown: the fields of the stimuli that it looks at, read, prepared and filled up to a whole batch.

Most networks look at one image. One that looks at several (a stereo pair, an image with its sound) says so:
``Network(module, fields=("left", "right"))``; its forward is given them in that order.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, StimulusError, near
from netphys.networks import Network
from netphys.recording.running import compute_dtype
from netphys.stimuli.reading_ahead import cuts, read_ahead

if TYPE_CHECKING:
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["batches_shown", "padded", "prepared", "shown"]


def shown(network: Network, stimuli: StimulusSet, rows: Sequence[int] | np.ndarray) -> tuple[Any, ...]:
    """Read some stimuli, one value a field that the network looks at.

    Raises
    ------
    StimulusError
        If the stimuli have no such field.
    """
    for field in network.fields:
        if field not in stimuli.fields:
            raise StimulusError(
                f"{network.name} looks at {field!r}, which {stimuli.name} does not have{near(field, stimuli.fields)}"
            )
    return tuple(stimuli.get(rows, field) for field in network.fields)


def batches_shown(
    network: Network, stimuli: StimulusSet, batch_size: int, first_rows: Sequence[int]
) -> Generator[tuple[np.ndarray, tuple[Any, ...]], None, None]:
    """Read batches that begin at some rows, the next ones while one is used: rows, and one value a field."""
    parts = [rows for first in first_rows for rows in _one(len(stimuli), batch_size, first)]
    return read_ahead(lambda rows: shown(network, stimuli, rows), parts)


def prepared(network: Network, values: Sequence[Any], device: Any) -> tuple[torch.Tensor, ...]:
    """Do to what is shown what the network wants, in the dtype that it computes in.

    Images (n, 3, y, x) are prepared by the network's preprocessing, each field alike; other values (sounds, clips)
    are divided by 255 where they are uint8, else left as they are. A network that prepares its stimuli itself is
    given a dict of all fields where it looks at several, and returns one tensor a field.

    Raises
    ------
    StimulusError
        If values of a field differ in shape, or are no numbers.
    OptionError
        If a network's own preparation returns something else.
    """
    if network.preprocess is not None and callable(network.preprocess) and len(values) > 1:
        from netphys.networks import Preprocess

        if not isinstance(network.preprocess, Preprocess):
            return _by_itself(network, values, device)
    dtype = compute_dtype(network.module)
    made = [
        network.prepare(each, device) if len(values) == 1 or _is_images(each) else _plain(network, field, each, device)
        for field, each in zip(network.fields, values)
    ]
    return tuple(each.to(dtype) if each.is_floating_point() else each for each in made)


def padded(inputs: Sequence[torch.Tensor], batch_size: int) -> tuple[torch.Tensor, ...]:
    """Fill a batch up with copies of its last stimulus."""
    import torch

    n_missing = batch_size - len(inputs[0])
    if not n_missing:
        return tuple(inputs)
    return tuple(torch.cat([each, each[-1:].expand(n_missing, *each.shape[1:])]) for each in inputs)


def _one(n: int, batch_size: int, first: int) -> list[np.ndarray]:
    """Return the rows of the batch that begins at `first`."""
    return [next(cuts(n, batch_size, start=first))]


def _by_itself(network: Network, values: Sequence[Any], device: Any) -> tuple[torch.Tensor, ...]:
    """Let a network prepare several fields."""
    import torch

    made = network.preprocess(dict(zip(network.fields, values)))  # type: ignore[misc, arg-type]
    if not isinstance(made, tuple | list) or not all(isinstance(each, torch.Tensor) for each in made):
        raise OptionError(f"preprocess of {network.name} returned no tuple of tensors for {', '.join(network.fields)}")
    dtype = compute_dtype(network.module)
    return tuple(each.to(device).to(dtype) if each.is_floating_point() else each.to(device) for each in made)


def _is_images(values: Any) -> bool:
    """Tell whether a field holds images (n, 3, y, x), or a list of them."""
    import torch

    if isinstance(values, torch.Tensor):
        return values.ndim == 4 and values.shape[1] == 3
    return isinstance(values, list) and all(isinstance(each, torch.Tensor) and each.ndim == 3 for each in values)


def _plain(network: Network, field: str, values: Any, device: Any) -> torch.Tensor:
    """Bring what is no image to the device."""
    import torch

    if not isinstance(values, torch.Tensor):
        raise StimulusError(f"{network.name} looks at {field!r}, whose values differ in shape or are no numbers")
    values = values.to(device)
    return values.to(torch.float32) / 255 if values.dtype == torch.uint8 else values
