"""What the search for top patches costs beside the bare forward, and against searching stored activations.

Run: ``python benchmarks/units.py``. ResNet-18, 224 pixels, batches of 32. ``bare forward`` runs the batches and keeps
nothing; every other way runs them in a pass of :func:`netphys.record` that keeps spatial means, alone and with the
sink, so that the sink's own cost is a difference. Ways are interleaved, the best of several runs counts; CPU seconds
(of all threads) stand beside wall seconds, for they suffer less from others on the machine. ``sink_share`` is the CPU
time inside the sink over that of the bare forward. Writes ``benchmarks/results/units.csv``.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torchvision import models

from netphys.networks import Network
from netphys.provenance import versions
from netphys.recording import record
from netphys.stimuli import StimulusSet
from netphys.units import TopPatches

RESULTS = Path(__file__).parent / "results" / "units.csv"
BATCH, N_BATCHES, REPEATS = 32, 4, 4


class Timed(TopPatches):
    """Counts the CPU seconds that it takes."""

    seconds = 0.0

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation."""
        start = time.process_time()
        super().write(layer, rows, activation)
        self.seconds += time.process_time() - start


@torch.no_grad()
def measure(layers: str) -> list[dict[str, object]]:
    """Measure the ways for the layers of a pattern."""
    torch.manual_seed(0)
    module = models.resnet18(weights=None).eval()
    images = torch.rand(BATCH * N_BATCHES, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    network, stimuli = Network(module), StimulusSet.from_arrays(images)
    n_layers = len(record(network, stimuli.subset([0]), layers=layers, keep="mean", batch_size=4).layers)

    def bare() -> None:
        for batch in images.split(BATCH):
            module(batch)

    def passed(sinks: list[TopPatches]) -> None:
        record(network, stimuli, layers=layers, keep="mean", sinks=sinks, device="cpu", batch_size=BATCH)

    def with_top_patches() -> None:
        sink = Timed(9)
        passed([sink])
        inside.append(sink.seconds)

    inside: list[float] = []

    def searched() -> None:
        recording = record(network, stimuli, layers=layers, device="cpu", batch_size=BATCH)
        for name in recording.layers:
            flat = recording.array(name).reshape(len(images), recording.shape(name)[1], -1)
            peaks = flat.max(2)
            order = np.argsort(-peaks, axis=0, kind="stable")[:9]
            for entry in order:
                flat[entry, np.arange(flat.shape[1])].argmax(1)

    ways: dict[str, Callable[[], None]] = {
        "bare forward": bare,
        "pass without the sink": lambda: passed([]),
        "pass with top patches": with_top_patches,
    }
    if layers == "kind:Conv2d":  # all layers at once do not fit into the memory of a small machine
        ways["record all, then search"] = searched
    wall: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(REPEATS):
        for way, run in ways.items():
            start, began = time.perf_counter(), time.process_time()
            run()
            wall[way].append(time.perf_counter() - start)
            cpu[way].append(time.process_time() - began)
    bare_cpu = min(cpu["bare forward"])
    return [
        {
            "network": "resnet18",
            "layers": layers,
            "n_layers": n_layers,
            "way": way,
            "seconds_smallest": round(min(wall[way]), 3),
            "seconds_median": round(statistics.median(wall[way]), 3),
            "cpu_seconds_smallest": round(min(cpu[way]), 3),
            "cpu_over_bare_forward": round(min(cpu[way]) / bare_cpu - 1, 3),
            "sink_share": round(min(inside) / bare_cpu, 3) if way == "pass with top patches" else "",
            "n_stimuli": len(images),
        }
        for way in ways
    ]


def main() -> None:
    """Measure all and write the table."""
    table = pd.DataFrame([row for layers in ("kind:Conv2d", "leaves", "all") for row in measure(layers)])
    table["threads"] = torch.get_num_threads()
    table["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    for key in ("netphys", "torch", "torchvision"):
        table[key] = versions()[key]
    RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(RESULTS, index=False)
    print(table.drop(columns=["machine", "netphys", "torch", "torchvision"]).to_string(index=False))


if __name__ == "__main__":
    main()
