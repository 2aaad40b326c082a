"""A network from a user's file: ``FILE.py:FUNCTION``. The file is executed, as any script of the user's would be.

The source of the file, and of what it imports from its own folder, belongs to the network's digest.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from netphys.errors import AddressError, NetphysError, near
from netphys.networks.network import Network
from netphys.seeds import forked_torch

__all__ = ["network_of_file"]


_NEIGHBOURS: set[str] = set()  # modules that the latest file imported from its own folder


def network_of_file(address: str, seed: int) -> Network:
    """Execute a user's file and call a function of it, under ``torch.manual_seed(seed)``.

    Parameters
    ----------
    address : str
        ``FILE.py:FUNCTION``; the function takes nothing and returns a module or a Network.
    seed : int
        Seed of what the function draws.

    Raises
    ------
    AddressError
        If there is no such file or function, the file fails (its line is named), or the function returns neither.
    """
    import torch

    file, _, function = address.partition(":")
    path = Path(file)
    if not path.is_file():
        raise AddressError(f"no file {file} for network {address!r}")
    if not function:
        raise AddressError(f"network {address!r} names no function; say {file}:FUNCTION")
    with forked_torch(seed), _importable(path.resolve().parent), _explained(path):
        module = _executed(path)
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        if function not in names:
            raise AddressError(f"{file} has no function {function!r}{near(function, names)}")
        made = getattr(module, function)()
    if isinstance(made, torch.nn.Module):
        made = Network(made)
    if not isinstance(made, Network):
        raise AddressError(f"{address} returned {type(made).__name__}, not a torch module or a netphys Network")
    return replace(made, source=_source_digest(path))


def _executed(path: Path) -> ModuleType:
    """Execute a file as a module that other modules could import (dataclasses look themselves up)."""
    name = f"netphys_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the file import its neighbours, read anew: a helper may have changed, or be another folder's of that name."""
    for name, module in list(sys.modules.items()):
        if name in _NEIGHBOURS or _lies_in(module, folder):
            del sys.modules[name]
    _NEIGHBOURS.clear()
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _NEIGHBOURS.update(name for name, module in list(sys.modules.items()) if _lies_in(module, folder))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever the user's file raises into one line that names the place."""
    try:
        yield
    except NetphysError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).parent == path.resolve().parent]
        place = f"{own[-1].filename}:{own[-1].lineno}" if own else str(path)
        if isinstance(error, SyntaxError):
            place = f"{error.filename}:{error.lineno}"
        reason = (str(error).splitlines() or [""])[0]
        raise AddressError(f"{place}: {type(error).__name__}: {reason}") from error


def _source_digest(path: Path) -> str:
    """Digest the file and every file of its folder (and those below) that it has imported."""
    folder = path.resolve().parent
    imported = {
        Path(str(module.__file__)).resolve() for module in list(sys.modules.values()) if _lies_in(module, folder)
    }
    sha = hashlib.sha256(path.read_bytes())
    for each in sorted(imported - {path.resolve()}):
        sha.update(each.relative_to(folder).as_posix().encode() + b"\0" + each.read_bytes())
    return sha.hexdigest()


def _lies_in(module: ModuleType, folder: Path) -> bool:
    """Tell whether a module's source is below a folder; installed packages are not a user's files."""
    file = getattr(module, "__file__", None)
    if not file or not str(file).endswith(".py") or "site-packages" in str(file):
        return False
    name = getattr(module, "__name__", "")
    return not name.startswith("netphys.") and name != "__main__" and Path(file).resolve().is_relative_to(folder)
