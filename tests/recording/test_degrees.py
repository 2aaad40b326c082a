"""A network that crops sees fewer degrees than the stimuli say; the recording knows how many."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

import netphys
from netphys.stimuli import StimulusSet

GRATINGS = "classic:gratings?spatial_frequency=1&size=64&degrees=8"


def _recorded(network: str, stimuli: StimulusSet | str) -> dict:
    return netphys.record(network, stimuli, layers=["features.0"], keep="mean").header["provenance"]


def test_a_crop_is_told_in_degrees(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = _recorded("torchvision:alexnet", GRATINGS)  # 256 pixels, of which the middle 224 are seen
    assert made["degrees_seen"] == pytest.approx(7) and made["stimuli_address"] == GRATINGS
    assert "sees 7 of the 8 degrees" in caplog.text and "?resize=224 shows all" in caplog.text


def test_all_degrees_are_seen_without_a_crop_and_none_where_nobody_says(caplog: pytest.LogCaptureFixture) -> None:
    assert _recorded("torchvision:alexnet?resize=64", GRATINGS)["degrees_seen"] == 8
    images = np.zeros((1, 3, 64, 64), dtype=np.uint8)
    unsaid = StimulusSet.from_arrays(images, metadata=pd.DataFrame({"stimulus_id": ["a"], "degrees": [np.nan]}))
    assert _recorded("torchvision:alexnet", unsaid)["degrees_seen"] is None
    assert "degrees" not in caplog.text
