"""The screen on which classic stimuli are drawn: its pixels, its extent in degrees, and where each pixel's centre lies.

Coordinates as an observer has them: x to the right, y up, 0 in the middle of the screen; in degrees of visual angle
where the screen's extent is said, else in pixels. An orientation is that of the bars, degrees counter-clockwise from
horizontal; a direction is where something moves to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError

__all__ = ["Screen"]

_LARGEST = 4096  # pixels a side; a float32 image of three colours then takes 200 MB


@dataclass(frozen=True)
class Screen:
    """A square screen.

    Parameters
    ----------
    size : int
        Side, pixels.
    degrees : float, optional
        Side, degrees of visual angle. None: lengths are in pixels, frequencies in cycles a pixel.

    Raises
    ------
    OptionError
        If a side is not above 0, or larger than 4096 pixels.

    Examples
    --------
    >>> Screen(size=224, degrees=8).pixels_per_unit
    28.0
    >>> Screen(size=64).unit
    'pixel'
    """

    size: int
    degrees: float | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.size, int | np.integer) and not isinstance(self.size, bool)
        if not whole or not 0 < self.size <= _LARGEST:
            raise OptionError(f"size={self.size}: a screen has a whole number of pixels a side, 1 to {_LARGEST}")
        if self.degrees is not None and not 0 < self.degrees <= 360:
            raise OptionError(f"degrees={self.degrees}: a screen is between 0 and 360 degrees wide")
        object.__setattr__(self, "size", int(self.size))  # numpy's numbers are none to a digest
        object.__setattr__(self, "degrees", None if self.degrees is None else float(self.degrees))

    @property
    def unit(self) -> str:
        """``"degree"`` or ``"pixel"``: what lengths are in; frequencies are in cycles a unit."""
        return "pixel" if self.degrees is None else "degree"

    @property
    def pixels_per_unit(self) -> float:
        """Pixels a degree; 1 where lengths are in pixels."""
        return 1.0 if self.degrees is None else self.size / self.degrees

    @property
    def extent(self) -> float:
        """Side, in units."""
        return self.size / self.pixels_per_unit

    def grid(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return x to the right (1, size) and y up (size, 1) of the pixels' centres, in units, float64."""
        along = (
            torch.arange(self.size, dtype=torch.float64, device=device) - (self.size - 1) / 2
        ) / self.pixels_per_unit
        return along[None, :], -along[:, None]
