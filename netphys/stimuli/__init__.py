"""What is shown? Sets of stimuli, read from files or generated, each stimulus with a ``stimulus_id``; and views."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from netphys.stimuli.loading import as_stimuli, load_stimuli
from netphys.stimuli.stimulus_set import StimulusSet

if TYPE_CHECKING:
    from netphys.stimuli.views import Blur, Crop, Jitter, ViewLaw, apply_views, make_views

_VIEWS = ("Blur", "Crop", "Jitter", "ViewLaw", "apply_views", "make_views")

__all__ = [
    "Blur",
    "Crop",
    "Jitter",
    "StimulusSet",
    "ViewLaw",
    "apply_views",
    "as_stimuli",
    "load_stimuli",
    "make_views",
]


def __getattr__(name: str) -> Any:
    """Load views, which need torch, on first use (PEP 562)."""
    if name in _VIEWS:
        value = getattr(importlib.import_module("netphys.stimuli.views"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'netphys.stimuli' has no attribute {name!r}")
