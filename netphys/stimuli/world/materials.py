"""Materials: which colours a surface of some material may have, and the patterns that lie on it.

The colour law: each part of an object is of one of a few materials, each material has a few modes of colour with
fixed odds, and hue, saturation and brightness vary about a mode. So colour is predictable from what a thing is, never
certain, and no colour gives a class away: paint, ceramics and cloth take any hue, and leaves turn.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from netphys.stimuli.world.arithmetic import fraction
from netphys.stimuli.world.hashing import Draws

__all__ = ["LAWS", "MATERIALS", "PATTERNS", "ROLES", "Surfaces", "surfaces"]

ROLES = ("body", "second", "dark", "light", "accent")  # what a part's colour is called, the same for all classes
PATTERNS = ("plain", "stripes", "bands", "checker", "speckle", "grain")  # on the body only


class Mode(NamedTuple):
    """One mode of a material's colour: odds, hue (turns) and its half width, ranges of saturation and brightness."""

    odds: float
    hue: float
    spread: float
    saturation: tuple[float, float]
    value: tuple[float, float]


ANY = (0.5, 0.5)  # hue and half width: any hue

MATERIALS: dict[str, tuple[Mode, ...]] = {
    "paint": (
        Mode(0.70, *ANY, (0.55, 0.90), (0.45, 0.90)),
        Mode(0.20, 0.60, 0.05, (0.00, 0.10), (0.70, 0.95)),
        Mode(0.10, 0.60, 0.05, (0.00, 0.20), (0.18, 0.35)),
    ),
    "ceramic": (Mode(0.35, 0.11, 0.03, (0.02, 0.15), (0.80, 0.97)), Mode(0.65, *ANY, (0.30, 0.80), (0.50, 0.92))),
    "cloth": (Mode(0.80, *ANY, (0.30, 0.70), (0.35, 0.80)), Mode(0.20, 0.10, 0.04, (0.05, 0.25), (0.55, 0.85))),
    "leaf": (
        Mode(0.60, 0.29, 0.05, (0.50, 0.80), (0.38, 0.66)),
        Mode(0.15, 0.42, 0.04, (0.30, 0.55), (0.40, 0.65)),
        Mode(0.15, 0.09, 0.04, (0.65, 0.85), (0.55, 0.85)),
        Mode(0.10, 0.02, 0.02, (0.60, 0.80), (0.45, 0.70)),
    ),
    "wood": (Mode(0.75, 0.075, 0.015, (0.40, 0.65), (0.42, 0.75)), Mode(0.25, 0.05, 0.02, (0.35, 0.60), (0.25, 0.42))),
    "plumage": (
        Mode(0.30, 0.135, 0.015, (0.65, 0.88), (0.82, 0.96)),
        Mode(0.20, 0.12, 0.03, (0.03, 0.15), (0.80, 0.96)),
        Mode(0.25, 0.07, 0.02, (0.35, 0.60), (0.38, 0.68)),
        Mode(0.25, 0.52, 0.14, (0.25, 0.60), (0.40, 0.72)),
    ),
    "scales": (
        Mode(0.30, 0.06, 0.025, (0.65, 0.90), (0.75, 0.95)),
        Mode(0.30, 0.58, 0.05, (0.20, 0.65), (0.50, 0.80)),
        Mode(0.20, 0.47, 0.05, (0.40, 0.70), (0.45, 0.75)),
        Mode(0.20, 0.97, 0.04, (0.45, 0.75), (0.65, 0.90)),
    ),
    "plaster": (
        Mode(0.40, 0.11, 0.02, (0.10, 0.32), (0.78, 0.95)),
        Mode(0.20, 0.02, 0.02, (0.25, 0.45), (0.72, 0.90)),
        Mode(0.20, 0.56, 0.06, (0.12, 0.35), (0.62, 0.85)),
        Mode(0.20, 0.03, 0.015, (0.50, 0.65), (0.48, 0.66)),
    ),
    "tile": (Mode(0.65, 0.025, 0.02, (0.50, 0.72), (0.45, 0.68)), Mode(0.35, 0.60, 0.06, (0.08, 0.25), (0.30, 0.48))),
    "cap": (
        Mode(0.35, 0.00, 0.02, (0.65, 0.88), (0.60, 0.85)),
        Mode(0.30, 0.07, 0.02, (0.40, 0.65), (0.45, 0.72)),
        Mode(0.20, 0.12, 0.02, (0.30, 0.60), (0.70, 0.90)),
        Mode(0.15, 0.78, 0.06, (0.25, 0.55), (0.45, 0.72)),
    ),
    "cream": (Mode(1.0, 0.12, 0.03, (0.06, 0.24), (0.80, 0.95)),),
    "horn": (Mode(1.0, 0.075, 0.025, (0.70, 0.90), (0.80, 0.95)),),
    "glass": (Mode(1.0, 0.57, 0.04, (0.15, 0.40), (0.22, 0.40)),),
    "rubber": (Mode(1.0, 0.60, 0.30, (0.00, 0.10), (0.10, 0.20)),),
    "coffee": (Mode(0.7, 0.06, 0.01, (0.55, 0.75), (0.16, 0.30)), Mode(0.3, 0.09, 0.02, (0.40, 0.65), (0.45, 0.70))),
    "chrome": (Mode(1.0, 0.60, 0.10, (0.00, 0.08), (0.65, 0.88)),),
    "pale": (Mode(1.0, 0.13, 0.03, (0.00, 0.14), (0.88, 0.98)),),
}

# class: material of each role (body, second, dark, light, accent), odds that the body is painted instead, odds of
# each pattern
LAWS: dict[str, tuple[tuple[str, str, str, str, str], float, tuple[float, ...]]] = {
    "car": (("paint", "glass", "rubber", "pale", "chrome"), 0.00, (0.55, 0.10, 0.15, 0.05, 0.05, 0.10)),
    "chair": (("wood", "cloth", "rubber", "pale", "chrome"), 0.40, (0.30, 0.10, 0.10, 0.05, 0.05, 0.40)),
    "duck": (("plumage", "plumage", "rubber", "pale", "horn"), 0.15, (0.40, 0.10, 0.15, 0.05, 0.25, 0.05)),
    "fish": (("scales", "scales", "rubber", "pale", "horn"), 0.10, (0.25, 0.20, 0.25, 0.10, 0.20, 0.00)),
    "house": (("plaster", "tile", "glass", "pale", "paint"), 0.10, (0.35, 0.10, 0.25, 0.10, 0.05, 0.15)),
    "mug": (("ceramic", "ceramic", "coffee", "pale", "paint"), 0.10, (0.35, 0.20, 0.20, 0.10, 0.15, 0.00)),
    "mushroom": (("cap", "cream", "rubber", "cream", "pale"), 0.10, (0.45, 0.05, 0.15, 0.00, 0.25, 0.10)),
    "tree": (("leaf", "wood", "rubber", "pale", "leaf"), 0.05, (0.30, 0.00, 0.10, 0.00, 0.45, 0.15)),
}

_NAMES = tuple(MATERIALS)


class Surfaces(NamedTuple):
    """What the surfaces of objects are made of; all over (image, slot)."""

    material: Tensor  # int64, of the body: index into MATERIALS
    mode: Tensor  # int64, of the body: which of its material's colours
    pattern: Tensor  # int64: index into PATTERNS
    albedo: Tensor  # float32 (image, slot, role, 3), linear light: reflectance of each role, red green blue
    ink: Tensor  # float32 (image, slot, 3): the second colour of the body's pattern
    gloss: Tensor  # float32 in [0, 1]


def surfaces(draws: Draws, object_class: Tensor, classes: tuple[str, ...]) -> Surfaces:
    """Draw the surfaces of objects of known class (image, slot), -1 where there is none."""
    slots = object_class.shape[1]
    known = object_class.clamp(min=0)
    materials = torch.tensor([[_NAMES.index(material) for material in LAWS[name][0]] for name in classes])[known]
    painted = draws.uniform("painted", slots) < torch.tensor([LAWS[name][1] for name in classes])[known]
    materials[..., 0] = torch.where(painted, _NAMES.index("paint"), materials[..., 0])
    # the ink is of the body's material, from a draw of its own
    materials = torch.cat([materials, materials[..., :1]], -1)
    roles = materials.shape[-1]
    most = max(len(modes) for modes in MATERIALS.values())
    table = torch.zeros(len(_NAMES), most, 7)
    for row, modes in enumerate(MATERIALS.values()):
        for k, each in enumerate(modes):
            table[row, k] = torch.tensor([each.odds, each.hue, each.spread, *each.saturation, *each.value])
    mode = draws.choice("colour mode", table[materials][..., 0], slots, roles)
    numbers = table[materials, mode]
    jitter = draws.uniform("colour", slots, roles, 3)
    hue = numbers[..., 1] + numbers[..., 2] * (2.0 * jitter[..., 0] - 1.0)
    saturation = numbers[..., 3] + (numbers[..., 4] - numbers[..., 3]) * jitter[..., 1]
    value = numbers[..., 5] + (numbers[..., 6] - numbers[..., 5]) * jitter[..., 2]
    colour = hsv_to_linear(hue, saturation, value)
    # ink that is as dark as the body would not be seen: paler ink on dark bodies, darker on pale ones
    dark, ink = (value[..., 0] < 0.55)[..., None], colour[..., -1, :]
    ink = torch.where(dark, 0.35 + 0.5 * ink, 0.30 * ink)
    odds = torch.tensor([LAWS[name][2] for name in classes])[known]
    return Surfaces(
        materials[..., 0],
        mode[..., 0],
        draws.choice("pattern", odds, slots),
        colour[..., :-1, :],
        ink,
        draws.uniform("gloss", slots),
    )


def hsv_to_linear(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Turn hue (turns), saturation and value into linear light (..., 3); the display's gamma is 2."""
    shifts = torch.tensor([1.0, 2.0 / 3.0, 1.0 / 3.0], device=hue.device)
    ramp = (fraction(hue[..., None] + shifts) * 6.0 - 3.0).abs() - 1.0
    display = value[..., None] * (1.0 + saturation[..., None] * (ramp.clamp(0.0, 1.0) - 1.0))
    return display * display
