"""Fields of 1/f noise: near equal variance in every octave, as in photographs, periodic, one an image.

A field is a pyramid: random numbers on a 4 x 4 lattice, smoothly doubled in size, new random numbers added, and so on
up to the grid. How much each octave adds sets how steeply the power spectrum falls.

References
----------
Field D. J. (1987). Relations between the statistics of natural images and the response properties of cortical cells.
J. Opt. Soc. Am. A 4, 2379-2394, https://doi.org/10.1364/JOSAA.4.002379 (why 1/f**2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from netphys.stimuli.world.hashing import Draws

__all__ = ["at_pixels", "fractal", "grid_of", "sample"]

_FIRST = 4  # lattice of the coarsest octave, cells a side
_BITS = 5  # of a lattice value: 32 levels are plenty under several octaves, and one 32-bit hash serves 6 channels


def grid_of(size: int) -> int:
    """Return the side of the noise grid that serves an image of `size`: the next power of two."""
    return max(32, 1 << (size - 1).bit_length())


def fractal(draws: Draws, name: str, *, grid: int, gains: tuple[float, ...]) -> Tensor:
    """Make periodic 1/f fields.

    Parameters
    ----------
    draws : Draws
        The images' randomness.
    name : str
        Name of the fields; other names give independent fields.
    grid : int
        Side of the fields in cells, a power of two. Coarse octaves do not hang on it.
    gains : tuple of float
        One field a number, at most 6: amplitude of an octave over that of the coarser one. 0.85 gives a power
        spectrum of about 1/f**2; each time it is halved, the spectrum is steeper by f**2.

    Returns
    -------
    Tensor of float32, shape (image, channel, grid, grid)
        Mean 0, standard deviation near 1.
    """
    if not 1 <= len(gains) <= 32 // _BITS:
        raise ValueError(f"fractal makes 1 to {32 // _BITS} fields at once, not {len(gains)}")
    side, amplitude, variance = _FIRST, [1.0] * len(gains), [1.0] * len(gains)
    field = _lattice(draws, name, side, amplitude)
    while side < grid:
        side *= 2
        amplitude = [a * gain for a, gain in zip(amplitude, gains)]
        variance = [v + a * a for v, a in zip(variance, amplitude)]
        field = _doubled(field)
        field += _lattice(draws, name, side, amplitude)
    # 0.62: share of an octave's variance that survives being doubled
    return field * _channels([(v * 0.62) ** -0.5 for v in variance], field.device)


def at_pixels(field: Tensor, size: int) -> Tensor:
    """Show a field (image, channel, grid, grid) once across the image, on `size` x `size` pixels."""
    grid = field.shape[-1]
    if grid == size:
        return field
    centres = (torch.arange(size, device=field.device, dtype=torch.float32) + 0.5) * (grid / size) - 0.5
    low = centres.floor()
    weight, near, far = centres - low, low.long() & (grid - 1), (low.long() + 1) & (grid - 1)
    rows = field[:, :, near] + (field[:, :, far] - field[:, :, near]) * weight[:, None]
    return rows[..., near] + (rows[..., far] - rows[..., near]) * weight


def sample(field: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Read a periodic field where asked, bilinearly.

    Parameters
    ----------
    field : Tensor, shape (image, channel, grid, grid)
    u, v : Tensor, shape (image, y, x)
        Where, in periods of the field, to the right and down.

    Returns
    -------
    Tensor, shape (image, channel, y, x)
    """
    n, channels, grid, _ = field.shape
    flat, (x, y) = field.reshape(n, channels, grid * grid), (u * grid - 0.5, v * grid - 0.5)
    left, top = x.floor(), y.floor()
    wx, wy = (x - left)[:, None], (y - top)[:, None]
    columns = [(left.long() + step) & (grid - 1) for step in (0, 1)]
    rows = [((top.long() + step) & (grid - 1)) * grid for step in (0, 1)]

    def read(row: Tensor, col: Tensor) -> Tensor:
        place = (row + col).reshape(n, 1, -1).expand(n, channels, -1)
        return flat.gather(2, place).reshape(n, channels, *u.shape[1:])

    upper, lower = (read(row, columns[0]) + (read(row, columns[1]) - read(row, columns[0])) * wx for row in rows)
    return upper + (lower - upper) * wy


def _lattice(draws: Draws, name: str, side: int, amplitude: list[float]) -> Tensor:
    """Draw white noise of given standard deviations on a lattice; shape (image, channel, side, side)."""
    words = draws.words(f"{name}/octave{side}", side * side).to(torch.int32).reshape(len(draws), 1, side, side)
    levels = (1 << _BITS) - 1
    shifts = torch.arange(len(amplitude), device=words.device, dtype=torch.int32).reshape(1, -1, 1, 1) * _BITS
    unit = ((words >> shifts) & levels).to(torch.float32)
    unit -= levels / 2.0
    unit *= _channels([a * 12.0**0.5 / levels for a in amplitude], words.device)
    return unit


def _channels(values: list[float], device: torch.device) -> Tensor:
    """Lay numbers out as channels, (1, channel, 1, 1)."""
    return torch.tensor(values, device=device).reshape(1, -1, 1, 1)


def _doubled(field: Tensor) -> Tensor:
    """Double a periodic field's size with the binomial kernel (1, 3, 3, 1) / 4."""
    for axis in (2, 3):
        before, after = field.roll(1, axis), field.roll(-1, axis)
        pair = torch.stack([field * 0.75 + before * 0.25, field * 0.75 + after * 0.25], axis + 1)
        shape = list(field.shape)
        shape[axis] *= 2
        field = pair.reshape(shape)
    return field
