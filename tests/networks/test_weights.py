"""Weights from safetensors: every key and shape must fit, and nothing executes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from netphys.errors import WeightsError
from netphys.networks.weights import load_weights


def _net(seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 2, 1))
    for each in net.parameters():
        each.data = torch.randn(each.shape, generator=generator)
    return net


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    save_file(_net(1).state_dict(), tmp_path / "w.safetensors")
    net, before = _net(2), _net(2).state_dict()
    load_weights(net, tmp_path / "w.safetensors")
    assert all(torch.equal(net.state_dict()[key], value) for key, value in _net(1).state_dict().items())
    assert not all(torch.equal(net.state_dict()[key], value) for key, value in before.items())  # control


def test_mixed_dtypes_are_cast_to_those_of_the_network(tmp_path: Path) -> None:
    state = _net(1).state_dict()
    state["0.weight"] = state["0.weight"].half()
    state["2.weight"] = state["2.weight"].bfloat16()
    save_file(state, tmp_path / "w.safetensors")
    net = _net(2)
    load_weights(net, tmp_path / "w.safetensors")
    assert net[0].weight.dtype == torch.float32 and torch.equal(net[0].weight, state["0.weight"].float())
    assert torch.equal(net[2].weight, state["2.weight"].float())


def _lacking(state: dict) -> dict:
    return {key: value for key, value in state.items() if key != "2.bias"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_lacking, "does not fit Sequential: it lacks 1, first '2.bias'"),
        (lambda s: {**s, "fc.bias": torch.ones(2)}, "it has 1 that the network lacks, first 'fc.bias'"),
        (lambda s: {**_lacking(s), "a": torch.ones(1)}, "it lacks 1, first '2.bias' and has 1 that the network lacks"),
        (lambda s: {**s, "2.bias": torch.ones(3)}, r"'2.bias' is \(3,\), the network's is \(2,\)"),
        (lambda s: {}, "it lacks 9, first '0.bias'"),
    ],
)
def test_what_does_not_fit_is_one_line_and_changes_nothing(
    tmp_path: Path, change: Callable[[dict], dict], said: str
) -> None:
    save_file(change(_net(1).state_dict()), tmp_path / "w.safetensors")
    net = _net(2)
    with pytest.raises(WeightsError, match=said) as caught:
        load_weights(net, tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, _net(2).state_dict()[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("n_bytes", [0, 4, 9, 100, 600])
def test_truncated_files_are_named(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "w.safetensors"
    save_file(_net(1).state_dict(), path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(WeightsError, match="w.safetensors is damaged or not a safetensors file") as caught:
        load_weights(_net(2), path)
    assert "\n" not in str(caught.value)


class _Mine:
    """A pickle of it would write a file on loading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    for name in ("w.pth", "w.pt", "w.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(_Mine(trap)))
        with pytest.raises(WeightsError, match="are not .safetensors; other formats can run code|is damaged"):
            load_weights(_net(0), tmp_path / name)
    assert not trap.exists()
    pickle.loads((tmp_path / "w.pth").read_bytes())
    assert trap.exists()  # control: the trap works


def test_absent_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights at .*absent.safetensors"):
        load_weights(_net(0), tmp_path / "absent.safetensors")


def test_random_edits_load_or_are_one_line(tmp_path: Path) -> None:
    path, rng = tmp_path / "w.safetensors", np.random.default_rng(0)
    save_file(_net(1).state_dict(), path)
    whole, refused = path.read_bytes(), 0
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, min(len(data), 400), 3):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            load_weights(_net(2), path)
        except WeightsError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20
