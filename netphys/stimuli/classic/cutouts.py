"""Objects on backgrounds: cut-outs at drawn positions, sizes and angles, on pictures that have nothing to do with them.

The plan is that of the HvM stimuli (Majaj et al. 2015; Yamins et al. 2014): each object is shown with no, medium or
high variation of where, how large and how turned it is, and its background is drawn independently of it. Theirs are
rendered and turned in depth; cut-outs are turned in the plane of the picture only.

References
----------
Majaj N.J., Hong H., Solomon E.A., DiCarlo J.J. (2015). Simple learned weighted sums of inferior temporal neuronal
firing rates accurately predict human core object recognition performance. J Neurosci 35, 13402-13418.
doi:10.1523/JNEUROSCI.5181-14.2015
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from netphys.errors import OptionError, StimulusError, near
from netphys.stimuli.classic.cutting_out import as_cutouts
from netphys.stimuli.classic.limits import seed_of, whole
from netphys.stimuli.classic.screen import Screen
from netphys.stimuli.classic.varied import Made, Stimuli, as_float, as_set, variant_generator, varied_set
from netphys.stimuli.classic.warping import extent_of, placed, squared
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["LEVELS", "Level", "objects_on_backgrounds"]


@dataclass(frozen=True)
class Level:
    """How much position, size and angle of objects vary.

    Parameters
    ----------
    name : str
        Column ``level``, and part of the ids.
    position : float
        x and y are drawn evenly from -position to position, in sides of the screen.
    size : (float, float)
        Sizes are drawn evenly in their logarithm between these multiples of the usual size.
    rotation : float
        Angles are drawn evenly from -rotation to rotation, degrees.

    Raises
    ------
    OptionError
        If a range is none.
    """

    name: str
    position: float
    size: tuple[float, float]
    rotation: float

    def __post_init__(self) -> None:
        low, high = self.size
        if not (0 <= self.position <= 1 and 0 < low <= high < np.inf and 0 <= self.rotation <= 180):
            raise OptionError(
                f"level {self.name!r}: position={self.position} in sides of the screen, 0 to 1; size={self.size}, the "
                f"least and the largest multiple; rotation={self.rotation} degrees, 0 to 180"
            )


# Ranges of our own: with objects of the usual size, at the high level few leave the screen by more than a third.
LEVELS = {
    each.name: each
    for each in (
        Level("low", 0.0, (1.0, 1.0), 0.0),
        Level("medium", 0.15, (1 / 1.3, 1.3), 45.0),
        Level("high", 0.3, (1 / 1.6, 1.6), 90.0),
    )
}


class _Drawn(NamedTuple):
    """What is drawn for one image; lengths in pixels."""

    x: float
    y: float
    size: float
    rotation: float
    background: int  # position in the set; -1: grey


def objects_on_backgrounds(
    cutouts: Stimuli | Sequence[Any],
    backgrounds: Stimuli | None = None,
    *,
    level: str | Level = "medium",
    n_per_object: int = 10,
    object_size: float | None = None,
    size: int = 224,
    degrees: float | None = None,
    seed: int = 0,
) -> StimulusSet:
    """Show objects on backgrounds.

    Parameters
    ----------
    cutouts : StimulusSet, address, folder, array or sequence of array
        Objects of any sizes, with fields ``image`` and ``mask`` (y, x), bool or in [0, 1]; a folder of transparent
        pictures; or pictures with an alpha channel: see :mod:`netphys.stimuli.classic.cutting_out`.
    backgrounds : StimulusSet, address or array, optional
        Images; the largest square in the middle of each is used. Default: mean grey.
    level : {"low", "medium", "high"} or Level
        How much position, size and angle vary; ``"low"``: not at all.
    n_per_object : int
        Images of each object.
    object_size : float, optional
        The usual size: longer side of the box around an upright object, units. Default: 0.4 of the screen.
    size, degrees
        See :class:`~netphys.stimuli.classic.screen.Screen`.
    seed : int
        What is drawn hangs on the seed, the level's name, the object's id and the number of the image.

    Returns
    -------
    StimulusSet
        ``image`` float32 in [0, 1], ``mask`` (stimulus, y, x) float32, the share of each pixel that the object covers:
        where it is 0 the image is the background, unchanged. Columns ``object``, ``category`` (where cut-outs have
        it), ``background`` (id), ``level``, ``position_x`` and ``position_y`` (of the object's centre of mass, from the
        middle of the screen, y up) and ``object_size``, in units, ``rotation``, degrees counter-clockwise, and the
        screen's ``size``, ``degrees`` and ``unit``; those of the cut-out are ``original_size``, ... An object may lie
        in part beyond the screen.

    Raises
    ------
    OptionError
        If an option is outside what it means.
    StimulusError
        If cut-outs have no mask, or an object has no pixel (when it is read).

    Examples
    --------
    >>> disc = np.hypot(*np.mgrid[-9:10, -9:10]) < 9
    >>> objects_on_backgrounds([np.stack([disc] * 4).astype(np.uint8) * 255], n_per_object=2, size=64).ids
    ('0~on_background_medium-0', '0~on_background_medium-1')
    """
    screen, seed = Screen(size, degrees), seed_of(seed)
    law = _level(level)
    usual = 0.4 * screen.extent if object_size is None else float(object_size)
    n_per_object = whole("n_per_object", n_per_object, 1, 1_000_000)
    if not 0 < usual < np.inf:
        raise OptionError(f"object_size={usual:g}: above 0 {screen.unit}s")
    objects, grounds = as_cutouts(cutouts), None if backgrounds is None else as_set(backgrounds)
    made = f"on_background_{law.name}"
    count = 0 if grounds is None else len(grounds)

    def draw(rng: np.random.Generator) -> _Drawn:
        return _drawn(rng, law, usual * screen.pixels_per_unit, screen.size, count)

    def make(row: int, copy: int, rng: np.random.Generator) -> Made:
        return _composed(objects, row, grounds, draw(rng), screen.size)

    drawn = [draw(variant_generator(seed, made, each, copy)) for each in objects.ids for copy in range(n_per_object)]
    columns = _columns(screen, drawn, grounds) | {"level": law.name}
    named = objects.metadata["object" if "object" in objects.metadata else "stimulus_id"]
    return varied_set(
        objects,
        make,
        n=n_per_object,
        recipe={"made": made, "screen": asdict(screen), "law": asdict(law), "object_size": usual, "seed": seed},
        columns={"object": np.repeat([str(each) for each in named], n_per_object), **columns},
        fields=("image", "mask"),
        code=["cutouts", "screen", "warping"],
        pool=grounds,
        screen=screen,
    )


def _columns(screen: Screen, drawn: list[_Drawn], backgrounds: StimulusSet | None) -> dict[str, Any]:
    """Columns of what was drawn, lengths in units."""
    scale = screen.pixels_per_unit
    return {
        "background": ["grey" if backgrounds is None else backgrounds.ids[each.background] for each in drawn],
        "position_x": [each.x / scale for each in drawn],
        "position_y": [each.y / scale for each in drawn],
        "object_size": [each.size / scale for each in drawn],
        "rotation": [each.rotation for each in drawn],
    }


def _composed(cutouts: StimulusSet, row: int, backgrounds: StimulusSet | None, drawn: _Drawn, size: int) -> Made:
    """Lay an object over its background."""
    ground = torch.full((3, size, size), 0.5)
    if backgrounds is not None:
        ground = squared(as_float(backgrounds.images([drawn.background])[0]), size)
    part = as_float(torch.as_tensor(cutouts.get([row], "mask")[0]))
    image = as_float(cutouts.images([row])[0])
    if part.shape != image.shape[-2:]:
        raise StimulusError(
            f"cut-out {cutouts.ids[row]}: its mask is {tuple(part.shape)}, its image {tuple(image.shape[-2:])} pixels"
        )
    extent = extent_of(part)
    if not extent:
        raise StimulusError(f"cut-out {cutouts.ids[row]} has no pixel: its mask is empty")
    at, scale = (drawn.x, drawn.y), drawn.size / extent
    colours, mask = placed(image, part, size, centre=at, scale=scale, rotation=drawn.rotation)
    return {"image": (colours + (1 - mask) * ground).clamp(0, 1), "mask": mask}


def _level(level: str | Level) -> Level:
    """A level by its name."""
    if isinstance(level, Level):
        return level
    if level not in LEVELS:
        raise OptionError(f"no level {level!r}{near(str(level), LEVELS)}")
    return LEVELS[level]


def _drawn(rng: np.random.Generator, law: Level, usual: float, side: int, n_backgrounds: int) -> _Drawn:
    """Draw one image's position, size, angle and background, each independently of all else."""
    x, y, turn = rng.uniform(-1, 1, 3)
    low, high = law.size
    larger = low * (high / low) ** rng.uniform()
    background = int(rng.integers(n_backgrounds)) if n_backgrounds else -1
    return _Drawn(
        float(x * law.position * side) + 0.0,  # -0.0 is 0.0
        float(y * law.position * side) + 0.0,
        float(usual * larger),
        float(turn * law.rotation) + 0.0,
        background,
    )
