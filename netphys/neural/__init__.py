"""What does the brain do? Neural data from files, behaviour, and a simulated cortex whose truth is known.

:func:`load_neural` turns an address into :class:`NeuralData`: RDMs of subjects, an assembly of responses, or behaviour;
:func:`understand` says what was read and how good it is. Everything else takes an assembly and gives one. Names load
when they are used: nothing heavy is imported until a file is read.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netphys.neural.cortex.law import simulate_cortex, true_responses
    from netphys.neural.cortex.noise import TrialNoise
    from netphys.neural.cortex.v1 import v1_features
    from netphys.neural.cortex.v4 import v4_features
    from netphys.neural.data import NeuralData
    from netphys.neural.files.ids import read_ids
    from netphys.neural.files.netcdf import read_assembly, write_assembly
    from netphys.neural.loading import load_neural
    from netphys.neural.operations.averaging import average, average_repetitions, from_repetitions, repetitions
    from netphys.neural.operations.joining import common_stimuli, match
    from netphys.neural.operations.pooling import pool, pseudo_population, require_simultaneous
    from netphys.neural.operations.selecting import select, where
    from netphys.neural.operations.sessions import z_score
    from netphys.neural.operations.stacking import stack_sessions
    from netphys.neural.operations.subsampling import population_sizes, subsample, subsamples
    from netphys.neural.operations.windows import in_unit, rebin, sliding_windows, window
    from netphys.neural.quality.ceilings import ceiling, drop_unreliable, noise_corrected
    from netphys.neural.quality.reliability import Reliability, reliability
    from netphys.neural.quality.split_halves import spearman_brown
    from netphys.neural.spikes import count_spikes, spike_rates
    from netphys.neural.telling.describing import describe_file
    from netphys.neural.telling.understanding import Understanding, understand

_HOMES = {
    "data": ("NeuralData",),
    "loading": ("load_neural",),
    "telling.describing": ("describe_file",),
    "telling.understanding": ("Understanding", "understand"),
    "files.ids": ("read_ids",),
    "files.netcdf": ("read_assembly", "write_assembly"),
    "operations.averaging": ("average", "average_repetitions", "from_repetitions", "repetitions"),
    "operations.joining": ("common_stimuli", "match"),
    "operations.pooling": ("pool", "pseudo_population", "require_simultaneous"),
    "operations.selecting": ("select", "where"),
    "operations.sessions": ("z_score",),
    "operations.stacking": ("stack_sessions",),
    "operations.subsampling": ("population_sizes", "subsample", "subsamples"),
    "operations.windows": ("in_unit", "rebin", "sliding_windows", "window"),
    "quality.reliability": ("Reliability", "reliability"),
    "quality.split_halves": ("spearman_brown",),
    "quality.ceilings": ("ceiling", "drop_unreliable", "noise_corrected"),
    "spikes": ("count_spikes", "spike_rates"),
    "cortex.law": ("simulate_cortex", "true_responses"),
    "cortex.noise": ("TrialNoise",),
    "cortex.v1": ("v1_features",),
    "cortex.v4": ("v4_features",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = ("behaviour", "catalogue", "cortex", "files", "operations", "quality", "telling")

__all__ = [
    "NeuralData",
    "Reliability",
    "TrialNoise",
    "Understanding",
    "average",
    "average_repetitions",
    "ceiling",
    "common_stimuli",
    "count_spikes",
    "describe_file",
    "drop_unreliable",
    "from_repetitions",
    "in_unit",
    "load_neural",
    "match",
    "noise_corrected",
    "pool",
    "population_sizes",
    "pseudo_population",
    "read_assembly",
    "read_ids",
    "rebin",
    "reliability",
    "repetitions",
    "require_simultaneous",
    "select",
    "simulate_cortex",
    "sliding_windows",
    "spearman_brown",
    "spike_rates",
    "stack_sessions",
    "subsample",
    "subsamples",
    "true_responses",
    "understand",
    "v1_features",
    "v4_features",
    "where",
    "window",
    "write_assembly",
    "z_score",
]


def __getattr__(name: str) -> Any:
    """Load what holds `name` on first use (PEP 562)."""
    if name in _ROOMS:
        return importlib.import_module(f"netphys.neural.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"netphys.neural.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'netphys.neural' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})
