"""Attention weights, queries, keys and values are those of the computation, fused or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netphys.networks.attention import attention_weights
from netphys.networks.tap import Tap

TOLERANCE = {"atol": 1e-6, "rtol": 0.0}  # float32: another kernel sums in another order


def heard(net: nn.Module, *inputs: Any, wanted: Callable[[str], bool] = lambda key: True) -> dict[str, torch.Tensor]:
    """What functions and attention of a forward hand on, by key."""
    found: dict[str, torch.Tensor] = {}

    def receive(path: str, key: str, output: Any) -> None:
        assert key not in found
        found[key] = output.clone() if isinstance(output, torch.Tensor) else output

    with torch.no_grad(), Tap(net.eval(), [], receive, functions=wanted):
        net(*inputs)
    return found


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Attends(nn.Module):
    """Fused attention of three tensors, with options."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(query, key, value, **self.options) + 0


MASK = random(2, 1, 5, 7, seed=3)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scale": {"scale": 0.3},
    "causal": {"is_causal": True},
    "added mask": {"attn_mask": MASK},
    "boolean mask": {"attn_mask": MASK > -1},
    "blind row": {"attn_mask": torch.arange(5)[:, None] != torch.zeros(7)},
    "grouped": {"enable_gqa": True},
    "grouped, mask and scale": {"enable_gqa": True, "attn_mask": MASK, "scale": 2.0},
    "dropout": {"dropout_p": 0.0},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_weights_times_values_are_the_fused_output(case: str) -> None:
    options = OPTIONS[case]
    n_heads = 2 if options.get("enable_gqa") else 4
    query, key, value = random(2, 4, 5, 8), random(2, n_heads, 7, 8, seed=1), random(2, n_heads, 7, 8, seed=2)
    found = heard(Attends(**options), query, key, value)
    fused = found["input:scaled_dot_product_attention"]
    weights, values = found["output:attention"], found["output:value"].repeat_interleave(4 // n_heads, 1)
    assert weights.shape == (2, 4, 5, 7) and torch.allclose(weights @ values, fused, **TOLERANCE)
    rows = weights.sum(-1)
    if case == "blind row":
        assert (rows[:, :, 0] == 0).all()
        rows = rows[:, :, 1:]
    assert torch.allclose(rows, torch.ones_like(rows), **TOLERANCE)
    assert torch.equal(found["output:query"], query) and torch.equal(found["output:key"], key)


@pytest.mark.parametrize("case", ["scale", "causal", "added mask", "boolean mask"])
def test_an_option_that_is_left_out_is_seen(case: str) -> None:
    """Control."""
    query, key, value = random(2, 4, 5, 8), random(2, 4, 7, 8, seed=1), random(2, 4, 7, 8, seed=2)
    fused = heard(Attends(**OPTIONS[case]), query, key, value)["input:scaled_dot_product_attention"]
    assert not torch.allclose(attention_weights(query, key) @ value, fused, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "before"), [((6, 8), (1, 1)), ((3, 6, 8), (3, 1)), ((2, 4, 6, 8), (2, 4)), ((2, 3, 4, 6, 8), (2, 3, 4))]
)
def test_weights_have_an_axis_of_heads_and_windows_stay_where_they_are(
    shape: tuple[int, ...], before: tuple[int, ...]
) -> None:
    x = random(*shape)
    found = heard(Attends(), x, x, x)
    assert found["output:attention"].shape == (*before, 6, 6) and found["output:key"].shape == (*before, 6, 8)
    made = found["output:attention"] @ found["output:value"]
    assert torch.allclose(made.reshape(shape), F.scaled_dot_product_attention(x, x, x), **TOLERANCE)


def test_weights_are_float32_of_half_precision_and_in_the_graph() -> None:
    x = random(2, 3, 4, 8).to(torch.bfloat16).requires_grad_()
    found: dict[str, Any] = {}
    with Tap(Attends(), [], lambda p, key, out: found.update({key: out}), functions=lambda key: True):
        module = Attends()
        with Tap(module, [], lambda p, key, out: found.update({key: out}), functions=lambda key: True):
            module(x, x, x)
    assert found["output:attention"].dtype == torch.float32 and found["output:query"].dtype == torch.bfloat16
    found["output:attention"][0, 0, 0, 0].backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_nothing_is_computed_that_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    import netphys.networks.attention as attention

    def fails(*_: Any, **__: Any) -> None:
        raise AssertionError("computed")

    x = random(2, 3, 4, 8)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    for name in ("attention_weights", "_project", "_with_heads"):
        monkeypatch.setattr(attention, name, fails)
    assert list(heard(Attends(), x, x, x, wanted=lambda key: key.endswith("product_attention"))) == [
        "input:scaled_dot_product_attention"
    ]
    assert heard(layer, x[0], wanted=lambda key: False) == {}
    with pytest.raises(AssertionError, match="computed"):  # control
        heard(Attends(), x, x, x)


class Twice(nn.Module):
    """Two attentions in one call, and a softmax that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.scaled_dot_product_attention(x, x, x)
        weights = self.drop(((x * 0.5) @ x.transpose(-2, -1)).softmax(dim=-1))
        return F.softmax(weights @ (x + 1), dim=-1).log()


def test_the_second_attention_of_a_call_is_numbered() -> None:
    x, net = random(2, 3, 5, 8), nn.Sequential(Twice(), nn.Identity())
    net.append(net[0])
    found = heard(net, x)
    parts = [f"{kind}{number}" for number in ("", "#2") for kind in ("query", "key", "value", "attention")]
    assert {f"{head}:{part}" for head in ("0", "0#2") for part in parts} <= found.keys()
    assert [key for key in found if "softmax" in key] == ["0.drop:softmax", "0.drop#2:softmax"]
    fused = found["input:scaled_dot_product_attention"]
    assert torch.equal(found["0:query#2"], fused * 0.5) and torch.equal(found["0:key#2"], fused)
    assert torch.equal(found["0:value#2"], fused + 1)
    assert torch.allclose(found["0:attention#2"], attention_weights(fused, fused, scale=0.5), **TOLERANCE)


@pytest.mark.parametrize(
    ("scores", "output"),
    [
        ("bhqd,bhkd->bhqk", "bhqk,bhkd->bhqd"),
        ("b h k d, b h q d -> b h q k", "b h k d, b h q k -> b h q d"),
    ],
)
def test_attention_by_einsum(scores: str, output: str) -> None:
    class ByEinsum(nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            swapped = scores.startswith("b h k")
            weights = torch.einsum(scores, *((k, q) if swapped else (q, k))).softmax(-1)
            return torch.einsum(output, *((v, weights) if swapped else (weights, v)))

    q, k, v = random(2, 3, 5, 8), random(2, 3, 7, 8, seed=1), random(2, 3, 7, 8, seed=2)
    found = heard(ByEinsum(), q, k, v)
    assert torch.equal(found["output:query"], q) and torch.equal(found["output:key"], k)
    assert torch.equal(found["output:value"], v)
    assert torch.allclose(found["output:attention"], attention_weights(q, k, scale=1.0), **TOLERANCE)


MASKS = {
    "none": {},
    "attention": {"attn_mask": torch.ones(5, 7, dtype=torch.bool).triu(2)},
    "attention of each head": {"attn_mask": random(2 * 4, 5, 7)},
    "padding": {"key_padding_mask": torch.arange(7)[None] > torch.tensor([[3], [5]])},
    "both": {
        "attn_mask": random(5, 7),
        "key_padding_mask": torch.zeros(2, 7).masked_fill(torch.arange(7)[None] > torch.tensor([[3], [5]]), -1e9),
    },
}


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize(
    "options",
    [
        {"batch_first": True},
        {"batch_first": False, "bias": False},
        {"batch_first": True, "add_bias_kv": True, "add_zero_attn": True},
        {"batch_first": True, "kdim": 6, "vdim": 10},
    ],
    ids=str,
)
def test_multihead_attention_equals_torchs_own_weights(options: dict[str, Any], masks: str) -> None:
    torch.manual_seed(0)
    mha = nn.MultiheadAttention(16, 4, **options).eval()
    for name in ("in_proj_bias", "bias_k", "bias_v"):
        if getattr(mha, name) is not None:
            nn.init.normal_(getattr(mha, name))
    query, key = random(2, 5, 16), random(2, 7, options.get("kdim", 16), seed=1)
    value = random(2, 7, options.get("vdim", 16), seed=2)
    given = (query, key, value) if options["batch_first"] else [x.transpose(0, 1) for x in (query, key, value)]

    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mha = mha

        def forward(self, *_: Any) -> torch.Tensor:
            return self.mha(*given, need_weights=False, **MASKS[masks])[0]

    found = heard(Asks())
    with torch.no_grad():
        output, expected = mha(*given, average_attn_weights=False, **MASKS[masks])
        made = (found["mha:attention"] @ found["mha:value"]).transpose(1, 2).flatten(2)
        made = F.linear(made, mha.out_proj.weight, mha.out_proj.bias)
    assert torch.allclose(found["mha:attention"], expected, **TOLERANCE)
    assert torch.allclose(made if options["batch_first"] else made.transpose(0, 1), output, **TOLERANCE)
    assert found["mha:query"].shape == (2, 4, 5, 4)


def test_multihead_attention_of_one_stimulus_without_a_batch() -> None:
    torch.manual_seed(0)
    mha, x = nn.MultiheadAttention(16, 4).eval(), random(5, 16)
    with torch.no_grad():
        expected = mha(x, x, x, average_attn_weights=False)[1]
    assert torch.allclose(heard(mha, x, x, x)["output:attention"][0], expected, **TOLERANCE)


def test_a_transformer_encoder_layer() -> None:
    torch.manual_seed(0)
    layer, x = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval(), random(3, 6, 16)
    found = heard(layer, x)
    with torch.no_grad():
        expected = layer.self_attn(x, x, x, average_attn_weights=False)[1]
    assert torch.allclose(found["self_attn:attention"], expected, **TOLERANCE)
    assert "linear1:relu" in found  # and its activation, which is a function


# Published networks


def built(name: str, fused: bool) -> nn.Module:
    """A transformer of timm, with fused attention or without, and no parameter at a value that hides what it does."""
    timm = pytest.importorskip("timm")
    models: dict[str, tuple[str, dict[str, Any]]] = {
        "vit": ("vit_tiny_patch16_224", {}),
        "qk norm": ("vit_tiny_patch16_224", {"qk_norm": True}),
        "deit": ("deit_tiny_distilled_patch16_224", {}),
        "registers": ("vit_small_patch14_reg4_dinov2", {"patch_size": 16}),
        "rotary": ("eva02_tiny_patch14_224", {"patch_size": 16}),
        "swin": ("swin_tiny_patch4_window7_224", {}),
    }
    address, options = models[name]
    timm.layers.set_fused_attn(fused)
    torch.manual_seed(0)
    try:
        net = timm.create_model(address, img_size=64, **({} if name == "swin" else {"depth": 2}), **options)
    finally:
        timm.layers.set_fused_attn(True)
    for path, parameter in net.named_parameters():
        if parameter.ndim == 1 and "norm" in path:  # weights of 1 and biases of 0 would hide a norm
            nn.init.normal_(parameter, 1.0 if path.endswith("weight") else 0.0, 0.5)
    return net.eval()


@pytest.mark.parametrize(
    ("name", "n_blocks", "shape"),
    [
        ("vit", 2, (2, 3, 17, 17)),
        ("qk norm", 2, (2, 3, 17, 17)),
        ("deit", 2, (2, 3, 18, 18)),
        ("registers", 2, (2, 6, 21, 21)),
        ("rotary", 2, (2, 3, 17, 17)),
        ("swin", 12, (18, 3, 49, 49)),
    ],
)
def test_fused_attention_of_timm_equals_the_unfused_computation(
    name: str, n_blocks: int, shape: tuple[int, ...]
) -> None:
    images = random(2, 3, 64, 64)
    fused, unfused = (heard(built(name, on), images) for on in (True, False))
    keys = [key for key in fused if key.endswith(":attention")]
    assert len(keys) == n_blocks and fused[keys[0]].shape == shape
    assert set(keys) == {key for key in unfused if key.endswith(":attention")}
    for key in keys:
        head = key.removesuffix(":attention")
        assert torch.allclose(fused[key], unfused[key], **TOLERANCE), key
        assert torch.allclose(fused[key].sum(-1), torch.ones(1), **TOLERANCE)
        for part in ("key", "value"):
            scale = unfused[f"{head}:{part}"].abs().max()
            assert torch.allclose(fused[f"{head}:{part}"], unfused[f"{head}:{part}"], atol=3e-6 * float(scale))
        outputs = [each for each in fused if each.startswith(head) and each.endswith("dot_product_attention")]
        for output in outputs:
            made = fused[key] @ fused[f"{head}:value"]
            assert torch.allclose(made, fused[output], atol=1e-6 * float(fused[output].abs().max().clamp(min=1)))


@pytest.mark.parametrize(("name", "differs"), [("qk norm", True), ("vit", False)])
def test_recomputing_from_the_projection_without_its_norms_differs_where_there_are_any(
    name: str, differs: bool
) -> None:
    """Control: what a hook on `qkv` gives is wrong on a network with norms of q and k, and right without."""
    net, images, kept = built(name, True), random(2, 3, 64, 64), []
    net.blocks[0].attn.qkv.register_forward_hook(lambda m, i, out: kept.append(out))
    found = heard(net, images)["blocks.0.attn:attention"]
    query, key, _ = kept[0].reshape(2, 17, 3, 3, 64).permute(2, 0, 3, 1, 4)
    difference = float((attention_weights(query, key) - found).abs().max())
    assert difference > 1e-3 if differs else difference < 1e-6


def test_torchvisions_vit_equals_its_own_weights() -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    net, images, given = torchvision.models.vit_b_16(image_size=64).eval(), random(2, 3, 64, 64), []
    block = net.encoder.layers.encoder_layer_3
    block.self_attention.register_forward_pre_hook(lambda m, inputs: given.append(inputs[0]))
    found = heard(net, images)
    keys = [key for key in found if key.endswith(":attention")]
    assert keys == [f"encoder.layers.encoder_layer_{index}.self_attention:attention" for index in range(12)]
    with torch.no_grad():
        expected = block.self_attention(given[0], given[0], given[0], average_attn_weights=False)[1]
    assert expected.shape == (2, 12, 17, 17) and torch.allclose(found[keys[3]], expected, **TOLERANCE)


@pytest.mark.parametrize(
    ("name", "size", "n_blocks"), [("swin_t", 64, 12), ("swin_v2_t", 64, 12), ("maxvit_t", 224, 22)]
)
def test_attention_of_torchvision_that_is_written_out(name: str, size: int, n_blocks: int) -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    net, summed = getattr(torchvision.models, name)().eval(), []
    wanted = (":attention", ":value", ":query", ":key")
    found = heard(net, random(1, 3, size, size), wanted=lambda key: key.endswith(wanted))
    heads = [key.removesuffix(":attention") for key in found if key.endswith(":attention")]
    assert len(heads) == n_blocks and len(found) == 4 * n_blocks
    for head in heads:
        weights, value = found[f"{head}:attention"], found[f"{head}:value"]
        assert weights.shape[:2] == value.shape[:2] and weights.shape[-1] == value.shape[-2]
        assert found[f"{head}:key"].shape[:3] == value.shape[:3]
        summed.append(weights.sum(-1))
    assert all(torch.allclose(each, torch.ones(1), **TOLERANCE) for each in summed)
