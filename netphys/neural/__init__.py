"""What does the brain do? Neural data from files, behaviour, and a simulated cortex whose truth is known.

:func:`load_neural` turns an address into :class:`NeuralData`: RDMs of subjects, an assembly of responses, or behaviour;
:func:`understand` says what was read and how good it is. Everything else takes an assembly and gives one. Names load
when they are used: nothing heavy is imported until a file is read.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netphys.neural.averaging import average, average_repetitions, from_repetitions, repetitions
    from netphys.neural.ceilings import ceiling, drop_unreliable, noise_corrected
    from netphys.neural.cortex.law import simulate_cortex, true_responses
    from netphys.neural.cortex.noise import TrialNoise
    from netphys.neural.cortex.v1 import v1_features
    from netphys.neural.cortex.v4 import v4_features
    from netphys.neural.data import NeuralData
    from netphys.neural.describing import describe_file
    from netphys.neural.files.ids import read_ids
    from netphys.neural.files.netcdf import read_assembly, write_assembly
    from netphys.neural.joining import common_stimuli, match
    from netphys.neural.loading import load_neural
    from netphys.neural.pooling import pool, pseudo_population, require_simultaneous
    from netphys.neural.reliability import Reliability, reliability
    from netphys.neural.selecting import select, where
    from netphys.neural.sessions import z_score
    from netphys.neural.spikes import count_spikes, spike_rates
    from netphys.neural.stacking import stack_sessions
    from netphys.neural.subsampling import population_sizes, subsample, subsamples
    from netphys.neural.understanding import Understanding, understand
    from netphys.neural.windows import in_unit, rebin, sliding_windows, window

_HOME = {
    "NeuralData": "data", "load_neural": "loading", "describe_file": "describing", "read_ids": "files.ids",
    "read_assembly": "files.netcdf", "write_assembly": "files.netcdf",
    "Understanding": "understanding", "understand": "understanding",
    "window": "windows", "rebin": "windows", "sliding_windows": "windows", "in_unit": "windows",
    "average": "averaging", "average_repetitions": "averaging", "repetitions": "averaging",
    "from_repetitions": "averaging",
    "where": "selecting", "select": "selecting", "z_score": "sessions", "match": "joining",
    "common_stimuli": "joining", "pool": "pooling", "pseudo_population": "pooling", "require_simultaneous": "pooling",
    "stack_sessions": "stacking", "subsample": "subsampling", "subsamples": "subsampling",
    "population_sizes": "subsampling",
    "Reliability": "reliability", "reliability": "reliability", "ceiling": "ceilings",
    "drop_unreliable": "ceilings", "noise_corrected": "ceilings",
    "count_spikes": "spikes", "spike_rates": "spikes",
    "simulate_cortex": "cortex.law", "true_responses": "cortex.law", "TrialNoise": "cortex.noise",
    "v1_features": "cortex.v1", "v4_features": "cortex.v4",
}  # fmt: skip
_ROOMS = ("behaviour", "catalogue", "cortex", "files")

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
