"""RSA against rsatoolbox in one process: same input, same threads, interleaved, results compared first.

    OMP_NUM_THREADS=2 python benchmarks/rsa.py

Claims: a correlation RDM of 1000 stimuli x 10,000 units at least 40 times as fast as ``calc_rdm`` and within 1.2
times ``np.corrcoef`` (which gives no RDM yet); a bootstrap over 92 stimuli of 8 models x 12 subjects, noise ceilings
included, many times as fast. rsatoolbox's bootstrap is run at fewer draws and scaled, which the rows say. Writes
``benchmarks/results/rsa.csv`` with a description of the machine in every row.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rsatoolbox.data import Dataset
from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
from rsatoolbox.rdm import RDMs, calc_rdm
from rsatoolbox.rdm import compare as rsatoolbox_compare

from netphys.inference import stimulus_draws
from netphys.provenance import versions
from netphys.rsa import rdms
from netphys.rsa.resampling import resample

RESULTS = Path(__file__).parent / "results" / "rsa.csv"
N_DRAWS, N_DRAWS_SCALED = 1000, 20


def interleaved(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Time each run in turn, `repeats` times; seconds of all."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def correlation_rdm() -> list[dict[str, Any]]:
    """One correlation RDM of 1000 x 10,000."""
    rows = []
    for dtype in (np.float64, np.float32):
        x = np.random.default_rng(0).normal(size=(1000, 10_000)).astype(dtype)
        reference = calc_rdm(Dataset(x.copy()), method="correlation").get_vectors()
        error = float(np.abs(rdms(x).get_vectors() - reference).max())
        assert error < (1e-10 if dtype is np.float64 else 1e-5), error
        datasets = iter([Dataset(x.copy()) for _ in range(3)])
        slow = interleaved({"calc_rdm": lambda each=datasets: calc_rdm(next(each), method="correlation")}, 3)
        fast = interleaved({"netphys": lambda x=x: rdms(x), "corrcoef": lambda x=x: np.corrcoef(x)}, 9)
        what = f"correlation RDM 1000 x 10000 {np.dtype(dtype).name}"
        for peer, seconds in (("rsatoolbox.calc_rdm", slow["calc_rdm"]), ("np.corrcoef", fast["corrcoef"])):
            rows.append(row(what, peer, fast["netphys"], seconds, error, "median of 9 (calc_rdm: of 3)"))
    return rows


def bootstraps() -> list[dict[str, Any]]:
    """1000 draws of 92 stimuli, 8 models x 12 subjects, scores and noise ceilings."""
    n, n_pairs = 92, 92 * 91 // 2
    rng = np.random.default_rng(0)
    shared = rng.random(n_pairs)
    models = shared + rng.uniform(0.1, 3, size=(8, 1)) * rng.random((8, n_pairs))
    data = shared + rng.random((12, n_pairs))
    draws, keep = stimulus_draws(n, N_DRAWS), np.ones(n_pairs, dtype=bool)
    rows = []
    for method in ("corr", "cosine", "spearman", "rho-a"):
        few = draws[:N_DRAWS_SCALED]
        reference = by_rsatoolbox(models, data, few, method)
        found = resample(models, data, keep, few, method)
        ours = np.column_stack([found.scores, found.lower, found.upper])
        error = float(np.abs(ours - reference).max())
        assert error < 1e-10, error
        seconds = interleaved(
            {
                "netphys": lambda method=method: resample(models, data, keep, draws, method),
                "rsatoolbox": lambda few=few, method=method: by_rsatoolbox(models, data, few, method),
            },
            3,
        )
        scaled = [each * N_DRAWS / N_DRAWS_SCALED for each in seconds["rsatoolbox"]]
        what = f"bootstrap of 92 stimuli x {N_DRAWS}, 8 models x 12 subjects, ceilings, {method}"
        note = f"median of 3; rsatoolbox at {N_DRAWS_SCALED} draws, times {N_DRAWS // N_DRAWS_SCALED}"
        rows.append(row(what, "rsatoolbox bootstrap over patterns", seconds["netphys"], scaled, error, note))
    return rows


def by_rsatoolbox(models: np.ndarray, data: np.ndarray, draws: np.ndarray, method: str) -> np.ndarray:
    """Do what ``eval_bootstrap_pattern`` does in a draw, on given draws: scores, lower and upper bound."""
    of_models, of_data = [RDMs(each[None]) for each in models], RDMs(data)
    rows = []
    for draw in draws:
        sample = of_data.subsample_pattern("index", draw)
        scores = [
            np.mean(rsatoolbox_compare(each.subsample_pattern("index", draw), sample, method)) for each in of_models
        ]
        rows.append([*scores, *boot_noise_ceiling(sample, method)])
    return np.array(rows)


def row(what: str, peer: str, ours: list[float], theirs: list[float], error: float, note: str) -> dict[str, Any]:
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
        "note": note,
        "threads": os.environ.get("OMP_NUM_THREADS", "unset"),
        "cpus": os.cpu_count(),
        "machine": f"{processor()}, {platform.system()} {platform.machine()}",
        **{name: known[name] for name in ("netphys", "python", "numpy", "rsatoolbox")},
    }


def processor() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    table = pd.DataFrame(correlation_rdm() + bootstraps())
    RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(RESULTS, index=False)
    print(table[["what", "peer", "netphys_s", "peer_s", "ratio", "ratio_of_smallest", "max_difference"]].to_string())
