"""Where activations go: sinks are fed inside the hook, several in one pass; one file a sink."""

from netphys.recording.sinks.contract import Sink, sink_name

__all__ = ["Sink", "sink_name"]
