"""Animated pictures whose frames last differently long: it is said, as of films."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netphys.stimuli import StimulusSet
from netphys.stimuli.readers.frames import open_film


def picture(number: int) -> np.ndarray:
    """A grey (y, x, 3) of its number."""
    return np.full((12, 16, 3), 40 * number, dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.gif", "a.apng"])
@pytest.mark.parametrize(
    ("durations", "said"),
    [([100, 500, 50, 100], True), ([100, 100, 100, 500], True), ([30, 40, 30, 40], True), ([100] * 4, False)],
)
def test_pictures_of_different_durations_are_said(tmp_path: Path, name: str, durations: list[int], said: bool) -> None:
    images = [Image.fromarray(picture(number)) for number in range(4)]
    form = {"a.gif": "GIF", "a.apng": "PNG"}[name]
    images[0].save(tmp_path / name, format=form, save_all=True, append_images=images[1:], duration=durations)
    shown = StimulusSet.from_video(tmp_path / name)
    assert shown.conversions.get("frames of different durations, by number", 0) == said
    assert shown.metadata["frame_rate"].tolist() == pytest.approx([4000 / sum(durations)])  # the mean
    single = StimulusSet.from_video(tmp_path / name, frames=True)
    assert single.metadata["start_time"].tolist() == pytest.approx((np.cumsum([0, *durations[:3]]) / 1000).tolist())
    assert single.conversions.get("frames of different durations, by number", 0) == 4 * said


def test_durations_in_whole_milliseconds_are_steady(tmp_path: Path) -> None:
    images = [Image.fromarray(picture(number)) for number in range(3)]
    path = tmp_path / "a.apng"
    images[0].save(path, format="PNG", save_all=True, append_images=images[1:], duration=[33, 34, 33])  # 30 frames/s
    assert not any("durations" in word for word in open_film(path.open("rb"), path.name).frames([1])[0][1])
