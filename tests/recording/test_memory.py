"""Memory does not grow with the number of stimuli: resident memory is noted during a recording, and its slope is 0.

The slope is the mean step from one note to the next, with its 95 % t interval: one step up (a page of the allocator)
gives t = 1, a leak gives the same step again and again, and a random walk is judged by its own steps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import netphys

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def resident() -> float:
    """Resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def slope(notes: list[float]) -> tuple[float, float]:
    """95 % interval of the mean step, MiB; the first fifth, in which buffers are touched, is left out."""
    steps = np.diff(notes[len(notes) // 5 :])
    half = stats.t.ppf(0.975, len(steps) - 1) * steps.std(ddof=1) / np.sqrt(len(steps))
    return float(steps.mean() - half), float(steps.mean() + half)


_LITTLE = 0.1  # MiB a note of a short run, that Python itself may take; a list takes .33


class Notes:
    """A sink that notes resident memory every so many stimuli."""

    def __init__(self, every: int) -> None:
        self.every, self.seen = every, 0
        self.notes: list[float] = []

    def open(self, layers: Any, stimulus_ids: Any) -> None:
        self.first = layers[0].name

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        if layer != self.first:
            return
        self.seen += len(rows)
        if self.seen >= self.every * (1 + len(self.notes)):
            self.notes.append(resident())

    def close(self) -> None:
        """Nothing is left."""

    def state_dict(self) -> dict[str, np.ndarray]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        raise AssertionError("nothing was saved")


def _network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.ReLU(inplace=True), nn.Conv2d(16, 16, 3))


def _recorded(shown: netphys.StimulusSet, every: int, into: Path) -> list[float]:
    sink = Notes(every)
    netphys.record(_network(), shown, layers="all", into=into, sinks=[sink])
    return sink.notes


def _listed(shown: netphys.StimulusSet, every: int, _: Path) -> list[float]:
    """The control: a recorder that appends to a list, to be concatenated at the end."""
    net, kept, notes = _network(), [], []
    for module in net:
        module.register_forward_hook(lambda _, __, output: kept.append(output.detach().clone()))
    with torch.no_grad():
        for start in range(0, len(shown), 32):
            net(torch.stack(list(shown.images(range(start, min(start + 32, len(shown)))))) / 255)
            if start + 32 >= every * (1 + len(notes)):
                notes.append(resident())
    return notes


def _shown(n: int) -> netphys.StimulusSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(pixels)


def _check(how: str, n: int, every: int, into: Path) -> tuple[float, float]:
    """Note resident memory in a fresh process: in this one earlier tests have left pages that a list would fill."""
    command = [sys.executable, __file__, how, str(n), str(every), str(into)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr
    notes = json.loads(run.stdout)
    assert len(notes) == n // every
    return slope(notes)


def test_a_short_recording_does_not_grow(tmp_path: Path) -> None:
    low, high = _check("recorded", 2048, 32, tmp_path / "rec.h5")
    assert high < _LITTLE, (low, high)


def test_a_recorder_that_keeps_a_list_is_seen_to_grow(tmp_path: Path) -> None:
    low, high = _check("listed", 2048, 32, tmp_path)
    assert _LITTLE < low < high


@pytest.mark.slow
def test_resident_memory_over_50000_stimuli(tmp_path: Path) -> None:
    low, high = _check("recorded", 50_000, 500, tmp_path / "rec.h5")
    assert low <= 0 <= high, (low, high)
    low, high = _check("listed", 50_000, 500, tmp_path)
    assert 0 < low < high


def _main(how: str, n: str, every: str, into: str) -> None:
    from netphys.recording.file import shards

    if int(n) < 10_000:
        shards.SHARD_BYTES = 1 << 20  # buffers are used again
    run = {"recorded": _recorded, "listed": _listed}[how]
    sys.stdout.write(json.dumps(run(_shown(int(n)), int(every), Path(into))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
