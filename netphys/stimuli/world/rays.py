"""Where parallel rays meet the parts of objects, in closed form.

Since all rays of a view are parallel and their origins lie in a plane, each quantity of the intersection is a linear
or quadratic form of pixel position, whose coefficients are worked out once a part (in float64) and evaluated by row,
column and product: a few passes over the pixels a part, no iteration.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from netphys.stimuli.world.parts import Body

__all__ = ["Hits", "Rays", "camera_rays", "trace"]

_FLAT = 1e-4  # below this a ray counts as parallel to a face: forms stay small enough for float32
_FACES = ((1, 0), (-1, 0), (0, 1), (0, -1))  # outward x and z of a block's four sides


class Rays(NamedTuple):
    """Parallel rays: origin (x, y, y * slant) for pixels at columns x and rows y, one direction an exemplar."""

    x: Tensor  # (exemplar, column)
    y: Tensor  # (exemplar, row)
    slant: Tensor  # (exemplar,)
    direction: Tensor  # (exemplar, 3)
    frontal: bool = False  # a camera's, that looks down -z from (x, y, 0)


class Hits(NamedTuple):
    """Where rays first meet an object."""

    distance: Tensor  # (exemplar, row, column), inf where nothing is met
    part: Tensor  # (exemplar, row, column) int16, which part


def camera_rays(x: Tensor, y: Tensor) -> Rays:
    """Return the rays of an orthographic camera that looks down -z."""
    away = torch.tensor([0.0, 0.0, -1.0], device=x.device).expand(len(x), 3)
    return Rays(x, y, torch.zeros(len(x), device=x.device), away, frontal=True)


def trace(body: Body, rays: Rays, reach: tuple[Tensor, Tensor] | None = None) -> Hits:
    """Find where rays first meet a body, already posed in the frame that the rays are in.

    `reach`, the body's :func:`extents` in that frame, spares work where the rays are a camera's.
    """
    double = torch.float64
    inverse, centre, shape = body.inverse().to(double), body.centre.to(double), body.shape.to(double)
    slant, direction = rays.slant.to(double)[:, None], rays.direction.to(double)[:, None]
    behind = slant * centre[:, :, 1] - centre[:, :, 2]
    # the camera's rays start at the part's own depth, which keeps the numbers small; others start where they do
    none = torch.zeros_like(behind)
    shift, offset = (behind, none) if rays.frontal else (none, behind)
    turned = inverse * direction[:, :, None]
    step = turned[..., 0] + turned[..., 1] + turned[..., 2]  # (exemplar, part, 3): own coordinates a unit of distance
    own = torch.stack(  # (exemplar, part, 3, form): own coordinates as linear forms (x, y, 1) of pixel position
        [inverse[..., 0], inverse[..., 1] + slant[..., None] * inverse[..., 2], inverse[..., 2] * offset[..., None]], -1
    )
    solids = _solid_forms(own, step, shape) if "solid" in body.kinds else {}
    blocks = _block_forms(own, step, shape) if "block" in body.kinds else {}
    x = rays.x[:, None] - body.centre[:, :, 0, None]
    y = rays.y[:, None] - body.centre[:, :, 1, None]
    late = shift.to(torch.float32)[:, :, None, None]
    nearest = torch.full((len(x), y.shape[2], x.shape[2]), torch.inf, device=x.device)
    which = torch.zeros(nearest.shape, dtype=torch.int16, device=x.device)
    for p, (left, right, top, foot) in enumerate(_windows(rays, reach, len(body.kinds))):
        if left >= right or top >= foot:
            continue
        columns, rows = x[:, p, left:right], y[:, p, top:foot]
        if body.kinds[p] == "solid":
            distance = _meet_solid(solids, p, columns, rows, body.holes[p])
        else:
            distance = _meet_block(blocks, p, columns, rows)
        distance += late[:, p]
        so_far = nearest[:, top:foot, left:right]
        which[:, top:foot, left:right].masked_fill_(distance < so_far, p)
        torch.minimum(so_far, distance, out=so_far)
    return Hits(nearest, which)


def _windows(rays: Rays, reach: tuple[Tensor, Tensor] | None, parts: int) -> list[tuple[int, ...]]:
    """Return, for each part, the columns and rows (left, right, top, foot) outside of which no exemplar's is met.

    How far they reach hangs on who else is traced; what is found does not.
    """
    columns, rows = rays.x.shape[1], rays.y.shape[1]
    if reach is None:
        return [(0, columns, 0, rows)] * parts
    low, high = reach
    # in samples; 2 % of the part and one sample more, as a solid's outline is measured at nine heights only
    across, down = (rays.x[:, 1] - rays.x[:, 0])[:, None], (rays.y[:, 1] - rays.y[:, 0])[:, None]
    margin = (high - low) * 0.02
    ends = [
        (low[..., 0] - margin[..., 0] - rays.x[:, :1]) / across - 1.0,
        (high[..., 0] + margin[..., 0] - rays.x[:, :1]) / across + 2.0,
        (high[..., 1] + margin[..., 1] - rays.y[:, :1]) / down - 1.0,
        (low[..., 1] - margin[..., 1] - rays.y[:, :1]) / down + 2.0,
    ]
    bounds = torch.stack([ends[0].amin(0), ends[1].amax(0), ends[2].amin(0), ends[3].amax(0)], 1)
    most = torch.tensor([columns, columns, rows, rows], device=bounds.device)
    return [tuple(each) for each in torch.minimum(bounds.clamp(min=0.0).long(), most).tolist()]


def _solid_forms(own: Tensor, step: Tensor, shape: Tensor) -> dict[str, Tensor]:
    """Work out the forms of all parts as if they were solids: surface x^2 + z^2 = a + b y + c y^2 between cuts."""
    (x, y, z), (dx, dy, dz) = own.unbind(2), step.unbind(2)
    a, b, c, low, high, hole, floor = shape.unbind(2)
    steep = _apart(dy)

    def reach(value: Tensor) -> Tensor:  # distance at which the height is `value`, a linear form
        return (_constant(value, y) - y) / steep[..., None]

    def surface(share: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:  # s^2 coefficient, half of s^1, s^0
        second = dx * dx + dz * dz - share * c * dy * dy
        first = x * dx[..., None] + z * dz[..., None] - y * (share * c * dy)[..., None]
        first = first - _constant(share * b * dy * 0.5, y)
        zeroth = _product(x, x) + _product(z, z) - _product(y, y) * (share * c)[..., None]
        zeroth[..., 3:] -= y * (share * b)[..., None]
        zeroth[..., 5] -= share * a
        return _apart(second), first, zeroth

    up = steep[..., None] > 0.0
    enter, leave = torch.where(up, reach(low), reach(high)), torch.where(up, reach(high), reach(low))
    cut = torch.where(up[..., 0], low, high)
    outer, inner = surface(1.0), surface(hole * hole)
    forms = {
        "enter": enter,
        "leave": leave,
        "floor": reach(floor),
        "cap x": x + enter * dx[..., None],
        "cap z": z + enter * dz[..., None],
        "cap": a + b * cut + c * cut * cut,
        "hole": hole * hole,
        "root": (_product(outer[1], outer[1]) - outer[2] * outer[0][..., None]) / (outer[0] * outer[0])[..., None],
        "middle": -outer[1] / outer[0][..., None],
        "sign": outer[0].sign(),
        "inner_root": (_product(inner[1], inner[1]) - inner[2] * inner[0][..., None])
        / (inner[0] * inner[0])[..., None],
        "inner_middle": -inner[1] / inner[0][..., None],
        "through": (floor < -1.0).to(own.dtype),
        "open": ((floor < -1.0) | (dy < 0.0)).to(own.dtype),
    }
    return {name: form.to(torch.float32) for name, form in forms.items()}


def _meet_solid(forms: dict[str, Tensor], p: int, x: Tensor, y: Tensor, hollow: bool) -> Tensor:
    """Return the distance to solid `p` (exemplar, row, column), inf where it is missed."""
    enter, leave = _linear(forms["enter"][:, p], x, y), _linear(forms["leave"][:, p], x, y)
    root = _quadratic(forms["root"][:, p], x, y)
    missed = root < 0.0
    side = _linear(forms["middle"][:, p], x, y) - root.clamp_(min=0.0).sqrt_() * forms["sign"][:, p, None, None]
    missed |= (side < enter) | (side > leave)
    side.masked_fill_(missed, torch.inf)
    cap_x, cap_z = _linear(forms["cap x"][:, p], x, y), _linear(forms["cap z"][:, p], x, y)
    outward = cap_x.mul_(cap_x).add_(cap_z.mul_(cap_z))  # squared distance from the spine where the cut is met
    distance = torch.where(outward < forms["cap"][:, p, None, None], enter, side)
    if hollow:
        inside = outward < (forms["cap"] * forms["hole"])[:, p, None, None]
        inside &= forms["open"][:, p, None, None] > 0.0
        wall = _quadratic(forms["inner_root"][:, p], x, y).clamp_(min=0.0).sqrt_()
        wall += _linear(forms["inner_middle"][:, p], x, y)
        floor = _linear(forms["floor"][:, p], x, y)
        floor.masked_fill_(forms["through"][:, p, None, None] > 0.0, torch.inf)
        wall = torch.minimum(wall, floor)
        wall.masked_fill_(wall > leave, torch.inf)
        distance = torch.where(inside, wall, distance)
    return distance


def _block_forms(own: Tensor, step: Tensor, shape: Tensor) -> dict[str, Tensor]:
    """Work out, for all parts as if they were blocks, the distance to each of six faces as a linear form."""
    distances, enters = [], []
    for k, (across, deep) in enumerate(_FACES):
        lean = (1.0 - shape[..., k]) * 0.5  # the face: across x + deep z + lean y = (1 + top) / 2
        slope = _apart(step[..., 0] * across + step[..., 2] * deep + step[..., 1] * lean)
        level = own[:, :, 0] * across + own[:, :, 2] * deep + own[:, :, 1] * lean[..., None]
        distances.append((_constant((1.0 + shape[..., k]) * 0.5, level) - level) / slope[..., None])
        enters.append(slope < 0.0)
    for side in (1.0, -1.0):
        slope = _apart(step[..., 1] * side)
        level = own[:, :, 1] * side
        distances.append((_constant(torch.ones_like(slope), level) - level) / slope[..., None])
        enters.append(slope < 0.0)
    distance, enter = torch.stack(distances, 2), torch.stack(enters, 2)
    # a face that rays leave by says nothing of where they enter, and the other way round: a constant in its stead
    far = torch.tensor([0.0, 0.0, 1e9], dtype=own.dtype, device=own.device)
    near = torch.where(enter[..., None], distance, -far)
    return {"near": near.to(torch.float32), "far": torch.where(enter[..., None], far, distance).to(torch.float32)}


def _meet_block(forms: dict[str, Tensor], p: int, x: Tensor, y: Tensor) -> Tensor:
    """Return the distance to block `p` (exemplar, row, column), inf where it is missed."""
    near, far = _linear(forms["near"][:, p, 0], x, y), _linear(forms["far"][:, p, 0], x, y)
    for face in range(1, 6):
        near = torch.maximum(near, _linear(forms["near"][:, p, face], x, y))
        far = torch.minimum(far, _linear(forms["far"][:, p, face], x, y))
    return near.masked_fill_(near >= far, torch.inf)


def _apart(value: Tensor) -> Tensor:
    """Keep a divisor away from zero."""
    return torch.where(value < 0.0, value.clamp(max=-_FLAT), value.clamp(min=_FLAT))


def _constant(value: Tensor, like: Tensor) -> Tensor:
    """Return the linear form (0, 0, value)."""
    form = torch.zeros_like(like)
    form[..., 2] = value
    return form


def _product(p: Tensor, q: Tensor) -> Tensor:
    """Multiply linear forms (x, y, 1) to a quadratic one (xx, xy, yy, x, y, 1)."""
    return torch.stack(
        [
            p[..., 0] * q[..., 0],
            p[..., 0] * q[..., 1] + p[..., 1] * q[..., 0],
            p[..., 1] * q[..., 1],
            p[..., 0] * q[..., 2] + p[..., 2] * q[..., 0],
            p[..., 1] * q[..., 2] + p[..., 2] * q[..., 1],
            p[..., 2] * q[..., 2],
        ],
        -1,
    )


def _linear(form: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Evaluate linear forms (exemplar, 3) at columns x and rows y: one pass over the map."""
    row, col = x * form[:, 0:1] + form[:, 2:3], y * form[:, 1:2]
    return row[:, None, :] + col[:, :, None]


def _quadratic(form: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Evaluate quadratic forms (exemplar, 6) at columns x and rows y: three passes over the map."""
    row = x * x * form[:, 0:1] + x * form[:, 3:4] + form[:, 5:6]
    col = y * y * form[:, 2:3] + y * form[:, 4:5]
    value = (x * form[:, 1:2])[:, None, :] * y[:, :, None]
    value += row[:, None, :]
    value += col[:, :, None]
    return value
