"""Do they agree? Representational dissimilarity matrices, their comparison, and what may be concluded from it.

``rdms`` makes RDMs of recordings, neural data and arrays; ``compare`` and ``noise_ceiling`` are the plain measures;
``evaluate`` scores the layers of a network on neural data with intervals from a bootstrap over stimuli. RDMs are
``rsatoolbox.rdm.RDMs`` at the boundary, which is imported only when one is made; plain arrays work everywhere.
"""

from __future__ import annotations

from netphys.rsa.building import rdms
from netphys.rsa.ceilings import NoiseCeiling, noise_ceiling
from netphys.rsa.comparison import COMPARISONS, compare
from netphys.rsa.distances import METHODS, dissimilarities
from netphys.rsa.drawing import plot_rdm
from netphys.rsa.evaluation import evaluate
from netphys.rsa.resampling import bootstrap
from netphys.rsa.results import Difference, RSAResult, compare_models

__all__ = [
    "COMPARISONS",
    "METHODS",
    "Difference",
    "NoiseCeiling",
    "RSAResult",
    "bootstrap",
    "compare",
    "compare_models",
    "dissimilarities",
    "evaluate",
    "noise_ceiling",
    "plot_rdm",
    "rdms",
]
