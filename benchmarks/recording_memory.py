"""Peak memory of recordings: above the loaded network, from few stimuli to many, and beside the peers.

    OMP_NUM_THREADS=2 python benchmarks/recording_memory.py --peers DIR     about four minutes on two idle cores

Each row is a child process. Its baseline is resident memory with the network loaded and the images made; the peak is
the kernel's high-water mark (``VmHWM``, set back at the baseline), both of /proc.

``stimuli``: ResNet-18, all convolutions, batches of 8, 16 and 48 images of 224 px. ``buffers_mib`` is what is returned
(or, into a file, nothing); a recorder that is flat has ``peak - buffers`` equal for 16 and 48.
``reduced``: VGG16, every layer but containers, spatial means, batches of 32: 10,000 images of 64 px (of 224 px they
would take an hour and more on two cores) and 320 of 224 px, against the bare forward at the same batch. ``slope`` is
the mean step of resident memory from one of 100 notes to the next, with its 95 % t interval, the first fifth left out.
Writes ``benchmarks/results/recording_memory.csv``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recording_peers import add_peers, peer_versions, ways_of_others
from scipy import stats
from torchvision import models

from netphys.networks import Network
from netphys.provenance import versions
from netphys.recording import record
from netphys.stimuli import StimulusSet

RESULTS = Path(__file__).parent / "results" / "recording_memory.csv"
FEW, MANY = 16, 48
OURS = {"netphys, in memory": "all", "netphys, to a file": "all", "netphys, spatial mean": "mean"}
REDUCED = "netphys, spatial mean to a file"
OTHERS = ("plain hooks + clone", "torchvision fx", "thingsvision", "torchlens record")


def status(key: str) -> float:
    """Read one of the kernel's notes of this process's memory, MiB."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(key))
    return int(line.split()[1]) / 1024


class Notes:
    """A sink that notes resident memory, a hundred times."""

    def __init__(self, n_stimuli: int) -> None:
        self._every, self._seen = max(1, n_stimuli // 100), 0
        self.notes: list[float] = []

    def plan(self) -> dict[str, Any]:
        """Nothing depends on it."""
        return {}

    def open(self, layers: Any, stimulus_ids: Any) -> None:
        """Look at one layer only."""
        self._first = layers[0].name

    def write(self, layer: str, rows: np.ndarray, activation: Any) -> None:
        """Note."""
        if layer == self._first:
            self._seen += len(rows)
            if self._seen >= self._every * (1 + len(self.notes)):
                self.notes.append(status("VmRSS"))

    def close(self) -> None:
        """Nothing is left."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """There is no state."""
        return {}

    def load_state_dict(self, state: Any) -> None:
        """There is no state."""


@torch.no_grad()
def child(job: dict[str, Any]) -> dict[str, float]:
    """Record once, and say what memory it took."""
    add_peers(Path(job["peers"]) if job["peers"] else None)
    torch.manual_seed(0)
    module = models.get_model(job["network"]).eval()
    n, batch, pixels, way = job["n"], job["batch"], job["pixels"], job["way"]
    images = np.random.default_rng(0).integers(0, 256, (n, 3, pixels, pixels), dtype=np.uint8)
    stimuli, notes = StimulusSet.from_arrays(images), Notes(n)
    assert stimuli.digest
    with tempfile.TemporaryDirectory(dir=RESULTS.parent) as folder:
        into = Path(folder) / "recording.h5" if "file" in way else None
        run = _way(way, module, stimuli, batch, job["layers"], into, notes)
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        found = run()
        peak = status("VmHWM")
    held = 0 if into else sum(np.asarray(each).nbytes for each in found.values())
    low, middle, high = _slope(notes.notes)
    return {
        "loaded_mib": round(before), "peak_above_loaded_mib": round(peak - before), "buffers_mib": round(held / 2**20),
        "slope_kib": middle, "slope_low": low, "slope_high": high,
    }  # fmt: skip


def _way(
    way: str, module: Any, stimuli: StimulusSet, batch: int, layers: str, into: Path | None, notes: Notes
) -> Callable[[], dict[str, Any]]:
    """Make a way ready."""
    if way in OURS or way == REDUCED:

        def ours() -> dict[str, Any]:
            recording = record(
                Network(module), stimuli, layers=layers, keep=OURS.get(way, "mean"), into=into, device="cpu",
                batch_size=batch, sinks=[notes],
            )  # fmt: skip
            return {} if into else {name: recording.array(name) for name in recording.layers}

        return ours
    batches = _Batches(stimuli, batch)
    if way == "bare forward":

        def bare() -> dict[str, Any]:
            for images in batches:
                module(images)
            return {}

        return bare
    names = [name for name, each in module.named_modules() if isinstance(each, torch.nn.Conv2d)]
    run = ways_of_others(module, batches, names)[way]  # type: ignore[arg-type]
    if run is None:
        raise SystemExit(3)
    return run


class _Batches:
    """Batches that are made when they are asked for."""

    def __init__(self, stimuli: StimulusSet, size: int) -> None:
        self._stimuli, self._starts, self._size = stimuli, range(0, len(stimuli), size), size

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> torch.Tensor:
        start = self._starts[index]
        rows = range(start, min(start + self._size, len(self._stimuli)))
        return torch.stack(list(self._stimuli.images(rows))).float() / 255


def _slope(notes: list[float]) -> tuple[float, float, float]:
    """Mean step and its 95 % interval, KiB; NaN where nobody noted."""
    steps = 1024 * np.diff(notes[len(notes) // 5 :])
    if len(steps) < 2:
        return (np.nan, np.nan, np.nan)
    half = stats.t.ppf(0.975, len(steps) - 1) * steps.std(ddof=1) / np.sqrt(len(steps))
    return tuple(round(float(each), 2) for each in (steps.mean() - half, steps.mean(), steps.mean() + half))  # type: ignore[return-value]


def jobs(n_reduced: int, n_large: int) -> list[dict[str, Any]]:
    """List what is measured."""
    shared: dict[str, Any] = {"network": "resnet18", "layers": "kind:Conv2d", "batch": 8, "pixels": 224}
    ways = ("bare forward", *OURS, *OTHERS)
    found = [{"claim": "stimuli", **shared, "way": way, "n": n} for way in ways for n in (FEW, MANY)]
    for pixels, n in ((64, n_reduced), (224, n_large)):
        shared = {"claim": "reduced", "network": "vgg16", "layers": "leaves", "batch": 32, "pixels": pixels}
        found.append({**shared, "way": "bare forward", "n": 96})
        found += [{**shared, "way": way, "n": n} for way in ("netphys, spatial mean", REDUCED)]
    return found


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Run a child."""
    command = [sys.executable, __file__, "--child", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True)
    row = {key: value for key, value in job.items() if key != "peers"}
    if done.returncode == 3:
        return row | {"peak_above_loaded_mib": "not installed"}
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    row |= json.loads(done.stdout.strip().splitlines()[-1])
    print(*(row[key] for key in ("claim", "way", "n", "pixels", "peak_above_loaded_mib", "buffers_mib")), flush=True)
    return row


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where recording.py --install put the peers")
    parser.add_argument("--n-reduced", type=int, default=10_000, help="images of 64 px")
    parser.add_argument("--n-large", type=int, default=320, help="images of 224 px")
    parser.add_argument("--into", type=Path, default=RESULTS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(json.loads(options.child))))
        return
    peers = str(options.peers.resolve()) if options.peers else ""
    table = pd.DataFrame([measure({**job, "peers": peers}) for job in jobs(options.n_reduced, options.n_large)])
    add_peers(options.peers)
    table["threads"] = torch.get_num_threads()
    table["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    own = {key: versions()[key] for key in ("netphys", "torch", "torchvision")}
    for key, value in {**own, **peer_versions()}.items():
        table[key] = value
    table.to_csv(options.into, index=False)
    shown = ["claim", "way", "n", "pixels", "peak_above_loaded_mib", "buffers_mib", "slope_low", "slope_high"]
    print(table[shown].to_string(index=False))


if __name__ == "__main__":
    main()
