"""RDMs on disk (rsatoolbox's HDF5), committed whole; and subjects pooled into one model."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.files import committing, ensure_folder

if TYPE_CHECKING:
    from rsatoolbox.rdm import RDMs

__all__ = ["load_rdms", "pooled", "save_rdms"]


def save_rdms(rdms: RDMs, path: Path, made: Mapping[str, Any]) -> Path:
    """Commit RDMs, with what made them as an attribute of the file (JSON), which rsatoolbox passes over."""
    import h5py

    whole = io.BytesIO()  # in memory first: HDF5 crashes the process when a disk is full
    rdms.save(whole, file_type="hdf5")
    with h5py.File(whole, "r+") as file:
        file.attrs["provenance"] = json.dumps(made, sort_keys=True)
    ensure_folder(path.parent)
    with committing(path) as temporary:
        temporary.write_bytes(whole.getvalue())
    return path


def load_rdms(path: Path) -> RDMs:
    """Load RDMs."""
    from rsatoolbox.rdm import load_rdm

    return load_rdm(str(path), file_type="hdf5")


def pooled(rdms: RDMs, method: str = "spearman") -> RDMs:
    """Pool RDMs of subjects into the one that agrees best with all under `method`; one RDM stays as it is."""
    if rdms.n_rdm == 1:
        return rdms
    from rsatoolbox.rdm import RDMs

    from netphys.rsa.ceilings import pool

    return RDMs(pool(rdms.get_vectors(), method)[None], pattern_descriptors=rdms.pattern_descriptors)
