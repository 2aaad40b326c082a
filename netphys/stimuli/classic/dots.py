"""Dots drawn on a screen: square, opaque, at any place between pixels, light and dark on mean grey.

A pixel takes the share of a dot that lies on it, so that a dot moved by a fraction of a pixel moves by just that
fraction. Dots are laid one over another in the order given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError
from netphys.provenance import digest
from netphys.stimuli.classic.limits import counted
from netphys.stimuli.classic.screen import Screen

__all__ = ["Strewn", "check_dots", "draw_dots"]

_MOST = 1_000_000  # dots of a stimulus; drawing them takes several seconds


def draw_dots(
    screen: Screen, x: np.ndarray, y: np.ndarray, sign: np.ndarray, *, dot_size: float, contrast: float = 1.0
) -> np.ndarray:
    """Draw dots.

    Parameters
    ----------
    screen : Screen
        On what.
    x, y : array of float, (dot,)
        Centres, units of the screen, y up; later dots lie over earlier ones.
    sign : array of float, (dot,)
        1: light, -1: dark.
    dot_size : float
        Side of a dot, units of the screen.
    contrast : float
        Of dots and the mean grey, in [0, 1].

    Returns
    -------
    array of float32, (y, x)
        In [0, 1]; 0.5 where there is no dot.
    """
    side = dot_size * screen.pixels_per_unit
    reach = int(np.ceil(side)) + 2  # pixels that a dot can touch, along an axis
    canvas = np.zeros((screen.size + 2 * reach, screen.size + 2 * reach))
    middle = (screen.size - 1) / 2 + reach
    across, down = middle + x * screen.pixels_per_unit, middle - y * screen.pixels_per_unit
    inside = (np.abs(across - middle) < middle - reach / 2) & (np.abs(down - middle) < middle - reach / 2)
    left, of_x = _shares(across[inside], side, reach)
    top, of_y = _shares(down[inside], side, reach)
    for row, column, share_y, share_x, value in zip(top.tolist(), left.tolist(), of_y, of_x, sign[inside].tolist()):
        patch = canvas[row : row + reach, column : column + reach]
        patch += share_y[:, None] * share_x * (value - patch)
    drawn = canvas[reach : reach + screen.size, reach : reach + screen.size]
    return (0.5 + 0.5 * contrast * drawn).astype(np.float32)


class Strewn:
    """A source of stimuli of random dots: so many of each condition, one after another, each with dots of its own.

    Parameters
    ----------
    readers : mapping
        Field → function of a stimulus' number among those of its condition, and of its condition.
    conditions : sequence
        What stimuli differ in.
    n : int
        Stimuli of each condition.
    recipe : mapping
        All else that the pixels depend on, seed and code included.
    """

    def __init__(
        self,
        readers: Mapping[str, Callable[[int, Any], Tensor]],
        conditions: Sequence[Any],
        n: int,
        recipe: Mapping[str, Any],
    ) -> None:
        self.fields = tuple(readers)
        self._readers, self._conditions, self._n, self._recipe = dict(readers), list(conditions), n, digest(recipe)

    def read(self, field: str, indices: np.ndarray) -> Tensor:
        return torch.stack([self._readers[field](*self._numbered(int(each))) for each in indices])

    def digests(self, indices: np.ndarray) -> list[Any]:
        return [[self._recipe, *self._numbered(int(each))] for each in indices]

    def _numbered(self, index: int) -> tuple[int, Any]:
        """Number of a stimulus among those of its condition, and its condition."""
        return index % self._n, self._conditions[index // self._n]


def check_dots(screen: Screen, *, density: float, dot_size: float, contrast: float) -> None:
    """Refuse dots that cannot be drawn.

    Raises
    ------
    OptionError
        If an option is outside what it means, or a screen would hold more than a million dots.
    """
    if not 0 < density <= 4:
        raise OptionError(f"density={density}: the area of all dots over that of the screen, above 0, at most 4")
    if not 0 < dot_size < screen.extent:
        raise OptionError(
            f"dot_size={dot_size}: above 0 and smaller than the screen, {counted(screen.extent, screen.unit)}"
        )
    if not 0 < contrast <= 1:
        raise OptionError(f"contrast={contrast}: above 0, at most 1")
    if density * (screen.extent / dot_size) ** 2 > _MOST:
        raise OptionError(
            f"dots of {counted(dot_size, screen.unit)} at density {density:g} are more than {_MOST:,}; take larger ones"
        )


def _shares(centre: np.ndarray, side: float, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """First pixel along an axis, and the share of each of `reach` pixels that dots cover: (dot,), (dot, reach)."""
    first = np.floor(centre - side / 2).astype(np.int64)  # pixel i covers i - 1/2 to i + 1/2
    edges = first[:, None] + np.arange(reach) - 0.5
    covered = np.minimum(edges + 1, centre[:, None] + side / 2) - np.maximum(edges, centre[:, None] - side / 2)
    return first, np.clip(covered, 0, 1)
