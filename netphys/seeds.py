"""One seed makes a call repeatable: how each part derives its own generator from it.

A part's generator depends on the seed and on the part's name, so that adding a part changes no other part's numbers.
No global generator is read or set, except inside :func:`forked_torch`, which leaves it as it was found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["derive_seed", "forked_torch", "generator"]


def derive_seed(seed: int, *names: str | int) -> int:
    """Derive the seed of a named part, in [0, 2**63).

    Parameters
    ----------
    seed : int
        The seed of the whole call.
    *names : str or int
        The part's name, from the general to the particular.

    Examples
    --------
    >>> derive_seed(0, "cortex", "IT") == derive_seed(0, "cortex", "IT")
    True
    >>> derive_seed(0, "cortex", "IT") == derive_seed(0, "cortex", "V1")
    False
    """
    text = "\x1f".join([str(int(seed)), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return numpy's generator of a named part."""
    return np.random.default_rng(derive_seed(seed, *names))


@contextmanager
def forked_torch(seed: int) -> Iterator[None]:
    """Run a block under ``torch.manual_seed(seed)`` and leave torch's global generators as they were found."""
    import torch

    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        yield
