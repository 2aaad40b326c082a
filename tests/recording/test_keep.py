"""What is kept of a map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.recording.keep import reduce_map


def test_known_reductions_of_a_map() -> None:
    maps = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    assert torch.equal(reduce_map(maps, "all"), maps)
    assert reduce_map(maps, "mean")[0].tolist() == [9.5, 29.5, 49.5]
    assert reduce_map(maps, "max")[0].tolist() == [19, 39, 59]
    assert reduce_map(maps, "centre")[0].tolist() == [12, 32, 52]  # (2, 2): lower of the two rows, middle column
    assert torch.equal(reduce_map(maps[:, :, 0, 0], "mean"), maps[:, :, 0, 0])  # a dense layer has no map


def test_layout_in_memory_does_not_count() -> None:
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    last = maps.contiguous(memory_format=torch.channels_last)
    for keep in ("all", "max", "centre"):
        assert torch.equal(reduce_map(last, keep), reduce_map(maps, keep))


class Overwritten(nn.Module):
    """Overwrites its map as soon as the layer has returned it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x * 2).zero_()


@pytest.mark.parametrize("keep", ["all", "mean", "max", "centre"])
def test_reductions_are_of_the_moment_of_the_hook(keep: str) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (5, 3, 6, 6), dtype=np.uint8)
    shown = netphys.StimulusSet.from_arrays(pixels)
    recording = netphys.record(Overwritten(), shown, layers="layer", keep=keep, batch_size=5)
    expected = reduce_map(torch.from_numpy(pixels) / 255 * 2, keep)
    assert np.array_equal(recording.array("layer"), expected.numpy())
    assert recording.dims("layer") == (("stimulus", "unit", "y", "x") if keep == "all" else ("stimulus", "unit"))
