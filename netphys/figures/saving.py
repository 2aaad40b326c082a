"""A figure is saved as PDF and PNG, with the CSV of the numbers that it shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.errors import OptionError, OutputError
from netphys.figures.style import paper_style
from netphys.files import committing, ensure_folder, write_json, write_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["require_picture", "save_figure", "save_picture"]

_METADATA: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": "netphys"},
    ".png": {},
    ".svg": {"Date": None, "Creator": "netphys"},
}


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
    for suffix in (".pdf", ".png"):
        paths.append(_save(figure, stem.with_name(stem.name + suffix)))
    if data is not None:
        paths.append(write_text(stem.with_name(stem.name + ".csv"), data.to_csv(index=False)))
    paths.append(write_json(stem.with_name(stem.name + ".json"), made))
    return paths


def save_picture(figure: Figure, path: Path | str, *, made: dict[str, Any], force: bool = False) -> list[Path]:
    """Save a figure without numbers as one file of the kind that its name says, and what made it beside it.

    Parameters
    ----------
    figure : matplotlib Figure
        What is saved.
    path : Path
        ``.png``, ``.pdf`` or ``.svg``.
    made : dict
        What made it, written beside as JSON (``sheet.png.json``).
    force : bool
        Replace another picture of that name. One that netphys made, as the JSON beside it says, is replaced anyway.

    Raises
    ------
    OptionError
        If the name says another kind.
    OutputError
        If another picture has that name.
    """
    path = require_picture(path, force=force)
    ensure_folder(path.parent)
    return [_save(figure, path), write_json(_beside(path), made)]


def require_picture(path: Path | str, *, force: bool = False) -> Path:
    """Return a path that says which kind of picture it is and is free for one; parameters of :func:`save_picture`."""
    path = Path(path)
    if path.suffix.lower() not in _METADATA:
        raise OptionError(f"{path}: a picture is {', '.join(_METADATA)}; name it {path.name}.png")
    if path.exists() and not _beside(path).exists() and not force:
        raise OutputError(f"{path} is there and was not made by netphys; choose another name, or --force replaces it")
    return path


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _save(figure: Figure, path: Path) -> Path:
    suffix = path.suffix.lower()
    with committing(path) as temporary, paper_style():
        figure.savefig(temporary, format=suffix[1:], metadata=_METADATA[suffix])
    return path
