"""What causes an image of the world: drawn first, kept whole, rendered later.

The kind of scene makes some objects likely and none impossible (`LIKELY`). One object is the main one: large, wholly
inside the image, in front of all others. The others stand further back to its sides, may be half hidden by it or cut
by the image's edge; about one of them in 200 is wholly hidden. It stays in the latents, which say what was placed;
what is seen is said by the masks and the visible areas of the rendered scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError, StimulusError
from netphys.stimuli.world.arithmetic import sine_cosine
from netphys.stimuli.world.hashing import Draws
from netphys.stimuli.world.materials import MATERIALS, PATTERNS, surfaces
from netphys.stimuli.world.shapes import OBJECT_CLASSES, VARIATIONS, YAW

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LIKELY", "MAX_OBJECTS", "SCENE_CLASSES", "SceneLatents", "scene_latents"]

SCENE_CLASSES: tuple[str, ...] = ("beach", "forest", "meadow", "room", "street")
MAX_OBJECTS = 3

# P(object | scene), rows as SCENE_CLASSES, columns as OBJECT_CLASSES: each object of an image is drawn from its row
LIKELY: tuple[tuple[float, ...], ...] = (
    # car   chair  duck   fish   house  mug    mushroom tree
    (0.06, 0.16, 0.24, 0.36, 0.06, 0.04, 0.03, 0.05),  # beach
    (0.04, 0.03, 0.08, 0.04, 0.10, 0.03, 0.36, 0.32),  # forest
    (0.06, 0.04, 0.28, 0.03, 0.22, 0.03, 0.16, 0.18),  # meadow
    (0.04, 0.34, 0.06, 0.12, 0.03, 0.36, 0.03, 0.02),  # room
    (0.40, 0.06, 0.04, 0.03, 0.30, 0.04, 0.03, 0.10),  # street
)

OBJECTS_ODDS = (0.40, 0.35, 0.25)  # of 1, 2 and 3 objects
MAIN_SIZE = (0.42, 0.65)  # larger side of the main object's box, share of the image's side
OTHER_SIZE = (0.20, 0.32)
CROWDED = 0.10  # by how much the main object's largest size shrinks where others stand beside it
MAIN_HIGHEST = 0.5  # highest centre of the main object: its foot is then on the ground
ROOM = 0.15  # free share of the side that another object asks for
MARGIN = 0.03  # of the image's side, kept free around the main object


@dataclass(frozen=True, repr=False)
class SceneLatents:
    """All causes of some images.

    Positions and sizes are shares of the image's side, x to the right, y down. Where a slot is empty its class is -1
    and its other numbers mean nothing.
    """

    seed: int
    indices: np.ndarray  # (image,) int64
    scene: np.ndarray  # (image,) int64, index into SCENE_CLASSES
    n_objects: np.ndarray  # (image,) int64, 1 to MAX_OBJECTS
    object_class: np.ndarray  # (image, slot) int64, index into OBJECT_CLASSES, -1 where absent
    main: np.ndarray  # (image,) int64, slot of the main object
    depth: np.ndarray  # (image, slot) int64, 0 nearest to the viewer; -1 where absent
    x: np.ndarray  # (image, slot) float32, centre of the object's box
    y: np.ndarray  # (image, slot) float32
    size: np.ndarray  # (image, slot) float32, larger side of the object's box
    yaw: np.ndarray  # (image, slot) float32, degrees about the vertical, 0 in profile facing right
    roll: np.ndarray  # (image, slot) float32, degrees in the image plane, positive anticlockwise
    variation: np.ndarray  # (image, slot, VARIATIONS) float32 in [0, 1], the exemplar's proportions
    material: np.ndarray  # (image, slot) int64, of the body, index into materials.MATERIALS
    colour_mode: np.ndarray  # (image, slot) int64, which of the material's modes
    pattern: np.ndarray  # (image, slot) int64, index into materials.PATTERNS
    albedo: np.ndarray  # (image, slot, role, 3) float32, linear reflectance, red green blue
    ink: np.ndarray  # (image, slot, 3) float32, second colour of the pattern
    gloss: np.ndarray  # (image, slot) float32 in [0, 1]
    pitch: np.ndarray  # (image,) float32, degrees that the camera looks down on the objects
    horizon: np.ndarray  # (image,) float32, height of the horizon, share of the side from the top
    light: np.ndarray  # (image, 3) float32, unit vector toward the light: right, up, toward the viewer
    warmth: np.ndarray  # (image,) float32 in [-1, 1], colour of the light from bluish to golden

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"SceneLatents({len(self)} images of seed {self.seed}, {int(self.n_objects.sum())} objects)"

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image; what is said of one object is said of the main one."""
        import pandas as pd

        names = np.array(OBJECT_CLASSES)
        row = np.arange(len(self))
        main = self.main
        table = {
            "index": self.indices,
            "scene": np.array(SCENE_CLASSES)[self.scene],
            "object": names[self.object_class[row, main]],
            "n_objects": self.n_objects,
            "objects": [";".join(names[slots[slots >= 0]]) for slots in self.object_class],
            "x": self.x[row, main],
            "y": self.y[row, main],
            "size": self.size[row, main],
            "yaw": self.yaw[row, main],
            "rotation": self.roll[row, main],
            "material": np.array(tuple(MATERIALS))[self.material[row, main]],
            "pattern": np.array(PATTERNS)[self.pattern[row, main]],
            "gloss": self.gloss[row, main],
            "pitch": self.pitch,
            "horizon": self.horizon,
            "light_x": self.light[:, 0],
            "light_y": self.light[:, 1],
            "light_z": self.light[:, 2],
            "warmth": self.warmth,
        }
        return pd.DataFrame(table)

    def tensors(self, rows: slice, device: torch.device) -> dict[str, Tensor]:
        """Return the fields of some images as tensors on a device, by name."""
        names = [each.name for each in fields(self) if each.name != "seed"]
        return {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name)[rows])).to(device) for name in names}


def scene_latents(indices: Sequence[int] | np.ndarray | Tensor | range, *, seed: int = 0) -> SceneLatents:
    """Draw the causes of images, without rendering them.

    Parameters
    ----------
    indices : sequence of int
        Which images of the world, each from 0 on; image `i` is the same whatever else is asked for.
    seed : int
        Which world.

    Returns
    -------
    SceneLatents

    Raises
    ------
    StimulusError
        If an index is negative or no integer.
    OptionError
        If `seed` is no integer.

    Examples
    --------
    >>> frame = scene_latents(range(3), seed=0).to_frame()
    >>> len(frame), sorted(frame.columns)[:3]
    (3, ['gloss', 'horizon', 'index'])
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise OptionError(f"seed={seed!r} is no integer")
    chosen = _checked(indices)
    draws = Draws(int(seed), torch.from_numpy(chosen))
    n, slots = len(chosen), MAX_OBJECTS
    scene = draws.choice("scene", torch.ones(len(SCENE_CLASSES)))
    count = draws.choice("n_objects", torch.tensor(OBJECTS_ODDS)) + 1
    here = torch.arange(slots)[None] < count[:, None]
    likely = torch.tensor(LIKELY)[scene][:, None]
    object_class = torch.where(here, draws.choice("object", likely, slots), -1)
    surface = surfaces(draws, object_class, OBJECT_CLASSES)
    horizon = draws.uniform("horizon", low=0.30, high=0.46)
    x, y, size = _layout(draws, count, horizon)
    elevation_sin, elevation_cos = sine_cosine(draws.uniform("light elevation", low=28.0, high=58.0))
    azimuth_sin, azimuth_cos = sine_cosine(_two_sided(draws, "light azimuth", 30.0, 105.0))
    drawn = {
        "indices": draws.indices,
        "scene": scene,
        "n_objects": count,
        "object_class": object_class,
        "main": torch.zeros(n, dtype=torch.int64),
        "depth": torch.where(here, torch.arange(slots)[None].expand(n, slots), -1),
        "x": x,
        "y": y,
        "size": size,
        "yaw": _yaw(draws, object_class),
        "roll": draws.normal("roll", slots, sd=5.0),
        "variation": draws.uniform("variation", slots, VARIATIONS),
        "material": surface.material,
        "colour_mode": surface.mode,
        "pattern": surface.pattern,
        "albedo": surface.albedo,
        "ink": surface.ink,
        "gloss": surface.gloss,
        "pitch": draws.uniform("pitch", low=12.0, high=28.0),
        "horizon": horizon,
        "light": torch.stack([azimuth_sin * elevation_cos, elevation_sin, azimuth_cos * elevation_cos], 1),
        "warmth": draws.uniform("warmth", low=-1.0, high=1.0),
    }
    return SceneLatents(int(seed), **{name: value.numpy() for name, value in drawn.items()})


def _checked(indices: Sequence[int] | np.ndarray | Tensor | range) -> np.ndarray:
    """Return indices as int64, or refuse them."""
    chosen = np.asarray(indices.cpu() if isinstance(indices, Tensor) else indices)
    if chosen.ndim != 1 or (chosen.size and not np.issubdtype(chosen.dtype, np.integer)):
        raise StimulusError(f"indices of images are a list of integers, not {chosen.dtype} of shape {chosen.shape}")
    chosen = chosen.astype(np.int64)
    if chosen.size and chosen.min() < 0:
        raise StimulusError(f"image {chosen.min()} does not exist; indices start at 0")
    return chosen


def _layout(draws: Draws, count: Tensor, horizon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Draw centre and size of each object (image, slot): the main one first, the others behind it to its sides."""
    low, high = MAIN_SIZE
    crowded = (count > 1).to(torch.float32) * CROWDED  # leaves room for the others
    main = low + (high - crowded - low) * draws.uniform("main size")
    half = main * 0.5 + MARGIN
    x = half + (1.0 - 2.0 * half) * draws.uniform("main x")
    y = MAIN_HIGHEST + (1.0 - half - MAIN_HIGHEST) * draws.uniform("main y")
    roomier = torch.where(x < 0.5, 1.0, -1.0)
    both = torch.minimum(x, 1.0 - x) - main * 0.5 > ROOM  # is there room on the other side, too?
    sides = (roomier, torch.where(both, -roomier, roomier))
    xs, ys, sizes = [x], [y], [main]
    for slot in range(1, MAX_OBJECTS):
        size = draws.uniform(f"size {slot}", low=OTHER_SIZE[0], high=OTHER_SIZE[1])
        # never nearer the middle of the main object than its edge: at least half of the other's box is beyond it
        edge = x + sides[slot - 1] * main * 0.5
        room = torch.where(sides[slot - 1] > 0.0, 1.0 - edge, edge)
        sizes.append(size)
        xs.append(edge + sides[slot - 1] * room * draws.uniform(f"x {slot}", low=0.15, high=0.75))
        behind = horizon + 0.03 + 0.09 * draws.uniform(f"y {slot}")
        ys.append(torch.minimum(behind, y - 0.06))
    return torch.stack(xs, 1), torch.stack(ys, 1), torch.stack(sizes, 1)


def _yaw(draws: Draws, object_class: Tensor) -> Tensor:
    """Draw how far each object turns about the vertical, in degrees; within what its class allows."""
    known = object_class.clamp(min=0)
    slots = object_class.shape[1]
    most = torch.tensor([YAW[each][0] for each in OBJECT_CLASSES])[known]
    faces = torch.tensor([YAW[each][1] for each in OBJECT_CLASSES])[known]
    turned = faces & (draws.uniform("facing", slots) < 0.5)
    return draws.uniform("yaw", slots, low=-1.0, high=1.0) * most + torch.where(turned, 180.0, 0.0)


def _two_sided(draws: Draws, name: str, low: float, high: float) -> Tensor:
    """Draw an angle between `low` and `high` degrees to the left or to the right."""
    return draws.uniform(name, low=low, high=high) * torch.where(draws.uniform(f"{name} side") < 0.5, -1.0, 1.0)
