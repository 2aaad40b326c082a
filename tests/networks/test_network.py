"""Network: its digest changes with everything that its activations depend on, and with nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from netphys.errors import OptionError
from netphys.networks import Network, Preprocess, as_network, load_network
from netphys.networks.network import weights_digest


def _net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def test_equal_networks_have_equal_digests() -> None:
    digest = Network(_net()).digest
    assert digest == Network(_net(), name="another", address="elsewhere", training="pretrained").digest
    net = _net()
    net.train()
    for each in net.parameters():
        each.requires_grad_(False)
    assert Network(net).digest == digest  # modes and grad flags do not change what is recorded


def test_every_change_is_seen() -> None:
    digests = {Network(_net()).digest}
    changes = (
        lambda net: net[0].weight.data[0, 0, 0, 0].add_(1e-6),
        lambda net: net[1].running_mean[0].add_(1e-6),
        lambda net: net[1].num_batches_tracked.add_(1),
        lambda net: net.__setitem__(2, nn.ReLU6()),
        lambda net: setattr(net[0], "stride", (2, 2)),
        lambda net: net.half(),
        lambda net: net[0].register_buffer("extra", torch.ones(1), persistent=False),
    )
    for change in changes:
        net = _net()
        with torch.no_grad():
            change(net)
        digests.add(Network(net).digest)
    for preprocess in (Preprocess(resize=8), Preprocess(mean=(0.5, 0.5, 0.5)), Preprocess(interpolation="bicubic")):
        digests.add(Network(_net(), preprocess).digest)
    digests.add(replace(Network(_net()), source="abc").digest)
    assert len(digests) == 1 + len(changes) + 3 + 1


def test_weights_digest_counts_names_dtypes_and_shapes() -> None:
    def digest(**tensors: torch.Tensor) -> str:
        net = nn.Module()
        for name, tensor in tensors.items():
            net.register_buffer(name, tensor)
        return weights_digest(net)

    ones = torch.ones(4)
    values = [digest(a=ones), digest(b=ones), digest(a=ones.view(2, 2)), digest(a=ones.view(torch.int32)), digest()]
    assert len(set(values)) == 5 and digest(a=ones, b=ones * 2) == digest(b=ones * 2, a=ones)
    assert digest(a=torch.ones(2, 2).t()) == digest(a=torch.ones(2, 2)) and digest(a=torch.tensor(True))


SOURCE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.conv(x) * 2
def net():
    return Net()
"""


def test_a_users_source_counts_and_its_path_does_not(tmp_path: Path) -> None:
    here = tmp_path / "mine.py"
    here.write_text(SOURCE)
    there = tmp_path / "a folder" / "öther.py"
    there.parent.mkdir()
    shutil.copy(here, there)
    digest = load_network(f"{here}:net").digest
    assert load_network(f"{there}:net").digest == digest
    there.write_text(SOURCE.replace("* 2", "* 3"))
    assert load_network(f"{there}:net").digest != digest


def test_names_and_preparation() -> None:
    assert repr(Network(nn.Linear(2, 3))) == "Network(Linear: Linear, 9 parameters, untrained)"
    assert Network(nn.Identity(), address="a:b").name == "a:b"
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal(Network(nn.Identity()).prepare(images), images / 255)
    assert torch.equal(Network(nn.Identity(), lambda x: x.float() * 2).prepare(images), images * 2.0)


def test_a_plain_module_is_a_network_and_others_are_not() -> None:
    net = nn.Identity()
    assert as_network(net).module is net and as_network(as_network(net)).module is net
    with pytest.raises(OptionError, match="a network is a netphys Network or a torch.nn.Module, not str"):
        as_network("torchvision:alexnet")
