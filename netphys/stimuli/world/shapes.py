"""The eight classes of objects, each built of parts; no two exemplars alike.

An object stands on y = 0 about the origin, is about one unit tall or long, and faces +x. What varies within a class
(proportions, number and place of parts) hangs on the exemplar's `variation`, eight numbers in [0, 1]. Class is told by
shape alone: colours come from :mod:`netphys.stimuli.world.materials`, whose laws overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from netphys.stimuli.world.parts import Part, block, solid

__all__ = ["HOVER", "OBJECT_CLASSES", "VARIATIONS", "YAW", "parts_of"]

VARIATIONS = 8

BODY, SECOND, DARK, LIGHT, ACCENT = range(5)  # materials.ROLES


def parts_of(object_class: str, variation: Tensor) -> list[Part]:
    """List the parts of exemplars of a class; `variation` is (exemplar, VARIATIONS), in [0, 1]."""

    def vary(k: int, low: float, high: float) -> Tensor:
        return variation[:, k] * (high - low) + low

    return _BUILDERS[object_class](vary)


Vary = Callable[[int, float, float], Tensor]


def _car(vary: Vary) -> list[Part]:
    """A body on four wheels under a cabin of glass, from low saloon to tall van."""
    cabin, height, back, wheel = vary(0, 0.20, 0.30), vary(1, 0.09, 0.15), vary(2, -0.16, 0.0), vary(3, 0.105, 0.135)
    floor = wheel * 0.9
    waist = floor + 0.22
    parts = [
        block((0.0, floor + 0.11, 0.0), (0.50, 0.11, 0.215), BODY, top=(0.97, 0.98, 0.94, 0.94), shade=(0.55, 1.0)),
        block((back, waist + height, 0.0), (cabin, height, 0.20), SECOND, top=(0.62, 0.80, 0.80, 0.80)),
        block((back - cabin * 0.09, waist + height * 2.0, 0.0), (cabin * 0.74, 0.018, 0.168), BODY),
        block((back - cabin * 0.06, waist + height, 0.0), (0.02, height, 0.203), BODY, top=(1.0, 1.0, 0.81, 0.81)),
        block((0.0, floor + 0.035, 0.0), (0.515, 0.03, 0.20), ACCENT),
    ]
    for x in (-0.30, 0.30):
        for z in (-0.185, 0.185):
            out = math.copysign(0.048, z)
            parts.append(solid((x, wheel, z), (wheel, 0.05, wheel), DARK, top=1.0, along="z"))
            parts.append(solid((x, wheel, z + out), (wheel * 0.55, 0.012, wheel * 0.55), ACCENT, top=1.0, along="z"))
    for z in (-0.14, 0.14):
        parts.append(solid((0.49, floor + 0.13, z), (0.03, 0.045, 0.05), LIGHT))
    return parts


def _chair(vary: Vary) -> list[Part]:
    """A seat on four legs with a back: boards or slats, with or without a cushion."""
    seat, depth, back, leg = vary(0, 0.38, 0.50), vary(1, 0.20, 0.26), vary(2, 0.20, 0.30), vary(3, 0.026, 0.042)
    board = vary(4, 0.05, 0.20)
    cushion = vary(5, 0.005, 0.05)
    parts = [
        block((0.0, seat, 0.0), (depth, 0.028, 0.23), BODY),
        block((0.01, seat + 0.028 + cushion * 0.5, 0.0), (depth * 0.86, cushion, 0.19), SECOND, top=(0.9,) * 4),
        block((depth * -0.97, seat + back * 2.0 - board, 0.0), (0.026, board, 0.23), BODY),
        block((depth * -0.97, seat + back * 0.55, 0.0), (0.02, 0.03, 0.22), BODY),
    ]
    for z in (-0.2, 0.2):
        parts.append(solid((depth * 0.86, seat * 0.5, z), (leg, seat * 0.5, leg), BODY, top=1.15, shade=(0.9, 0.6)))
        parts.append(solid((depth * -0.9, seat * 0.5, z), (leg, seat * 0.5, leg), BODY, top=1.15, shade=(0.9, 0.6)))
        parts.append(solid((depth * -0.97, seat + back, z), (leg, back, leg), BODY, top=0.9))
    return parts


def _duck(vary: Vary) -> list[Part]:
    """A swimming bird's hull with a raised tail, wings, a round head and a flat bill."""
    head, neck, plump, bill = vary(0, 0.165, 0.215), vary(1, 0.58, 0.74), vary(2, 0.22, 0.28), vary(3, 0.10, 0.16)
    ahead = vary(4, 0.20, 0.32)
    parts = [
        solid((0.0, 0.26, 0.0), (0.42, 0.26, plump), BODY, shade=(0.6, 1.0)),
        solid((-0.36, 0.38, 0.0), (0.10, 0.20, 0.13), BODY, top=0.15, tilt=("z", 58.0)),
        solid((ahead - 0.02, neck - 0.18, 0.0), (0.14, 0.22, 0.14), BODY, shade=(1.0, 0.8)),
        solid((ahead, neck, 0.0), (head, head, head), BODY),
        solid((ahead + head + bill * 0.5, neck - 0.045, 0.0), (bill, 0.045, 0.095), ACCENT),
    ]
    for side in (-1.0, 1.0):
        parts.append(
            solid((-0.06, 0.32, plump * (0.88 * side)), (0.27, 0.15, 0.075), SECOND, tilt=("z", -14.0), shade=(0.7, 1))
        )
        parts.append(
            solid((ahead + head * 0.45, neck + head * 0.35, head * (0.79 * side)), (0.036, 0.036, 0.026), DARK)
        )
    return parts


def _fish(vary: Vary) -> list[Part]:
    """A flattened spindle with a forked tail, fins above and below, and a ringed eye."""
    tall, tail, fin, thick = vary(0, 0.17, 0.28), vary(1, 0.13, 0.20), vary(2, 0.06, 0.14), vary(3, 0.09, 0.15)
    fork = vary(4, 0.07, 0.15)
    mid = 0.34
    parts = [
        solid((0.06, mid, 0.0), (0.42, tall, thick), BODY, shade=(0.65, 1.0)),
        solid((-0.38, mid, 0.0), (0.10, 0.075, 0.035), BODY),
        solid((0.46, mid - 0.02, 0.0), (0.045, 0.035, thick * 0.45), ACCENT),
        solid((0.0, mid + tall * 0.80, 0.0), (0.24, fin * 2.0, 0.018), SECOND, cuts=(-0.2, 1.0), tilt=("z", 16.0)),
        solid((-0.02, mid - tall * 0.80, 0.0), (0.13, fin * 1.5, 0.018), SECOND, cuts=(-1.0, 0.2), tilt=("z", -22.0)),
    ]
    for lobe in (-1.0, 1.0):
        parts.append(solid((-0.45, mid + fork * lobe, 0.0), (tail * 0.5, tail, 0.022), SECOND, tilt=("z", 38.0 * lobe)))
    for side in (-1.0, 1.0):
        parts.append(solid((0.30, mid + 0.05, thick * (0.72 * side)), (0.052, 0.052, 0.03), LIGHT))
        parts.append(solid((0.315, mid + 0.05, thick * (0.72 * side) + 0.02 * side), (0.030, 0.030, 0.02), DARK))
        parts.append(solid((0.04, mid - 0.07, thick * (0.98 * side)), (0.10, 0.045, 0.016), SECOND, tilt=("z", 24.0)))
    return parts


def _house(vary: Vary) -> list[Part]:
    """Four walls under a gabled roof, with a door, windows and a chimney."""
    wide, wall, deep, pitch = vary(0, 0.28, 0.42), vary(1, 0.20, 0.31), vary(2, 0.22, 0.30), vary(3, 0.13, 0.22)
    door, stack = vary(4, -0.16, 0.16), vary(5, -0.22, 0.22)
    eaves = wall * 2.0
    parts = [
        block((0.0, wall, 0.0), (wide, wall, deep), BODY, shade=(0.75, 0.8)),
        block((0.0, eaves + pitch * 0.94, 0.0), (wide * 0.995, pitch * 0.96, deep), BODY, top=(1.0, 1.0, 0.0, 0.0)),
        block((0.0, eaves + pitch * 1.06, 0.0), (wide * 1.12, pitch * 1.08, deep * 1.16), SECOND, top=(1, 1, 0, 0)),
        block((stack, eaves + pitch * 1.7, deep * -0.35), (0.055, 0.20, 0.055), ACCENT),
        block((door, 0.14, deep), (0.07, 0.14, 0.012), ACCENT),
    ]
    for x in (-1.0, 1.0):
        parts.append(block((wide * (0.60 * x), wall * 1.12, deep), (0.075, 0.085, 0.012), LIGHT))
        parts.append(block((wide * (0.60 * x), wall * 1.12, deep + 0.006), (0.055, 0.065, 0.012), DARK))
        parts.append(block((wide * x, wall * 1.12, 0.0), (0.012, 0.085, 0.08), LIGHT))
        parts.append(block((wide * x + 0.006 * x, wall * 1.12, 0.0), (0.012, 0.065, 0.06), DARK))
    return parts


def _mug(vary: Vary) -> list[Part]:
    """A hollow cup with a ring for a handle, filled or not."""
    wide, tall, taper, level = vary(0, 0.26, 0.36), vary(1, 0.32, 0.44), vary(2, 0.92, 1.12), vary(3, 0.4, 1.5)
    grip = vary(4, 0.15, 0.20)
    return [
        solid((0.0, tall, 0.0), (wide, tall, wide), BODY, top=taper, hole=0.88, floor=-0.9, shade=(0.8, 1.0)),
        solid((0.0, tall * level, 0.0), (wide * 0.86, 0.012, wide * 0.86), DARK, top=1.0),
        solid((wide * 0.97 + grip * 0.72, tall, 0.0), (tall * 0.58, 0.05, grip), SECOND, top=1.0, hole=0.66, along="z"),
    ]


def _mushroom(vary: Vary) -> list[Part]:
    """A domed cap with gills and warts on a stem with a bulb."""
    cap, dome, stem, thick = vary(0, 0.34, 0.48), vary(1, 0.22, 0.40), vary(2, 0.22, 0.34), vary(3, 0.08, 0.14)
    wart = vary(4, 0.02, 0.075)
    rim = stem * 1.9
    parts = [
        solid((0.0, stem, 0.0), (thick * 1.15, stem, thick * 1.15), SECOND, top=0.78, shade=(0.95, 0.45)),
        solid((0.0, 0.06, 0.0), (thick * 1.5, 0.09, thick * 1.5), SECOND, cuts=(-0.7, 1.0), shade=(0.7, 1.0)),
        solid((0.0, rim, 0.0), (cap, dome, cap), BODY, cuts=(-0.12, 1.0)),
        solid((0.0, rim - dome * 0.14, 0.0), (cap * 0.9, 0.02, cap * 0.9), LIGHT, top=1.06, shade=(0.35, 0.5)),
    ]
    for azimuth, height in ((80.0, 0.50), (15.0, 0.62), (150.0, 0.68), (-60.0, 0.55), (220.0, 0.45), (60.0, 0.90)):
        ring = math.sqrt(1.0 - height * height)
        x, z = ring * math.cos(math.radians(azimuth)), ring * math.sin(math.radians(azimuth))
        parts.append(solid((cap * x, rim + dome * height, cap * z), (wart, wart * 0.8, wart), ACCENT))
    return parts


def _tree(vary: Vary) -> list[Part]:
    """A conifer: skirts of branches, one on the other, on a short trunk."""
    wide, slim, trunk, lift = vary(0, 0.26, 0.40), vary(1, 0.70, 0.84), vary(2, 0.045, 0.075), vary(3, 0.12, 0.22)
    parts = [solid((0.0, lift, 0.0), (trunk, lift, trunk), SECOND, top=0.8, shade=(0.9, 0.4))]
    radius, foot = wide, lift * 1.5
    for skirt in range(4):
        tall = 0.19 - 0.015 * skirt
        last = skirt == 3
        parts.append(
            solid(
                (0.0, foot + tall, 0.0),
                (radius, tall, radius),
                BODY,
                top=0.02 if last else 0.15,
                shade=(1.0, 1.0 if last else 0.35),
            )
        )
        radius, foot = radius * slim, foot + tall * 1.15
    return parts


_BUILDERS: dict[str, Callable[[Vary], list[Part]]] = {
    "car": _car,
    "chair": _chair,
    "duck": _duck,
    "fish": _fish,
    "house": _house,
    "mug": _mug,
    "mushroom": _mushroom,
    "tree": _tree,
}

OBJECT_CLASSES: tuple[str, ...] = tuple(_BUILDERS)

# how far (degrees) an object turns to either side of its profile (or of facing the viewer: house), and whether it may
# face the other way; a view along the long axis hides what tells a fish from a ball
YAW: dict[str, tuple[float, bool]] = {
    "car": (52.0, True),
    "chair": (65.0, True),
    "duck": (52.0, True),
    "fish": (38.0, True),
    "house": (52.0, False),
    "mug": (48.0, True),
    "mushroom": (180.0, False),
    "tree": (180.0, False),
}

HOVER: dict[str, float] = {"fish": 0.10}  # height above the ground; the others stand on it
