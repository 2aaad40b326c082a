"""A recording into a file, by one process or by several ranks: shards, what resumes them, and the file at the end.

Ranks take whole shards of the plan, side by side; rank 0 packs them all into one file, which is the single process'
own, bit for bit. They go in step: after each shard every rank says how it goes, so that an error, or the end of one
of them, ends all; the same command then goes on with the shards that are there, with any number of ranks.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from glob import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import RecordingError
from netphys.files import ensure_folder, locked, require_free, sweep_file
from netphys.progress import bar
from netphys.recording.feeding import Feeding, alone, cut_of, in_order, measured, require_mergeable, require_sound
from netphys.recording.file import shards as sharding
from netphys.recording.file.reading import Recording, load_recording
from netphys.recording.file.schema import read_header, verify
from netphys.recording.file.store import pack
from netphys.recording.passing import Pass
from netphys.recording.plan import recording_digest, sink_plans
from netphys.recording.seeing import field_facts
from netphys.recording.sinks import Sink, sink_name
from netphys.recording.sinks.buffers import Buffers, bytes_a_stimulus

if TYPE_CHECKING:
    import torch

    from netphys.ranks import Ranks

__all__ = ["Job", "held", "into_file", "packed"]


_ADDED = {"layers", "stimuli", "metadata"}  # of a plan: what a recording can be extended by


@dataclass(frozen=True)
class Job:
    """A recording into a file, as one of some ranks sees it."""

    run: Pass
    path: Path
    sinks: tuple[Sink, ...]
    ranks: Ranks
    force: bool
    compression: str | None

    @property
    def partial(self) -> Path:
        """Where the shards are."""
        return self.path.with_name(self.path.name + ".partial")

    @property
    def begun(self) -> dict[str, Any]:
        """The plan with the sinks that are fed: one that joined later would miss the first stimuli."""
        return {**self.run.plan, "sinks": sink_plans(self.sinks)}

    def shards(self) -> sharding.Shards:
        """Open the shards."""
        run = self.run
        shapes = {each.name: run.keep.shape(each) for each in run.layers}
        return sharding.Shards(
            self.partial, self.begun, shapes, run.dtype, cut=cut_of(run), in_order=in_order(self.sinks),
            rank=self.ranks.rank,
        )  # fmt: skip


def into_file(job: Job) -> Recording:
    """Record into shards, then pack them; a finished recording of the same plan is taken as it is."""
    ranks, path = job.ranks, job.path
    _agree(job)
    with alone(job.sinks, path), held(path, ranks):
        finished = ranks.rank == 0 and _is_finished(job)
        if not ranks.share(finished)[0]:
            _record_shards(job)
    return load_recording(path)


def _agree(job: Job) -> None:
    """See that all ranks record the same."""
    if job.ranks.n == 1:
        return
    require_mergeable(job.sinks)
    plans = job.ranks.share(job.begun)
    for rank, plan in enumerate(plans):
        differing = sharding.differences(plans[0], plan)
        if differing:
            raise RecordingError(f"rank {rank} was told to record another {', '.join(differing)} than rank 0")


@contextmanager
def held(path: Path, ranks: Ranks) -> Iterator[None]:
    """Keep other processes from recording into the same file; ranks of a run that was killed are waited for."""
    waiting = f"waiting for another process that is recording into {path}"
    if ranks.rank:
        ranks.share(None)
        with locked(path.with_name(f".{path.name}.rank{ranks.rank}.lock"), waiting=waiting):
            yield
        return
    ensure_folder(path.parent)
    with locked(path.with_name(f".{path.name}.lock"), waiting=waiting):
        for left in path.parent.glob(f".{escape(path.name)}.rank*.lock"):
            with locked(left, waiting=waiting):
                pass
        ranks.share(None)
        yield


def _is_finished(job: Job) -> bool:
    """Tell whether the recording is there already; else make room for it."""
    run, path, partial, sinks, force = job.run, job.path, job.partial, job.sinks, job.force
    sweep_file(path)
    if path.exists() and _is_same(path, run.plan, force, read=not sinks) and not sinks:
        if sharding.agrees(partial, job.begun) or not (partial / "plan.json").exists():
            sharding.remove_shards(partial)  # a kill between the rename and the removal leaves it
        return True
    if force and not _goes_on(job):
        sharding.remove_shards(partial)
    return False


def _record_shards(job: Job) -> None:
    run, ranks = job.run, job.ranks
    require_sound(run)
    shards = _opened(job)
    try:
        feeding = _fill(job, shards)
        shards.refresh()
        if ranks.rank == 0:
            _pack(job, shards)
        ranks.share(None)
        if feeding.merges:  # beside a sink that cannot, too
            for index in range(len(shards.cut)):
                feeding.merge(shards.states(index, verified=True))
        for sink in job.sinks:  # before their states are removed with the shards
            sink.close()
    except BaseException as error:
        alone = ranks.n == 1 or (isinstance(error, Exception) and ranks.fail(error))  # nobody writes any more
        shards.refresh()
        if ranks.rank == 0 and alone and not shards.done:
            shards.remove()  # nothing that could go on
        raise
    ranks.share(None)
    if ranks.rank == 0:
        shards.remove()


def _opened(job: Job) -> sharding.Shards:
    """Open the shards: rank 0 first, who mends what a kill has left."""
    ranks = job.ranks
    shards = job.shards() if ranks.rank == 0 else None
    ranks.share(None)
    if shards is None:
        shards = job.shards()
    silent = [sink_name(each) for each in job.sinks if not hasattr(each, "plan")]
    if shards.done and silent:
        raise RecordingError(
            f"{job.partial} cannot go on with the sink {silent[0]}, which has no plan() that says its options; "
            "remove it (or --force) to record anew"
        )
    return shards


def _fill(job: Job, shards: sharding.Shards) -> Feeding:
    """Record what is still missing; every rank its part, all in step, so that an error ends all at the next shard."""
    from netphys.ranks import part_of

    run, ranks, cut = job.run, job.ranks, shards.cut
    missing = ranks.share(shards.missing)[0]  # as of now: from here on shards come
    a_stimulus = bytes_a_stimulus(run.layers, run.keep, run.dtype)
    # the shards that are to come, and the file beside them until they are removed
    needed = a_stimulus * (2 * cut.n_rows - shards.n_rows)
    if ranks.rank == 0:
        require_free(job.path.parent, needed, what=f"the recording {job.path.name}")
    feeding = Feeding(run, job.sinks, shards.states() if in_order(job.sinks) else {})
    own = part_of(missing, ranks)
    n_turns = -(-len(missing) // ranks.n)
    with bar(cut.n_rows, label=f"recording {run.network.name}") as progress:
        progress.update(shards.n_rows)
        with closing(_record_own(run, shards, own, feeding)) as recorded:
            for rows, is_whole in recorded:
                progress.update(len(rows))
                if is_whole:
                    mine = int(rows[-1]) % cut.shard_rows + 1
                    progress.update(sum(ranks.share(mine)) - mine)
        for _ in range(len(own), n_turns):
            progress.update(sum(ranks.share(0)))
    return feeding


def _record_own(
    run: Pass, shards: sharding.Shards, own: Sequence[int], feeding: Feeding
) -> Generator[tuple[np.ndarray, bool], None, None]:
    """Record some shards; yields the rows of each batch, and whether they were the last of their shard."""
    cut = shards.cut
    buffers = Buffers(run.layers, keep=run.keep, dtype=run.dtype, n_rows=cut.shard_rows if own else 0)

    def write(layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        buffers.write(layer, int(rows[0]) % cut.shard_rows, activation)

    for span in _spans(own, cut):
        with closing(run.batches(span.start, feeding.writers(write), stop=span.stop)) as batches:
            for rows in batches:
                index = int(rows[0]) // cut.shard_rows
                is_whole = int(rows[-1]) + 1 == cut.rows(index).stop
                if is_whole:
                    shards.append(index, buffers.arrays, feeding.end_shard())
                yield rows, is_whole


def _pack(job: Job, shards: sharding.Shards) -> None:
    if shards.missing:
        raise RecordingError(f"shard {shards.missing[0]} is no longer in {job.partial}; record again")
    found = measured(job.run, (shards.states(index) for index in range(len(shards.cut))))
    packed(job.path, job.run, shards, found, job.compression)


def packed(path: Path, run: Pass, shards: sharding.Shards, found: Mapping[str, Any], compression: str | None) -> None:
    """Pack complete shards of a pass into its file, with what was `found` out of each layer on the way."""
    fields = field_facts(run.network, run.stimuli, run.layers)
    header = {**run.header(), "plan": run.plan, "contents": run.stimuli.contents, "measured": found, "fields": fields}
    pack(path, shards, run.layers, run.keep, run.columns, header, compression=compression)


def _spans(indices: Sequence[int], cut: sharding.Cut) -> Iterator[range]:
    """Join neighbouring shards to runs of rows."""
    for _, run in groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0]):
        members = [index for _, index in run]
        yield range(cut.rows(members[0]).start, cut.rows(members[-1]).stop)


def _goes_on(job: Job) -> bool:
    """Tell whether what was begun is this recording, and undamaged."""
    begun = job.begun
    if not sharding.agrees(job.partial, begun) or None in begun["sinks"].values():
        return False
    try:
        job.shards().verify()
    except RecordingError:
        return False
    return True


def _how_other(plan: Mapping[str, Any], header: Mapping[str, Any]) -> str:
    """Say how a recording that is in the way differs, and what may be done."""
    begun = header.get("plan")
    differing = sharding.differences(json.loads(json.dumps(plan)), begun) if isinstance(begun, dict) else []
    if not differing:  # merged of parts, or made before plans were kept
        return f"of {header['network']}); --force replaces it"
    adds = ", --extend adds to it" if set(differing) <= _ADDED else ""
    return f"of {header['network']}, with other {', '.join(differing)}); --force replaces it{adds}"


def _is_same(path: Path, plan: Mapping[str, Any], force: bool, *, read: bool) -> bool:
    """Tell whether a file holds the wanted recording, `read` and found whole; another one is in the way."""
    wanted = recording_digest(plan)
    try:
        header = read_header(path)
        if header["digest"] == wanted and read:
            verify(path)
    except RecordingError as error:
        if force:
            return False
        raise RecordingError(f"{path} is in the way ({error}); --force replaces it") from None
    if header["digest"] != wanted and not force:
        raise RecordingError(f"{path} holds another recording ({_how_other(plan, header)}")
    return bool(header["digest"] == wanted)
