"""A server of ranks: imports once, then forks as many as each line of JSON on stdin says, as torchrun would start them.

Prints, in one line, how each of them ended. What the order says dies, fails, or is told something else. As a script
under torchrun (``... recorder_ranks_child.py FOLDER``) it is the command ``netphys record``, whose rank 1 dies once.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from killed_child import Moments, Twelve

import netphys
from netphys.errors import OutputError
from netphys.recording.file import shards

DEADLINE = 100  # seconds; then those who are left hang


class Sums(Moments):
    """Running sums that several ranks can make: sums of sums."""

    def merge(self, state: Any) -> None:
        for name, value in state.items():
            self.sums[name] = self.sums[name] + value


def record(folder: Path, order: dict[str, Any], rank: int) -> None:
    torch.set_num_threads(1)
    pixels = np.random.default_rng(0).integers(0, 256, (order["n"], 3, 8, 8), dtype=np.uint8)
    shards.SHARD_BYTES = order["shard_bytes"]
    watch(folder, order, rank)
    kinds = {"sums": Sums, "moments": Moments}
    sinks = [kinds[order["sink"]](folder / f"sums-{rank}.npz")] if "sink" in order else []
    options = {"keep": "projection?k=30&s=3"} if order.get("projection") else {}
    netphys.record(
        Twelve(), netphys.StimulusSet.from_arrays(pixels), layers="kind:Conv2d", into=folder / "rec.h5", sinks=sinks,
        seed=order.get("seeds", {}).get(str(rank), 0), **options,
    )  # fmt: skip


def watch(folder: Path, order: dict[str, Any], rank: int) -> None:
    """Write down each shard that is recorded; die or fail at one."""
    append, own = shards.Shards.append, [0]

    def watched(self: Any, index: int, *given: Any) -> None:
        if order.get("dies") == [rank, own[0]]:
            os.kill(os.getpid(), signal.SIGKILL)
        if order.get("fails") == [rank, own[0]]:
            raise {"mistake": OutputError, "bug": ValueError}[order["how"]]("nothing can be written here")
        append(self, index, *given)
        own[0] += 1
        with (folder / "recorded").open("a") as file:
            file.write(f"{index}\n")

    shards.Shards.append = watched


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def fork(order: dict[str, Any], rank: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    status, folder = 1, Path(order["folder"])
    os.dup2(os.open(folder / f"said-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(order["ranks"]))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        record(folder, order, rank)
        status = 0
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait(pids: list[int]) -> list[int | str]:
    """Wait for all; who is left at the deadline hangs, and is killed."""
    ended: dict[int, int | str] = {}
    deadline = time.monotonic() + DEADLINE
    while len(ended) < len(pids):
        for pid in set(pids) - set(ended):
            done, how = os.waitpid(pid, os.WNOHANG)
            if done:
                ended[pid] = os.waitstatus_to_exitcode(how)
            elif time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                ended[pid] = "hung"
        time.sleep(0.02)
    return [ended[pid] for pid in pids]


def serve() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        port = free_port()
        print(json.dumps(wait([fork(order, rank, port) for rank in range(order["ranks"])])), flush=True)  # noqa: T201


def command(folder: Path, arguments: list[str]) -> int:
    """Be the command ``netphys record``, in which rank 1 dies at its second shard, once."""
    from netphys.cli.main import main

    rank, died = int(os.environ["RANK"]), folder / "died"
    shards.SHARD_BYTES = 1
    watch(folder, {"dies": [rank, 1] if rank == 1 and not died.exists() else None}, rank)
    if rank == 1:
        died.touch()
    return main(arguments)


if __name__ == "__main__":
    sys.exit(command(Path(sys.argv[1]), sys.argv[2:]) if len(sys.argv) > 1 else serve())
