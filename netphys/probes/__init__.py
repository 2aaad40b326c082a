"""What does a layer know? Small readers trained on frozen activations, and tested on stimuli they never saw."""

from netphys.probes.layers import ProbeResult, compare_probes, probe
from netphys.probes.linear import LinearProbe, linear_probe
from netphys.probes.logistic import Logistic, logistic_path

__all__ = ["LinearProbe", "Logistic", "ProbeResult", "compare_probes", "linear_probe", "logistic_path", "probe"]
