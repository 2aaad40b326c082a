"""One pass of stimuli through a network: its plan, and the loop over its batches, every sink fed from it.

A pass runs in a fixed batch (32, the last one padded), because kernels choose by batch size and results would
otherwise depend, in the last bits, on how the stimuli were cut. It never runs past the deepest layer asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from netphys.devices import resolve_device
from netphys.errors import OptionError, RecordingError, near
from netphys.networks import Network, as_network
from netphys.networks.outputs import tensors_in
from netphys.networks.running import evaluating, unchanged
from netphys.networks.tap import Tap
from netphys.recording.checks import checked_output, degrees_seen, differ, require_independent, two_batches
from netphys.recording.file.tables import plain_columns, table_digest
from netphys.recording.gradients import SUFFIX, Scalar, as_scalar, frozen, gradient_layer, gradients_begin, watched
from netphys.recording.keep import Keep, as_keep
from netphys.recording.layers import N_PROBE, Layer, probe_layers
from netphys.recording.patterns import aliases_in, match_layers
from netphys.recording.plan import make_plan, recording_digest, what_made_it
from netphys.recording.running import on_device, require_made
from netphys.recording.showing import batches_shown, padded, prepared, shown
from netphys.recording.sinks import Sink
from netphys.seeds import derive_seed, forked_torch
from netphys.stimuli import as_stimuli

if TYPE_CHECKING:
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["Pass", "Write", "checked_dtype"]

log = logging.getLogger(__name__)

_DTYPES = ("float32", "float16", "bfloat16")


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
        gradient_of: str | Callable[[Any], Any] | None = None,
    ) -> None:
        if batch_size < 1:
            raise OptionError(f"batch_size={batch_size}: at least 1")
        network, stimuli = as_network(network, seed=seed), as_stimuli(stimuli)
        self.network, self.stimuli, self.keep, self.dtype = network, stimuli, as_keep(keep), checked_dtype(dtype)
        self.batch_size, self.seed, self.device = batch_size, seed, resolve_device(device)
        require_made(network)
        inputs = {"network": network.digest, "stimuli": stimuli.digest}  # before a forward can change anything
        n_probe = N_PROBE + (batch_size == N_PROBE)  # a first dimension of that size is not taken for a batch
        with on_device(network.module, self.device):
            values = shown(network, stimuli, [0] * n_probe)
            table = probe_layers(network, values, self.device)
        names = set(match_layers(patterns, table, network=network.name, aliases=aliases_in(network.module)))
        self.activations = _recordable([layer for layer in table if layer.name in names], patterns, network.name)
        self.scalar = None if gradient_of is None else as_scalar(gradient_of, table, network=network.name)
        self.layers = list(self.activations)
        if self.scalar is not None:
            _require_before(self.activations, self.scalar, network.name)
            self.layers = [each for layer in self.activations for each in (layer, gradient_layer(layer))]
        for layer in self.layers:
            self.keep.shape(layer)
        self.columns = plain_columns(stimuli.metadata, stimuli.ids)
        inputs["metadata"] = table_digest(self.columns)  # no number hangs on it, but it is stored: no old table stays
        options: dict[str, Any] = {"dtype": dtype, "batch_size": batch_size, "seed": seed}
        if self.scalar is not None:
            options["gradient_of"] = self.scalar.text
        self.degrees = degrees_seen(network, stimuli)
        self.plan = make_plan(network, inputs, self.layers, self.keep, device=self.device, options=options)

    def batches(
        self, start: int, writers: Sequence[Write], *, stop: int | None = None
    ) -> Generator[np.ndarray, None, None]:
        """Run the plan's batches that begin at rows `start` to `stop`; yields the rows of each when it is written."""
        firsts = range(start, len(self.stimuli) if stop is None else stop, self.batch_size)
        with (
            self._listening(_Listener(self, writers, self.batch_size)) as run,
            closing(batches_shown(self.network, self.stimuli, self.batch_size, firsts)) as read,
        ):
            for rows, values in read:
                run(padded(prepared(self.network, values, self.device), self.batch_size), rows)
                yield rows

    @contextmanager
    def _listening(self, listener: _Listener) -> Iterator[Callable[[Sequence[torch.Tensor], np.ndarray], None]]:
        """Get the network ready; yields what runs a batch, always from the same state."""
        import torch

        module = self.network.module
        tap = Tap(module, listener.paths, listener.receive, functions=listener.functions, last=listener.last)
        autocast = torch.autocast(self.device.type, enabled=False)
        with (
            on_device(module, self.device), evaluating(module), autocast, unchanged(module) as state, tap,
            frozen(module) if self.scalar else torch.no_grad(), torch.set_grad_enabled(self.scalar is not None),
        ):  # fmt: skip

            def run(inputs: Sequence[torch.Tensor], rows: np.ndarray) -> None:
                state.restore()
                with forked_torch(derive_seed(self.seed, "record", int(rows[0]))):
                    listener.run(tap, inputs, rows)

            yield run

    def open(self, sinks: Sequence[Sink], states: Mapping[str, np.ndarray]) -> None:
        """Get sinks ready, each with its own of the saved states."""
        for index, sink in enumerate(sinks):
            sink.open(self.layers, self.stimuli.ids)
            prefix = f"{index}/"
            own = {key.removeprefix(prefix): value for key, value in states.items() if key.startswith(prefix)}
            if own:
                sink.load_state_dict(own)

    def require_independent(self) -> None:
        """See that a stimulus' activations, and gradients, are its own, before anything is recorded."""
        seed = derive_seed(self.seed, "record", 0)
        with on_device(self.network.module, self.device):
            require_independent(self.network, self.stimuli, self.activations, self.device, seed)
        if self.scalar is not None:
            self._require_own_gradients(self.scalar)

    def _require_own_gradients(self, scalar: Scalar) -> None:
        """What lies behind a layer may mix a batch that the layer does not mix."""
        inputs = two_batches(self.network, self.stimuli, self.device)
        found: list[dict[str, Any]] = []
        for batch in inputs:
            rows: dict[str, Any] = {}

            def keep(layer: str, _: np.ndarray, activation: Any, rows: dict[str, Any] = rows) -> None:
                rows[layer] = activation[0].clone()

            with self._listening(_Listener(self, [keep], 2)) as run:
                run(batch, np.arange(2))
            found.append(rows)
        for layer in self.layers:
            if differ(found[0][layer.name], found[1][layer.name], inputs[0]):
                raise RecordingError(
                    f"{layer.name!r} of {self.network.name} cannot be recorded: the gradient of {scalar.text} for a "
                    "stimulus depends on the other stimuli in the batch; something behind the layer mixes them"
                )

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


class _Listener:
    """Hands on what the layers of a pass return in one batch after the other, and the gradients that reach them."""

    def __init__(self, run: Pass, writers: Sequence[Write], batch_size: int) -> None:
        self._run, self._writers, self._scalar, self._n = run, writers, run.scalar, batch_size
        self._leaves: list[tuple[Layer, torch.Tensor]] = []
        self._frail: list[tuple[Layer, torch.Tensor, int]] = []  # views that nobody may write to
        self._by_key: dict[str, list[Layer]] = {}
        for layer in run.activations:
            self._by_key.setdefault(layer.key, []).append(layer)
        self.paths = {layer.path for layer in run.activations}
        self.last: str | None = run.activations[-1].key
        keys = set(self._by_key)
        if self._scalar is not None:
            self.last = self._scalar.layer.key if self._scalar.layer else None
            keys |= {self._scalar.layer.key} if self._scalar.layer else set()
            self.paths |= {self._scalar.layer.path} if self._scalar.layer else set()
        self.functions = keys.__contains__ if any(":" in key for key in keys) else None
        self._rows, self._answered = np.arange(0), set[str]()
        self._numbers: torch.Tensor | None = None
        self._tensor = _tensor_class()

    def run(self, tap: Tap, inputs: Sequence[torch.Tensor], rows: np.ndarray) -> None:
        """Run one batch, and take the gradients of its scalar."""
        self._rows = rows
        self._answered.clear()
        if self._scalar is None:
            tap.run(*inputs)
        else:
            self._with_gradients(tap, gradients_begin(inputs))
        silent = [layer.name for layer in self._run.layers if layer.name not in self._answered]
        if silent:
            raise RecordingError(self._why_silent(silent[0]))

    def receive(self, _: str, key: str, output: Any) -> None:
        """Take what a layer returned; called inside its hook."""
        wanted = self._by_key.get(key, ())
        source = self._scalar.layer if self._scalar is not None else None
        if not wanted and (source is None or source.key != key):
            return
        tensors: dict[str, Any] = {"": output} if isinstance(output, self._tensor) else dict(tensors_in(output))
        n = self._n
        for layer in wanted:
            tensor = tensors.get(layer.suffix)
            activation = checked_output(tensor, layer, n)
            self._write(layer, activation if self._scalar is None else activation.detach())
            if self._scalar is not None and tensor is not None and tensor.requires_grad:
                self._watch(layer, tensor)
        if source is not None and source.key == key and self._scalar is not None:
            self._numbers = self._scalar.of(checked_output(tensors.get(source.suffix), source, n), n)

    def _with_gradients(self, tap: Tap, inputs: Sequence[torch.Tensor]) -> None:
        """Run a batch forward to the scalar, and back."""
        import torch

        self._numbers, outputs = None, list[Any]()
        self._leaves.clear()
        self._frail.clear()
        scalar, module, network = self._scalar, self._run.network.module, self._run.network.name
        assert scalar is not None
        handle = module.register_forward_hook(lambda _, __, output: outputs.append(output))
        roots = [each for each in inputs if each.requires_grad]
        try:
            tap.run(*inputs)
            numbers = self._numbers if scalar.layer else scalar.of(outputs[-1], self._n)
            if numbers is None:
                raise RecordingError(f"{scalar.text} of {network} did not answer")
            self._require_untouched()
            wanted = [*roots, *(leaf for _, leaf in self._leaves)]
            found = torch.autograd.grad(numbers.sum(), wanted, allow_unused=True)  # hooks take what passes them
        except RuntimeError as error:  # of torch: something that it does not differentiate
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RecordingError(
                f"no gradient of {scalar.text} can be taken through {network} ({reason:.160})"
            ) from error
        finally:
            handle.remove()
        for (layer, _), gradient in zip(self._leaves, found[len(roots) :]):
            if gradient is not None:
                self._reached(layer, gradient)

    def _require_untouched(self) -> None:
        """Refuse views that could not be watched, and whose memory was written to."""
        for layer, tensor, version in self._frail:
            if tensor._version != version:
                raise RecordingError(
                    f"no gradient with respect to {layer.name!r} of {self._run.network.name}: it returns a view whose "
                    "memory is written to afterwards; record the layer before it"
                )

    def _watch(self, layer: Layer, tensor: torch.Tensor) -> None:
        """Have the gradient of what a layer returned handed on."""
        leaf = watched(tensor)
        if leaf is not None:
            self._leaves.append((layer, leaf))
            return
        tensor.register_hook(partial(self._reached, layer))  # stays with the value before a later in-place
        if tensor._is_view():
            self._frail.append((layer, tensor, tensor._version))

    def _reached(self, layer: Layer, gradient: torch.Tensor) -> None:
        self._write(gradient_layer(layer), checked_output(gradient.detach(), layer, self._n))

    def _write(self, layer: Layer, activation: torch.Tensor) -> None:
        if len(self._rows) < self._n:
            activation = activation[: len(self._rows)]
        for write in self._writers:
            write(layer.name, self._rows, activation)
        self._answered.add(layer.name)

    def _why_silent(self, name: str) -> str:
        network, rows = self._run.network.name, self._rows
        if name.endswith(SUFFIX) and self._scalar is not None and name.removesuffix(SUFFIX) in self._answered:
            return (
                f"no gradient of {self._scalar.text} reaches layer {name.removesuffix(SUFFIX)!r} of {network}: "
                "it is not on a way from the image to it"
            )
        return (
            f"layer {name!r} of {network} did not answer to stimuli {rows[0]} to {rows[-1]}: the network calls its "
            "modules differently from batch to batch"
        )


def _require_before(layers: Sequence[Layer], scalar: Scalar, network: str) -> None:
    """Refuse layers that come after the one that the scalar is read from."""
    for layer in layers:
        if scalar.layer is not None and layer.index > scalar.layer.index:
            raise RecordingError(
                f"no gradient of {scalar.text} reaches layer {layer.name!r} of {network}: it comes after "
                f"{scalar.layer.name!r}"
            )


def _tensor_class() -> type:
    import torch

    return torch.Tensor


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


def checked_dtype(dtype: str) -> str:
    """Return the name of a dtype that can be stored, or refuse it."""
    if dtype not in _DTYPES:
        raise OptionError(f"dtype={dtype!r} is not known{near(dtype, _DTYPES)}")
    return dtype
