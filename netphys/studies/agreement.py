"""The networks of a study against its neural data: scores, references, and what training changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from netphys.files import slug, write_json, write_text
from netphys.provenance import code_digest, provenance
from netphys.scores import read_tidy
from netphys.studies.brain import Brain
from netphys.studies.captions import REFERENCE
from netphys.studies.contrasts import contrast_table, probe_contrasts, rsa_contrasts
from netphys.studies.participant import Participant
from netphys.studies.rdm_files import load_rdms, pooled
from netphys.studies.steps import Steps
from netphys.studies.study import TRUTH, NeuralEntry, Study

if TYPE_CHECKING:
    import pandas as pd
    from rsatoolbox.rdm import RDMs

    from netphys.rsa import RSAResult

__all__ = ["Agreement"]

_CODE = ("rsa", "neural", "inference", "scores", "seeds", "matching", "studies")


@dataclass
class Agreement:
    """The steps that compare participants with brains, in the order of the methods below."""

    study: Study
    participants: Mapping[str, Participant]
    brains: Mapping[str, Brain]
    folder: Path
    steps: Steps
    _results: dict[tuple[str, str], RSAResult] = field(default_factory=dict)  # of this run, by data and model
    _evaluated: dict[tuple[str, str], Callable[[], RSAResult]] = field(default_factory=dict)  # how to make them again

    def score(self) -> list[Path]:
        """Compare every layer of every network with every set of neural data; tidy frames as CSV."""
        parts = []
        for entry in self.study.neural:
            parts += [
                self._evaluate(
                    entry,
                    each.name,
                    {"rdms": each.digests["rdms"]},
                    partial(load_rdms, each.rdm_path),
                    training=each.training,
                )
                for each in self.participants.values()
            ]
            parts += self._references(entry)
        return parts

    def _references(self, entry: NeuralEntry) -> list[Path]:
        """Compare other neural data, and the truth of simulated data, as models of a set."""
        paths = []
        brain = self.brains[entry.name]
        if brain.facts["has_truth"]:
            truth = partial(load_rdms, brain.path("truth.h5"))
            paths.append(self._evaluate(entry, TRUTH, {"truth": brain.inputs}, truth, training=REFERENCE))
        for other in entry.compare_with:
            models = partial(_as_model, self.brains[other].path("rdms.h5"), self.study.rsa.compare)
            inputs = {"other": self.brains[other].inputs}
            paths.append(self._evaluate(entry, other, inputs, models, training=REFERENCE))
        return paths

    def _evaluate(
        self, entry: NeuralEntry, model: str, inputs: Mapping[str, Any], models: Callable[[], Any], *, training: str
    ) -> Path:
        """Score RDMs on a set of neural data; one cached step."""
        options, brain = self.study.rsa, self.brains[entry.name]
        stem = f"{slug(entry.name)}--{slug(model)}"
        path = self.folder / "rsa" / f"{stem}.csv"

        def evaluated() -> RSAResult:
            from netphys.rsa import evaluate

            return evaluate(
                models(),
                load_rdms(brain.path("rdms.h5")),
                method=options.compare,
                n_bootstraps=options.n_bootstraps,
                ceiling_draws=False,
                network=model,
                training=training,
                dataset=entry.name,
                region=brain.facts["region"] or None,
                seed=self.study.seed,
            )

        def make() -> list[Path]:
            result = self._results[entry.name, model] = evaluated()
            result.save(path.parent, stem)
            return [path, path.with_suffix(".json")]

        self._evaluated[entry.name, model] = evaluated

        depends = {
            **inputs,
            "neural": brain.inputs,
            "options": {"compare": options.compare, "n_bootstraps": options.n_bootstraps},
            "labels": [entry.name, model, training],
            "seed": self.study.seed,
            "code": code_digest(*_CODE),
        }
        self.steps.run(f"rsa/{entry.name}/{model}", depends, make)
        return path

    def gather(self, parts: Sequence[Path]) -> pd.DataFrame:
        """Gather all comparisons in ``scores.csv``."""
        import pandas as pd

        frame = pd.concat([read_tidy(path) for path in parts], ignore_index=True)
        inputs = self.steps.digests_of("rsa/", "probe/")

        def make() -> list[Path]:
            made = provenance("run_study", msgspec.to_builtins(self.study), inputs, seed=self.study.seed)
            path = write_text(self.folder / "scores.csv", frame.to_csv(index=False))
            return [path, write_json(self.folder / "scores.json", made)]

        self.steps.run("scores", {"parts": list(inputs.items())}, make)
        return frame

    def contrasts(self) -> pd.DataFrame | None:
        """Compare every trained network with its control, paired; ``contrasts.csv``. None where there is no control."""
        import pandas as pd

        pairs = [each for each in self.participants.values() if each.entry.control]
        if not pairs or not (self.study.rsa.n_bootstraps or self.study.probe):
            return None
        path = self.folder / "contrasts.csv"
        inputs = {
            "pairs": [[each.name, each.entry.control] for each in pairs],
            "compared": list(self.steps.digests_of("rsa/", "probe/", "rdms/", "neural/").items()),
            "code": code_digest(*_CODE, "probes"),
        }

        def make() -> list[Path]:
            rows = [row for each in pairs for row in self._contrasts_of(each, self.participants[each.entry.control])]
            made = provenance("run_study", msgspec.to_builtins(self.study), inputs, seed=self.study.seed)
            write_text(path, contrast_table(rows).to_csv(index=False))
            return [path, write_json(path.with_suffix(".json"), made)]

        self.steps.run("contrasts", inputs, make)
        return pd.read_csv(path, dtype={"layer": str, "network": str, "control": str, "dataset": str})

    def _contrasts_of(self, trained: Participant, control: Participant) -> list[dict[str, Any]]:
        names = {"network": trained.name, "training": trained.training, "control": control.name}
        rows = []
        if trained.probed is not None:
            rows += probe_contrasts(names, trained.probe_result, control.probe_result)
        for entry in self.study.neural if self.study.rsa.n_bootstraps else ():  # no draws, no intervals
            rows += rsa_contrasts(names, self._result(entry.name, trained.name), self._result(entry.name, control.name))
        return rows

    def _result(self, dataset: str, model: str) -> RSAResult:
        """Return a comparison with its draws, which no file holds; made again where its step was reused."""
        if (dataset, model) not in self._results:
            self._results[dataset, model] = self._evaluated[dataset, model]()
        return self._results[dataset, model]


def _as_model(path: Path, method: str) -> dict[str, RDMs]:
    """Take neural data as a model: one RDM, pooled over subjects as the comparison wants it."""
    return {"RDM": pooled(load_rdms(path), method)}
