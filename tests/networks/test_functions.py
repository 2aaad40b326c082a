"""Functions are layers named after the module that last finished; their names do not depend on what is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netphys.networks.attention import ATTENTION
from netphys.networks.functions import FUNCTIONS, function_name
from netphys.networks.tap import Tap

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
SPELLINGS: dict[str, list[Callable[[torch.Tensor], Any]]] = {
    "relu": [
        F.relu, torch.relu, torch.relu_, torch.Tensor.relu, lambda x: x.relu_(), lambda x: F.relu(x, inplace=True)
    ],
    "relu6": [F.relu6, lambda x: F.relu6(x, inplace=True)],
    "leaky_relu": [F.leaky_relu, F.leaky_relu_, lambda x: F.leaky_relu(x, 0.2, inplace=True)],
    "elu": [F.elu, F.elu_],
    "sigmoid": [F.sigmoid, torch.sigmoid, lambda x: x.sigmoid_(), torch.special.expit],
    "tanh": [F.tanh, torch.tanh, lambda x: x.tanh_()],
    "logsigmoid": [F.logsigmoid],
    "gelu": [F.gelu, lambda x: F.gelu(x, approximate="tanh")],
    "hardtanh": [F.hardtanh, F.hardtanh_],
    "threshold": [lambda x: F.threshold(x, 0.0, 0.0), lambda x: torch.threshold(x, 0.0, 0.0)],
    "clamp": [lambda x: x.clamp(0), lambda x: torch.clamp(x, 0), lambda x: x.clamp_(min=0), lambda x: x.clip(0, 1)],
    "clamp_min": [lambda x: x.clamp_min(0), lambda x: torch.clamp_min(x, 0), lambda x: x.clamp_min_(0)],
    "softmax": [lambda x: F.softmax(x, 1), lambda x: x.softmax(1), lambda x: torch.special.softmax(x, 1)],
    "max_pool2d": [
        lambda x: F.max_pool2d(x, 2), lambda x: torch.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 2, return_indices=True),
    ],
    "adaptive_avg_pool2d": [lambda x: F.adaptive_avg_pool2d(x, 1)],
    "adaptive_max_pool2d": [lambda x: F.adaptive_max_pool2d(x, 1)],
    "conv2d": [lambda x: F.conv2d(x, torch.ones(3, 4, 3, 3)), lambda x: torch.conv2d(x, torch.ones(3, 4, 3, 3))],
    "linear": [lambda x: F.linear(x, torch.ones(3, 8))],
    "batch_norm": [lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4))],
    "group_norm": [lambda x: F.group_norm(x, 2)],
    "interpolate": [lambda x: F.interpolate(x, scale_factor=2)],
    "scaled_dot_product_attention": [lambda x: F.scaled_dot_product_attention(x, x, x)],
}  # fmt: skip


class Calls(nn.Module):
    """Calls what it is given."""

    def __init__(self, *functions: Any) -> None:
        super().__init__()
        self.functions = functions
        self.after = nn.Sequential(nn.ReLU())

    def forward(self, x: torch.Tensor) -> Any:
        for each in self.functions:
            each(x.clone())
        return self.after(x)


def followed(net: nn.Module, *inputs: Any, wanted: Callable[[str], bool] = lambda key: True) -> list[tuple[str, str]]:
    """Path and key of all that a forward hands on."""
    found: list[tuple[str, str]] = []
    paths = [path for path, _ in net.named_modules()]
    with torch.no_grad(), Tap(net, paths, lambda path, key, _: found.append((path, key)), functions=wanted):
        net(*inputs)
    return found


@pytest.mark.parametrize("name", SPELLINGS)
def test_all_spellings_of_a_function_have_one_name(name: str) -> None:
    spellings = SPELLINGS[name]
    numbers = ["", *(f"#{number}" for number in range(2, len(spellings) + 1))]
    found = followed(Calls(*spellings), X, wanted=lambda key: key.partition(":")[2] not in ATTENTION)
    assert found[: len(spellings)] == [("", f"input:{name}{number}") for number in numbers]
    assert found[len(spellings) :] == [("after.0", "after.0"), ("after", "after"), ("", "output")]


def test_every_function_of_the_table_exists() -> None:
    spaces = (F, torch, torch.Tensor)
    names = [name for names in FUNCTIONS.values() for name in names]
    assert len(names) == len(set(names))
    for name in names:
        found = [getattr(space, name) for space in spaces if hasattr(space, name)]
        assert found and all(function_name(each) == name for each in found), name


def test_what_is_no_layer_has_no_name() -> None:
    net = Calls(torch.exp, lambda x: x + 1, lambda x: x.mT, F.dropout, torch.flatten)
    assert [key for _, key in followed(net, X)] == ["after.0", "after", "output"]
    assert function_name(torch.Tensor.__matmul__) == function_name(len) == ""


class Spoken(nn.Module):
    """Names of all kinds, and a module of its own kind that returns a function's result, or something behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.act, self.clips, self.adds = nn.ReLU(), Clips(), Adds()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(torch.tanh(x)))
        x = self.conv2(x).relu_()
        x = F.relu(self.conv2(torch.sigmoid(x).relu()))
        return F.max_pool2d(self.adds(self.clips(self.act(x))), 2)


class Clips(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x.clamp(max=5))


class Adds(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(x)
        x += 1
        return x


EXPECTED = [
    ("", "input:tanh"), ("conv1", "conv1"), ("conv1", "conv1:relu"), ("conv2", "conv2"), ("conv2", "conv2:relu"),
    ("conv2", "conv2:sigmoid"), ("conv2", "conv2:relu#2"), ("conv2", "conv2#2"), ("conv2", "conv2#2:relu"),
    ("act", "act"), ("act", "act:clamp"), ("act", "act:relu"), ("clips", "clips"), ("clips", "clips:relu"),
    ("adds", "adds"), ("adds", "adds:max_pool2d"), ("", "output"),
]  # fmt: skip


def test_functions_are_named_after_the_module_that_last_finished() -> None:
    assert followed(Spoken(), X) == EXPECTED


@pytest.mark.parametrize("key", ["conv2:relu#2", "conv2#2:relu", "clips:relu"])
def test_names_do_not_depend_on_what_is_wanted(key: str) -> None:
    found = followed(Spoken(), X, wanted=key.__eq__)
    assert [name for _, name in found if ":" in name] == [key]


def test_a_function_that_is_its_modules_very_result_is_told() -> None:
    """What was written to since (`adds`) is another thing, and so is a module of torch, which hides its function."""
    net = Spoken()
    tap = Tap(net, [], lambda *_: None, functions=lambda key: False)
    with tap, torch.no_grad():
        net(X)
    assert tap.repeats == {"act:relu"}  # the ReLU in `clips`, called after `act` had finished


def test_values_are_those_of_the_moment() -> None:
    net, found = Spoken(), {}
    with torch.no_grad():
        expected = F.conv2d(F.conv2d(X.tanh(), net.conv1.weight, net.conv1.bias, padding=1).clamp(min=0),
                            net.conv2.weight, net.conv2.bias, padding=1)  # fmt: skip
        kept = {}

        def receive(path: str, key: str, output: torch.Tensor) -> None:
            found[key], kept[key] = output.clone(), output

        with Tap(net, ["conv2", "adds"], receive, functions=lambda key: True):
            net(X)
    assert torch.equal(found["conv2"], expected) and torch.equal(found["conv2:relu"], expected.clamp(min=0))
    assert torch.equal(kept["conv2"], expected.clamp(min=0))  # control: without the copy, the in-place ReLU's
    assert torch.equal(found["adds"], found["clips:relu"] + 1) and not torch.equal(
        kept["clips:relu"], found["clips:relu"]
    )
