"""record: show stimuli to a network and keep what its layers do; one pass, every sink fed from it.

The recording runs in a fixed batch (32, the last one padded), because kernels choose by batch size and results would
otherwise depend, in the last bits, on how the stimuli were cut. It never runs past the deepest layer asked for. Into
a file it survives a kill at any moment: the same call goes on at the last whole shard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, near
from netphys.networks import Network, as_network
from netphys.progress import bar, quiet
from netphys.recording.extending import extended
from netphys.recording.feeding import Feeding, alone, cut_of, measured, require_sound, require_writable
from netphys.recording.file.entries import entry_of
from netphys.recording.file.reading import Recording
from netphys.recording.file.store import COMPRESSIONS
from netphys.recording.into_file import Job, into_file
from netphys.recording.keep import Keep
from netphys.recording.passing import Pass
from netphys.recording.plan import recording_digest
from netphys.recording.sinks import Sink, require_sinks
from netphys.recording.sinks.buffers import Memory
from netphys.stimuli import as_stimuli

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
    gradient_of: str | Callable[[Any], Any] | None = None,
    sinks: Sequence[Sink] = (),
    compression: str | None = None,
    extend: bool = False,
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
    keep : str or Keep
        What is kept of a map: ``"all"``, ``"mean"``, ``"window?size=3"``, ... (:mod:`netphys.recording.keep`).
    into : Path, optional
        The HDF5 file to record into, for sets larger than memory and for keeping. Default: memory.
    dtype : {"float32", "float16", "bfloat16"}
        Stored dtype; computation is float32.
    batch_size : int
        Part of what the last bits depend on, so part of the recording's digest.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    seed : int
        For networks that draw at random in eval mode too; each batch runs in a fork of torch's generators.
    gradient_of : str or callable, optional
        A scalar, one number a stimulus (``"output[207]"``, ``"output.max"``, ``"layer4.1[17,3,2]"``, or a function of
        what the network returns): beside each layer its gradient with respect to the layer's activation is recorded,
        as ``LAYER/gradient`` (:mod:`netphys.recording.gradients`).
    sinks : sequence of Sink
        Fed in the same pass; ``close()`` has been called on each when `record` returns.
    compression : {"gzip", "lzf"}, optional
        How the file is compressed; no number hangs on it.
    extend : bool
        A finished recording at `into`, of the same network and made in the same way, gains the layers and stimuli
        that it lacks (:mod:`netphys.recording.extending`); else it is in the way.
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

    Under torchrun, or in an open process group, all ranks call it alike: into a file they record together, and the file
    is that of one process, bit for bit; each sink must have ``merge``. Into memory each records everything itself.

    Examples
    --------
    >>> record("netphys:gabor_energy", "world:scenes?n=3", layers="energy")
    Recording(netphys:gabor_energy: 1 layer x 3 stimuli, in memory)
    """
    sinks = require_sinks(sinks)
    stimuli = as_stimuli(stimuli)
    require_writable(stimuli.ids)
    if into is None:
        with alone(sinks):
            return _into_memory(
                Pass(network, stimuli, layers, keep, dtype, batch_size, device, seed, gradient_of), sinks
            )
    path = Path(into)
    if path.suffix not in (".h5", ".hdf5"):
        raise OptionError(f"a recording is an HDF5 file: {path.with_suffix('.h5')}, not {path}")
    if compression not in COMPRESSIONS:
        raise OptionError(
            f"compression={compression!r} is not known{near(str(compression), filter(None, COMPRESSIONS))}"
        )
    from netphys.ranks import joined, own_device

    with joined() as ranks, quiet() if ranks.rank else nullcontext():
        own = own_device(device, ranks)
        network = as_network(network, seed=seed)

        def again(shown: StimulusSet | str | Any, names: str | Sequence[str]) -> Pass:
            return Pass(network, shown, names, keep, dtype, batch_size, own, seed, gradient_of)

        job = Job(again(stimuli, layers), path, tuple(sinks), ranks, force, compression)
        return extended(job, again) if extend and path.exists() else into_file(job)


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
    gradient_of: str | Callable[[Any], Any] | None = None,
) -> dict[str, Any]:
    """Say what :func:`record` would do: all that its numbers depend on, as plain data; nothing is recorded."""
    return Pass(network, stimuli, layers, keep, dtype, batch_size, device, seed, gradient_of).plan


def _into_memory(run: Pass, sinks: Sequence[Sink]) -> Recording:
    """Record into arrays."""
    require_sound(run)
    memory = Memory(run.layers, len(run.stimuli), keep=run.keep, dtype=run.dtype)
    cut, feeding = cut_of(run), Feeding(run, sinks, {})
    states: list[Mapping[str, np.ndarray]] = []
    with bar(len(run.stimuli), label=f"recording {run.network.name}") as progress:
        for rows in run.batches(0, feeding.writers(memory.write)):
            index, done = rows[0] // cut.shard_rows, int(rows[-1]) + 1
            if done == cut.rows(index).stop:  # as a recording into a file would, so that the bits are the same
                states.append(feeding.end_shard())
                feeding.merge(states[-1])
            progress.update(len(rows))
    memory.finish()
    for sink in sinks:
        sink.close()
    found = measured(run, states)
    header = {"digest": recording_digest(run.plan), "provenance": run.what_made_it()}
    entries = tuple(entry_of(each, run.keep, measured=found.get(each.name)) for each in run.layers)
    name, training = run.network.name, run.network.training
    return Recording(name, training, run.stimuli.ids, None, header, entries, memory.arrays, _table=run.columns)
