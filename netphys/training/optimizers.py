"""One AdamW a turn: weight decay on matrices and kernels only, the rate written anew at every step.

References
----------
Loshchilov & Hutter (2019), Decoupled weight decay regularization, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from netphys.objectives.contract import Objective

__all__ = ["Optimizers"]

_BETAS = (0.9, 0.999)


class Optimizers:
    """The optimizers of an objective's turns; a turn whose groups are empty has none.

    Parameters
    ----------
    objective : Objective
        On its device, with its targets fitted.
    weight_decay : float
        Of groups that decay.
    """

    def __init__(self, objective: Objective, *, weight_decay: float) -> None:
        self._names = {id(each): name for name, each in objective.named_parameters()}
        self._by_turn: dict[str, Optimizer] = {}
        self._factors: dict[str, list[float]] = {}
        for turn in objective.turns:
            groups = [each for each in objective.groups(turn) if each.parameters]
            if not groups:
                continue
            # a rate on the device is read by its kernels, so that writing it waits for nothing
            on_cuda = groups[0].parameters[0].is_cuda
            self._by_turn[turn] = torch.optim.AdamW(
                [
                    {
                        "params": list(each.parameters),
                        "weight_decay": weight_decay if each.decay else 0.0,
                        "lr": torch.zeros((), device=each.parameters[0].device) if on_cuda else 0.0,
                    }
                    for each in groups
                ],
                betas=_BETAS,
                fused=True,
            )
            self._factors[turn] = [each.rate for each in groups]

    def parameters(self, turn: str) -> list[Tensor]:
        """Return the parameters that a turn changes."""
        optimizer = self._by_turn.get(turn)
        return [each for group in optimizer.param_groups for each in group["params"]] if optimizer else []

    def zero_grad(self, turn: str) -> None:
        """Forget the gradients of a turn's parameters."""
        if turn in self._by_turn:
            self._by_turn[turn].zero_grad(set_to_none=True)

    def step(self, turn: str, rate: float) -> None:
        """Change the parameters of a turn along their gradients."""
        optimizer = self._by_turn.get(turn)
        if optimizer is None:
            return
        for group, factor in zip(optimizer.param_groups, self._factors[turn]):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor
        optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Return what the optimizers remember: ``TURN/PARAMETER/KEY``."""
        return {
            f"{turn}/{self._names[id(parameter)]}/{key}": value
            for turn, optimizer in self._by_turn.items()
            for parameter, remembered in optimizer.state.items()
            for key, value in remembered.items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Remember what :meth:`state` returned, each tensor laid out in memory as its parameter is."""
        for turn, optimizer in self._by_turn.items():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    prefix = f"{turn}/{self._names[id(parameter)]}/"
                    own = {key.removeprefix(prefix): each for key, each in state.items() if key.startswith(prefix)}
                    if own:
                        optimizer.state[parameter] = {key: _like(parameter, each) for key, each in own.items()}


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """Copy a remembered tensor: moments in the memory format of their parameter, counters as they are."""
    if value.shape != parameter.shape:
        return value.to(parameter.device if parameter.is_cuda else value.device).clone()
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
