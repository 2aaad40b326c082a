"""The parts that objects are built of.

Two kinds of part. A *solid* is a body of revolution whose squared radius is a quadratic of height, between two cuts:
ellipsoids, domes, cylinders, cones, barrels; it may be hollow. A *block* has six flat faces, and its top may be
narrower than its foot on each side by itself: boxes, wedges, gables, fins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["Body", "Part", "assemble", "block", "extents", "solid"]

Number = float | Tensor  # one for all exemplars, or one an exemplar, shape (exemplar,)
Axis = Literal["x", "y", "z"]

_ORDER = {"x": (2, 0, 1), "y": (0, 1, 2), "z": (1, 2, 0)}  # object axes that the part's x, y (its spine), z lie along
_LEVELS = tuple(-1.0 + 0.25 * step for step in range(9))  # heights at which a solid's outline is measured


@dataclass(frozen=True)
class Part:
    """One part in its object's frame: x to the right, y up, z toward the viewer; see :func:`solid`, :func:`block`."""

    kind: Literal["solid", "block"]
    centre: tuple[Number, Number, Number]
    half: tuple[Number, Number, Number]  # half lengths along the part's own x, y, z
    role: int
    shape: tuple[Number, ...]  # solid: profile a, b, c, cuts low, high, hole, floor; block: top ratios x+, x-, z+, z-
    along: Axis = "y"
    tilt: tuple[Axis, float] = ("x", 0.0)
    shade: tuple[float, float] = (1.0, 1.0)  # how much ambient light reaches its foot and its top


def solid(
    centre: tuple[Number, Number, Number],
    half: tuple[Number, Number, Number],
    role: int,
    *,
    top: Number | None = None,
    bulge: Number = 0.0,
    cuts: tuple[float, float] = (-1.0, 1.0),
    hole: float = 0.0,
    floor: float = -9.0,
    along: Axis = "y",
    tilt: tuple[Axis, float] = ("x", 0.0),
    shade: tuple[float, float] = (1.0, 1.0),
) -> Part:
    """Describe a body of revolution about its y axis (its spine, laid along `along`, then tilted by degrees).

    `top` None and `bulge` 0 give an ellipsoid; `top` gives the ratio of the top's radius to the foot's (1 a cylinder,
    0 a cone); `bulge` gives a barrel whose radius shrinks toward both ends. `hole` is the inner radius as a share of
    the outer, open at the top down to the height `floor` (below -1: right through).
    """
    profile: tuple[Number, Number, Number]
    if top is not None:
        mean, slope = (top + 1.0) * 0.5, (top - 1.0) * 0.5
        profile = (mean * mean, mean * slope * 2.0, slope * slope)
    elif not _zero(bulge):
        profile = (1.0, 0.0, bulge * -1.0)
    else:
        profile = (1.0, 0.0, -1.0)
    return Part("solid", centre, half, role, (*profile, *cuts, hole, floor), along, tilt, shade)


def block(
    centre: tuple[Number, Number, Number],
    half: tuple[Number, Number, Number],
    role: int,
    *,
    top: tuple[Number, Number, Number, Number] = (1.0, 1.0, 1.0, 1.0),
    along: Axis = "y",
    tilt: tuple[Axis, float] = ("x", 0.0),
    shade: tuple[float, float] = (1.0, 1.0),
) -> Part:
    """Describe a body of six flat faces; `top`: where the top's edges stand, at x+, x-, z+, z-, the foot's being 1."""
    return Part("block", centre, half, role, (*top, 0.0, 0.0, 0.0), along, tilt, shade)


class Body(NamedTuple):
    """The parts of exemplars of one class, as arrays; after :meth:`posed` in the viewer's frame."""

    kinds: tuple[str, ...]
    centre: Tensor  # (exemplar, part, 3)
    axes: Tensor  # (exemplar, part, 3, 3): the part's own axes, half lengths included, as rows
    shape: Tensor  # (exemplar, part, 7)
    role: Tensor  # (part,) int64
    shade: Tensor  # (part, 2)
    holes: tuple[bool, ...]

    def posed(self, rotation: Tensor) -> Body:
        """Rotate by (exemplar, 3, 3) matrices."""
        turn = rotation[:, None]
        return self._replace(centre=_rotated(self.centre, turn), axes=_rotated(self.axes, turn[:, :, None]))

    def moved(self, by: Tensor) -> Body:
        """Shift by (exemplar, 3)."""
        return self._replace(centre=self.centre + by[:, None])

    def of(self, rows: Tensor) -> Body:
        """Keep some exemplars."""
        return self._replace(centre=self.centre[rows], axes=self.axes[rows], shape=self.shape[rows])

    def inverse(self) -> Tensor:
        """Return the rows that give a part's own coordinates; (exemplar, part, 3, 3)."""
        a = self.axes
        return a / (a[..., 0:1] * a[..., 0:1] + a[..., 1:2] * a[..., 1:2] + a[..., 2:3] * a[..., 2:3])


def assemble(parts: Sequence[Part], exemplars: int, device: torch.device) -> Body:
    """Turn a list of parts, whose numbers are floats or (exemplar,), into a body."""

    def table(rows: Sequence[Sequence[Number]]) -> Tensor:
        fixed = torch.tensor([[v if isinstance(v, float | int) else 0.0 for v in row] for row in rows], device=device)
        full = fixed.expand(exemplars, *fixed.shape).clone()
        for p, row in enumerate(rows):
            for k, v in enumerate(row):
                if isinstance(v, Tensor):
                    full[:, p, k] = v
        return full

    half = table([part.half for part in parts])
    frames = torch.tensor([_frame(part) for part in parts], device=device)  # (part, 3, 3), unit rows
    return Body(
        tuple(part.kind for part in parts),
        table([part.centre for part in parts]),
        frames[None] * half[..., None],
        table([part.shape for part in parts]),
        torch.tensor([part.role for part in parts], device=device),
        torch.tensor([part.shade for part in parts], device=device),
        tuple(part.kind == "solid" and not _zero(part.shape[5]) for part in parts),
    )


def extents(body: Body) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest x, y, z that each part reaches, each (exemplar, part, 3)."""
    ax, ay, az = (body.axes[:, :, k, None] for k in range(3))  # (exemplar, part, 1, 3)
    device = ax.device
    s = [body.shape[:, :, k, None, None] for k in range(7)]
    # solids: a disc at each of some heights
    y = (s[3] + s[4]) * 0.5 + (s[4] - s[3]) * 0.5 * torch.tensor(_LEVELS, device=device)[:, None]
    radius = (s[0] + s[1] * y + s[2] * y * y).clamp(min=0.0).sqrt()
    reach, middle = radius * (ax * ax + az * az).sqrt(), ay * y
    # blocks: eight corners, which are discs of no radius
    corners = [(x, y, z) for x in (0, 1) for y in (-1.0, 1.0) for z in (2, 3)]
    across, deep = [], []
    for x, height, z in corners:
        across.append((1.0, -1.0)[x] * (s[x] if height > 0 else torch.ones_like(s[x])))
        deep.append((1.0, -1.0)[z - 2] * (s[z] if height > 0 else torch.ones_like(s[z])))
    heights = torch.tensor([height for _, height, _ in corners], device=device)[:, None]
    corner = torch.cat(across, 2) * ax + heights * ay + torch.cat(deep, 2) * az
    is_solid = torch.tensor([kind == "solid" for kind in body.kinds], device=device)[:, None]
    low = torch.where(is_solid, (middle - reach).amin(2), corner.amin(2))
    high = torch.where(is_solid, (middle + reach).amax(2), corner.amax(2))
    return body.centre + low, body.centre + high


def _zero(number: Number) -> bool:
    """Tell whether a number is zero for all exemplars."""
    return not isinstance(number, Tensor) and number == 0.0


def _rotated(vectors: Tensor, rotation: Tensor) -> Tensor:
    """Rotate vectors (..., 3) by matrices (..., 3, 3), in a fixed order of sums."""
    r = rotation
    x, y, z = vectors.unbind(-1)
    return torch.stack([x * r[..., k, 0] + y * r[..., k, 1] + z * r[..., k, 2] for k in range(3)], -1)


def _frame(part: Part) -> list[list[float]]:
    """Return the unit directions of a part's own x, y and z in its object's frame, as rows."""
    rows = [[1.0 if axis == k else 0.0 for k in range(3)] for axis in _ORDER[part.along]]
    axis, degrees = part.tilt
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    for row in rows:
        row[i], row[j] = row[i] * cos - row[j] * sin, row[i] * sin + row[j] * cos
    return rows
