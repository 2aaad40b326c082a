"""The processes that work together on one training or recording, and the verbs by which they share tensors and words.

Objectives are written once, with three verbs; on one process they are identities. The gradient of a loss over the
joined batch is right only if the backward of a gather, and of a sum, sums over ranks; the verbs here do that.

Whatever else ranks have to agree on is said with `share`, plain values as JSON. An error on one rank reaches all at
the next share: nobody waits for a rank that has ended.
"""

from __future__ import annotations

import contextvars
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, distributed

from netphys.errors import NetphysError

__all__ = ["PATIENCE", "Alone", "Ranks", "RanksError", "Together", "joined", "own_device", "part_of"]

PATIENCE = timedelta(hours=3)  # a rank that is killed is noticed at once; one that hangs, or packs a large file, then
_CURRENT: contextvars.ContextVar[Ranks | None] = contextvars.ContextVar("netphys_ranks", default=None)

_OPENED = itertools.count()  # groups that this process has opened; all ranks open them in step

T = TypeVar("T")


class RanksError(NetphysError):
    """An error of another rank, which ends this one, too."""


class Ranks(Protocol):
    """How many processes there are, which this is, and how they share tensors of equal shapes."""

    @property
    def rank(self) -> int:
        """Which this is, from 0."""

    @property
    def n(self) -> int:
        """How many there are."""

    def gather(self, values: Tensor) -> Tensor:
        """Join the rows of all ranks, in their order; gradients reach every rank's own rows, summed over ranks."""

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks; the gradient is summed over ranks, too."""

    def sum_without_gradient(self, values: Tensor) -> Tensor:
        """Sum over ranks; no gradient flows."""

    def share(self, value: Any) -> list[Any]:
        """Tell all ranks a plain value (JSON), and return what each has told, in their order.

        Raises
        ------
        RanksError
            If another rank failed instead, or has ended.
        """

    def fail(self, error: Exception) -> bool:
        """Tell all ranks, at their next share, that this one has failed; tells whether all have stopped there."""


class Alone:
    """One process: all verbs are identities."""

    rank = 0
    n = 1

    def gather(self, values: Tensor) -> Tensor:
        """Return the rows as they are."""
        return values

    def sum(self, values: Tensor) -> Tensor:
        """Return the values as they are."""
        return values

    def sum_without_gradient(self, values: Tensor) -> Tensor:
        """Return the values, detached."""
        return values.detach()

    def share(self, value: Any) -> list[Any]:
        """Return what was told."""
        return [value]

    def fail(self, error: Exception) -> bool:
        """Tell nobody."""
        return True


class Together:
    """The ranks of a process group that is already open (torchrun, Fabric)."""

    def __init__(self, patience: timedelta = PATIENCE) -> None:
        self.rank: int = distributed.get_rank()
        self.n: int = distributed.get_world_size()
        self._patience = patience
        self._words: Any = None  # the group by which words are shared, opened when the first one is
        self._stopped = False  # all ranks, after an error of one
        self._lost = False  # one of them does not answer

    def gather(self, values: Tensor) -> Tensor:
        """Join the rows of all ranks, in their order; gradients reach every rank's own rows, summed over ranks."""
        return _Gather.apply(values.contiguous(), self.rank, self.n)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over ranks; the gradient is summed over ranks, too."""
        return _Sum.apply(values.contiguous())

    def sum_without_gradient(self, values: Tensor) -> Tensor:
        """Sum over ranks; no gradient flows."""
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total

    def share(self, value: Any) -> list[Any]:
        """Tell all ranks a plain value (JSON), and return what each has told, in their order."""
        told = self._say({"value": value})
        for rank, each in enumerate(told):
            if "error" in each:
                self._stopped = True
                raise RanksError(f"rank {rank}: {each['error']}")
        return [each["value"] for each in told]

    def fail(self, error: Exception) -> bool:
        """Tell all ranks, at their next share, that this one has failed."""
        if not self._stopped and not self._lost:
            text = str(error) if isinstance(error, NetphysError) else f"{type(error).__name__}: {error}"
            with suppress(RanksError):
                self._say({"error": text})
                self._stopped = True
        return self._stopped

    def leave(self) -> None:
        """Close the group by which words are shared."""
        if self._words is not None:
            distributed.destroy_process_group(self._words)
            self._words = None

    def _say(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """Gather the messages of all ranks."""
        said = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.n)]
        try:
            if self._words is None:  # of its own, on the CPU, whatever the tensors are moved by
                self._words = distributed.new_group(backend="gloo", timeout=self._patience)
            distributed.all_gather(lengths, torch.tensor([len(said)]), group=self._words)
            longest = max(int(each) for each in lengths)
            parts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.n)]
            distributed.all_gather(parts, torch.cat([said, said.new_zeros(longest - len(said))]), group=self._words)
        except RuntimeError as error:  # the connection is closed, or nobody answered in time
            self._lost = True
            raise RanksError(f"another rank has ended, or did not answer within {self._patience}") from error
        return [json.loads(bytes(part[: int(length)].tolist())) for part, length in zip(parts, lengths)]


@contextmanager
def joined(patience: timedelta = PATIENCE) -> Iterator[Ranks]:
    """Join the other ranks: those of an open process group, else those that torchrun has launched beside this one.

    All ranks must enter, and each leaves the block with an error if one of them does. A block inside a block is the
    same company. A group that was opened here is closed at the end.

    Parameters
    ----------
    patience : timedelta
        How long a rank that is alive may be waited for.

    Yields
    ------
    Ranks

    Raises
    ------
    RanksError
        If another rank failed.

    Examples
    --------
    >>> with joined() as ranks:
    ...     ranks.n, ranks.share("here")
    (1, ['here'])
    """
    current = _CURRENT.get()
    if current is not None:
        yield current
        return
    opened = _open_group(patience)
    ranks: Alone | Together = Together(patience) if _is_open() and distributed.get_world_size() > 1 else Alone()
    token = _CURRENT.set(ranks)
    try:
        ranks.share(None)  # connects: from here on a rank that ends is noticed at once
        yield ranks
        ranks.share(None)
    except Exception as error:
        ranks.fail(error)
        raise
    finally:
        _CURRENT.reset(token)
        if isinstance(ranks, Together):
            ranks.leave()
        if opened:
            distributed.destroy_process_group()


def own_device(device: str, ranks: Ranks) -> str:
    """Say which device is this rank's: ``auto`` and ``cuda`` are the GPU of its number on its machine."""
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if ranks.n == 1 or device not in ("auto", "cuda") or not n_devices:
        return device
    return f"cuda:{int(os.environ.get('LOCAL_RANK', ranks.rank)) % n_devices}"


def part_of(items: Sequence[T], ranks: Ranks) -> Sequence[T]:
    """Take this rank's part of some items: a run of neighbours, as long as the others' or one longer.

    Examples
    --------
    >>> part_of([1, 2, 3], Alone())
    [1, 2, 3]
    """
    share, longer = divmod(len(items), ranks.n)
    first = ranks.rank * share + min(ranks.rank, longer)
    return items[first : first + share + (ranks.rank < longer)]


def _is_open() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _open_group(patience: timedelta) -> bool:
    """Open the group of what torchrun has launched, if it is not open; tells whether it did."""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1 and {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ)
    if not launched or not distributed.is_available() or distributed.is_initialized():
        return False
    from torch.distributed.rendezvous import rendezvous

    # what ranks told their launcher's store before a restart, or in an earlier group, is still there under its name
    prefix = f"netphys/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{next(_OPENED)}"
    try:
        store, rank, n = next(iter(rendezvous("env://", timeout=patience)))
        named = distributed.PrefixStore(prefix, store)
        distributed.init_process_group("gloo", store=named, rank=rank, world_size=n, timeout=patience)
    except RuntimeError as error:
        raise RanksError(f"the ranks that torchrun has launched do not find each other: {error}") from None
    return True


class _Gather(torch.autograd.Function):
    """Join rows of all ranks; backward, each rank takes its own rows of the gradients of all ranks, summed."""

    @staticmethod
    def forward(context: Any, values: Tensor, rank: int, n: int) -> Tensor:
        context.own = slice(rank * len(values), (rank + 1) * len(values))
        parts = [torch.empty_like(values) for _ in range(n)]
        distributed.all_gather(parts, values)
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total[context.own], None, None


class _Sum(torch.autograd.Function):
    """Sum over ranks; backward, the gradients of all ranks, summed."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor]:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return (total,)
