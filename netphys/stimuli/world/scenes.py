"""Rendering scenes of known causes: backgrounds, shadows on the ground, objects, exposure.

Images are made in chunks, so memory does not grow with their number; within a chunk objects of one class are traced
together. Nothing that is computed for one image hangs on the others: sums run in a fixed order, the rest is
elementwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from netphys.errors import OptionError
from netphys.stimuli.world.arithmetic import sine_cosine, smoothstep
from netphys.stimuli.world.backgrounds import PAINTERS, Stage
from netphys.stimuli.world.hashing import Draws
from netphys.stimuli.world.latents import MAIN_SIZE, MAX_OBJECTS, OTHER_SIZE, SCENE_CLASSES, SceneLatents, scene_latents
from netphys.stimuli.world.noise import fractal
from netphys.stimuli.world.parts import Body, assemble, extents
from netphys.stimuli.world.rays import Rays, camera_rays, trace
from netphys.stimuli.world.shading import Look, light_colours, shade
from netphys.stimuli.world.shapes import HOVER, OBJECT_CLASSES, parts_of

__all__ = ["Scenes", "render_scenes"]

SMALLEST, LARGEST = 32, 256  # pixels a side
_PIXELS = 256 * 64 * 64  # of a chunk: 256 images of 64 pixels a side, some 250 MB at work
_TEXTURE_GRID = 64  # of the noise on objects
_SUPER = 2  # samples a pixel side on objects


@dataclass(frozen=True, repr=False)
class Scenes:
    """Rendered images with all that caused them."""

    images: Tensor  # (image, 3, y, x) float32 in [0, 1], display values (gamma 2)
    masks: Tensor  # (image, slot, y, x) bool, pixels of which more than half are this object, seen; they never overlap
    boxes: Tensor  # (image, slot, 4) int64 x0, y0, x1, y1 of the mask, ends exclusive; zeros where it is empty
    visible_area: Tensor  # (image, slot) float32, share of the image's pixels in the mask
    latents: SceneLatents

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size = self.images.shape[-1]
        return f"Scenes({len(self)} images of {size} x {size}, seed {self.latents.seed})"


def render_scenes(
    indices: Sequence[int] | np.ndarray | Tensor | range,
    *,
    seed: int = 0,
    size: int = 64,
    device: str | torch.device = "cpu",
) -> Scenes:
    """Render images of the world.

    Parameters
    ----------
    indices : sequence of int
        Which images, each from 0 on; they may repeat and come in any order.
    seed : int
        Which world.
    size : int
        Side of the images in pixels, 32 to 256. A scene has the same causes at all sizes; 64 is the default because
        every class can be told there by eye and thousands of images take seconds.
    device : str or torch.device
        Where to render. Bits are the same for any batch on one device, not from one device to another.

    Returns
    -------
    Scenes
        Images, visible masks, boxes and all latents, in the order of `indices`.

    Raises
    ------
    StimulusError
        If an index is negative or no integer.
    OptionError
        If `size` is not within 32 to 256, or `seed` is no integer.

    Notes
    -----
    Objects are met by parallel rays in closed form (four samples a pixel) and lit by one directional light (Lambert
    and a soft highlight), by the sky and by the ground; shadows on the ground are traced toward the light. Nearer
    objects hide further ones: cover = own cover x what nearer ones let through, and a pixel is in a mask where more
    than half of it is that object, seen. An object that others hide wholly keeps its place in the latents; its mask is
    empty, its box and visible area are zero.

    Examples
    --------
    >>> scenes = render_scenes([3, 5], seed=0, size=32)
    >>> scenes.images.shape, scenes.masks.shape
    (torch.Size([2, 3, 32, 32]), torch.Size([2, 3, 32, 32]))
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not SMALLEST <= size <= LARGEST:
        raise OptionError(f"size={size!r} is no image side; scenes are {SMALLEST} to {LARGEST} pixels a side")
    return rendered(scene_latents(indices, seed=seed), size=int(size), device=torch.device(device))


@torch.no_grad()
def rendered(latents: SceneLatents, *, size: int, device: torch.device, absent: int | None = None) -> Scenes:
    """Render given causes; `absent` leaves out one slot's object and its shadow, all else the same."""
    n = len(latents)
    images = torch.empty(n, 3, size, size, device=device)
    alphas = torch.empty(n, MAX_OBJECTS, size, size, device=device)
    chunk = max(1, _PIXELS // (size * size))
    for start in range(0, n, chunk):
        rows = slice(start, min(start + chunk, n))
        images[rows], alphas[rows] = _render_chunk(latents.tensors(rows, device), latents.seed, size, absent)
    masks = alphas > 0.5
    return Scenes(images, masks, _boxes(masks), _areas(masks), latents)


def _render_chunk(t: dict[str, Tensor], seed: int, size: int, absent: int | None) -> tuple[Tensor, Tensor]:
    """Render some images; return them and each object's visible cover (image, slot, y, x)."""
    draws = Draws(seed, t["indices"])
    n, device = len(draws), t["indices"].device
    sun, sky = light_colours(t["warmth"])
    canvas = torch.empty(n, 3, size, size, device=device)
    for kind, name in enumerate(SCENE_CLASSES):
        rows = (t["scene"] == kind).nonzero()[:, 0]
        if len(rows):
            canvas[rows] = PAINTERS[name](Stage(draws.of(rows), t["horizon"][rows], size))
    canvas *= (0.5 * sun + 0.5 * sky)[:, :, None, None]

    layers = torch.zeros(n * MAX_OBJECTS, 4, size, size, device=device)
    dimmed = torch.ones(n, size, size, device=device)
    noise = fractal(draws, "surfaces", grid=_TEXTURE_GRID, gains=(1.0, 1.0))
    look = {"sun": sun, "sky": sky, "offset": draws.uniform("texture offset", MAX_OBJECTS, 2)}
    look["pace"] = draws.uniform("texture pace", MAX_OBJECTS, low=4.0, high=7.0)
    for slots, largest in (((0,), MAIN_SIZE[1]), (tuple(range(1, MAX_OBJECTS)), OTHER_SIZE[1])):
        for kind in range(len(OBJECT_CLASSES)):
            here = t["object_class"] == kind
            here = here & torch.tensor([k in slots and k != absent for k in range(MAX_OBJECTS)], device=device)
            image, slot = here.nonzero(as_tuple=True)
            if len(image):
                group = _Group(t, image, slot, kind, size, largest)
                layers[image * MAX_OBJECTS + slot] = group.layer(look, noise)
                shadow = group.shadow()
                for each in slots:  # one slot at a time: an image's shadows multiply
                    mine = (slot == each).nonzero()[:, 0]
                    dimmed[image[mine]] *= shadow[mine]
    ground = smoothstep(-0.5 / size, 1.5 / size, _rows(size, device)[None] - t["horizon"][:, None])
    canvas *= (1.0 + (dimmed - 1.0) * ground[:, :, None])[:, None]

    layers = layers.reshape(n, MAX_OBJECTS, 4, size, size)
    left = torch.ones(n, size, size, device=device)  # what nearer objects let through
    cover = torch.zeros(n, MAX_OBJECTS, size, size, device=device)
    light = torch.zeros_like(canvas)
    for depth in range(MAX_OBJECTS):  # slots stand from the nearest to the furthest
        light += layers[:, depth, :3] * left[:, None]
        cover[:, depth] = layers[:, depth, 3] * left
        left = left * (1.0 - layers[:, depth, 3])
    return _developed(light + canvas * left[:, None]), cover


class _Group:
    """Objects of one class and one range of sizes in a chunk, posed before the camera."""

    def __init__(self, t: dict[str, Tensor], image: Tensor, slot: Tensor, kind: int, size: int, largest: float) -> None:
        self.t, self.image, self.slot, self.size = t, image, slot, size
        name = OBJECT_CLASSES[kind]
        n, device = len(image), image.device
        parts = parts_of(name, t["variation"][image, slot])
        upright = _upright(t["yaw"][image, slot], t["roll"][image, slot])
        body = assemble(parts, n, device).posed(upright)
        low, high = _whole(extents(body))
        lift = torch.zeros(n, 3, device=device)
        lift[:, 1] = HOVER.get(name, 0.0) - low[:, 1]
        self.hover = HOVER.get(name, 0.0)
        self.sin, self.cos = sine_cosine(t["pitch"][image])
        tipped = _tipped(self.sin, self.cos)
        self.rotation, self.origin = _after(tipped, upright), _turned(tipped, lift)
        self.body: Body = body.moved(lift).posed(tipped)
        self.stands = (high[:, 0] - low[:, 0] + high[:, 2] - low[:, 2]) * 0.25  # half width of its footprint
        on_ground = torch.tensor([0.5, 0.0, 0.5], device=device)
        self.middle = _turned(tipped, (low + high) * on_ground)  # of its footprint
        self.reach = extents(self.body)
        low, high = _whole(self.reach)
        self.unit = t["size"][image, slot] / (high - low)[:, :2].amax(1)  # image sides a unit of the object
        self.centre = (low + high) * 0.5
        self.height = (high - low)[:, 1]
        self.light = _turned(tipped, t["light"][image])
        self.window = min(size, int(np.ceil(largest * size)) + 2)

    def layer(self, look: dict[str, Tensor], noise: Tensor) -> Tensor:
        """Render the objects: premultiplied light and cover, (object, 4, y, x)."""
        t, at, n, device = self.t, (self.image, self.slot), len(self.image), self.image.device
        corner = self._corner(t["x"][at], t["y"][at], self.window)
        x, y = self._positions(corner, self.window, _SUPER)
        hits = trace(self.body, camera_rays(x, y), self.reach)
        up = torch.stack([torch.zeros_like(self.cos), self.cos, self.sin], 1)
        looks = Look(
            rotation=self.rotation,
            origin=self.origin,
            light=self.light,
            up=up,
            sun=look["sun"][self.image],
            sky=look["sky"][self.image],
            albedo=t["albedo"][at],
            ink=t["ink"][at],
            gloss=t["gloss"][at],
            pattern=t["pattern"][at],
            pace=look["pace"][at],
            offset=look["offset"][at],
            field=self.image,
        )
        place, colour = shade(self.body, hits, looks, x, y, noise)
        samples = torch.zeros(4, n * hits.distance[0].numel(), device=device)
        samples[:3, place] = colour
        samples[3, place] = 1.0
        w = self.window
        fine = samples.reshape(4, n, w, _SUPER, w, _SUPER)
        coarse = ((fine[..., 0, :, 0] + fine[..., 0, :, 1]) + (fine[..., 1, :, 0] + fine[..., 1, :, 1])) * 0.25
        return self._placed(coarse.permute(1, 0, 2, 3), corner, w)

    def shadow(self) -> Tensor:
        """Return how much light is left on the ground around the objects, (object, y, x)."""
        wide = min(self.size, int(self.window * 1.3))
        t, at = self.t, (self.image, self.slot)
        foot_x = t["x"][at] + self.unit * (self.middle[:, 0] - self.centre[:, 0])
        foot_y = t["y"][at] - self.unit * (self.middle[:, 1] - self.centre[:, 1])
        light = t["light"][self.image]
        reach = self.unit * self.height * 0.4 / light[:, 1]
        corner = self._corner(foot_x - reach * light[:, 0], foot_y - reach * light[:, 2] * self.sin, wide)
        x, y = self._positions(corner, wide, 1)
        hits = trace(self.body, Rays(x, y, -self.cos / self.sin, self.light))
        cast = (hits.distance < torch.inf).to(torch.float32)[:, None]
        spread = max(1, round(self.size / 100))  # of the half shadow, in pixels
        cast = F.avg_pool2d(cast, 2 * spread + 1, stride=1, padding=spread)
        dx = (x - self.middle[:, :1]) / self.stands[:, None]
        dy = (y - self.middle[:, 1:2]) / (self.stands * self.sin)[:, None]
        close = smoothstep(1.6, 0.2, (dx * dx)[:, None, :] + (dy * dy)[:, :, None]) * (0.22 if self.hover else 0.36)
        left = (1.0 - 0.72 * cast[:, 0]) * (1.0 - close)
        return 1.0 - self._placed((1.0 - left)[:, None], corner, wide)[:, 0]

    def _corner(self, x: Tensor, y: Tensor, window: int) -> Tensor:
        """Return the first column and row of a window about (x, y), kept inside the image; (object, 2) int64."""
        first = torch.stack([x, y], 1) * self.size - window * 0.5
        return first.round().clamp(0, self.size - window).long()

    def _positions(self, corner: Tensor, window: int, samples: int) -> tuple[Tensor, Tensor]:
        """Return x and y of a window's samples in the objects' units, each (object, window * samples)."""
        t, at = self.t, (self.image, self.slot)
        steps = (torch.arange(window * samples, device=corner.device, dtype=torch.float32) + 0.5) / samples
        x = ((corner[:, :1] + steps) / self.size - t["x"][at][:, None]) / self.unit[:, None] + self.centre[:, :1]
        y = (t["y"][at][:, None] - (corner[:, 1:] + steps) / self.size) / self.unit[:, None] + self.centre[:, 1:2]
        return x, y

    def _placed(self, window: Tensor, corner: Tensor, side: int) -> Tensor:
        """Put windows (object, channel, side, side) where they belong in empty images."""
        n, channels = window.shape[:2]
        steps = torch.arange(side, device=corner.device)
        place = ((corner[:, 1:] + steps) * self.size)[:, :, None] + (corner[:, :1] + steps)[:, None, :]
        full = torch.zeros(n, channels, self.size * self.size, device=window.device)
        full.scatter_(2, place.reshape(n, 1, -1).expand(n, channels, -1), window.reshape(n, channels, -1))
        return full.reshape(n, channels, self.size, self.size)


def _whole(reach: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return what an object reaches, of what its parts do; each (object, 3)."""
    return reach[0].amin(1), reach[1].amax(1)


def _upright(yaw: Tensor, roll: Tensor) -> Tensor:
    """Return rotations by yaw about the vertical, then by roll about the line of sight; (object, 3, 3)."""
    (sy, cy), (sr, cr) = sine_cosine(yaw), sine_cosine(roll)
    zero = torch.zeros_like(sy)
    rows = [[cr * cy, -sr, cr * sy], [sr * cy, cr, sr * sy], [-sy, zero, cy]]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _tipped(sin: Tensor, cos: Tensor) -> Tensor:
    """Return rotations that tip the world toward a camera looking down by an angle; (object, 3, 3)."""
    zero, one = torch.zeros_like(sin), torch.ones_like(sin)
    rows = [[one, zero, zero], [zero, cos, -sin], [zero, sin, cos]]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _turned(rotation: Tensor, vector: Tensor) -> Tensor:
    """Rotate vectors (object, 3)."""
    return torch.stack(
        [
            rotation[:, k, 0] * vector[:, 0] + rotation[:, k, 1] * vector[:, 1] + rotation[:, k, 2] * vector[:, 2]
            for k in range(3)
        ],
        1,
    )


def _after(second: Tensor, first: Tensor) -> Tensor:
    """Return the rotation `second` after `first`, (object, 3, 3), in a fixed order of sums."""
    return torch.stack([_turned(second, first[:, :, k]) for k in range(3)], 2)


def _developed(light: Tensor) -> Tensor:
    """Turn linear light into display values: a soft shoulder for what is bright (white at 2.2), gamma 2."""
    exposed = light.mul_(1.12)
    shoulder = exposed * (1.0 / 4.84) + 1.0
    shoulder *= exposed
    shoulder /= exposed.mul_(0.62).add_(1.0)
    return shoulder.clamp_(0.0, 1.0).sqrt_()


def _rows(size: int, device: torch.device) -> Tensor:
    """Return the heights of pixel rows, shares of the side."""
    return (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size


def _boxes(masks: Tensor) -> Tensor:
    """Return the tight boxes of masks, zeros where a mask is empty."""
    size = masks.shape[-1]
    steps = torch.arange(size, device=masks.device)
    across, down = masks.any(2), masks.any(3)
    first = [torch.where(line, steps, size).amin(-1) for line in (across, down)]
    last = [torch.where(line, steps + 1, 0).amax(-1) for line in (across, down)]
    boxes = torch.stack([first[0], first[1], last[0], last[1]], -1)
    return torch.where(masks.any(3).any(2)[..., None], boxes, 0)


def _areas(masks: Tensor) -> Tensor:
    """Return the share of the image that masks cover."""
    return masks.sum((2, 3)).to(torch.float32) / (masks.shape[-1] * masks.shape[-1])
