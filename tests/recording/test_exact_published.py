"""Recordings of published networks equal plain cloning hooks on a copy without in-place operations, bit for bit."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.networks.attention import ATTENTION
from netphys.networks.outputs import layer_name, tensors_in
from netphys.recording.keep.maps import units_first
from netphys.recording.layers import probe_layers


def _without_inplace(net: nn.Module) -> nn.Module:
    net = copy.deepcopy(net)
    for each in net.modules():
        if hasattr(each, "inplace"):
            each.inplace = False
    return net


def _cloned(net: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Plain cloning hooks."""
    found, calls, handles = {}, Counter(), []

    def hook(path: str) -> Any:
        def take(module: nn.Module, inputs: Any, output: Any) -> None:
            calls[path] += 1
            for suffix, tensor in tensors_in(output):
                found[layer_name(path, calls[path], suffix)] = tensor.clone()

        return take

    handles = [each.register_forward_hook(hook(path)) for path, each in net.named_modules() if path]
    with torch.no_grad():
        net.eval()(images)
    for handle in handles:
        handle.remove()
    return found


def _different(recording: Any, layers: Any, expected: dict[str, torch.Tensor]) -> list[str]:
    """Name what a recording got otherwise than plain hooks on the copy; a function `relu` by what it follows."""
    wrong = []
    for each in layers:
        values = expected.get(each.name)
        if values is None:
            if each.kind != "relu" or each.name.count("#"):
                continue
            values = expected[each.name.partition(":")[0]].clamp(min=0)
        if not np.array_equal(recording.array(each.name), units_first(values, each).numpy()):
            wrong.append(each.name)
    return wrong


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18", "squeezenet1_1", "mobilenet_v2", "googlenet"])
def test_torchvision_networks_equal_their_copy_without_inplace(name: str, photographs: Any) -> None:
    shown = photographs.subset(range(2))
    network = netphys.load_network(f"torchvision:{name}?resize=64")
    layers = probe_layers(network, shown.images([0, 0, 0]))
    recording = netphys.record(network, shown, layers="all", batch_size=2)
    expected = _cloned(_without_inplace(network.module), network.prepare(shown.images([0, 1])))
    functions = {each for each in recording.layers if ":" in each}
    assert set(recording.layers) - functions == expected.keys() and len(expected) > 15
    assert len(functions) == {"googlenet": 57, "mobilenet_v2": 1}.get(name, 0)
    assert not _different(recording, [each for each in layers if each.name in recording.layers], expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "densenet121", "efficientnet_b0", "efficientnet_v2_s", "inception_v3", "mnasnet0_5", "mnasnet1_0",
        "mobilenet_v3_small", "mobilenet_v3_large", "regnet_x_400mf", "regnet_y_400mf", "resnet34", "resnet50",
        "resnext50_32x4d", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "squeezenet1_0", "vgg11_bn", "vgg13", "vgg16",
        "vgg16_bn", "vgg19", "wide_resnet50_2", "convnext_tiny", "densenet169", "resnet101", "swin_t",
    ],
)  # fmt: skip
def test_more_torchvision_networks_equal_their_copy_without_inplace(name: str, photographs: Any) -> None:
    shown = photographs.subset(range(2))
    network = netphys.load_network(f"torchvision:{name}?resize={96 if name == 'inception_v3' else 64}")
    table = probe_layers(network, shown.images([0, 0, 0]))
    good = [each for each in table if not each.problem and each.kind not in ATTENTION]
    recording = netphys.record(network, shown, layers=[each.name for each in good], batch_size=2)
    expected = _cloned(_without_inplace(network.module), network.prepare(shown.images([0, 1])))
    assert not _different(recording, good, expected)


def test_a_plain_hook_without_a_copy_is_wrong_on_alexnet(photographs: Any) -> None:
    """Control: five of five convolutions come out rectified."""
    network = netphys.load_network("torchvision:alexnet?resize=64")
    images, kept = network.prepare(photographs.images([0, 1])), {}
    expected = _cloned(_without_inplace(network.module), images)
    for path, module in network.module.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, i, out, path=path: kept.__setitem__(path, out.numpy()))
    with torch.no_grad():
        network.module(images)
    assert len(kept) == 5 and all(not np.array_equal(kept[each], expected[each].numpy()) for each in kept)
    assert all(np.array_equal(kept[each], expected[each].clamp(min=0).numpy()) for each in kept)
