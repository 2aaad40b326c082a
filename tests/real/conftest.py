"""Real data with known truths: $NETPHYS_REAL_DATA, default ../shared/data; skipped, with a word, where it is absent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of packed data sets."""
    folder = Path(os.environ.get("NETPHYS_REAL_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} ($NETPHYS_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def unpacked(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Unpack a set as a user would have it, once a session: name → folder."""
    script = real_data.parent / "tools" / "unpack.py"
    if not script.is_file():
        pytest.skip(f"no {script} to unpack the real data with")
    done: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        if not (real_data / name).is_dir():
            pytest.skip(f"no set {name!r} in {real_data}")
        if name not in done:
            target = tmp_path_factory.mktemp("real") / name
            command = [sys.executable, str(script), name, str(target)]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
            done[name] = target
        return done[name]

    return unpack
