"""The figures of a study, each a cached step with the numbers behind it; and what the page says below each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from netphys.errors import StudyError, near
from netphys.provenance import code_digest, provenance
from netphys.studies import captions
from netphys.studies.brain import Brain
from netphys.studies.participant import Participant
from netphys.studies.rdm_files import load_rdms, pooled
from netphys.studies.steps import Steps
from netphys.studies.study import FigureOptions, Study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from netphys.stimuli import StimulusSet

__all__ = ["Drawing", "groups_of"]

_MOST_GROUPS = 20  # more names than that cannot be read beside an RDM


@dataclass
class Drawing:
    """Draws what the page shows; :meth:`everything` returns name → caption, in the order of the page."""

    study: Study
    stimuli: StimulusSet
    participants: Mapping[str, Participant]
    brains: Mapping[str, Brain]
    scores: pd.DataFrame
    contrasts: pd.DataFrame | None
    groups: Mapping[str, str]  # category of each stimulus, by id
    folder: Path
    steps: Steps

    def everything(self) -> dict[str, str]:
        """Draw all figures that the study has something for."""
        drawn = [
            self._agreement(), self._differences(), self._curves(), self._filters(), self._rdms(), self._sheet(),
        ]  # fmt: skip
        return {name: caption for each in drawn if each is not None for name, caption in [each]}

    # One method a figure

    def _agreement(self) -> tuple[str, str]:
        """The main figure: what a probe reads out of every layer, where there is one, and agreement with the brain."""
        import pandas as pd

        probed = self.scores[~self.scores["dataset"].isin(self._neural)]
        rows = pd.concat([probed, self._neural_scores], ignore_index=True)

        def draw() -> tuple[Figure, pd.DataFrame]:
            from netphys.figures import agreement_figure

            chance = {str(each): self._chance for each in set(probed["dataset"])}
            return agreement_figure(rows, colours=self.colours, chance=chance), rows

        self._step("agreement", {**self._compared, **self.steps.digests_of("probe/")}, draw)
        caption = captions.agreement_caption(self.study.rsa, self._neural_scores)
        if self.study.probe is not None:
            caption = f"{captions.probe_caption(self.study.probe, probed)} {caption}"
        return "agreement", caption

    def _differences(self) -> tuple[str, str] | None:
        table = self.contrasts
        if table is None or table.empty:
            return None

        def draw() -> tuple[Figure, pd.DataFrame]:
            from netphys.figures import differences_figure

            return differences_figure(table, colours=self.colours), table

        self._step("differences", self.steps.digests_of("contrasts"), draw)
        return "differences", captions.differences_caption(table)

    def _curves(self) -> tuple[str, str] | None:
        trained = [each for each in self.participants.values() if each.entry.train is not None]
        if not trained:
            return None

        def draw() -> tuple[Figure, pd.DataFrame]:
            import pandas as pd

            from netphys.figures import curves_figure
            from netphys.training import load_training

            results = {each.name: load_training(each.home) for each in trained}
            table = pd.concat([result.to_frame().assign(network=name) for name, result in results.items()])
            return curves_figure(results), table.drop(columns="seconds")  # which no two runs share

        self._step("curves", self.steps.digests_of("training/"), draw)
        return "curves", captions.CURVES

    def _filters(self) -> tuple[str, str] | None:
        looked_at = [each for each in self.participants.values() if each.has_units and each.filters is not None]
        if not looked_at:
            return None

        def draw() -> tuple[Figure, pd.DataFrame]:
            import pandas as pd

            from netphys.figures import filters_figure

            banks = {each.name: each.filters for each in looked_at if each.filters is not None}
            table = pd.concat([bank.to_frame().assign(network=name) for name, bank in banks.items()])
            return filters_figure(banks), table

        self._step("filters", {each.name: each.digests["network"] for each in looked_at}, draw)
        return "filters", captions.FILTERS

    def _rdms(self) -> tuple[str, str]:
        rdm_steps = self.steps.digests_of("rdms/")
        groups = list(self.groups.values())

        def draw() -> tuple[Figure, pd.DataFrame]:
            from netphys.figures import rdm_figure

            neural = {name: pooled(load_rdms(brain.path("rdms.h5"))) for name, brain in self.brains.items()}
            networks = {name: load_rdms(each.rdm_path) for name, each in self.participants.items()}
            entries, table = captions.shown_rdms(neural, networks, self._neural_scores)
            return rdm_figure(entries, groups=self.groups or None), table

        inputs = {**self._compared, **rdm_steps, "groups": groups, "code": code_digest("studies")}
        self._step("rdms", inputs, draw)
        n_stimuli = self._neural_scores["n_stimuli"]
        return "rdms", captions.rdm_caption(
            self.study.neural[-1].name,
            self.study.figures.groups if self.groups else "",
            n_shared=min(n_stimuli) if n_stimuli.nunique() > 1 else None,
        )

    def _sheet(self) -> tuple[str, str]:
        def draw() -> tuple[Figure, None]:
            from netphys.figures import sheet_figure

            return sheet_figure(self.stimuli), None

        self._step("stimuli", {"stimuli": self.stimuli.digest}, draw)
        return "stimuli", captions.sheet_caption(len(self.stimuli))

    # What they share

    def _step(
        self, name: str, inputs: Mapping[str, Any], draw: Callable[[], tuple[Figure, pd.DataFrame | None]]
    ) -> None:
        """Draw and save one figure, unless it is there already."""

        def make() -> Sequence[Path]:
            from netphys.figures import save_figure

            made = provenance("run_study", msgspec.to_builtins(self.study), dict(inputs), seed=self.study.seed)
            figure, data = draw()
            return save_figure(figure, self.folder / "figures" / name, data=data, made=made)

        code = code_digest("figures", "rsa", "units", "probes", "training", "inference", "colours")
        depends = {"inputs": list(inputs.items()), "colours": self.colours, "code": code}
        self.steps.run(f"figures/{name}", depends, make)

    @cached_property
    def _neural_scores(self) -> pd.DataFrame:
        """The comparisons with neural data: all rows but those of the probe."""
        return self.scores[self.scores["dataset"].isin(self._neural)]

    @property
    def _neural(self) -> list[str]:
        return [entry.name for entry in self.study.neural]

    @property
    def _chance(self) -> float:
        """What a constant answer to the probe reaches, the same for all networks."""
        return next(iter(self.participants.values())).probe_result.chance

    @cached_property
    def _compared(self) -> dict[str, str]:
        """What the comparisons were made of; the last set of neural data chooses the layers that are shown."""
        return self.steps.digests_of("rsa/", "neural/")

    @cached_property
    def colours(self) -> dict[str, str]:
        """One colour a network, the same in all figures."""
        from netphys.colours import colours_of

        return colours_of(self.participants)


def groups_of(study: Study, stimuli: StimulusSet) -> dict[str, str]:
    """Category of each stimulus, by id; empty where the stimuli have no such column, or too many categories.

    Raises
    ------
    StudyError
        If the study names a column that there is not.
    """
    metadata, column = stimuli.metadata, study.figures.groups
    if column not in metadata:
        if column != FigureOptions().groups:
            raise StudyError(f"[figures] groups: stimuli have no column {column!r}{near(column, metadata.columns)}")
        return {}
    found = {str(row["stimulus_id"]): str(row[column]).replace("_", " ") for _, row in metadata.iterrows()}
    return found if len(set(found.values())) <= _MOST_GROUPS else {}
