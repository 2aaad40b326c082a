"""A stale cache: the digest changes with weights, preprocessing, input size, layers, dtype and what else counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netphys
from netphys.errors import RecordingError
from netphys.networks import Network, Preprocess
from netphys.recording import plan as planning
from netphys.recording import recorder


def _net(**changes: Any) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    if changes.get("weight"):
        net[0].weight.data[0, 0, 0, 0] += 1e-6
    if changes.get("buffer"):
        net[1].running_var[0] += 1e-6
    if changes.get("module"):
        net[2] = torch.nn.LeakyReLU()
    return Network(net, Preprocess(resize=changes.get("resize"), mean=changes.get("mean", (0.0, 0.0, 0.0))))


def _shown(side: int = 8, flip: int = 0) -> Any:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, side, side), dtype=np.uint8)
    pixels[2, 0, 0, 0] ^= flip
    return netphys.StimulusSet.from_arrays(pixels)


def _digest(network: Network | None = None, shown: Any = None, **options: Any) -> str:
    options = {"layers": "2", **options}
    return recorder.recording_digest(recorder.recording_plan(network or _net(), shown or _shown(), **options))


def test_every_change_makes_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {
        "as it is": _digest(),
        "a weight": _digest(_net(weight=True)),
        "a buffer": _digest(_net(buffer=True)),
        "a module": _digest(_net(module=True)),
        "preprocessing": _digest(_net(mean=(0.5, 0.5, 0.5))),
        "input size": _digest(_net(resize=12)),
        "size of the images": _digest(shown=_shown(10)),
        "a pixel": _digest(shown=_shown(flip=1)),
        "layers": _digest(layers=["1", "2"]),
        "another layer": _digest(layers="1"),
        "keep": _digest(keep="mean"),
        "another keep": _digest(keep="max"),
        "dtype": _digest(dtype="float16"),
        "batch": _digest(batch_size=16),
        "seed": _digest(seed=1),
    }
    real = planning.versions
    monkeypatch.setattr(planning, "versions", lambda: {**real(), "torch": "0.0"})
    digests["version of torch"] = _digest()
    monkeypatch.setattr(planning, "versions", real)
    monkeypatch.setattr(planning, "code_digest", lambda *rooms: "another source")
    digests["the recorder's source"] = _digest()
    assert len(set(digests.values())) == len(digests), digests


def test_what_does_not_count_makes_no_other_digest() -> None:
    """Control: the digest is not simply another one each time."""
    frozen = _net()
    frozen.module.requires_grad_(False).train()
    assert _digest() == _digest(_net()) == _digest(frozen) == _digest(layers=["2", "**2"])


def test_a_file_made_with_other_weights_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "rec.h5"
    netphys.record(_net(), _shown(), layers="2", into=path)
    with pytest.raises(RecordingError, match="holds another recording"):
        netphys.record(_net(weight=True), _shown(), layers="2", into=path)
