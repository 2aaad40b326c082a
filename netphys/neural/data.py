"""Neural data as every other room takes them: RDMs of subjects, or an assembly of responses; the type says which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.assemblies import PSEUDO, as_text, first_presentations, regions_of, subjects_of
from netphys.provenance import digest

if TYPE_CHECKING:
    import rsatoolbox
    import xarray as xr
    from jaxtyping import Float

__all__ = ["NeuralData"]


@dataclass(frozen=True, repr=False, eq=False)
class NeuralData:
    """Neural data of one region, with the stimuli that they belong to.

    Attributes
    ----------
    kind : {"rdms", "assembly", "behaviour"}
        ``"rdms"``: `dissimilarities` is filled; ``"assembly"``: `assembly` is, presentation x neuroid;
        ``"behaviour"``: `assembly` is, presentation x choice (probabilities, or 1 at the choice that was made).
    stimulus_ids : tuple of str
        The stimuli: of the RDMs' rows in order, of an assembly in the order of their first presentation.
    subjects : tuple of str
        Animals or persons: one a row of `dissimilarities`; of an assembly those of its coordinate ``animal``
        (of behaviour ``subject``); empty where it has none.
    region : str
        ``"V1" "V2" "V4" "IT"`` or what the data say; ``""`` where nobody said.
    name : str
        The dataset's name in results.
    source : str
        Where the data come from and how they were joined to the stimuli, as a sentence.
    dissimilarities : float64 (subject, pair), or None
        Upper triangles in row order (0,1), (0,2), ...; in the file's own units.
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or None
        Flat coordinates with BrainIO's names; a ``time_bin`` dimension only where there are several bins.
    truth : float64 (stimulus, neuroid), or None
        Noise-free responses of the law behind simulated data, rows as `stimulus_ids`; None for real data.
    """

    kind: Literal["rdms", "assembly", "behaviour"]
    stimulus_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    region: str
    name: str
    source: str
    dissimilarities: Float[np.ndarray, "subject pair"] | None = None
    assembly: xr.DataArray | None = None
    truth: Float[np.ndarray, "stimulus neuroid"] | None = field(default=None)

    @cached_property
    def digest(self) -> str:
        """Digest of the contents: numbers with their unit, ids, subjects and region; never of the path or the name."""
        facts: dict[str, Any] = {"kind": self.kind, "stimulus_ids": list(self.stimulus_ids), "region": self.region}
        facts["subjects"] = list(self.subjects)
        if self.assembly is None:
            return digest({**facts, "dissimilarities": self.dissimilarities})
        coords = {
            str(key): [list(map(str, each.dims)), _plain(each.values)]
            for key, each in sorted(self.assembly.coords.items())
        }
        facts |= {"unit": str(self.assembly.attrs.get("unit", "")), PSEUDO: int(self.assembly.attrs.get(PSEUDO, 0))}
        values = _plain(self.assembly.values)
        return digest({**facts, "dims": list(self.assembly.dims), "values": values, "coords": coords})

    def with_assembly(self, assembly: xr.DataArray, did: str) -> NeuralData:
        """Give the same data with another assembly: what was selected, averaged or pooled of this one.

        Parameters
        ----------
        assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or (presentation, choice) of behaviour
            Stimuli, subjects and region are taken from its coordinates.
        did : str
            What was done, added to `source`: ``"z-scored by session"``.
        """
        ids, _ = first_presentations(assembly["stimulus_id"].values)
        return replace(
            self,
            kind="behaviour" if "choice" in assembly.dims else "assembly",
            stimulus_ids=ids,
            subjects=subjects_of(assembly),
            region="+".join(regions_of(assembly)),
            source=f"{self.source}, {did}" if self.source else did,
            dissimilarities=None,
            assembly=assembly,
            truth=None if self.truth is None or ids != self.stimulus_ids else self.truth,
        )

    def to_rdms(self) -> rsatoolbox.rdm.RDMs:
        """Return the RDMs with their descriptors, for kind ``"rdms"``.

        Returns
        -------
        rsatoolbox.rdm.RDMs
            ``rdm_descriptors``: subject, region, dataset; ``pattern_descriptors``: stimulus_id.

        Raises
        ------
        NeuralDataError
            For an assembly: the room rsa makes its RDMs.
        """
        if self.dissimilarities is None:
            raise NeuralDataError(
                f"{self.name} is an assembly of responses, not RDMs; netphys.rdms(data.assembly) makes RDMs of it"
            )
        from rsatoolbox.rdm import RDMs

        n = len(self.subjects)
        return RDMs(
            self.dissimilarities.copy(),
            rdm_descriptors={"subject": list(self.subjects), "region": [self.region] * n, "dataset": [self.name] * n},
            pattern_descriptors={"stimulus_id": list(self.stimulus_ids)},
        )

    def __repr__(self) -> str:
        where = f" of {self.region}" if self.region else ""
        if self.assembly is None:
            what = f"{len(self.subjects)} RDM{'s' * (len(self.subjects) != 1)}{where} ({_some(self.subjects)})"
            return f"NeuralData({self.name}: {what}, {len(self.stimulus_ids)} stimuli; {self.source})"
        sizes = ", ".join(f"{size} {dim}s" for dim, size in self.assembly.sizes.items())
        who = f" from {len(self.subjects)} animal{'s' * (len(self.subjects) != 1)}" if self.subjects else ""
        what = f"{self.kind}{where}{who}, {sizes}, {len(self.stimulus_ids)} stimuli"
        return f"NeuralData({self.name}: {what}; {self.source})"


def _plain(values: np.ndarray) -> Any:
    """Reduce an array to what :func:`netphys.provenance.digest` takes, whatever a string's width or a byte's order."""
    if values.dtype.kind in "mM":
        return [str(each) for each in values.reshape(-1)]
    if values.dtype.kind in "OSU":
        return as_text(values).reshape(-1).tolist()
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _some(names: Sequence[str], n: int = 4) -> str:
    """Name a few of many."""
    return ", ".join(names[:n]) + (", ..." if len(names) > n else "")
