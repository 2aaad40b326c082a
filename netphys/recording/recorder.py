"""record: show stimuli to a network and keep what its layers do; one pass, every sink fed from it.

The recording runs in a fixed batch (32, the last one padded), because kernels choose by batch size and results would
otherwise depend, in the last bits, on how the stimuli were cut. It never runs past the deepest layer asked for. Into
a file it survives a kill at any moment: the same call goes on at the last whole shard.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from netphys.devices import resolve_device
from netphys.errors import OptionError, RecordingError, near
from netphys.files import ensure_folder, locked, require_free, sweep_file
from netphys.networks import Network, as_network
from netphys.progress import bar
from netphys.recording import shards as sharding
from netphys.recording.checks import checked_output, degrees_seen, require_independent
from netphys.recording.hooks import Tap
from netphys.recording.keep import check_keep, kept_dims, kept_shape, units_first
from netphys.recording.layers import N_PROBE, Layer, probe_images, probe_layers
from netphys.recording.outputs import tensors_in
from netphys.recording.patterns import aliases_in, match_layers
from netphys.recording.plan import make_plan, recording_digest, sink_plans, what_made_it
from netphys.recording.reading import Recording, load_recording
from netphys.recording.running import evaluating, on_device, prepare, require_made, unchanged
from netphys.recording.schema import Entry, read_header, verify
from netphys.recording.sinks import Buffers, Memory, Sink, bytes_a_stimulus, sink_name
from netphys.recording.store import pack
from netphys.recording.tables import plain_columns, table_digest
from netphys.seeds import derive_seed, forked_torch
from netphys.stimuli import as_stimuli
from netphys.stimuli.reading_ahead import batches_of

if TYPE_CHECKING:
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["record", "recording_digest", "recording_plan"]

log = logging.getLogger(__name__)

_DTYPES = ("float32", "float16")


def record(
    network: Network | torch.nn.Module | str,
    stimuli: StimulusSet | str | Any,
    *,
    layers: str | Sequence[str],
    keep: str = "all",
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
    run = _Pass(network, stimuli, layers, keep, dtype, batch_size, device, seed)
    if into is None:
        return run.into_memory(sinks)
    path = Path(into)
    if path.suffix not in (".h5", ".hdf5"):
        raise OptionError(f"a recording is an HDF5 file: {path.with_suffix('.h5')}, not {path}")
    return run.into_file(path, sinks, force=force)


def recording_plan(
    network: Network | torch.nn.Module | str,
    stimuli: StimulusSet | str | Any,
    *,
    layers: str | Sequence[str],
    keep: str = "all",
    dtype: str = "float32",
    batch_size: int = 32,
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Say what :func:`record` would do: all that its numbers depend on, as plain data; nothing is recorded."""
    return _Pass(network, stimuli, layers, keep, dtype, batch_size, device, seed).plan


class _Pass:
    """One pass of stimuli through a network: the plan, and the loop over its batches."""

    def __init__(
        self,
        network: Network | torch.nn.Module | str,
        stimuli: StimulusSet | str | Any,
        patterns: str | Sequence[str],
        keep: str,
        dtype: str,
        batch_size: int,
        device: str,
        seed: int,
    ) -> None:
        if batch_size < 1:
            raise OptionError(f"batch_size={batch_size}: at least 1")
        network, stimuli = as_network(network, seed=seed), as_stimuli(stimuli)
        self.network, self.stimuli, self.keep, self.dtype = network, stimuli, check_keep(keep), _checked(dtype)
        self.batch_size, self.seed, self.device = batch_size, seed, resolve_device(device)
        require_made(network)
        inputs = {"network": network.digest, "stimuli": stimuli.digest}  # before a forward can change anything
        n_probe = N_PROBE + (batch_size == N_PROBE)  # a first dimension of that size is not taken for a batch
        with on_device(network.module, self.device):
            table = probe_layers(network, probe_images(stimuli, n_probe), self.device)
        names = set(match_layers(patterns, table, network=network.name, aliases=aliases_in(network.module)))
        self.layers = _recordable([layer for layer in table if layer.name in names], patterns, network.name)
        for layer in self.layers:
            kept_shape(layer, keep)
        self.columns = plain_columns(stimuli.metadata, stimuli.ids)
        inputs["metadata"] = table_digest(self.columns)  # no number hangs on it, but it is stored: no old table stays
        options = {"keep": keep, "dtype": dtype, "batch_size": batch_size, "seed": seed}
        self.degrees = degrees_seen(network, stimuli)
        self.plan = make_plan(network, inputs, self.layers, device=self.device, options=options)

    def into_memory(self, sinks: Sequence[Sink]) -> Recording:
        """Record into arrays."""
        self._require_independent()
        memory = Memory(self.layers, len(self.stimuli), keep=self.keep, dtype=self.dtype)
        self._open(sinks, {})
        with bar(len(self.stimuli), label=f"recording {self.network.name}") as progress:
            for rows in self._batches(0, [memory.write, *(sink.write for sink in sinks)]):
                progress.update(len(rows))
        for sink in sinks:
            sink.close()
        entries = tuple(
            Entry(each.name, each.kind, kept_dims(each, self.keep), kept_shape(each, self.keep), each.index)
            for each in self.layers
        )
        header = {"digest": recording_digest(self.plan), "provenance": self._what_made_it()}
        name, training = self.network.name, self.network.training
        return Recording(name, training, self.stimuli.ids, None, header, entries, memory.arrays, _table=self.columns)

    def into_file(self, path: Path, sinks: Sequence[Sink], *, force: bool) -> Recording:
        """Record into shards, then pack them; a finished recording of the same plan is taken as it is."""
        ensure_folder(path.parent)
        partial = path.with_name(path.name + ".partial")
        waiting = f"waiting for another process that is recording into {path}"
        with locked(path.with_name(f".{path.name}.lock"), waiting=waiting):
            sweep_file(path)
            if path.exists() and _is_same(path, recording_digest(self.plan), force, read=not sinks) and not sinks:
                sharding.remove_shards(partial)  # a kill between the rename and the removal leaves it
                return load_recording(path)
            if force and not self._goes_on(partial, sinks):
                sharding.remove_shards(partial)
            self._record_shards(path, partial, sinks)
        return load_recording(path)

    def _record_shards(self, path: Path, partial: Path, sinks: Sequence[Sink]) -> None:
        self._require_independent()
        shapes = {each.name: kept_shape(each, self.keep) for each in self.layers}
        shards = sharding.Shards(partial, self._begun(sinks), shapes, self.dtype)
        silent = [sink_name(each) for each in sinks if not hasattr(each, "plan")]
        if shards.n_rows and silent:
            raise RecordingError(
                f"{partial} cannot go on with the sink {silent[0]}, which has no plan() that says its options; "
                "remove it (or --force) to record anew"
            )
        try:
            self._fill(path, shards, sinks)
            pack(path, shards, self.layers, self.columns, self._header())
        except BaseException:
            if not shards.n_rows:  # nothing that could go on
                shards.remove()
            raise
        for sink in sinks:  # before their states are removed with the shards
            sink.close()
        shards.remove()

    def _fill(self, path: Path, shards: sharding.Shards, sinks: Sequence[Sink]) -> None:
        """Record what is still missing."""
        a_stimulus = bytes_a_stimulus(self.layers, self.keep, self.dtype)
        needed = a_stimulus * len(self.stimuli)
        # the shards that are to come, and the file beside them until they are removed
        require_free(path.parent, 2 * needed - a_stimulus * shards.n_rows, what=f"the recording {path.name}")
        n_batches = max(1, -(-sharding.SHARD_BYTES // (a_stimulus * self.batch_size)))
        shard_rows = min(n_batches * self.batch_size, len(self.stimuli))
        buffers = Buffers(self.layers, keep=self.keep, dtype=self.dtype, n_rows=shard_rows)
        self._open(sinks, shards.states())
        start = shards.n_rows

        def write(layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
            buffers.write(layer, int(rows[0]) - shards.n_rows, activation)

        with bar(len(self.stimuli), label=f"recording {self.network.name}") as progress:
            progress.update(start)
            for rows in self._batches(start, [write, *(sink.write for sink in sinks)]):
                done = int(rows[-1]) + 1
                if done - shards.n_rows >= shard_rows or done == len(self.stimuli):
                    shards.append(buffers.arrays, done - shards.n_rows, _states(sinks))
                progress.update(len(rows))

    def _batches(self, start: int, writers: Sequence[_Write]) -> Iterator[np.ndarray]:
        """Run the plan's batches from row `start` on; yields the rows of each when its layers have been written."""
        import torch

        rows = np.arange(0)
        by_call: dict[tuple[str, int], list[Layer]] = {}
        for layer in self.layers:
            by_call.setdefault((layer.path, layer.call), []).append(layer)
        answered: set[str] = set()

        def receive(path: str, call: int, output: Any) -> None:
            wanted = by_call.get((path, call))
            if not wanted:
                return
            tensors = dict(tensors_in(output))
            for layer in wanted:
                activation = units_first(checked_output(tensors.get(layer.suffix), layer, self.batch_size), layer)
                for write in writers:
                    write(layer.name, rows, activation[: len(rows)])
                answered.add(layer.name)

        module, last = self.network.module, (self.layers[-1].path, self.layers[-1].call)
        tap = Tap(module, {layer.path for layer in self.layers}, receive, last=last)
        autocast = torch.autocast(self.device.type, enabled=False)
        with (
            on_device(module, self.device), evaluating(module), torch.no_grad(), autocast,
            unchanged(module) as state, tap, closing(batches_of(self.stimuli, self.batch_size, start=start)) as read,
        ):  # fmt: skip
            for rows, images in read:
                prepared = _pad(prepare(self.network, images, self.device), self.batch_size)
                answered.clear()
                state.restore()
                with forked_torch(derive_seed(self.seed, "record", int(rows[0]))):
                    tap.run(prepared)
                silent = [layer.name for layer in self.layers if layer.name not in answered]
                if silent:
                    raise RecordingError(
                        f"layer {silent[0]!r} of {self.network.name} did not answer to stimuli {rows[0]} to "
                        f"{rows[-1]}: the network calls its modules differently from batch to batch"
                    )
                yield rows

    def _open(self, sinks: Sequence[Sink], states: Mapping[str, np.ndarray]) -> None:
        for index, sink in enumerate(sinks):
            sink.open(self.layers, self.stimuli.ids)
            prefix = f"{index}/"
            own = {key.removeprefix(prefix): value for key, value in states.items() if key.startswith(prefix)}
            if own:
                sink.load_state_dict(own)

    def _begun(self, sinks: Sequence[Sink]) -> dict[str, Any]:
        """Return the plan with the sinks that are fed: one that joined later would miss the first stimuli."""
        return {**self.plan, "sinks": sink_plans(sinks)}

    def _goes_on(self, partial: Path, sinks: Sequence[Sink]) -> bool:
        """Tell whether what was begun is this recording, and undamaged."""
        begun = self._begun(sinks)
        if not sharding.agrees(partial, begun) or None in begun["sinks"].values():
            return False
        try:
            sharding.Shards(partial, begun, {}, self.dtype).verify()
        except RecordingError:
            return False
        return True

    def _require_independent(self) -> None:
        seed = derive_seed(self.seed, "record", 0)
        with on_device(self.network.module, self.device):
            require_independent(self.network, self.stimuli, self.layers, self.device, seed)

    def _what_made_it(self) -> dict[str, Any]:
        return what_made_it(self.plan, self.network, self.stimuli, self.device, degrees=self.degrees)

    def _header(self) -> dict[str, Any]:
        return {
            "digest": recording_digest(self.plan),
            "network": self.network.name,
            "training": self.network.training,
            "keep": self.keep,
            "dtype": self.dtype,
            "provenance": self._what_made_it(),
        }


class _Write(Protocol):
    """How a sink is fed."""

    def __call__(self, layer: str, rows: np.ndarray, activation: Any, /) -> None: ...


def _recordable(wanted: Sequence[Layer], patterns: str | Sequence[str], network: str) -> list[Layer]:
    """Leave out what a pattern caught and cannot be recorded, and say so; a layer named exactly is an error."""
    named = {patterns} if isinstance(patterns, str) else set(patterns)
    odd = [layer for layer in wanted if layer.problem]
    for layer in odd:
        if layer.name in named or len(odd) == len(wanted):
            raise RecordingError(f"layer {layer.name!r} of {network} cannot be recorded: {layer.problem}")
    if odd:
        log.warning(
            "%d of %d layers of %s cannot be recorded and are left out, first %r: %s; 'netphys layers' says which",
            len(odd),
            len(wanted),
            network,
            odd[0].name,
            odd[0].problem,
        )
    return [layer for layer in wanted if not layer.problem]


def _checked(dtype: str) -> str:
    if dtype not in _DTYPES:
        raise OptionError(f"dtype={dtype!r} is not known{near(dtype, _DTYPES)}")
    return dtype


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


def _pad(images: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Fill a batch up with copies of its last image."""
    import torch

    n_missing = batch_size - len(images)
    return torch.cat([images, images[-1:].expand(n_missing, *images.shape[1:])]) if n_missing else images


def _states(sinks: Sequence[Sink]) -> dict[str, np.ndarray]:
    return {f"{index}/{key}": value for index, sink in enumerate(sinks) for key, value in sink.state_dict().items()}
