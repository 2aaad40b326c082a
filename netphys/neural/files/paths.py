"""A path of neural data that leads to a file with something in it."""

from __future__ import annotations

from pathlib import Path

from netphys.errors import NeuralDataError
from netphys.guards import first_line

__all__ = ["existing"]


def existing(path: Path) -> Path:
    """Return `path` if it is a file with something in it.

    Raises
    ------
    NeuralDataError
        If it is absent, a folder, or empty.
    """
    try:
        if path.is_dir():
            raise NeuralDataError(f"{path} is a folder; neural data are a file (.nc, .mat, .npy, .npz, .csv, .h5)")
        if not path.is_file():
            raise NeuralDataError(f"there is no file {path}; give the path of a file of neural data")
        with path.open("rb") as file:
            first = file.read(1)
        if not first:
            raise NeuralDataError(f"{path} is empty (0 bytes); fetch it again")
    except (OSError, ValueError) as error:  # no permission, a name too long, a NUL in the name
        raise NeuralDataError(f"{str(path)!r} cannot be read ({first_line(error)}); give the path of a file") from None
    return path
