"""What is shown? Sets of stimuli, read from files or generated, each stimulus with a ``stimulus_id``."""

from netphys.stimuli.loading import as_stimuli, load_stimuli
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["StimulusSet", "as_stimuli", "load_stimuli"]
