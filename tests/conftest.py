"""Threads, and small stimuli that several rooms' tests show."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# before torch is imported (numpy's own threads are not used here): two cores are shared with others
for _library in ("OMP", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin while they wait take the core from others


@pytest.fixture(scope="session")
def photographs() -> Any:
    """40 images of noise, uint8, 64 pixels."""
    from netphys.stimuli import StimulusSet

    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 64, 64), dtype=np.uint8)
    return StimulusSet.from_arrays(pixels, ids=[f"photo-{index:02d}" for index in range(40)], name="photographs")


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write PNGs of known noise below a folder: name → seed of its pixels; returns the folder."""
    from PIL import Image

    def write(files: dict[str, int], *, name: str = "images", size: tuple[int, int] = (12, 16)) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file, seed in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        return folder

    return write
