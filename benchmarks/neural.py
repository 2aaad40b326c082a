"""Reliability and spike counts against loops over neuroids, in one process: same input, interleaved, compared first.

    OMP_NUM_THREADS=2 python benchmarks/neural.py

Claim: 168 neuroids x 2560 stimuli x 10 repetitions x 100 random halves at least 100 times as fast as the loop that
takes two half means and ``scipy.stats.pearsonr`` for each neuroid and split. :func:`netphys.neural.reliability` also
does the analysis of variance and the interval in that time, which the loop does not. The loop is run on fewer splits
and scaled, which the rows say. Spikes of 300 units about 5,000 onsets are counted against ``numpy.searchsorted`` and
``numpy.histogram`` for each unit and presentation. Writes ``benchmarks/results/neural.csv`` with a description of the
machine in every row, and the peak of the memory that a call takes beside its input.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import pearsonr

from netphys.neural.quality.reliability import reliability
from netphys.neural.quality.split_halves import half_correlation
from netphys.neural.spikes import count_spikes
from netphys.provenance import versions

PEARSON = "loop over neuroids and splits, scipy.stats.pearsonr"
RESULTS = Path(__file__).parent / "results" / "neural.csv"
N_NEUROIDS, N_STIMULI, N_REPETITIONS, N_SPLITS, N_LOOPED = 168, 2560, 10, 100, 5
N_UNITS, N_ONSETS, N_SPIKES, N_UNITS_LOOPED = 300, 5000, 5_000_000, 4


def interleaved(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Time each run in turn, `repeats` times; seconds of all."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def looped(responses: np.ndarray, n_splits: int) -> np.ndarray:
    """Mean r of halves by the loop over splits and neuroids: (neuroid, stimulus, repetition) to (neuroid,)."""
    draws = np.random.default_rng(1)
    half = N_REPETITIONS // 2
    r = np.empty((n_splits, len(responses)))
    for split in range(n_splits):
        order = np.argsort(draws.random((N_STIMULI, N_REPETITIONS)), axis=1)
        for at, each in enumerate(responses):
            first = np.take_along_axis(each, order[:, :half], axis=1).mean(axis=1)
            second = np.take_along_axis(each, order[:, half:], axis=1).mean(axis=1)
            r[split, at] = pearsonr(first, second).statistic
    return r.mean(axis=0)


def split_halves() -> list[dict[str, Any]]:
    """The same data by us and by the loop."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(N_STIMULI, N_NEUROIDS))
    cube = signal[:, None] + 2 * rng.normal(size=(N_STIMULI, N_REPETITIONS, N_NEUROIDS))
    by_neuroid = np.ascontiguousarray(cube.transpose(2, 0, 1))  # the order that suits the loop best
    coords = {
        "stimulus_id": ("presentation", np.repeat(np.arange(N_STIMULI), N_REPETITIONS).astype(str)),
        "neuroid_id": ("neuroid", np.arange(N_NEUROIDS).astype(str)),
    }
    assembly = xr.DataArray(cube.reshape(-1, N_NEUROIDS), dims=("presentation", "neuroid"), coords=coords)
    error = float(np.abs(reliability(assembly).split_half - looped(by_neuroid, N_LOOPED)).max())
    assert error < 0.03, error  # other halves are drawn: the mean of 5 splits has a standard deviation of about .007
    runs = {
        "reliability": lambda: reliability(assembly),
        "halves": lambda: half_correlation([cube], n_splits=N_SPLITS, seed=0),
        "loop": lambda: looped(by_neuroid, N_LOOPED),
    }
    seconds = interleaved(runs, 5)
    scaled = [each * N_SPLITS / N_LOOPED for each in seconds["loop"]]
    peak = peak_of(lambda: reliability(assembly))
    size = f"{N_NEUROIDS} neuroids x {N_STIMULI} stimuli x {N_REPETITIONS} repetitions x {N_SPLITS} splits"
    note = f"medians of 5; the loop at {N_LOOPED} splits, times {N_SPLITS // N_LOOPED}"
    whole = f"reliability (halves, analysis of variance, interval), {size}"
    return [
        row(whole, seconds["reliability"], scaled, error, peak, note),
        row(f"split halves alone, {size}", seconds["halves"], scaled, error, np.nan, note),
    ]


def spikes() -> list[dict[str, Any]]:
    """The same spikes counted by us and by two loops, in one window and in ten bins."""
    rng = np.random.default_rng(0)
    onsets = np.round(np.cumsum(rng.uniform(0.3, 0.5, size=N_ONSETS)), 4)
    each = N_SPIKES // N_UNITS
    trains = [np.sort(np.round(rng.uniform(0, onsets[-1] + 1, size=each), 6) + 3e-7) for _ in range(N_UNITS)]
    rows = []
    for edges in (np.array([70.0, 170.0]), np.arange(0.0, 501.0, 50.0)):
        some = trains[:N_UNITS_LOOPED]
        runs = {
            "ours": partial(count_spikes, trains, onsets, edges),
            "searchsorted": partial(by_loop, some, onsets, edges, _by_search),
            "histogram": partial(by_loop, some, onsets, edges, _by_histogram),
        }
        counted = runs["ours"]()[:, :N_UNITS_LOOPED]
        error = max(float(np.abs(counted - runs[name]()).max()) for name in ("searchsorted", "histogram"))
        assert error == 0, error  # no spike lies on an edge: all three count alike
        seconds = interleaved(runs, 3)
        what = f"spikes in {len(edges) - 1} bins, {N_UNITS} units x {N_ONSETS} presentations, {N_SPIKES} spikes"
        note = f"medians of 3; the loop over {N_UNITS_LOOPED} units, times {N_UNITS // N_UNITS_LOOPED}"
        peak = peak_of(runs["ours"])
        for name in ("searchsorted", "histogram"):
            scaled = [each * N_UNITS / N_UNITS_LOOPED for each in seconds[name]]
            peer = f"loop over units and presentations, numpy.{name}"
            rows.append(row(what, seconds["ours"], scaled, error, peak, note, peer=peer))
    return rows


def by_loop(trains: list[np.ndarray], onsets: np.ndarray, edges: np.ndarray, count: Callable[..., Any]) -> np.ndarray:
    """Counts (presentation, unit, bin) of one presentation and unit at a time."""
    out = np.empty((len(onsets), len(trains), len(edges) - 1), dtype=np.int64)
    for at, onset in enumerate(onsets):
        for unit, train in enumerate(trains):
            out[at, unit] = count(train, onset + edges / 1000.0)
    return out


def _by_search(train: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.diff(np.searchsorted(train, edges))


def _by_histogram(train: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(train, edges)[0]


def peak_of(run: Callable[[], Any]) -> float:
    """Peak of the memory that a call takes, MiB."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 2**20, 1)


def row(
    what: str, ours: list[float], theirs: list[float], error: float, peak: float, note: str, *, peer: str = PEARSON
) -> dict[str, Any]:
    """One claim, with the machine it was measured on."""
    known = versions()
    return {
        "what": what,
        "peer": peer,
        "netphys_s": round(statistics.median(ours), 4),
        "peer_s": round(statistics.median(theirs), 4),
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 2),
        "ratio_of_smallest": round(min(theirs) / min(ours), 2),  # the better guide on a machine that others use
        "max_difference": error,
        "peak_MiB": peak,
        "note": note,
        "threads": os.environ.get("OMP_NUM_THREADS", "unset"),
        "cpus": os.cpu_count(),
        "machine": f"{processor()}, {platform.system()} {platform.machine()}",
        **{name: known[name] for name in ("netphys", "python", "numpy", "scipy")},
    }


def processor() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    table = pd.DataFrame(split_halves() + spikes())
    RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(RESULTS, index=False)
    print(
        table[
            ["what", "peer", "netphys_s", "peer_s", "ratio", "ratio_of_smallest", "max_difference", "peak_MiB"]
        ].to_string()
    )
