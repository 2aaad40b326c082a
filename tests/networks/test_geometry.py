"""Receptive fields: the table of known sizes, and the pixels that gradients reach, on many architectures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gradient_support import blank_net, disagreements, linear_surrogate, support, torchvision_net
from torch import nn
from torch.nn import functional as F
from torchvision import models

import netphys
from netphys.errors import LayerNotFound, OptionError
from netphys.networks.geometry import Field, receptive_fields

TRUTH = {  # name: layer → (size, stride, centre of position 0), 224 pixels
    "alexnet": {
        "features.0": (11, 4, 3), "features.2": (19, 8, 7), "features.3": (51, 8, 7), "features.5": (67, 16, 15),
        "features.6": (99, 16, 15), "features.8": (131, 16, 15), "features.10": (163, 16, 15),
        "features.12": (195, 32, 31),
    },
    "vgg16": {
        "features.2": (5, 1, 0), "features.4": (6, 2, 0.5), "features.7": (14, 2, 0.5), "features.9": (16, 4, 1.5),
        "features.14": (40, 4, 1.5), "features.16": (44, 8, 3.5), "features.21": (92, 8, 3.5),
        "features.23": (100, 16, 7.5), "features.28": (196, 16, 7.5), "features.30": (212, 32, 15.5),
    },
    "resnet18": {
        "conv1": (7, 2, 0), "maxpool": (11, 4, 0), "layer1": (43, 4, 0), "layer2": (99, 8, 0), "layer3": (211, 16, 0),
        "layer4": (435, 32, 0), "layer2.0.conv1": (51, 8, 0), "layer2.0.downsample": (43, 8, 0),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TRUTH)
def test_the_table_of_known_sizes(name: str) -> None:
    fields = receptive_fields(blank_net(name), size=(224, 224))
    for layer, (size, stride, centre) in TRUTH[name].items():
        field = fields[layer]
        assert (field.size, field.stride, field.centre) == ((size,) * 2, (stride,) * 2, (centre,) * 2), layer
        top, bottom, left, right = field.box(1, 2)
        assert (bottom - top + 1, right - left + 1) == (size, size)
        assert ((top + bottom) / 2, (left + right) / 2) == (centre + stride, centre + 2 * stride)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("resnet18", 64),
        ("squeezenet1_1", 64),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in (("vit_b_32", 224), ("googlenet", 64))),
    ],
)
def test_layers_are_named_as_in_a_recording(name: str, side: int) -> None:
    net = torchvision_net(name).eval()
    table = netphys.layers(net, netphys.StimulusSet.from_arrays(np.zeros((1, 3, side, side), np.uint8)))
    assert list(receptive_fields(net, size=(side, side))) == list(table["name"])


# The pixels that gradients reach


def random_chain(seed: int) -> nn.Sequential:
    """Draw a chain of convolutions and poolings, square and not, strided, dilated, padded."""
    rng = np.random.default_rng(seed)
    pick: Callable[..., Any] = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    steps: list[nn.Module] = []
    n_in = 3
    for _ in range(rng.integers(2, 5)):
        kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
        stride, dilation = (int(rng.integers(1, 3)), int(rng.integers(1, 3))), pick(1, 1, 2)
        padding = (int(rng.integers(0, 3)), int(rng.integers(0, 3)))
        steps.append(
            nn.Conv2d(n_in, 4, kernel, stride, padding, dilation, padding_mode=pick("zeros", "zeros", "reflect"))
        )
        n_in = 4
        steps.append(
            pick(
                nn.ReLU(), nn.BatchNorm2d(4), nn.AvgPool2d(3, 2, 1, ceil_mode=bool(rng.integers(2))),
                nn.MaxPool2d((2, 3), stride=(1, 2)), nn.ZeroPad2d((1, 2, 0, 1)), nn.AdaptiveAvgPool2d((5, 7)),
                nn.ConvTranspose2d(4, 4, 3, 2, 1), nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.Upsample(scale_factor=2, mode="nearest"), nn.ReplicationPad2d(1), nn.Dropout(),
            )
        )  # fmt: skip
    return nn.Sequential(*steps)


class Branches(nn.Module):
    """Branches of other strides and kernels that are added, concatenated and multiplied; a reused module."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, (1, 5), 2, (0, 2))
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.both, self.end = nn.Identity(), nn.Conv2d(8, 4, 3, groups=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.a(x), self.b(x)
        a = self.again(self.again(a)) + b[:, :, :, :] * 2
        return self.end(self.both(torch.cat([a, F.avg_pool2d(b, 3, 1, 1)], 1)).flip(-1)[..., 1:])


CHAINS = [seed for seed in range(24) if seed != 4]  # 4 leaves no pixel for its last pooling


@pytest.mark.parametrize("seed", CHAINS)
def test_gradients_reach_the_box_and_nothing_else_in_random_chains(seed: int) -> None:
    size = (61, 78)
    chain = linear_surrogate(random_chain(seed), seed)
    fields = receptive_fields(chain, size=size)
    assert not disagreements(chain, fields, list(fields), size)


def test_gradients_reach_the_box_where_branches_meet() -> None:
    net = linear_surrogate(Branches(), 0)
    fields = receptive_fields(net, size=(31, 40))
    assert not disagreements(net, fields, list(fields), (31, 40))
    assert fields["again#2"].size == (11, 11)


@pytest.mark.parametrize("seed", [0, 3])
def test_control_padding_off_by_one_is_seen(seed: int) -> None:
    size = (61, 78)
    chain = linear_surrogate(random_chain(seed), seed)
    right, wrong = receptive_fields(chain, size=size), random_chain(seed)
    wrong[0].padding = tuple(each + 1 for each in wrong[0].padding)
    wrong[0]._reversed_padding_repeated_twice = [each for n in reversed(wrong[0].padding) for each in (n, n)]
    off = receptive_fields(wrong, size=size)
    true = support(chain, "1", size, (4, 5))
    assert right["1"].seen(4, 5) == true != off["1"].seen(4, 5)


def test_control_a_walk_over_modules_in_call_order_is_wrong_after_a_shortcut() -> None:
    """The recursion along called modules counts the shortcut's convolution as a layer."""
    net = torchvision_net("resnet18")
    size, jump = 1, 1
    order: list[nn.Module] = []
    handles = [each.register_forward_hook(lambda m, *_: order.append(m)) for each in net.modules()]
    net.eval()(torch.zeros(1, 3, 64, 64))
    for handle in handles:
        handle.remove()
    for each in order[: order.index(net.layer2[0])]:
        if isinstance(each, nn.Conv2d | nn.MaxPool2d):
            kernel, stride = (np.ravel(value)[0] for value in (each.kernel_size, each.stride))
            size, jump = size + (kernel - 1) * jump, jump * stride
    assert size == receptive_fields(net)["layer2.0"].size[0] and jump != receptive_fields(net)["layer2.0"].stride[0]


# The package's own networks, and what has no box


def test_small_alexnet() -> None:
    fields = receptive_fields(netphys.load_network("netphys:small_alexnet"))
    sizes = {layer: (fields[layer].size[0], fields[layer].stride[0]) for layer in fields}
    assert sizes["conv1"] == (9, 2) and sizes["pool1"] == (13, 4) and sizes["conv2"] == (29, 4)
    assert sizes["pool2"] == (37, 8) and sizes["conv5"] == (85, 8) and sizes["pool5"] == (101, 16)
    assert fields["conv1"].centre == (0, 0) and fields["conv5"].n_positions == (8, 8)
    assert fields["conv5"].box(0, 7) == (-42, 42, 14, 98)


def test_whole_images_gates_and_tokens() -> None:
    resnet = receptive_fields(blank_net("resnet18"), size=(224, 224))
    assert resnet["fc"].whole and resnet["avgpool"].whole and not resnet["layer4"].whole
    assert repr(resnet["fc"]) == "Field(fc: the whole image of 224 x 224 px)"
    gated = receptive_fields(blank_net("mobilenet_v3_small"), size=(224, 224))
    assert gated["features.1"].gated and gated["features.1"].size == (7, 7) and not gated["features.0"].gated
    vit = receptive_fields(models.VisionTransformer(224, 32, 2, 2, 8, 16), size=(224, 224))
    tokens = vit["encoder.layers.encoder_layer_0.ln_1"]
    assert tokens.n_positions == (50,) and tokens.size == (32, 32)
    assert tokens.box(0) == (0, -1, 0, -1)  # the class token has read nothing yet
    assert tokens.box(1 + 7 + 2) == (32, 63, 64, 95)
    assert vit["encoder.layers.encoder_layer_0"].whole


def test_normalisation_over_space_reads_the_whole_image() -> None:
    for norm in (nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)):
        fields = receptive_fields(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), norm), size=(12, 12))
        assert fields["1"].whole and fields["0"].size == (3, 3)


class Odd(nn.Module):
    """Leaves what is understood: an operation without a rule, numpy, an output that knows no image."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.after, self.how = nn.Conv2d(3, 2, 3), nn.ReLU(), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if self.how == "no rule":
            x = torch.linalg.matrix_exp(x)
        elif self.how == "numpy":
            x = torch.from_numpy(x.detach().numpy().copy())
        elif self.how == "in place":
            x[:, :, 1:] = x[:, :, :-1].clone()
        return self.after(x)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no rule", "what 'linalg_matrix_exp' reads is not known"),
        ("numpy", "its path from the image leaves torch, or does not begin at the image"),
        ("in place", "a part of it was written to in place"),
    ],
)
def test_what_cannot_be_followed_is_said(how: str, said: str) -> None:
    fields = receptive_fields(Odd(how), size=(12, 12))
    assert fields["conv"].size == (3, 3)
    assert fields["after"].problem == said
    with pytest.raises(OptionError, match="the receptive field of 'after' is unknown: "):
        fields["after"].box(0, 0)


class Written(nn.Module):
    """Writes what reads 11 x 11 pixels into a tensor that nothing was known of, and adds what reads 3 x 3."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.wide, self.small = nn.Conv2d(3, 2, 11, padding=5), nn.Conv2d(3, 4, 3, padding=1)
        self.out, self.how = nn.Identity(), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, a = self.wide(x), self.small(x)
        z = torch.zeros(1, 4, *x.shape[2:])
        part = z[:, :2]
        if self.how == "slice":
            z[:, :2] = b
        elif self.how == "out":
            torch.mul(b, 2, out=part)
        elif self.how == "in place":
            part.add_(b)
        elif self.how == "list":
            torch._foreach_add_([part], [b])
        elif self.how == "alone":
            z[:, :2] = b
            return self.out(z)
        elif self.how == "view from before":
            torch.cat([b, b], 1, out=z)
            return self.out(a[:, :2] + part)
        elif self.how == "whole":
            torch.cat([b, b], 1, out=z)
        elif self.how == "written over":
            a = torch.mul(self.small(x), 2, out=torch.cat([b, b], 1))
        elif self.how == "constants":
            z[:, :2] = 1
        return self.out(a + z)


@pytest.mark.parametrize("how", ["slice", "out", "in place", "list", "alone", "view from before"])
def test_values_written_into_a_fresh_tensor_are_not_taken_for_constants(how: str) -> None:
    fields = receptive_fields(Written(how), size=(24, 24))
    assert fields["wide"].size == (11, 11) and fields["small"].size == (3, 3)
    assert fields["out"].problem == "a part of it was written to in place"


@pytest.mark.parametrize(("how", "size"), [("whole", 11), ("written over", 3), ("constants", 3), ("nothing", 3)])
def test_what_is_written_whole_or_constant_stays_known(how: str, size: int) -> None:
    assert receptive_fields(Written(how), size=(24, 24))["out"].size == (size, size)


def test_the_network_is_left_as_it_was_found() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True)).train()
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.random.get_rng_state()
    receptive_fields(net, size=(8, 8))
    assert net.training and not net[1].training and not net[0]._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())


def test_errors_and_tables() -> None:
    chain = nn.Sequential(nn.Conv2d(3, 2, 5, stride=2), nn.Conv2d(2, 2, 3))
    fields = receptive_fields(chain, size=(20, 30), layers=["1"])
    assert list(fields) == ["1"] and fields["1"].n_positions == (6, 11)
    with pytest.raises(LayerNotFound, match="no layer '0' in Sequential; "):
        fields["0"]
    with pytest.raises(OptionError, match=r"'1' has 6 x 11 positions, none at \(6, 0\)"):
        fields["1"].box(6, 0)
    with pytest.raises(OptionError, match="a position of '1' has 2 numbers, not 1"):
        fields["1"].box(3)
    with pytest.raises(OptionError, match=r"Sequential cannot look at an image of 3 x 3 \(.*; give another size"):
        receptive_fields(chain, size=(3, 3))
    frame = fields.to_frame()
    assert frame.loc[0, ["layer", "size_y", "stride_x", "centre_y"]].tolist() == ["1", 9, 2, 4]
    many = np.array([[0, 0], [5, 10]])
    assert fields["1"].boxes(many).tolist() == [list(fields["1"].box(*each)) for each in many]
    assert repr(fields) == "Fields(Sequential: 1 layers, up to 9 x 9 px)" and isinstance(fields["1"], Field)
