"""A trained network's folder: what is written comes back bit for bit; what was changed is refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
import torch
from torch import nn

from netphys.errors import AddressError, OptionError, WeightsError
from netphys.files import sha256_of
from netphys.networks import Network, Preprocess, load_network, save_network
from netphys.networks.folder import read_network_toml

ADDRESS = "netphys:small_alexnet?width=4&seed=3"


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    network = load_network(ADDRESS)
    with torch.no_grad():
        for each in network.module.parameters():
            each.add_(torch.randn(each.shape, generator=torch.Generator().manual_seed(1)))
        network.module.get_buffer("norm1.running_mean").fill_(0.25)
    network = replace(network, training="simclr", preprocess=Preprocess(colour="lightness", resize=(64, 64)))
    return save_network(tmp_path / "trained", network, {"objective": "simclr", "n_steps": 3, "nothing": None})


def test_a_network_comes_back_as_it_was(trained):
    again = load_network(str(trained))
    assert again.training == "simclr" and again.name == str(trained)
    assert again.preprocess == Preprocess(colour="lightness", resize=(64, 64))
    assert float(again.module.norm1.running_mean[0]) == 0.25
    untrained = load_network(ADDRESS)
    assert again.digest != untrained.digest  # control: it is not the one that its address alone would build
    assert not torch.equal(again.module.conv1.weight, untrained.module.conv1.weight)
    assert read_network_toml(trained)["made"] == {"objective": "simclr", "n_steps": 3}


def test_a_query_tunes_a_folder_too(trained):
    assert load_network(f"{trained}?colour=rgb&resize=32").preprocess == Preprocess(resize=(32, 32))
    with pytest.raises(AddressError, match="takes no option 'widht'"):
        load_network(f"{trained}?widht=3")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda table: table.update(format="other"), AddressError, "not that of a netphys network"),
        (lambda table: table.pop("training"), AddressError, "does not say its training"),
        (lambda table: table["preprocess"].update(colour="infrared"), AddressError, "colour='infrared' is not one of"),
        (lambda table: table["preprocess"].update(reszie=3), AddressError, "no option 'reszie'.*resize"),
        (lambda table: table["preprocess"].update(std=[1, 0, 1]), AddressError, "not three numbers above 0"),
        (lambda table: table.update(weights_sha256="0" * 64), WeightsError, "checksum"),
        (lambda table: table.update(architecture="netphys:pixels"), WeightsError, "does not fit"),
    ],
)
def test_what_a_stranger_wrote_is_refused_in_one_line(trained, change, error, message):
    table = read_network_toml(trained)
    change(table)
    (trained / "network.toml").write_text(tomli_w.dumps(table))
    with pytest.raises(error, match=message) as caught:
        load_network(str(trained))
    assert "\n" not in str(caught.value)


def test_a_folder_that_names_itself_is_refused(trained):
    table = read_network_toml(trained)
    table["architecture"] = str(trained)
    (trained / "network.toml").write_text(tomli_w.dumps(table))
    with pytest.raises(AddressError, match="names a folder"):
        load_network(str(trained))


@pytest.mark.parametrize(
    ("address", "architecture"),
    [
        ("netphys:small_alexnet?width=4&seed=3", "netphys:small_alexnet?width=4&seed=3"),
        ("netphys:small_alexnet@{tmp}/w@1.safetensors?width=4", "netphys:small_alexnet?width=4"),
        ("torchvision:resnet18@DEFAULT?head=none", "torchvision:resnet18?head=none"),
        ("torchvision:googlenet@DEFAULT", "torchvision:googlenet@DEFAULT"),  # untrained it has other layers
        ("{tmp}/at@home.py:make?resize=32", "{tmp}/at@home.py:make?resize=32"),
        ("{trained}", "netphys:small_alexnet?width=4&seed=3"),
        ("{trained}?resize=32&head=none", "netphys:small_alexnet?width=4&seed=3&head=none"),
    ],
)
def test_the_architecture_is_that_of_the_address_without_weights(trained, tmp_path, address, architecture) -> None:
    given, expected = (each.format(tmp=tmp_path, trained=trained) for each in (address, architecture))
    network = replace(load_network(ADDRESS), address=given)
    assert read_network_toml(save_network(tmp_path / "again", network, {}))["architecture"] == expected


def test_what_was_loaded_with_weights_comes_back_without_their_file(trained, tmp_path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes((trained / "weights.safetensors").read_bytes())
    for address in (f"netphys:small_alexnet@{weights}?width=4", str(trained)):
        network = load_network(address)
        save_network(tmp_path / "again", network, {})
        weights.rename(tmp_path / "elsewhere.safetensors") if weights.exists() else None
        again = load_network(str(tmp_path / "again"))
        ours, theirs = network.module.state_dict(), again.module.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_changed_weight_is_seen(trained):
    weights = trained / "weights.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-3] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(WeightsError, match="checksum"):
        load_network(str(trained))
    table = read_network_toml(trained)  # control: with a checksum that fits, safetensors itself sees nothing
    table["weights_sha256"] = sha256_of(weights)
    (trained / "network.toml").write_text(tomli_w.dumps(table))
    load_network(str(trained))


def test_what_no_file_can_hold_is_refused(tmp_path):
    with pytest.raises(OptionError, match="has no address"):
        save_network(tmp_path, Network(nn.Linear(2, 2)), {})
    odd = Network(nn.Linear(2, 2), preprocess=lambda images: images, address="mine.py:make")
    with pytest.raises(OptionError, match="which no file can hold"):
        save_network(tmp_path, odd, {})


def test_a_folder_of_other_things_is_no_network(tmp_path):
    with pytest.raises(AddressError, match="holds no network"):
        load_network(str(tmp_path))
