"""``netphys doctor``: versions, device, threads, free disk, what is missing."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from netphys._version import __version__
from netphys.cli.options import command

_ABOUT = """versions, device, threads, free disk, what is missing

Exits with 1 if something that netphys needs is missing."""
_EXAMPLE = "  netphys doctor"
_CORE = ("torch", "torchvision", "numpy", "scipy", "pandas", "xarray", "h5py", "h5netcdf", "rsatoolbox")
_OPTIONAL = {"timm": "networks timm:NAME", "pynwb": "neural data in NWB files"}


def add(commands: Any) -> None:
    """Add the command."""
    command(commands, "doctor", _run, about=_ABOUT, example=_EXAMPLE)


def _run(options: argparse.Namespace) -> int:
    missing = [name for name in _CORE if importlib.util.find_spec(name) is None]
    lines = [f"netphys {__version__}, Python {platform.python_version()}, {platform.platform()}"]
    lines += [f"{name} {metadata.version(name)}" for name in _CORE if name not in missing]
    lines += [f"{name}: MISSING; pip install {name}" for name in missing]
    if "torch" not in missing:
        lines += _compute(options.device or "auto")
    free = shutil.disk_usage(Path.cwd()).free
    lines.append(f"free disk here: {free / 1e9:.1f} GB")
    for name, use in _OPTIONAL.items():
        there = importlib.util.find_spec(name) is not None
        lines.append(f"{name} {metadata.version(name)}" if there else f"{name}: not installed; only needed for {use}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if missing else 0


def _compute(device: str) -> list[str]:
    """Say where and on how many threads netphys computes."""
    import torch

    from netphys.devices import describe_device, resolve_device

    lines = [f"device {device!r} is {describe_device(resolve_device(device))}"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines.append(f"{torch.get_num_threads()} threads on {cores} cores")
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        lines.append(f"torchvision does not import beside this torch: {str(error).splitlines()[0]}")
    return lines
