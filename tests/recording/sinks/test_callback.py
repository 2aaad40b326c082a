"""Callback: any function is fed; only one that says its options can go on after a stop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import OptionError
from netphys.recording import Sink
from netphys.recording.measuring import measure
from netphys.recording.sinks import Callback


def test_the_function_sees_every_batch_at_its_moment() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten())
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 6), dtype=np.uint8)
    seen: dict[str, list[torch.Tensor]] = {}
    rows_seen: list[list[int]] = []

    def look(layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        seen.setdefault(layer, []).append(activation.clone())
        rows_seen.append(rows.tolist())

    assert measure(net, images, layers=["0", "1"], sinks=[Callback(look)], batch_size=2, device="cpu") == [None]
    assert rows_seen == [[0, 1], [0, 1], [2, 3], [2, 3], [4], [4]]
    recording = netphys.record(net, images, layers=["0", "1"], batch_size=2, device="cpu")
    for name, parts in seen.items():
        np.testing.assert_array_equal(torch.cat(parts).numpy(), recording.array(name))
    assert (torch.cat(seen["0"]) < 0).any()  # before the in-place rectification


def test_without_a_clone_the_values_are_overwritten() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 6, 6), dtype=np.uint8)
    kept: list[Any] = []
    measure(net, images, layers=["0", "1"], sinks=[Callback(lambda *given: kept.append(given[2]))], device="cpu")
    assert not (kept[0] < 0).any()


def test_only_with_a_plan_is_it_a_whole_sink(tmp_path: Any) -> None:
    bare, whole = Callback(lambda *_: None), Callback(lambda *_: None, plan={"what": "nothing"})
    assert not hasattr(bare, "plan") and not isinstance(bare, Sink)
    assert isinstance(whole, Sink) and whole.plan() == {"what": "nothing"} and whole.state_dict() == {}
    with pytest.raises(OptionError, match=r"sinks\.callback\.Callback has no plan\(\) .* or give no into="):
        measure(
            "netphys:gabor_energy", "world:scenes?n=2", layers="energy", sinks=[bare], into=tmp_path / "a.safetensors"
        )
    assert not list(tmp_path.iterdir())
