"""Features that were computed elsewhere, as a recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netphys.errors import RecordingError
from netphys.numpy_files import npz_headers, read_npy, read_npz
from netphys.recording.reading import Recording

__all__ = ["import_features", "is_foreign"]


def is_foreign(path: Path | str) -> bool:
    """Tell whether an address is of features from elsewhere."""
    return Path(path).suffix in (".npy", ".npz")


def import_features(path: Path | str, stimulus_ids: Sequence[str] | None) -> Recording:
    """Read numpy's files; pickles are refused."""
    path = Path(path)
    if not path.is_file():
        raise RecordingError(f"no recording at {path}")
    if stimulus_ids is None:
        raise RecordingError(f"{path} names no stimuli; name the list that its rows follow (--ids FILE:COLUMN)")
    if path.suffix == ".npy":
        arrays = {path.stem: read_npy(path, mapped=True)}
    else:
        arrays = {name: read_npz(path, name) for name in npz_headers(path)}
    return Recording.from_arrays(arrays, stimulus_ids, name=path.stem)
