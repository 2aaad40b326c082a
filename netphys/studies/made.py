"""What a run of a study has made: all that its page and its methods section are written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netphys.studies.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from netphys.networks import Network
    from netphys.stimuli import StimulusSet
    from netphys.studies.brain import Brain

__all__ = ["Made"]


@dataclass(frozen=True)
class Made:
    """Stimuli, networks, neural data, scores and figures of a study."""

    study: Study
    given: Study  # as the user gave it, {data} not yet replaced
    folder: Path
    stimuli: StimulusSet
    networks: Mapping[str, Network]
    digests: Mapping[str, str]  # of the networks
    brains: Mapping[str, Brain]
    scores: pd.DataFrame  # the tidy frame
    captions: Mapping[str, str]  # figure → caption
