"""The head of a classifier is found by what it does, not by its name; taken off, the rest is as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netphys.errors import AddressError, OptionError
from netphys.networks import Network, head_of, load_network, without_head


@pytest.mark.parametrize(
    ("name", "head"),
    [("resnet18", "fc"), ("alexnet", "classifier.6"), ("mobilenet_v2", "classifier.1"), ("squeezenet1_1", "")],
)
def test_heads_of_torchvision(name: str, head: str) -> None:
    assert head_of(load_network(f"torchvision:{name}")) == head


def test_a_network_without_its_head_gives_what_the_head_was_given() -> None:
    whole, bare = load_network("torchvision:resnet18"), load_network("torchvision:resnet18?head=none")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = bare.module(images)
        assert features.shape == (2, 512)
        assert torch.equal(whole.module.fc(features), whole.module(images))
    assert bare.address == "torchvision:resnet18?head=none"
    assert without_head(load_network("torchvision:resnet18")).address == "torchvision:resnet18?head=none"


def test_modes_and_hooks_are_left_as_they_were() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4))
    module[0].eval()
    assert head_of(Network(module)) == "1"
    assert module.training and not module[0].training and not module[1]._forward_hooks


def test_a_layer_whose_output_is_changed_afterwards_is_no_head() -> None:
    """Control: linear, but not the output."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4), nn.ReLU())
    assert head_of(Network(module)) == ""
    with pytest.raises(OptionError, match="has no head to take off"):
        without_head(Network(module))


def test_other_values_are_refused() -> None:
    with pytest.raises(AddressError, match="only head=none"):
        load_network("torchvision:resnet18?head=big")
