"""Layer patterns: which layers are meant, in order of execution; no match lists near names."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from netphys.errors import LayerNotFound
from netphys.recording.patterns import match_layers


@dataclass
class Layer:
    name: str
    kind: str
    is_leaf: bool = True


TABLE = [
    Layer("conv1", "Conv2d"),
    Layer("relu", "ReLU"),
    Layer("layer1.0.conv1", "Conv2d"),
    Layer("layer1.0.relu", "ReLU"),
    Layer("layer1.0", "Block", False),
    Layer("layer1.1.conv1", "Conv2d"),
    Layer("layer1.1.relu#2", "ReLU"),
    Layer("layer1.1", "Block", False),
    Layer("layer1.10", "Block", False),
    Layer("layer1", "Sequential", False),
    Layer("relu#2", "ReLU"),
    Layer("encoder/0", "Encoder"),
    Layer("encoder/hidden", "Encoder"),
    Layer("fc", "Linear"),
]
NAMES = [layer.name for layer in TABLE]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("conv1", ["conv1"]),
        ("relu#2", ["relu#2"]),
        ("encoder/hidden", ["encoder/hidden"]),
        ("*", ["conv1", "relu", "layer1", "relu#2", "encoder/0", "encoder/hidden", "fc"]),
        ("relu*", ["relu", "relu#2"]),
        ("layer1.?", ["layer1.0", "layer1.1"]),
        ("layer1.[1-9]", ["layer1.1"]),
        ("layer1.*.conv1", ["layer1.0.conv1", "layer1.1.conv1"]),
        ("layer?.*.conv?", ["layer1.0.conv1", "layer1.1.conv1"]),
        ("**.conv1", ["layer1.0.conv1", "layer1.1.conv1"]),
        ("**conv1", ["conv1", "layer1.0.conv1", "layer1.1.conv1"]),
        ("layer1.**", NAMES[2:9]),
        ("kind:Conv2d", ["conv1", "layer1.0.conv1", "layer1.1.conv1"]),
        ("kind:Block", ["layer1.0", "layer1.1", "layer1.10"]),
        ("layer1[0:2]", ["layer1.0", "layer1.1"]),
        ("layer1[-1:]", ["layer1.10"]),
        ("layer1[::2]", ["layer1.0", "layer1.10"]),
        ("layer1[0:9:2]", ["layer1.0", "layer1.10"]),
        ("leaves", [layer.name for layer in TABLE if layer.is_leaf]),
        ("all", NAMES),
    ],
)  # fmt: skip
def test_known_patterns(pattern: str, expected: list[str]) -> None:
    assert list(match_layers(pattern, TABLE, network="net")) == expected


def test_the_result_is_in_order_of_execution_each_once() -> None:
    assert match_layers(["fc", "kind:Conv2d", "conv1"], TABLE, network="net") == (
        "conv1", "layer1.0.conv1", "layer1.1.conv1", "fc"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("layer1.0.conv2", r"no layer 'layer1.0.conv2' in net; near: 'layer1.0.conv1'.*'netphys layers net' lists all"),
        ("Conv1", "no layer 'Conv1' in net; near: 'conv1'"),
        ("relu#3", "near: 'relu#2'|near: 'relu'"),
        ("kind:Conv3d", "no layer of kind 'Conv3d' in net; near: 'Conv2d'"),
        ("kind:Xyz", "kinds: |there are: "),
        ("layer1[5:9]", r"no layer 'layer1\[5:9\]'"),
        ("qqqq", "its 14 layers are 'conv1' to 'fc'"),
        ("", "no layer ''"),
    ],
)
def test_no_match_is_an_error_that_lists_near_names(pattern: str, said: str) -> None:
    with pytest.raises(LayerNotFound, match=said):
        match_layers(["conv1", pattern], TABLE, network="net")


def test_nothing_asked_for_is_an_error() -> None:
    with pytest.raises(LayerNotFound, match=r"no layer asked for in net; say layers=\['leaves'\]"):
        match_layers([], TABLE, network="net")


def test_marks_of_regular_expressions_mean_themselves() -> None:
    odd = [Layer("a+b", "X"), Layer("aab", "X"), Layer("a(b)", "X"), Layer("a.b", "X"), Layer("axb", "X")]
    assert match_layers("a+?", odd, network="net") == ("a+b",)
    assert match_layers("a.?", odd, network="net") == ("a.b",)
    assert match_layers("a(*)", odd, network="net") == ("a(b)",)
