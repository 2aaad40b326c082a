"""What is kept of a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.recording.keep import grid_side, reduce_map
from netphys.recording.keep.maps import kept_dims, kept_shape
from netphys.recording.layers import Layer
from netphys.recording.layout import Arrangement


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


def test_pooled_is_the_exact_mean_of_equal_cells() -> None:
    maps = torch.randn(2, 8, 24, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert grid_side(8, 24, 16) == 8
    by_hand = maps.reshape(2, 8, 8, 3, 8, 2).mean((3, 5))
    assert torch.allclose(reduce_map(maps, "pooled", (8, 8, 8)), by_hand, rtol=0, atol=1e-14)  # float64's last bits
    assert torch.equal(reduce_map(maps[..., 0], "pooled", (8,)), maps[..., 0].mean(-1))  # tokens: the mean
    assert torch.equal(reduce_map(maps[..., 0, 0], "pooled", (8,)), maps[..., 0, 0])  # dense: all


@pytest.mark.parametrize("n_units", [1, 3, 64, 96, 2048, 5000])
@pytest.mark.parametrize("sides", [(1, 1), (7, 7), (13, 9), (56, 56), (224, 3)])
def test_the_grid_is_the_largest_that_is_allowed(n_units: int, sides: tuple[int, int]) -> None:
    side = grid_side(n_units, *sides)
    allowed = [s for s in (2**k for k in range(12)) if n_units * s * s <= 512 and s <= min(sides)]
    assert side == max(allowed, default=1)


def test_pooled_through_a_recording(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (5, 3, 36, 40), dtype=np.uint8)
    shown = netphys.StimulusSet.from_arrays(pixels)
    options = {"layers": "layer", "keep": "pooled", "batch_size": 5}
    recording = netphys.record(Overwritten(), shown, into=tmp_path / "rec.h5", **options)
    assert recording.dims("layer") == ("stimulus", "unit", "y", "x") and recording.shape("layer") == (5, 3, 8, 8)
    # a side that 8 does not divide: torch's own cells
    expected = nn.functional.adaptive_avg_pool2d(torch.from_numpy(pixels) / 255 * 2, 8)
    assert np.array_equal(recording.array("layer"), expected.numpy())
    assert np.array_equal(netphys.record(Overwritten(), shown, **options).array("layer"), expected.numpy())


def test_pooled_of_tokens_and_of_units_last_is_the_mean() -> None:
    tokens = Layer("t", "", (8, 5), ("unit", "token"), arrangement=Arrangement((2,)))
    last = Layer("l", "", (8, 4, 4), ("unit", "y", "x"), arrangement=Arrangement((3,)))
    dense = Layer("d", "", (8,), ("unit",))
    for layer in (tokens, last, dense):
        assert kept_shape(layer, "pooled") == (8,) and kept_dims(layer, "pooled") == ("unit",)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("keep", "shape"), [("mean", (3,)), ("pooled", (3, 2, 2))])
def test_means_of_half_precision_are_not_rounded_to_it(dtype: torch.dtype, keep: str, shape: tuple[int, ...]) -> None:
    maps = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = reduce_map(maps, keep, shape)
    assert found.dtype == torch.float32
    assert torch.equal(found, reduce_map(maps.float(), keep, shape))
    assert not torch.equal(found, found.to(dtype).float())  # control: rounded, it is another
