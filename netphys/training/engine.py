"""Where a training computes, how exactly, and with whom: device, precision, ranks.

Lightning Fabric places, casts and launches; what it would change beyond the training (filters of warnings, words on
the console) is kept from it. Under ``torchrun`` each process is a rank: it takes its slice of every batch, and
gradients are averaged over ranks in one message.
"""

from __future__ import annotations

import logging
import os
import platform
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from netphys.devices import resolve_device
from netphys.errors import OptionError, near
from netphys.ranks import Alone, Together

if TYPE_CHECKING:
    from torch import Tensor

    from netphys.ranks import Ranks

__all__ = ["PRECISIONS", "Engine", "n_ranks", "resolve_precision"]

PRECISIONS = ("auto", "float32", "bfloat16")
_FABRIC = {"float32": "32-true", "bfloat16": "bf16-mixed"}
_DOT_PRODUCTS = ("avx512_bf16", "amx_bf16")  # flags of processors that multiply bfloat16 faster than float32


class Engine:
    """What a training runs on.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    precision : {"auto", "float32", "bfloat16"}
        In which forwards and backwards are computed; parameters, gradients and optimizers are float32.
    """

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        resolved = resolve_device(device)
        self.precision = resolve_precision(precision, resolved)
        together = n_ranks() > 1
        launched = together and not torch.distributed.is_initialized()
        self._fabric = _fabric(resolved, _FABRIC[self.precision], together=launched)
        self.device: torch.device = self._fabric.device
        if self.device.type == "cuda":
            torch.cuda.init()  # so that its generators are forked with the others
        self.ranks: Ranks = Together() if together else Alone()

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in the chosen precision inside the block."""
        return self._fabric.autocast()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Average tensors over ranks, in place, in one message."""
        if self.ranks.n == 1 or not tensors:
            return
        flat = torch.cat([each.reshape(-1).to(torch.float32) for each in tensors])
        torch.distributed.all_reduce(flat)
        flat /= self.ranks.n
        parts = flat.split([each.numel() for each in tensors])
        torch._foreach_copy_(list(tensors), [part.view(each.shape) for part, each in zip(parts, tensors)])

    def barrier(self) -> None:
        """Wait for the other ranks."""
        if self.ranks.n > 1:
            torch.distributed.barrier()


def n_ranks() -> int:
    """Say how many processes train together: those of the open process group, or that torchrun has launched."""
    if not torch.distributed.is_available():
        return 1
    if torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return int(os.environ.get("WORLD_SIZE", "1"))


def resolve_precision(precision: str, device: torch.device) -> str:
    """Choose the precision: bfloat16 where the device computes it faster, else float32.

    Raises
    ------
    OptionError
        If the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"precision={precision!r} is not known{near(precision, PRECISIONS)}")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if _has_dot_products() else "float32"


def _has_dot_products() -> bool:
    """Tell whether this processor has dot products of bfloat16."""
    flags = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not flags.is_file() or not torch.backends.mkldnn.is_available():
        return False
    return any(flag in flags.read_text() for flag in _DOT_PRODUCTS)


def _fabric(device: torch.device, precision: str, *, together: bool) -> Any:
    """Make a Fabric, in silence; under torchrun it opens the process group."""
    with _silent():
        from lightning_fabric import Fabric

        if not together:
            devices: Any = [device.index or 0] if device.type == "cuda" else 1
            return Fabric(accelerator=device.type, devices=devices, precision=precision)  # type: ignore[arg-type]
        n_local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        fabric = Fabric(
            accelerator=device.type,
            devices=n_local,
            num_nodes=int(os.environ["WORLD_SIZE"]) // n_local,
            strategy="ddp",
            precision=precision,  # type: ignore[arg-type]
        )
        fabric.launch()
        return fabric


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what a library says and changes while it is loaded from the console and from the filters of warnings."""
    logger = logging.getLogger("lightning_fabric")
    level, disabled = logger.level, logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(logging.INFO, disabled))
        try:
            yield
        finally:
            logging.disable(disabled)
            logger.setLevel(level)
