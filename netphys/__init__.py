"""netphys: electrophysiology for deep nets, and the bridge to the real one.

Rooms load lazily: ``import netphys`` imports neither torch nor pandas. The names below are the verbs that a
script needs; each room (``netphys.rsa``, ``netphys.recording``, ...) can be used alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from netphys._version import __version__

if TYPE_CHECKING:
    from netphys.networks import Network, load_network
    from netphys.neural import load_neural
    from netphys.probes import probe
    from netphys.recording import Recording, hooks, layers, load_recording, record
    from netphys.rsa import compare, evaluate, noise_ceiling, rdms
    from netphys.stimuli import StimulusSet, load_stimuli
    from netphys.studies import run_study
    from netphys.training import load_training, train
    from netphys.units import top_patches

_HOME = {
    "StimulusSet": "stimuli",
    "load_stimuli": "stimuli",
    "Network": "networks",
    "load_network": "networks",
    "record": "recording",
    "layers": "recording",
    "hooks": "recording",
    "Recording": "recording",
    "load_recording": "recording",
    "load_neural": "neural",
    "rdms": "rsa",
    "compare": "rsa",
    "noise_ceiling": "rsa",
    "evaluate": "rsa",
    "run_study": "studies",
    "train": "training",
    "load_training": "training",
    "top_patches": "units",
    "probe": "probes",
}
_ROOMS = (
    "stimuli", "networks", "recording", "objectives", "neural", "training", "units", "probes", "rsa", "figures",
    "studies", "cli", "errors", "inference",
)  # fmt: skip

__all__ = [
    "Network",
    "Recording",
    "StimulusSet",
    "__version__",
    "compare",
    "evaluate",
    "hooks",
    "layers",
    "load_network",
    "load_neural",
    "load_recording",
    "load_stimuli",
    "load_training",
    "noise_ceiling",
    "probe",
    "rdms",
    "record",
    "run_study",
    "top_patches",
    "train",
]


def __getattr__(name: str) -> Any:
    """Load the room that holds `name` on first use (PEP 562)."""
    if name in _ROOMS:
        return importlib.import_module(f"netphys.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"netphys.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'netphys' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})
