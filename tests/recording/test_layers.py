"""layers: what a network's layers are called, and which of their axes are units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import RecordingError
from netphys.networks import Network, Preprocess


def test_the_table_is_in_order_of_execution() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = nn.Linear(3, 2), nn.Conv2d(3, 3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x).mean((2, 3)))

    table = netphys.layers(Odd())
    assert table["name"].tolist() == ["first", "second"] and table["kind"].tolist() == ["Conv2d", "Linear"]
    assert table["shape"].tolist() == [(3, 62, 62), (2,)] and table["n_parameters"].tolist() == [84, 8]
    assert table["dims"].tolist() == [("unit", "y", "x"), ("unit",)] and table["n_units"].tolist() == [3, 2]


def test_the_probe_sees_what_the_network_will_see() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1))
    assert netphys.layers(Network(net, Preprocess(resize=(20, 30))))["shape"][0] == (4, 20, 30)
    shown = netphys.StimulusSet.from_arrays(np.zeros((1, 3, 9, 7), dtype=np.uint8))
    assert netphys.layers(net, shown)["shape"][0] == (4, 9, 7)


def test_names_are_those_of_named_modules_in_torchvision() -> None:
    network = netphys.load_network("torchvision:resnet18?resize=64")
    table = netphys.layers(network)
    paths = [name.split("#")[0] for name in table["name"]]
    assert set(paths) == {path for path, _ in network.module.named_modules() if path}
    assert table["name"].tolist().count("layer1.0.relu#2") == 1
    assert table.set_index("name")["shape"]["layer4.1.conv2"] == (512, 2, 2)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (
            "swin_t",
            {
                "features.0.0": (96, 16, 16), "features.0.1": (96, 16, 16), "features.1.0.mlp.0": (384, 16, 16),
                "features.1": (96, 16, 16), "features.2": (192, 8, 8), "features.5": (384, 4, 4),
                "features.7": (768, 2, 2), "norm": (768, 2, 2), "permute": (768, 2, 2), "avgpool": (768, 1, 1),
                "head": (1000,),
            },
        ),
        (
            "convnext_tiny",
            {
                "features.0.0": (96, 16, 16), "features.1.0.block.0": (96, 16, 16),
                "features.1.0.block.3": (384, 16, 16),
                "features.1.0": (96, 16, 16), "features.3": (192, 8, 8), "features.5": (384, 4, 4),
                "features.7.2.block.5": (768, 2, 2), "features.7.2.block.6": (768, 2, 2), "features.7": (768, 2, 2),
                "classifier.2": (1000,),
            },
        ),
    ],
)  # fmt: skip
def test_units_are_found_where_they_come_last(name: str, known: dict[str, tuple[int, ...]]) -> None:
    network = netphys.load_network(f"torchvision:{name}?resize=64")
    table = netphys.layers(network).set_index("name")
    assert {layer: table["shape"][layer] for layer in known} == known
    # values, not shapes alone: a 1 x 1 convolution by hand over the recorded units of a channels-last layer
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8))
    before, after = ("features.1.0.norm2", "features.1.0.mlp.0") if name == "swin_t" else (
        "features.1.0.block.2", "features.1.0.block.3"
    )  # fmt: skip
    recording = netphys.record(network, shown, layers=[before, after], batch_size=2)
    linear = network.module.get_submodule(after)
    expected = torch.einsum("nuyx,vu->nvyx", torch.tensor(recording.array(before)), linear.weight.detach())
    expected = (expected + linear.bias.detach()[:, None, None]).numpy()
    assert np.allclose(recording.array(after), expected, atol=1e-5)
    assert not np.allclose(recording.array(after).swapaxes(2, 3), expected, atol=1e-2)  # control: y and x exchanged


def test_tokens_of_a_vision_transformer() -> None:
    network = netphys.load_network("torchvision:vit_b_16")
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8))
    layers = ["conv_proj", "encoder.layers.encoder_layer_1", "encoder.layers.encoder_layer_1.mlp.0"]
    recording = netphys.record(network, shown, layers=layers, batch_size=1)
    block = recording[layers[1]]
    assert block.dims == ("stimulus", "unit", "token") and block.shape == (1, 768, 197)
    assert recording.shape(layers[2]) == (1, 3072, 197) and recording.shape("conv_proj") == (1, 768, 14, 14)
    with torch.no_grad(), netphys.hooks(network, layers[1]) as tape:
        network.module(network.prepare(shown.images([0])))
    assert np.array_equal(block.values[0], tape[layers[1]][0].T.numpy())
    centre = netphys.record(network, shown, layers=layers[1], keep="centre", batch_size=1).array(layers[1])
    assert np.array_equal(centre, block.values[:, :, 1 + 7 * 14 + 7])  # behind the class token


def test_video_and_sequences_have_their_axes() -> None:
    class Axes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.clip, self.line, self.tokens = nn.Conv3d(3, 5, 1), nn.Conv1d(3, 6, 1), nn.Linear(64, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.clip(x[:, :, None].expand(-1, -1, 4, -1, -1))
            return self.tokens(self.line(x.flatten(2))[..., :64])

    table = netphys.layers(Axes()).set_index("name")
    assert table["dims"]["clip"] == ("unit", "time", "y", "x") and table["shape"]["clip"] == (5, 4, 64, 64)
    assert table["shape"]["line"] == (6, 4096) and table["shape"]["tokens"] == (6, 7)  # it mixes places


def test_a_module_that_returns_no_activations_is_named_when_asked_for() -> None:
    class Labels(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.argmax(1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.labels, self.last = Labels(), nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.labels(x)
            return self.last(x)

    shown = netphys.StimulusSet.from_arrays(np.zeros((2, 3, 4, 4), dtype=np.uint8))
    with pytest.raises(RecordingError, match="'labels' of Net cannot be recorded: it holds int64, not activations"):
        netphys.record(Net(), shown, layers="labels")
    assert netphys.record(Net(), shown, layers="all").layers == ("last",)

    class Empty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(RecordingError, match="Empty has no module whose output could be recorded"):
        netphys.layers(Empty())
