"""What the system refuses is one line; nothing half-written has the final name. The child is ``refused_child.py``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, Any]]:
    """What came of each attempt; in a mount namespace of its own where that is allowed, so that nothing stays."""
    folder = Path(tempfile.mkdtemp())  # not below pytest's own folder, which is closed to others
    folder.chmod(0o755)
    apart = ["unshare", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], capture_output=True).returncode:
        apart = []
    command = [*apart, sys.executable, str(Path(__file__).with_name("refused_child.py")), str(folder)]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert child.returncode == 0, child.stderr  # a crash of HDF5 is a negative number
        yield {each["tried"]: each for each in map(json.loads, child.stdout.splitlines())}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _of(outcomes: dict[str, Any], tried: str) -> tuple[str, list[str]]:
    if tried not in outcomes:
        pytest.skip("no file system can be mounted here" if "disk" in tried else "needs root, to become somebody else")
    return outcomes[tried]["error"], outcomes[tried]["left"]


def test_a_disk_that_is_too_small_is_refused_in_advance(outcomes: dict[str, Any]) -> None:
    error, left = _of(outcomes, "disk too small")
    assert error.startswith("OutputError: no space for the recording rec.h5 at ") and left == []


@pytest.mark.parametrize(
    ("tried", "reason"),
    [
        ("disk full in the midst of packing", "no space left"),
        ("disk full in the midst of shards", "no space left"),
        ("file too large for the packed one", "the file would be larger than this system allows"),
        ("file too large for a shard", "the file would be larger than this system allows"),
    ],
)
def test_a_refusal_in_the_midst_is_one_line_and_leaves_only_whole_shards(
    outcomes: dict[str, Any], tried: str, reason: str
) -> None:
    error, left = _of(outcomes, tried)
    assert error.startswith("OutputError: cannot write ") and reason in error and "\n" not in error
    assert set(left) <= {"rec.h5.partial", "ballast"}


def test_a_recording_that_found_the_disk_full_goes_on_when_there_is_space(outcomes: dict[str, Any]) -> None:
    assert _of(outcomes, "disk made larger") == ("", ["rec.h5"])


@pytest.mark.parametrize("tried", ["no permission", "no permission to make the folder"])
def test_no_permission_is_one_line(outcomes: dict[str, Any], tried: str) -> None:
    error, left = _of(outcomes, tried)
    assert (
        "OutputError: cannot write " in error and "no permission to write; choose another --out" in error and not left
    )


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to mount")
def test_without_reserving_its_space_hdf5_crashes_on_a_full_disk() -> None:
    """Control: what :func:`netphys.files.reserve` is for. Where a later HDF5 does not crash, this may go."""
    script = Path(__file__).with_name("refused_child.py").read_text()
    script = script.replace(
        "shards.SHARD_BYTES = 1 << 18", "import netphys.recording.file.store as s; s.reserve = lambda *_: 0"
    )
    folder = Path(tempfile.mkdtemp())
    try:
        command = ["unshare", "--mount", sys.executable, "-c", script, str(folder)]
        child = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if "mount" in child.stderr and not child.stdout:
            pytest.skip("no file system can be mounted here")
        assert child.returncode < 0  # by a signal
    finally:
        shutil.rmtree(folder, ignore_errors=True)
