"""What is kept of a map: one file a way, and the text by which a command names it."""

from netphys.recording.keep.contract import KEEPS, Fitted, Keep, Measuring, as_keep
from netphys.recording.keep.maps import grid_side, reduce_map, units_first
from netphys.recording.keep.pca import PCA
from netphys.recording.keep.projection import Projection
from netphys.recording.keep.window import Window

__all__ = [
    "KEEPS", "PCA", "Fitted", "Keep", "Measuring", "Projection", "Window", "as_keep", "grid_side", "reduce_map",
    "units_first",
]  # fmt: skip
