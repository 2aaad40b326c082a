"""cls and patches, and means over patches: known by hand, on small modules and on published networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import AddressError, RecordingError
from netphys.networks import as_network
from netphys.recording.keep import as_keep
from netphys.recording.keep.maps import reduce_map, units_first
from netphys.recording.layers import Layer, probe_layers
from netphys.recording.layout import Arrangement

timm = pytest.importorskip("timm")


def shown(height: int, width: int, n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).random((n, 3, height, width), np.float32)


def table_of(net: nn.Module, height: int, width: int) -> dict[str, Layer]:
    return {layer.name: layer for layer in probe_layers(as_network(net), torch.tensor(shown(height, width, 3)))}


def outputs(net: nn.Module, path: str, images: np.ndarray) -> torch.Tensor:
    """What a module returned, by a plain hook."""
    found: dict[str, torch.Tensor] = {}
    handle = net.get_submodule(path).register_forward_hook(lambda m, i, output: found.__setitem__("", output.clone()))
    with torch.no_grad():
        net(torch.tensor(images))
    handle.remove()
    return found[""]


def test_tokens_of_a_transformer_with_registers() -> None:
    torch.manual_seed(0)
    net = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=(56, 84), depth=2).eval()
    nn.init.normal_(net.reg_token)
    images = shown(56, 84)
    block = outputs(net, "blocks.1", images)  # (n, 1 + 4 + 4 x 6, 384)
    kept = {
        keep: netphys.record(net, images, layers="blocks.1", keep=keep, batch_size=2).array("blocks.1")
        for keep in ("cls", "mean", "max", "centre", "patches", "pooled", "window?size=2")
    }
    patches = block[:, 5:].transpose(1, 2).reshape(2, 384, 4, 6)
    # the same forward: sums over 24 patches alone may differ in float32's last bits
    assert np.array_equal(kept["cls"], block[:, 0].numpy()) and np.array_equal(kept["patches"], patches.numpy())
    assert np.allclose(kept["mean"], block[:, 5:].mean(1).numpy(), atol=1e-6)
    assert np.array_equal(kept["max"], block[:, 5:].amax(1).numpy())
    assert np.array_equal(kept["centre"], patches[:, :, 2, 3].numpy())
    assert kept["pooled"].shape == (2, 384, 1, 1) and np.allclose(kept["pooled"][..., 0, 0], kept["mean"], atol=1e-6)
    assert np.array_equal(kept["window?size=2"], patches[:, :, 1:3, 2:4].numpy())
    for wrong in (block.mean(1), block[:, 1:].mean(1)):  # control: over all tokens, and over all but the first
        assert np.abs(kept["mean"] - wrong.numpy()).max() > 0.05


def test_the_class_token_s_attention() -> None:
    torch.manual_seed(0)
    net = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=(56, 84), depth=1, num_heads=6).eval()
    nn.init.normal_(net.blocks[0].attn.qkv.weight, std=0.1)  # so that attention is not even
    images, name = shown(56, 84), "blocks.0.attn:attention"
    kept = netphys.record(net, images, layers=name, keep="cls", batch_size=2)
    assert kept.dims(name) == ("stimulus", "unit", "y", "x") and kept.shape(name) == (2, 6, 4, 6)
    qkv = outputs(net, "blocks.0.attn.qkv", images).reshape(2, 29, 3, 6, 64).permute(2, 0, 3, 1, 4)
    weights = (qkv[0] @ qkv[1].mT / 8).softmax(-1)  # 1 / sqrt(64)
    known = weights[:, :, 0, 5:].reshape(2, 6, 4, 6).numpy()
    assert np.allclose(kept.array(name), known, atol=1e-6)  # float32 of numbers below 1
    column = weights[:, :, 5:, 0].reshape(2, 6, 4, 6).numpy()
    assert not np.allclose(kept.array(name), column, atol=1e-3)  # control: how much the patches look at it
    assert (kept.array(name).sum((2, 3)) < 0.999).all()  # not made to sum to 1
    with pytest.raises(RecordingError, match="holds attention weights, which are no map of patches; say keep='cls'"):
        netphys.record(net, images, layers=name, keep="patches", batch_size=2)


def swin(name: str) -> nn.Module:
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": (56, 88), "window_size": 4, "depths": (2,), "num_heads": (3,)}
    return timm.create_model(name, **options).eval()


@pytest.mark.parametrize("block", [0, 1])
def test_shifted_and_padded_windows_are_put_back(block: int) -> None:
    """A dense layer does to each place the same: what it makes in windows is what it makes of the map before."""
    net, images = swin("swin_tiny_patch4_window7_224"), shown(56, 88)  # a map of 14 x 22, no whole windows
    before, inside = f"layers.0.blocks.{block}.norm1", f"layers.0.blocks.{block}.attn.qkv"
    kept = netphys.record(net, images, layers=[before, inside], keep="patches", batch_size=2)
    assert kept.shape(before) == (2, 96, 14, 22) and kept.shape(inside) == (2, 288, 14, 22)
    qkv = net.get_submodule(inside)
    known = torch.einsum("nuyx,vu->nvyx", torch.tensor(kept.array(before)), qkv.weight) + qkv.bias[:, None, None]
    assert np.allclose(kept.array(inside), known.detach().numpy(), atol=1e-5)  # sums of 96 float32 products
    mean = netphys.record(net, images, layers=inside, keep="mean", batch_size=2).array(inside)
    assert np.allclose(mean, known.mean((2, 3)).detach().numpy(), atol=1e-5)
    layer = table_of(net, 56, 88)[inside]
    assert layer.arrangement.tokens.count("padding") == 16 * 24 - 14 * 22
    windows = units_first(outputs(net, inside, images), layer)
    assert np.abs(reduce_map(windows, "mean").numpy() - mean).max() > 1e-3  # control: with the padding
    plain = windows.reshape(2, 288, 4, 6, 4, 4).permute(0, 1, 2, 4, 3, 5).reshape(2, 288, 16, 24)[:, :, :14, :22]
    assert np.allclose(plain, kept.array(inside), atol=1e-5) == (block == 0)  # control: the shift is seen


def test_a_map_with_units_last_has_a_centre_and_a_pooled_grid() -> None:
    import torchvision

    torch.manual_seed(0)
    net = torchvision.models.swin_t().eval()
    images = shown(64, 96)
    block = outputs(net, "features.1.1", images)  # (n, y, x, unit)
    kept = {
        keep: netphys.record(net, images, layers="features.1.1", keep=keep, batch_size=2).array("features.1.1")
        for keep in ("centre", "pooled", "patches", "window?y=0:2")
    }
    assert block.shape == (2, 16, 24, 96) and np.array_equal(kept["centre"], block[:, 8, 12].numpy())
    assert np.array_equal(kept["patches"], block.movedim(3, 1).numpy()) and kept["pooled"].shape == (2, 96, 2, 2)
    cells = block.reshape(2, 2, 8, 2, 12, 96).mean((2, 4)).movedim(3, 1).numpy()
    assert np.allclose(kept["pooled"], cells, atol=1e-6) and kept["window?y=0:2"].shape == (2, 96, 2, 24)


def test_maps_of_convolutions_are_as_they_are() -> None:
    net, images = nn.Sequential(nn.Conv2d(3, 4, 3)), shown(8, 9)
    kept = netphys.record(net, images, layers="0", keep="patches", batch_size=2)
    assert np.array_equal(kept.array("0"), netphys.record(net, images, layers="0", batch_size=2).array("0"))


def _layer(dims: tuple[str, ...], shape: tuple[int, ...], **told: Any) -> Layer:
    return Layer("here", "", shape, dims, arrangement=Arrangement((len(shape),), **told))


PATCH = ("patch", "patch")


@pytest.mark.parametrize(
    ("keep", "layer", "said"),
    [
        ("cls", _layer(("unit",), (8,)), r"'here' \(unit\) has no tokens, so that none is the class token; say keep="),
        ("cls", _layer(("unit", "token"), (8, 3)), "has tokens of which it cannot be told which is the class token"),
        (
            "cls", _layer(("unit", "token"), (8, 3), tokens=("register", *PATCH), places=(-1, 0, 1), grid=(1, 2)),
            r"has no class token \(1 register, 2 patch\); say keep='mean' or 'all'",
        ),
        (
            "cls", _layer(("unit", "token"), (8, 4), tokens=("cls", "cls", *PATCH), places=(-1, -1, 0, 1), grid=(1, 2)),
            r"has 2 class tokens \(2 cls, 2 patch\)",
        ),
        (
            "cls", _layer(("unit", "query", "key"), (8, 3, 3), tokens=("cls", *PATCH), places=(-1, 0, 1), grid=(1, 2)),
            "the patches that it looks at are not known; say keep='all'",
        ),
        ("patches", _layer(("unit",), (8,)), "has no tokens and no map; say keep='all'"),
        ("patches", _layer(("unit", "token"), (8, 3)), r"\(unit, token\) is no map of patches that is known"),
        ("patches", _layer(("unit", "y", "x"), (8, 3, 3)), r"\(unit, y, x\) is no map of patches that is known"),
        ("patches", _layer(("unit", "token"), (8, 1), tokens=("cls",), places=(-1,)), r"has no patches \(1 cls\)"),
        (
            "patches", _layer(("unit", "token"), (8, 2), tokens=PATCH, places=(0, 2), grid=(2, 2)),
            "does not have each patch of 2 x 2 just once",
        ),
        ("centre", _layer(("unit", "token"), (8, 3)), r"\(unit, token\) has no centre: where in the image"),
        ("centre", _layer(("unit", "y", "x"), (8, 3, 3)), r"\(unit, y, x\) has no centre"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused_in_one_line(keep: str, layer: Layer, said: str) -> None:
    with pytest.raises(RecordingError, match=said) as refused:
        as_keep(keep).shape(layer)
    assert "\n" not in str(refused.value)


def test_addresses() -> None:
    assert [as_keep(each).address for each in ("cls", "patches")] == ["cls", "patches"]
    with pytest.raises(AddressError, match="'cls[?]n=1' takes no option 'n'"):
        as_keep("cls?n=1")
