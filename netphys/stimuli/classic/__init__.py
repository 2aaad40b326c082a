"""What physiologists show: gratings, Gabors, bars, checkerboards, noise and random dots, drawn when they are read.

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
    from netphys.stimuli.classic.grating import gabors, gratings
    from netphys.stimuli.classic.noise_field import noise
    from netphys.stimuli.classic.random_dots import kinematograms, stereograms
    from netphys.stimuli.classic.screen import Screen

__all__ = [
    "CLASSIC",
    "Screen",
    "bars",
    "checkerboards",
    "gabors",
    "gratings",
    "kinematograms",
    "load_classic",
    "noise",
    "stereograms",
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
_BESIDE = {"Screen": "screen", "load_classic": "addresses"}


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
