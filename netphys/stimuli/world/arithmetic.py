"""Arithmetic whose result for one image never hangs on its batch: sums and products, one at a time.

IEEE 754 rounds +, -, *, / and the square root exactly, so a vectorised loop and the scalar tail behind it agree. The
libraries' sin, exp and pow do not promise that (the tail of a batch may take another routine), nor do fused
multiply-adds; so the few curved functions of this world are made of polynomials here.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["column", "dot", "fraction", "linear_rgb", "mix", "sine_cosine", "smoothstep", "wave"]


def mix(first: Tensor | float, second: Tensor | float, weight: Tensor) -> Tensor:
    """Blend from `first` (weight 0) to `second` (weight 1)."""
    return (second - first) * weight + first


def smoothstep(low: Tensor | float, high: Tensor | float, value: Tensor) -> Tensor:
    """Rise from 0 at `low` to 1 at `high` without a corner (Hermite); falls where `high` is below `low`."""
    unit = ((value - low) / (high - low)).clamp(0.0, 1.0)
    return unit * unit * (3.0 - 2.0 * unit)


def fraction(value: Tensor) -> Tensor:
    """Return what is behind the point, in [0, 1)."""
    return value - value.floor()


def wave(turns: Tensor) -> Tensor:
    """Return a sine-like wave of period 1 in [-1, 1], made of parabolas (at most 0.06 off a sine)."""
    centred = fraction(turns) - 0.5
    return -16.0 * centred * (0.5 - centred.abs())


def sine_cosine(degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Return sine and cosine of an angle (in degrees), by polynomials; absolute error below 2e-6."""
    return _sine(degrees / 360.0), _sine(degrees / 360.0 + 0.25)


def dot(first: tuple[Tensor, Tensor, Tensor], second: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Scalar product of two vectors given by components, in a fixed order."""
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def column(values: Tensor) -> Tensor:
    """Turn one number an image (image,) into (image, 1, 1), to stand beside maps (image, y, x)."""
    return values.reshape(-1, 1, 1)


def linear_rgb(*display: float, device: torch.device | None = None) -> Tensor:
    """Turn a display colour (red, green, blue in [0, 1]) into linear light, shape (3,); the display's gamma is 2."""
    colour = torch.tensor(display, device=device)
    return colour * colour


def _sine(turns: Tensor) -> Tensor:
    """Sine of 2 pi turns: folded into a quarter, then the Taylor series to the 11th power."""
    unit = turns.to(torch.float64)
    unit = unit - (unit + 0.5).floor()  # [-0.5, 0.5)
    unit = torch.where(unit > 0.25, 0.5 - unit, torch.where(unit < -0.25, -0.5 - unit, unit))
    angle = unit * 6.283185307179586
    square = angle * angle
    series = torch.full_like(angle, -1.0 / 39916800.0)
    for coefficient in (1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0):
        series = series * square + coefficient
    return (series * angle).to(torch.float32)
