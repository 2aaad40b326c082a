"""run_study: a study file in, a folder with networks, recordings, figures, numbers and a page out.

Every step is cached by the digest of all that it depends on; a second run computes nothing, a changed option what
depends on it, and a killed run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from netphys.errors import StudyError
from netphys.studies.agreement import Agreement
from netphys.studies.brain import Brain
from netphys.studies.captions import findings
from netphys.studies.contrasts import contrast_findings
from netphys.studies.drawing import Drawing, groups_of
from netphys.studies.made import Made
from netphys.studies.page import write_page
from netphys.studies.participant import Participant, check_probe
from netphys.studies.steps import Step, Steps, opened
from netphys.studies.study import Study, read_study, with_data

if TYPE_CHECKING:
    import pandas as pd

    from netphys.stimuli import StimulusSet

__all__ = ["StudyResult", "run_study"]


@dataclass(frozen=True, repr=False)
class StudyResult:
    """What a study left behind."""

    folder: Path
    scores: pd.DataFrame  # the tidy frame
    contrasts: pd.DataFrame | None  # trained networks minus their controls, where the study names controls
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        computed = sum(not step.reused for step in self.steps)
        return f"StudyResult({self.folder}: {len(self.steps)} steps, {computed} computed)"

    def to_frame(self) -> pd.DataFrame:
        """Return the tidy frame (:mod:`netphys.scores`)."""
        return self.scores

    def findings(self) -> list[str]:
        """Say which layer of each network agrees best with each set of data, and what training changed."""
        return findings(self.scores) + ([] if self.contrasts is None else contrast_findings(self.contrasts))


def run_study(
    study: Study | Path | str | None = None,
    *,
    settings: Sequence[str] = (),
    out: Path | str = "netphys-out",
    device: str | None = None,
    seed: int | None = None,
    force: bool = False,
) -> StudyResult:
    """Run a study: train, record, look at units, probe, compare with neural data, draw, and write the page.

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


class _Run:
    """One run of a study in its folder."""

    def __init__(self, study: Study, folder: Path, steps: Steps) -> None:
        self.given, self.study, self.folder, self.steps = study, with_data(study), folder, steps
        self._loaded: dict[str, StimulusSet] = {}
        study = self.study
        self.brains = {each.name: Brain(each, self.stimuli, folder, study.rsa.rdm, study.seed) for each in study.neural}
        self.participants = {
            each.name: Participant(each, study, self.stimuli, self.probed, folder, steps, self._load)
            for each in study.networks
        }

    def everything(self) -> StudyResult:
        """Run all steps in their order; mistakes are said before anything is computed."""
        groups = groups_of(self.study, self.stimuli)
        check_probe(self.study, self.probed)
        for brain in self.brains.values():
            brain.check([self.brains[other] for other in brain.entry.compare_with])
        for each in self.participants.values():
            each.check()
        probes = []
        for each in self.participants.values():
            each.train()
            each.record()
            probes.append(each.probe())
        for brain in self.brains.values():
            brain.run(self.steps)
        agreement = Agreement(self.study, self.participants, self.brains, self.folder, self.steps)
        scores = agreement.gather([*agreement.score(), *(path for path in probes if path is not None)])
        contrasts = agreement.contrasts()
        captions = Drawing(
            self.study, self.stimuli, self.participants, self.brains, scores, contrasts, groups, self.folder, self.steps
        ).everything()
        units = {name: each.unit_page() for name, each in self.participants.items() if each.has_units}
        write_page(
            Made(
                study=self.study,
                given=self.given,
                folder=self.folder,
                stimuli=self.stimuli,
                participants=self.participants,
                brains=self.brains,
                scores=scores,
                contrasts=contrasts,
                captions=captions,
                units=units,
                outputs=frozenset(path for step in self.steps.done for path in step.outputs),
            )
        )
        return StudyResult(self.folder, scores, contrasts, tuple(self.steps.done))

    @cached_property
    def stimuli(self) -> StimulusSet:
        """What is shown."""
        entry = self.study.stimuli
        from netphys.stimuli import load_stimuli

        return load_stimuli(entry.address, seed=self.study.seed, skip_broken=entry.skip_broken)

    @cached_property
    def probed(self) -> StimulusSet | None:
        """What the probe is trained and tested on."""
        if self.study.probe is None:
            return None
        return self._load(self.study.probe.stimuli) if self.study.probe.stimuli else self.stimuli

    def _load(self, address: str) -> StimulusSet:
        from netphys.stimuli import load_stimuli

        if address not in self._loaded:
            self._loaded[address] = load_stimuli(address, seed=self.study.seed)
        return self._loaded[address]
