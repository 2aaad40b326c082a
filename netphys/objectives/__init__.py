"""Why does it learn? One objective a file, made by name; beside them what they share: heads, views, collapse."""

from __future__ import annotations

from netphys.objectives.colorization import Colorization
from netphys.objectives.contract import Bits, Clock, Couples, Group, Objective, Spec, Step
from netphys.objectives.making import OBJECTIVES, make_objective
from netphys.objectives.simclr import SimCLR
from netphys.objectives.supervised import Supervised

__all__ = [
    "OBJECTIVES",
    "Bits",
    "Clock",
    "Colorization",
    "Couples",
    "Group",
    "Objective",
    "SimCLR",
    "Spec",
    "Step",
    "Supervised",
    "make_objective",
]
