"""Measurements as rsatoolbox saves them (``Dataset``, ``TemporalDataset``) in HDF5."""

from __future__ import annotations

from pathlib import Path

from netphys.guards import guarded_hdf5, is_hdf5

__all__ = ["is_saved_dataset"]

_SAVED = ("measurements", "obs_descriptors", "channel_descriptors")


def is_saved_dataset(path: Path, group: str | None = None) -> bool:
    """Tell whether rsatoolbox's ``Dataset.save(file_type="hdf5")`` wrote a file, or a group of it."""
    if not is_hdf5(path):
        return False
    with guarded_hdf5(path) as file:
        held = file if group is None else file.get(group, {})
        return all(name in held for name in _SAVED)
