"""What a module returned becomes named tensors."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch

from netphys.networks.outputs import LayerName, layer_name, tensors_in

A, B, C = torch.zeros(1), torch.ones(1), torch.ones(2)
Pair = namedtuple("Pair", ["logits", "aux"])


@dataclass
class Out:
    hidden: torch.Tensor
    note: str = ""


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (A, {"": A}),
        ((A, B), {"/0": A, "/1": B}),
        ([A, (B, [C])], {"/0": A, "/1/0": B, "/1/1/0": C}),
        ({"x": A, "y": {"z": B}}, {"/x": A, "/y/z": B}),
        (OrderedDict(b=A, a=B), {"/b": A, "/a": B}),
        (Pair(A, B), {"/logits": A, "/aux": B}),
        (Out(A), {"/hidden": A}),
        ((A, None, "text", 3), {"/0": A}),
        (None, {}),
        (Out, {}),
        ({}, {}),
    ],
)
def test_known_outputs(output: object, expected: dict[str, torch.Tensor]) -> None:
    found = dict(tensors_in(output))
    assert list(found) == list(expected) and all(found[key] is expected[key] for key in expected)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.b", ("a.b", 1, "", "")),
        ("a#2/0", ("a", 2, "", "/0")),
        ("relu#13/x/y", ("relu", 13, "", "/x/y")),
        ("conv2#2:relu#3", ("conv2", 2, "relu#3", "")),
        ("blocks.0.attn:attention", ("blocks.0.attn", 1, "attention", "")),
        ("a/x:y", ("a", 1, "", "/x:y")),  # a key of a dict may be anything
    ],
)
def test_names_round_trip(name: str, parts: tuple[str, int, str, str]) -> None:
    assert LayerName.parse(name) == LayerName(*parts) and str(LayerName(*parts)) == name
    assert LayerName.parse(name).key == name.partition("/")[0]


def test_the_only_module_of_a_network_is_called_output() -> None:
    assert layer_name("", 1) == "output" and layer_name("", 2) == "output#2"
