"""What a treated set tells of itself: what was clipped of what was read, and what was measured."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from netphys.stimuli import StimulusSet
from netphys.stimuli.treatment import treat

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 3, 20, 24), dtype=np.uint8)


def _set() -> StimulusSet:
    return StimulusSet.from_arrays(PIXELS)


def _everything(shown: StimulusSet) -> torch.Tensor:
    return shown.get(np.arange(len(shown)))


def test_the_share_of_what_was_clipped_is_known_of_what_was_read(caplog: pytest.LogCaptureFixture) -> None:
    treated = treat(_set(), "contrast(3)")
    source, everyone = treated._source, np.arange(7)
    assert np.isnan(source.clipped(everyone)).all() and source.clipped_share(everyone) is None
    with caplog.at_level(logging.WARNING, logger="netphys"):
        treated.get([4])
    assert "of those of the first stimulus read; stimuli.statistics() counts them" in caplog.text
    beyond = ((3 * (torch.from_numpy(PIXELS) / 255 - 0.5)).abs() > 0.50001).float().mean((1, 2, 3)).numpy()
    assert source.clipped([4])[0] == pytest.approx(beyond[4]) and np.isnan(source.clipped([3, 2])).all()
    assert source.clipped_share(everyone) == pytest.approx(beyond[4]) and source.clipped_share([0, 1]) is None
    treated.get([1])
    treated.get([1])  # counts once
    assert source.clipped_share(everyone) == pytest.approx(beyond[[1, 4]].mean())
    assert source.clipped_share([1]) == pytest.approx(beyond[1])
    pair = StimulusSet.from_arrays(fields={"left": PIXELS, "right": np.full_like(PIXELS, 128)})
    both = treat(pair, "contrast(3)")
    both.get([0], "left"), both.get([0], "right")
    assert [float(both._source.clipped([0], each)[0]) for each in ("left", "right")] == pytest.approx([beyond[0], 0])
    assert both._source.clipped_share([0]) == pytest.approx(beyond[0] / 2)
    assert both.statistics(field="left")["clipped"][0] == pytest.approx(beyond[0])


def test_much_more_clipping_than_was_said_first_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    images = np.full((200, 3, 4, 4), 128, np.uint8)
    images[0, 0, 0, 0] = 255
    images[50:] = 255
    treated = treat(StimulusSet.from_arrays(images), "contrast(2)")
    with caplog.at_level(logging.INFO, logger="netphys"):
        for first in range(0, 200, 8):
            treated.get(np.arange(first, first + 8))
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"]
    assert "0.26 % of those of the first 8 stimuli read" in caplog.text  # 1 of 48 values of 1 of 8 stimuli
    assert "by now 21.91 % of the values of 64 stimuli are clipped" in caplog.text  # (14 + 1 / 48) / 64
    caplog.clear()
    even = treat(StimulusSet.from_arrays(images[50:]), "contrast(2)")
    with caplog.at_level(logging.INFO, logger="netphys"):
        for first in range(0, 150, 10):
            even.get(np.arange(first, first + 10))
    assert [each.levelname for each in caplog.records] == ["WARNING"]  # control


def test_what_was_measured_is_there_as_plain_data() -> None:
    steps = ["luminance(sd=0.1)", "spectrum()", "histogram()", "joint(iterations=2)", "rescale()", "luminance()"]
    text = " | ".join(["resize((16, 16)) | grey()", *steps])
    treated = treat(_set(), text)
    found = treated._source.targets
    assert json.loads(json.dumps(found)) == found
    assert list(found) == steps
    planes = _everything(treat(_set(), "resize((16, 16)) | grey()"))[:, 0].double()
    assert found["luminance(sd=0.1)"]["mean"] == pytest.approx(float(planes.mean()), abs=1e-6)
    assert found["spectrum()"]["size"] == [16, 16] and found["spectrum()"]["amplitude"]["shape"] == [12]
    assert found["histogram()"]["cumulated"]["shape"] == [65536]
    assert set(found["rescale()"]) == {"low", "high"} and set(found["joint(iterations=2)"]) == {"histogram", "spectrum"}
    other = treat(_set().subset([0, 1, 2]), text)._source.targets
    assert all(found[each] != other[each] for each in found)  # control
    again = treated.treated("luminance()")._source.targets
    assert list(again) == [*found, "luminance() (2)"] and again["luminance()"] == found["luminance()"]
    assert treat(_set(), "grey() | luminance(0.5, 0.1)")._source.targets == {}  # nothing was measured
