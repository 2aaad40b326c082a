"""Receptive fields of published networks: the pixels that gradients reach are the box, functions included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gradient_support import blank_net, disagreements, linear_surrogate, support
from torch import nn
from torch.nn import functional as F
from torchvision import models

from netphys.networks.geometry import Fields, receptive_fields
from netphys.networks.outputs import LayerName

NETS = {  # rows that are seen; columns are 32 more
    "alexnet": 96, "vgg11": 64, "resnet18": 64, "squeezenet1_1": 64, "mobilenet_v2": 64, "shufflenet_v2_x0_5": 64,
    "densenet121": 64, "googlenet": 64, "mnasnet0_5": 64, "vgg13_bn": 64, "resnext50_32x4d": 64, "inception_v3": 107,
    "regnet_x_400mf": 64, "regnet_y_400mf": 64, "convnext_tiny": 64, "efficientnet_b0": 64, "mobilenet_v3_small": 64,
    "wide_resnet50_2": 64, "timm:tf_efficientnet_b0": 75, "timm:tf_mobilenetv3_small_100": 75, "timm:dla34": 64,
    "timm:resnet26d": 64, "timm:res2net50_26w_4s": 64, "timm:repvgg_a0": 64,
    "timm:hrnet_w18_small": 64, "timm:legacy_xception": 96, "timm:darknet53": 64, "timm:ghostnet_100": 64,
    "timm:dpn48b": 64, "timm:vovnet39a": 64,
}  # fmt: skip
IN_CI = ("alexnet", "resnet18", "timm:tf_mobilenetv3_small_100", "shufflenet_v2_x0_5")


def _mean_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let functional maxima be means of the same windows, through which every path carries a gradient."""

    def mean(x: torch.Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, *_: Any, **more: Any) -> Any:
        return F.avg_pool2d(x, kernel_size, stride, padding, more.get("ceil_mode", False))

    monkeypatch.setattr(F, "max_pool2d", mean)
    monkeypatch.setattr(torch, "max_pool2d", mean)


def _chosen(net: nn.Module, fields: Fields, n: int) -> list[str]:
    """Choose some leaves and functions all along the way."""
    leaves = {path for path, each in net.named_modules() if not any(each.children())}
    names = [layer for layer in fields if LayerName.parse(layer).path in leaves and not fields[layer].whole]
    functions = [layer for layer in names if LayerName.parse(layer).function]
    return list(
        dict.fromkeys(names[:: max(1, len(names) // n)] + functions[:: max(1, len(functions) // 3)] + names[-1:])
    )


@pytest.mark.parametrize("name", [pytest.param(each, marks=() if each in IN_CI else pytest.mark.slow) for each in NETS])
def test_gradients_reach_the_box_and_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (NETS[name], NETS[name] + 32)
    before = receptive_fields(blank_net(name), size=size)
    _mean_pools(monkeypatch)
    net = linear_surrogate(blank_net(name), 0)
    fields = receptive_fields(net, size=size)
    chosen = _chosen(net, fields, 3 if name in IN_CI else 6)
    assert len(chosen) > 3 and not disagreements(net, fields, chosen, size)
    kept = {each: before[each] for each in chosen if each in before}  # what was made linear reads the same
    assert len(kept) > len(chosen) // 2
    assert all(kept[each].box(0, 0) == fields[each].box(0, 0) for each in kept)


def test_gradients_reach_the_box_where_convolutions_are_dilated() -> None:
    net = linear_surrogate(blank_net("resnet50", replace_stride_with_dilation=[False, True, True]), 0)
    fields = receptive_fields(net, size=(224, 224))
    assert fields["layer3"].stride == fields["layer4"].stride == (8, 8)
    small = receptive_fields(net, size=(96, 64))
    assert small["layer4"].size == fields["layer4"].size
    assert not disagreements(net, small, ["layer3.0.conv2", "layer3.1.conv2"], (96, 64))


class Functional(nn.Module):
    """What many write: activations and poolings without modules, one of them twice, one before any module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.conv3 = nn.Conv2d(4, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.avg_pool2d(x, 2)
        x = F.avg_pool2d(F.relu(self.conv1(x)), 3, 2)
        x = torch.relu(self.conv2(x))
        return self.conv3(F.relu(F.interpolate(x, scale_factor=2, mode="bilinear").relu_()))


def test_functions_have_fields_as_modules_have() -> None:
    net = linear_surrogate(Functional(), 0)
    fields = receptive_fields(net, size=(61, 70))
    sizes = {layer: (field.size[0], field.stride[0]) for layer, field in fields.items()}
    assert list(sizes.items())[:6] == [
        ("input:avg_pool2d", (2, 2)), ("conv1", (10, 4)), ("conv1:relu", (10, 4)), ("conv1:avg_pool2d", (18, 8)),
        ("conv2", (50, 8)), ("conv2:relu", (50, 8)),
    ]  # fmt: skip
    assert list(sizes)[6:] == ["conv2:interpolate", "conv2:relu#2", "conv2:relu#3", "conv3"]
    assert not disagreements(net, fields, list(fields), (61, 70))
    # control: the field of the module before is not that of a function that pools
    assert fields["conv1:avg_pool2d"].box(2, 2) != fields["conv1"].box(2, 2)


def small_swin() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.SwinTransformer([4, 4], 32, [2, 2], [2, 4], [7, 7]).eval()


def test_windows_and_tokens_have_the_strides_and_centres_of_their_places() -> None:
    swin = receptive_fields(small_swin(), size=(224, 224))
    assert (swin["features.0"].size, swin["features.0"].stride) == ((4, 4), (4, 4))
    folded = swin["features.1.0.norm1:linear"]  # queries, keys and values: 64 windows of 7 x 7
    assert folded.n_positions == (64, 49) and folded.stride == (4, 4) and folded.centre == (1.5, 1.5)
    assert folded.box(9, 8) == (28 + 4, 28 + 7, 28 + 4, 28 + 7)  # window (1, 1), its token (1, 1)
    assert swin["features.1.0"].size == (28, 28) and swin["features.1.0"].stride == (4, 4)
    assert swin["features.1.0"].box(8, 6) == (28, 55, 0, 27)
    assert swin["features.3.0.norm1"].stride == (8, 8)
    vit = receptive_fields(models.VisionTransformer(224, 32, 2, 2, 8, 16), size=(224, 224))
    tokens = vit["encoder.layers.encoder_layer_0.ln_1"]
    assert tokens.stride == (32, 32) and vit["conv_proj"].centre == (15.5, 15.5) == tokens.centre  # the first patch
    assert vit["heads.head"].whole


def test_the_first_windows_of_swin_read_what_their_gradients_reach() -> None:
    net, size = small_swin().double(), (56, 84)
    fields = receptive_fields(net, size=size)
    layers = ["features.0.0", "features.0", "features.1.0.norm1", "features.1.0.attn", "features.1.0"]
    assert not disagreements(net, fields, layers, size)
    assert support(net, "features.1.0", size, (8, 6), (14, 21)) == (28, 55, 0, 27)
    assert support(net, "features.1.0", size, (8, 6)) != (28, 55, 0, 27)  # control: y taken for units
