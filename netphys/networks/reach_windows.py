"""Rules of the operations that read within windows: convolutions, poolings, padding and resizing."""

from __future__ import annotations

import torch

from netphys.networks.reach import Reach, Taps, transposed_taps, window_taps, windowed
from netphys.networks.reach_moves import Call, move_rule

__all__ = ["adaptive_rule", "convolution_rule", "pad_rule", "pool_rule", "resize_rule"]


def convolution_rule(call: Call) -> list[Reach]:
    """Combine within windows, over the channels of a group."""
    reach = _grouped(call.first(), int(call.given["groups"]), call.shape[1])
    weight = call.given["weight"]
    n = weight.ndim - 2
    stride, padding, dilation = (call.numbers(name, n) for name in ("stride", "padding", "dilation"))
    taps_of = transposed_taps if call.given["transposed"] else window_taps
    taps = {
        at - n + len(call.shape): taps_of(
            call.shape[at - n], weight.shape[at + 2], stride[at], padding[at], dilation[at]
        )
        for at in range(n)
    }
    return [windowed(reach, taps, call.shape)]


def _grouped(reach: Reach, groups: int, n_out: int) -> Reach:
    """Combine what the channels of a group read, for each output channel."""
    tables = []
    for table in reach.tables:
        if table.shape[2] > 1:
            table = table.unflatten(2, (groups, -1)).amin(3)
            table = table.repeat_interleave(n_out // groups, 2) if groups > 1 else table
        tables.append(table)
    return Reach(reach.shape, (tables[0], tables[1]), reach.jumps, reach.gated)


def pool_rule(call: Call) -> list[Reach]:
    """Combine within windows, each channel for itself."""
    reach, kernel = call.first(), list(call.given["kernel_size"])
    n = 3 if "3d" in call.func._schema.name else 1 if "1d" in call.func._schema.name else 2
    kernel = call.numbers("kernel_size", n)
    stride = call.numbers("stride", n) if call.given.get("stride") else kernel
    padding = call.numbers("padding", n)
    dilation = call.numbers("dilation", n) if "dilation" in call.given else [1] * n
    first = len(reach.shape) - n
    taps = {
        first + at: window_taps(call.shape[first + at], kernel[at], stride[at], padding[at], dilation[at])
        for at in range(n)
    }
    return [windowed(reach, taps, call.shape)] * len(call.outputs)


def adaptive_rule(call: Call) -> list[Reach]:
    """Place t of m reads ⌊t·n/m⌋ ... ⌈(t+1)·n/m⌉ − 1."""
    reach = call.first()
    n_axes = len(call.given["output_size"])
    taps = {}
    for dim in range(len(reach.shape) - n_axes, len(reach.shape)):
        n, m = reach.shape[dim], call.shape[dim]
        first = torch.tensor([t * n // m for t in range(m)])
        last = torch.tensor([-(-(t + 1) * n // m) - 1 for t in range(m)])
        taps[dim] = _hull_taps(first, last, n / m)
    return [windowed(reach, taps, call.shape)] * len(call.outputs)


def _hull_taps(first: torch.Tensor, last: torch.Tensor, step: float) -> Taps:
    """Read all from `first` to `last`."""
    index = first[:, None] + torch.arange(int((last - first).max()) + 1)
    return Taps(index.minimum(last[:, None]), None, step)


def resize_rule(call: Call) -> list[Reach]:
    """Read the neighbours that an interpolation weighs (two: linear; four: cubic; one: nearest)."""
    name = call.func._schema.name
    reach = call.first()
    n_axes = 1 if "1d" in name else 3 if "3d" in name else 2
    wide = 2 if "bicubic" in name else 1
    taps = {}
    for at, dim in enumerate(range(len(reach.shape) - n_axes, len(reach.shape))):
        n, m = reach.shape[dim], call.shape[dim]
        if "nearest" in name:
            return move_rule(call)
        source = _sources(call, n, m, at)
        first = source.floor()
        last = first + (source > first).to(first.dtype)
        if wide > 1:
            first, last = torch.where(source > first, first - 1, first), torch.where(source > first, last + 1, last)
        taps[dim] = _hull_taps(first.long().clamp(0, n - 1), last.long().clamp(0, n - 1), n / m)
    return [windowed(reach, taps, call.shape)]


def _sources(call: Call, n: int, m: int, at: int) -> torch.Tensor:
    """Where in the input each place of a resized output lies."""
    t = torch.arange(m, dtype=torch.float64)
    if call.given.get("align_corners"):
        return t * (n - 1) / max(1, m - 1)
    factors = call.given.get("scale_factors") or [
        value for key, value in call.given.items() if key.startswith("scales") and key != "scale_factors"
    ]
    factor = factors[at] if factors and factors[at] else None
    source = (t + 0.5) * (1 / factor if factor else n / m) - 0.5
    return source if "bicubic" in call.func._schema.name else source.clamp_min(0)


def pad_rule(call: Call) -> list[Reach]:
    """Go on beyond the borders (or cut, where the padding is negative); what is filled in reads nothing."""
    reach, pad = call.first(), list(call.given["pad"])
    taps = {}
    for at in range(len(pad) // 2):
        dim = len(reach.shape) - 1 - at
        taps[dim] = Taps(torch.arange(call.shape[dim])[:, None] - pad[2 * at], None, 1.0)
    return [windowed(reach, taps, call.shape)]
