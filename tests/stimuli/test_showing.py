"""Another field as the image: one eye's picture, each frame of a clip."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import netphys
from netphys.errors import AddressError, StimulusError
from netphys.stimuli import StimulusSet, load_stimuli

RNG = np.random.default_rng(0)
CLIPS = RNG.integers(0, 256, (3, 4, 3, 6, 5), dtype=np.uint8)
LEFT, RIGHT = (RNG.random((3, 3, 6, 5), dtype=np.float32) for _ in range(2))


def _clips(**columns: object) -> StimulusSet:
    table = pd.DataFrame({"stimulus_id": list("abc"), **columns})
    return StimulusSet.from_arrays(fields={"clip": CLIPS}, metadata=table)


def test_each_frame_is_an_image_of_its_own_with_the_columns_of_its_clip() -> None:
    shown = _clips(kind=["x", "y", "z"]).frames()
    assert shown.ids[:5] == ("a-f000", "a-f001", "a-f002", "a-f003", "b-f000") and len(shown) == 12
    assert torch.equal(shown.images(), torch.from_numpy(CLIPS.reshape(12, 3, 6, 5)))
    assert torch.equal(shown.images([7, 0, 6]), torch.from_numpy(CLIPS.reshape(12, 3, 6, 5)[[7, 0, 6]]))
    assert shown.metadata.loc[5, ["clip_id", "frame", "kind"]].tolist() == ["b", 1, "y"]
    assert shown.digest == _clips().frames().digest != _clips().digest
    changed = CLIPS.copy()
    changed[1, 2] ^= 1
    assert StimulusSet.from_arrays(fields={"clip": changed}, ids=list("abc")).frames().digest != shown.digest


def test_clips_of_several_lengths() -> None:
    shown = StimulusSet.from_arrays(fields={"clip": [CLIPS[0], CLIPS[1, :2]]}, ids=["a", "b"]).frames()
    assert shown.ids == ("a-f000", "a-f001", "a-f002", "a-f003", "b-f000", "b-f001")
    assert torch.equal(shown["b-f001"].images()[0], torch.from_numpy(CLIPS[1, 1]))


def test_one_eye_is_shown_and_the_other_stays_a_field() -> None:
    pairs = StimulusSet.from_arrays(fields={"left": LEFT, "right": RIGHT})
    shown = pairs.as_image("left")
    assert shown.fields == ("image", "right") and torch.equal(shown.images(), torch.from_numpy(LEFT))
    assert torch.equal(shown.get([2], "right")[0], torch.from_numpy(RIGHT[2]))
    assert pairs[[2, 0]].as_image("right").images().equal(torch.from_numpy(RIGHT[[2, 0]]))
    assert shown.digest != pairs.as_image("right").digest
    with pytest.raises(StimulusError, match="field 'clip' of arrays holds no pictures .* but 4 x 3 x 6 x 5"):
        _clips().as_image("clip")


def test_a_set_without_images_says_what_makes_some_of_it() -> None:
    with pytest.raises(StimulusError, match=r"no field 'image'.*\.frames\(\) \(\?frames=true\)"):
        _clips().images([0])
    with pytest.raises(StimulusError, match=r"no field 'image'.*as_image\('left'\)"):
        StimulusSet.from_arrays(fields={"left": LEFT, "right": RIGHT}).images([0])


def test_frames_and_eyes_by_address_are_recorded() -> None:
    drifting = "classic:gratings?direction=0,90&temporal_frequency=6&n_frames=5&size=32&spatial_frequency=0.1"
    recording = netphys.record("netphys:gabor_energy", f"{drifting}&frames=true", layers="energy")
    assert len(recording) == 10 and recording.metadata["frame"].tolist() == [0, 1, 2, 3, 4] * 2
    left = load_stimuli("classic:stereograms?disparity=4&size=32&field=left")
    pair = load_stimuli("classic:stereograms?disparity=4&size=32")
    assert torch.equal(left.images(), pair.get(None, "left"))
    with pytest.raises(AddressError, match="frames=yes is not understood"):
        load_stimuli(f"{drifting}&frames=yes")
