"""Numbers that are the same on every run: colours that do not depend on threads, measures without their last bits.

torch computes most elements of a tensor several at a time, and the last few of each thread's share one by one, by
another routine: powers then differ in their last bit with the number of threads. So colours are converted in blocks
that torch gives to one thread, each of whole vectors, in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["by_blocks", "rounded"]

_BLOCK = 8192  # pixels; three colours of them are below torch's least share of a thread, 32768 elements
_VECTORS = 64  # pixels; a multiple of what any CPU computes at once
_BITS = 30  # of a measure that are kept: 9 significant digits


def by_blocks(convert: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Convert colours pixel by pixel, in float64: the same bits for any number of threads, and for equal pixels.

    Parameters
    ----------
    convert : callable
        Takes (1, 3, 1, pixels), returns (1, c, 1, pixels).
    values : tensor (3, y, x)
        What is converted.

    Returns
    -------
    tensor of float64 (c, y, x)
    """
    flat = values.to(torch.float64).reshape(3, -1)
    n = flat.shape[1]
    whole = torch.zeros(3, -(-n // _VECTORS) * _VECTORS, dtype=torch.float64)
    whole[:, :n] = flat
    made = torch.cat([convert(each.contiguous()[None, :, None])[0, :, 0] for each in whole.split(_BLOCK, 1)], 1)
    return made[:, :n].reshape(-1, *values.shape[1:])


def rounded(measured: np.ndarray | float) -> np.ndarray:
    """Round to 30 bits, about 9 significant digits: the last bits of a sum depend on who adds it up.

    Examples
    --------
    >>> bool(rounded(0.1 + 0.2) == rounded(0.3)), bool(rounded(0.3) == rounded(0.300000001))
    (True, False)
    """
    part, exponent = np.frexp(measured)
    return np.ldexp(np.rint(np.ldexp(part, _BITS)), exponent - _BITS)
