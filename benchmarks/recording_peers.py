"""Ways to keep a network's activations that netphys is compared with: what a script would do, and the peers' packages.

The peers' pins exclude each other and this package's, so they are installed without them, into a folder of their own:

    python benchmarks/recording.py --install DIR      # then: python benchmarks/recording.py --peers DIR

thingsvision imports TensorFlow at its top, for its TensorFlow extractors, and reads ``numpy.AxisError`` of numpy 1: it
gets a stand-in for the one and an alias for the other, which its PyTorch extractor does not use while it records. What
is not installed is a row of the table that says so.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

__all__ = ["PEERS", "add_peers", "install", "peer_versions", "ways_of_others"]

PEERS = ("thingsvision==2.7.3", "torchlens==2.36.1", "torchtyping==0.1.5", "typeguard==4.6.1", "graphviz")
_STAND_INS = ("tensorflow",)

Way = Callable[[], dict[str, Any]]


def install(folder: Path) -> None:
    """Install the peers into a folder, without what they pin."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder)]
    subprocess.run([*command, *PEERS], check=True)


def add_peers(folder: Path | None) -> None:
    """Let the peers of a folder be imported, behind everything that is installed already."""
    if folder is not None:
        sys.path.append(str(folder))
        sys.meta_path.append(_StandIns())


def peer_versions() -> dict[str, str]:
    """Versions of the peers that can be imported."""
    from importlib import metadata

    found = {}
    for name in ("thingsvision", "torchlens"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules that are imported and not used."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Answer for the stand-ins only; asked last, when nothing of that name is installed."""
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in _STAND_INS else None

    def create_module(self, spec: Any) -> Any:
        """Make a module that has every attribute."""
        module = MagicMock(name=spec.name)
        module.__name__, module.__spec__, module.__path__ = spec.name, spec, []
        return module

    def exec_module(self, module: Any) -> None:
        """Do nothing."""


def ways_of_others(module: nn.Module, batches: Sequence[torch.Tensor], names: Sequence[str]) -> dict[str, Way | None]:
    """Return each way by name; each returns all activations of the named modules.

    None stands for a peer that is not installed, or (torchvision fx) does not reach one of the modules.

    Parameters
    ----------
    module : nn.Module
        In eval mode.
    batches : sequence of tensors (stimulus, 3, y, x)
        What is shown.
    names : sequence of str
        Modules, in order of execution.
    """
    return {
        "plain hooks + clone": lambda: _cloned(module, batches, names),
        "hooks into a buffer": lambda: _buffered(module, batches, names),
        "mean in a plain hook": lambda: _mean(module, batches, names),
        "torchvision fx": _traced(module, batches, names),
        "thingsvision": _thingsvision(module, batches, names),
        "torchlens record": _torchlens(module, batches, names),
    }


@contextlib.contextmanager
def _hooked(module: nn.Module, names: Sequence[str], keep: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    modules = dict(module.named_modules())
    handles = [
        modules[name].register_forward_hook(lambda _, __, output, name=name: keep(name, output)) for name in names
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _cloned(module: nn.Module, batches: Sequence[torch.Tensor], names: Sequence[str]) -> dict[str, Any]:
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    with _hooked(module, names, lambda name, output: kept[name].append(output.clone())):
        for batch in batches:
            module(batch)
    return {name: torch.cat(parts) for name, parts in kept.items()}


def _buffered(module: nn.Module, batches: Sequence[torch.Tensor], names: Sequence[str]) -> dict[str, Any]:
    kept: dict[str, torch.Tensor] = {}
    n, start = sum(len(batch) for batch in batches), 0

    def keep(name: str, output: torch.Tensor) -> None:
        if name not in kept:
            kept[name] = torch.empty(n, *output.shape[1:])
        kept[name][start : start + len(output)].copy_(output)

    with _hooked(module, names, keep):
        for batch in batches:
            module(batch)
            start += len(batch)
    return kept


def _mean(module: nn.Module, batches: Sequence[torch.Tensor], names: Sequence[str]) -> dict[str, Any]:
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in names}

    def keep(name: str, output: torch.Tensor) -> None:
        places = (2, 3) if output.ndim == 4 else (1,)
        kept[name].append(output.mean(places) if output.ndim > 2 else output.clone())

    with _hooked(module, names, keep):
        for batch in batches:
            module(batch)
    return {name: torch.cat(parts) for name, parts in kept.items()}


def _traced(module: nn.Module, batches: Sequence[torch.Tensor], names: Sequence[str]) -> Way | None:
    try:
        extractor = create_feature_extractor(module, list(names))
    except ValueError:  # it does not look into blocks of torchvision.ops (MobileNet)
        return None

    def run() -> dict[str, Any]:
        parts = [extractor(batch) for batch in batches]
        return {name: torch.cat([part[name] for part in parts]) for name in names}

    return run


def _thingsvision(module: nn.Module, batches: Sequence[torch.Tensor], names: Sequence[str]) -> Way | None:
    vars(np).setdefault("AxisError", np.exceptions.AxisError)
    try:
        from thingsvision import get_extractor_from_model
    except ImportError:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        extractor = get_extractor_from_model(model=module, device="cpu", backend="pt")

    def run() -> dict[str, Any]:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):  # noqa: PTH123
            found = extractor.extract_features(batches=list(batches), module_names=list(names), output_type="ndarray")
        return dict(found)

    return run


def _torchlens(module: nn.Module, batches: Sequence[torch.Tensor], names: Sequence[str]) -> Way | None:
    logging.getLogger("torchlens").setLevel(logging.ERROR)
    try:
        import torchlens
    except ImportError:
        return None
    modules = dict(module.named_modules())
    kinds = {"Conv2d": "conv2d", "Linear": "linear"}
    save = torchlens.func(kinds[type(modules[names[0]]).__name__])
    wanted = set(names)

    def run() -> dict[str, Any]:
        kept: dict[str, list[torch.Tensor]] = {name: [] for name in names}
        for batch in batches:
            for each in torchlens.record(module, batch, save=save).records:
                if each.ctx.address in wanted:
                    kept[each.ctx.address].append(each.ram_payload)
        return {name: torch.cat(parts) for name, parts in kept.items()}

    return run
