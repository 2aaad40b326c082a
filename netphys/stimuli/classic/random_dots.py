"""Random dots: a figure in depth, or a motion, that no single picture shows (Julesz 1971; Newsome & Pare 1988)."""

from __future__ import annotations

from netphys.stimuli.classic.kinematogram import kinematograms
from netphys.stimuli.classic.stereogram import stereograms

__all__ = ["kinematograms", "stereograms"]
