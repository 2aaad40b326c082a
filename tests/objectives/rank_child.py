"""What a rank of test_objective_ranks.py does: the gradient of its share of a batch, averaged over ranks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from torch import nn

from netphys.objectives import OBJECTIVES, Clock, Objective, make_objective
from netphys.ranks import Alone, Together

N_SAMPLES = 12  # for 2 and for 3 ranks
SIZE = (16, 16)


def batch_of(name: str) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(7)
    shape = (N_SAMPLES, 2, 3, *SIZE) if name == "simclr" else (N_SAMPLES, 3, *SIZE)
    batch = {"image": torch.rand(shape, generator=draw, dtype=torch.float64)}
    return batch | {"label": torch.arange(N_SAMPLES) % 4} if name == "supervised" else batch


def objective_of(name: str) -> Objective:
    """Without batch norm: on the CPU it knows its own rank alone, and that is no matter of the loss."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, 2, padding=1), nn.Tanh(), nn.Conv2d(8, 12, 3, 2, padding=1))
    objective = make_objective(name, trunk, size=SIZE)
    objective.fit_targets([{key: each.float() if each.is_floating_point() else each
                            for key, each in batch_of(name).items()}])  # fmt: skip
    for module in list(objective.modules()):
        for child, each in module.named_children():
            if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(module, child, nn.Identity())
    with torch.no_grad():
        for each in objective.parameters():
            each.add_(0.1 * torch.randn(each.shape))  # heads that start at zero would send nothing back
    return objective.double()


def gradient(name: str, rows: slice, ranks: Any) -> torch.Tensor:
    """Return the loss and the gradient of all parameters, in one vector."""
    objective = objective_of(name)
    batch = {key: each[rows] for key, each in batch_of(name).items()}
    loss = objective(batch, "main", Clock(0, 10, 0), ranks).loss
    assert loss is not None
    loss.backward()
    parts = [loss.detach()[None], *(each.grad.flatten() for each in objective.parameters() if each.grad is not None)]
    return torch.cat(parts)


class OwnGradientOnly(Together):
    """Control: a gather whose backward reaches this rank's rows from this rank's loss alone."""

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        blocks = [torch.empty_like(values) for _ in range(self.n)]
        distributed.all_gather(blocks, values.detach())
        blocks[self.rank] = values
        return torch.cat(blocks)


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    found = {}
    for n in (2, 3):
        if rank >= n:
            continue
        distributed.init_process_group("gloo", init_method=f"file://{folder}/{n}", rank=rank, world_size=n)
        each = N_SAMPLES // n
        rows = slice(rank * each, (rank + 1) * each)
        for name in OBJECTIVES:
            for kind, ranks in (("right", Together()), ("own", OwnGradientOnly()), ("alone", Alone())):
                total = gradient(name, rows, ranks)
                distributed.all_reduce(total)
                found[f"{name} {n} {kind}"] = total / n
        distributed.barrier()
        distributed.destroy_process_group()
    if rank == 0:
        torch.save(found, folder / "found.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
