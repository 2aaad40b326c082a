"""SqueezeNet 1.1 looks at the 92 images of Kriegeskorte et al. (2008): every fourth of them, as users would record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torchvision import models

import netphys

pytestmark = pytest.mark.real
LAYERS = ["features.0", "features.6", "features.11"]


@pytest.fixture(scope="module")
def shown(unpacked: Callable[[str], Path]) -> netphys.StimulusSet:
    stimuli = netphys.load_stimuli(unpacked("kriegeskorte92"))
    assert len(stimuli) == 92
    return stimuli.subset(range(0, 92, 4))


@pytest.fixture(scope="module")
def network(unpacked: Callable[[str], Path]) -> netphys.Network:
    weights = unpacked("weights") / "squeezenet1_1.safetensors"
    return netphys.load_network(f"torchvision:squeezenet1_1@{weights}?resize=224")


@pytest.fixture(scope="module")
def recording(
    network: netphys.Network, shown: netphys.StimulusSet, tmp_path_factory: pytest.TempPathFactory
) -> netphys.Recording:
    return netphys.record(network, shown, layers=LAYERS, into=tmp_path_factory.mktemp("rec") / "rec.h5", batch_size=8)


def test_what_is_shown(shown: netphys.StimulusSet) -> None:
    assert {"category", "animate", "face"} <= set(shown.metadata.columns)
    assert shown.metadata["animate"].sum() == 12  # of 48 in 92
    assert tuple(shown.images([0]).shape) == (1, 3, 175, 175)


def test_activations_equal_a_plain_forward(
    network: netphys.Network, shown: netphys.StimulusSet, recording: netphys.Recording
) -> None:
    """features.0 is followed by an in-place ReLU, and the weights are those of the file."""
    plain = models.squeezenet1_1(weights=None)
    plain.load_state_dict(network.module.state_dict())
    assert network.training == "pretrained" and recording.shape("features.11") == (23, 512, 13, 13)
    with torch.no_grad():
        images = network.prepare(shown.images(range(8)))
        first = plain.features[0](images)
        deep = plain.eval().features[:12](images)
    assert np.array_equal(recording.array("features.0")[:8], first.numpy()) and (first < 0).any()
    assert np.array_equal(recording.array("features.11")[:8], deep.numpy())


def test_the_file_says_what_made_it(recording: netphys.Recording, network: netphys.Network) -> None:
    assert recording.header["provenance"]["inputs"]["network"] == network.digest
    with xr.open_dataset(recording.path, group="layers/features.6", engine="h5netcdf") as opened:
        assert opened["activation"].dims == ("stimulus", "unit", "y", "x")
        assert opened["stimulus_id"].values.tolist() == list(recording.stimulus_ids)


def _faces_apart(recording: netphys.Recording, shown: netphys.StimulusSet, layer: str) -> float:
    """Mean correlation of faces with faces, less that of faces with others."""
    activations = recording.array(layer).reshape(len(shown), -1)
    similar = np.corrcoef(activations)
    face = shown.metadata["face"].to_numpy(dtype=bool)
    among = similar[np.ix_(face, face)][np.triu_indices(face.sum(), 1)]
    return float(among.mean() - similar[np.ix_(face, ~face)].mean())


def test_trained_deep_layers_group_faces_and_untrained_ones_do_not(
    recording: netphys.Recording, shown: netphys.StimulusSet
) -> None:
    trained = _faces_apart(recording, shown, "features.11")
    untrained = netphys.record(
        netphys.load_network("torchvision:squeezenet1_1?resize=224"), shown, layers="features.11", batch_size=8
    )
    assert trained > 0.1 and trained > 2 * _faces_apart(untrained, shown, "features.11")
