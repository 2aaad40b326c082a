"""Crowded images: a target among flankers, at a stated spacing, on a grey screen.

References
----------
Bouma H. (1970). Interaction effects in parafoveal letter recognition. Nature 226, 177-178. doi:10.1038/226177a0
Toet A., Levi D.M. (1992). The two-dimensional shape of spatial interaction zones in the parafovea. Vision Res 32,
1349-1357. doi:10.1016/0042-6989(92)90227-A (radial and tangential flankers)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError, StimulusError, near
from netphys.stimuli.classic.limits import counted, numbers, seed_of, whole
from netphys.stimuli.classic.screen import Screen
from netphys.stimuli.classic.varied import Made, Stimuli, as_float, as_set, variant_generator, varied_set
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["crowded"]

Arrangement = Literal["radial", "tangential", "ring"]

_ARRANGEMENTS = ("radial", "tangential", "ring")


@dataclass(frozen=True)
class _Places:
    """Where target and flankers lie, pixels of the screen from its middle, x right and y up; and how large they are."""

    target: tuple[float, float]
    flankers: tuple[tuple[float, float], ...]
    side: int  # pixels, of the longer side


def crowded(
    stimuli: Stimuli,
    *,
    n: int = 1,
    n_flankers: int = 2,
    spacing: float = 1.25,
    spacing_in: Literal["targets", "units"] = "targets",
    arrangement: Arrangement = "radial",
    flankers: Stimuli | None = None,
    target_size: float | None = None,
    position: tuple[float, float] = (0.0, 0.0),
    alpha: str | None = None,
    fill: float = 0.5,
    size: int = 224,
    degrees: float | None = None,
    seed: int = 0,
) -> StimulusSet:
    """Show each image among flankers.

    Parameters
    ----------
    stimuli : StimulusSet, address or array
        Targets, of any sizes.
    n : int
        Of each target, with flankers of its own.
    n_flankers : int
        How many; 0: the target alone, at the same place, to compare with.
    spacing : float
        From the target's centre to that of the nearest flankers.
    spacing_in : {"targets", "units"}
        Whether spacing is in sizes of the target or in units of the screen.
    arrangement : {"radial", "tangential", "ring"}
        On the line through the middle of the screen (fixation) and the target, by turns on both sides, the third and
        fourth at twice the spacing; on the line across it; or evenly around the target. Radial for a target in the
        middle is horizontal.
    flankers : StimulusSet, address or array, optional
        What flankers are chosen from, none twice, and never one of the target's id. Default: the stimuli of the set.
    target_size : float, optional
        Longer side that targets and flankers are brought to, units, rounded to pixels. Default: a fifth of the screen.
    position : (float, float)
        Centre of the target, x to the right and y up, units, rounded to pixels.
    alpha : str, optional
        A field (y, x) of targets and flankers, in [0, 1], that says what of the image is shown. Default: all of it.
        Where images overlap, the target lies on top.
    fill : float
        Grey value of the screen, in [0, 1].
    size, degrees
        See :class:`~netphys.stimuli.classic.screen.Screen`.
    seed : int
        Flankers hang on the seed, the target's id and the number of the copy; they are the same for every spacing.

    Returns
    -------
    StimulusSet
        ``image`` float32 in [0, 1], ``mask`` (stimulus, y, x) bool, where the target is. Columns ``position_x``,
        ``position_y``, ``spacing``, ``target_size`` (units), ``arrangement``, ``flanker_1``, ... (ids), and
        ``size``, ``degrees`` and ``unit`` of the screen; those of the original are ``original_size``, ...

    Raises
    ------
    OptionError
        If an option is outside what it means, or something would lie beyond the screen.
    StimulusError
        If there are too few flankers, or the field `alpha` is not there.
    """
    screen, seed = Screen(size, degrees), seed_of(seed)
    stimuli = as_set(stimuli)
    pool = stimuli if flankers is None else as_set(flankers)
    side = screen.extent / 5 if target_size is None else float(target_size)
    if arrangement not in _ARRANGEMENTS:
        raise OptionError(f"no arrangement {arrangement!r}{near(arrangement, _ARRANGEMENTS)}")
    if spacing_in not in ("targets", "units") or not spacing > 0 or not 0 <= fill <= 1:
        raise OptionError(
            f"spacing={spacing}, spacing_in={spacing_in!r}, fill={fill}: a length above 0, in 'targets' or 'units', "
            "and a grey value, 0 to 1"
        )
    apart = spacing * side if spacing_in == "targets" else float(spacing)
    places = _places(screen, side, position, apart, whole("n_flankers", n_flankers, 0, 1000), arrangement)
    for each in (stimuli, pool):
        if alpha is not None and alpha not in each.fields:
            raise StimulusError(f"{each.name} has no field {alpha!r}{near(alpha, each.fields)}")
    chosen = _chosen(stimuli, pool, whole("n", n, 1, 1_000_000), n_flankers, seed)

    def make(row: int, copy: int, rng: np.random.Generator) -> Made:
        canvas = torch.full((3, screen.size, screen.size), fill)
        for which, place in zip(chosen[row * n + copy], places.flankers):
            canvas, _ = _pasted(canvas, *_shown(pool, which, alpha, places.side), place)
        image, mask = _pasted(canvas, *_shown(stimuli, row, alpha, places.side), places.target)
        return {"image": image, "mask": mask}

    recipe = {"made": "crowded", "screen": asdict(screen), "places": asdict(places), "fill": float(fill)}
    return varied_set(
        stimuli,
        make,
        n=n,
        recipe=recipe | {"alpha": alpha, "seed": seed},
        columns=_columns(screen, places, pool, chosen) | {"spacing": apart, "arrangement": arrangement},
        fields=("image", "mask"),
        code=["crowding", "screen"],
        pool=pool if n_flankers else None,
        screen=screen,
    )


def _columns(screen: Screen, places: _Places, pool: StimulusSet, chosen: list[list[int]]) -> dict[str, Any]:
    """Columns of where the target is, and of which flankers are shown."""
    scale = screen.pixels_per_unit
    columns: dict[str, Any] = {
        "position_x": places.target[0] / scale,
        "position_y": places.target[1] / scale,
        "target_size": places.side / scale,
        "n_flankers": len(places.flankers),
    }
    for index in range(len(places.flankers)):
        columns[f"flanker_{index + 1}"] = [pool.ids[each[index]] for each in chosen]
    return columns


def _places(
    screen: Screen, side: float, position: tuple[float, float], apart: float, n_flankers: int, arrangement: str
) -> _Places:
    """Lay target and flankers out, or say that something lies beyond the screen."""
    scale = screen.pixels_per_unit
    pixels = round(side * scale)
    if len(numbers("position", position)) != 2:
        raise OptionError(f"position={position}: two numbers, x to the right and y up")
    if pixels < 1:
        raise OptionError(f"target_size={side:g}: at least one pixel, {counted(1 / scale, screen.unit)}")
    x, y = position
    along = np.arctan2(y, x) + (np.pi / 2 if arrangement == "tangential" else 0.0)
    centres = []
    for index in range(n_flankers):
        if arrangement == "ring":
            angle, distance = along + 2 * np.pi * index / n_flankers, apart
        else:
            angle, distance = along + np.pi * (index % 2), apart * (1 + index // 2)
        centres.append((x + distance * np.cos(angle), y + distance * np.sin(angle)))
    corner = (screen.size - pixels) / 2  # centres are rounded such that tiles lie on whole pixels
    laid = [
        tuple(float(np.round(each * scale - corner % 1) + corner % 1) for each in place)
        for place in (position, *centres)
    ]
    if any(abs(each) > corner for place in laid for each in place):
        reach = max(abs(each) for place in laid for each in place) / scale + side / 2
        raise OptionError(
            f"target and flankers reach {counted(reach, screen.unit)} from the middle of a screen that ends at "
            f"{screen.extent / 2:g}; take a smaller target_size or spacing, or a larger screen"
        )
    (target, *others) = [(place[0], place[1]) for place in laid]
    return _Places(target, tuple(others), pixels)


def _chosen(stimuli: StimulusSet, pool: StimulusSet, n: int, n_flankers: int, seed: int) -> list[list[int]]:
    """Choose flankers for each copy of each target: positions in the pool, never the target itself."""
    chosen = []
    place = {each: index for index, each in enumerate(pool.ids)}
    shared = any(each in place for each in stimuli.ids)
    if len(pool) - shared < n_flankers:
        raise StimulusError(
            f"{counted(n_flankers, 'flanker')} of {pool.name}, which has {counted(len(pool), 'stimulus', 'stimuli')}"
            + ", the target among them" * shared
        )
    for stimulus_id in stimuli.ids:
        others = np.delete(np.arange(len(pool)), [place[stimulus_id]] if stimulus_id in place else [])
        for copy in range(n):
            rng = variant_generator(seed, "crowded", stimulus_id, copy)
            chosen.append(rng.permutation(others)[:n_flankers].tolist())
    return chosen


def _shown(stimuli: StimulusSet, row: int, alpha: str | None, side: int) -> tuple[Tensor, Tensor]:
    """An image and what of it is shown, brought to a size, the image multiplied with it: (3, y, x), (y, x)."""
    image = as_float(stimuli.images([row])[0])
    part = torch.ones(image.shape[-2:]) if alpha is None else as_float(torch.as_tensor(stimuli.get([row], alpha)[0]))
    if part.shape != image.shape[-2:]:
        raise StimulusError(
            f"{stimuli.ids[row]}: field {alpha} is {tuple(part.shape)}, its image {tuple(image.shape[-2:])} pixels"
        )
    planes = torch.cat([image * part, part[None]])[None]
    factor = side / max(image.shape[-2:])
    wanted = [max(1, round(each * factor)) for each in image.shape[-2:]]
    if wanted != list(image.shape[-2:]):
        planes = torch.nn.functional.interpolate(planes, size=wanted, mode="bilinear", antialias=True)
    return planes[0, :3], planes[0, 3]


def _pasted(canvas: Tensor, image: Tensor, part: Tensor, centre: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Lay an image over a canvas; and where it now is."""
    height, width = part.shape
    middle = (canvas.shape[-1] - 1) / 2
    left, top = round(middle + centre[0] - (width - 1) / 2), round(middle - centre[1] - (height - 1) / 2)
    canvas, mask = canvas.clone(), torch.zeros(canvas.shape[-2:], dtype=torch.bool)
    under = canvas[:, top : top + height, left : left + width]
    canvas[:, top : top + height, left : left + width] = (image + (1 - part) * under).clamp(0, 1)
    mask[top : top + height, left : left + width] = part > 0.5
    return canvas, mask
