"""One set of neural data in a study: loaded when it must be, written as RDMs, remembered by its facts.

Simulated cortex is not simulated again to learn that nothing changed: its recipe and the stimuli say so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.addresses import split_address
from netphys.errors import NeuralDataError
from netphys.files import ensure_folder, slug, write_json
from netphys.matching import match_stimuli
from netphys.provenance import code_digest, provenance
from netphys.studies.rdm_files import save_rdms
from netphys.studies.steps import Steps
from netphys.studies.study import NeuralEntry

if TYPE_CHECKING:
    from netphys.neural import NeuralData
    from netphys.stimuli import StimulusSet

__all__ = ["Brain"]


@dataclass(frozen=True)
class Brain:
    """The steps of one set of neural data."""

    entry: NeuralEntry
    stimuli: StimulusSet
    folder: Path  # of the study
    method: str  # how RDMs of assemblies are made
    seed: int  # of simulated data whose address names none

    @property
    def name(self) -> str:
        """The name in the study."""
        return self.entry.name

    @property
    def is_simulated(self) -> bool:
        """Whether the address is a recipe, not a file."""
        return self.entry.address.startswith("world:")

    def check(self, models: Sequence[Brain]) -> None:
        """Say a mistake in the file, its stimuli, or those of data taken as a model, before anything is recorded."""
        ids = self.stimuli.ids if self.is_simulated else self.data.stimulus_ids
        for model in models:
            shown = self.stimuli.ids if model.is_simulated else model.data.stimulus_ids
            match_stimuli(shown, ids, model=model.name, data=self.name)

    @cached_property
    def data(self) -> NeuralData:
        """The data, matched with the stimuli that are shown."""
        from netphys.neural import load_neural

        entry = self.entry
        data = load_neural(entry.address, ids=entry.ids or None, stimuli=self.stimuli, name=entry.name, seed=self.seed)
        if data.assembly is not None and data.assembly.dims != ("presentation", "neuroid"):
            axes = " x ".join(map(str, data.assembly.dims))
            raise NeuralDataError(
                f"{entry.name}: {entry.address} is {axes}; a study compares presentation x neuroid, or RDMs: say "
                "?window=START,STOP where it has time bins"
            )
        match_stimuli(self.stimuli.ids, data.stimulus_ids, model=self.stimuli.name, data=entry.name)
        return data

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that the step depends on."""
        if self.is_simulated:
            body, query = split_address(self.entry.address)
            recipe = {"seed": str(self.seed), **query.values}
            source: Any = {"recipe": [body, recipe], "stimuli": self.stimuli.digest}
        else:
            source = self.data.digest
        is_rdms = not self.is_simulated and self.data.kind == "rdms"
        code = code_digest("neural", "rsa", "seeds", "matching", "studies")
        return {"data": source, "method": "given" if is_rdms else self.method, "name": self.name, "code": code}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What is known of the data: kind, subjects, region, source, attributes; after :meth:`run`."""
        return json.loads(self.path("json").read_text()) if self.is_simulated else self._facts()

    def _facts(self) -> dict[str, Any]:
        data = self.data
        attributes = {} if data.assembly is None else {str(key): value for key, value in data.assembly.attrs.items()}
        return {
            "kind": data.kind,
            "subjects": list(data.subjects),
            "region": data.region,
            "source": data.source,
            "has_truth": data.truth is not None,
            "attributes": attributes,
            "n_neuroids": 0 if data.assembly is None else int(data.assembly.sizes["neuroid"]),
            "n_presentations": 0 if data.assembly is None else int(data.assembly.sizes["presentation"]),
        }

    def path(self, kind: str) -> Path:
        """Return a file: ``rdms.h5``, ``truth.h5``, ``nc`` or ``json``."""
        return self.folder / "neural" / f"{slug(self.name)}.{kind}"

    def run(self, steps: Steps) -> str:
        """Write RDMs of the data, of their truth where they have one, the assembly, and the facts."""
        return steps.run(f"neural/{self.name}", self.inputs, self._make)

    def _make(self) -> list[Path]:
        from netphys.neural import write_assembly
        from netphys.rsa import rdms

        data = self.data
        made = provenance("load_neural", {"address": self.entry.address, "method": self.method}, self.inputs)
        ensure_folder(self.path("json").parent)
        paths = [save_rdms(rdms(data, method=self.method), self.path("rdms.h5"), made)]
        if data.truth is not None:
            truth = rdms({"truth": data.truth}, method=self.method, stimulus_ids=data.stimulus_ids)
            paths.append(save_rdms(truth, self.path("truth.h5"), made))
        if data.assembly is not None:
            attributes = {"provenance": json.dumps(made, sort_keys=True)}
            write_assembly(data.assembly.assign_attrs(attributes), self.path("nc"))
            paths.append(self.path("nc"))
        return [*paths, write_json(self.path("json"), self._facts())]
