"""Images are held as uint8 of one size; held or streamed, the numbers are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from toy_objective import shown

import netphys
from netphys.errors import StimulusError
from netphys.networks import Preprocess
from netphys.training.images import Held, Sizer, Streamed, images_of

CPU = torch.device("cpu")
PLAIN = Preprocess()


def test_held_and_streamed_are_equal() -> None:
    stimuli = shown(20)
    held = images_of(stimuli, Sizer(None, PLAIN), CPU, size=(32, 32))
    streamed = images_of(stimuli, Sizer(None, PLAIN), CPU, size=(32, 32), budget=1000)
    assert isinstance(held, Held) and isinstance(streamed, Streamed)
    for ahead in (None, np.array([3, 1]), np.array([5])):
        if ahead is not None:
            streamed.ahead(ahead)
        assert torch.equal(streamed.take(np.array([3, 1])), held.take(np.array([3, 1])))
    streamed.close()


def test_an_error_of_the_thread_ahead_is_not_lost() -> None:
    def read(indices):
        raise StimulusError("broken.png cannot be decoded")

    streamed = Streamed(read, CPU)
    streamed.ahead(np.array([0]))
    with pytest.raises(StimulusError, match=r"broken\.png"):
        streamed.take(np.array([0]))
    streamed.close()


def test_generated_images_are_rounded_to_what_a_file_holds() -> None:
    stimuli = netphys.load_stimuli("world:scenes?n=3&size=32")
    held = images_of(stimuli, Sizer(None, PLAIN), CPU, size=(32, 32)).take(np.arange(3))
    assert held.dtype == torch.uint8
    assert float((held / 255 - stimuli.images([0, 1, 2])).abs().max()) <= 0.5 / 255 + 1e-6


@pytest.fixture
def mixed(tmp_path):
    rng = np.random.default_rng(0)
    for index, (y, x) in enumerate([(40, 60), (64, 48), (32, 32)]):
        Image.fromarray(rng.integers(0, 256, (y, x, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
    return netphys.load_stimuli(str(tmp_path))


def test_images_of_several_sizes_need_a_size(mixed) -> None:
    with pytest.raises(StimulusError, match=r"differ in size \(.*\); size=64 \(--size 64\) resizes the shorter side"):
        images_of(mixed, Sizer(None, PLAIN), CPU, size=(40, 60))
    images = images_of(mixed, Sizer(24, PLAIN), CPU, size=(24, 24)).take(np.arange(3))
    assert images.shape == (3, 3, 24, 24) and images.dtype == torch.uint8
    wanted = Preprocess(resize=24, crop=24)(mixed.images([0])[0][None])
    assert float((images[:1] / 255 - wanted).abs().max()) <= 0.5 / 255 + 1e-6


def test_what_the_network_does_to_the_geometry_is_done_once(mixed) -> None:
    wanted = Preprocess(resize=(20, 20), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    images = Sizer(None, wanted)(mixed.images([0, 1, 2]))
    assert images.shape == (3, 3, 20, 20) and images.dtype == torch.uint8
