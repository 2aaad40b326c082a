"""Neighbouring places of one strong image must not fill a unit's list: one entry a stimulus."""

from __future__ import annotations

import numpy as np
from torch import nn

import netphys
from netphys.units import top_patches


def test_units_top_patches_of_one_image_fill_the_list() -> None:
    images = np.full((5, 3, 10, 10), 10, dtype=np.uint8)
    images[3] = 250  # all of its places are stronger than any other image
    module = nn.Conv2d(3, 1, 3)
    module.weight.data[:] = 1.0
    found = top_patches(module, netphys.StimulusSet.from_arrays(images), layers="all", k=4)["output"]
    assert found.stimulus[0].tolist() == [3, 0, 1, 2]
    assert found.position[0].tolist() == [[0, 0]] * 4  # the first of equal places
    value = module(netphys.StimulusSet.from_arrays(images).images(range(5)).float() / 255).detach().numpy()
    careless = np.argsort(-value.ravel(), kind="stable")[:4] // value[0].size  # control: the best places of all
    assert set(careless) == {3}
