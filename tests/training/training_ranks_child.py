"""Train on several gloo ranks of this machine, or on one: forks after its imports and writes each rank's result."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as distributed
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

import lightning_fabric  # noqa: E402, F401
import pandas  # noqa: E402, F401
from safetensors.torch import save_file  # noqa: E402
from toy_objective import Toy, shown  # noqa: E402

from netphys.training import train  # noqa: E402
from netphys.training.engine import Engine  # noqa: E402


class Trunk(nn.Sequential):
    """Without batch norm, which would see a rank's part of the batch."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 6, 5, 4), nn.Tanh(), nn.Conv2d(6, 8, 3, 2), nn.Tanh())


def run(folder: Path, name: str, objective: str, options: dict, **more) -> None:
    kind = Toy if objective == "toy" else objective
    result = train(
        kind, Trunk(), shown(), n_steps=8, batch_size=16, held_out=16, precision="float32", options=options, **more
    )
    save_file(result.network.module.state_dict(), folder / f"{objective}-{name}.safetensors")
    result.curve.to_csv(folder / f"{objective}-{name}.csv", index=False)


def work(folder: Path, name: str, rank: int, n: int) -> None:
    torch.set_num_threads(1)
    if n > 1:
        distributed.init_process_group("gloo", init_method=f"file://{folder}/{name}", rank=rank, world_size=n)
    if name == "unaveraged":
        Engine.average = lambda self, tensors: None
    run(folder, f"{name}-{rank}", "toy", {"dropout": 0.0})  # each rank draws its own noise
    run(folder, f"{name}-{rank}", "supervised", {})
    if n > 1:
        distributed.destroy_process_group()


def main(folder: Path) -> None:
    for name, n in (("alone", 1), ("together", 2), ("unaveraged", 2)):
        children = []
        for rank in range(n):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    work(folder, name, rank, n)
                    status = 0
                except BaseException:
                    import traceback

                    traceback.print_exc()
                finally:
                    os._exit(status)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0, name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
