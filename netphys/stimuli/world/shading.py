"""How surfaces look under the light of their image: Lambert, soft highlight, light of sky and ground, patterns.

Only samples that met an object are shaded, as one list over all objects of a batch; each is worked on by itself.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from netphys.stimuli.world.arithmetic import dot, fraction, mix, smoothstep, wave
from netphys.stimuli.world.parts import Body
from netphys.stimuli.world.rays import Hits

__all__ = ["Look", "light_colours", "shade"]

_EDGE = 0.02  # half width of a block's rounded edge, in units of the object: what makes an edge catch the light
_NEAR = 2e-3  # own coordinates this close to a cut lie on it


class Look(NamedTuple):
    """What shading needs to know of each object (exemplar, ...)."""

    rotation: Tensor  # (exemplar, 3, 3), object frame to viewer's frame
    origin: Tensor  # (exemplar, 3), the object frame's origin in the viewer's frame
    light: Tensor  # (exemplar, 3), viewer's frame
    up: Tensor  # (exemplar, 3), viewer's frame
    sun: Tensor  # (exemplar, 3), colour
    sky: Tensor  # (exemplar, 3), colour of the ambient light
    albedo: Tensor  # (exemplar, role, 3)
    ink: Tensor  # (exemplar, 3)
    gloss: Tensor  # (exemplar,)
    pattern: Tensor  # (exemplar,) int64
    pace: Tensor  # (exemplar,), repeats of the pattern in a unit
    offset: Tensor  # (exemplar, 2), where in the noise field
    field: Tensor  # (exemplar,) int64, which image's field


def light_colours(warmth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the colours (image, 3) of direct and of ambient light; warm light has cool shade."""
    w = warmth[:, None]
    tilt = torch.tensor([1.0, 0.15, -1.0], device=warmth.device)
    sun = 1.0 + 0.13 * w * tilt
    sky = 1.0 + (0.02 - 0.09 * w) * tilt
    return sun, sky


def shade(body: Body, hits: Hits, look: Look, x: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Shade what rays met.

    Parameters
    ----------
    body : Body
        In the viewer's frame.
    hits : Hits
        What :func:`netphys.stimuli.world.rays.trace` found.
    look : Look
    x, y : Tensor, shapes (exemplar, column), (exemplar, row)
        Positions of the rays.
    noise : Tensor, shape (image, 2, grid, grid)
        Fields for textures.

    Returns
    -------
    place : Tensor of int64, shape (sample,)
        Flat indices of the samples that met the object.
    colour : Tensor, shape (3, sample)
        Linear light.
    """
    rows, columns = y.shape[1], x.shape[1]
    place = (hits.distance.reshape(-1) < torch.inf).nonzero()[:, 0]
    exemplar = place // (rows * columns)
    within = place - exemplar * (rows * columns)
    row = within // columns
    part = hits.part.reshape(-1)[place].long()
    sx = x.reshape(-1)[exemplar * columns + (within - row * columns)]
    sy = y.reshape(-1)[exemplar * rows + row]
    sz = -hits.distance.reshape(-1)[place]
    key = exemplar * body.centre.shape[1] + part

    table = _part_table(body).index_select(1, key)
    normal, level = _normal(table, sx, sy, sz)
    seen = _object_table(look).index_select(1, exemplar)
    colour = _albedo(seen, look, exemplar, table[27].long(), (sx, sy, sz), noise)
    reach = table[28] + (table[29] - table[28]) * (level * 0.5 + 0.5).clamp(0.0, 1.0)
    return place, _lit(colour, normal, seen, reach)


def _part_table(body: Body) -> Tensor:
    """Lay out the numbers of each part as columns: (number, exemplar * part)."""
    n, parts = body.centre.shape[:2]
    inverse = body.inverse()
    length = 1.0 / (inverse[..., 0] ** 2 + inverse[..., 1] ** 2 + inverse[..., 2] ** 2).sqrt()
    bevel = (_EDGE / length).clamp(max=0.6)
    kind = torch.tensor([float(k == "solid") for k in body.kinds], device=inverse.device)
    fixed = [kind[:, None], body.role[:, None].to(torch.float32), body.shade]
    columns = [inverse.reshape(n, parts, 9), body.centre, body.shape, bevel, length.reshape(n, parts, 3)]
    columns += [torch.zeros(n, parts, 1, device=inverse.device)]
    columns += [each.expand(n, *each.shape) for each in fixed]
    return torch.cat(columns, -1).reshape(n * parts, -1).t().contiguous()


def _normal(t: Tensor, sx: Tensor, sy: Tensor, sz: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Return the unit normal at each sample in the viewer's frame, and its height on its part in [-1, 1]."""
    dx, dy, dz = sx - t[9], sy - t[10], sz - t[11]
    px, py, pz = (t[3 * k] * dx + t[3 * k + 1] * dy + t[3 * k + 2] * dz for k in range(3))
    # solids: the gradient of x^2 + z^2 - (a + b y + c y^2), the y axis on a cut, the way in on a hole's wall
    a, b, c, low, high, hole = (t[12 + k] for k in range(6))
    radius = (a + b * py + c * py * py).clamp(min=0.0)
    hollow = (hole > 0.0) & ((px * px + pz * pz) < radius * ((hole + 1.0) * (hole + 1.0) * 0.25))
    # a cut is seen only from its own side: t[5] is how far the spine points toward the viewer
    top = (py > high - _NEAR) & (t[5] > 0.0)
    foot = (py < low + _NEAR) & (t[5] < 0.0)
    inside_floor = hollow & (py < t[18] + _NEAR)
    cut = top | foot | inside_floor
    flip = torch.where(hollow, -1.0, 1.0)
    solid_x = torch.where(cut, 0.0, px * flip)
    solid_y = torch.where(cut, torch.where(foot & ~inside_floor, -1.0, 1.0), -(b * 0.5 + c * py) * flip)
    solid_z = torch.where(cut, 0.0, pz * flip)
    # blocks: each face counts by how near it is, so that edges are rounded
    flat_x, flat_y, flat_z = torch.zeros_like(px), torch.zeros_like(px), torch.zeros_like(px)
    for k, (across, deep) in enumerate(((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))):
        lean = (1.0 - t[12 + k]) * 0.5
        slack = (1.0 + t[12 + k]) * 0.5 - (px * across + pz * deep + py * lean)
        weight = (1.0 - slack / (t[19] if across else t[21])).clamp(min=0.0)
        flat_x, flat_z, flat_y = flat_x + weight * across, flat_z + weight * deep, flat_y + weight * lean
    for side in (1.0, -1.0):
        flat_y = flat_y + (1.0 - (1.0 - py * side) / t[20]).clamp(min=0.0) * side
    is_solid = t[26] > 0.5
    nx, ny, nz = (torch.where(is_solid, s, f) for s, f in ((solid_x, flat_x), (solid_y, flat_y), (solid_z, flat_z)))
    # own coordinates are divided by half lengths: the inverse's rows carry the gradient back to the viewer's frame
    vx, vy, vz = (nx * t[k] + ny * t[3 + k] + nz * t[6 + k] for k in range(3))
    size = 1.0 / (vx * vx + vy * vy + vz * vz).clamp(min=1e-12).sqrt()
    return (vx * size, vy * size, vz.abs() * size), py  # rounding may turn an outline's normal away from its viewer


def _object_table(look: Look) -> Tensor:
    """Lay out the numbers of each object as columns: (number, exemplar)."""
    n = len(look.gloss)
    half = look.light + torch.tensor([0.0, 0.0, 1.0], device=look.light.device)
    norm = (half[:, 0] * half[:, 0] + half[:, 1] * half[:, 1] + half[:, 2] * half[:, 2]).sqrt()[:, None]
    columns = [look.rotation.reshape(n, 9), look.origin, look.light, half / norm, look.up, look.sun, look.sky]
    columns += [look.gloss[:, None], look.pace[:, None], look.offset, look.ink]
    return torch.cat(columns, 1).t().contiguous()


def _albedo(
    s: Tensor, look: Look, exemplar: Tensor, role: Tensor, at: tuple[Tensor, Tensor, Tensor], noise: Tensor
) -> list[Tensor]:
    """Return the reflectance of each sample, red, green and blue: its part's colour, patterned where it is the body."""
    dx, dy, dz = at[0] - s[9], at[1] - s[10], at[2] - s[11]
    qx, qy, qz = (s[k] * dx + s[3 + k] * dy + s[6 + k] * dz for k in range(3))  # the object's own frame
    pace = s[28]
    around = qx + 0.45 * qz
    grain_u, grain_v = around * 0.75 + qz * 0.4 + s[29], qy * 0.75 + qz * 0.3 + s[30]
    rough = _read(noise, look.field[exemplar], 0, grain_u, grain_v)
    fibre = _read(noise, look.field[exemplar], 1, around * 2.2 + s[29], qy * 0.25 + s[30])
    stripes = smoothstep(-0.25, 0.25, wave(pace * around))
    bands = smoothstep(-0.25, 0.25, wave(pace * qy + 0.1))
    checks = smoothstep(-0.12, 0.12, wave(pace * 0.8 * around) * wave(pace * 0.8 * qy))
    speckle = smoothstep(0.35, 0.75, rough)
    rings = smoothstep(-0.9, 0.9, wave(pace * 1.2 * around + 0.35 * fibre)) * 0.7
    pattern = look.pattern[exemplar]
    weight = torch.zeros_like(rough)
    for k, each in enumerate((stripes, bands, checks, speckle, rings), start=1):
        weight = torch.where(pattern == k, each, weight)
    weight = torch.where(role == 0, weight, 0.0)
    base = look.albedo.reshape(-1, 3).t().contiguous().index_select(1, exemplar * look.albedo.shape[1] + role)
    wear = (1.0 + 0.10 * rough + 0.07 * fibre).clamp(min=0.3)
    return [mix(base[k], s[31 + k], weight) * wear for k in range(3)]


def _lit(albedo: list[Tensor], normal: tuple[Tensor, Tensor, Tensor], s: Tensor, reach: Tensor) -> Tensor:
    """Return the light that samples send to the viewer, (3, sample)."""
    direct = ((dot(normal, (s[12], s[13], s[14])) + 0.12) / 1.12).clamp(min=0.0)
    up = dot(normal, (s[18], s[19], s[20]))
    ambient = (0.27 + 0.17 * up) * reach
    bounce = (0.09 - 0.09 * up) * reach
    gleam = dot(normal, (s[15], s[16], s[17])).clamp(min=0.0)
    for _ in range(4):
        gleam = gleam * gleam  # to the 16th power, then to the 64th where it is a mirror's
    tight = gleam * gleam * gleam * gleam
    gloss = s[27]
    rim = 1.0 - normal[2].clamp(min=0.0)
    sheen = gloss * (0.16 * gleam + 0.42 * gloss * tight + 0.10 * rim * rim * rim)
    direct = direct * (0.45 + 0.55 * reach)
    out = []
    for k, floor in enumerate((1.0, 0.92, 0.80)):  # light that comes back from the ground is warm
        lamp, sky = s[21 + k], s[24 + k]
        out.append(albedo[k] * (direct * lamp * 1.05 + ambient * sky + bounce * floor) + sheen * lamp * reach)
    return torch.stack(out)


def _read(noise: Tensor, image: Tensor, channel: int, u: Tensor, v: Tensor) -> Tensor:
    """Read an image's noise at (u, v), in periods, bilinearly; one number a sample."""
    grid = noise.shape[-1]
    flat = noise[:, channel].reshape(-1)
    x, y = fraction(u) * grid, fraction(v) * grid
    left, top = x.floor(), y.floor()
    wx, wy = x - left, y - top
    x0, y0 = left.long() & (grid - 1), top.long() & (grid - 1)
    x1 = (x0 + 1) & (grid - 1)
    upper, lower = (image * (grid * grid) + ((y0 + k) & (grid - 1)) * grid for k in (0, 1))
    above = mix(flat[upper + x0], flat[upper + x1], wx)
    return mix(above, mix(flat[lower + x0], flat[lower + x1], wx), wy)
