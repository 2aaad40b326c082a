"""One pass of stimuli through a network: its plan, and the loop over its batches, every sink fed from it.

A pass runs in a fixed batch (32, the last one padded), because kernels choose by batch size and results would
otherwise depend, in the last bits, on how the stimuli were cut. It never runs past the deepest layer asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from netphys.devices import resolve_device
from netphys.errors import OptionError, RecordingError, near
from netphys.networks import Network, as_network
from netphys.networks.outputs import tensors_in
from netphys.networks.tap import Tap
from netphys.recording.checks import checked_output, degrees_seen, require_independent
from netphys.recording.keep import Keep, as_keep
from netphys.recording.layers import N_PROBE, Layer, probe_images, probe_layers
from netphys.recording.patterns import aliases_in, match_layers
from netphys.recording.plan import make_plan, recording_digest, what_made_it
from netphys.recording.running import evaluating, on_device, prepare, require_made, unchanged
from netphys.recording.sinks import Sink
from netphys.recording.tables import plain_columns, table_digest
from netphys.seeds import derive_seed, forked_torch
from netphys.stimuli import as_stimuli
from netphys.stimuli.reading_ahead import batches_of

if TYPE_CHECKING:
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["Pass", "Write"]

log = logging.getLogger(__name__)

_DTYPES = ("float32", "float16")


class Pass:
    """One pass of stimuli through a network: the plan, and the loop over its batches."""

    def __init__(
        self,
        network: Network | torch.nn.Module | str,
        stimuli: StimulusSet | str | Any,
        patterns: str | Sequence[str],
        keep: Keep | str,
        dtype: str,
        batch_size: int,
        device: str,
        seed: int,
    ) -> None:
        if batch_size < 1:
            raise OptionError(f"batch_size={batch_size}: at least 1")
        network, stimuli = as_network(network, seed=seed), as_stimuli(stimuli)
        self.network, self.stimuli, self.keep, self.dtype = network, stimuli, as_keep(keep), _checked(dtype)
        self.batch_size, self.seed, self.device = batch_size, seed, resolve_device(device)
        require_made(network)
        inputs = {"network": network.digest, "stimuli": stimuli.digest}  # before a forward can change anything
        n_probe = N_PROBE + (batch_size == N_PROBE)  # a first dimension of that size is not taken for a batch
        with on_device(network.module, self.device):
            table = probe_layers(network, probe_images(stimuli, n_probe), self.device)
        names = set(match_layers(patterns, table, network=network.name, aliases=aliases_in(network.module)))
        self.layers = _recordable([layer for layer in table if layer.name in names], patterns, network.name)
        for layer in self.layers:
            self.keep.shape(layer)
        self.columns = plain_columns(stimuli.metadata, stimuli.ids)
        inputs["metadata"] = table_digest(self.columns)  # no number hangs on it, but it is stored: no old table stays
        options = {"dtype": dtype, "batch_size": batch_size, "seed": seed}
        self.degrees = degrees_seen(network, stimuli)
        self.plan = make_plan(network, inputs, self.layers, self.keep, device=self.device, options=options)

    def batches(self, start: int, writers: Sequence[Write]) -> Iterator[np.ndarray]:
        """Run the plan's batches from row `start` on; yields the rows of each when its layers have been written."""
        import torch

        rows = np.arange(0)
        by_key: dict[str, list[Layer]] = {}
        for layer in self.layers:
            by_key.setdefault(layer.key, []).append(layer)
        answered: set[str] = set()

        def receive(_: str, key: str, output: Any) -> None:
            wanted = by_key.get(key)
            if not wanted:
                return
            tensors = dict(tensors_in(output))
            for layer in wanted:
                activation = checked_output(tensors.get(layer.suffix), layer, self.batch_size)
                for write in writers:
                    write(layer.name, rows, activation[: len(rows)])
                answered.add(layer.name)

        module = self.network.module
        tap = Tap(module, {layer.path for layer in self.layers}, receive, last=self.layers[-1].key)
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

    def open(self, sinks: Sequence[Sink], states: Mapping[str, np.ndarray]) -> None:
        """Get sinks ready, each with its own of the saved states."""
        for index, sink in enumerate(sinks):
            sink.open(self.layers, self.stimuli.ids)
            prefix = f"{index}/"
            own = {key.removeprefix(prefix): value for key, value in states.items() if key.startswith(prefix)}
            if own:
                sink.load_state_dict(own)

    def require_independent(self) -> None:
        """See that a stimulus' activations are its own, before anything is recorded."""
        seed = derive_seed(self.seed, "record", 0)
        with on_device(self.network.module, self.device):
            require_independent(self.network, self.stimuli, self.layers, self.device, seed)

    def what_made_it(self) -> dict[str, Any]:
        """Gather the provenance of what this pass makes."""
        return what_made_it(self.plan, self.network, self.stimuli, self.device, degrees=self.degrees)

    def header(self) -> dict[str, Any]:
        """Say what a recording's file says of itself."""
        return {
            "digest": recording_digest(self.plan),
            "network": self.network.name,
            "training": self.network.training,
            "keep": self.keep.address,
            "dtype": self.dtype,
            "provenance": self.what_made_it(),
        }


class Write(Protocol):
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


def _pad(images: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Fill a batch up with copies of its last image."""
    import torch

    n_missing = batch_size - len(images)
    return torch.cat([images, images[-1:].expand(n_missing, *images.shape[1:])]) if n_missing else images
