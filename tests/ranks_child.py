"""Ranks on this machine: forks n processes that open a gloo group, and writes what each of them computed.

Called with a folder: for 2 and 3 ranks, the gradient of a contrast over the joined batch, with the verbs of
``netphys.ranks`` and with a gather that keeps only its own rank's gradient; then what 3 ranks, started as torchrun
starts them, tell each other where all goes well, where one fails, is killed, or does not answer.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as distributed

from netphys.errors import OptionError
from netphys.ranks import Alone, Together, joined, own_device, part_of

ROWS, WIDTH = 12, 5


class LocalGather:
    """Control: joins the rows, but lets gradients reach its own alone."""

    def __init__(self) -> None:
        self.rank, self.n = distributed.get_rank(), distributed.get_world_size()

    def gather(self, values):
        parts = [torch.empty_like(values) for _ in range(self.n)]
        distributed.all_gather(parts, values.detach().contiguous())
        parts[self.rank] = values
        return torch.cat(parts)


def weights_and_data():
    torch.manual_seed(0)
    return torch.randn(WIDTH, WIDTH, dtype=torch.float64), torch.randn(ROWS, WIDTH, dtype=torch.float64)


def gradients(ranks, local: torch.Tensor, *, sums: bool = True) -> dict[str, torch.Tensor]:
    """Gradients of a contrast (rows against all rows), and of a loss of moments, averaged over ranks."""
    found = {}
    for name in ("contrast", *(["moments"] if sums else [])):
        weights = weights_and_data()[0].requires_grad_()
        z = torch.tanh(local @ weights)
        if name == "contrast":
            every = ranks.gather(z)
            own = torch.arange(len(z)) + ranks.rank * len(z)
            loss = torch.nn.functional.cross_entropy(z @ every.T, (own + 1) % len(every))
        else:
            mean = ranks.sum(z.sum(0)) / ROWS
            variance = ranks.sum((z - mean).square().sum(0)) / ROWS
            loss = (mean.square() / variance).sum()
        loss.backward()
        found[name] = weights.grad
        if ranks.n > 1:
            distributed.all_reduce(found[name])
            found[name] /= ranks.n
    return found


def rank_of(folder: Path, rank: int, n: int) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group{n}", rank=rank, world_size=n)
    share = ROWS // n
    local = weights_and_data()[1][rank * share : (rank + 1) * share]
    ranks = Together()
    said = {"right": gradients(ranks, local), "local": gradients(LocalGather(), local, sums=False)}
    counted = torch.full((2,), float(rank + 1), requires_grad=True)
    total = ranks.sum_without_gradient(counted)
    said["counts"] = {"total": total, "flows": torch.tensor(total.requires_grad)}
    said["joined"] = {"rows": ranks.gather(torch.tensor([[float(rank)]]))}
    torch.save(said, folder / f"{n}-{rank}.pt")
    distributed.destroy_process_group()


def talk(case: str, rank: int) -> list:
    """Share words as a case has it; return what was heard."""
    heard: list = []
    patience = timedelta(seconds=3 if case == "silent" else 60)
    for _ in range(2 if case == "twice" else 1):
        with joined(patience) as ranks:
            heard += [ranks.rank, ranks.n, own_device("cpu", ranks), list(part_of(range(7), ranks))]
            if case == "fails" and rank == 1:
                raise OptionError("no such thing")
            if case == "breaks" and rank == 2:
                raise ValueError("a bug")
            if case == "killed" and rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if case == "silent" and rank == 1:
                time.sleep(5)
            heard.append(ranks.share({"rank": rank, "much": "ü" * (10**rank)})[2])
            with joined() as inner:
                heard.append(inner is ranks)
            if case == "late" and rank == 0:  # after the last share, when all others are about to leave
                raise OptionError("too late")
    heard.append(distributed.is_initialized())
    return heard


def conversation(folder: Path, case: str) -> None:
    """Start three ranks as torchrun does, and write down what each heard, or the error that ended it."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    children = []
    for rank in range(3):
        child = os.fork()
        if child == 0:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="3", MASTER_ADDR="127.0.0.1")
            os.environ["MASTER_PORT"] = str(port)
            try:
                said = talk(case, rank)
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            (folder / f"{case}-{rank}.json").write_text(json.dumps(said))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def main(folder: Path) -> None:
    for n in (2, 3):
        children = []
        for rank in range(n):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    torch.set_num_threads(1)
                    rank_of(folder, rank, n)
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
    for case in ("well", "twice", "fails", "breaks", "killed", "silent", "late"):
        conversation(folder, case)
    torch.save({"right": gradients(Alone(), weights_and_data()[1])}, folder / "alone.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
