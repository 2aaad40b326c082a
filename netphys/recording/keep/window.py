"""``window``: the middle of a map, or a rectangle of it.

===========================  ==========================================================================
``window?size=3``            3 x 3 positions in the middle
``window?size=3x5``          3 rows, 5 columns in the middle
``window?y=2:5&x=0:3``       rows 2, 3, 4 and columns 0, 1, 2; one of the two alone leaves the other whole
===========================  ==========================================================================

The window in the middle begins at floor(h/2) - floor(size/2), per axis: a window of one position is ``centre``, and
where a middle cannot be exact it is where ``centre`` is, at the lower right of an odd window in an even map.
Tokens of a network that cut the image into patches are laid out in the grid of the patches first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from netphys.addresses import Query
from netphys.errors import OptionError, RecordingError
from netphys.recording.keep.maps import taken
from netphys.recording.layers import Layer

if TYPE_CHECKING:
    import torch

__all__ = ["Window"]

_HINT = "say size=3, size=3x5 or y=2:5&x=0:3"
Span = tuple[int, int]


class Window:
    """Keep a rectangle of a map.

    Parameters
    ----------
    size : int or (int, int), optional
        Side, or rows and columns, of the window in the middle.
    y, x : (int, int), optional
        Or its rows and columns, from the first to before the second.

    Raises
    ------
    OptionError
        If neither or both are said, or it is empty.

    Examples
    --------
    >>> Window(3).address, Window(y=(2, 5)).address
    ('window?size=3', 'window?y=2:5')
    """

    def __init__(
        self, size: int | tuple[int, int] | None = None, *, y: Span | None = None, x: Span | None = None
    ) -> None:
        if (size is None) == (y is None and x is None):
            raise OptionError(f"a window has a size in the middle, or rows and columns; {_HINT}")
        sides = None if size is None else (size, size) if isinstance(size, int) else tuple(size)
        if sides is not None and (len(sides) != 2 or min(sides) < 1):
            raise OptionError(f"size={size}: a window has at least one position; {_HINT}")
        for name, span in (("y", y), ("x", x)):
            if span is not None and (len(span) != 2 or not 0 <= span[0] < span[1]):
                raise OptionError(f"{name}={':'.join(map(str, span))}: from a position >= 0 to a later one; {_HINT}")
        self._sides, self._spans = sides, (y, x)

    @classmethod
    def from_query(cls, query: Query) -> Window:
        """Make what an address says."""
        size, y, x = (query.take(*each, None) for each in (("size", _sides), ("y", _span), ("x", _span)))
        query.finish()  # a misspelt size is not a size that is missing
        return cls(size, y=y, x=x)

    def __repr__(self) -> str:
        return f"Window({self.address!r})"

    @property
    def address(self) -> str:
        """The text that makes it again."""
        if self._sides is not None:
            height, width = self._sides
            return f"window?size={height}" + (f"x{width}" if width != height else "")
        spans = zip("yx", self._spans)
        return "window?" + "&".join(f"{name}={span[0]}:{span[1]}" for name, span in spans if span is not None)

    def plan(self) -> Mapping[str, Any]:
        """Everything is in the address."""
        return {}

    def dims(self, layer: Layer) -> tuple[str, ...]:
        """Names of the axes that are kept, behind ``stimulus``."""
        return ("unit", "y", "x")

    def shape(self, layer: Layer) -> tuple[int, ...]:
        """Shape that is kept of one stimulus.

        Raises
        ------
        RecordingError
            If the layer is no map, or a smaller one.
        """
        rows, columns = self._window(layer)
        return (layer.shape[0], rows[1] - rows[0], columns[1] - columns[0])

    def reduce(self, activation: torch.Tensor, layer: Layer) -> torch.Tensor:
        """Reduce (stimulus, unit, ...) to (stimulus, unit, y, x)."""
        (top, bottom), (left, right) = self._window(layer)
        if not layer.arrangement.places:
            return activation[:, :, top:bottom, left:right]
        order, n_columns = layer.arrangement.order, _grid(layer)[1]
        wanted = [order[row * n_columns + column] for row in range(top, bottom) for column in range(left, right)]
        return taken(activation.flatten(2), tuple(wanted)).unflatten(2, (bottom - top, right - left))

    def measured(self, layer: Layer) -> Mapping[str, Any]:
        """Nothing is measured."""
        return {}

    def state_dict(self) -> Mapping[str, Any]:
        """Nothing is measured."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing is measured."""

    def _window(self, layer: Layer) -> tuple[Span, Span]:
        """Return the window's rows and columns in a layer's map."""
        grid = _grid(layer)
        if self._sides is not None:
            starts = [whole // 2 - side // 2 for whole, side in zip(grid, self._sides)]
            spans = [(start, start + side) for start, side in zip(starts, self._sides)]
        else:
            spans = [(0, whole) if span is None else span for whole, span in zip(grid, self._spans)]
        if any(start < 0 or stop > whole for (start, stop), whole in zip(spans, grid)):
            raise RecordingError(
                f"layer {layer.name!r} has a map of {grid[0]} x {grid[1]} (y, x), smaller than keep={self.address!r}"
            )
        return spans[0], spans[1]


def _grid(layer: Layer) -> tuple[int, int]:
    """Return rows and columns of a layer's map."""
    if layer.grid is not None:
        return layer.grid
    axes = ", ".join(layer.dims)
    what = "no map" if layer.dims == ("unit",) else f"({axes}), whose places in the image are not known"
    raise RecordingError(f"layer {layer.name!r} has {what}: there is no window in it; say keep='mean' or 'all'")


def _sides(text: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError("a side, or rows x columns: 3 or 3x5")
    return int(parts[0]), int(parts[-1])


def _span(text: str) -> Span:
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or not int(parts[0]) < int(parts[1]):
        raise ValueError("from a position to before a later one: 2:5")
    return int(parts[0]), int(parts[1])
