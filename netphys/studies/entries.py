"""What a study file may say: its tables, as types; unknown keys are refused by name."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "TABLES",
    "FigureOptions",
    "NetworkEntry",
    "NeuralEntry",
    "ProbeOptions",
    "RSAOptions",
    "StimuliEntry",
    "Study",
    "TrainEntry",
    "TrainingOptions",
    "UnitOptions",
]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What all tables of a study share: unknown keys are refused."""


class StimuliEntry(_Entry, frozen=True):
    """``[stimuli]``: what is shown."""

    address: str
    skip_broken: bool = False


class TrainingOptions(_Entry, frozen=True):
    """``[training]``: what networks are trained on, and for how long, where their own table does not say it."""

    stimuli: str = ""
    labels: str = "category"
    n_steps: int = 500
    batch_size: int = 128
    held_out: float = 0.1
    precision: str = "auto"


class TrainEntry(_Entry, frozen=True):
    """``[networks.train]``: what this network is trained to do; what is not said is taken from ``[training]``."""

    objective: str
    stimuli: str | None = None
    labels: str | None = None
    n_steps: int | None = None
    batch_size: int | None = None
    rate: float | None = None
    options: dict[str, Any] = {}


class NetworkEntry(_Entry, frozen=True):
    """``[[networks]]``: who looks. `training` overrides what the address says; `control` names its untrained twin."""

    name: str
    address: str
    layers: tuple[str, ...] = ("leaves",)
    training: str = ""
    keep: str = "all"
    train: TrainEntry | None = None
    control: str = ""


class NeuralEntry(_Entry, frozen=True):
    """``[[neural]]``: what the brain did. `compare_with` names other neural data drawn beside, as a model of these."""

    name: str
    address: str
    ids: str = ""
    compare_with: tuple[str, ...] = ()


class RSAOptions(_Entry, frozen=True):
    """``[rsa]``: how RDMs are made and compared."""

    rdm: str = "correlation"
    compare: str = "spearman"
    n_bootstraps: int = 1000


class ProbeOptions(_Entry, frozen=True):
    """``[probe]``: what a linear probe reads out of every layer, and on which stimuli (default: those of the study)."""

    labels: str
    stimuli: str = ""
    groups: str = ""
    test: float = 0.25
    layers: tuple[str, ...] = ()  # default: those that are recorded


class UnitOptions(_Entry, frozen=True):
    """``[units]``: the stimuli that drive every unit most, and the filters of the first layer."""

    n_top: int = 9
    networks: tuple[str, ...] = ()  # default: all that have a convolution


class FigureOptions(_Entry, frozen=True):
    """``[figures]``: `groups` is the column of the stimuli's metadata by which RDMs are sorted."""

    groups: str = "category"


class Study(_Entry, frozen=True):
    """A whole study."""

    title: str
    stimuli: StimuliEntry
    networks: tuple[NetworkEntry, ...]
    neural: tuple[NeuralEntry, ...]
    description: str = ""
    data: str = ""
    seed: int = 0
    device: str = "auto"
    training: TrainingOptions = TrainingOptions()
    rsa: RSAOptions = RSAOptions()
    probe: ProbeOptions | None = None
    units: UnitOptions | None = None
    figures: FigureOptions = FigureOptions()


TABLES: dict[str, type[_Entry]] = {
    "": Study,
    "stimuli": StimuliEntry,
    "training": TrainingOptions,
    "networks": NetworkEntry,
    "networks.train": TrainEntry,
    "neural": NeuralEntry,
    "rsa": RSAOptions,
    "probe": ProbeOptions,
    "units": UnitOptions,
    "figures": FigureOptions,
}
