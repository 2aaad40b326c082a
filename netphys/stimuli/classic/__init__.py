"""What physiologists show: gratings, bars, noise, random dots, variants of pictures; drawn when they are read.

All are float32 in [0, 1] about mean grey 0.5, in degrees of visual angle where the screen's extent is said, else in
pixels (:mod:`netphys.stimuli.classic.screen` has the coordinates). A stimulus is drawn anew each time, so memory does
not grow with the set; its digest is that of its own parameters and of the code that draws it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netphys.stimuli.classic.addresses import load_classic
    from netphys.stimuli.classic.bar import bars
    from netphys.stimuli.classic.checkerboard import checkerboards
    from netphys.stimuli.classic.crowding import crowded
    from netphys.stimuli.classic.cutouts import objects_on_backgrounds
    from netphys.stimuli.classic.cutting_out import cutouts_from_arrays, cutouts_from_folder, cutouts_from_masks
    from netphys.stimuli.classic.grating import gabors, gratings
    from netphys.stimuli.classic.noise_field import noise
    from netphys.stimuli.classic.occlusion import occluded
    from netphys.stimuli.classic.random_dots import kinematograms, stereograms
    from netphys.stimuli.classic.scrambling import phase_scrambled
    from netphys.stimuli.classic.screen import Screen
    from netphys.stimuli.classic.textures import texture_controls
    from netphys.stimuli.classic.variants import make_variant

__all__ = [
    "CLASSIC",
    "Screen",
    "bars",
    "checkerboards",
    "crowded",
    "cutouts_from_arrays",
    "cutouts_from_folder",
    "cutouts_from_masks",
    "gabors",
    "gratings",
    "kinematograms",
    "load_classic",
    "make_variant",
    "noise",
    "objects_on_backgrounds",
    "occluded",
    "phase_scrambled",
    "stereograms",
    "texture_controls",
]

_WHERE = {
    "gratings": "grating",
    "gabors": "grating",
    "bars": "bar",
    "checkerboards": "checkerboard",
    "noise": "noise_field",
    "stereograms": "random_dots",
    "kinematograms": "random_dots",
}
_BESIDE = {
    "Screen": "screen",
    "crowded": "crowding",
    "cutouts_from_arrays": "cutting_out",
    "cutouts_from_folder": "cutting_out",
    "cutouts_from_masks": "cutting_out",
    "load_classic": "addresses",
    "make_variant": "variants",
    "objects_on_backgrounds": "cutouts",
    "occluded": "occlusion",
    "phase_scrambled": "scrambling",
    "texture_controls": "textures",
}


class _Generators(Mapping[str, Callable[..., Any]]):
    """Name → function that makes the set; its module, and torch with it, is loaded when the function is asked for."""

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return _loaded(_WHERE[name], name)

    def __iter__(self) -> Iterator[str]:
        return iter(_WHERE)

    def __len__(self) -> int:
        return len(_WHERE)


CLASSIC: Mapping[str, Callable[..., Any]] = _Generators()


def __getattr__(name: str) -> Any:
    """Load a generator on first use (PEP 562)."""
    where = {**_WHERE, **_BESIDE}.get(name)
    if where is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _loaded(where, name)


def _loaded(where: str, name: str) -> Any:
    """Load a name, and keep it here: a module of the same name may have taken its place while it was imported."""
    globals()[name] = getattr(importlib.import_module(f"{__name__}.{where}"), name)
    return globals()[name]
