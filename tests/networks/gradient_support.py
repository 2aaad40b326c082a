"""The pixels on which a unit really depends, by gradients of a network whose paths all carry one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision import models

from netphys.networks.geometry import Fields
from netphys.networks.outputs import LayerName, tensors_in
from netphys.networks.tap import Tap

__all__ = ["blank_net", "disagreements", "linear_surrogate", "support", "torchvision_net"]

_IDENTITIES = "ReLU ReLU6 SiLU Hardswish GELU Mish LeakyReLU ELU Dropout Swish"
_GATES = "SqueezeExcitation SqueezeExcite SEModule EffectiveSEModule"


def torchvision_net(name: str, **options: Any) -> nn.Module:
    """Build an untrained network of torchvision."""
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    return models.get_model(name, weights=None, **options)


def blank_net(name: str, **options: Any) -> nn.Module:
    """Build a network without drawing its weights, which takes longer than all else."""
    home = "cpu" if name.startswith("regnet") else "meta"  # whose widths are computed by torch
    with torch.device(home), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if name.startswith("timm:"):
            import timm

            net = timm.create_model(name.removeprefix("timm:"), pretrained=False, **options)
        else:
            net = torchvision_net(name, **options)
    net = net.to_empty(device="cpu") if home == "meta" else net
    for each in [*net.parameters(), *net.buffers()]:
        nn.init.ones_(each)
    for each in net.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.reset_running_stats()
    return net.eval()


def linear_surrogate(module: nn.Module, seed: int) -> nn.Module:
    """Make all weights positive and maxima means, in float64: then every path carries a positive gradient.

    With positive weights and images every rectifier is the identity; biases are 0. Weights have mean 1 / fan-in, so
    that activations stay near 1 through any depth. Gates that look at the whole image are taken out.
    """
    draw = torch.Generator().manual_seed(seed)
    for each in list(module.modules()):
        for name, child in list(each.named_children()):
            kind = type(child).__name__
            if isinstance(child, nn.MaxPool2d):
                kernel, stride, padding = child.kernel_size, child.stride, child.padding
                if child.dilation in (1, (1, 1)):
                    setattr(each, name, nn.AvgPool2d(kernel, stride, padding, ceil_mode=child.ceil_mode))
            elif kind in (_IDENTITIES + " " + _GATES).split():
                setattr(each, name, nn.Identity())
    module.double().eval()
    with torch.no_grad():
        for each in module.modules():
            for name, parameter in each.named_parameters(recurse=False):
                if parameter.ndim > 1:
                    fan_in = parameter[0].numel() if not isinstance(each, nn.ConvTranspose2d) else len(parameter)
                    drawn = torch.rand(parameter.shape, generator=draw, dtype=torch.float64) + 0.5
                    parameter.copy_(drawn / fan_in)
                else:
                    parameter.fill_(0.0 if name == "bias" else 1.0)
    return module


def support(
    module: nn.Module, layer: str, size: tuple[int, int], position: tuple[int, ...], places: tuple[int, ...] = ()
) -> tuple[int, ...] | None:
    """Return the box of the pixels on which a layer's units at a position depend, by their gradient.

    Units are along axis 1, or along the last, where only then as many `places` are left.
    """
    kept: dict[str, torch.Tensor] = {}
    key = LayerName.parse(layer).key

    def receive(_: str, key: str, output: Any) -> None:
        kept.update((key + suffix, tensor) for suffix, tensor in tensors_in(output))

    draw = torch.Generator().manual_seed(1)
    image = (torch.rand(1, 3, *size, generator=draw, dtype=torch.float64) + 0.5).requires_grad_()
    with Tap(module, [path for path, _ in module.named_modules()], receive, functions=key.__eq__, last=key) as tap:
        tap.run(image)
    output = kept[layer]
    if places and output.shape[1:-1] == places != output.shape[2:]:
        output = output.movedim(-1, 1)
    at = output[(0, slice(None), *position)] if position else output[0]
    if position:  # weighed: a sum over what a norm made is the same for every image
        at = at.flatten() * torch.linspace(0.5, 1.5, at.numel(), dtype=at.dtype)
    reached = torch.autograd.grad(at.sum(), image)[0].abs().sum((0, 1)) > 0
    rows, columns = torch.nonzero(reached.any(1)).flatten(), torch.nonzero(reached.any(0)).flatten()
    return None if not len(rows) else (int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1]))


def disagreements(module: nn.Module, fields: Fields, layers: list[str], size: tuple[int, int]) -> list[str]:
    """Compare boxes with supports at corners, the middle and a random position; list what differs."""
    rng = np.random.default_rng(0)
    found = []
    for layer in layers:
        field = fields[layer]
        assert not field.problem, field
        shape = field.n_positions
        positions = {(0,) * len(shape), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)}
        positions.add(tuple(int(rng.integers(n)) for n in shape))
        for position in sorted(positions) if not field.whole else [()]:
            true = support(module, layer, size, position, shape) or (0, -1, 0, -1)
            if field.seen(*position) != true:
                found.append(f"{layer} at {position}: {field.seen(*position)} but {true}")
    return found
