"""The embedded study step by step: seconds, and the most memory that the process held while the step ran.

    OMP_NUM_THREADS=2 python benchmarks/study.py [STUDY.toml [KEY=VALUE ...]]

Runs the study in a folder that is removed afterwards, then once more, when nothing may be computed. Resident memory is
sampled every 20 ms. Writes ``benchmarks/results/study.csv`` (for the embedded study) and prints the table.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch

from netphys.provenance import versions
from netphys.studies import run_study
from netphys.studies.steps import Steps

RESULTS = Path(__file__).parent / "results" / "study.csv"
EVERY = 0.02  # seconds between two samples of memory


class Peak:
    """The largest resident memory since :meth:`restart`, sampled by a thread."""

    def __init__(self) -> None:
        self._process, self._stop, self.bytes = psutil.Process(), threading.Event(), 0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def restart(self) -> None:
        """Forget what was."""
        self.bytes = self._process.memory_info().rss

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            self.bytes = max(self.bytes, self._process.memory_info().rss)


@contextmanager
def measured(peak: Peak, rows: list[dict[str, Any]]) -> Iterator[None]:
    """Note seconds and memory of every step that is computed; what lies between two steps is the later one's."""
    plain, last = Steps.run, [time.perf_counter()]

    def run(self: Steps, name: str, inputs: Mapping[str, Any], make: Callable[[], Sequence[Path]]) -> str:
        key = plain(self, name, inputs, make)
        now = time.perf_counter()
        kind, _, rest = name.partition("/")
        rows.append({"step": kind, "of": rest, "seconds": round(now - last[0], 2), "peak_mb": round(peak.bytes / 1e6)})
        last[0] = time.perf_counter()
        peak.restart()
        return key

    Steps.run = run  # type: ignore[method-assign]
    try:
        yield
    finally:
        Steps.run = plain  # type: ignore[method-assign]


def main() -> None:
    """Measure and write the table."""
    study = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    settings, rows = sys.argv[2:], list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder, Peak() as peak:
        peak.restart()
        started = time.perf_counter()
        with measured(peak, rows):
            run_study(study, settings=settings, out=Path(folder) / "out")
        whole = time.perf_counter() - started
        started = time.perf_counter()
        again = run_study(study, settings=settings, out=Path(folder) / "out")
        second = time.perf_counter() - started
        n_bytes = sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file())
    computed = sum(not step.reused for step in again.steps)
    table = pd.DataFrame(rows)
    most = max(row["peak_mb"] for row in rows)
    table.loc[len(table)] = ["all", "", round(whole, 2), most]
    table.loc[len(table)] = ["second run", f"{computed} steps computed", round(second, 2), float("nan")]
    table["threads"] = torch.get_num_threads()
    table["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    for key in ("netphys", "torch", "torchvision"):
        table[key] = versions()[key]
    print(table[["step", "of", "seconds", "peak_mb"]].to_string(index=False))
    print(f"{n_bytes / 1e6:,.0f} MB on disk")
    if study is None:
        RESULTS.parent.mkdir(exist_ok=True)
        table.to_csv(RESULTS, index=False)


if __name__ == "__main__":
    main()
