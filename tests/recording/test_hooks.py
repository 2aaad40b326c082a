"""Hooks for a probing script: everything that a pattern means, as it was at that moment, and nothing left behind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import _get_current_function_mode_stack

import netphys
from netphys.errors import LayerNotFound, RecordingError
from netphys.networks import Network


class InPlace(nn.Module):
    """A reused in-place ReLU, and a function that overwrites what a module returned."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu, self.conv2 = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.conv2(self.relu(self.conv1(x))).sub(0.1))
        return F.max_pool2d(x, 2).neg().clamp_(min=-0.2)


class Attends(nn.Module):
    """Two inputs, one by keyword; attention between them; a dict comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens: torch.Tensor, *, context: torch.Tensor) -> Mapping[str, torch.Tensor]:
        return {"joined": self.attn(tokens, context, context, need_weights=False)[0], "tokens": torch.tanh(tokens)}


def made(build: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_each_forward_fills_the_tape_anew() -> None:
    net = made(InPlace)
    with netphys.hooks(net, ["relu#2", "relu", "relu#2:*"]) as tape:
        assert tape == {}
        net(torch.cat([IMAGES, IMAGES]))
        first = dict(tape)
        net(IMAGES)
    assert list(first) == list(tape) == ["relu", "relu#2", "relu#2:max_pool2d", "relu#2:clamp"]
    assert (
        len(first["relu"]) == 4
        and len(tape["relu"]) == 2
        and torch.allclose(first["relu"][:2], tape["relu"], atol=1e-6)
    )


def test_functions_are_copied_the_moment_they_return() -> None:
    net = made(InPlace)
    with torch.no_grad(), netphys.hooks(net, "all") as tape:
        result = net(IMAGES)
    with torch.no_grad():
        conv2 = net.conv2(net.conv1(IMAGES).clamp(min=0))
    assert list(tape) == ["conv1", "relu", "conv2", "relu#2", "relu#2:max_pool2d", "relu#2:clamp"]
    assert torch.equal(tape["conv2"], conv2) and torch.equal(tape["relu#2"], conv2.sub(0.1).clamp(min=0))
    assert torch.equal(tape["relu#2:max_pool2d"], F.max_pool2d(tape["relu#2"], 2))
    assert torch.equal(tape["relu#2:clamp"], result) and bool((result < 0).any())


def test_several_inputs_by_place_and_keyword_and_attention() -> None:
    net, tokens, context = made(Attends), torch.randn(3, 5, 8), torch.randn(3, 7, 8)
    with torch.no_grad(), netphys.hooks(net, ["**:*", "output/*", "attn/0"]) as tape:
        net(tokens, context=context)
    assert list(tape) == [
        "attn:query", "attn:key", "attn:value", "attn:attention", "attn/0", "attn:tanh", "output/joined",
        "output/tokens",
    ]  # fmt: skip
    with torch.no_grad():
        joined, weights = net.attn(tokens, context, context, average_attn_weights=False)
    assert torch.allclose(tape["attn:attention"], weights, atol=1e-6)  # another order of summation
    assert torch.allclose(tape["output/joined"], joined, atol=1e-6) and torch.equal(
        tape["attn/0"], tape["output/joined"]
    )
    assert torch.equal(tape["attn:tanh"], tokens.tanh())


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("all", ["attn/0", "attn:tanh"]),
        ("leaves", ["attn:tanh"]),
        ("**", ["attn/0", "attn:tanh"]),
        ("kind:tanh", ["attn:tanh"]),
        ("kind:attention", ["attn:attention"]),
        ("attn:key", ["attn:key"]),
        ("attn:*", ["attn:query", "attn:key", "attn:value", "attn:attention", "attn:tanh"]),
    ],
)
def test_attention_is_computed_only_where_a_pattern_with_a_colon_means_it(
    pattern: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import netphys.networks.attention as attention

    computed, compute = [], attention.attention_weights
    monkeypatch.setattr(attention, "attention_weights", lambda *a, **k: computed.append(1) or compute(*a, **k))
    net = made(Attends)
    with netphys.hooks(net, pattern) as tape:
        net(torch.randn(3, 5, 8), context=torch.randn(3, 7, 8))
    assert list(tape) == expected and len(computed) == ("attn:attention" in expected)


class Clips(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x.clamp(max=0.5))


def test_a_function_that_is_its_modules_result_is_not_listed_twice() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), Clips())
    with netphys.hooks(net, "all") as tape:
        net(IMAGES)
    assert list(tape) == ["0", "0:clamp", "1"]
    with pytest.raises(LayerNotFound, match="no layer '0:relu' in Sequential"), netphys.hooks(net, "0:relu"):
        net(IMAGES)


@pytest.mark.parametrize("pattern", ["relu*", "kind:ReLU", "re?u", "[a:b]", "relu#2:clamp"])
def test_nothing_is_copied_that_no_pattern_means(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, copied = made(InPlace), []
    clone = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda tensor: copied.append(tensor.shape) or clone(tensor))
    if pattern == "[a:b]":
        net, pattern = nn.Sequential(nn.Sequential(net, nn.Identity()), nn.Identity()), "0[1:]"
    with netphys.hooks(net, pattern) as tape:
        net(IMAGES)
    # of a slice every child may be meant until all have answered; what is below or beside it never
    n_copies = {"0[1:]": 2, "relu*": 2, "kind:ReLU": 2, "re?u": 1}.get(pattern, 1)
    assert len(copied) == n_copies and len(tape) == (1 if pattern == "0[1:]" else n_copies)


def test_gradients_flow_through_what_was_recorded() -> None:
    net, images = made(InPlace), IMAGES.clone().requires_grad_()
    with netphys.hooks(net, ["conv1", "relu#2:max_pool2d"]) as tape:
        net(images)
    tape["conv1"].sum().backward(retain_graph=True)
    weight = net.conv1.weight.sum((0, 2, 3))
    assert torch.allclose(images.grad[0, :, 8, 8], weight, atol=1e-5)  # sums of nine weights in another order
    images.grad = None
    tape["relu#2:max_pool2d"].sum().backward()
    expected = IMAGES.clone().requires_grad_()
    relu = net.conv2(net.conv1(expected).clamp(min=0)).sub(0.1).clamp(min=0)
    F.max_pool2d(relu, 2).sum().backward()
    assert torch.allclose(images.grad, expected.grad, atol=1e-6)


def test_gradients_without_a_clone_are_wrong() -> None:
    """Control: what a plain hook keeps is, after the in-place ReLU, the rectified map, and so is its gradient."""
    net, images, kept = made(InPlace), IMAGES.clone().requires_grad_(), []
    net.conv1.register_forward_hook(lambda m, i, out: kept.append(out))
    net(images)
    kept[0].sum().backward()
    assert not torch.allclose(images.grad[0, :, 8, 8], net.conv1.weight.sum((0, 2, 3)), atol=1e-3)


class Odd(nn.Module):
    """Names with marks in them that mean something elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Linear(2, 2) for name in ODD})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts.values():
            x = F.relu(part(x))
        return x


ODD = ["a/b", "a:key", "c#2", "d[0:2]", "e*", "all", "kind:x", "é"]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_mean_themselves(name: str) -> None:
    net = Odd()
    with netphys.hooks(net, [f"parts.{name}", f"parts.{name}:relu"]) as tape:
        net(torch.ones(1, 2))
    assert list(tape) == [f"parts.{name}", f"parts.{name}:relu"]
    assert torch.equal(tape[f"parts.{name}:relu"], tape[f"parts.{name}"].clamp(min=0))


@pytest.mark.parametrize(
    ("pattern", "said", "late"),
    [
        ("conv3", "no layer 'conv3' in InPlace; near: .*'conv2'", False),
        ("conv3:relu", "no layer 'conv3:relu' in InPlace; near: .*'conv2'", False),
        ("relu#2:max_pool3d", "no layer 'relu#2:max_pool3d' in InPlace; near: 'relu#2:max_pool2d'", True),
        ("kind:clmp", "no layer of kind 'clmp' in InPlace", True),
        ("relu#3", "no layer 'relu#3' in InPlace; near: 'relu#2'", True),
        ("conv1:attention", "no layer 'conv1:attention' in InPlace", True),
    ],
)
def test_what_is_not_there_is_an_error_with_near_names(pattern: str, said: str, late: bool) -> None:
    net = made(InPlace)
    if late:  # how often a module is called, and what is between, is known behind a forward
        with netphys.hooks(net, [pattern, "conv1"]) as tape, pytest.raises(LayerNotFound, match=said):
            net(IMAGES)
        assert not net._forward_hooks and _get_current_function_mode_stack() == [] and tape is not None
    else:
        with pytest.raises(LayerNotFound, match=said), netphys.hooks(net, pattern):
            raise AssertionError("it should have been refused before")
    assert all(not each._forward_hooks and not each._forward_pre_hooks for each in net.modules())


def test_a_misspelt_attention_is_answered_with_those_there_are_without_computing_one() -> None:
    net = made(Attends)
    with pytest.raises(LayerNotFound, match="near: 'attn:attention'"), netphys.hooks(net, "attn:atention"):
        net(torch.randn(3, 5, 8), context=torch.randn(3, 7, 8))


def test_the_result_of_the_network_and_a_module_of_that_name() -> None:
    net = made(InPlace)
    with netphys.hooks(net, ["output", "conv1"]) as tape:
        result = net(IMAGES)
    assert list(tape) == ["conv1", "output"] and torch.equal(tape["output"], result)
    named = nn.Sequential()
    named.output, named.behind = nn.Linear(2, 2), nn.Linear(2, 2)
    with netphys.hooks(Network(named), "output") as tape:
        named(torch.ones(1, 2))
    assert torch.equal(tape["output"], named.output(torch.ones(1, 2)))


def test_a_call_costs_less_than_20_microseconds() -> None:
    """The copy apart: 400 calls with nothing to copy, against the same without hooks; the best of many, of CPU time."""

    class Small(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(x) + 1

    net, x = nn.Sequential(*[Small() for _ in range(200)]), torch.zeros(1)

    def best() -> float:
        times = []
        for _ in range(40):
            start = time.thread_time()
            net(x)
            times.append(time.thread_time() - start)
        return min(times)

    with torch.no_grad():
        bare = best()
        with netphys.hooks(net, "199"):
            exact = best()
        with netphys.hooks(net, "198:relu"):
            followed = best()
    assert exact - bare < 1e-3  # no other module has a hook
    assert (followed - bare) / 400 < 20e-6


# Attention


def test_submodules_of_a_transformer_layer_answer_and_the_fused_path_is_back() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.fused = layer, []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.fused.append(torch.backends.mha.get_fastpath_enabled())
            return self.layer(x.flatten(2)[..., :16])

    net = Tokens()
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8))
    recording = netphys.record(net, shown, layers="all", batch_size=3)
    assert net.fused == 4 * [False] and torch.backends.mha.get_fastpath_enabled()
    assert {"layer.linear1", "layer.norm2", "layer.self_attn/0", "layer"} <= set(recording.layers)
    assert recording.dims("layer.linear1") == ("stimulus", "unit", "token") and recording.shape("layer.linear1") == (
        3,
        32,
        3,
    )
    x = (shown.images(range(3)) / 255).flatten(2)[..., :16]
    with torch.no_grad():
        attended = layer.self_attn(x, x, x, need_weights=False)[0]
        first = layer.norm1(x + attended)
        expected = layer.norm2(first + layer.linear2(layer.linear1(first).relu()))
    got = torch.tensor(recording.array("layer")).movedim(1, -1)
    assert torch.allclose(got, expected, atol=1e-6)  # the attention is computed by another kernel
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with netphys.hooks(net, "layer"):
            pass
        assert not torch.backends.mha.get_fastpath_enabled()  # as its owner had it
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_scripted_modules_inside_and_as_the_network() -> None:
    pair, x = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), torch.rand(2, 4)
    net = nn.Sequential(nn.Linear(4, 4), pair)
    with netphys.hooks(net, "*") as tape:
        out = net(x)
    assert list(tape) == ["0", "1"] and torch.equal(tape["1"], out)
    with netphys.hooks(pair, "output") as tape:
        out = pair(x)
    assert list(tape) == ["output"] and torch.equal(tape["output"], out)
    said = "is scripted: of it only 'output' is seen, not 'all'"
    with netphys.hooks(pair, "all"), pytest.raises(RecordingError, match=said):
        pair(x)
