"""The paper style: sizes of a journal's columns, vector text.

Applied inside a block; no global style is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["COLUMN", "PAGE", "paper_style"]

COLUMN, PAGE = 3.35, 7.0  # inches: one column, and the full width of a page

_SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.5,
    "pdf.fonttype": 42,  # text stays text in vector files
    "svg.fonttype": "none",
    "svg.hashsalt": "netphys",
    "figure.dpi": 150.0,
    "savefig.dpi": 200.0,
    "savefig.facecolor": "white",
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw in the style of a paper inside the block; off screen, nothing global is changed."""
    import matplotlib as mpl

    with mpl.rc_context(_SETTINGS):
        yield
