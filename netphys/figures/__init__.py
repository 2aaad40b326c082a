"""How is it shown? Arranges, styles and saves what the rooms draw; computes nothing."""

from netphys.colours import COLOURS
from netphys.figures.curves import curves_figure
from netphys.figures.differences import differences_figure
from netphys.figures.filters import filters_figure
from netphys.figures.layout import agreement_figure, rdm_figure
from netphys.figures.neural import neural_figure
from netphys.figures.saving import require_picture, save_figure, save_picture
from netphys.figures.sheet import sheet_figure
from netphys.figures.style import paper_style

__all__ = [
    "COLOURS",
    "agreement_figure",
    "curves_figure",
    "differences_figure",
    "filters_figure",
    "neural_figure",
    "paper_style",
    "rdm_figure",
    "require_picture",
    "save_figure",
    "save_picture",
    "sheet_figure",
]
