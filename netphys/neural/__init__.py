"""What does the brain do? Neural data from files and from a simulated cortex whose truth is known.

:func:`load_neural` turns an address into :class:`NeuralData`: RDMs of subjects, or an assembly of responses. Nothing
heavy is imported until a file is read.
"""

from __future__ import annotations

from netphys.neural.averaging import average_repetitions
from netphys.neural.cortex.law import simulate_cortex, true_responses
from netphys.neural.cortex.v1 import v1_features
from netphys.neural.data import NeuralData
from netphys.neural.describing import describe_file
from netphys.neural.files.ids import read_ids
from netphys.neural.files.netcdf import read_assembly, write_assembly
from netphys.neural.loading import load_neural

__all__ = [
    "NeuralData",
    "average_repetitions",
    "describe_file",
    "load_neural",
    "read_assembly",
    "read_ids",
    "simulate_cortex",
    "true_responses",
    "v1_features",
    "write_assembly",
]
