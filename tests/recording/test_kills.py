"""A recording survives SIGKILL at any moment: the same call goes on, and the file is the undisturbed one, bit for bit.

definitions/trust.md, 4. The child is ``killed_child.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

KILLED = -signal.SIGKILL
MANY = {"n": 2000, "shard_bytes": 1 << 18}  # 2,000 images x 12 layers, 32 shards or so
FEW = {"n": 120, "shard_bytes": 1 << 19}  # four shards: every call is tried


class Server:
    """The process that forks children."""

    def __init__(self, errors: Path) -> None:
        self._errors = errors.open("w+")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("killed_child.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def run(self, folder: Path, order: dict[str, Any], *, kill_after: float | None = None) -> int:
        """Run a child, kill it after a while, and return how it ended."""
        folder.mkdir(exist_ok=True)
        self._process.stdin.write(json.dumps({"folder": str(folder), **order}) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            # an ended child whose server has not yet been waited for keeps its id: nobody else is killed
            if Path(f"/proc/{child}/stat").exists():
                os.kill(child, signal.SIGKILL)
        ended = int(self._process.stdout.readline())
        assert ended in (0, KILLED), self.said()
        return ended

    def said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._errors.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server") / "stderr")
    yield server
    server.close()


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What comes of both recordings when nobody kills."""
    folders = {}
    for name, order in (("many", MANY), ("few", FEW)):
        folders[name] = tmp_path_factory.mktemp("undisturbed") / name
        assert server.run(folders[name], order) == 0
    return folders


def contents(path: Path) -> dict[str, Any]:
    """Everything in an HDF5 file: each dataset's bytes, each attribute but the references of dimension scales."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        attributes = {k: v for k, v in item.attrs.items() if k not in ("DIMENSION_LIST", "REFERENCE_LIST")}
        found[name] = {key: np.asarray(value).tolist() for key, value in attributes.items()}
        if isinstance(item, h5py.Dataset):
            found[f"{name} data"] = (item.shape, str(item.dtype), item.chunks, np.asarray(item[()]).tobytes())
            if item.dtype.kind == "O":
                found[f"{name} data"] = item.asstr()[:].tolist()

    with h5py.File(path, "r") as file:
        visit("/", file)
        file.visititems(visit)
    return found


def check(folder: Path, reference: Path) -> list[str]:
    """Say what differs from the undisturbed recording; nothing should."""
    faults = []
    if contents(folder / "rec.h5") != contents(reference / "rec.h5"):
        faults.append("file")
    ours, theirs = np.load(folder / "moments.npz"), np.load(reference / "moments.npz")
    if any(not np.array_equal(ours[name], theirs[name]) for name in theirs.files):
        faults.append("sink")
    recorded = (folder / "recorded").read_text().split()
    if len(recorded) != len(set(recorded)):
        faults.append("shard recorded twice")
    if {each.name for each in folder.iterdir()} - {"calls"} != {"rec.h5", "moments.npz", "recorded"}:
        faults.append("something left behind")
    return faults


def _killed_at_random(server: Server, undisturbed: dict[str, Path], tmp_path: Path, runs: range) -> list[int]:
    """Kill up to five times a run at U(0, T); return how many kills each run took."""
    started = time.monotonic()
    assert server.run(tmp_path / "timed", MANY) == 0
    duration = time.monotonic() - started
    kills = []
    for run in runs:
        rng, folder = np.random.default_rng(run), tmp_path / f"run{run}"
        n_kills = 0
        while server.run(folder, MANY, kill_after=rng.uniform(0, duration) if n_kills < 5 else None) != 0:
            n_kills += 1
            if (folder / "moments.npz").exists():  # killed when all was done: sinks that come again are fed anew
                (folder / "moments.npz").unlink()
                (folder / "recorded").write_text("")
        assert check(folder, undisturbed["many"]) == [], f"run {run} after {n_kills} kills"
        shutil.rmtree(folder)
        kills.append(n_kills)
    return kills


def test_killed_at_random_moments(server: Server, undisturbed: dict[str, Path], tmp_path: Path) -> None:
    kills = _killed_at_random(server, undisturbed, tmp_path, range(10))
    assert sum(kills) >= 5  # it is killed in earnest


@pytest.mark.slow
def test_killed_at_random_moments_often(server: Server, undisturbed: dict[str, Path], tmp_path: Path) -> None:
    n_runs = int(os.environ.get("NETPHYS_KILLS", "50"))  # the nightly script asks for more
    kills = _killed_at_random(server, undisturbed, tmp_path, range(100, 100 + n_runs))
    assert sum(kills) >= n_runs / 2


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_every_single_system_call(
    server: Server, undisturbed: dict[str, Path], tmp_path: Path, every: int
) -> None:
    """Before every third of them in the default suite, before each under ``-m slow``."""
    assert server.run(tmp_path / "counted", {**FEW, "die_at": 0}) == 0
    n_calls = int((tmp_path / "counted" / "calls").read_text())
    assert n_calls > 20
    for number in range(1, n_calls + 1, every):
        folder = tmp_path / f"call{number}"
        assert server.run(folder, {**FEW, "die_at": number}) == KILLED, number
        assert server.run(folder, FEW) == 0
        left = [each for each in check(folder, undisturbed["few"]) if each != "shard recorded twice"]
        assert left == [], f"killed before call {number} of {n_calls}"
        # a shard may be recorded again only if it was not yet in the journal, or all were removed with the file whole
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("sabotage", "seen"),
    [
        ("forget the states of sinks", ["sink"]),
        ("forget the random state", ["file", "sink"]),
        ("forget the journal", ["shard recorded twice"]),
    ],
)
def test_the_check_sees_a_recorder_that_forgets(
    server: Server, undisturbed: dict[str, Path], tmp_path: Path, sabotage: str, seen: list[str]
) -> None:
    """Controls: each thing that is saved is needed."""
    folder, order = tmp_path / "run", {**FEW, "sabotage": sabotage}
    assert server.run(folder, {**order, "die_at": 14}) == KILLED  # after the second shard
    assert server.run(folder, order) == 0
    assert check(folder, undisturbed["few"]) == seen


def test_the_check_sees_a_journal_that_is_written_before_its_shard(
    server: Server, undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    """Control: dead between the two, the recording cannot be finished, or is finished wrong."""
    folder, order = tmp_path / "run", {**FEW, "sabotage": "trust the journal"}
    assert server.run(folder, order) == KILLED
    with pytest.raises(AssertionError, match="FileNotFoundError"):
        server.run(folder, order)
