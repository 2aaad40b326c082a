"""The table of layers: what a person reads of shapes, strides, receptive fields, tokens and parameters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import netphys
from netphys.cli.main import main
from netphys.errors import LayerNotFound, OptionError
from netphys.networks import Network
from netphys.recording.listing import layers, matching, save_layers


def fields_of(table: pd.DataFrame, names: list[str]) -> list[tuple[float, int]]:
    """Return stride and receptive field of layers, both square."""
    rows = table.set_index("name").loc[names]
    assert all(pair[0] == pair[1] for column in ("stride", "receptive_field") for pair in rows[column])
    return [(stride[0], field[0]) for stride, field in zip(rows["stride"], rows["receptive_field"])]


def test_the_stages_of_resnet18() -> None:
    table = layers("torchvision:resnet18")
    stages = ["layer1", "layer2", "layer3", "layer4"]
    assert fields_of(table, stages) == [(4, 43), (8, 99), (16, 211), (32, 435)]
    assert table.attrs["image"] == (224, 224) and table.attrs["n_parameters"] == 11_689_512
    rows = table.set_index("name")
    assert rows["whole"][["avgpool", "fc"]].all() and not rows["whole"][stages].any()
    assert rows["stride"]["fc"] is None and rows["receptive_field"]["fc"] == (224, 224)
    assert rows["n_parameters"]["fc"] == 513_000 and rows["shape"]["layer4"] == (512, 7, 7)
    assert not table["note"].any() and not table["problem"].any()


def test_the_layers_of_alexnet() -> None:
    table = layers("torchvision:alexnet")
    names = [f"features.{index}" for index in (0, 2, 3, 5, 6, 8, 10, 12)]
    known = [(4, 11), (8, 19), (8, 51), (16, 67), (16, 99), (16, 131), (16, 163), (32, 195)]
    assert fields_of(table, names) == known
    # control: of a smaller image the strides are the same, and border or not the fields
    assert fields_of(layers("torchvision:alexnet?resize=96"), names[:5]) == known[:5]


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 5, stride=(2, 1)), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.max_pool2d(F.relu(self.conv(x)), 2).mean((2, 3)))


def test_functions_are_listed_and_fields_need_not_be_square() -> None:
    table = layers(Functional()).set_index("name")
    assert list(table.index) == ["conv", "conv:relu", "conv:max_pool2d", "fc"]
    assert table["stride"]["conv:relu"] == (2, 1) and table["receptive_field"]["conv:relu"] == (5, 5)
    assert table["stride"]["conv:max_pool2d"] == (4, 2) and table["receptive_field"]["conv:max_pool2d"] == (7, 6)
    assert table["n_parameters"].tolist() == [304, 0, 0, 10] and table["whole"]["fc"]


def test_gates_are_noted_where_the_field_leaves_them_out() -> None:
    rows = layers("torchvision:mobilenet_v3_small").set_index("name")
    assert rows["note"]["features.1"].startswith("gates that look at the whole image are left out")
    assert rows["receptive_field"]["features.1"] == (7, 7)
    assert not rows["note"]["features.0"] and not rows["note"]["classifier"]


class Unfollowed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.after = nn.Conv2d(3, 2, 3), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(torch.linalg.matrix_exp(self.conv(x)))


class Grey(nn.Module):
    """Takes one colour, of which receptive fields know nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class Breaks(Unfollowed):
    """Runs on three images and not on one, where its receptive fields would be worked out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        {3: 0}[len(x)]
        return self.conv(x)


def test_a_network_that_cannot_be_followed_is_listed_all_the_same() -> None:
    table = layers(Unfollowed()).set_index("name")
    assert table["receptive_field"]["conv"] == (3, 3) and table["receptive_field"]["after"] is None
    assert table["stride"]["after"] is None and not table["whole"]["after"]
    assert table["note"]["after"] == "receptive field unknown: what 'linalg_matrix_exp' reads is not known"
    grey = layers(Network(Grey(), lambda images: images[:, :1].float()))
    said = "receptive field unknown: the network does not look at one image of three colours"
    assert grey["note"].tolist() == [said] and grey.attrs["image"] is None and grey["shape"][0] == (2, 62, 62)
    broken = layers(Breaks())
    assert broken["note"].tolist() == ["receptive field unknown: its operations cannot be followed (KeyError)"]


def test_without_receptive_fields_no_further_forward_is_run() -> None:
    calls: list[int] = []
    net = Functional()
    net.register_forward_hook(lambda module, inputs, _: calls.append(len(inputs[0])))
    table = layers(net, receptive_fields=False)
    assert not {"stride", "receptive_field", "whole", "note"} & set(table.columns)
    n_probing = len(calls)
    calls.clear()
    assert {"stride", "receptive_field", "whole", "note"} < set(layers(net).columns)
    assert len(calls) == n_probing + 1 and calls[-1] == 1


def test_a_network_of_several_fields_is_shown_stimuli_that_have_them() -> None:
    network = Network(nn.Identity(), fields=("left", "right"))
    with pytest.raises(OptionError, match="Identity looks at left, right; give stimuli .--stimuli. that have them"):
        layers(network)


def test_patterns_choose_rows() -> None:
    network = netphys.load_network("torchvision:resnet18?resize=64")
    table = layers(network, receptive_fields=False)
    chosen = matching(table, ["layer?", "fc"], network=network)
    assert chosen["name"].tolist() == ["layer1", "layer2", "layer3", "layer4", "fc"]
    assert len(matching(table, "kind:Conv2d", network=network)) == 20
    with pytest.raises(LayerNotFound, match="no layer 'layr1' in torchvision:resnet18.*; near: 'layer1'"):
        matching(table, "layr1", network=network)


def test_the_table_is_written_as_text_and_numbers(tmp_path: Path) -> None:
    network = Network(Functional(), name="mine")
    path = save_layers(layers(network), tmp_path / "layers.csv", network=network)
    read = pd.read_csv(path).set_index("name")
    assert read.loc["conv:max_pool2d", ["stride_y", "stride_x"]].tolist() == [4, 2]
    assert read.loc["conv:max_pool2d", ["receptive_field_y", "receptive_field_x"]].tolist() == [7, 6]
    assert read["shape"]["conv"] == "4 x 30 x 60" and read["dims"]["conv"] == "unit y x"
    assert np.isnan(read["stride_y"]["fc"]) and read["receptive_field_y"]["fc"] == 64 and read["whole"]["fc"]
    made = json.loads(path.with_suffix(".json").read_text())
    assert made["inputs"] == {"network": network.digest} and made["options"]["image"] == [64, 64]
    with pytest.raises(OptionError, match=r"a table of layers is a CSV file: .*layers.csv, not .*layers.txt"):
        save_layers(layers(network), tmp_path / "layers.txt", network=network)


def test_the_command_prints_an_aligned_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "layers.csv"
    command = ["layers", "torchvision:resnet18", "--match", "layer?", "fc", "layer1.0.relu#2", "--out", str(out)]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "kind", "shape", "stride", "field", "parameters"]
    assert [line.split()[0] for line in lines[1:7]] == [
        "layer1.0.relu#2", "layer1", "layer2", "layer3", "layer4", "fc"
    ]  # fmt: skip
    assert [line.split()[-2] for line in lines[2:6]] == ["43", "99", "211", "435"]
    assert lines[2].split()[-1] == "147,968" and lines[6].split()[-2:] == ["whole", "513,000"]
    assert len({len(line) for line in lines[2:7]}) == 1 and max(map(len, lines)) <= 100
    assert lines[8] == "6 of 75 layers; the network has 11,689,512 parameters"
    assert lines[9] == "stride, receptive field: pixels of the 224 x 224 image that the network sees; whole: all of it"
    assert pd.read_csv(out)["name"].tolist() == [line.split()[0] for line in lines[1:7]]


def test_what_is_long_to_say_stands_below_the_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.conv, self.a, self.b = nn.Conv2d(3, 2, 3), nn.ReLU(), nn.ReLU()\n\n"
        "    def forward(self, x):\n        return self.b(self.a(torch.linalg.matrix_exp(self.conv(x))))\n\n\n"
        "def build():\n    return Net()\n"
    )
    assert main(["layers", f"{file}:build"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[-2:] == lines[3].split()[-2:] == ["?", "(1)"]
    assert lines[-1] == "(1) receptive field unknown: what 'linalg_matrix_exp' reads is not known"
    assert main(["layers", f"{file}:build", "--match", "d"]) == 2
    assert "no layer 'd' in" in capsys.readouterr().err


@pytest.mark.slow
def test_tokens_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    table = layers("timm:vit_tiny_patch16_224").set_index("name")
    assert table["tokens"]["blocks.0.mlp"] == "1 cls + 196 patch" and table["grid"]["blocks.0.mlp"] == (14, 14)
    assert main(["layers", "timm:vit_tiny_patch16_224", "--match", "blocks.?"]) == 0
    assert "tokens: 1 cls + 196 patch, patches in a grid of 14 x 14\n" in capsys.readouterr().out
