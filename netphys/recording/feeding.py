"""How the sinks of a pass are fed, and what of them is saved with each shard.

A sink that can `merge` is fed shard by shard, each time from nothing; what it has seen of each shard is saved with
that shard, and all is merged at the end, in the order of the stimuli. So its result is the same, bit for bit, whoever
recorded which shard, and however often the recording was killed. A sink that cannot is fed from the first stimulus to
the last by one process, and its state as of a shard is saved with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import RecordingError
from netphys.files import ensure_folder, locked
from netphys.hdf5_columns import writable
from netphys.recording.file import shards as sharding
from netphys.recording.keep import Fitted, Measuring
from netphys.recording.passing import Pass, Write
from netphys.recording.sinks import Sink, sink_name
from netphys.recording.sinks.buffers import bytes_a_stimulus
from netphys.recording.sinks.store import Store

if TYPE_CHECKING:
    import torch

__all__ = [
    "Feeding",
    "alone",
    "cut_of",
    "in_order",
    "measured",
    "require_mergeable",
    "require_sound",
    "require_writable",
]

_KEEP = "keep/"  # what the keep has measured, among the states


class Feeding:
    """Feed the sinks of a pass.

    Parameters
    ----------
    run : Pass
        Whose layers and stimuli they are opened for.
    sinks : sequence of Sink
        In the order in which they are fed.
    states : mapping of str to array
        As saved with the last shard before the first one that is recorded now.
    """

    def __init__(self, run: Pass, sinks: Sequence[Sink], states: Mapping[str, np.ndarray]) -> None:
        self._keep = run.keep if isinstance(run.keep, Measuring) else None
        self._sinks = list(sinks)
        if self._keep is not None:
            run.keep.load_state_dict({})  # begins anew: what was measured before is saved with its shards
        for sink in sinks:
            if hasattr(sink, "begin"):  # wants to know of what pass it is: its network, its stimuli's metadata
                sink.begin(run)
        merged = [index for index, sink in enumerate(sinks) if _merges(sink)]
        run.open(sinks, {key: value for key, value in states.items() if key.partition("/")[0] not in map(str, merged)})
        self._fresh = {index: deepcopy(sinks[index]) for index in merged}
        self._fed: list[Any] = [deepcopy(sink) if index in self._fresh else sink for index, sink in enumerate(sinks)]

    @property
    def merges(self) -> bool:
        """Whether some sinks are joined of what each shard gave them."""
        return bool(self._fresh)

    def writers(self, first: Write) -> list[Write]:
        """Return what is called with each activation: what keeps it, then what feeds the sinks."""
        before = [self._before] if self._keep is not None else []
        return [*before, first, *([self._write] if self._sinks else [])]

    def end_shard(self) -> dict[str, np.ndarray]:
        """Return what is saved with a shard whose rows have all been written, and begin the next one."""
        states = {
            f"{place}/{key}": value for place, fed in enumerate(self._fed) for key, value in fed.state_dict().items()
        }
        if self._keep is not None:
            states |= {_KEEP + key: np.asarray(value) for key, value in self._keep.state_dict().items()}
        for place, fresh in self._fresh.items():
            self._fed[place] = deepcopy(fresh)
        return states

    def merge(self, states: Mapping[str, np.ndarray]) -> None:
        """Give sinks that merge what was saved with a shard; called for all shards, in their order."""
        for place in self._fresh:
            sink: Any = self._sinks[place]
            sink.merge(_of(f"{place}/", states))

    def _before(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        assert self._keep is not None
        self._keep.at(int(rows[0]))

    def _write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        for fed in self._fed:
            fed.write(layer, rows, activation)


def measured(run: Pass, states: Iterable[Mapping[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """Say what the keep has measured of each layer, by what was saved with each shard, whoever recorded it."""
    if not isinstance(run.keep, Measuring):
        return {}
    run.keep.load_state_dict({})
    for each in states:
        run.keep.merge(_of(_KEEP, each))
    return {layer.name: dict(run.keep.measured(layer)) for layer in run.layers}


def in_order(sinks: Sequence[Sink]) -> bool:
    """Tell whether a shard's states stand for all those before it."""
    return not all(_merges(sink) for sink in sinks)


def require_mergeable(sinks: Sequence[Sink]) -> None:
    """See that several ranks can feed the sinks.

    Raises
    ------
    RecordingError
        Naming the first one that has to see all stimuli itself.
    """
    for sink in sinks:
        if not _merges(sink):
            raise RecordingError(
                f"several ranks cannot feed the sink {sink_name(sink)}: it has no merge() that joins what each of them "
                "has seen; record with one process, or without it"
            )


@contextmanager
def alone(sinks: Sequence[Sink], into: Path | None = None) -> Iterator[None]:
    """Keep everybody else from writing into the files of the sinks while a pass runs.

    Raises
    ------
    RecordingError
        If two of them, or one and the recording itself, would write into one file.
    """
    taken, paths = set() if into is None else {into.resolve()}, list[Path]()
    for path in (sink.path for sink in sinks if isinstance(sink, Store)):
        if path.resolve() in taken:
            raise RecordingError(f"Store({path}): this pass writes into that file already; give it another path")
        taken.add(path.resolve())
        paths.append(path)
    with ExitStack() as locks:
        for path in sorted(paths):  # in one order, so that two passes never wait for each other
            ensure_folder(path.parent)
            waiting = f"waiting for another process that is recording into {path}"
            locks.enter_context(locked(path.with_name(f".{path.name}.lock"), waiting=waiting))
        yield


def cut_of(run: Pass) -> sharding.Cut:
    """Cut a pass into shards; in memory, too, so that sinks are fed alike."""
    a_stimulus = bytes_a_stimulus(run.layers, run.keep, run.dtype)
    return sharding.cut_into(len(run.stimuli), run.batch_size, a_stimulus)


def require_writable(stimulus_ids: Sequence[str]) -> None:
    """See that a file gives the ids back as they are."""
    for each in stimulus_ids:
        if not writable(each):
            raise RecordingError(f"stimulus id {each!r} cannot be recorded: it has a NUL in it, or is no UTF-8")


def require_sound(run: Pass) -> None:
    """See, before anything is recorded, that activations are a stimulus' own, and that a fit is of other stimuli."""
    run.require_independent()
    if isinstance(run.keep, Fitted):
        run.keep.check(
            network=run.plan["network"],
            stimuli=run.plan["stimuli"],
            stimulus_ids=run.stimuli.ids,
            gradient_of=run.plan.get("gradient_of"),
        )


def _merges(sink: Sink) -> bool:
    return hasattr(sink, "merge")


def _of(prefix: str, states: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in states.items() if key.startswith(prefix)}
