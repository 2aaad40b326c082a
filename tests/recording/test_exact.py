"""What is recorded is what the layer returned at that moment: equal to a hand-written forward, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

import netphys
from netphys.networks import Network

N = 8  # stimuli, in one batch


@pytest.fixture(scope="module")
def shown() -> Any:
    pixels = np.random.default_rng(1).integers(0, 256, (N, 3, 16, 16), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(pixels)


class InPlace(nn.Module):
    """An in-place ReLU after a convolution, an in-place sum after that, and a view that is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.conv2, self.pool = nn.Conv2d(4, 4, 3, padding=1), nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.conv1(x))
        y = self.conv2(x)
        y += x
        pooled = self.pool(y)
        pooled.view(len(pooled), -1)[:, :5] = 0
        return pooled

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        conv1 = F.conv2d(x, self.conv1.weight, self.conv1.bias, padding=1)
        relu = conv1.clamp(min=0)
        conv2 = F.conv2d(relu, self.conv2.weight, self.conv2.bias, padding=1)
        return {"conv1": conv1, "relu": relu, "conv2": conv2, "pool": F.max_pool2d(conv2 + relu, 2)}


class Reused(nn.Module):
    """One ReLU called three times, as in ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(
            self.fc(self.relu(self.conv(x)).mean((2, 3))) - self.relu(self.fc.bias.expand(len(x), 5) - 0.1)
        )

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        conv = F.conv2d(x, self.conv.weight, self.conv.bias)
        relu = conv.clamp(min=0)
        fc = F.linear(relu.mean((2, 3)), self.fc.weight, self.fc.bias)
        third = (fc - (self.fc.bias - 0.1).clamp(min=0)).clamp(min=0)
        return {"conv": conv, "relu": relu, "fc": fc, "relu#3": third}


@dataclass
class Hidden:
    state: torch.Tensor
    note: str = "no tensor"


class Several(nn.Module):
    """Returns a tuple, a dict with a dataclass and a None in it, all in one."""

    def forward(self, x: torch.Tensor) -> Any:
        return (x * 2, {"hidden": Hidden(x.mean((2, 3))), "nothing": None, "list": [x + 1]})


class Outputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.several, self.nothing, self.one = Several(), Nothing(), One()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        double, rest = self.several(x)
        self.nothing(x)
        double.zero_()  # what a later operation does to it
        return self.one(rest["hidden"].state)

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        mean = x.mean((2, 3))
        return {"several/0": x * 2, "several/1/hidden/state": mean, "several/1/list/0": x + 1, "one": mean[:, :1]}


class Nothing(nn.Module):
    def forward(self, x: torch.Tensor) -> None:
        return None


class One(nn.Module):
    """One number a stimulus, without an axis for it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0]


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(3, 3), nn.Linear(3, 3)
        self.decode.weight = self.encode.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encode(x.mean((2, 3))))

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        encode = F.linear(x.mean((2, 3)), self.encode.weight, self.encode.bias)
        return {"encode": encode, "decode": F.linear(encode, self.encode.weight, self.decode.bias)}


class Half(nn.Module):
    """Parameters in half precision; the activation is stored exactly in float32."""

    def __init__(self, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4).to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.to(self.fc.weight.dtype).mean((2, 3))).relu_()

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"fc": F.linear(x.to(self.fc.weight.dtype).mean((2, 3)), self.fc.weight, self.fc.bias).float()}


class Trained(nn.Module):
    """Batch norm, dropout, and a part that its owner had put in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.frozen = nn.BatchNorm2d(3), nn.Dropout(), nn.Sequential(nn.BatchNorm2d(3))
        self.norm.running_mean += 0.3
        self.train()
        self.frozen.eval()
        self.frozen.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen(self.drop(self.norm(x)))

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        norm = F.batch_norm(x, self.norm.running_mean, self.norm.running_var, self.norm.weight, self.norm.bias)
        again = self.frozen[0]
        last = F.batch_norm(norm, again.running_mean, again.running_var, again.weight, again.bias)
        return {"norm": norm, "drop": norm, "frozen.0": last, "frozen": last}


class Checkpointed(nn.Module):
    """A block that is checkpointed, and code that swallows exceptions."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
        self.tail = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            x = checkpoint(self.block, x, use_reentrant=False)
        except Exception:
            x = x * 0
        return self.tail(x)

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        conv = F.conv2d(x, self.block[0].weight, self.block[0].bias)
        return {"block.0": conv, "block.1": conv.clamp(min=0), "block": conv.clamp(min=0)}


class Functional(nn.Module):
    """All that a module's hook never sees, and a block that fails on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.fails = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), Refusing()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(torch.tanh(x)).relu_()
        try:
            x = self.fails(x)
        except Exception:
            x = self.conv2(x)
        return F.relu(F.max_pool2d(F.relu(x, inplace=True), 2) - 0.1)

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        conv1 = F.conv2d(x.tanh(), self.conv1.weight, self.conv1.bias)
        conv2 = F.conv2d(conv1.clamp(min=0), self.conv2.weight, self.conv2.bias)
        pooled = F.max_pool2d(conv2.clamp(min=0), 2)
        return {
            "input:tanh": x.tanh(), "conv1": conv1, "conv1:relu": conv1.clamp(min=0), "conv2": conv2,
            "conv2:relu": conv2.clamp(min=0), "conv2:max_pool2d": pooled, "conv2:relu#2": (pooled - 0.1).clamp(min=0),
        }  # fmt: skip


class Refusing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("not today")


class Branch(nn.Module):
    """Two ways, of which the data choose one; and their sum in place."""

    def __init__(self) -> None:
        super().__init__()
        self.dark, self.bright, self.join = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 1), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        way = self.bright if x.mean() > 2 else self.dark
        y = way(x)
        y += 1
        return self.join(y)

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        dark = F.conv2d(x, self.dark.weight, self.dark.bias)
        return {"dark": dark, "join": dark + 1}


class Parallel(nn.DataParallel):
    """A network in DataParallel, of one process."""

    def __init__(self) -> None:
        super().__init__(Functional())

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {f"module.{name}".replace("module.input:", "input:"): v for name, v in self.module.by_hand(x).items()}


def compiled() -> nn.Module:
    """A compiled network; it runs uncompiled while it is recorded, for compiled code calls no hook."""
    return torch.compile(CompiledInside(), backend="eager")


class CompiledInside(Reused):
    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {f"_orig_mod.{name}": values for name, values in super().by_hand(x).items()}


class Bare(nn.Conv2d):
    """A network of one module."""

    def __init__(self) -> None:
        super().__init__(3, 4, 3)

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"output": F.conv2d(x, self.weight, self.bias)}


TOYS = [
    InPlace, Reused, Outputs, Tied, Half, lambda: Half(torch.bfloat16), Trained, Checkpointed, Bare, Functional, Branch,
    Parallel, compiled,
]  # fmt: skip


def _made(build: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def _state(net: nn.Module) -> Any:
    """All that a recording must leave as it was."""
    hook_kinds = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
    return (
        {key: value.clone() for key, value in net.state_dict().items()},
        [each.training for each in net.modules()],
        [each.requires_grad for each in net.parameters()],
        [len(getattr(each, kind)) for each in net.modules() for kind in hook_kinds],
        torch.backends.mha.get_fastpath_enabled(),
        torch.is_grad_enabled(),
        _get_current_function_mode_stack(),
        torch.get_rng_state().clone(),
    )


def _same(one: Any, other: Any) -> bool:
    equal = one[0].keys() == other[0].keys() and all(torch.equal(one[0][key], other[0][key]) for key in one[0])
    return equal and one[1:7] == other[1:7] and torch.equal(one[7], other[7])


@pytest.mark.parametrize("build", TOYS)
def test_record_equals_the_forward_by_hand(build: Any, shown: Any) -> None:
    net = _made(build)
    before = _state(net)
    recording = netphys.record(net, shown, layers="all", batch_size=N)
    assert _same(_state(net), before)
    with torch.no_grad():
        expected = net.by_hand(shown.images(range(N)) / 255)
    assert expected.keys() <= set(recording.layers)
    for name, values in expected.items():
        got = torch.tensor(recording.array(name))
        assert torch.equal(got, values.reshape(got.shape)), name


@pytest.mark.parametrize("build", TOYS)
def test_hooks_equal_the_forward_by_hand_with_and_without_gradients(build: Any, shown: Any) -> None:
    net, images = _made(build), shown.images(range(N)) / 255
    expected = {name: values.detach() for name, values in net.by_hand(images).items()}
    before = _state(net)
    for gradients in (False, True):
        with netphys.hooks(net, "all") as tape, torch.set_grad_enabled(gradients):
            net(images)
        for name, values in expected.items():
            assert torch.equal(tape[name].detach().float(), values.reshape(tape[name].shape)), name
        learned = gradients and next(net.parameters(), None) is not None
        assert any(each.requires_grad for each in tape.values()) == learned
    assert _same(_state(net), before)


def test_a_hook_that_keeps_the_last_call_without_a_copy_is_seen_to_be_wrong(shown: Any) -> None:
    """Control: the comparison above can fail, on both networks that were made for it."""
    images, wrong = shown.images(range(N)) / 255, {}
    for build in (InPlace, Reused):
        net, kept = _made(build), {}
        for path, module in net.named_modules():
            module.register_forward_hook(
                lambda m, i, out, path=path, kept=kept: kept.__setitem__(path, out.detach().numpy())
            )
        net(images)
        expected = net.by_hand(images)
        wrong[build] = [n for n, v in expected.items() if n in kept and not np.array_equal(kept[n], v.detach().numpy())]
    assert "conv1" in wrong[InPlace] and "conv2" in wrong[InPlace] and "pool" in wrong[InPlace]
    assert "conv" in wrong[Reused] and "relu" in wrong[Reused]


def test_nested_recorders_do_not_disturb_each_other(shown: Any) -> None:
    net, images = _made(InPlace), shown.images(range(N)) / 255
    with torch.no_grad():
        expected = net.by_hand(images)
        with netphys.hooks(net, ["conv1", "pool"]) as outer:
            with netphys.hooks(net, "relu") as inner:
                net(images)
                assert list(inner) == ["relu"] and list(outer) == ["conv1", "pool"]
                recording = netphys.record(net, shown, layers="conv2", batch_size=N)
            net(images[:3])
            assert len(outer["pool"]) == 3 and len(inner["relu"]) == N
    assert torch.equal(torch.tensor(recording.array("conv2")), expected["conv2"])
    assert torch.equal(inner["relu"], expected["relu"])


class Fails(nn.Module):
    """Fails in a forward whose images are bright."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Dropout()
        self.train()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.first(x))
        if x.max() > 0.9:
            raise ZeroDivisionError("in forward")
        return y


class Refuses:
    """A sink that fails in its hook at the second batch."""

    def open(self, *_: Any) -> None: ...

    def close(self) -> None: ...

    def state_dict(self) -> dict[str, np.ndarray]:
        return {}

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        if rows[0] > 0:
            raise ArithmeticError("in a hook")


@pytest.mark.parametrize("where", ["forward", "hook", "tape"])
def test_after_an_exception_the_network_is_as_it_was(where: str) -> None:
    net = _made(Fails)
    pixels = np.zeros((6, 3, 8, 8), dtype=np.uint8)
    pixels[-1] = 0 if where == "hook" else 255
    shown, before = netphys.StimulusSet.from_arrays(pixels), _state(net)
    if where == "forward":
        with pytest.raises(ZeroDivisionError):  # behind it, so that the pass does not stop before it fails
            netphys.record(nn.Sequential(net, nn.Identity()), shown, layers="1", batch_size=2)
    elif where == "hook":
        with pytest.raises(ArithmeticError):
            netphys.record(net, shown, layers="second", batch_size=2, sinks=[Refuses()])
    else:
        with pytest.raises(ZeroDivisionError), netphys.hooks(net, "all"):
            net(shown.images([5]) / 255)
    assert _same(_state(net), before)


# Dtypes


def test_float16_is_stored_when_it_fits_and_refused_when_it_overflows(shown: Any) -> None:
    class Large(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor, self.layer = factor, nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x * self.factor)

    kept = netphys.record(Large(65504.0), shown, layers="layer", dtype="float16")
    assert kept.array("layer").dtype == np.float16 and np.isfinite(kept.array("layer")).all()
    values = (shown.images(range(N)).float() / 255 * 65600.0).half()
    said = f"^{int(values.isinf().sum())} activations of 'layer' exceed 65504"
    with pytest.raises(netphys.errors.RecordingError, match=said):
        netphys.record(Large(65600.0), shown, layers="layer", dtype="float16")
    with pytest.raises(netphys.errors.OptionError, match="dtype='float61' is not known; near: 'float16'"):
        netphys.record(Large(1.0), shown, layers="layer", dtype="float61")


def test_a_custom_preparation_is_used(shown: Any) -> None:
    doubled = netphys.record(Network(nn.Identity(), lambda x: x.float() * 2), shown, layers="output").array("output")
    assert np.array_equal(doubled, shown.images(range(N)).numpy() * 2.0)
