"""A server of children to be killed: imports once, then forks a recording for each line of JSON on stdin.

Prints the child's process id, then how it ended. Torch has run nothing when it forks, so that no thread is lost.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import h5py  # noqa: F401 - so that a child has nothing left to import
import numpy as np
import pandas  # noqa: F401
import safetensors.numpy  # noqa: F401
import torch
import tqdm.auto  # noqa: F401
from torch import nn

import netphys
from netphys.recording import passing
from netphys.recording.file import shards

N_LAYERS = 12


class Twelve(nn.Module):
    """Twelve layers; the network draws at random in every forward."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.steps = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(N_LAYERS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            x = step(x + 0.1 * torch.rand(1)).relu_()
        return x


class Moments:
    """Running sums of each layer, in the order of the stimuli: wrong by one stimulus is wrong."""

    def __init__(self, out: Path) -> None:
        self.out, self.sums = out, {}

    def plan(self) -> dict[str, Any]:
        return {}

    def open(self, layers: Any, stimulus_ids: Any) -> None:
        self.sums = {layer.name: np.zeros((2, layer.n_units)) for layer in layers}

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        for row, value in zip(rows, activation.double().mean((2, 3)).numpy()):
            self.sums[layer] += np.stack([value * (row + 1), value**2])

    def close(self) -> None:
        np.savez(self.out.with_suffix(".tmp.npz"), **self.sums)
        self.out.with_suffix(".tmp.npz").replace(self.out)

    def state_dict(self) -> dict[str, np.ndarray]:
        return self.sums

    def load_state_dict(self, state: Any) -> None:
        self.sums = {name: value.copy() for name, value in state.items()}


def record(folder: Path, order: dict[str, Any]) -> None:
    """Record as ordered; what the order says is sabotaged, or dies at a certain call."""
    torch.set_num_threads(1)
    n = order["n"]
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    shown = netphys.StimulusSet.from_arrays(pixels)
    shards.SHARD_BYTES = order["shard_bytes"]
    _note_shards(folder / "recorded")
    _sabotage(order.get("sabotage"))
    if order.get("die_at"):
        _die_at_call(order["die_at"])
    elif "die_at" in order:
        _count_calls(folder / "calls")
    netphys.record(
        Twelve(), shown, layers="kind:Conv2d", into=folder / "rec.h5", sinks=[Moments(folder / "moments.npz")]
    )


def _note_shards(log: Path) -> None:
    """Write down each shard that was recorded, with its first row."""
    append = shards.Shards.append

    def noted(self: Any, index: int, *given: Any) -> None:
        append(self, index, *given)
        with log.open("a") as file:
            file.write(f"{index}\n")

    shards.Shards.append = noted


def _sabotage(kind: str | None) -> None:
    if kind == "forget the states of sinks":
        shards.Shards.states = lambda self, *_, **__: {}
    elif kind == "forget the random state":
        from contextlib import nullcontext

        passing.forked_torch = lambda seed: nullcontext()
    elif kind == "forget the journal":
        _forget_the_journal()
    elif kind == "trust the journal":  # written before its shard, and read without a look at the shard
        _trust_the_journal()


def _forget_the_journal() -> None:
    begin = shards.Shards.__init__

    def forgetful(self: Any, *given: Any, **more: Any) -> None:
        begin(self, *given, **more)
        self.done = {}

    shards.Shards.__init__ = forgetful


def _trust_the_journal() -> None:
    def append(self: Any, index: int, arrays: Any, states: Any = None) -> None:
        from dataclasses import asdict

        rows = self.cut.rows(index)
        shard = shards.Shard(f"shard-{index:05d}.bin", rows.start, len(rows), 0, "", self._plan)
        shards.append_line(self._folder / "journal.jsonl", json.dumps(asdict(shard)))
        if index == 2 and not (self._folder / "died").exists():
            (self._folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        path = self._folder / shard.file
        path.write_bytes(b"".join(np.ascontiguousarray(arrays[each][: len(rows)]).tobytes() for each in self._shapes))
        self.done[index] = shard

    def read(self: Any, plan: str) -> dict[int, Any]:
        journal = self._folder / "journal.jsonl"
        lines = journal.read_text().splitlines() if journal.exists() else []
        return {index: shards.Shard(**json.loads(line)) for index, line in enumerate(lines)}

    shards.Shards.append, shards.Shards._read_journals, shards.Shards._mend = append, read, lambda self: None
    shards.Shards.states, shards.Shards.verify = (lambda self, *_, **__: {}), (lambda self: None)


def _wrap_calls(before: Any) -> None:
    """Call `before` ahead of every sync, rename, unlink and folder made or removed."""
    for owner, name in ((os, "fsync"), (os, "replace"), (os, "unlink"), (os, "mkdir"), (os, "rmdir"), (os, "truncate")):
        real = getattr(owner, name)

        def call(*given: Any, real: Any = real, **more: Any) -> Any:
            before()
            return real(*given, **more)

        setattr(owner, name, call)


def _die_at_call(number: int) -> None:
    calls = [0]

    def before() -> None:
        calls[0] += 1
        if calls[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    _wrap_calls(before)


def _count_calls(log: Path) -> None:
    calls = [0]

    def before() -> None:
        calls[0] += 1
        log.write_text(str(calls[0]))

    _wrap_calls(before)


def serve() -> None:
    """Fork a child for each order; say its id and how it ended."""
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                record(Path(order["folder"]), order)
                status = 0
            except BaseException as error:
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
