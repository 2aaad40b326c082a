"""A figure is saved as PDF and PNG, with the CSV of the numbers that it shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.figures.style import paper_style
from netphys.files import committing, ensure_folder, write_json, write_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["save_figure"]


def save_figure(figure: Figure, stem: Path | str, *, data: pd.DataFrame | None, made: dict[str, Any]) -> list[Path]:
    """Save a figure.

    Parameters
    ----------
    figure : matplotlib Figure
        What is saved.
    stem : Path
        Its path without a suffix.
    data : pandas.DataFrame, optional
        The numbers that the figure shows; none for pictures of stimuli.
    made : dict
        What made it (:func:`netphys.provenance.provenance`), written beside as JSON.

    Returns
    -------
    list of Path
        ``.pdf``, ``.png``, ``.json``, and ``.csv`` where there are numbers. The same figure gives the same bytes.
    """
    stem = Path(stem)
    ensure_folder(stem.parent)
    paths = []
    for suffix, metadata in ((".pdf", {"CreationDate": None, "Producer": None, "Creator": "netphys"}), (".png", {})):
        path = stem.with_name(stem.name + suffix)
        with committing(path) as temporary, paper_style():
            figure.savefig(temporary, format=suffix[1:], metadata=metadata)
        paths.append(path)
    if data is not None:
        paths.append(write_text(stem.with_name(stem.name + ".csv"), data.to_csv(index=False)))
    paths.append(write_json(stem.with_name(stem.name + ".json"), made))
    return paths
