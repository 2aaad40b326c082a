"""Where activations go: sinks are fed inside the hook, several in one pass; one file a sink."""

from netphys.recording.sinks.callback import Callback
from netphys.recording.sinks.contract import Mergeable, Sink, require_sinks, sink_name
from netphys.recording.sinks.gram import Gram, GramResult
from netphys.recording.sinks.histogram import Histogram, HistogramResult
from netphys.recording.sinks.moments import LayerMoments, Moments, MomentsResult
from netphys.recording.sinks.projection import ProjectedLayers, RandomProjection
from netphys.recording.sinks.quantiles import LayerQuantiles, Quantiles, QuantilesResult
from netphys.recording.sinks.store import Store

__all__ = [
    "Callback",
    "Gram",
    "GramResult",
    "Histogram",
    "HistogramResult",
    "LayerMoments",
    "LayerQuantiles",
    "Mergeable",
    "Moments",
    "MomentsResult",
    "ProjectedLayers",
    "Quantiles",
    "QuantilesResult",
    "RandomProjection",
    "Sink",
    "Store",
    "require_sinks",
    "sink_name",
]
