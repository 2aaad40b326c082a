"""The whole experiment: the study file, the graph of cached steps, the page."""

from netphys.studies.running import StudyResult, run_study
from netphys.studies.study import Study, read_study

__all__ = ["Study", "StudyResult", "read_study", "run_study"]
