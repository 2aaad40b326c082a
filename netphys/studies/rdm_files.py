"""RDMs on disk (rsatoolbox's HDF5), committed whole; and subjects pooled into one model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netphys.files import committing, ensure_folder

if TYPE_CHECKING:
    from rsatoolbox.rdm import RDMs

__all__ = ["load_rdms", "pooled", "save_rdms"]


def save_rdms(rdms: RDMs, path: Path) -> Path:
    """Commit RDMs."""
    ensure_folder(path.parent)
    with committing(path) as temporary:
        rdms.save(str(temporary), file_type="hdf5")
    return path


def load_rdms(path: Path) -> RDMs:
    """Load RDMs."""
    from rsatoolbox.rdm import load_rdm

    return load_rdm(str(path), file_type="hdf5")


def pooled(rdms: RDMs) -> RDMs:
    """Pool RDMs of subjects into one: the mean of their ranks; one RDM stays as it is."""
    if rdms.n_rdm == 1:
        return rdms
    from rsatoolbox.rdm import RDMs

    from netphys.rsa.ceilings import pool

    return RDMs(pool(rdms.get_vectors(), "spearman")[None], pattern_descriptors=rdms.pattern_descriptors)
