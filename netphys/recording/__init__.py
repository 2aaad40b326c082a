"""What do the layers do? Layer names and patterns, hooks, the recorder and the recording file."""

from netphys.recording.hooks import hooks
from netphys.recording.listing import layers
from netphys.recording.reading import Recording, load_recording
from netphys.recording.recorder import record
from netphys.recording.schema import verify
from netphys.recording.sinks import Sink

__all__ = ["Recording", "Sink", "hooks", "layers", "load_recording", "record", "verify"]
