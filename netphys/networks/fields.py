"""What a receptive field is: the box of pixels that a position of a layer reads, one a layer.

Pixel i has its centre at i; y points down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import LayerNotFound, OptionError, near

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float

__all__ = ["Field", "Fields", "times"]


@dataclass(frozen=True, repr=False)
class Field:
    """The receptive field of a layer's positions, theoretical, in pixels of the image that the network sees.

    Attributes
    ----------
    layer : str
        Its name.
    size : (int, int)
        Rows and columns that a position reads, borders of the image ignored; the largest, where positions differ.
    stride : (float, float)
        Pixels from one position to the next.
    centre : (float, float)
        Pixel (y, x) at the middle of the field of position 0.
    n_positions : tuple of int
        Positions (y, x); (token,) for tokens; () for a layer without, and where all read the whole image.
    image : (int, int)
        Size of the image, pixels.
    whole : bool
        Every position reads as much of the image as all together: dense layers, attention, global pooling.
    gated : bool
        Gates that look at the whole image (squeeze-excite) were left out: the field is that of the spatial path, and
        with its gates a unit depends on the whole image.
    problem : str
        Why the field is unknown; else empty.
    """

    layer: str
    size: tuple[int, int] = (0, 0)
    stride: tuple[float, float] = (0.0, 0.0)
    centre: tuple[float, float] = (0.0, 0.0)
    n_positions: tuple[int, ...] = ()
    image: tuple[int, int] = (0, 0)
    whole: bool = False
    gated: bool = False
    problem: str = ""
    _tables: Mapping[str, Float[np.ndarray, "bound ..."]] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Field({self})"

    def __str__(self) -> str:
        if self.problem:
            return f"{self.layer}: unknown, {self.problem}"
        if self.whole:
            return f"{self.layer}: the whole image of {times(self.image)} px"
        stride = times(self.stride)
        return f"{self.layer}: {times(self.size)} px, stride {stride}{', gates left out' if self.gated else ''}"

    def box(self, *position: int) -> tuple[int, int, int, int]:
        """Return what a position reads: top, bottom, left, right, in pixels, inclusive, beyond the image too.

        Raises
        ------
        OptionError
            If the field is unknown, or there is no such position.
        """
        return self._interval(position, clipped=False)

    def seen(self, *position: int) -> tuple[int, int, int, int]:
        """Return the part of the box that is in the image and is really read; bottom < top where nothing is."""
        return self._interval(position, clipped=True)

    def boxes(self, positions: np.ndarray) -> np.ndarray:
        """Return the boxes of many positions at once.

        Parameters
        ----------
        positions : array of int (n, axes)
            One position a row, as many axes as `n_positions`.

        Returns
        -------
        array of int (n, 4)
            Top, bottom, left, right, as :meth:`box`.
        """
        self._require(positions)
        return self._look_up(positions, clipped=False)

    def _interval(self, position: tuple[int, ...], *, clipped: bool) -> tuple[int, int, int, int]:
        found = np.array([position], dtype=np.int64).reshape(1, len(position))
        self._require(found)
        top, bottom, left, right = (int(each) for each in self._look_up(found, clipped=clipped)[0])
        return top, bottom, left, right

    def _require(self, positions: np.ndarray) -> None:
        if self.problem:
            raise OptionError(f"the receptive field of {self.layer!r} is unknown: {self.problem}")
        shape = self.n_positions
        if self.whole:  # the same everywhere
            return
        if positions.shape[1] != len(shape):
            raise OptionError(f"a position of {self.layer!r} has {len(shape)} numbers, not {positions.shape[1]}")
        odd = positions[((positions < 0) | (positions >= np.array(shape, dtype=np.int64))).any(1)]
        if len(odd):
            raise OptionError(f"{self.layer!r} has {times(shape)} positions, none at {tuple(odd[0].tolist())}")

    def _look_up(self, positions: np.ndarray, *, clipped: bool) -> np.ndarray:
        bounds = []
        for axis in ("y", "x"):
            table = self._tables[axis][:2] if clipped else self._tables[axis][2:]
            where = tuple(np.where(n > 1, positions[:, at], 0) for at, n in enumerate(table.shape[1:]))
            bounds += [np.broadcast_to(part[where] if where else part, len(positions)) for part in table]
        found = np.stack(bounds, axis=1) * [1, -1, 1, -1]
        found[~np.isfinite(found).all(1)] = (0, -1, 0, -1)  # nothing along one axis is nothing at all
        return found.astype(np.int64)


class Fields(Mapping[str, Field]):
    """The receptive fields of a network's layers, by name, in order of execution."""

    def __init__(self, fields: Mapping[str, Field], *, network: str) -> None:
        self._fields, self.network = dict(fields), network

    def __getitem__(self, layer: str) -> Field:
        if layer not in self._fields:
            raise LayerNotFound(f"no layer {layer!r} in {self.network}{near(layer, self._fields)}")
        return self._fields[layer]

    def __contains__(self, layer: object) -> bool:
        return layer in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        unknown = sum(bool(each.problem) for each in self._fields.values())
        largest = max(
            (each.size for each in self._fields.values() if not each.problem and not each.whole), default=(0, 0)
        )
        tail = f", {unknown} unknown" if unknown else ""
        return f"Fields({self.network}: {len(self)} layers, up to {times(largest)} px{tail})"

    def to_frame(self) -> pd.DataFrame:
        """Return one row a layer: layer, size_y, size_x, stride_..., centre_..., whole, gated, problem."""
        import pandas as pd

        rows = []
        for each in self._fields.values():
            pairs = {"size": each.size, "stride": each.stride, "centre": each.centre}
            numbers = {f"{name}_{axis}": pair[at] for name, pair in pairs.items() for at, axis in enumerate("yx")}
            if each.problem:
                numbers = dict.fromkeys(numbers, float("nan"))
            rows.append(
                {"layer": each.layer, **numbers, "whole": each.whole, "gated": each.gated, "problem": each.problem}
            )
        return pd.DataFrame(rows)


def times(pair: Sequence[float]) -> str:
    """Write sizes as ``11 x 11``."""
    return " x ".join(f"{each:g}" for each in pair)
