"""What stands on a trunk while it learns and is thrown away afterwards: pooling, linear heads, projectors, decoders.

Heads are small, so that they run in full precision under autocast; the decoder, which is not, follows autocast.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from netphys.errors import OptionError
from netphys.seeds import forked_torch

__all__ = [
    "Decoder",
    "LinearHead",
    "Projector",
    "features",
    "full_precision",
    "n_features",
    "output_shape",
    "take_shapes",
]


def features(output: Tensor) -> Tensor:
    """Reduce a trunk's output to features: the mean over places of a map, or over tokens.

    Parameters
    ----------
    output : tensor (n, channel, y, x), (n, token, feature) or (n, feature)

    Returns
    -------
    tensor (n, feature)
        float32, or float64 where the output is.

    Raises
    ------
    OptionError
        If it is neither.
    """
    if not isinstance(output, Tensor):
        raise OptionError(f"a trunk's output is a tensor, not {type(output).__name__}")
    values = output.to(torch.promote_types(output.dtype, torch.float32))
    if values.ndim == 4:
        return values.mean((2, 3))
    if values.ndim == 3:
        return values.mean(1)
    if values.ndim == 2:
        return values
    raise OptionError(
        f"a trunk's output is (n, channel, y, x), (n, token, feature) or (n, feature), not {tuple(output.shape)}"
    )


def full_precision(values: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which autocast does nothing on the device of `values`."""
    return torch.autocast(values.device.type, enabled=False)


@torch.no_grad()
def output_shape(trunk: nn.Module, size: tuple[int, int]) -> tuple[int, ...]:
    """Look at two blank images, and say the shape of the output without the batch; the trunk is left as found.

    Both modes are looked at: some networks have auxiliary outputs while they learn.

    Raises
    ------
    OptionError
        If the trunk cannot look at images of this size, or returns no tensor.
    """
    for mode in (True, False):
        looking = copy.deepcopy(trunk).train(mode)  # batch norm would remember
        like = next(looking.parameters(), torch.zeros(()))
        try:
            with forked_torch(0):  # dropout draws
                output = looking(like.new_zeros(2, 3, *size))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise OptionError(
                f"the trunk {type(trunk).__name__} cannot look at {size[0]} x {size[1]}: {reason}"
            ) from None
        if not isinstance(output, Tensor) or output.ndim < 2:
            found = type(output).__name__ + " while it learns" * mode
            raise OptionError(f"a trunk returns a tensor (n, ...), but {type(trunk).__name__} returns {found}")
    return tuple(output.shape[1:])


def n_features(shape: tuple[int, ...]) -> int:
    """Say how many :func:`features` an output of this shape (without the batch) has."""
    return shape[-1] if len(shape) == 2 else shape[0]


def take_shapes(module: nn.Module, state: dict[str, Any], prefix: str, names: Sequence[str]) -> None:
    """Give parameters and buffers the shapes that a checkpoint has: what a training set taught is not known before.

    Parameters stay the objects that an optimizer holds.
    """
    for name in names:
        own, found = getattr(module, name), state.get(prefix + name)
        if found is not None and found.shape != own.shape:
            own.data = own.data.new_zeros(found.shape)
            own.grad = None


class LinearHead(nn.Linear):
    """A linear layer that starts at zero, so that its first prediction is its bias; it can take another width.

    Parameters
    ----------
    n_in, n_out : int
        Features in; classes out (0: not known yet).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, max(n_out, 1))
        self.resize(n_out)

    @torch.no_grad()
    def resize(self, n_out: int, bias: Tensor | None = None) -> None:
        """Start anew with `n_out` outputs: weights zero, the bias `bias` or zero."""
        self.out_features = n_out
        self.weight.data = self.weight.data.new_zeros(n_out, self.in_features)
        self.bias.data = self.bias.data.new_zeros(n_out) if bias is None else bias.to(self.bias.data).clone()
        self.weight.grad = self.bias.grad = None

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        take_shapes(self, state_dict, prefix, ("weight", "bias"))
        self.out_features = len(self.bias)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Projector(nn.Sequential):
    """An MLP with one hidden layer and batch norm between: features (n, n_in) → (n, n_out)."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int) -> None:
        super().__init__(
            nn.Linear(n_in, n_hidden, bias=False),  # the norm has one
            nn.BatchNorm1d(n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_out),
        )


class Decoder(nn.Module):
    """From a trunk's map to logits at every place of a finer map, doubled bilinearly until it is reached.

    Each resolution has a 3 x 3 convolution of 64 channels; the last, after a doubling, has a 1 x 1: the places are many
    there, and what is interpolated has no finer structure. So the decoder costs less than a small trunk.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, y, x of the trunk's map.
    side : int
        Rows and columns of the finer map. A trunk's map that is finer still is averaged to it.
    n_classes : int
        Logits a place.
    """

    WIDTH = 64  # channels

    def __init__(self, shape: tuple[int, ...], side: int, n_classes: int) -> None:
        super().__init__()
        if len(shape) != 3:
            raise OptionError(
                f"the trunk's output is of shape (n, {', '.join(map(str, shape))}); a decoder needs a map "
                "(n, channel, y, x): give it a trunk without pooling and head"
            )
        self.side = side
        self.sides: list[tuple[int, int]] = [(min(shape[1], side), min(shape[2], side))]
        while min(self.sides[-1]) < side:
            self.sides.append((min(2 * self.sides[-1][0], side), min(2 * self.sides[-1][1], side)))
        last = len(self.sides) - 1
        self.blocks = nn.ModuleList(
            _block(self.WIDTH if index else shape[0], self.WIDTH, 1 if 0 < index == last else 3)
            for index in range(last + 1)
        )
        self.head = LinearHead(self.WIDTH, n_classes)

    def forward(self, output: Tensor) -> Tensor:
        """Return logits (n, y, x, class), the classes of a place side by side in memory."""
        values = nn.functional.adaptive_avg_pool2d(output, self.sides[0])
        for side, block in zip(self.sides, self.blocks):
            if values.shape[-2:] != side:
                values = nn.functional.interpolate(values, size=side, mode="bilinear", align_corners=False)
            values = block(values)
        return self.head(values.permute(0, 2, 3, 1))


def _block(n_in: int, n_out: int, side: int) -> nn.Sequential:
    """Make a convolution, norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, side, padding=side // 2, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)
    )
