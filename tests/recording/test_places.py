"""Places and tokens, followed through a forward: told by networks whose tokens carry their own place as a value."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from netphys.errors import RecordingError
from netphys.networks import as_network
from netphys.recording import record
from netphys.recording.keep.maps import as_map, units_first
from netphys.recording.layers import Layer, probe_layers
from netphys.recording.places import kind_of
from netphys.stimuli import StimulusSet

timm = pytest.importorskip("timm")
ROWS, COLUMNS, SIDE = 4, 6, 4


def numbered_images(n: int = 3) -> torch.Tensor:
    """Images whose patch in row y, column x has the value (6 y + x) / 1000, and 0.1 more from image to image."""
    places = torch.arange(ROWS * COLUMNS, dtype=torch.float32).reshape(1, 1, ROWS, COLUMNS) / 1000
    images = places.repeat_interleave(SIDE, 2).repeat_interleave(SIDE, 3).expand(n, 3, -1, -1)
    return images + 0.1 * torch.arange(n).reshape(-1, 1, 1, 1)


def embedding() -> nn.Conv2d:
    """A patch embedding that leaves of each patch its mean, in both of its units."""
    conv = nn.Conv2d(3, 2, SIDE, stride=SIDE)
    nn.init.constant_(conv.weight, 1 / (3 * SIDE * SIDE))
    nn.init.zeros_(conv.bias)
    return conv


class Tokens(nn.Module):
    """A class token, four registers, a token of another name, then patches."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.here, self.fc, self.pooled = embedding(), nn.Identity(), nn.Linear(2, 3), nn.Identity()
        self.cls_token = nn.Parameter(torch.full((1, 1, 2), -1.0))
        self.register_tokens = nn.Parameter(torch.full((1, 4, 2), -2.0))
        self.prompt = nn.Parameter(torch.full((1, 1, 2), -3.0))
        self.pos_embed = nn.Parameter(torch.zeros(1, ROWS * COLUMNS, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2) + self.pos_embed
        own = [each.expand(len(x), -1, -1) for each in (self.cls_token, self.register_tokens, self.prompt)]
        x = self.here(torch.cat([*own, x], 1))
        return self.pooled(self.fc(x)[:, 6:].mean(1))


class Shifted(nn.Module):
    """Windows of 2 x 3, cut out of a map that was rolled; folded into the batch, or (control) the batch into them."""

    def __init__(self, *, minor: bool = False) -> None:
        super().__init__()
        self.embed, self.inside, self.after, self.minor = embedding(), nn.Identity(), nn.Identity(), minor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x).permute(0, 2, 3, 1).roll((-1, -2), (1, 2))
        n = len(x)
        windows = x.view(n, 2, 2, 2, 3, 2).permute(0, 1, 3, 2, 4, 5)
        windows = windows.flatten(1, 2)
        windows = windows.transpose(0, 1).reshape(-1, 6, 2) if self.minor else windows.reshape(-1, 6, 2)
        windows = self.inside(windows)
        back = windows.view(4, n, 6, 2).transpose(0, 1) if self.minor else windows.view(n, 4, 6, 2)
        back = back.reshape(n, 2, 2, 2, 3, 2).permute(0, 1, 3, 2, 4, 5).reshape(n, 4, 6, 2)
        return self.after(back.roll((1, 2), (1, 2)))


def probed(net: nn.Module, images: torch.Tensor | None = None) -> dict[str, Layer]:
    table = probe_layers(as_network(net.eval()), numbered_images() if images is None else images)
    return {layer.name: layer for layer in table}


def noise(*size: int) -> torch.Tensor:
    return torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0))


def test_tokens_are_what_their_parameter_is_called() -> None:
    here = probed(Tokens())["here"]
    told = here.arrangement
    assert told.tokens == ("cls", *["register"] * 4, "extra", *["patch"] * 24) and told.grid == (ROWS, COLUMNS)
    assert told.places == (*[-1] * 6, *range(24)) and here.grid == (ROWS, COLUMNS)
    assert kind_of("encoder.class_token") == "cls" and kind_of("pos_embed") == "extra"
    assert round(30**0.5) ** 2 != 30  # control: the root of the number of tokens is no side


def test_windows_are_put_back_and_shifts_undone() -> None:
    net = Shifted()
    table = probed(net)
    inside, after = table["inside"], table["after"]
    assert (
        inside.dims == ("unit", "window", "token") and inside.shape == (2, 4, 6) and inside.arrangement.n_windows == 4
    )
    assert after.dims == ("unit", "y", "x") and after.grid == (4, 6) and not after.arrangement.places
    seen: dict[str, torch.Tensor] = {}
    net.inside.register_forward_hook(lambda m, i, output: seen.__setitem__("inside", output))
    net(numbered_images())
    windows = units_first(seen["inside"], inside)
    assert windows.shape == (3, 2, 4, 6)
    known = numbered_images()[:, :1, ::SIDE, ::SIDE].expand(-1, 2, -1, -1)
    assert torch.allclose(
        as_map(windows, inside), known, atol=1e-5
    )  # sums of 48 float32 numbers below 1; places differ by 1e-3
    still = windows.reshape(3, 2, 2, 2, 2, 3).permute(0, 1, 2, 4, 3, 5).reshape(3, 2, 4, 6)
    assert not torch.allclose(still, known, atol=1e-5)  # control: windows put back, the shift left as it is


def test_a_batch_folded_into_windows_is_refused() -> None:
    table = probed(Shifted(minor=True))
    assert "parts in which stimuli alternate" in table["inside"].problem and not table["after"].problem
    with pytest.raises(RecordingError, match="'inside' of Shifted cannot be recorded: its first dimension is not"):
        record(Shifted(minor=True), numbered_images(4).numpy(), layers="inside")
    kept = record(Shifted(), numbered_images(4).numpy(), layers="inside", batch_size=4).array("inside")  # control
    assert kept.shape == (4, 2, 4, 6) and abs(kept[2].min() - 0.2) < 1e-5 and abs(kept[2].max() - 0.223) < 1e-5


class Unseen(nn.Module):
    """Folds where nobody can follow."""

    def __init__(self, *, minor: bool) -> None:
        super().__init__()
        self.minor, self.folded = minor, nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.from_numpy(x.numpy().copy()).reshape(len(x), 3, 4, -1, 4)[:, 0]
        return self.folded((tokens.transpose(0, 1) if self.minor else tokens).reshape(-1, tokens.shape[2], 4))


def test_a_fold_that_nobody_could_follow_is_seen_to_before_a_recording() -> None:
    shown = noise(16, 24)[:2].numpy()
    with pytest.raises(
        RecordingError, match="'folded' of Unseen cannot be recorded: its activations to a stimulus dep"
    ):
        record(Unseen(minor=True), shown, layers="folded", batch_size=2)
    kept = record(Unseen(minor=False), shown, layers="folded", batch_size=2)
    assert kept.shape("folded") == (2, 4, 4, 24) and kept.dims("folded") == ("stimulus", "unit", "window", "token")


class Mixing(nn.Module):
    """Mixes places, attends, and merges patches."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.mixed, self.sum = embedding(), nn.Linear(24, 24), nn.Identity(), nn.Identity()
        self.attended, self.weights, self.halves = nn.Identity(), nn.Identity(), nn.Identity()
        self.wide, self.merge = nn.Linear(2, 4), nn.Linear(8, 4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.embed(x)
        tokens = maps.flatten(2)
        tokens = self.sum(tokens + self.mixed(self.mix(tokens))).transpose(1, 2)
        joined = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], 1)
        heads = self.wide(joined).unflatten(2, (2, 2)).transpose(1, 2)
        weights = self.weights((heads @ heads.mT).softmax(-1))
        self.attended(weights @ heads)
        self.halves(maps.permute(0, 2, 3, 1)[:, ::2, 1::2])
        four = maps.permute(0, 2, 3, 1).reshape(len(x), 2, 2, 3, 2, 2).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.merge(four)


def test_places_through_mixing_attention_and_merging() -> None:
    table = probed(Mixing())
    assert not table["mixed"].arrangement.tokens and table["mixed"].grid is None  # a mixture of all places is none
    assert table["sum"].grid == (ROWS, COLUMNS)  # and the sum with what it was made of has the places of that
    weights = table["weights"]
    assert weights.dims == ("unit", "query", "key") and weights.shape == (2, 25, 25) and weights.grid is None
    assert weights.arrangement.tokens == ("cls", *["patch"] * 24) and weights.arrangement.keys is not None
    assert weights.arrangement.keys.grid == (ROWS, COLUMNS) and weights.arrangement.keys.tokens[0] == "cls"
    attended = table["attended"].arrangement
    assert attended.unit_axes == (1, 3) and attended.tokens == weights.arrangement.tokens
    assert table["merge"].grid == (2, 3) and table["halves"].grid == (2, 3) and table["merge"].n_units == 4


class OnlyKnownInPart(nn.Module):
    """Patches in an order of their own values, and tokens of unknown origin beside known ones."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.sorted, self.beside = embedding(), nn.Identity(), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        self.sorted(tokens.sort(1)[0])
        return self.beside(torch.cat([torch.zeros(len(x), 1, 2), tokens], 1))


def test_what_is_not_known_is_not_said() -> None:
    table = probed(OnlyKnownInPart())
    for name in ("sorted", "beside"):
        assert not table[name].problem and not table[name].arrangement.tokens and table[name].grid is None, name


SMALL: dict[str, Any] = {"depth": 2}
MEAN_POOLED = {"img_size": 64, "class_token": False, "global_pool": "avg"}
VITS = [
    ("vit_tiny_patch16_224", {"img_size": (64, 96)} | SMALL, (64, 96), ["cls"], (4, 6)),
    ("vit_tiny_patch16_224", {"dynamic_img_size": True} | SMALL, (96, 64), ["cls"], (6, 4)),
    ("deit_tiny_distilled_patch16_224", {"img_size": (64, 96)} | SMALL, (64, 96), ["cls", "distillation"], (4, 6)),
    ("vit_small_patch14_reg4_dinov2", {"img_size": (56, 84)} | SMALL, (56, 84), ["cls", *["register"] * 4], (4, 6)),
    ("vit_pwee_patch16_reg1_gap_256", {"img_size": (64, 96)} | SMALL, (64, 96), ["register"], (4, 6)),
    ("eva02_tiny_patch14_224", {"img_size": (56, 84)} | SMALL, (56, 84), ["cls"], (4, 6)),
    ("beit_base_patch16_224", {"img_size": (64, 96)} | SMALL, (64, 96), ["cls"], (4, 6)),
    ("vit_small_patch16_36x1_224", MEAN_POOLED | SMALL, (64, 64), [], (4, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "size", "before", "grid"), VITS)
def test_vision_transformers_of_timm(
    name: str, options: dict[str, Any], size: tuple[int, int], before: list[str], grid: tuple[int, int]
) -> None:
    net = timm.create_model(name, **options)
    n_patches = grid[0] * grid[1]
    assert len(before) == net.num_prefix_tokens  # what timm itself says
    table = probed(net, noise(*size))
    blocks = [layer for layer in table.values() if layer.path.startswith("blocks.1") and "token" in layer.dims]
    assert {layer.arrangement.tokens for layer in blocks} == {(*before, *["patch"] * n_patches)}
    assert {layer.grid for layer in blocks} == {grid} and len(blocks) > 10
    weights, query = (next(v for k, v in table.items() if k.endswith(f":{what}")) for what in ("attention", "query"))
    assert weights.dims == ("unit", "query", "key") and weights.arrangement.tokens[: len(before)] == tuple(before)
    assert weights.arrangement.keys is not None and weights.arrangement.keys.grid == grid
    assert query.dims == ("unit", "token") and query.n_units == net.embed_dim
    assert {layer.name for layer in table.values() if layer.problem} <= {"patch_embed:interpolate"}  # of weights alone


def test_norms_of_queries_are_recorded() -> None:
    net = timm.create_model("vit_tiny_patch16_224", img_size=(64, 96), depth=1, qk_norm=True)
    norm = probed(net, noise(64, 96))["blocks.0.attn.q_norm"]
    assert norm.dims == ("unit", "token") and norm.shape == (192, 25) and norm.arrangement.unit_axes == (1, 3)


def test_class_attention_has_its_class_token() -> None:
    net = timm.create_model("cait_xxs24_224", img_size=64, depth=1)
    table = probed(net, noise(64, 64))
    assert table["blocks_token_only.1.mlp"].arrangement.tokens == ("cls",)
    assert Counter(table["norm"].arrangement.tokens) == {"cls": 1, "patch": 16}
    assert table["blocks.0.attn.attn_drop"].dims == ("unit", "query", "key")


def test_torchvision_s_transformer_and_a_mixer() -> None:
    from torchvision.models import VisionTransformer

    net = VisionTransformer(64, 16, num_layers=1, num_heads=2, hidden_dim=32, mlp_dim=64)
    table = probed(net, noise(64, 64))
    block = table["encoder.layers.encoder_layer_0"]
    assert block.arrangement.tokens == ("cls", *["patch"] * 16) and block.grid == (4, 4)
    weights = table["encoder.layers.encoder_layer_0.self_attention:attention"]
    assert weights.shape == (2, 17, 17) and weights.arrangement.keys is not None
    assert weights.arrangement.keys.tokens == block.arrangement.tokens
    mixer = timm.models.mlp_mixer.MlpMixer(img_size=64, num_blocks=2, embed_dim=32)
    table = probed(mixer, noise(64, 64))
    assert table["blocks.1"].grid == (4, 4) and table["blocks.1.mlp_tokens.fc1"].grid is None


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"])
def test_every_token_of_a_swin_is_known(name: str) -> None:
    options = {"img_size": (64, 96), "window_size": 4, "depths": (2, 2), "num_heads": (3, 6)}
    table = probed(timm.create_model(name, **options), noise(64, 96))
    odd = [layer.name for layer in table.values() if layer.problem]
    assert all("cpb_mlp" in each or "logit" in each or ":" in each for each in odd)  # of weights alone, each the same
    proj = table["layers.0.blocks.1.attn.proj"]
    assert proj.dims == ("unit", "window", "token") and proj.shape == (96, 24, 16) and proj.grid == (16, 24)
    assert proj.arrangement.order[0] != 0  # it is shifted
    weights = table["layers.1.blocks.1.attn:attention"]
    assert weights.dims == ("unit", "window", "query", "key") and weights.shape == (6, 6, 16, 16)
    assert table["layers.1"].grid == (8, 12)
    grids = {"patch_embed": (16, 24), "layers.0": (16, 24), "layers.1": (8, 12), "norm": (8, 12), "head": (8, 12)}
    for layer in table.values():
        if not layer.problem and layer.dims != ("unit",) and "key" not in layer.dims:
            inside = layer.path.startswith("layers.1.downsample") or not layer.path.startswith("layers.")
            assert inside or layer.grid == grids[".".join(layer.path.split(".")[:2])], layer
            assert layer.grid in grids.values() and layer.grid == layer.arrangement.grid, layer


class InNoOrder(nn.Module):
    """A map whose places are sorted by what is in them; what follows works on single positions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.norm = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)
        self.wide = nn.Conv2d(5, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.wide(self.norm(self.one(x.flatten(2).sort(-1)[0].view(x.shape))))


class Generator(nn.Module):
    """Noise becomes a map."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.up, self.last = nn.Linear(10, 64), nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.up(self.fc(x).view(-1, 4, 4, 4)))


class BlocksAsUnits(nn.Module):
    """Blocks of the image become channels; or (control for the input's order) the image comes with channels last."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.last, self.conv, self.one = last, nn.Conv2d(3 if last else 12, 5, 3), nn.Conv2d(5, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.last:
            return self.one(self.conv(x.permute(0, 3, 1, 2)))
        x = x.view(len(x), 3, x.shape[2] // 2, 2, x.shape[3] // 2, 2).permute(0, 3, 5, 1, 2, 4)
        return self.one(self.conv(x.reshape(len(x), 12, *x.shape[-2:])))


def test_what_is_not_known_to_be_a_map_has_no_grid() -> None:
    table = probed(InNoOrder().eval(), noise(16, 24))
    assert table["conv"].grid == (14, 22) and table["wide"].grid == (12, 20)  # 3 x 3 positions are neighbours
    for name in ("one", "norm"):
        assert table[name].grid is None and table[name].dims == ("unit", "window", "token"), name
        assert table[name].shape == (5, 14, 22)
    for keep in ("patches", "centre", "window?size=2"):
        with pytest.raises(RecordingError, match="not known|is known"):
            record(
                InNoOrder().eval(),
                StimulusSet.from_arrays(noise(16, 24).numpy()),
                layers=["one"],
                keep=keep,
                device="cpu",
            )


def test_maps_are_made_of_noise_and_of_blocks_and_of_single_channels() -> None:
    table = probed(Generator().eval(), torch.rand(3, 10))
    assert [table[name].grid for name in ("fc", "up", "last")] == [None, (8, 8), (8, 8)]
    for net, shape in ((BlocksAsUnits(last=False), (3, 3, 16, 24)), (BlocksAsUnits(last=True), (3, 8, 12, 3))):
        table = probed(net.eval(), torch.rand(shape))
        assert {layer.grid for layer in table.values()} == {(6, 10)}
    table = probed(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2)), torch.rand(3, 1, 8, 12))
    assert [layer.grid for layer in table.values()] == [(6, 10), (6, 10), (3, 5)]
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Unfold(2, stride=2), nn.Fold((6, 10), 2, stride=2), nn.Conv2d(4, 2, 1))
    assert [layer.grid for layer in probed(net, noise(8, 12)).values()] == [(6, 10), (3, 5), (6, 10), (6, 10)]


def test_patches_of_mobilevit_are_put_back_where_they_were() -> None:
    net = timm.create_model("mobilevitv2_050").eval()
    layer = probed(net, noise(64, 64))["stages.2.1.transformer.0.attn"]
    assert layer.shape == (64, 4, 16) and layer.grid == (8, 8)
    values = torch.arange(64.0).view(1, 1, 8, 8)  # as timm cuts patches of 2 x 2 out of the map
    cut = values.reshape(1, 1, 4, 2, 4, 2).permute(0, 1, 3, 5, 2, 4).reshape(1, 1, 4, 16)
    assert torch.equal(as_map(cut, layer), values)


def test_positions_of_queries_and_keys_are_no_map() -> None:
    table = probed(timm.create_model("convit_tiny", img_size=64, depth=1, local_up_to_layer=1).eval(), noise(64, 64))
    odd = table["blocks.0.attn.pos_proj:softmax"]
    assert odd.shape == (4, 16, 16) and odd.grid is None and "y" not in odd.dims
