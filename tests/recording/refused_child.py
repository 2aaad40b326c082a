"""Record where the system refuses, in a process of its own; a line of JSON for each thing that was tried."""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import netphys
from netphys.errors import NetphysError
from netphys.recording import into_file
from netphys.recording.file import shards

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 3, 64, 64), dtype=np.uint8)  # 2 MB in float32


def attempt(name: str, path: Path, **options: Any) -> None:
    """Record, and say what came of it and what lies there."""
    shown = netphys.StimulusSet.from_arrays(PIXELS)
    error = ""
    try:
        netphys.record(netphys.load_network("netphys:pixels"), shown, layers="all", into=path, batch_size=4, **options)
    except NetphysError as raised:
        error = f"{type(raised).__name__}: {raised}"
    gc.collect()  # a half-written HDF5 crashes here, if anywhere
    try:
        left = sorted(each.name for each in path.parent.iterdir())
    except OSError:
        left = []
    print(json.dumps({"tried": name, "error": error, "left": left}), flush=True)  # noqa: T201


def main(folder: Path) -> None:
    """Try all; the order matters, for limits and rights are only ever given up."""
    shards.SHARD_BYTES = 1 << 18
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)], capture_output=True)
    if mounted.returncode == 0:
        try:
            attempt("disk too small", disk / "rec.h5")
            free, into_file.require_free = into_file.require_free, lambda *_, **__: None
            attempt("disk full in the midst of packing", disk / "rec.h5")
            shutil.rmtree(disk / "rec.h5.partial")
            (disk / "ballast").write_bytes(bytes(2 << 20))
            attempt("disk full in the midst of shards", disk / "rec.h5")
            (disk / "ballast").unlink()
            subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
            attempt("disk made larger", disk / "rec.h5")
            into_file.require_free = free
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    for n_bytes, name in ((1 << 20, "file too large for the packed one"), (1 << 17, "file too large for a shard")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
        limited = folder / f"limit{n_bytes}"
        limited.mkdir()
        attempt(name, limited / "rec.h5")
    if os.getuid() == 0:
        closed = folder / "closed"
        closed.mkdir(mode=0o755)
        os.setuid(65534)
        attempt("no permission", closed / "rec.h5")
        attempt("no permission to make the folder", closed / "below" / "rec.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
