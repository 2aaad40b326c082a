"""record: show stimuli to a network and keep what its layers do; one pass, every sink fed from it.

The recording runs in a fixed batch (32, the last one padded), because kernels choose by batch size and results would
otherwise depend, in the last bits, on how the stimuli were cut. It never runs past the deepest layer asked for. Into
a file it survives a kill at any moment: the same call goes on at the last whole shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, RecordingError
from netphys.files import ensure_folder, locked, require_free, sweep_file
from netphys.networks import Network
from netphys.progress import bar
from netphys.recording import shards as sharding
from netphys.recording.keep import Keep
from netphys.recording.passing import Pass
from netphys.recording.plan import recording_digest, sink_plans
from netphys.recording.reading import Recording, load_recording
from netphys.recording.schema import Entry, read_header, verify
from netphys.recording.sinks import Sink, sink_name
from netphys.recording.sinks.buffers import Buffers, Memory, bytes_a_stimulus
from netphys.recording.store import pack

if TYPE_CHECKING:
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["record", "recording_digest", "recording_plan"]


def record(
    network: Network | torch.nn.Module | str,
    stimuli: StimulusSet | str | Any,
    *,
    layers: str | Sequence[str],
    keep: Keep | str = "all",
    into: Path | str | None = None,
    dtype: str = "float32",
    batch_size: int = 32,
    device: str = "auto",
    seed: int = 0,
    sinks: Sequence[Sink] = (),
    force: bool = False,
) -> Recording:
    """Record the activations of a network's layers to stimuli.

    Parameters
    ----------
    network : Network, torch.nn.Module or address
        Any network; it is left as it was found.
    stimuli : StimulusSet, address, or array (stimulus, 3, y, x)
        What is shown.
    layers : str or sequence of str
        Layer patterns, see :mod:`netphys.recording.patterns`.
    keep : {"all", "mean", "max", "centre", "pooled"}
        What is kept of a map (:mod:`netphys.recording.keep`).
    into : Path, optional
        The HDF5 file to record into, for sets larger than memory and for keeping. Default: memory.
    dtype : {"float32", "float16"}
        Stored dtype; computation is float32.
    batch_size : int
        Part of what the last bits depend on, so part of the recording's digest.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    seed : int
        For networks that draw at random in eval mode too; each batch runs in a fork of torch's generators.
    sinks : sequence of Sink
        Fed in the same pass; ``close()`` has been called on each when `record` returns.
    force : bool
        Replace another recording (finished or not) at `into`. The same one is never made twice: it is gone on with, or
        taken as it is.

    Returns
    -------
    Recording

    Raises
    ------
    LayerNotFound
        If a pattern matches no layer.
    RecordingError
        If the network cannot look at the stimuli, a layer has no batch dimension, or another recording is in the way.
    OutputError
        If `into` cannot be written.

    Notes
    -----
    Values are those at the moment a layer returned them, also where the next operation is in-place.

    Examples
    --------
    >>> record("netphys:gabor_energy", "world:scenes?n=3", layers="energy")
    Recording(netphys:gabor_energy: 1 layer x 3 stimuli, in memory)
    """
    run = Pass(network, stimuli, layers, keep, dtype, batch_size, device, seed)
    if into is None:
        return _into_memory(run, sinks)
    path = Path(into)
    if path.suffix not in (".h5", ".hdf5"):
        raise OptionError(f"a recording is an HDF5 file: {path.with_suffix('.h5')}, not {path}")
    return _into_file(run, path, sinks, force=force)


def recording_plan(
    network: Network | torch.nn.Module | str,
    stimuli: StimulusSet | str | Any,
    *,
    layers: str | Sequence[str],
    keep: Keep | str = "all",
    dtype: str = "float32",
    batch_size: int = 32,
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Say what :func:`record` would do: all that its numbers depend on, as plain data; nothing is recorded."""
    return Pass(network, stimuli, layers, keep, dtype, batch_size, device, seed).plan


def _into_memory(run: Pass, sinks: Sequence[Sink]) -> Recording:
    """Record into arrays."""
    run.require_independent()
    memory = Memory(run.layers, len(run.stimuli), keep=run.keep, dtype=run.dtype)
    run.open(sinks, {})
    with bar(len(run.stimuli), label=f"recording {run.network.name}") as progress:
        for rows in run.batches(0, [memory.write, *(sink.write for sink in sinks)]):
            progress.update(len(rows))
    for sink in sinks:
        sink.close()
    entries = tuple(
        Entry(each.name, each.kind, run.keep.dims(each), run.keep.shape(each), each.index) for each in run.layers
    )
    header = {"digest": recording_digest(run.plan), "provenance": run.what_made_it()}
    name, training = run.network.name, run.network.training
    return Recording(name, training, run.stimuli.ids, None, header, entries, memory.arrays, _table=run.columns)


def _into_file(run: Pass, path: Path, sinks: Sequence[Sink], *, force: bool) -> Recording:
    """Record into shards, then pack them; a finished recording of the same plan is taken as it is."""
    ensure_folder(path.parent)
    partial = path.with_name(path.name + ".partial")
    waiting = f"waiting for another process that is recording into {path}"
    with locked(path.with_name(f".{path.name}.lock"), waiting=waiting):
        sweep_file(path)
        if path.exists() and _is_same(path, recording_digest(run.plan), force, read=not sinks) and not sinks:
            sharding.remove_shards(partial)  # a kill between the rename and the removal leaves it
            return load_recording(path)
        if force and not _goes_on(run, partial, sinks):
            sharding.remove_shards(partial)
        _record_shards(run, path, partial, sinks)
    return load_recording(path)


def _record_shards(run: Pass, path: Path, partial: Path, sinks: Sequence[Sink]) -> None:
    run.require_independent()
    shapes = {each.name: run.keep.shape(each) for each in run.layers}
    shards = sharding.Shards(partial, _begun(run, sinks), shapes, run.dtype)
    silent = [sink_name(each) for each in sinks if not hasattr(each, "plan")]
    if shards.n_rows and silent:
        raise RecordingError(
            f"{partial} cannot go on with the sink {silent[0]}, which has no plan() that says its options; "
            "remove it (or --force) to record anew"
        )
    try:
        _fill(run, path, shards, sinks)
        pack(path, shards, run.layers, run.keep, run.columns, run.header())
    except BaseException:
        if not shards.n_rows:  # nothing that could go on
            shards.remove()
        raise
    for sink in sinks:  # before their states are removed with the shards
        sink.close()
    shards.remove()


def _fill(run: Pass, path: Path, shards: sharding.Shards, sinks: Sequence[Sink]) -> None:
    """Record what is still missing."""
    a_stimulus = bytes_a_stimulus(run.layers, run.keep, run.dtype)
    needed = a_stimulus * len(run.stimuli)
    # the shards that are to come, and the file beside them until they are removed
    require_free(path.parent, 2 * needed - a_stimulus * shards.n_rows, what=f"the recording {path.name}")
    n_batches = max(1, -(-sharding.SHARD_BYTES // (a_stimulus * run.batch_size)))
    shard_rows = min(n_batches * run.batch_size, len(run.stimuli))
    buffers = Buffers(run.layers, keep=run.keep, dtype=run.dtype, n_rows=shard_rows)
    run.open(sinks, shards.states())
    start = shards.n_rows

    def write(layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        buffers.write(layer, int(rows[0]) - shards.n_rows, activation)

    with bar(len(run.stimuli), label=f"recording {run.network.name}") as progress:
        progress.update(start)
        for rows in run.batches(start, [write, *(sink.write for sink in sinks)]):
            done = int(rows[-1]) + 1
            if done - shards.n_rows >= shard_rows or done == len(run.stimuli):
                shards.append(buffers.arrays, done - shards.n_rows, _states(sinks))
            progress.update(len(rows))


def _begun(run: Pass, sinks: Sequence[Sink]) -> dict[str, Any]:
    """Return the plan with the sinks that are fed: one that joined later would miss the first stimuli."""
    return {**run.plan, "sinks": sink_plans(sinks)}


def _goes_on(run: Pass, partial: Path, sinks: Sequence[Sink]) -> bool:
    """Tell whether what was begun is this recording, and undamaged."""
    begun = _begun(run, sinks)
    if not sharding.agrees(partial, begun) or None in begun["sinks"].values():
        return False
    try:
        sharding.Shards(partial, begun, {}, run.dtype).verify()
    except RecordingError:
        return False
    return True


def _is_same(path: Path, wanted: str, force: bool, *, read: bool) -> bool:
    """Tell whether a file holds the wanted recording, `read` and found whole; another one is in the way."""
    try:
        header = read_header(path)
        if header["digest"] == wanted and read:
            verify(path)
    except RecordingError as error:
        if force:
            return False
        raise RecordingError(f"{path} is in the way ({error}); --force replaces it") from None
    if header["digest"] != wanted and not force:
        raise RecordingError(f"{path} holds another recording (of {header['network']}); --force replaces it")
    return bool(header["digest"] == wanted)


def _states(sinks: Sequence[Sink]) -> dict[str, np.ndarray]:
    return {f"{index}/{key}": value for index, sink in enumerate(sinks) for key, value in sink.state_dict().items()}
