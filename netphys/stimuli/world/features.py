"""What a simulated inferior temporal cortex is told of an image: its latents as plain numbers."""

from __future__ import annotations

import numpy as np

from netphys.stimuli.world.latents import MAIN_SIZE, MAX_OBJECTS, SCENE_CLASSES, SceneLatents
from netphys.stimuli.world.scenes import Scenes
from netphys.stimuli.world.shapes import OBJECT_CLASSES

__all__ = ["FEATURE_GROUPS", "latent_features"]

FEATURE_GROUPS: tuple[str, ...] = ("object", "scene", "position", "size")

FEATURE_NAMES: tuple[str, ...] = (
    *(f"object:{name}" for name in OBJECT_CLASSES),
    *(f"scene:{name}" for name in SCENE_CLASSES),
    "position:x",
    "position:y",
    "size:log2",
)


def latent_features(latents_or_scenes: SceneLatents | Scenes) -> tuple[np.ndarray, tuple[str, ...]]:
    """Lay out the causes of images as features.

    Parameters
    ----------
    latents_or_scenes : SceneLatents or Scenes
        Of rendered scenes, objects without a visible pixel do not count; of bare latents, all objects do.

    Returns
    -------
    features : ndarray of float64, shape (image, feature)
        In four groups. `object`: one number a class, the area of the largest such object's box over that of the
        largest there may be, in [0, 1], 0 where there is none. `scene`: 1 for the kind of scene, 0 for the others.
        `position`: centre of the main object's box, shares of the image's side from its middle, x to the right, y
        down. `size`: log2 of the larger side of the main object's box over the image's side.
    names : tuple of str
        ``"group:feature"``, as ``"object:car"``.

    Examples
    --------
    >>> from netphys.stimuli.world import scene_latents
    >>> features, names = latent_features(scene_latents(range(4)))
    >>> features.shape, names[0], names[-1]
    ((4, 16), 'object:car', 'size:log2')
    """
    latents = latents_or_scenes.latents if isinstance(latents_or_scenes, Scenes) else latents_or_scenes
    there = latents.object_class >= 0
    if isinstance(latents_or_scenes, Scenes):
        there = there & (latents_or_scenes.visible_area.cpu().numpy() > 0)
    n, row = len(latents), np.arange(len(latents))
    objects = np.zeros((n, len(OBJECT_CLASSES)))
    for slot in range(MAX_OBJECTS):
        area = np.where(there[:, slot], (latents.size[:, slot].astype(np.float64) / MAIN_SIZE[1]) ** 2, 0.0)
        known = np.maximum(latents.object_class[:, slot], 0)
        objects[row, known] = np.maximum(objects[row, known], area)
    scene = np.eye(len(SCENE_CLASSES))[latents.scene]
    main = latents.main
    x, y, size = (each[row, main].astype(np.float64) for each in (latents.x, latents.y, latents.size))
    return np.column_stack([objects, scene, x - 0.5, y - 0.5, np.log2(size)]), FEATURE_NAMES
