"""Recording against the bare forward and what a script would use instead, in one process, interleaved.

    OMP_NUM_THREADS=2 python benchmarks/recording.py

All convolutions of AlexNet and ResNet-18, 224 pixels, batches of 32. Throughput as a share of the bare forward (1 =
free): netphys into memory and reduced to spatial means, plain hooks that clone, hooks that copy into a buffer, and
torchvision's feature extraction. Each way's convolutions are compared first with a copy of the network in which no
operation is in-place: ``right`` counts the layers that are equal. Writes ``benchmarks/results/recording.csv``.
"""

from __future__ import annotations

import copy
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from netphys.networks import Network
from netphys.provenance import versions
from netphys.recording import record
from netphys.stimuli import StimulusSet

RESULTS = Path(__file__).parent / "results" / "recording.csv"
BATCH, N_BATCHES, REPEATS = 32, 6, 5


def convolutions(module: nn.Module) -> dict[str, nn.Module]:
    """Return the convolutions of a network, by name."""
    return {name: each for name, each in module.named_modules() if isinstance(each, nn.Conv2d)}


def without_in_place(module: nn.Module) -> nn.Module:
    """Copy a network and switch every in-place operation off."""
    other = copy.deepcopy(module)
    for each in other.modules():
        if hasattr(each, "inplace"):
            each.inplace = False
    return other


def ways(module: nn.Module, images: torch.Tensor) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return each way of recording all batches, by name; each returns the activations of all stimuli."""
    names = list(convolutions(module))
    network, stimuli = Network(module), StimulusSet.from_arrays(images)
    batches = images.split(BATCH)

    def bare() -> dict[str, torch.Tensor]:
        for batch in batches:
            module(batch)
        return {}

    def hooked(keep: Callable[[str, torch.Tensor, int], None]) -> None:
        start = 0
        handles = [
            each.register_forward_hook(lambda _, __, out, name=name: keep(name, out, start))
            for name, each in convolutions(module).items()
        ]
        for batch in batches:
            module(batch)
            start += len(batch)
        for handle in handles:
            handle.remove()

    def cloned() -> dict[str, torch.Tensor]:
        kept: dict[str, list[torch.Tensor]] = {name: [] for name in names}
        hooked(lambda name, out, _: kept[name].append(out.clone()))
        return {name: torch.cat(parts) for name, parts in kept.items()}

    def buffered() -> dict[str, torch.Tensor]:
        kept: dict[str, torch.Tensor] = {}

        def keep(name: str, out: torch.Tensor, start: int) -> None:
            if name not in kept:
                kept[name] = torch.empty(len(images), *out.shape[1:])
            kept[name][start : start + len(out)].copy_(out)

        hooked(keep)
        return kept

    extractor = create_feature_extractor(module, names)

    def traced() -> dict[str, torch.Tensor]:
        parts = [extractor(batch) for batch in batches]
        return {name: torch.cat([part[name] for part in parts]) for name in names}

    def ours(keep: str) -> dict[str, np.ndarray]:
        recording = record(network, stimuli, layers="kind:Conv2d", keep=keep, device="cpu", batch_size=BATCH)
        return {name: recording.array(name) for name in names}

    return {
        "bare forward": bare,
        "plain hooks + clone": cloned,
        "hooks into a buffer": buffered,
        "torchvision feature extraction": traced,
        "netphys, in memory": lambda: ours("all"),
        "netphys, spatial mean": lambda: ours("mean"),
    }


@torch.no_grad()
def measure(name: str) -> list[dict[str, object]]:
    """Measure one network."""
    torch.manual_seed(0)
    module = models.get_model(name, weights=None).eval()
    images = torch.rand(BATCH * N_BATCHES, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    truth = ways(without_in_place(module), images)["plain hooks + clone"]()
    runs = ways(module, images)
    right = {}
    for way, run in runs.items():
        found = run()
        of = {key: value.flatten(2).mean(-1) for key, value in truth.items()} if "mean" in way else truth
        right[way] = sum(np.array_equal(np.asarray(found[key]), of[key].numpy()) for key in found)
    seconds: dict[str, list[float]] = {way: [] for way in runs}
    for _ in range(REPEATS):
        for way, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[way].append(time.perf_counter() - start)
    bare = min(seconds["bare forward"])
    return [
        {
            "network": name,
            "way": way,
            "share_of_bare_forward": round(bare / min(times), 3),
            "seconds_median": round(statistics.median(times), 3),
            "seconds_smallest": round(min(times), 3),
            "layers": len(truth),
            "right": right[way],
            "n_stimuli": len(images),
        }
        for way, times in seconds.items()
    ]


def main() -> None:
    """Measure all and write the table."""
    rows = [row for name in ("alexnet", "resnet18") for row in measure(name)]
    table = pd.DataFrame(rows)
    table["threads"] = torch.get_num_threads()
    table["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    for key in ("netphys", "torch", "torchvision"):
        table[key] = versions()[key]
    RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(RESULTS, index=False)
    print(table.drop(columns=["machine", "netphys", "torch", "torchvision"]).to_string(index=False))


if __name__ == "__main__":
    main()
