"""Gradients of a chosen scalar beside activations."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

import netphys
from netphys.errors import LayerNotFound, OptionError, RecordingError


def _shown(n: int, side: int = 64, seed: int = 0) -> netphys.StimulusSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(pixels)


def _built(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.get_model(name, weights=None, num_classes=10, **({"init_weights": True} if "goo" in name else {}))


def _by_hand(module: nn.Module, stimuli: netphys.StimulusSet, names: list[str], pick: Any, *, inplace: bool) -> Any:
    """Gradients by torch's own retain_grad, of a copy of the network."""
    other = copy.deepcopy(module).eval()
    kept: dict[str, torch.Tensor] = {}
    for each in other.modules():
        if hasattr(each, "inplace") and not inplace:
            each.inplace = False

    def keep(name: str, output: torch.Tensor) -> None:
        output.retain_grad()
        kept[name] = output

    for name, each in other.named_modules():
        if name in names:
            each.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
    pick(other(stimuli.images(range(len(stimuli))).float() / 255)).sum().backward()
    return {name: each.grad.numpy() for name, each in kept.items()}


NORMALISED = ["kind:Conv2d", "kind:BatchNorm2d"]


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("alexnet", ["kind:Conv2d", "kind:Linear"]),
        ("squeezenet1_1", ["kind:Conv2d", "kind:Fire"]),
        ("resnet18", NORMALISED),
        ("mobilenet_v2", NORMALISED),
    ],
)
def test_gradients_equal_those_of_a_copy_without_in_place_operations(name: str, patterns: list[str]) -> None:
    net, shown = _built(name), _shown(4)
    recording = netphys.record(net, shown, layers=patterns, batch_size=4, gradient_of="output[7]")
    layers = [each for each in recording.layers if not each.endswith("/gradient")]
    assert recording.layers == tuple(each for layer in layers for each in (layer, f"{layer}/gradient"))
    expected = _by_hand(net, shown, layers, lambda output: output[:, 7], inplace=False)
    for layer in layers:
        found = recording.array(f"{layer}/gradient")
        largest = np.abs(expected[layer]).max()
        # rounding of two backward passes whose in-place and out-of-place kernels differ
        assert np.abs(found - expected[layer]).max() <= 1e-5 * largest and largest > 0, layer


def test_a_plain_retained_gradient_is_seen_to_be_that_of_the_rectified_value() -> None:
    """Control: without care the gradient of AlexNet's convolutions is that behind the in-place ReLU."""
    net, shown = _built("alexnet"), _shown(4)
    right = _by_hand(net, shown, ["features.0"], lambda output: output[:, 7], inplace=False)["features.0"]
    wrong = _by_hand(net, shown, ["features.0"], lambda output: output[:, 7], inplace=True)["features.0"]
    assert np.abs(right - wrong).max() > 0.1 * np.abs(right).max()


def test_known_answer_of_a_linear_network() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False), nn.Linear(5, 3, bias=False))
    recording = netphys.record(net, _shown(3, 2), layers=["0", "1"], gradient_of="output[2]")
    weights = [each.weight.detach() for each in net[1:]]
    assert np.allclose(recording.array("1/gradient"), weights[1][2].expand(3, 5))
    assert np.allclose(recording.array("0/gradient"), (weights[1] @ weights[0])[2].expand(3, 12), atol=1e-6)


class Deep(nn.Module):
    """Several ways from the image, one that ends."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv, self.side, self.next = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(3))
            self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.side(x)
        mid = self.relu(self.conv(x))
        return self.head(mid.mean((2, 3))).softmax(-1) * self.next(x).sum((1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("scalar", "pick"),
    [
        ("output[3]", lambda output, _: output[:, 3]),
        ("output.max", lambda output, _: output.amax(1)),
        (lambda output: output.pow(2).sum(1), lambda output, _: output.pow(2).sum(1)),
        ("relu[2]", lambda _, relu: relu[:, 2].mean((1, 2))),
        ("relu[2,1,5]", lambda _, relu: relu[:, 2, 1, 5]),
    ],
)
def test_every_kind_of_scalar(scalar: Any, pick: Any) -> None:
    net, shown = Deep().eval(), _shown(5, 8)
    flags = [each.requires_grad for each in net.parameters()]
    found = netphys.record(net, shown, layers="conv", gradient_of=scalar, batch_size=2).array("conv/gradient")
    images = shown.images(range(5)).float() / 255
    before = net.conv(images).detach().requires_grad_()
    relu = before.clamp(min=0)
    output = net.head(relu.mean((2, 3))).softmax(-1) * net.next(images).sum((1, 2, 3))[:, None]
    (expected,) = torch.autograd.grad(pick(output, relu).sum(), before)
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-8) and np.abs(found).max() > 0
    assert [each.requires_grad for each in net.parameters()] == flags and all(p.grad is None for p in net.parameters())


def test_what_no_gradient_reaches_is_refused() -> None:
    net, shown = Deep(), _shown(2, 8)
    with pytest.raises(RecordingError, match="no gradient of output.0. reaches layer 'side' of Deep"):
        netphys.record(net, shown, layers="side", gradient_of="output[0]")
    with pytest.raises(
        RecordingError, match="no gradient of conv.0. reaches layer 'relu' of Deep: it comes after 'conv'"
    ):
        netphys.record(net, shown, layers="relu", gradient_of="conv[0]")


@pytest.mark.parametrize(
    ("scalar", "error", "said"),
    [
        ("loss", OptionError, r"gradient of 'loss' is not understood; say output\[5\]"),
        ("nothing[1]", LayerNotFound, "no layer 'nothing'"),
        ("conv[1,2]", OptionError, r"say \[unit\] or one number an axis"),
        ("conv[4]", OptionError, r"layer 'conv' is \(4, 8, 8\), counted from 0"),
        ("output[6]", RecordingError, r"there is no output\[6\]"),
        (lambda output: output, RecordingError, "not one number for each of 2 stimuli"),
        (lambda output: output[:, 0].detach(), RecordingError, "nothing in it is differentiable"),
    ],
)
def test_scalars_that_mean_nothing_are_one_line(scalar: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        netphys.record(Deep(), _shown(2, 8), layers="conv", gradient_of=scalar)


def test_nothing_deeper_than_the_scalar_runs() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1))
    sizes: list[int] = []
    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: sizes.append(len(given[0])) if module is net[2] else None
    )
    try:
        netphys.record(net, _shown(8, 4), layers="0", gradient_of="1[0]", batch_size=8)
    finally:
        handle.remove()
    assert sizes == [3]  # the probing forward alone


def test_reductions_files_and_digests(tmp_path: Path) -> None:
    net, shown = Deep(), _shown(9, 8)
    options: dict[str, Any] = {"layers": ["conv", "relu"], "batch_size": 4}
    whole = netphys.record(net, shown, gradient_of="output[0]", **options)
    mean = netphys.record(net, shown, gradient_of="output[0]", keep="mean", into=tmp_path / "mean.h5", **options)
    assert np.allclose(mean.array("relu/gradient"), whole.array("relu/gradient").mean((2, 3)), atol=1e-7)
    assert mean.layers == ("conv", "conv/gradient", "relu", "relu/gradient")
    digests = {
        netphys.record(net, shown, gradient_of=scalar, **options).header["digest"]
        for scalar in (None, "output[0]", "output[1]", "output.max", lambda out: out[:, 0], lambda out: out[:, 1])
    }
    assert len(digests) == 6
    plain = netphys.record(net, shown, **options)
    assert all(np.array_equal(plain.array(layer), whole.array(layer)) for layer in plain.layers)


def test_a_stimulus_has_the_same_gradient_alone_and_among_others() -> None:
    net, shown = _built("resnet18"), _shown(6)
    options: dict[str, Any] = {"layers": "layer2.0.conv1", "batch_size": 4, "gradient_of": "output.max"}
    among = netphys.record(net, shown, **options).array("layer2.0.conv1/gradient")
    alone = netphys.record(net, shown.subset([5]), **options).array("layer2.0.conv1/gradient")
    assert np.array_equal(among[5], alone[0])


def test_the_command_records_gradients(tmp_path: Path) -> None:
    from netphys.cli.main import main

    out = tmp_path / "rec.h5"
    command = ["record", "torchvision:squeezenet1_1?resize=64", "world:scenes?n=2", "--layers", "features.3"]
    assert main([*command, "--gradient-of", "output[3]", "--keep", "mean", "--out", str(out)]) == 0
    assert netphys.load_recording(out).layers == ("features.3", "features.3/gradient")


class Views(nn.Module):
    """A layer that returns a view, whose memory is written to behind it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.first, self.view = how, nn.Conv2d(3, 4, 3), nn.Identity()
        self.flat, self.relu = nn.Flatten(), nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        if self.how == "flatten":
            return self.relu(self.flat(y)).cumsum(1)[:, ::7] * 2
        if self.how == "split":
            z, _ = y.split(2, 1)
            z = self.view(z)
            y.mul_(2)
            return z.flatten(1)
        if self.how == "expand":
            z = self.view(y[:, :, :1].expand(-1, -1, 4, -1))
            y.mul_(2)
            return z.flatten(1)
        z = self.view(y[:, 1:])
        a = z * 5
        (z if self.how == "view" else y).mul_(2)
        return (a + z * 7).flatten(1)


@pytest.mark.parametrize(("how", "slope"), [("base", 19), ("view", 19)])
def test_views_that_are_written_to_afterwards(how: str, slope: float) -> None:
    """(5 + 2 x 7) of what came out of the view, not the 5 of before it was written to."""
    recording = netphys.record(Views(how), _shown(4, 6), layers=["view", "first"], gradient_of="output[3]")
    found = recording.array("view/gradient").reshape(4, -1)
    assert np.all(found[:, 3] == slope) and np.all(np.delete(found, 3, 1) == 0)
    inside = recording.array("first/gradient")[:, 1:].reshape(4, -1)
    assert np.array_equal(inside, found)
    plain = netphys.record(Views(how), _shown(4, 6), layers=["view"])
    assert plain.shape("view") == recording.shape("view")


def test_a_flat_view_before_an_in_place_operation() -> None:
    net, shown = Views("flatten"), _shown(3, 6)
    recording = netphys.record(net, shown, layers=["first", "flat"], gradient_of="output[2]")
    images = shown.images(range(3)).float() / 255
    before = net.first(images).detach().requires_grad_()
    out = before.flatten(1).clamp(min=0).cumsum(1)[:, ::7] * 2
    (expected,) = torch.autograd.grad(out[:, 2].sum(), before)
    for layer in ("first", "flat"):
        assert np.array_equal(recording.array(f"{layer}/gradient").reshape(3, -1), expected.flatten(1))
    plain = netphys.record(net, shown, layers=["first", "flat"])
    assert all(np.array_equal(plain.array(each), recording.array(each)) for each in plain.layers)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("expand", "'view' of Views: it returns a view whose memory is written to afterwards"),
        ("split", "no gradient of output.3. can be taken through Views .Output 0 of Split"),
    ],
)
def test_views_that_cannot_be_watched_are_refused(how: str, said: str) -> None:
    with pytest.raises(RecordingError, match=said):
        netphys.record(Views(how), _shown(2, 6), layers="view", gradient_of="output[3]")


def test_what_mixes_the_batch_behind_a_layer_is_refused() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mixing = nn.BatchNorm2d(4, track_running_stats=False)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), mixing, nn.Flatten(), nn.Linear(64, 5))
    shown = _shown(6, 6)
    netphys.record(net, shown, layers="0")  # its activations are its own
    with pytest.raises(RecordingError, match="'0/gradient' .* something behind the layer mixes them"):
        netphys.record(net, shown, layers="0", gradient_of="output[2]")
    with pytest.raises(RecordingError, match="depends on the other stimuli in the batch"):
        scalar = lambda output: output[:, 0] * output[:, 1].mean()  # noqa: E731
        netphys.record(_built("squeezenet1_1"), _shown(6), layers="features.3", gradient_of=scalar)


class Checkpointed(nn.Module):
    """Computes its middle anew in the backward pass, in torch's older way."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from torch.utils.checkpoint import checkpoint

        return checkpoint(self.b, self.a(x), use_reentrant=True).flatten(1)


def test_what_torch_cannot_differentiate_is_one_line() -> None:
    with pytest.raises(RecordingError, match="no gradient of output.0. can be taken through Checkpointed"):
        netphys.record(Checkpointed(), _shown(2, 8), layers="a", gradient_of="output[0]")


def test_components_of_gradients_are_of_the_same_scalar(tmp_path: Path) -> None:
    net, fit, shown = Deep(), _shown(8, 8, seed=1), _shown(4, 8)
    path = tmp_path / "fit.h5"
    netphys.record(net, fit, layers="conv", gradient_of="output[1]", into=path)
    keep = f"pca?k=3&fit={path}&same=true"  # both sets count their stimuli from nought
    netphys.record(net, shown, layers="conv", gradient_of="output[1]", keep=keep)
    with pytest.raises(RecordingError, match=r"holds gradients of output\[1\], not of output\[2\]"):
        netphys.record(net, shown, layers="conv", gradient_of="output[2]", keep=keep)
