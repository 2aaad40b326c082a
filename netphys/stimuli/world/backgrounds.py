"""The five kinds of scene: a ground to stand on, what is behind it, and the light's colour.

Each painter takes a `Stage` of images of its kind and returns linear light (image, 3, y, x). All use the same 1/f
fields, read flat for what is upright and in perspective for what lies on the ground.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from netphys.stimuli.world.arithmetic import column, fraction, mix, smoothstep, wave
from netphys.stimuli.world.hashing import Draws
from netphys.stimuli.world.materials import hsv_to_linear
from netphys.stimuli.world.noise import at_pixels, fractal, grid_of, sample

__all__ = ["PAINTERS", "Stage"]


class Stage:
    """What the painters of backgrounds share: pixel coordinates, fields of noise, perspective.

    Parameters
    ----------
    draws : Draws
        Randomness of the images, all of one kind of scene.
    horizon : Tensor, shape (image,)
        Height of the horizon, share of the side from the top.
    size : int
        Side of the image in pixels.
    """

    def __init__(self, draws: Draws, horizon: Tensor, size: int) -> None:
        device = draws.indices.device
        self.draws, self.size, self.pixel = draws, size, 1.0 / size
        centres = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size
        self.x, self.y = centres[None, None, :], centres[None, :, None]
        self.horizon = column(horizon)
        # the fourth is grainy, the last two smooth
        self.field = fractal(draws, "background", grid=grid_of(size), gains=(1.0, 1.0, 1.0, 1.3, 0.6, 0.6))
        self.flat = at_pixels(self.field, size)
        depth = (self.y - self.horizon).clamp(min=0.0)  # 0 at the horizon, grows toward the viewer
        self.near = depth / (1.0 - self.horizon)
        self.scale = 0.16 / (depth + 0.05)  # how far a unit of ground looks from the viewer, 1 in the middle
        self.ground = smoothstep(-0.5 * self.pixel, 0.5 * self.pixel, self.y - self.horizon)

    def number(self, name: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw one number an image, (image, 1, 1)."""
        return column(self.draws.uniform(f"background/{name}", low=low, high=high))

    def colour(
        self, name: str, hue: float, spread: float, saturation: tuple[float, float], value: tuple[float, float]
    ) -> Tensor:
        """Draw a colour an image, linear light, (image, 3, 1, 1)."""
        u = self.draws.uniform(f"background/{name}", 3)
        rgb = hsv_to_linear(
            hue + spread * (2.0 * u[:, 0] - 1.0),
            saturation[0] + (saturation[1] - saturation[0]) * u[:, 1],
            value[0] + (value[1] - value[0]) * u[:, 2],
        )
        return rgb[:, :, None, None]

    def read(self, u: Tensor, v: Tensor, channels: slice = slice(0, 1)) -> Tensor:
        """Read fields at (u, v), in periods of the field; (image, channel, y, x)."""
        shape = torch.broadcast_shapes(u.shape, v.shape, self.horizon.shape)
        return sample(self.field[:, channels], u.expand(shape), v.expand(shape))

    def on_ground(self, stretch: float, channels: slice = slice(0, 1)) -> Tensor:
        """Read fields lying on the ground in perspective, faded toward the horizon; (image, channel, y, x)."""
        u = (self.x - 0.5) * self.scale * stretch + self.number("ground u")
        v = self.scale * stretch * 0.9 + self.number("ground v")
        fade = smoothstep(0.0, 0.25, self.near) * 0.8 + 0.2
        return self.read(u, v, channels) * fade[:, None]


def _sky(stage: Stage) -> Tensor:
    """Paint a sky with clouds, from clear blue over hazy to evening."""
    mood = stage.number("mood")
    zenith = stage.colour("zenith", 0.585, 0.025, (0.40, 0.70), (0.60, 0.90))
    haze = stage.colour("haze", 0.56, 0.03, (0.06, 0.22), (0.82, 0.96))
    evening = stage.colour("evening", 0.07, 0.04, (0.20, 0.45), (0.80, 0.95))
    low = torch.where((mood > 0.72)[:, None], evening, haze)
    height = (stage.y / stage.horizon).clamp(0.0, 1.0)
    sky = mix(zenith, low, (height * height)[:, None])
    u = stage.x * 0.6 + stage.number("cloud u")
    v = stage.y * 1.3 + stage.number("cloud v")
    heap = stage.read(u, v, slice(4, 6))
    cover = heap[:, 0] + 0.16 * stage.flat[:, 1] * height
    amount = stage.number("cloudiness", -0.7, 1.0)
    cloud = smoothstep(amount, amount + 1.0, cover) * 0.92
    # a cloud is bright on top and grey beneath: compare its cover with that a little higher up
    above = stage.read(u, v - 0.05, slice(4, 5))[:, 0]
    lit = (0.62 + 0.38 * (heap[:, 0] - above) + 0.10 * heap[:, 1]).clamp(0.0, 1.0)
    shaded = mix(low * 0.68, torch.full_like(low, 1.0), lit[:, None])
    return mix(sky, shaded, cloud[:, None])


def _ridge(stage: Stage, name: str, base: float, rise: float, rough: float) -> Tensor:
    """Return where a ridge of hills stands before the sky: 1 below its line; (image, y, x)."""
    row = stage.read(stage.x * 0.7 + stage.number(f"{name} u"), stage.number(f"{name} v"), slice(4, 5))
    fine = stage.read(stage.x * 2.0 + stage.number(f"{name} u"), stage.number(f"{name} v") + 0.37)
    line = stage.horizon - base - rise * (0.5 + 0.35 * row[:, 0]) - rough * fine[:, 0]
    return smoothstep(-stage.pixel, stage.pixel, stage.y - line)


def _meadow(stage: Stage) -> Tensor:
    """Grass in perspective under hills and sky, with flowers."""
    image = _sky(stage)
    far = stage.colour("far hill", 0.50, 0.08, (0.20, 0.40), (0.45, 0.62))
    near = stage.colour("near hill", 0.32, 0.05, (0.35, 0.60), (0.32, 0.48))
    image = mix(image, far * (1.0 + 0.12 * stage.flat[:, 2:3]), _ridge(stage, "far", 0.01, 0.14, 0.004)[:, None])
    bushes = near * (1.0 + 0.40 * stage.flat[:, 3:4]).clamp(min=0.1)
    image = mix(image, bushes, _ridge(stage, "near", -0.01, 0.05, 0.018)[:, None])
    dark = stage.colour("grass dark", 0.29, 0.04, (0.55, 0.80), (0.26, 0.38))
    pale = stage.colour("grass pale", 0.22, 0.05, (0.40, 0.70), (0.55, 0.74))
    lie = stage.on_ground(0.9, slice(0, 2))
    swathe = stage.on_ground(0.5, slice(5, 6))[:, 0]
    blades = stage.read(stage.x * 3.0, stage.y * 1.1, slice(2, 3))[:, 0]
    close = 0.35 + 0.65 * stage.near
    tone = 0.42 + 0.16 * lie[:, 0] + 0.16 * swathe + 0.27 * (blades + 0.5 * stage.flat[:, 3]) * close
    tone = tone.clamp(0.0, 1.0)
    grass = mix(dark, pale, tone[:, None]) * (1.05 - 0.30 * stage.near)[:, None]
    blossom = stage.colour("blossom", 0.97, 0.20, (0.05, 0.65), (0.85, 0.98))  # white, yellow, red, violet
    bloom = stage.number("bloom", 1.6, 2.6)
    spots = smoothstep(bloom, bloom + 0.5, 0.9 * lie[:, 1] + 0.8 * stage.flat[:, 3]) * smoothstep(0.05, 0.2, stage.near)
    grass = mix(grass, blossom, (spots * 0.8)[:, None])
    return mix(image, grass, stage.ground[:, None])


def _beach(stage: Stage) -> Tensor:
    """Sea to the horizon, a line of surf, sand with ripples."""
    image = _sky(stage)
    deep = stage.colour("deep", 0.55, 0.04, (0.55, 0.80), (0.30, 0.50))
    shallow = stage.colour("shallow", 0.48, 0.04, (0.30, 0.55), (0.60, 0.80))
    shore = 0.17 + 0.13 * stage.number("shore") + (stage.x - 0.5) * stage.number("slope", -0.12, 0.12)
    curve = stage.read(stage.x * 0.7, stage.number("curve"))[:, 0]
    offing = stage.near - shore - 0.022 * curve  # below 0: water
    swell = stage.read(stage.x * 0.9 * stage.scale, stage.scale * 3.0, slice(1, 2))[:, 0]
    glint = smoothstep(0.9, 1.9, swell + 0.6 * stage.flat[:, 2])
    water = mix(deep, shallow, smoothstep(-0.30, 0.0, offing)[:, None]) * (1.0 + 0.20 * swell).clamp(min=0.3)[:, None]
    water = mix(water, torch.full_like(water, 0.85), (glint * 0.55)[:, None])
    dry = stage.colour("sand", 0.105, 0.02, (0.22, 0.42), (0.68, 0.85))
    lie = stage.on_ground(0.8, slice(0, 4))
    ripple = wave(stage.scale * stage.number("ripples", 5.0, 9.0) + 0.35 * lie[:, 0])
    ripple = ripple * smoothstep(0.35, 0.8, stage.near)
    sand = dry * (0.92 + 0.13 * lie[:, 0] + 0.13 * stage.flat[:, 3] + 0.06 * ripple)[:, None]
    sand = sand * (0.62 + 0.38 * smoothstep(0.02, 0.16, offing - 0.03 * lie[:, 1]))[:, None]  # wet near the water
    broken = 0.5 + 0.4 * stage.flat[:, 2]
    surf = smoothstep(-0.055, -0.012, offing) * smoothstep(0.022, 0.008, offing) * broken.clamp(0.0, 1.0)
    surf = torch.maximum(surf, 0.55 * smoothstep(-0.14, -0.12, offing) * smoothstep(-0.085, -0.11, offing) * broken)
    ground = mix(water, sand, smoothstep(-0.006, 0.012, offing)[:, None])
    ground = mix(ground, torch.full_like(ground, 0.93), surf.clamp(0.0, 1.0)[:, None])
    return mix(image, ground, stage.ground[:, None])


def _forest(stage: Stage) -> Tensor:
    """Trunks near and far before foliage that the sky shines through, and a floor of litter and moss."""
    shade = stage.colour("foliage dark", 0.33, 0.06, (0.45, 0.70), (0.12, 0.22))
    leaf = stage.colour("foliage", 0.27, 0.05, (0.45, 0.75), (0.52, 0.74))
    gap = stage.colour("gap", 0.20, 0.08, (0.08, 0.28), (0.80, 0.95))
    tone = (0.46 + 0.24 * stage.flat[:, 0] + 0.14 * stage.flat[:, 4]).clamp(0.0, 1.0)
    image = mix(shade, leaf, (tone * tone)[:, None])
    light = smoothstep(0.5, 1.9, stage.flat[:, 5] + 0.40 * stage.flat[:, 2] + 1.2 * (stage.horizon - stage.y))
    image = mix(image, gap, (light * 0.8)[:, None])
    litter = stage.colour("litter", 0.07, 0.03, (0.35, 0.60), (0.46, 0.64))
    moss = stage.colour("moss", 0.25, 0.05, (0.40, 0.65), (0.42, 0.60))
    lie = stage.on_ground(0.9, slice(0, 4))
    green = smoothstep(-0.5, 0.9, lie[:, 0])
    uneven = (0.92 + 0.34 * lie[:, 1] + 0.20 * stage.flat[:, 3]).clamp(min=0.15)
    floor = mix(litter, moss, green[:, None]) * uneven[:, None]
    dapple = smoothstep(0.3, 1.2, lie[:, 2])
    floor = floor * (0.80 + 0.9 * dapple)[:, None]
    image = mix(image, floor, smoothstep(-0.012, 0.012, stage.y - stage.horizon - 0.012 * stage.flat[:, 3])[:, None])
    bark = stage.colour("bark", 0.075, 0.025, (0.15, 0.45), (0.36, 0.56))
    mist = mix(shade, gap, torch.full_like(stage.horizon, 0.30)[:, None])
    for k in range(8):
        close = (k + 0.5) / 8.0  # far trunks first
        middle = stage.number(f"trunk {k}", -0.02, 1.02) + 0.02 * (stage.y - 0.5) * (k % 3 - 1)
        width = (0.012 + 0.040 * close * close) * stage.number(f"girth {k}", 0.7, 1.4)
        foot = stage.horizon + 0.01 + 0.13 * close * close
        flare = 1.0 + 0.9 * smoothstep(-0.07, 0.0, stage.y - foot)
        across = (stage.x - middle) / (width * flare)
        grain = stage.read(stage.x * 2.2 + 0.13 * k, stage.y * 0.35 + 0.29 * k, slice(2, 3))[:, 0]
        edge = stage.pixel / width
        cover = smoothstep(1.0 + 0.5 * edge, 1.0 - 0.5 * edge, across.abs()) * smoothstep(
            stage.pixel, -stage.pixel, stage.y - foot - 0.02 * (1.0 - across * across).clamp(min=0.0)
        )
        lit = (1.0 - 0.75 * across * across) * (0.85 + 0.30 * grain) + 0.25 * across
        trunk = mix(mist, bark * 1.25, torch.full_like(stage.horizon, 0.25 + 0.75 * close)[:, None])
        image = mix(image, trunk * lit.clamp(min=0.12)[:, None], cover[:, None])
    return image


def _street(stage: Stage) -> Tensor:
    """House fronts with windows behind a pavement and a road."""
    image = _sky(stage)
    edges = [torch.full_like(stage.horizon, -0.1)]
    for k in range(4):
        edges.append(edges[-1] + stage.number(f"width {k}", 0.22, 0.40))
    glass = stage.colour("glass", 0.57, 0.05, (0.15, 0.40), (0.25, 0.40))
    for k in range(4):
        left, right = edges[k], edges[k + 1]
        inside = smoothstep(0.0, stage.pixel, stage.x - left) * smoothstep(0.0, stage.pixel, right - stage.x)
        top = stage.horizon * stage.number(f"top {k}", 0.0, 0.45) - 0.03
        inside = inside * smoothstep(0.0, stage.pixel, stage.y - top)
        wall = stage.colour(f"wall {k}", 0.06, 0.09, (0.10, 0.50), (0.48, 0.84))
        pace = stage.number(f"pace {k}", 0.075, 0.105)
        storey = pace * stage.number(f"storey {k}", 1.1, 1.5)
        across, down = (stage.x - left) / pace, (stage.y - top - 0.02) / storey
        u, v = fraction(across) - 0.5, fraction(down) - 0.5
        soft = stage.pixel / pace * 0.6
        pane = smoothstep(0.27 + soft, 0.27 - soft, u.abs()) * smoothstep(0.30 + soft, 0.30 - soft, v.abs())
        frame = smoothstep(0.35 + soft, 0.35 - soft, u.abs()) * smoothstep(0.38 + soft, 0.38 - soft, v.abs())
        cell = fraction(across.floor() * 0.6180 + down.floor() * 0.7549 + stage.number(f"lamps {k}"))
        bright = smoothstep(0.74, 0.76, cell)[:, None]
        lamp = stage.colour(f"lamp {k}", 0.12, 0.02, (0.25, 0.55), (0.85, 0.95))
        window = mix(glass * (0.6 + 1.4 * cell[:, None]), lamp, bright) * (1.0 - 0.5 * v)[:, None]
        front = wall * (1.0 + 0.12 * stage.flat[:, 1:2] + 0.08 * stage.flat[:, 2:3])
        front = mix(front, wall * 0.55, smoothstep(0.03, 0.0, stage.y - top)[:, None])  # cornice
        front = mix(front, (wall * 0.4 + 0.5), frame[:, None] * 0.7)
        front = mix(front, window, pane[:, None])
        shade = 0.80 + 0.20 * smoothstep(0.0, 0.05, torch.minimum(stage.x - left, right - stage.x))
        image = mix(image, front * shade[:, None], inside[:, None])
    stone = stage.colour("stone", 0.09, 0.05, (0.02, 0.12), (0.60, 0.74))
    asphalt = stage.colour("asphalt", 0.62, 0.08, (0.02, 0.12), (0.34, 0.46))
    lie = stage.on_ground(0.9, slice(0, 4))
    kerb = 0.22 + 0.10 * stage.number("kerb")
    joints = fraction((stage.x - 0.5) * stage.scale * 4.0 + 0.5)
    slabs = 1.0 - 0.22 * smoothstep(0.07, 0.03, torch.minimum(joints, 1.0 - joints))
    pavement = stone * (slabs * (1.0 + 0.12 * lie[:, 0] + 0.12 * stage.flat[:, 3]))[:, None]
    road = asphalt * (1.0 + 0.22 * lie[:, 1] + 0.20 * stage.flat[:, 3])[:, None]
    dash = smoothstep(0.30, 0.28, (fraction((stage.x - 0.5) * stage.scale * 1.2 + stage.number("dash")) - 0.5).abs())
    lane = kerb + 0.34
    worn = (0.75 + 0.2 * stage.flat[:, 2]).clamp(0.0, 1.0)
    stripe = smoothstep(0.024, 0.014, (stage.near - lane).abs()) * dash * worn
    road = mix(road, torch.full_like(road, 0.72), stripe[:, None])
    below = smoothstep(-0.008, 0.008, stage.near - kerb)
    ground = mix(pavement, road, below[:, None])
    step = smoothstep(0.0, 0.006, stage.near - kerb) * smoothstep(0.045, 0.035, stage.near - kerb)
    ground = mix(ground, stone * 0.45, (step * 0.9)[:, None])
    foot = 0.70 + 0.30 * smoothstep(0.0, 0.08, stage.near)
    return mix(image, ground * foot[:, None], stage.ground[:, None])


def _room(stage: Stage) -> Tensor:
    """A wall with paper and a framed picture or window, a skirting board, and a floor of planks."""
    paint = stage.colour("paint", 0.5, 0.5, (0.08, 0.40), (0.55, 0.82))
    glow_x, glow = stage.number("glow", 0.0, 1.0), stage.number("glow width", 0.5, 0.9)
    reach = (stage.x - glow_x) / glow
    lamp = 0.62 + 0.55 / (1.0 + 2.0 * (reach * reach + stage.y * stage.y * 0.8))
    papered = smoothstep(0.45, 0.5, stage.number("papered"))
    pace = stage.number("paper", 9.0, 16.0)
    stripes = wave(stage.x * pace) * 0.10 * papered
    wall = paint * (lamp * (1.0 + stripes + 0.09 * stage.flat[:, 5] + 0.07 * stage.flat[:, 3]))[:, None]
    # a frame on the wall: a window to the sky, or a picture of noise
    cx, cy = stage.number("frame x", 0.15, 0.85), stage.horizon * 0.42
    wide, tall = stage.number("frame width", 0.11, 0.20), stage.horizon * stage.number("frame height", 0.24, 0.36)
    out = torch.maximum((stage.x - cx).abs() / wide, (stage.y - cy).abs() / tall)
    border = smoothstep(1.0, 1.0 - 2.0 * stage.pixel / 0.12, out)
    inner = smoothstep(0.80, 0.80 - 2.0 * stage.pixel / 0.12, out)
    wood = stage.colour("frame", 0.08, 0.03, (0.10, 0.60), (0.30, 0.90))
    first = stage.colour("picture", 0.5, 0.5, (0.20, 0.60), (0.35, 0.80))
    second = stage.colour("picture 2", 0.5, 0.5, (0.10, 0.50), (0.60, 0.95))
    picture = mix(first, second, smoothstep(-0.5, 0.5, stage.flat[:, 4] + 1.5 * (stage.y - cy) / tall)[:, None])
    day = stage.colour("day", 0.57, 0.03, (0.12, 0.40), (0.85, 0.97)) * 1.1
    bars = smoothstep(0.03, 0.06, ((stage.x - cx) / wide).abs()) * smoothstep(0.03, 0.06, ((stage.y - cy) / tall).abs())
    view = mix(wood, day * (1.0 + 0.10 * stage.flat[:, 5:6]), bars[:, None])
    window = (stage.number("window") > 0.5)[:, None]
    cast = smoothstep(1.25, 0.9, torch.maximum((stage.x - cx - 0.015).abs() / wide, (stage.y - cy - 0.02).abs() / tall))
    wall = wall * (1.0 - 0.30 * cast)[:, None]
    wall = mix(wall, wood * lamp[:, None], border[:, None])
    wall = mix(wall, torch.where(window, view, picture), inner[:, None])
    board = smoothstep(-stage.pixel, 0.0, stage.y - stage.horizon + 0.045)
    wall = mix(wall, stage.colour("board", 0.1, 0.04, (0.0, 0.15), (0.70, 0.92)) * lamp[:, None] * 0.9, board[:, None])
    plank = stage.colour("plank", 0.075, 0.02, (0.30, 0.62), (0.42, 0.72))
    lane = (stage.x - 0.5) * stage.scale * 5.0 + stage.number("lane")
    which, along = lane.floor(), stage.scale * 2.2
    offset = fraction(which * 0.6180)
    tint = fraction(which * 0.7549 + (along * 0.4 + offset).floor() * 0.5698)
    seam = torch.minimum(fraction(lane), 1.0 - fraction(lane))
    wide_seam = 0.03 + 0.6 * stage.scale * 5.0 * stage.pixel
    seams = smoothstep(0.0, 1.0, seam / wide_seam) * 0.35 + 0.65
    grain = stage.read(lane * 0.35 + which * 0.37, along * 0.12 + offset, slice(1, 2))[:, 0]
    fibre = 1.0 + 0.20 * grain + 0.10 * stage.flat[:, 3]
    planks = plank * ((0.82 + 0.36 * tint) * seams * fibre * (0.75 + 0.35 * lamp))[:, None]
    foot = 0.62 + 0.38 * smoothstep(0.0, 0.10, stage.near)
    return mix(wall, planks * foot[:, None], stage.ground[:, None])


PAINTERS: dict[str, Callable[[Stage], Tensor]] = {
    "beach": _beach,
    "forest": _forest,
    "meadow": _meadow,
    "room": _room,
    "street": _street,
}
