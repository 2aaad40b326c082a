"""Two processes train as one would on the joined batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

CHILD = Path(__file__).with_name("training_ranks_child.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(CHILD), str(folder)], check=True, timeout=300, env=environment)
    return folder


def distance(folder: Path, one: str, other: str) -> float:
    a, b = (load_file(folder / f"{name}.safetensors") for name in (one, other))
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize("objective", ["toy", "supervised"])
def test_two_ranks_are_one_process_on_the_joined_batch(folder: Path, objective: str) -> None:
    one = f"{objective}-alone-0"
    for rank in range(2):
        # float32: eight steps of AdamW of size 1e-3; sums over 16 and over 8 + 8 samples round differently
        assert distance(folder, one, f"{objective}-together-{rank}") < 1e-6
    assert distance(folder, f"{objective}-together-0", f"{objective}-together-1") == 0
    curves = [pd.read_csv(folder / f"{objective}-{name}.csv") for name in ("alone-0", "together-0")]
    assert (curves[0]["loss"] - curves[1]["loss"]).abs().max() < 1e-5
    assert (curves[0]["held_out"] - curves[1]["held_out"]).abs().max() < 1e-5


@pytest.mark.parametrize("objective", ["toy", "supervised"])
def test_ranks_that_do_not_average_are_seen(folder: Path, objective: str) -> None:
    """Control."""
    assert distance(folder, f"{objective}-alone-0", f"{objective}-unaveraged-0") > 1e-4


@pytest.mark.slow
def test_torchrun_launches_ranks_and_one_folder_comes_out(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from netphys.training import train\n"
        "from toy_objective import NETWORK, shown\n"
        "for _ in range(2):\n"
        "    train('simclr', NETWORK, shown(), into=sys.argv[2], n_steps=4, batch_size=16, held_out=16, device='cpu')\n"
    )
    (tmp_path / "program.py").write_text(program)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*run, "program.py", str(CHILD.parent), "out"], cwd=tmp_path, capture_output=True, text=True, timeout=90,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/training.json").is_file() and not list((tmp_path / "out").glob(".*"))
