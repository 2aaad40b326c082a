"""`import netphys` is light; its names load the room that holds them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import netphys

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "pandas",
    "xarray",
    "matplotlib",
    "scipy",
    "sklearn",
    "rsatoolbox",
    "h5py",
    "PIL",
)


def _loaded_by(statement: str) -> set[str]:
    script = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    return set(json.loads(subprocess.check_output([sys.executable, "-c", script], text=True)))


def test_import_netphys_is_light() -> None:
    loaded = _loaded_by("import netphys")
    assert not loaded & set(HEAVY)
    assert [name for name in loaded if name.startswith("netphys.")] == ["netphys._version"]


def test_the_check_sees_a_heavy_import() -> None:
    """Control."""
    assert {"pandas", "numpy"} <= _loaded_by("import netphys, pandas")


def test_every_public_name_is_there_and_others_are_not() -> None:
    for name in netphys.__all__:
        assert getattr(netphys, name) is not None and name in dir(netphys)
    with pytest.raises(AttributeError, match="module 'netphys' has no attribute 'recrod'"):
        netphys.recrod  # noqa: B018
