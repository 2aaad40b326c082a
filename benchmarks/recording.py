"""Recording against the bare forward, and against what one would use instead, in one process, interleaved.

    python benchmarks/recording.py --install DIR                        once: the peers, without their pins
    OMP_NUM_THREADS=2 python benchmarks/recording.py --peers DIR        about six minutes on two idle cores

All convolutions of AlexNet, ResNet-18, VGG16 and MobileNetV3, all dense layers of ViT-S/16; 224 pixels. Ways: netphys
into memory, reduced to spatial means, and to a file; plain hooks that clone, or copy into a buffer, or take the mean;
torchvision's feature extraction; thingsvision; torchlens' ``record`` (``recording_peers.py``).

Rounds are repeated until a network's time is over. In a round each way runs once, beginning with another way each time.
``share`` is the bare forward's time over the way's: the geometric mean over rounds of ratios in one round, with a 95 %
t interval, and ``share_best`` the ratio of the smallest times. netphys' start (digests, probing, two forwards that see
whether stimuli are independent) is measured apart, ``start_s``: ``share`` is the steady rate behind it, and
``share_of_640`` that of a whole call with 640 stimuli. ``against_memory`` is this way's time over that of netphys into
memory (``against_640``: with the start, 640 stimuli); over 1 netphys is faster; ways that keep a mean stand beside
netphys' mean. ``right`` counts layers equal to a copy of the network in which no operation is in-place.

The first touch of memory that a virtual machine's host has not given yet takes many times longer than any later one:
memory is touched once before anything is measured (``--touch``, GiB).
Writes ``benchmarks/results/recording.csv``.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from recording_peers import Way, add_peers, install, peer_versions, ways_of_others
from scipy import stats
from torch import nn
from torchvision import models

from netphys.networks import Network
from netphys.provenance import versions
from netphys.recording import record
from netphys.stimuli import StimulusSet

RESULTS = Path(__file__).parent / "results" / "recording.csv"
MANY = 640  # stimuli of a recording of usual size, over which the start is shared out


@dataclass(frozen=True)
class Case:
    """A network, the layers that are recorded, and how many stimuli in which batches."""

    name: str
    layers: str
    batch: int
    n_batches: int
    share_of_time: float

    def make(self) -> nn.Module:
        """Build it, untrained."""
        torch.manual_seed(0)
        made = timm.create_model(self.name) if self.name.startswith("vit") else models.get_model(self.name)
        return made.eval()


CASES = (
    Case("alexnet", "kind:Conv2d", 32, 3, 0.15),
    Case("resnet18", "kind:Conv2d", 32, 2, 0.3),
    Case("vgg16", "kind:Conv2d", 8, 2, 0.25),
    Case("vit_small_patch16_224", "kind:Linear", 16, 2, 0.15),
    Case("mobilenet_v3_large", "kind:Conv2d", 32, 2, 0.15),
)


class Clock:
    """A sink that only notes when the first batch began, and looks at nothing."""

    def __init__(self) -> None:
        self.opened = 0.0

    def plan(self) -> dict[str, Any]:
        """Nothing depends on it."""
        return {}

    def open(self, layers: Any, stimulus_ids: Any) -> None:
        """Note the time."""
        self.opened = time.perf_counter()

    def write(self, layer: str, rows: Any, activation: Any) -> None:
        """Take nothing."""

    def close(self) -> None:
        """Nothing is left."""

    def state_dict(self) -> dict[str, Any]:
        """There is no state."""
        return {}

    def load_state_dict(self, state: Any) -> None:
        """There is no state."""


@dataclass
class Times:
    """Seconds of a way, round by round; the start apart."""

    steady: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)

    def with_start(self, n_stimuli: int) -> np.ndarray:
        """Seconds for as many stimuli as are shown here, with their part of the start of a recording of 640."""
        return np.array(self.steady) + np.median(self.start) * n_stimuli / MANY


def without_in_place(module: nn.Module) -> nn.Module:
    """Copy a network and switch every in-place operation off."""
    other = copy.deepcopy(module)
    for each in other.modules():
        if hasattr(each, "inplace"):
            each.inplace = False
    return other


def ways_of_netphys(module: nn.Module, images: torch.Tensor, case: Case, folder: Path) -> dict[str, Way]:
    """Return netphys' ways by name; what each returns holds the times under the key ``""``."""
    network, stimuli = Network(module), StimulusSet.from_arrays(images)
    assert stimuli.digest  # what a set remembers of itself is no part of a recording

    def ours(keep: str, into: Path | None = None) -> dict[str, Any]:
        clock, begun = Clock(), time.perf_counter()
        options: dict[str, Any] = {
            "device": "cpu",
            "batch_size": case.batch,
            "sinks": [clock],
            "force": into is not None,
        }
        recording = record(network, stimuli, layers=case.layers, keep=keep, into=into, **options)
        ended = time.perf_counter()
        found = {name: (lambda name=name: recording.array(name)) for name in recording.layers}
        return found | {"": (clock.opened - begun, ended - clock.opened)}

    return {
        "netphys, in memory": lambda: ours("all"),
        "netphys, spatial mean": lambda: ours("mean"),
        "netphys, to a file": lambda: ours("all", folder / f"{case.name}.h5"),
    }


def measure(case: Case, seconds: float, folder: Path, pixels: int) -> list[dict[str, object]]:
    """Measure one network."""
    module, n = case.make(), case.batch * case.n_batches
    images = torch.rand(n, 3, pixels, pixels, generator=torch.Generator().manual_seed(0))
    batches = images.split(case.batch)
    mine = ways_of_netphys(module, images, case, folder)
    names = [name for name in mine["netphys, spatial mean"]() if name]

    def bare() -> dict[str, Any]:
        for batch in batches:
            module(batch)
        return {}

    runs: dict[str, Way | None] = {"bare forward": bare, **mine, **ways_of_others(module, batches, names)}
    right = count_right(case, module, batches, names, runs)
    times = interleaved({way: run for way, run in runs.items() if run is not None}, seconds)
    rows = [
        summary(way, times[way] if run else None, times, n) | {"right": right.get(way, "")} for way, run in runs.items()
    ]
    return [{"network": case.name, "layers": len(names), "batch": case.batch, "n_stimuli": n, **row} for row in rows]


def count_right(
    case: Case, module: nn.Module, batches: Sequence[torch.Tensor], names: Sequence[str], runs: dict[str, Way | None]
) -> dict[str, int]:
    """Count the layers that equal a copy of the network without in-place operations; each way runs once, unmeasured."""
    clone = ways_of_others(without_in_place(module), batches, names)["plain hooks + clone"]
    assert clone is not None
    truth = {name: value.numpy() for name, value in clone().items()}
    right = {}
    for way, run in runs.items():
        if run is None or way == "bare forward":
            continue
        found = run()
        n_right = 0
        for name in names:
            value, expected = found[name], truth[name]
            value = np.asarray(value() if callable(value) else value)
            tokens = expected.ndim == 3
            if "mean" in way:
                if tokens and "netphys" in way:
                    expected = expected[:, 1:]  # a mean over patches, without the class token
                expected = expected.mean(1 if tokens else (2, 3)) if expected.ndim > 2 else expected
                n_right += np.allclose(value, expected, rtol=1e-4, atol=1e-6)  # sums in another order
            else:
                expected = np.moveaxis(expected, 2, 1) if tokens and "netphys" in way else expected
                n_right += np.array_equal(value, expected)
        right[way] = n_right
    return right


def interleaved(runs: dict[str, Way], seconds: float, at_least: int = 3) -> dict[str, Times]:
    """Run every way once a round, until the time is over."""
    times = {way: Times() for way in runs}
    order, end, n_rounds = list(runs), time.perf_counter() + seconds, 0
    while n_rounds < at_least or time.perf_counter() < end:
        for way in order:
            begun = time.perf_counter()
            found = runs[way]()
            start, steady = found.get("", (0.0, time.perf_counter() - begun))
            times[way].steady.append(steady)
            times[way].start.append(start)
            del found
        order = [*order[2:], *order[:2]]
        n_rounds += 1
    return times


def summary(way: str, own: Times | None, times: dict[str, Times], n: int) -> dict[str, object]:
    """Summarise a way."""
    if own is None:
        return {"way": way, "share": "does not reach these layers" if "fx" in way else "not installed"}
    bare = np.array(times["bare forward"].steady)
    rival = times["netphys, spatial mean" if "mean" in way else "netphys, in memory"]
    steady = np.array(own.steady)
    row: dict[str, object] = {"way": way, "n_rounds": len(steady)}
    row |= _ratio("share", bare, steady)
    row["share_best"] = round(bare.min() / steady.min(), 3)
    row["start_s"] = round(float(np.median(own.start)), 3)
    row |= _ratio(f"share_of_{MANY}", bare, own.with_start(n))
    if way != "bare forward" and "netphys" not in way:
        row |= _ratio("against_netphys", steady, np.array(rival.steady))
        row |= _ratio(f"against_netphys_{MANY}", own.with_start(n), rival.with_start(n))
    return row | {"seconds_median": round(float(np.median(steady)), 3), "seconds_smallest": round(steady.min(), 3)}


def _ratio(name: str, above: np.ndarray, below: np.ndarray) -> dict[str, object]:
    """Geometric mean of paired ratios, and the 95 % t interval of their logarithms."""
    logs = np.log(above / below)
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    low, middle, high = np.exp([logs.mean() - half, logs.mean(), logs.mean() + half])
    return {name: round(middle, 3), f"{name}_low": round(low, 3), f"{name}_high": round(high, 3)}


def touch(gib: int) -> None:
    """Touch memory once, and give it back."""
    held = [np.ones(1 << 27) for _ in range(gib)]
    del held


@torch.no_grad()
def main(argv: Sequence[str] | None = None, *, cases: Sequence[Case] = CASES) -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install", type=Path, metavar="DIR", help="install the peers there, and end")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where the peers are installed")
    parser.add_argument(
        "--minutes", type=float, default=5, help="time of the measured rounds, of all networks together"
    )
    parser.add_argument("--pixels", type=int, default=224, help="side of the images, to try the script out")
    parser.add_argument("--networks", nargs="+", default=[case.name for case in cases])
    parser.add_argument("--touch", type=int, default=8, help="GiB of memory that are touched first")
    parser.add_argument("--into", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    if options.install:
        install(options.install)
        return
    add_peers(options.peers)
    touch(options.touch)
    chosen = [case for case in cases if case.name in options.networks]
    total = sum(case.share_of_time for case in chosen)
    folder = Path(tempfile.mkdtemp(prefix="recording-", dir=options.into.parent))
    try:
        seconds = {case: 60 * options.minutes * case.share_of_time / total for case in chosen}
        rows = [row for case in chosen for row in measure(case, seconds[case], folder, options.pixels)]
    finally:
        shutil.rmtree(folder)
    table = pd.DataFrame(rows)
    table["threads"] = torch.get_num_threads()
    table["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    for key, value in {
        **{key: versions()[key] for key in ("netphys", "torch", "torchvision")},
        **peer_versions(),
    }.items():
        table[key] = value
    table.to_csv(options.into, index=False)
    shown = ["network", "way", "right", "layers", "share", "share_low", "share_high", f"share_of_{MANY}", "start_s"]
    print(table[[*shown, "against_netphys", "against_netphys_low", "against_netphys_high"]].to_string(index=False))


if __name__ == "__main__":
    main()
