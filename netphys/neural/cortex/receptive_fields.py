"""Where in the image a simulated neuroid looks: position and size of its receptive field, in degrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["DEGREES", "SDS", "ReceptiveFields"]

DEGREES = 4.0  # side of the image: small enough that 64 pixels carry most of the frequencies that V1 prefers
SDS = 4.0  # standard deviations of the Gaussian profile that count as its size (95 % of its mass along an axis)


@dataclass(frozen=True)
class ReceptiveFields:
    """Receptive fields, one entry a unit or neuroid.

    Attributes
    ----------
    x, y : float (unit,)
        Centre, degrees from the centre of the image, rightwards and downwards.
    size : float (unit,)
        Diameter, degrees: 4 standard deviations of the Gaussian profile (its geometric mean where it is elongated).
    tuning : mapping of str to float (unit,)
        What else is known, as ``orientation`` in degrees and ``frequency`` in cycles per degree.
    """

    x: Float[np.ndarray, " unit"]
    y: Float[np.ndarray, " unit"]
    size: Float[np.ndarray, " unit"]
    tuning: Mapping[str, Float[np.ndarray, " unit"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> ReceptiveFields:
        """Those of some units."""
        tuning = {name: values[rows] for name, values in self.tuning.items()}
        return ReceptiveFields(self.x[rows], self.y[rows], self.size[rows], tuning)

    def coordinates(self) -> dict[str, np.ndarray]:
        """As coordinates of neuroids: ``rf_x``, ``rf_y``, ``rf_size``, ``rf_orientation``, ..."""
        columns = {"x": self.x, "y": self.y, "size": self.size, **self.tuning}
        return {f"rf_{name}": values for name, values in columns.items()}

    def distances(self) -> Float[np.ndarray, "unit unit"]:
        """Distances between centres, degrees."""
        return np.hypot(self.x[:, None] - self.x, self.y[:, None] - self.y)
