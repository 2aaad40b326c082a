"""Crops: exactly the field, on the picture that the network sees; grey and marked beyond it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import MatchError, OptionError
from netphys.networks import Network, Preprocess
from netphys.networks.fields import Field
from netphys.networks.geometry import receptive_fields
from netphys.units import TopPatchesResult, cut_patches, read_pictures, top_patches

PLANTED = 10


def planted(seed: int = 0) -> tuple[netphys.StimulusSet, nn.Module, np.ndarray]:
    """Images of noise, ten of which hold a patch somewhere; a unit whose filter is the patch; the patch (3, 7, 7)."""
    rng = np.random.default_rng(seed)
    patch = rng.uniform(0, 1, (3, 7, 7)).astype(np.float32)
    images = rng.uniform(0.3, 0.7, (40, 3, 24, 24)).astype(np.float32)
    for index in rng.permutation(40)[:PLANTED]:
        y, x = rng.integers(0, 18, 2)
        images[index, :, y : y + 7, x : x + 7] = patch
    conv = nn.Conv2d(3, 1, 7, padding=3, bias=False)
    conv.weight.data[0] = torch.from_numpy(patch - patch.mean((1, 2), keepdims=True))
    return netphys.StimulusSet.from_arrays(images), nn.Sequential(conv), patch


def crops_of(result: TopPatchesResult, stimuli: netphys.StimulusSet, module: Any, layer: str) -> Any:
    """Cut the crops of all units of a layer."""
    pictures = read_pictures(stimuli, module, np.arange(len(stimuli)))
    field = receptive_fields(module, size=pictures.images.shape[-2:])[layer]
    return cut_patches(result[layer], range(result[layer].n_units), pictures, field)


def correlations(crops: Any, patch: np.ndarray) -> np.ndarray:
    """Correlate each crop with the patch."""
    return np.array([np.corrcoef(each.ravel(), patch.ravel())[0, 1] for each in crops.images[0] / 255])


def test_crops_of_a_matched_unit_are_the_planted_patch() -> None:
    stimuli, module, patch = planted()
    crops = crops_of(top_patches(module, stimuli, layers="0", k=PLANTED), stimuli, module, "0")
    assert crops.images.shape == (1, PLANTED, 3, 7, 7) and crops.inside.all() and not crops.note
    # exact but for 8 bits: half a grey level of 255 at most
    assert np.abs(crops.images[0] / 255 - patch).max() <= 0.5 / 255 + 1e-6
    assert correlations(crops, patch).min() > 0.999


def test_control_shuffled_ids_break_the_correlation() -> None:
    stimuli, module, patch = planted()
    result = top_patches(module, stimuli, layers="0", k=PLANTED)
    shuffled = stimuli.subset(np.random.default_rng(1).permutation(len(stimuli)))
    wrong = correlations(crops_of(result, shuffled, module, "0"), patch)
    assert np.median(wrong) < 0.3  # of noise of 147 pixels: sd 0.08; a few may hold the patch by chance


def test_boxes_that_leave_the_image_are_marked_and_never_shifted() -> None:
    """A unit for white in a corner: its field is half outside."""
    images = np.zeros((3, 3, 16, 20), dtype=np.uint8)
    images[1, :, 0, 0], images[2, :, 15, 19] = 255, 200
    module = nn.Sequential(nn.Conv2d(3, 1, 5, padding=2, bias=False))
    module[0].weight.data[:] = 0.0
    module[0].weight.data[0, :, 2, 2] = 1.0
    stimuli = netphys.StimulusSet.from_arrays(images)
    crops = crops_of(top_patches(module, stimuli, layers="0", k=2), stimuli, module, "0")
    assert crops.boxes[0].tolist() == [[-2, 2, -2, 2], [13, 17, 17, 21]]
    expected = np.zeros((2, 5, 5), dtype=bool)
    expected[0, 2:, 2:] = expected[1, :3, :3] = True
    assert np.array_equal(crops.inside[0], expected)
    assert (crops.images[0, 0, :, 2, 2] == 255).all() and (crops.images[0, 1, :, 2, 2] == 200).all()
    assert (np.moveaxis(crops.images[0], 1, -1)[~expected] == 128).all()


def test_crops_are_on_the_size_that_the_network_sees_and_in_colour() -> None:
    """Resized, cropped; not normalised, not made grey."""
    preprocess = Preprocess(resize=(20, 20), crop=12, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), colour="lightness")
    rng = np.random.default_rng(0)
    stimuli = netphys.StimulusSet.from_arrays(rng.integers(0, 256, (6, 3, 40, 40), dtype=np.uint8))
    network = Network(nn.Sequential(nn.Conv2d(3, 2, 3)), preprocess)
    pictures = read_pictures(stimuli, network, [5, 2, 2])
    assert pictures.images.shape == (2, 3, 12, 12) and pictures.exact
    assert repr(pictures) == "Pictures(2 of 6 stimuli, 12 x 12 px)"
    plain = Preprocess(resize=(20, 20), crop=12)(stimuli.images([2, 5]))
    assert np.abs(pictures.images / 255 - plain.numpy()).max() <= 0.5 / 255 + 1e-6
    result = top_patches(network, stimuli, layers="0", k=1)
    pictures = read_pictures(stimuli, network, range(6))
    crops = cut_patches(result["0"], [1], pictures, receptive_fields(network, size=(12, 12))["0"])
    top, bottom, left, right = crops.boxes[0, 0]
    row = result["0"].stimulus[1, 0]
    assert np.array_equal(crops.images[0, 0], pictures.images[row, :, top : bottom + 1, left : right + 1])


def test_where_there_is_no_box_the_crop_is_the_whole_image() -> None:
    stimuli, module, _ = planted()
    module.append(nn.Flatten()).append(nn.Linear(576, 2))
    result = top_patches(module, stimuli, layers="2", k=3)
    crops = crops_of(result, stimuli, module, "2")
    assert crops.images.shape == (2, 3, 3, 24, 24) and crops.note == "the whole image is its receptive field"
    pictures = read_pictures(stimuli, module, range(40))
    crops = cut_patches(result["2"], [0], pictures, Field("2", problem="nobody knows"))
    assert crops.note == "the whole image: its receptive field is unknown, nobody knows" and crops.inside.all()
    network = Network(module, lambda images: images)  # prepares by itself
    own = read_pictures(stimuli, network, [0])
    assert not own.exact and own.images.shape == (1, 3, 24, 24)


def test_fields_of_other_images_or_layers_are_refused() -> None:
    stimuli, module, _ = planted()
    result = top_patches(module, stimuli, layers="0", k=3)
    pictures = read_pictures(stimuli, module, result["0"].stimulus.ravel())
    with pytest.raises(
        MatchError, match="that of '0' in images of 32 x 32, the patches are of '0' in images of 24 x 24"
    ):
        cut_patches(result["0"], [0], pictures, receptive_fields(module, size=(32, 32))["0"])
    with pytest.raises(OptionError, match=r"layer '0' has units 0 to 0, not \[1\]"):
        cut_patches(result["0"], [1], pictures, receptive_fields(module, size=(24, 24))["0"])
    few = read_pictures(stimuli, module, [int(result["0"].stimulus[0, 0])])
    with pytest.raises(MatchError, match="of the top patches of '0' was not read"):
        cut_patches(result["0"], [0], few, receptive_fields(module, size=(24, 24))["0"])


def test_fewer_entries_than_asked_for_are_not_shown() -> None:
    stimuli, module, _ = planted()
    few = stimuli.subset([0, 1])
    crops = crops_of(top_patches(module, few, layers="0", k=4), few, module, "0")
    assert crops.inside[0].any((1, 2)).tolist() == [True, True, False, False]
