"""Read damaged files in a process of its own, under an alarm and a limit of memory; a line of JSON for each.

``fuzz_child.py CASES FIRST`` reads the cases that the file CASES lists from number FIRST on, each by the reader that it
names. A line ``begin N`` comes before each, so that whoever started this process knows which file ended it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import NetphysError, StimulusError
from netphys.provenance import array_digest
from netphys.stimuli import StimulusSet

SECONDS = 8  # whole files take a hundredth, on a machine that is shared; what takes longer hangs
MOST_BYTES = 1 << 30  # above what the imports take; the seeds decode to kilobytes
MOST_READ = 50  # stimuli of a set that are read


def shown(stimuli: StimulusSet) -> str:
    """Read what a set holds; digest it all."""
    rows = range(min(len(stimuli), MOST_READ))
    values = []
    for field in stimuli.fields:
        for each in stimuli.get(rows, field):
            values.append(each if isinstance(each, str) else array_digest(np.asarray(each)))
    stimuli.metadata.to_dict()
    return json.dumps([list(stimuli.ids), values])


def read(case: dict[str, Any], path: Path) -> dict[str, Any]:
    """Read a case strictly, and where files can be left out, once more on that request."""
    if case["kind"] in ("kept", "foreign"):
        return {"shown": shown(StimulusSet.from_hdf5(path))}
    if case["kind"] == "zip":
        return {"shown": shown(StimulusSet.from_folder(path))}
    if case["kind"] == "csv":
        return {"shown": shown(StimulusSet.from_folder(path.parent))}
    kept = StimulusSet.from_folder(path.parent, skip_broken=True)
    shown(kept)
    found = {"left_out": list(kept.left_out), "n_kept": len(kept)}
    try:
        return found | {"shown": shown(StimulusSet.from_folder(path.parent))}
    except NetphysError as error:
        return found | {"error": str(error)}


def hangs(case: dict[str, Any], path: Path) -> dict[str, Any]:
    while True:
        time.sleep(1)


def allocates(case: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        np.ones(1 << 31, dtype=np.uint8)
    except MemoryError as error:
        raise StimulusError(f"{path.name} is broken: MemoryError") from error
    return {}


def raises(case: dict[str, Any], path: Path) -> dict[str, Any]:
    raise ValueError("what a library says")


def crashes(case: dict[str, Any], path: Path) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def writes(case: dict[str, Any], path: Path) -> dict[str, Any]:
    (path.parent.parent / "escaped.txt").write_text("outside")
    return {"shown": ""}


def speaks_of_nothing(case: dict[str, Any], path: Path) -> dict[str, Any]:
    raise StimulusError("something is wrong\nsomewhere")


def forgets(case: dict[str, Any], path: Path) -> dict[str, Any]:
    """Leave something out and not name it; show other values than there are."""
    return {"left_out": [], "n_kept": 1, "shown": "other", "error": f"{path.name} is broken"}


READERS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    each.__name__: each for each in (read, hangs, allocates, raises, crashes, writes, speaks_of_nothing, forgets)
}


def tried(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Say what came of a case."""
    try:
        return READERS[case["reader"]](case, folder / case["file"])
    except NetphysError as error:
        return {"error": str(error)}
    except BaseException as error:
        return {"foreign": f"{type(error).__name__}: {error}"}


def main(listed: Path, first: int) -> None:
    cases = json.loads(listed.read_text())
    if any(case["reader"] == "read" for case in cases):  # what is imported now is not what is measured
        for name in ("h5py", "pandas", "torch", "PIL.ImageOps"):
            importlib.import_module(name)
    n_mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (n_mapped + MOST_BYTES, n_mapped + MOST_BYTES))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process also inside a library
    for number in range(first, len(cases)):
        print("begin", number, flush=True)  # noqa: T201
        signal.alarm(1 if cases[number]["reader"] == "hangs" else SECONDS)  # a toy's hang need not be waited for
        start = time.monotonic()
        found = tried(cases[number], listed.parent)
        signal.alarm(0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        print(json.dumps(found | {"grown": grown, "seconds": time.monotonic() - start}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
