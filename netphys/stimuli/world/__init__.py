"""The generated world: images in which every cause is known.

``world:scenes`` are images of textured, shaded objects of eight classes, built of parts, in five kinds of scene. The
kind of scene makes some objects likely (:data:`LIKELY`), none impossible. Shape tells the class, colour does not:
colours follow laws of material (:data:`netphys.stimuli.world.materials.LAWS`) that overlap between classes.

Image `i` of a seed has the same bits whatever else is rendered with it, on the same machine and device: its random
numbers are a hash of seed, index and name, and no operation on it hangs on its batch. All latents are kept.

Examples
--------
>>> from netphys.stimuli.world import render_scenes
>>> scenes = render_scenes(range(2), seed=0, size=32)
>>> tuple(scenes.images.shape), scenes.latents.to_frame()["scene"].isin(SCENE_CLASSES).all().item()
((2, 3, 32, 32), True)
"""

from __future__ import annotations

from netphys.stimuli.world.features import FEATURE_GROUPS, latent_features
from netphys.stimuli.world.latents import LIKELY, MAX_OBJECTS, SCENE_CLASSES, SceneLatents, scene_latents
from netphys.stimuli.world.scenes import Scenes, render_scenes
from netphys.stimuli.world.shapes import OBJECT_CLASSES

__all__ = [
    "FEATURE_GROUPS",
    "LIKELY",
    "MAX_OBJECTS",
    "OBJECT_CLASSES",
    "SCENE_CLASSES",
    "WORLD_VERSION",
    "SceneLatents",
    "Scenes",
    "latent_features",
    "render_scenes",
    "scene_latents",
]

WORLD_VERSION: int = 1  # raised when the pictures of a seed change; part of every digest of generated stimuli
