"""What is shown? Sets of stimuli, read from files or generated, each stimulus with a ``stimulus_id``; and views."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from netphys.stimuli.joining import concatenate
from netphys.stimuli.loading import as_stimuli, load_stimuli
from netphys.stimuli.stimulus_set import StimulusSet

if TYPE_CHECKING:
    from netphys.stimuli import classic
    from netphys.stimuli.treatment import Treatment, treat
    from netphys.stimuli.views import Blur, Crop, Jitter, ViewLaw, apply_views, make_views

_LAZY = {
    **dict.fromkeys(("Treatment", "treat"), "treatment"),
    **dict.fromkeys(("Blur", "Crop", "Jitter", "ViewLaw", "apply_views", "make_views"), "views"),
}

__all__ = [
    "Blur",
    "Crop",
    "Jitter",
    "StimulusSet",
    "Treatment",
    "ViewLaw",
    "apply_views",
    "as_stimuli",
    "classic",
    "concatenate",
    "load_stimuli",
    "make_views",
    "treat",
]


def __getattr__(name: str) -> Any:
    """Load what needs torch on first use (PEP 562)."""
    if name == "classic":
        return importlib.import_module("netphys.stimuli.classic")
    if name in _LAZY:
        value = getattr(importlib.import_module(f"netphys.stimuli.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'netphys.stimuli' has no attribute {name!r}")
