"""What a run of a study has made: all that its page and its methods section are written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netphys.studies.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from netphys.stimuli import StimulusSet
    from netphys.studies.brain import Brain
    from netphys.studies.participant import Participant

__all__ = ["Made"]


@dataclass(frozen=True)
class Made:
    """Stimuli, networks, neural data, scores and figures of a study."""

    study: Study
    given: Study  # as the user gave it, {data} not yet replaced
    folder: Path
    stimuli: StimulusSet
    participants: Mapping[str, Participant]
    brains: Mapping[str, Brain]
    scores: pd.DataFrame  # the tidy frame
    contrasts: pd.DataFrame | None
    captions: Mapping[str, str]  # figure → caption
    units: Mapping[str, Path]  # network → the page of its units
    outputs: frozenset[str]  # files of this run's steps; others of the folder are of an earlier one

    @property
    def neural_scores(self) -> pd.DataFrame:
        """The comparisons with neural data: all rows but those of the probe."""
        return self.scores[self.scores["dataset"].isin([entry.name for entry in self.study.neural])]

    @property
    def probe_scores(self) -> pd.DataFrame:
        """What the probe read out of every layer; empty where there is none."""
        return self.scores[~self.scores["dataset"].isin([entry.name for entry in self.study.neural])]
