"""What made a result: digests of contents, versions, and the record that every written file carries.

Digests are of contents, never of paths or dates. A digest changes with everything that changes the numbers, and with
nothing else; two results of equal digest may stand in for each other.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from netphys._version import __version__

__all__ = ["array_digest", "code_digest", "digest", "provenance", "versions"]

_PACKAGE = Path(__file__).parent
_NUMERIC = ("torch", "torchvision", "numpy", "scipy", "rsatoolbox", "h5py", "pandas")


def digest(value: Any) -> str:
    """Digest a value made of plain data and arrays (SHA-256, hexadecimal).

    Dictionaries count regardless of their order; arrays by dtype, shape and bytes.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    >>> digest({"a": 1}) == digest({"a": 1.0})
    False
    """
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def array_digest(array: np.ndarray) -> str:
    """Digest an array's dtype, shape and values in C order."""
    contiguous = np.ascontiguousarray(array)
    sha = hashlib.sha256(f"{contiguous.dtype.str}{array.shape}".encode())
    sha.update(contiguous.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


@lru_cache(maxsize=64)
def code_digest(*rooms: str) -> str:
    """Digest the source of rooms of netphys, so that a cached step never outlives the code that made it.

    Parameters
    ----------
    *rooms : str
        Rooms or files, by their name in the package: ``"rsa"``, ``"inference"``.
    """
    sha = hashlib.sha256()
    for room in sorted(rooms):
        here = _PACKAGE / room
        files = sorted(here.rglob("*.py")) if here.is_dir() else [here.with_suffix(".py")]
        for file in files:
            sha.update(file.relative_to(_PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return sha.hexdigest()


def versions() -> dict[str, str]:
    """Versions of netphys, Python and what the numbers hang on, without importing any of it."""
    found = {"netphys": __version__, "python": platform.python_version()}
    for name in _NUMERIC:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def provenance(call: str, options: Mapping[str, Any], inputs: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Gather what every written file carries.

    Parameters
    ----------
    call : str
        The public function that made the file.
    options : mapping
        Every option that changes the numbers.
    inputs : mapping
        Digests of the inputs, by name.
    **more
        Seed, device, batch plan and what else belongs to it.
    """
    record = {"made_by": f"netphys.{call}", "versions": versions(), "options": options, "inputs": inputs, **more}
    return json.loads(json.dumps(_plain(record), sort_keys=True))


def _plain(value: Any) -> Any:
    """Reduce a value to what JSON holds, or refuse it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else repr(value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, np.ndarray):
        return {"array": array_digest(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"no digest is defined for {type(value).__name__}")
