"""Windows of maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import OptionError, RecordingError
from netphys.recording.keep import Window, as_keep, reduce_map
from netphys.recording.layers import Layer
from netphys.recording.layout import Arrangement


def _layer(*shape: int, dims: tuple[str, ...] = ("unit", "y", "x"), **more: Any) -> Layer:
    return Layer("conv", "Conv2d", shape, dims, arrangement=Arrangement(**more))


def _map(*shape: int) -> torch.Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape)


@pytest.mark.parametrize(
    "whole, side, wanted",
    [
        (5, 1, [2]), (5, 3, [1, 2, 3]), (5, 2, [1, 2]), (5, 4, [0, 1, 2, 3]), (5, 5, [0, 1, 2, 3, 4]),
        (4, 1, [2]), (4, 2, [1, 2]), (4, 3, [1, 2, 3]), (4, 4, [0, 1, 2, 3]), (1, 1, [0]), (2, 1, [1]),
    ],
)  # fmt: skip
def test_the_middle_by_hand(whole: int, side: int, wanted: list[int]) -> None:
    layer = _layer(2, whole, 7)
    kept = Window((side, 7)).reduce(_map(3, 2, whole, 7), layer)
    assert torch.equal(kept, _map(3, 2, whole, 7)[:, :, wanted])
    assert Window((side, 7)).shape(layer) == (2, side, 7)


@pytest.mark.parametrize("height", range(1, 9))
def test_every_window_lies_in_the_map_and_holds_the_centre(height: int) -> None:
    maps = _map(2, 3, height, 6)
    centre = reduce_map(maps, "centre")
    for side in range(1, height + 1):
        kept = Window((side, 1)).reduce(maps, _layer(3, height, 6))
        assert kept.shape == (2, 3, side, 1) and (kept == centre[..., None, None]).any(2).all()
    assert torch.equal(Window(1).reduce(maps, _layer(3, height, 6))[..., 0, 0], centre)


def test_rows_and_columns() -> None:
    maps, layer = _map(2, 3, 6, 8), _layer(3, 6, 8)
    assert torch.equal(as_keep("window?y=2:5&x=0:3").reduce(maps, layer), maps[:, :, 2:5, 0:3])
    assert torch.equal(as_keep("window?y=2:5").reduce(maps, layer), maps[:, :, 2:5])
    assert torch.equal(as_keep("window?x=7:8").reduce(maps, layer), maps[..., 7:8])
    assert as_keep("window?size=3x5").shape(layer) == (3, 3, 5)
    assert as_keep("window?size=3x5").dims(layer) == ("unit", "y", "x")


def test_tokens_are_laid_out_in_their_grid_first() -> None:
    grid = _map(2, 3, 4, 5)
    order = np.random.default_rng(0).permutation(20)
    tokens = torch.cat([torch.full((2, 3, 1), -1.0), grid.flatten(2)[..., order], torch.full((2, 3, 1), -2.0)], dim=-1)
    places = (-1, *order.tolist(), -1)
    layer = _layer(3, 22, dims=("unit", "token"), unit_axes=(2,), grid=(4, 5), places=places)
    kept = Window(3).reduce(tokens, layer)
    assert torch.equal(kept, grid[:, :, 1:4, 1:4])
    assert Window(3).shape(layer) == (3, 3, 3) and Window(3).dims(layer) == ("unit", "y", "x")
    raw = tokens[..., 1:21].unflatten(2, (4, 5))[:, :, 1:4, 1:4]  # control: tokens in the order of the network
    assert not torch.equal(kept, raw)


def test_windows_of_a_network_are_put_in_their_places() -> None:
    grid = _map(2, 3, 4, 6)
    cut = grid.unflatten(2, (2, 2)).unflatten(4, (2, 3)).permute(0, 1, 2, 4, 3, 5).reshape(2, 3, 4, 6)
    numbers = torch.arange(24).reshape(4, 6).unflatten(0, (2, 2)).unflatten(2, (2, 3)).permute(0, 2, 1, 3).flatten()
    options = {"unit_axes": (2,), "n_windows": 4, "grid": (4, 6), "places": tuple(numbers.tolist())}
    layer = _layer(3, 4, 6, dims=("unit", "window", "token"), **options)
    assert torch.equal(Window((2, 4)).reduce(cut, layer), grid[:, :, 1:3, 1:5])


class Doubled(nn.Module):
    """Overwrites its map as soon as the layer has returned it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x * 2).zero_()


def test_a_recording_of_a_window_is_that_part_of_the_whole() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 7), dtype=np.uint8)
    shown = netphys.StimulusSet.from_arrays(pixels)
    recording = netphys.record(Doubled(), shown, layers="layer", keep="window?size=2x3", batch_size=2)
    assert recording.dims("layer") == ("stimulus", "unit", "y", "x")
    assert np.array_equal(recording.array("layer"), (torch.from_numpy(pixels) / 255 * 2)[:, :, 2:4, 2:5].numpy())
    with pytest.raises(RecordingError, match=r"layer 'layer' has a map of 6 x 7 \(y, x\), smaller than keep='window"):
        netphys.record(Doubled(), shown, layers="layer", keep="window?size=7")


@pytest.mark.parametrize(
    "layer, said",
    [
        (_layer(10, dims=("unit",)), "layer 'conv' has no map: there is no window in it"),
        (_layer(10, 5, dims=("unit", "token")), "whose places in the image are not known"),
        (_layer(10, 2, 6, 6, dims=("unit", "time", "y", "x")), "whose places in the image are not known"),
        (_layer(10, 5, 5, unit_axes=(3,)), "has (unit, y, x), whose places in the image are not known"),
        (_layer(3, 5, dims=("unit", "token"), grid=(2, 2), places=(0, 1, 2, 2, -1)), "places in the image are not"),
        (_layer(10, 2, 2), "layer 'conv' has a map of 2 x 2 (y, x), smaller than keep='window?size=3'"),
    ],
)
def test_a_layer_without_such_a_window_is_refused(layer: Layer, said: str) -> None:
    with pytest.raises(RecordingError) as caught:
        Window(3).shape(layer)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_units_last_with_a_known_grid_are_a_map() -> None:
    layer = _layer(3, 4, 5, unit_axes=(3,), grid=(4, 5))
    assert torch.equal(Window(1).reduce(_map(2, 3, 4, 5), layer)[..., 0, 0], reduce_map(_map(2, 3, 4, 5), "centre"))


@pytest.mark.parametrize("options", [{}, {"size": 3, "x": (0, 2)}, {"size": (3, 0)}, {"y": (3, 3)}, {"x": (-1, 2)}])
def test_a_window_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="say size=3, size=3x5 or y=2:5&x=0:3"):
        Window(**options)
