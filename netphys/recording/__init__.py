"""What do the layers do? Layer names and patterns, hooks, the recorder and the recording file."""

from netphys.recording.file.merging import merge_recordings
from netphys.recording.file.reading import Recording, load_recording
from netphys.recording.file.schema import verify
from netphys.recording.gram_passes import gram
from netphys.recording.hooks import hooks
from netphys.recording.keep import PCA, Projection, Window
from netphys.recording.listing import layers
from netphys.recording.measuring import measure
from netphys.recording.recorder import record
from netphys.recording.sinks import (
    Callback,
    Gram,
    Histogram,
    Moments,
    Quantiles,
    RandomProjection,
    Sink,
    Store,
)

__all__ = [
    "PCA", "Callback", "Gram", "Histogram", "Moments", "Projection", "Quantiles", "RandomProjection", "Recording",
    "Sink", "Store", "Window", "gram", "hooks", "layers", "load_recording", "measure", "merge_recordings", "record",
    "verify",
]  # fmt: skip
