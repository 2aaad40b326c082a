"""Blocks of a layer's numbers, so that what is kept of a wide layer is computed without a second copy of it.

A stimulus' activation is flattened in the order (unit, y, x). Blocks of it are cut where they lie: of a map whose
memory is in another order (channels last, windows put in their places) only the units of a block are copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["flat_blocks", "numbers_first"]

_PADDING = 16  # floats: rows a power of two apart would share the few places that a cache has for them


def flat_blocks(activation: torch.Tensor, size: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Go through (stimulus, unit, ...) in blocks of `size` numbers of each stimulus.

    Yields
    ------
    int, tensor (stimulus, number)
        The first number, and a view or a copy, in the activation's dtype.
    """
    n, units = activation.shape[:2]
    a_unit = activation[0, 0].numel()
    total = units * a_unit
    flat = activation.reshape(n, total) if activation.is_contiguous() else None
    for first in range(0, total, size):
        last = min(first + size, total)
        if flat is not None:
            yield first, flat[:, first:last]
            continue
        low, high = first // a_unit, -(-last // a_unit)
        part = activation[:, low:high].reshape(n, (high - low) * a_unit)
        yield first, part[:, first - low * a_unit : last - low * a_unit]


def numbers_first(block: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Turn a block (stimulus, number) into one (number, stimulus) of its own.

    On a CPU by way of rows whose distance is no power of two: straight away it takes two to three times as long.
    """
    import torch

    if block.device.type != "cpu":
        return block.to(dtype).t().contiguous()
    n, size = block.shape
    rows = torch.empty((n, size + _PADDING), dtype=dtype)[:, :size]
    return rows.copy_(block).t().contiguous()
