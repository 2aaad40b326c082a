"""A server of children to be killed: imports once, then forks a training for each line of JSON on stdin.

Prints the child's process id, then how it ended. Torch has run nothing when it forks, so that no thread is lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

KILLED = -signal.SIGKILL


class Server:
    """The process that forks children."""

    def __init__(self, errors: Path) -> None:
        self._errors = errors.open("w+")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def run(self, folder: Path, order: dict[str, Any], *, kill_after: float | None = None) -> int:
        """Run a child, kill it after a while, and return how it ended."""
        folder.mkdir(exist_ok=True)
        self._process.stdin.write(json.dumps({"folder": str(folder), **order}) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            # an ended child whose server has not yet been waited for keeps its id: nobody else is killed
            if Path(f"/proc/{child}/stat").exists():
                os.kill(child, signal.SIGKILL)
        ended = int(self._process.stdout.readline())
        assert ended in (0, KILLED), self.said()
        return ended

    def said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._errors.close()


def train(folder: Path, order: dict[str, Any]) -> None:
    """Train as ordered; what the order says is sabotaged, or dies at a certain call or save."""
    import torch
    from toy_objective import NETWORK, Toy, shown

    from netphys.training import train

    torch.set_num_threads(1)
    sabotage(order.get("sabotage"))
    if order.get("die_after_save"):
        die_after_save(order["die_after_save"])
    if order.get("die_at"):
        wrap_calls(order["die_at"], folder / "calls")
    elif "die_at" in order:
        wrap_calls(0, folder / "calls")
    train(
        Toy if order["objective"] == "toy" else order["objective"],
        NETWORK,
        shown(),
        into=folder / "out",
        n_steps=order["n_steps"],
        batch_size=16,
        held_out=16,
        evaluate_every=7,
        save_every=order["save_every"],
        precision=order.get("precision", "float32"),
        options=order.get("options", {}),
    )


def sabotage(kind: str | None) -> None:
    """Break what a resumed training needs."""
    import netphys.training.checkpoints as checkpoints
    import netphys.training.loop as loop
    import netphys.training.optimizers as optimizers
    import netphys.training.trainer as trainer

    if kind == "forget the optimizers":
        optimizers.Optimizers.load = lambda self, state: None
    elif kind == "forget the random state":  # go on with whatever the generator holds
        loop.reseed = lambda seed, device: None
    elif kind == "forget the targets":
        real = checkpoints.part

        def without(tensors: Any, prefix: str) -> Any:
            kept = real(tensors, prefix)
            return {name: each * 0 if name == "centre" else each for name, each in kept.items()}

        checkpoints.part = without
    elif kind == "forget the cursor":
        restore = trainer.restore

        def begin_again(loop: Any, checkpoint: Any) -> None:
            restore(loop, checkpoint)
            loop.batches.indices = lambda step, real=loop.batches.indices, first=loop.done: real(step - first)

        trainer.restore = begin_again
    elif kind == "write over the old one":
        write_over()


def write_over() -> None:
    """Save straight over the last checkpoint, and die in the midst of the second save."""
    import netphys.training.trainer as trainer
    from netphys.training.checkpoints import write_checkpoint

    saves = [0]

    def write(path: Path, checkpoint: Any) -> None:
        saves[0] += 1
        write_checkpoint(path, checkpoint)
        if saves[0] == 2:
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    trainer.write_checkpoint = write


def die_after_save(number: int) -> None:
    """Die when so many checkpoints were written."""
    import netphys.training.trainer as trainer

    write, saves = trainer.write_checkpoint, [0]

    def then_die(*given: Any) -> None:
        write(*given)
        saves[0] += 1
        if saves[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    trainer.write_checkpoint = then_die


def wrap_calls(number: int, log: Path) -> None:
    """Count every sync, rename, unlink and folder made; die before one of them."""
    calls = [0]
    for owner, name in ((os, "fsync"), (os, "replace"), (os, "unlink"), (os, "mkdir"), (Path, "write_bytes")):
        real = getattr(owner, name)

        def call(*given: Any, real: Any = real, **more: Any) -> Any:
            calls[0] += 1
            if calls[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **more)

        setattr(owner, name, call)
    if not number:  # the count is written when the training is done
        wrap_calls.count = lambda: log.write_text(str(calls[0]))  # type: ignore[attr-defined]


def serve() -> None:
    """Fork a child for each order; say its id and how it ended."""
    sys.path.insert(0, str(Path(__file__).parent))
    import lightning_fabric  # noqa: F401 - so that a child has nothing left to import
    import pandas  # noqa: F401
    import safetensors.torch  # noqa: F401
    import toy_objective  # noqa: F401

    import netphys.training  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                train(Path(order["folder"]), order)
                status = 0
                if hasattr(wrap_calls, "count"):
                    wrap_calls.count()
            except BaseException as error:
                import traceback

                traceback.print_exc()
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
            finally:
                sys.stderr.flush()
                os._exit(status)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, ended = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(ended)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
