"""Layer patterns: which layers are meant, in order of execution; no match lists near names."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from netphys.errors import LayerNotFound
from netphys.recording.patterns import match_layers, may_match, may_mean_functions


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
        ("layer1[1]", ["layer1.1"]),
        ("layer1[-1]", ["layer1.10"]),
        ("layer1[-3]", ["layer1.0"]),
        ("layer1[0:2].conv1", ["layer1.0.conv1", "layer1.1.conv1"]),
        ("layer1[:].relu*", ["layer1.0.relu", "layer1.1.relu#2"]),
        ("layer1[0:1].**", ["layer1.0.conv1", "layer1.0.relu"]),
        ("layer1[1].*", ["layer1.1.conv1", "layer1.1.relu#2"]),
        ("layer[12]", ["layer1"]),
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


BLOCKS = [
    Layer("stem.conv", "Conv2d"),
    Layer("stem.conv:relu", "relu"),
    Layer("stem.conv:max_pool2d/0", "max_pool2d"),
    *(
        Layer(f"blocks.{index}{tail}", kind, leaf)
        for index in range(3)
        for tail, kind, leaf in [
            (".attn.qkv", "Linear", True),
            (".attn:query", "query", True),
            (".attn:key", "key", True),
            (".attn:value", "value", True),
            (".attn:attention", "attention", True),
            (".attn.qkv:scaled_dot_product_attention", "scaled_dot_product_attention", True),
            (".attn", "Attention", False),
            (".attn:relu", "relu", True),
            (".attn:relu#2", "relu", True),
            ("", "Block", False),
            (":gelu", "gelu", True),
        ]
    ),
    Layer("output", "Net", False),
]
PARTS = ("query", "key", "value", "attention")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("stem.conv:relu", ["stem.conv:relu"]),
        ("stem.*", ["stem.conv"]),
        ("stem.conv?relu", []),
        ("stem.conv:*", ["stem.conv:relu", "stem.conv:max_pool2d/0"]),
        ("stem.**", ["stem.conv", "stem.conv:relu", "stem.conv:max_pool2d/0"]),
        ("**:relu", ["stem.conv:relu", *(f"blocks.{index}.attn:relu" for index in range(3))]),
        ("blocks.?.attn:relu*", [f"blocks.{index}.attn:relu{end}" for index in range(3) for end in ("", "#2")]),
        (
            "kind:relu",
            ["stem.conv:relu", *(f"blocks.{index}.attn:relu{end}" for index in range(3) for end in ("", "#2"))],
        ),
        ("kind:attention", [f"blocks.{index}.attn:attention" for index in range(3)]),
        ("**:attention", [f"blocks.{index}.attn:attention" for index in range(3)]),
        ("blocks.1.attn:key", ["blocks.1.attn:key"]),
        ("blocks[-1].attn:*", [f"blocks.2.attn:{each}" for each in (*PARTS, "relu", "relu#2")]),
        ("blocks[0:3:2].attn:attention", ["blocks.0.attn:attention", "blocks.2.attn:attention"]),
        ("blocks[0:3:2]", ["blocks.0", "blocks.2"]),
        ("blocks[0:3:2]:gelu", ["blocks.0:gelu", "blocks.2:gelu"]),
        ("blocks[1:].attn", ["blocks.1.attn", "blocks.2.attn"]),
        ("blocks[0].attn.qkv", ["blocks.0.attn.qkv"]),
        ("blocks[2].attn[0]", ["blocks.2.attn.qkv"]),
        ("output", ["output"]),
    ],
)  # fmt: skip
def test_patterns_of_functions_and_attention(pattern: str, expected: list[str]) -> None:
    if not expected:
        with pytest.raises(LayerNotFound):
            match_layers(pattern, BLOCKS, network="net")
    else:
        assert list(match_layers(pattern, BLOCKS, network="net")) == expected


@pytest.mark.parametrize("pattern", ["all", "leaves", "**", "blocks.**", "blocks[0:3].**"])
def test_attention_is_not_meant_by_a_pattern_without_a_colon(pattern: str) -> None:
    found = match_layers(pattern, BLOCKS, network="net")
    assert len(found) > 10 and "blocks.0.attn.qkv:scaled_dot_product_attention" in found
    assert not any(name.endswith(tuple(f":{part}" for part in PARTS)) for name in found)
    everything = match_layers("**:*", BLOCKS, network="net")  # control: what is left out is there
    assert sum(name.endswith(tuple(f":{part}" for part in PARTS)) for name in everything) == 12


@pytest.mark.parametrize("layer", BLOCKS + TABLE, ids=lambda layer: layer.name)
def test_a_test_of_one_layer_lets_all_through_that_the_whole_table_gives(layer: Layer) -> None:
    patterns = [
        "all", "leaves", "**", "**:*", "*", "kind:relu", "blocks[0:2]", "blocks[-1].attn:*", "blocks[1:].**",
        "layer1[:]", "blocks[0].attn[0]", "layer[12]", "layer1[1]", layer.name,
    ]  # fmt: skip
    table = BLOCKS if layer in BLOCKS else TABLE
    for pattern in patterns:
        try:
            found = match_layers(pattern, table, network="net")
        except LayerNotFound:
            continue
        assert may_match(pattern)(layer) or layer.name not in found, pattern
        if layer.name in found and layer.kind in (*PARTS, "relu", "gelu"):
            assert may_mean_functions(pattern), pattern


@pytest.mark.parametrize(
    "pattern", ["conv1", "*", "layer1.?", "kind:Conv2d", "layer1[0:2]", "layer1[-1].conv?", "layer[12]", "output"]
)
def test_functions_need_not_be_followed_for_these(pattern: str) -> None:
    assert not may_mean_functions(pattern)


@pytest.mark.parametrize(
    "name", ["a/b", "a:b", "a:key", "c#2", "d[0:2]", "e[1]", "f*", "g?", "kind:x", "h.[z-a]", "i.j:k"]
)
def test_a_name_with_marks_in_it_means_itself(name: str) -> None:
    table = [Layer("a", "X"), Layer("d.0", "X"), Layer("fx", "X"), Layer(name, "X"), Layer(f"{name}:relu", "relu")]
    assert match_layers(name, table, network="net") == (name,)
    assert match_layers(f"{name}:relu", table, network="net") == (f"{name}:relu",)
    assert may_match(name)(table[3]) and name in match_layers(["all"], table, network="net")


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
        ("conv1:relu", "no layer 'conv1:relu' in net; near: 'conv1'"),
        ("layer1[0:2].conv3", r"no layer 'layer1\[0:2\].conv3' in net; near: "),
        ("layer1[7]", r"no layer 'layer1\[7\]' in net"),
        ("[z-a]", "no layer"),
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
