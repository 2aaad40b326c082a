"""Axes of attention: heads and windows wherever a network has them, equal to attention computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import netphys
from netphys.errors import RecordingError
from netphys.networks import as_network
from netphys.recording.attending import heads_and_features
from netphys.recording.companions import numbered
from netphys.recording.layers import Layer, probe_layers

TOLERANCE = {"atol": 1e-6, "rtol": 0.0}  # float32, weights are at most 1
N, HEADS, FEATURES, WINDOWS, TOKENS = 2, 3, 4, 2, 8  # 4 x 4 places make 2 windows of 8


def noise(n: int = N) -> np.ndarray:
    return np.random.default_rng(0).random((n, 3, 16, 16), np.float32)


class Attends(nn.Module):
    """Attention inside windows, whose axes lie as `lay` has them; queries are seen by `here`, too."""

    def __init__(self, lay: Callable[[torch.Tensor], torch.Tensor], *, fused: bool, n_heads: int = HEADS) -> None:
        super().__init__()
        width = n_heads * FEATURES
        self.lay, self.fused, self.n_heads = lay, fused, n_heads
        self.embed, self.qkv, self.last = nn.Conv2d(3, 5, 4, stride=4), nn.Linear(5, 3 * width), nn.Identity()

    def parts(self, x: torch.Tensor) -> torch.Tensor:
        """(query key value, stimulus, head, window, token, feature), of which all else is a permutation."""
        windows = self.embed(x).permute(0, 2, 3, 1).reshape(len(x), WINDOWS, TOKENS, 5)
        parts = self.qkv(windows).reshape(len(x), WINDOWS, TOKENS, 3, self.n_heads, FEATURES)
        return parts.permute(3, 0, 4, 1, 2, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (self.lay(each) for each in self.parts(x))
        if self.fused:
            return self.last(F.scaled_dot_product_attention(q, k, v).sum())
        return self.last((((q * FEATURES**-0.5) @ k.mT).softmax(-1) @ v).sum())

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Weights and values, heads first and windows behind them."""
        q, k, v = self.parts(x)
        weights = torch.einsum("nhwqd,nhwkd->nhwqk", q, k) / FEATURES**0.5
        exponents = (weights - weights.amax(-1, keepdim=True)).exp()
        value = v.permute(0, 1, 4, 2, 3).reshape(len(x), -1, WINDOWS, TOKENS)
        return {"attention": exponents / exponents.sum(-1, keepdim=True), "value": value}


LAID: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # (n, head, window, token, feature) becomes
    "heads, then windows": lambda x: x,
    "windows, then heads": lambda x: x.transpose(1, 2),
    "windows in the batch": lambda x: x.transpose(1, 2).flatten(0, 1),
    "heads in the batch": lambda x: x.flatten(0, 1),
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("case", LAID)
def test_heads_and_windows_come_out_the_same_however_they_lie(case: str, fused: bool) -> None:
    torch.manual_seed(0)
    net, images = Attends(LAID[case], fused=fused).eval(), noise()
    recording = netphys.record(net, images, layers="*:*", batch_size=N)
    with torch.no_grad():
        expected = net.by_hand(torch.tensor(images))
    weights, value = (torch.tensor(recording.array(f"output:{part}")) for part in ("attention", "value"))
    assert recording.dims("output:attention") == ("stimulus", "unit", "window", "query", "key")
    assert recording.dims("output:value") == ("stimulus", "unit", "window", "token")
    assert weights.shape == (N, HEADS, WINDOWS, TOKENS, TOKENS)
    assert torch.allclose(weights, expected["attention"], **TOLERANCE) and torch.equal(value, expected["value"])
    exchanged = weights.flatten(1, 2).unflatten(1, (WINDOWS, HEADS)).transpose(1, 2)
    assert not torch.allclose(exchanged, expected["attention"], atol=1e-3)  # control: windows taken for heads


def test_a_product_of_three_axes_holds_heads_in_its_batch() -> None:
    torch.manual_seed(0)
    net = Attends(lambda x: x.flatten(2, 3).flatten(0, 1), fused=False).eval()
    recording = netphys.record(net, noise(), layers="*:*", batch_size=N)
    weights = torch.tensor(recording.array("output:attention"))
    with torch.no_grad():
        q, k, _ = net.parts(torch.tensor(noise())).flatten(3, 4)
        expected = (q @ k.mT / FEATURES**0.5).softmax(-1)
    assert recording.dims("output:attention") == ("stimulus", "unit", "query", "key")
    assert torch.allclose(weights, expected, **TOLERANCE)
    assert recording.dims("output:query") == ("stimulus", "unit", "token")


def test_what_cannot_be_told_is_a_problem() -> None:
    both = Attends(lambda x: x.flatten(0, 2), fused=False)  # heads and windows in the batch
    table = _table(both)
    assert "its first holds heads and windows" in table["output:attention"].problem
    with pytest.raises(RecordingError, match="'output:attention' of Attends cannot be recorded: which axis of"):
        netphys.record(both, noise(), layers="output:attention")
    single = Attends(lambda x: x.squeeze(1), fused=True, n_heads=1)  # windows where others have heads
    assert "holds its heads cannot be told" in _table(single)["output:attention"].problem
    one = _table(Attends(lambda x: x, fused=True, n_heads=1))["output:attention"]  # control: an axis of one head
    assert (one.problem, one.shape) == ("", (1, WINDOWS, TOKENS, TOKENS))


@pytest.mark.parametrize(
    ("shape", "changing", "function", "expected"),
    [
        ((3, 2, 5, 5), None, "attention", (1,)),
        ((3, 2, 5, 4), None, "query", (1, 3)),
        ((3, 2, 5, 4), (2, 1, 3), "query", (1, 3)),  # places count as units where a network mixes them
        ((3, 2, 5, 3), (2, 1), "attention", (1,)),
        ((3, 2, 4, 5), (1, 2), "query", (1, 2)),  # attention among features
        ((3, 6, 2, 5, 4), (2, 4), "key", (2, 4)),
        ((3, 1, 6, 5, 4), (4,), "key", (1, 4)),
        ((6, 1, 5, 4), (3,), "value", (1, 3)),
        ((6, 2, 5, 4), (1, 3), "value", (1, 3)),
    ],
)
def test_axes_are_known_by_what_they_are(
    shape: tuple[int, ...], changing: tuple[int, ...] | None, function: str, expected: tuple[int, ...]
) -> None:
    units = None if changing is None else numbered(shape, *changing)
    assert heads_and_features(shape, units, 3, function) == (expected, "")


@pytest.mark.parametrize(
    ("shape", "changing"),
    [((6, 2, 5, 4), None), ((3, 2, 6, 5, 4), None), ((3, 2, 5, 4), (3,)), ((3, 2, 6, 5, 4), (1, 2, 4))],
)
def test_axes_that_may_be_either_are_not_guessed(shape: tuple[int, ...], changing: tuple[int, ...] | None) -> None:
    units = None if changing is None else numbered(shape, *changing)
    assert "cannot be told" in heads_and_features(shape, units, 3, "query")[1]


def test_a_transformer_of_channels_for_tokens_is_described() -> None:
    class Channels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.flatten(2)[..., :16])

    weights = _table(Channels())["layer.self_attn:attention"]
    assert (weights.problem, weights.dims, weights.shape) == ("", ("unit", "query", "key"), (2, 3, 3))


class PooledHeads(nn.Module):
    """A convolution and a norm of each head, folded into the batch; then heads beside each other again."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv, self.batch = nn.Conv2d(3, 8, 4, stride=4), nn.Conv2d(4, 4, 3, padding=1), nn.Identity()
        self.norm, self.back, self.windows = nn.LayerNorm(4), nn.Identity(), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.embed(x)
        heads = self.batch(self.conv(maps.unflatten(1, (2, 4)).flatten(0, 1)))
        tokens = self.norm(heads.flatten(2).mT)
        self.windows(maps.unflatten(2, (2, 2)).permute(0, 2, 1, 3, 4).flatten(0, 1))
        return self.back(tokens.unflatten(0, (-1, 2)).transpose(2, 3).flatten(1, 2))


def test_units_in_the_batch_are_never_taken_for_windows() -> None:
    table = _table(PooledHeads())
    for name in ("conv", "batch", "norm"):
        assert "it holds units, too" in table[name].problem, name
    assert (table["back"].problem, table["back"].shape) == ("", (8, 16))
    windows = table["windows"]  # control: what does not hold them is unfolded
    assert (windows.problem, windows.dims, windows.shape) == ("", ("unit", "window", "y", "x"), (4, 2, 2, 4))


def _table(net: nn.Module) -> dict[str, Layer]:
    return {layer.name: layer for layer in probe_layers(as_network(net.eval()), torch.tensor(noise(3)))}


# Published networks


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("nest_tiny", "levels.0.transformer_encoder.0.attn", (3, 16, 16, 16)),
        ("hiera_tiny_224", "blocks.1.attn", (2, 4, 16, 64)),
    ],
)
def test_fused_attention_with_an_axis_of_windows_equals_the_unfused(
    name: str, layer: str, shape: tuple[int, ...]
) -> None:
    timm = pytest.importorskip("timm")
    images, weights = np.random.default_rng(0).random((N, 3, 64, 64), np.float32), []
    for fused in (True, False):
        timm.layers.set_fused_attn(fused)
        torch.manual_seed(0)
        try:
            net = timm.create_model(name, img_size=64).eval()
        finally:
            timm.layers.set_fused_attn(True)
        recording = netphys.record(net, images, layers=f"{layer}:attention", batch_size=N)
        weights.append(recording.array(f"{layer}:attention"))
        assert recording.dims(f"{layer}:attention")[1:] == ("unit", "window", "query", "key")
    assert weights[0].shape == (N, *shape) and np.allclose(*weights, **TOLERANCE)
    assert np.allclose(weights[0].sum(-1), 1, **TOLERANCE)


def test_heads_that_botnet_folds_into_its_batch_make_its_output() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net, layer = timm.create_model("botnet26t_256").eval(), "stages.2.1.self_attn"
    images = np.random.default_rng(0).random((N, 3, 256, 256), np.float32)
    wanted = [f"{layer}:attention", f"{layer}:value", layer]
    weights, value, output = (netphys.record(net, images, layers=wanted, batch_size=N).array(each) for each in wanted)
    assert weights.shape == (N, 4, 256, 256) and value.shape == (N, 256, 256)
    heads = value.reshape(N, 4, 64, 256)
    made = np.einsum("nhqk,nhdk->nhdq", weights, heads).reshape(output.shape)
    assert np.allclose(made, output, atol=1e-5 * float(np.abs(output).max()))  # sums of 256 float32 products
    wrong = np.einsum("nhqk,nhdk->nhdq", weights[:, ::-1], heads).reshape(output.shape)
    assert not np.allclose(wrong, output, atol=1e-3 * float(np.abs(output).max()))  # control: heads exchanged


class AmongChannels(nn.Module):
    """Attention whose weights are between features: summed over tokens; or (control) the same between tokens."""

    def __init__(self, *, fused: bool, among: bool = True) -> None:
        super().__init__()
        self.fused, self.among = fused, among
        self.embed, self.qkv = nn.Conv2d(3, 6, 4, stride=4), nn.Linear(6, 18)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x).flatten(2).mT
        q, k, v = self.qkv(tokens).reshape(len(x), -1, 3, 2, 3).permute(2, 0, 3, 1, 4)
        if self.among:
            q, k, v = q.mT, k.mT, v.mT
        if self.fused:
            return F.scaled_dot_product_attention(q, k, v)
        return (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * 0.5).softmax(-1) @ v


@pytest.mark.parametrize("fused", [True, False])
def test_attention_among_channels_is_not_taken_for_attention_among_tokens(fused: bool) -> None:
    net = AmongChannels(fused=fused).eval()
    table = {layer.name: layer for layer in probe_layers(as_network(net), torch.from_numpy(noise(3)))}
    assert table["output:attention"].problem == "it is attention among channels, not tokens"
    assert table["output:query"].dims == ("unit", "token") and table["output:query"].grid == (4, 4)
    stimuli = netphys.StimulusSet.from_arrays(noise())
    for keep in ("all", "cls", "patches"):
        with pytest.raises(RecordingError, match="attention among channels, not tokens"):
            netphys.record(net, stimuli, layers=["output:attention"], keep=keep, device="cpu")
    control = AmongChannels(fused=fused, among=False).eval()
    table = {layer.name: layer for layer in probe_layers(as_network(control), torch.from_numpy(noise(3)))}
    weights = table["output:attention"]
    assert not weights.problem and weights.dims == ("unit", "query", "key") and weights.arrangement.grid == (4, 4)


@pytest.mark.parametrize("name", ["xcit_nano_12_p16_224", "edgenext_xx_small", "davit_tiny"])
def test_networks_with_attention_among_channels(name: str) -> None:
    timm = pytest.importorskip("timm")
    options = {"edgenext_xx_small": {}, "davit_tiny": {"depths": (1, 1, 1, 1)}}.get(name, {"img_size": 64, "depth": 1})
    images = torch.rand(3, 3, 64, 64)
    table = probe_layers(as_network(timm.create_model(name, **options).eval()), images)
    weights = [layer for layer in table if layer.kind == "attention"]
    squares = [layer for layer in weights if "among channels" in layer.problem]
    known = [layer for layer in weights if not layer.problem]
    assert squares and all(layer.arrangement.tokens or "window" in layer.dims for layer in known)
    assert len(squares) + len(known) == len(weights)
