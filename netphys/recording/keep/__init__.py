"""What is kept of a map: one file a way, and the text by which a command names it."""

from netphys.recording.keep.contract import KEEPS, Keep, as_keep
from netphys.recording.keep.maps import grid_side, reduce_map, units_first

__all__ = ["KEEPS", "Keep", "as_keep", "grid_side", "reduce_map", "units_first"]
