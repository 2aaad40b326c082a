"""Randomness that belongs to an image, not to a batch: numbers are a hash of (seed, index, name, counter).

Every number is computed from where it stands, by an integer hash (the finaliser of MurmurHash3, applied twice), so
image `i` has the same bits whatever else is drawn with it. No generator state, of torch or anyone, is read or set.

References
----------
Appleby A. (2011). MurmurHash3, the 32-bit finaliser. Salmon J. K. et al. (2011). Parallel random numbers: as easy as
1, 2, 3. SC '11, https://doi.org/10.1145/2063384.2063405 (why counters do instead of states).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from netphys.seeds import derive_seed

__all__ = ["Draws"]

_WORD = 0xFFFFFFFF  # 32 bits, kept in int64: products wrap in two's complement and their low word is right
_GOLDEN = 0x9E3779B1  # 2**32 / golden ratio, odd: spreads neighbouring counters


class Draws:
    """The random numbers of some images, by name.

    Parameters
    ----------
    seed : int
        Seed of the world.
    indices : Tensor of int64, shape (image,)
        Which images; the numbers live on this tensor's device.
    """

    def __init__(self, seed: int, indices: Tensor) -> None:
        self.seed = int(seed)
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def of(self, rows: Tensor) -> Draws:
        """Return the draws of some of the images (`rows` may repeat)."""
        return Draws(self.seed, self.indices[rows])

    def words(self, name: str, count: int) -> Tensor:
        """Draw `count` integers an image, uniform in [0, 2**32); shape (image, count), int64."""
        low, high = _key(self.seed, name)
        image = _mixed((self.indices & _WORD) ^ low)
        image = _mixed(image ^ ((self.indices >> 32) & _WORD) ^ high)
        counters = torch.arange(count, device=self.indices.device, dtype=torch.int64)
        return _mixed(image[:, None] ^ _mixed((counters * _GOLDEN) & _WORD)[None])

    def uniform(self, name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw float32, uniform in [low, high); shape (image, *shape)."""
        count = 1
        for each in shape:
            count *= each
        unit = (self.words(name, count) >> 8).to(torch.float32) * 2.0**-24  # 24 bits: exact in float32
        return (unit * (high - low) + low).reshape(len(self), *shape)

    def normal(self, name: str, *shape: int, mean: float = 0.0, sd: float = 1.0) -> Tensor:
        """Draw float32, near-normal: the sum of four uniforms, so no value is beyond 3.5 sd; shape (image, *shape)."""
        four = self.uniform(name, 4, *shape)
        total = (four[:, 0] + four[:, 1]) + (four[:, 2] + four[:, 3])  # unrolled: a sum's order may hang on its shape
        return (total - 2.0) * (3.0**0.5 * sd) + mean

    def choice(self, name: str, weights: Tensor, *shape: int) -> Tensor:
        """Draw int64 with odds `weights`, which stretch to (image, *shape, option); shape (image, *shape)."""
        shares = weights.to(torch.float64)
        cumulative = shares.clone()
        for option in range(1, shares.shape[-1]):
            cumulative[..., option] = cumulative[..., option - 1] + shares[..., option]
        bounds = (cumulative / cumulative[..., -1:])[..., :-1]
        return (self.uniform(name, *shape)[..., None] >= bounds).sum(-1)


def _mixed(word: Tensor) -> Tensor:
    """Scramble 32-bit words: each bit of the answer hangs on each bit of `word`."""
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & _WORD
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & _WORD
    return word ^ (word >> 16)


@lru_cache(maxsize=4096)
def _key(seed: int, name: str) -> tuple[int, int]:
    """Derive the two key words of a named draw."""
    key = derive_seed(seed, "world", name)
    return key & _WORD, (key >> 32) & _WORD
