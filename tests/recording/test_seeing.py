"""Receptive fields stand in the file of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import netphys
from netphys.networks import Network
from netphys.recording.seeing import field_facts, fields_seen, size_seen


def _shown(n: int, side: int) -> netphys.StimulusSet:
    return netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (n, 3, side, side), np.uint8))


def test_the_file_says_what_each_layer_sees(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    path = tmp_path / "rec.h5"
    netphys.record(net, _shown(3, 16), layers="all", into=path)
    facts = {layer: dict(netphys.load_recording(path).entry(layer).receptive_field) for layer in "0123"}
    conv = {"image": [16, 16], "size": [5, 5], "stride": [2.0, 2.0], "centre": [0.0, 0.0]}
    assert facts["0"] == facts["1"] == conv
    assert facts["2"] == conv | {"size": [7, 7], "stride": [4.0, 4.0], "centre": [1.0, 1.0]}
    assert facts["3"] == {"image": [16, 16], "whole": True}


class Odd(nn.Module):
    """Leaves torch on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.after = nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(torch.from_numpy(np.sort(self.conv(x).numpy(), axis=-1)))


def test_what_is_unknown_is_left_out_and_recorded_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rec.h5"
    recording = netphys.record(Odd(), _shown(3, 8), layers=["conv", "after"], into=path)
    assert recording.entry("after").receptive_field == {} and recording.entry("conv").receptive_field["size"] == [3, 3]


def test_what_looks_at_no_image_has_no_field() -> None:
    both: Any = Network(nn.Identity(), fields=("left", "right"))
    assert size_seen(both, (1, 2)) is None
    assert fields_seen(both, None) == "the network does not look at one image of three colours"


def test_a_gradient_sees_what_its_layer_sees() -> None:
    net = Network(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()))
    from netphys.recording.passing import Pass

    run = Pass(net, _shown(2, 8), "0", "all", "float32", 2, "cpu", 0, "1[0]")
    facts = field_facts(net, run.stimuli, run.layers)
    assert facts["0/gradient"] == facts["0"] and facts["0"]["size"] == [3, 3]
