"""What is this unit for? The patches of stimuli that drive it most, and the filters of a first layer."""

from netphys.units.crops import Crops, Pictures, cut_patches, read_pictures
from netphys.units.filters import FilterBank, first_layer_filters
from netphys.units.sheets import choose_units, plot_sheet
from netphys.units.top_patches import TopPatches, top_patches
from netphys.units.top_table import LayerPatches, TopPatchesResult, load_top_patches

__all__ = [
    "Crops",
    "FilterBank",
    "LayerPatches",
    "Pictures",
    "TopPatches",
    "TopPatchesResult",
    "choose_units",
    "cut_patches",
    "first_layer_filters",
    "load_top_patches",
    "plot_sheet",
    "read_pictures",
    "top_patches",
]
