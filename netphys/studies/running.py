"""run_study: a study file in, a folder with figures, numbers, recordings and a page out.

Every step is cached by the digest of all that it depends on; a second run computes nothing, a changed option what
depends on it, and a killed run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from netphys.errors import StudyError, near
from netphys.files import slug, write_json, write_text
from netphys.provenance import code_digest, provenance
from netphys.scores import read_tidy
from netphys.studies.brain import Brain
from netphys.studies.captions import REFERENCE, findings
from netphys.studies.made import Made
from netphys.studies.page import write_page
from netphys.studies.rdm_files import load_rdms, pooled, save_rdms
from netphys.studies.steps import Step, Steps, opened
from netphys.studies.study import TRUTH, FigureOptions, NetworkEntry, NeuralEntry, Study, read_study, with_data

if TYPE_CHECKING:
    import pandas as pd

    from netphys.networks import Network
    from netphys.stimuli import StimulusSet

__all__ = ["StudyResult", "run_study"]


@dataclass(frozen=True, repr=False)
class StudyResult:
    """What a study left behind."""

    folder: Path
    scores: pd.DataFrame  # the tidy frame
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        computed = sum(not step.reused for step in self.steps)
        return f"StudyResult({self.folder}: {len(self.steps)} steps, {computed} computed)"

    def to_frame(self) -> pd.DataFrame:
        """Return the tidy frame (:mod:`netphys.scores`)."""
        return self.scores

    def findings(self) -> list[str]:
        """Say, a line a set of neural data and network, which layer agrees best."""
        return findings(self.scores)


def run_study(
    study: Study | Path | str | None = None,
    *,
    settings: Sequence[str] = (),
    out: Path | str = "netphys-out",
    device: str | None = None,
    seed: int | None = None,
    force: bool = False,
) -> StudyResult:
    """Run a study: record its networks, make RDMs, compare them with neural data, draw, and write the page.

    Parameters
    ----------
    study : Study or Path, optional
        A study, or its file. Default: the embedded one, which needs no files.
    settings : sequence of str
        ``"KEY=VALUE"`` changes of the file (:func:`netphys.studies.read_study`).
    out : Path
        The folder that holds everything afterwards.
    device, seed : optional
        Override those of the study.
    force : bool
        Compute everything anew, also in a folder that holds other things.

    Returns
    -------
    StudyResult

    Raises
    ------
    NetphysError
        A mistake in the study, its files or the folder, in one line.
    """
    if not isinstance(study, Study):
        study = read_study(study, settings)
    elif settings:
        raise StudyError("settings change a study's file; change a Study with msgspec.structs.replace")
    given = {key: value for key, value in (("device", device), ("seed", seed)) if value is not None}
    study = msgspec.structs.replace(study, **given)
    if study.seed < 0:
        raise StudyError(f"seed={study.seed}: at least 0")
    folder = Path(out)
    with opened(folder, force=force) as steps:
        return _Run(study, folder, steps).everything()


_MOST_GROUPS = 20  # more names than that cannot be read beside an RDM


class _Run:
    """One run of a study in its folder."""

    def __init__(self, study: Study, folder: Path, steps: Steps) -> None:
        self.given, self.study, self.folder, self.steps = study, with_data(study), folder, steps
        self.brains = {
            entry.name: Brain(entry, self.stimuli, folder, study.rsa.rdm, study.seed) for entry in self.study.neural
        }
        self.digests: dict[str, str] = {}  # of the networks

    def everything(self) -> StudyResult:
        """Run all steps in their order."""
        self.groups  # noqa: B018 - a column that there is not is said before anything is recorded
        for brain in self.brains.values():
            brain.check([self.brains[other] for other in brain.entry.compare_with])
        networks = {entry.name: self._network(entry) for entry in self.study.networks}
        rdm_steps = {entry.name: self._rdms(entry, networks[entry.name]) for entry in self.study.networks}
        for brain in self.brains.values():
            brain.run(self.steps)
        parts = []
        for entry in self.study.neural:
            parts += [
                self._compare(entry, each, networks[each.name], rdm_steps[each.name]) for each in self.study.networks
            ]
            parts += self._references(entry)
        scores = self._scores(parts)
        captions = self._figures(scores, rdm_steps)
        write_page(
            Made(
                self.study, self.given, self.folder, self.stimuli, networks, self.digests, self.brains, scores, captions
            )
        )
        return StudyResult(self.folder, scores, tuple(self.steps.done))

    @cached_property
    def stimuli(self) -> StimulusSet:
        """What is shown."""
        from netphys.stimuli import load_stimuli

        entry = self.study.stimuli
        return load_stimuli(entry.address, seed=self.study.seed, skip_broken=entry.skip_broken)

    # Recording and RDMs

    def _network(self, entry: NetworkEntry) -> Network:
        from netphys.networks import load_network

        return load_network(entry.address, seed=self.study.seed)

    def _rdms(self, entry: NetworkEntry, network: Network) -> str:
        """Record a network and make the RDMs of its layers; two steps."""
        from netphys.recording import load_recording, record
        from netphys.recording.recorder import recording_plan

        options: dict[str, Any] = {
            "layers": entry.layers,
            "keep": entry.keep,
            "device": self.study.device,
            "seed": self.study.seed,
        }
        plan = recording_plan(network, self.stimuli, **options)
        training = entry.training or network.training
        recorded = self.folder / "recordings" / f"{slug(entry.name)}.h5"

        def make_recording() -> list[Path]:
            record(network, self.stimuli, **options, into=recorded, force=True)
            return [recorded]

        def make_rdms() -> list[Path]:
            from netphys.rsa import rdms

            named = replace(load_recording(recorded), name=entry.name, training=training)
            made = rdms(named, method=self.study.rsa.rdm)
            record = provenance("rdms", {"method": self.study.rsa.rdm}, {"recording": digest})
            return [save_rdms(made, self._rdm_path(entry.name), record)]

        self.digests[entry.name] = str(plan["network"])
        digest = self.steps.run(f"recording/{entry.name}", plan, make_recording)
        labels = [entry.name, training]
        inputs = {
            "recording": digest,
            "labels": labels,
            "method": self.study.rsa.rdm,
            "code": code_digest("rsa", "studies"),
        }
        return self.steps.run(f"rdms/{entry.name}", inputs, make_rdms)

    def _rdm_path(self, name: str) -> Path:
        return self.folder / "rdms" / f"{slug(name)}.h5"

    # Comparison

    def _compare(self, entry: NeuralEntry, network: NetworkEntry, loaded: Network, rdm_step: str) -> Path:
        """Compare every layer of a network with a set of neural data."""
        return self._evaluate(
            entry,
            network.name,
            {"rdms": rdm_step},
            lambda: load_rdms(self._rdm_path(network.name)),
            training=network.training or loaded.training,
        )

    def _references(self, entry: NeuralEntry) -> list[Path]:
        """Compare other neural data, and the truth of simulated data, as models of a set."""
        paths = []
        brain = self.brains[entry.name]
        if brain.facts["has_truth"]:
            truth = brain.path("truth.h5")
            inputs = {"truth": brain.inputs}
            paths.append(self._evaluate(entry, TRUTH, inputs, lambda: load_rdms(truth), training=REFERENCE))
        for other in entry.compare_with:
            paths.append(
                self._evaluate(
                    entry,
                    other,
                    {"other": self.brains[other].inputs},
                    partial(_as_model, self.brains[other].path("rdms.h5"), self.study.rsa.compare),
                    training=REFERENCE,
                )
            )
        return paths

    def _evaluate(
        self, entry: NeuralEntry, model: str, inputs: Mapping[str, Any], models: Callable[[], Any], *, training: str
    ) -> Path:
        """Score RDMs on a set of neural data; one cached step."""
        options, brain = self.study.rsa, self.brains[entry.name]
        stem = f"{slug(entry.name)}--{slug(model)}"
        path = self.folder / "rsa" / f"{stem}.csv"

        def make() -> list[Path]:
            from netphys.rsa import evaluate

            result = evaluate(
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
            result.save(path.parent, stem)
            return [path, path.with_suffix(".json")]

        depends = {
            **inputs,
            "neural": brain.inputs,
            "options": {"compare": options.compare, "n_bootstraps": options.n_bootstraps},
            "labels": [entry.name, model, training],
            "seed": self.study.seed,
            "code": code_digest("rsa", "neural", "inference", "scores", "seeds", "matching", "studies"),
        }
        self.steps.run(f"rsa/{entry.name}/{model}", depends, make)
        return path

    def _scores(self, parts: Sequence[Path]) -> pd.DataFrame:
        """Gather all comparisons in ``scores.csv``."""
        import pandas as pd

        frame = pd.concat([read_tidy(path) for path in parts], ignore_index=True)
        inputs = self._digests_of("rsa/")

        def make() -> list[Path]:
            made = provenance("run_study", msgspec.to_builtins(self.study), inputs, seed=self.study.seed)
            path = write_text(self.folder / "scores.csv", frame.to_csv(index=False))
            return [path, write_json(self.folder / "scores.json", made)]

        self.steps.run("scores", {"parts": list(inputs.items())}, make)
        return frame

    def _digests_of(self, *kinds: str) -> dict[str, str]:
        """Return the digests of steps whose names begin so, in the order in which they were run."""
        return {step.name: step.digest for step in self.steps.done if step.name.startswith(kinds)}

    # Figures

    def _figures(self, scores: pd.DataFrame, rdm_steps: Mapping[str, str]) -> dict[str, str]:
        """Draw what the page shows; returns name → caption."""
        from netphys.studies.captions import agreement_caption, rdm_caption, sheet_caption, shown_rdms

        folder = self.folder / "figures"
        compared = self._digests_of("rsa/", "neural/")
        in_order = list(compared.items())  # the last set of neural data chooses the layers that are shown
        code = code_digest("figures", "rsa", "inference", "colours")

        def made(inputs: Mapping[str, Any]) -> dict[str, Any]:
            return provenance("run_study", msgspec.to_builtins(self.study), inputs, seed=self.study.seed)

        def draw_agreement() -> list[Path]:
            from netphys.figures import agreement_figure, save_figure

            return save_figure(agreement_figure(scores), folder / "agreement", data=scores, made=made(compared))

        def draw_rdms() -> list[Path]:
            from netphys.figures import rdm_figure, save_figure

            neural = {name: pooled(load_rdms(brain.path("rdms.h5"))) for name, brain in self.brains.items()}
            networks = {each.name: load_rdms(self._rdm_path(each.name)) for each in self.study.networks}
            entries, table = shown_rdms(neural, networks, scores)
            figure = rdm_figure(entries, groups=self.groups)
            return save_figure(figure, folder / "rdms", data=table, made=made({**compared, **rdm_steps}))

        def draw_sheet() -> list[Path]:
            from netphys.figures import save_figure, sheet_figure

            figure = sheet_figure(self.stimuli)
            return save_figure(figure, folder / "stimuli", data=None, made=made({"stimuli": self.stimuli.digest}))

        groups = list(self.groups.values()) if self.groups else []
        self.steps.run("figures/agreement", {"compared": in_order, "code": code}, draw_agreement)
        rdm_inputs = {"compared": in_order, **rdm_steps, "groups": groups, "code": [code, code_digest("studies")]}
        self.steps.run("figures/rdms", rdm_inputs, draw_rdms)
        self.steps.run("figures/stimuli", {"stimuli": self.stimuli.digest, "code": code}, draw_sheet)
        return {
            "stimuli": sheet_caption(len(self.stimuli)),
            "agreement": agreement_caption(self.study.rsa, scores),
            "rdms": rdm_caption(
                self.study.neural[-1].name,
                self.study.figures.groups if self.groups else "",
                n_shared=min(scores["n_stimuli"]) if scores["n_stimuli"].nunique() > 1 else None,
            ),
        }

    @cached_property
    def groups(self) -> dict[str, str]:
        """Category of each stimulus, by id; empty where the stimuli have no such column."""
        metadata, column = self.stimuli.metadata, self.study.figures.groups
        if column not in metadata:
            if column != FigureOptions().groups:
                raise StudyError(f"[figures] groups: stimuli have no column {column!r}{near(column, metadata.columns)}")
            return {}
        found = {str(row["stimulus_id"]): str(row[column]).replace("_", " ") for _, row in metadata.iterrows()}
        return found if len(set(found.values())) <= _MOST_GROUPS else {}


def _as_model(path: Path, method: str) -> dict[str, RDMs]:
    """Take neural data as a model: one RDM, pooled over subjects as the comparison wants it."""
    return {"RDM": pooled(load_rdms(path), method)}
