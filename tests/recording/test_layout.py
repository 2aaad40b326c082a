"""Which axis holds the units: followed through functions as through modules, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import netphys
from netphys.errors import RecordingError
from netphys.networks import as_network
from netphys.recording.layers import Layer, probe_layers
from netphys.recording.layout import Layout

MAXVIT = {"stem": 64, "blocks.0": 64, "blocks.1": 128, "blocks.2": 256, "blocks.3": 512}
SWIN = {f"features.{stage}": 96 * 2 ** (stage // 2) for stage in range(8)} | {"norm": 768, "permute": 768}
CONVNEXT = {f"features.{stage}": 96 * 2 ** (stage // 2) for stage in range(8)}
VIT = {"conv_proj": 768, "encoder": 768}
RESNET = {"conv1": 64, "layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}


def _probed(net: nn.Module, side: int = 64) -> list[Layer]:
    images = torch.randint(0, 256, (3, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return probe_layers(as_network(net), images)


def _channels(module: nn.Module) -> int | None:
    """What a module itself says of its units."""
    for name in ("out_channels", "num_features", "out_features", "hidden_dim"):
        if isinstance(getattr(module, name, None), int):
            return getattr(module, name)
    shape = getattr(module, "normalized_shape", ())
    return shape[0] if len(shape) == 1 else None


@pytest.mark.parametrize(
    ("name", "side", "known"),
    [
        ("maxvit_t", 224, MAXVIT),
        ("swin_t", 64, SWIN),
        ("convnext_tiny", 64, CONVNEXT),
        ("vit_b_16", 224, VIT),
        ("resnet18", 64, RESNET),
        ("shufflenet_v2_x0_5", 64, {"conv1": 24, "stage2": 48, "stage3": 96, "stage4": 192, "conv5": 1024}),
    ],
)
def test_every_layer_of_published_networks_has_its_known_number_of_units(
    name: str, side: int, known: dict[str, int]
) -> None:
    import torchvision

    net = torchvision.models.get_model(name)
    table = _probed(net, side)
    assert not [layer.name for layer in table if layer.problem]
    for layer in table:
        own = _channels(net.get_submodule(layer.path)) if ":" not in layer.name else None
        assert own is None or layer.n_units == own, layer
        if layer.path in known:
            assert layer.n_units == known[layer.path], layer
        if len(layer.dims) == 3:  # of square images: places make a square, or MaxViT's windows of 7 x 7
            assert layer.shape[1] == layer.shape[2] or 49 in layer.shape[1:], layer
    assert {layer.n_units for layer in table if layer.path in known} == set(known.values())


def test_maxvit_is_averaged_over_places_and_not_over_units() -> None:
    """Its blocks permute back by functions: the last leaf that knew said that units come last."""
    import torchvision

    net = torchvision.models.maxvit_t().eval()
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), dtype=np.uint8))
    recorded = netphys.record(net, shown, layers="blocks.0.layers.0", keep="mean", batch_size=2).array(
        "blocks.0.layers.0"
    )
    with torch.no_grad():
        block = net.blocks[0].layers[0](net.stem(shown.images([0, 1]) / 255))
    assert block.shape == (2, 64, 56, 56) and np.allclose(recorded, block.mean((2, 3)).numpy(), atol=1e-5)
    assert block.mean((1, 2)).shape == (2, 56)  # control: what came of the guess


class Toy(nn.Module):
    """Two views of one thing: modules `a` and `b` see what `run` gives them."""

    def __init__(self, run: Callable[[Any, torch.Tensor], torch.Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.run, self.last = run, nn.Identity()
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.run(self, x))


def _shuffled(net: Any, x: torch.Tensor) -> torch.Tensor:
    x = net.conv(x)
    return x.view(len(x), 2, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


def _windows(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Cut to windows in the batch, and put together again."""
    x = net.conv(x).permute(0, 2, 3, 1)
    n, height, width, units = x.shape
    x = x.reshape(n, height // 4, 4, width // 4, 4, units).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, units)
    x = x.reshape(n, height // 4, width // 4, 4, 4, units).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(n, height, width, units)


CASES: dict[str, tuple[Callable[..., torch.Tensor], dict[str, nn.Module], tuple[int, ...], bool]] = {
    "conv1d, relu": (lambda m, x: m.conv(x.flatten(2)).relu(), {"conv": nn.Conv1d(3, 8, 1)}, (8, 64), False),
    "to the end": (lambda m, x: m.conv(x).permute(0, 2, 3, 1), {"conv": nn.Conv2d(3, 8, 1)}, (8, 8, 8), True),
    "and back": (
        lambda m, x: m.fc(m.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        {"conv": nn.Conv2d(3, 8, 1), "fc": nn.Linear(8, 5)}, (5, 8, 8), False,
    ),
    "torch.permute": (
        lambda m, x: torch.permute(m.conv(x), (0, 2, 3, 1)), {"conv": nn.Conv2d(3, 8, 1)}, (8, 8, 8), True,
    ),
    "movedim": (lambda m, x: m.conv(x).movedim(1, -1), {"conv": nn.Conv2d(3, 8, 1)}, (8, 8, 8), True),
    "swapaxes": (lambda m, x: m.conv(x).flatten(2).swapaxes(1, 2), {"conv": nn.Conv2d(3, 8, 1)}, (8, 64), True),
    "mT": (lambda m, x: m.conv(x).flatten(2).mT, {"conv": nn.Conv2d(3, 8, 1)}, (8, 64), True),
    "in place": (lambda m, x: m.conv(x).flatten(2).transpose_(1, 2), {"conv": nn.Conv2d(3, 8, 1)}, (8, 64), True),
    "chunks": (lambda m, x: m.conv(x).flatten(2).mT.chunk(2, -1)[1], {"conv": nn.Conv2d(3, 8, 1)}, (4, 64), True),
    "shuffled": (_shuffled, {"conv": nn.Conv2d(3, 8, 1)}, (8, 8, 8), False),
    "windows": (_windows, {"conv": nn.Conv2d(3, 8, 1)}, (8, 8, 8), True),
    "a column": (lambda m, x: m.conv(x)[..., 0], {"conv": nn.Conv2d(3, 8, 1)}, (8, 8), False),
    "a mean": (lambda m, x: m.conv(x).permute(0, 2, 3, 1).mean(1), {"conv": nn.Conv2d(3, 8, 1)}, (8, 8), True),
    "pooled": (lambda m, x: F.max_pool2d(m.conv(x), 2), {"conv": nn.Conv2d(3, 8, 1)}, (8, 4, 4), False),
    "one unit": (lambda m, x: m.conv(x).relu().permute(0, 2, 3, 1), {"conv": nn.Conv2d(3, 1, 1)}, (1, 8, 8), True),
    "norm over units": (
        lambda m, x: m.norm(m.conv(x).flatten(2).mT),
        {"conv": nn.Conv2d(3, 8, 1), "norm": nn.LayerNorm(8)}, (8, 64), True,
    ),
    "instance norm": (
        lambda m, x: F.gelu(m.norm(m.conv(x.flatten(2)))),
        {"conv": nn.Conv1d(3, 8, 1), "norm": nn.InstanceNorm1d(8)}, (8, 64), False,
    ),
    "embedding": (
        lambda m, x: m.table((x[:, 0].flatten(1) > 0.5).long()), {"table": nn.Embedding(2, 7)}, (7, 64), True,
    ),
    "single-headed attention": (
        lambda m, x: (lambda v: (v @ v.mT).softmax(-1) @ v)(m.fc(x.flatten(2).mT)),
        {"fc": nn.Linear(3, 8)}, (8, 64), True,
    ),
    "fused attention, two heads": (
        lambda m, x: (
            lambda v: F.scaled_dot_product_attention(v, v, v).transpose(1, 2).reshape(len(x), 64, 8)
        )(m.fc(x.flatten(2).mT).view(len(x), 64, 2, 4).transpose(1, 2)),
        {"fc": nn.Linear(3, 8)}, (8, 64), True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_units_are_followed_through_functions(case: str) -> None:
    run, modules, shape, moved = CASES[case]
    last = _probed(Toy(run, **modules), side=8)[-1]
    assert (last.name, last.problem, last.shape, last.moved) == ("last", "", shape, moved)


def test_the_guesses_that_were_made_before_are_seen_to_fail() -> None:
    """Control: by the number of axes, and by the last module that says anything, several cases come out wrong."""
    kinds = {"Linear": True, "LayerNorm": True}  # units last; all else that has parameters, first
    wrong = []
    for case, (_, modules, shape, moved) in CASES.items():
        told = [kinds.get(type(each).__name__, False) for each in modules.values()][-1]
        if (len(shape) == 2 or told) != moved:
            wrong.append(case)
    assert {"conv1d, relu", "to the end", "and back", "movedim", "windows", "a column", "instance norm"} <= set(wrong)


class Einsum(nn.Module):
    """Computes in ways that say nothing of its axes."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed, self.norm = nn.Identity(), nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.mixed(torch.einsum("ncyx,nczw->nyx", x, x)))


def test_what_cannot_be_told_is_refused_when_asked_for() -> None:
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8))
    said = r"'mixed' of Einsum cannot be recorded: which axis of \(3, 8, 8\) holds its units cannot be told"
    with pytest.raises(RecordingError, match=said):
        netphys.record(Einsum(), shown, layers="mixed")
    assert netphys.record(Einsum(), shown, layers="norm").shape("norm") == (2, 8, 8)  # a norm over features knows


def test_parents_that_disagree_tell_nothing() -> None:
    def run(net: Any, x: torch.Tensor) -> torch.Tensor:
        x = net.conv(x).flatten(2)
        return x + x.mT

    assert "cannot be told" in _probed(Toy(run, conv=nn.Conv2d(3, 64, 1)), side=8)[-1].problem


class Scripted(torch.autograd.Function):
    """A nonlinearity that is computed where no function is seen."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=0)


class Unseen(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Scripted.apply(x)


def test_a_leaf_that_computes_unseen_has_the_units_of_its_input() -> None:
    net = Toy(lambda m, x: m.act(m.conv(x.flatten(2))), conv=nn.Conv1d(3, 8, 1), act=Unseen())
    table = {layer.name: layer for layer in _probed(net, side=8)}
    assert table["act"].shape == (8, 64) and not table["act"].moved and not table["last"].problem


def test_nothing_is_left_behind() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    images = torch.rand(2, 3, 4, 4)
    with pytest.raises(ZeroDivisionError), Layout(net, images) as layout:
        assert layout.unit_axes(net(images)) == (1,)
        raise ZeroDivisionError
    assert not any(each._forward_hooks for each in net.modules())
    assert not torch.overrides._get_current_function_mode_stack()
    made = net(images)
    assert layout.unit_axes(made) is None  # nobody follows any more


class Mixer(nn.Module):
    """A dense layer over positions, as MLP-Mixer's, and a gate of one number a unit, as in channel attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.over_places = nn.Linear(16, 16)
        self.over_units = nn.Linear(8, 8)
        self.gate = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.gated = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x).flatten(2)  # (n, 8 units, 16 places)
        tokens = self.over_places(tokens)
        tokens = self.over_units(tokens.transpose(1, 2)).transpose(1, 2)
        weights = self.gate(tokens.mean(-1)[:, None]).transpose(1, 2)
        return self.gated(tokens * weights.expand_as(tokens))


def test_layers_that_mix_places_leave_the_units_where_they_are() -> None:
    torch.manual_seed(0)
    net = Mixer()
    recording = netphys.record(net, np.random.default_rng(0).random((4, 3, 16, 16), np.float32), layers="leaves")
    shapes = {name: recording.shape(name)[1:] for name in recording.layers}
    assert shapes == {
        "embed": (8, 4, 4),
        "over_places": (8, 16),  # not 16 units of 8 places, as the last axis would have it
        "over_units": (8, 16),
        "gate": (8, 1),
        "gated": (8, 16),
    }


class Folded(nn.Module):
    """One layer of two cannot be recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.folded = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.folded(x.flatten(0, 1))


def test_what_a_pattern_catches_and_cannot_be_recorded_is_left_out_with_a_word(caplog) -> None:
    images = np.zeros((4, 3, 8, 8), np.uint8)
    with caplog.at_level("WARNING"):
        recording = netphys.record(Folded(), images, layers="leaves")
    assert recording.layers == ("conv",)
    assert "1 of 2 layers of Folded cannot be recorded and are left out, first 'folded'" in caplog.text
    for exactly in ("folded", ["leaves", "folded"]):
        with pytest.raises(RecordingError, match="'folded' of Folded cannot be recorded"):
            netphys.record(Folded(), images, layers=exactly)
    table = netphys.layers(Folded()).set_index("name")
    assert "not the batch" in table["problem"]["folded"] and table["problem"]["conv"] == ""


class Odd(nn.Module):
    """Computes from weights alone, with the stimuli along its second axis, and with heads in an axis of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.table = nn.Conv2d(3, 8, 4, stride=4), nn.Parameter(torch.zeros(15, 4))
        self.bias, self.sequence, self.heads = nn.Linear(4, 2), nn.LayerNorm(8), nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x).flatten(2).permute(2, 0, 1)  # (6 tokens, stimulus, 8 units)
        tokens = self.sequence(tokens) + self.bias(self.table).sum()
        return self.heads(tokens.transpose(0, 1).unflatten(2, (2, 4)).transpose(1, 2))


def test_a_whole_multiple_of_the_batch_is_not_taken_for_windows_without_a_reason() -> None:
    images = torch.randint(0, 256, (3, 3, 8, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    table = {layer.name: layer for layer in probe_layers(as_network(Odd()), images)}
    assert "made of weights alone" in table["bias"].problem  # 15 rows, 3 stimuli
    assert "its stimuli lie along axis 1" in table["sequence"].problem  # 6 tokens, 3 stimuli
    heads = table["heads"]
    assert (heads.shape, heads.dims, heads.arrangement.unit_axes) == ((8, 6), ("unit", "token"), (1, 3))
    recorded = netphys.record(Odd(), images.numpy(), layers="heads", batch_size=4).array("heads")
    assert recorded.shape == (3, 8, 6)


def test_units_of_heads_are_numbered_head_by_head() -> None:
    torch.manual_seed(0)
    net, images = Odd().eval(), torch.rand(2, 3, 8, 12)
    seen: list[torch.Tensor] = []
    net.heads.register_forward_hook(lambda m, i, output: seen.append(output.clone()))
    recorded = netphys.record(net, images.numpy(), layers="heads", batch_size=2).array("heads")
    raw = seen[-1]  # (n, head, token, feature)
    assert np.array_equal(recorded, raw.transpose(2, 3).flatten(1, 2).numpy())
    assert not np.array_equal(recorded, raw.permute(0, 3, 1, 2).flatten(1, 2).numpy())  # control: features, then heads


class Doubles(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_networks_with_scripted_modules_are_recorded() -> None:
    pair = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
    for inner in (torch.jit.script(Doubles()), torch.jit.script(pair)):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), inner, nn.Conv2d(4, 2, 1)).eval()
        images = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
        recording = netphys.record(net, netphys.StimulusSet.from_arrays(images), layers="all", device="cpu")
        assert [*recording.layers] == ["0", "1", "2"]
        with torch.no_grad():
            expected = inner(net[0](torch.from_numpy(images)))
        np.testing.assert_array_equal(np.asarray(recording["1"]), expected.numpy())
        grids = [layer.grid for layer in probe_layers(as_network(net), torch.rand(3, 3, 8, 8))]
        assert grids == [(6, 6)] * 3


def test_a_scripted_network_is_refused_in_one_line() -> None:
    net = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    with pytest.raises(RecordingError, match=r"^[^\n]*it is scripted, what happens inside is not seen[^\n]*$"):
        probe_layers(as_network(net), torch.rand(3, 3, 8, 8))
