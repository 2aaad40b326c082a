"""Several ranks record what one process does, bit for bit, also where one of them is killed and comes back.

definitions/units.md, 1.8. The ranks are forked by ``recorder_ranks_child.py``; torchrun itself starts them, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import netphys

KILLED = -9
CHILD = Path(__file__).with_name("recorder_ranks_child.py")
ORDER = {"n": 500, "shard_bytes": 1 << 18}  # 16 batches, a shard each


class Server:
    """The process that forks ranks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def run(self, folder: Path, n_ranks: int, **order: Any) -> list[Any]:
        """Record with so many ranks; return how each of them ended."""
        folder.mkdir(exist_ok=True)
        self._process.stdin.write(json.dumps({"folder": str(folder), "ranks": n_ranks, **ORDER, **order}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def alone(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process records, a sink beside it."""
    folder = tmp_path_factory.mktemp("alone")
    assert server.run(folder, 1, sink="sums") == [0], said(folder, 0)
    return folder


def said(folder: Path, rank: int) -> str:
    return (folder / f"said-{rank}").read_text()


def recorded(folder: Path) -> list[str]:
    return sorted((folder / "recorded").read_text().split(), key=int)


def same_sums(one: Path, other: Path) -> bool:
    ours, theirs = np.load(one), np.load(other)
    return all(np.array_equal(ours[name], theirs[name]) for name in theirs.files)


@pytest.mark.parametrize("n_ranks", [2, 4])
def test_ranks_record_the_file_of_one_process(server: Server, alone: Path, tmp_path: Path, n_ranks: int) -> None:
    assert server.run(tmp_path, n_ranks, sink="sums") == [0] * n_ranks
    assert (tmp_path / "rec.h5").read_bytes() == (alone / "rec.h5").read_bytes()
    assert recorded(tmp_path) == [str(each) for each in range(16)]
    for rank in range(n_ranks):  # every rank's sink has seen everything
        assert same_sums(tmp_path / f"sums-{rank}.npz", alone / "sums-0.npz")
    left = {each.name for each in tmp_path.iterdir() if not each.name.startswith(("said-", "sums-"))}
    assert left == {"rec.h5", "recorded"}


@pytest.mark.parametrize(
    ("n_ranks", "dies", "then"), [(2, [1, 2], 2), (4, [2, 1], 4), (4, [0, 2], 1), (2, [0, 3], 3), (1, [0, 5], 4)]
)
def test_a_rank_that_is_killed_ends_all_and_any_number_of_ranks_goes_on(
    server: Server, alone: Path, tmp_path: Path, n_ranks: int, dies: list[int], then: int
) -> None:
    ended = server.run(tmp_path, n_ranks, dies=dies, sink="sums")
    assert ended == [KILLED if rank == dies[0] else 1 for rank in range(n_ranks)]
    for rank in set(range(n_ranks)) - {dies[0]}:
        assert said(tmp_path, rank).splitlines()[-1].startswith("RanksError: another rank has ended")
    assert not (tmp_path / "rec.h5").exists() and 0 < len(recorded(tmp_path)) < 16
    assert server.run(tmp_path, then, sink="sums") == [0] * then
    assert (tmp_path / "rec.h5").read_bytes() == (alone / "rec.h5").read_bytes()
    assert recorded(tmp_path) == [str(each) for each in range(16)]  # none twice
    assert same_sums(tmp_path / "sums-0.npz", alone / "sums-0.npz")


def test_what_a_projection_measured_is_the_same_whoever_measured_it(server: Server, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert server.run(one, 1, projection=True) == [0]
    assert server.run(two, 4, projection=True, dies=[3, 1]) == [1, 1, 1, KILLED]
    assert server.run(two, 2, projection=True) == [0, 0]
    assert (one / "rec.h5").read_bytes() == (two / "rec.h5").read_bytes()
    with h5py.File(one / "rec.h5") as file:
        facts = json.loads(file["layers/steps.0"].attrs["facts"])
    assert facts["measured"]["n_pairs"] >= 1000 and facts["measured"]["n_stimuli"] == 96  # of the first three batches


def test_the_comparison_sees_a_network_that_drew_otherwise(server: Server, alone: Path, tmp_path: Path) -> None:
    """Control."""
    assert server.run(tmp_path, 2, seeds={"0": 1, "1": 1}) == [0, 0]
    assert (tmp_path / "rec.h5").read_bytes() != (alone / "rec.h5").read_bytes()


@pytest.mark.parametrize(
    ("how", "line"),
    [("mistake", "nothing can be written here"), ("bug", "ValueError: nothing can be written here")],
)
def test_an_error_of_one_rank_ends_all_with_its_line(server: Server, tmp_path: Path, how: str, line: str) -> None:
    assert server.run(tmp_path, 3, fails=[1, 1], how=how) == [1, 1, 1]
    assert said(tmp_path, 1).splitlines()[-1].endswith(f"Error: {line.rpartition(': ')[2]}")
    for rank in (0, 2):
        assert said(tmp_path, rank).splitlines()[-1] == f"RanksError: rank 1: {line}"
    assert (tmp_path / "rec.h5.partial").exists() and not (tmp_path / "rec.h5").exists()
    assert server.run(tmp_path, 1) == [0] and recorded(tmp_path) == [str(each) for each in range(16)]


def test_an_error_in_the_first_shard_leaves_nothing(server: Server, tmp_path: Path) -> None:
    assert server.run(tmp_path, 2, n=32, fails=[0, 0], how="mistake") == [1, 1]
    assert {each.name for each in tmp_path.iterdir()} == {"said-0", "said-1"}


def test_ranks_that_were_told_other_things_are_refused(server: Server, tmp_path: Path) -> None:
    assert server.run(tmp_path, 2, seeds={"1": 5}) == [1, 1]
    for rank in range(2):
        assert said(tmp_path, rank).endswith("RecordingError: rank 1 was told to record another seed than rank 0\n")


def test_a_sink_that_has_to_see_everything_itself_is_refused(server: Server, tmp_path: Path) -> None:
    assert server.run(tmp_path, 2, sink="moments") == [1, 1]
    assert "several ranks cannot feed the sink killed_child.Moments: it has no merge()" in said(tmp_path, 0)


# torchrun


def _torchrun(n_ranks: int, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_ranks}", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, env=environment)


WHAT = ["record", "torchvision:resnet18?resize=32", "world:scenes?n=70&size=32", "--layers", "layer1.*", "--quiet"]


@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", [2, 4])
def test_torchrun_brings_back_a_rank_that_is_killed(tmp_path: Path, n_ranks: int) -> None:
    what = [*WHAT, "--batch-size", "8"]
    subprocess.run([sys.executable, "-m", "netphys", *what, "--out", str(tmp_path / "one.h5")], check=True)
    ended = _torchrun(n_ranks, "--max-restarts=1", str(CHILD), str(tmp_path), *what, "--out", "many.h5", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "died").exists()
    assert (tmp_path / "many.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()
    lines = (tmp_path / "recorded").read_text().split()
    assert sorted(lines, key=int) == [str(each) for each in range(9)]


def test_torchrun_records_and_the_first_rank_speaks(tmp_path: Path) -> None:
    ended = _torchrun(2, "-m", "netphys", *WHAT, "--out", "rec.h5", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "rec.h5\n"
    file = netphys.load_recording(tmp_path / "rec.h5")
    memory = netphys.record(WHAT[1], WHAT[2], layers=WHAT[4])
    assert all(np.array_equal(file.array(layer), memory.array(layer)) for layer in memory.layers)
    refused = _torchrun(2, "-m", "netphys", *WHAT, "--out", "rec.h5", "--batch-size", "4", cwd=tmp_path)
    ours = [line for line in refused.stderr.splitlines() if line.startswith("netphys: ")]
    assert refused.returncode and len(ours) == 1 and "rec.h5 holds another recording" in ours[0]


def test_a_split_by_stimuli_with_a_ragged_last_batch_is_another_recording(photographs: Any) -> None:
    """Control: why ranks take whole batches of the plan, the last one padded. Kernels choose by batch size."""
    network = netphys.load_network("torchvision:resnet18?resize=64")
    shown = photographs.subset(range(10))
    whole = netphys.record(network, shown, layers=["layer4.1", "fc"], batch_size=4)
    other = []
    with torch.no_grad():
        network.module.eval()
        for share in (range(5), range(5, 10)):  # two ranks of five: batches of 4 and of 1
            images = network.prepare(shown.images(share), torch.device("cpu"))
            other += [network.module(images[:4]), network.module(images[4:])]
    ragged = torch.cat(other).numpy()
    assert not np.array_equal(ragged, whole.array("fc"))
    np.testing.assert_allclose(ragged, whole.array("fc"), atol=1e-5)  # the last bits alone: measured 2e-6
