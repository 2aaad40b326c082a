"""One operation of torch as receptive fields see it, and the rules of those that only move entries.

Views, permutations, selections and tensors put beside each other: the tables are moved as the values are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from netphys.networks.reach import Reach, jump_of, moved

__all__ = ["Call", "cat_rule", "move_rule", "same_rule", "slice_rule", "stack_rule", "view_rule"]


class Call:
    """One operation: its arguments by name, what its tensors read, and what came out.

    Parameters
    ----------
    func : OpOverload
        The operation.
    args, kwargs
        As it was called.
    outputs : list of tensor
        What it returned.
    known : callable
        Tensor → what it reads; None for weights and constants.
    """

    def __init__(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        outputs: list[torch.Tensor],
        known: Callable[[Any], Reach | None],
    ) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        self.outputs, self.read_by = outputs, known
        names = [each.name for each in func._schema.arguments]
        defaults = {each.name: each.default_value for each in func._schema.arguments if each.has_default_value()}
        self.given = {**defaults, **dict(zip(names, args)), **kwargs}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return tuple(self.outputs[0].shape)

    def known(self, name: str) -> Reach | None:
        """Return what the argument of that name reads."""
        return self.read_by(self.given[name])

    def first(self) -> Reach:
        """Return what the first argument reads."""
        reach = self.read_by(self.args[0])
        if reach is None:
            raise NotImplementedError("reads the image by another argument than its first")
        return reach

    def all_known(self) -> list[Reach]:
        """Return what all arguments read, those in lists included."""
        flat = [
            each for value in self.given.values() for each in (value if isinstance(value, list | tuple) else [value])
        ]
        return [reach for reach in (self.read_by(each) for each in flat) if reach is not None]

    def numbers(self, name: str, n: int) -> list[int]:
        """Return an option of n axes; one number stands for all."""
        value = self.given[name]
        value = list(value) if isinstance(value, list | tuple) else [value]
        return value * n if len(value) == 1 else value


def same_rule(call: Call) -> list[Reach]:
    """Change values in their places."""
    return [call.first()]


def move_rule(call: Call) -> list[Reach]:
    """Only move entries."""
    reach, others = call.first(), _on_cpu(call.args[1:])  # tables are there, wherever the network is
    return moved(reach, lambda table: call.func(table, *others, **call.kwargs))


def _on_cpu(value: Any) -> Any:
    """Bring the tensors of an argument (indices) to the CPU."""
    if isinstance(value, torch.Tensor):
        return value.cpu()
    return type(value)(_on_cpu(each) for each in value) if isinstance(value, list | tuple) else value


def slice_rule(call: Call) -> list[Reach]:
    """Take every so-many-th entry."""
    reach, (after,) = call.first(), move_rule(call)
    dim, step = int(call.given["dim"]) % len(reach.shape) + 1, int(call.given["step"] or 1)
    if all(table.shape[dim] == 1 for table in reach.tables):
        return [after]
    steps = [step if table.shape[dim] > 1 else 1 for table in reach.tables]
    jumps = [jump_of(table) or old * by for table, old, by in zip(after.tables, reach.jumps, steps)]
    return [Reach(after.shape, after.tables, (jumps[0], jumps[1]), after.gated)]


def view_rule(call: Call) -> list[Reach]:
    """Give the entries another shape; tables that are spread out have other strides, so not by the operation itself."""
    return moved(call.first(), lambda table: table.reshape(call.shape))


def cat_rule(call: Call) -> list[Reach]:
    """Put tensors beside each other; what none of them reads (a class token) reads nothing."""
    tensors, dim = list(call.given["tensors"]), int(call.given.get("dim", 0))
    tensors = [each for each in tensors if each.shape != (0,)]
    n_dims = tensors[0].ndim
    dim %= n_dims
    reaches = [call.read_by(each) or _nothing(each.shape) for each in tensors]
    tables = []
    for axis in (0, 1):
        parts = [each.tables[axis] for each in reaches]
        if all(part.shape[dim + 1] == 1 for part in parts) and all(_equal(part, parts[0]) for part in parts):
            tables.append(parts[0])
            continue
        sizes = [max(part.shape[each] for part in parts) for each in range(n_dims + 1)]
        spread = [
            part.expand([length if at != dim + 1 else reach.shape[dim] for at, length in enumerate(sizes)])
            for part, reach in zip(parts, reaches)
        ]
        tables.append(torch.cat(spread, dim + 1))
    return [_beside(call, tables)]


def stack_rule(call: Call) -> list[Reach]:
    """Put tensors beside each other along a new axis."""
    tensors, dim = list(call.given["tensors"]), int(call.given.get("dim", 0))
    reaches = [call.read_by(each) or _nothing(each.shape) for each in tensors]
    parts = [moved(each, lambda table: table.unsqueeze(dim))[0] for each in reaches]
    tables = []
    for axis in (0, 1):
        spread = [each.tables[axis].expand(4, *each.shape) for each in parts]
        tables.append(torch.cat(spread, dim % len(call.shape) + 1))
    return [_beside(call, tables)]


def _beside(call: Call, tables: Sequence[torch.Tensor]) -> Reach:
    """Make the reach of tensors that were put beside each other; jumps are those of the first that reads the image."""
    known = call.all_known()
    return Reach(call.shape, (tables[0], tables[1]), known[0].jumps, any(each.gated for each in known))


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


def _nothing(shape: Sequence[int]) -> Reach:
    """Return the reach of a constant, for where it stands beside what reads the image."""
    table = torch.full((4, *[1] * len(shape)), math.inf, dtype=torch.float64)
    return Reach(tuple(shape), (table, table), (0.0, 0.0))
