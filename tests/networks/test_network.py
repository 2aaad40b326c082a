"""Network: its digest changes with everything that its activations depend on, and with nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from netphys.errors import AddressError, OptionError
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
    assert repr(Network(nn.Linear(2, 3))) == "Network(Linear: Linear, 9 parameters, unknown)"
    assert Network(nn.Identity(), address="a:b").name == "a:b"
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal(Network(nn.Identity()).prepare(images), images / 255)
    assert torch.equal(Network(nn.Identity(), lambda x: x.float() * 2).prepare(images), images * 2.0)


def test_a_plain_module_is_a_network_and_others_are_not() -> None:
    net = nn.Identity()
    assert as_network("netphys:pixels").training == "none"
    assert as_network(net).module is net and as_network(as_network(net)).module is net
    with pytest.raises(
        OptionError, match="a network is a netphys Network, a torch.nn.Module or an address .*, not int"
    ):
        as_network(3)


class Gain(nn.Module):
    """A number and a mask that are neither parameters nor buffers."""

    def __init__(self, gain: float, lesion: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.mask = torch.full((3, 1, 1), lesion)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gain * self.mask


def test_plain_attributes_tensors_and_hooks_of_a_module_count() -> None:
    one = Network(nn.Sequential(Gain(1.0)))
    assert Network(nn.Sequential(Gain(1.0))).digest == one.digest
    assert Network(nn.Sequential(Gain(2.0))).digest != one.digest
    assert Network(nn.Sequential(Gain(1.0, lesion=0.0))).digest != one.digest
    before = one.digest
    handle = one.module[0].register_forward_hook(lambda module, inputs, output: output * 0)
    assert one.digest != before
    handle.remove()
    assert one.digest == before


def test_a_preprocess_counts_by_its_source_and_must_have_one() -> None:
    def made(factor: float) -> Network:
        return Network(nn.Identity(), lambda images: images.float() * factor)

    assert made(2.0).digest == made(2.0).digest != made(3.0).digest

    class Opaque:
        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return images.float()

    with pytest.raises(OptionError, match="does not say what it does"):
        assert Network(nn.Identity(), Opaque()).digest


HELPED = "import helper_of_mine\nfrom torch import nn\ndef net():\n    return helper_of_mine.make()\n"
HELPER = """
from __future__ import annotations
from dataclasses import dataclass
from torch import nn

@dataclass
class Options:
    scale: float = 1.0

class Scaled(nn.Module):
    def forward(self, x):
        return x * Options().scale

def make():
    return nn.Sequential(Scaled())
"""


def test_what_a_users_file_imports_from_its_folder_counts_and_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HELPED)
    (tmp_path / "helper_of_mine.py").write_text(HELPER)
    one = load_network(f"{tmp_path}/mine.py:net")
    images = torch.ones(1, 3, 2, 2)
    assert float(one.module(images).mean()) == 1.0
    assert load_network(f"{tmp_path}/mine.py:net").digest == one.digest
    (tmp_path / "helper_of_mine.py").write_text(HELPER.replace("1.0", "3.0"))
    two = load_network(f"{tmp_path}/mine.py:net")
    assert float(two.module(images).mean()) == 3.0
    assert two.digest != one.digest


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_module_anywhere\n", ["mine.py:1", "ModuleNotFoundError"]),
        ("def net(:\n", ["mine.py:1", "SyntaxError"]),
        ("def net():\n    return 1 / 0\n", ["mine.py:2", "ZeroDivisionError"]),
        ("def net():\n    return 3\n", ["returned int"]),
    ],
)
def test_a_users_file_that_fails_is_one_line_that_names_the_place(
    tmp_path: Path, source: str, words: list[str]
) -> None:
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(AddressError) as caught:
        load_network(f"{tmp_path}/mine.py:net")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_users_dataclass_finds_its_module(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HELPER.replace("def make", "def net"))
    assert load_network(f"{tmp_path}/mine.py:net").training == "unknown"
