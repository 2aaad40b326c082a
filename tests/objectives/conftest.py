"""Small trunks and batches on which objectives are tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from netphys.objectives import Clock, Objective, Step, make_objective
from netphys.ranks import Alone

SIZE = (16, 16)


def small_trunk(*, seed: int = 0, norm: bool = True) -> nn.Module:
    """Two convolutions: (n, 3, 16, 16) → (n, 12, 4, 4)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, padding=1), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.ReLU(),
            nn.Conv2d(8, 12, 3, 2, padding=1), nn.ReLU(),
        )  # fmt: skip


def small_batch(name: str, n: int = 8, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Images of one colour each, under noise: what an objective of this name needs."""
    draw = torch.Generator().manual_seed(seed)
    shape = (n, 2, 3, *SIZE) if name == "simclr" else (n, 3, *SIZE)
    colour = torch.rand((n, *[1] * (len(shape) - 4), 3, 1, 1), generator=draw)
    images = 0.6 * colour + 0.4 * torch.rand(shape, generator=draw)
    batch = {"image": images}
    return batch | {"label": torch.arange(n) % 4} if name == "supervised" else batch


def made(name: str, trunk: nn.Module | None = None, **options: Any) -> Objective:
    """Make an objective that knows its targets, from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        objective = make_objective(name, trunk or small_trunk(), size=SIZE, options=options)
    objective.fit_targets([small_batch(name, 16, seed=5)])
    return objective.train()


def look(objective: Objective, batch: dict[str, torch.Tensor], *, step: int = 0) -> Step:
    return objective(batch, "main", Clock(step, 100, 0), Alone())


def learn(objective: Objective, batch: Callable[[int], dict[str, torch.Tensor]], n_steps: int, rate: float) -> float:
    """Learn with Adam, and return the last loss."""
    optimizer = torch.optim.Adam(objective.parameters(), lr=rate)
    loss = torch.zeros(())
    for step in range(n_steps):
        optimizer.zero_grad()
        found = look(objective, batch(step), step=step).loss
        assert found is not None
        found.backward()
        optimizer.step()
        loss = found.detach()
    return float(loss)


@pytest.fixture
def objectives() -> Any:
    """The functions above, by name."""

    class Kit:
        SIZE = SIZE
        small_trunk, small_batch, made = staticmethod(small_trunk), staticmethod(small_batch), staticmethod(made)
        look, learn = staticmethod(look), staticmethod(learn)

    return Kit
