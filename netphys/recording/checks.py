"""What cannot be recorded is refused: stimuli that leak into each other's activations, outputs of another shape."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import RecordingError
from netphys.networks import Network, Preprocess
from netphys.networks.outputs import tensors_in
from netphys.networks.running import evaluating, unchanged
from netphys.networks.tap import Tap
from netphys.recording.keep import units_first
from netphys.recording.layers import Layer
from netphys.recording.showing import prepared, shown
from netphys.seeds import forked_torch

if TYPE_CHECKING:
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["checked_output", "degrees_seen", "differ", "require_independent", "two_batches"]

log = logging.getLogger(__name__)

_ROUNDING = 1e-4  # of a layer's largest activation; both forwards have the same shape, so most agree to the last bit


def require_independent(
    network: Network, stimuli: StimulusSet, layers: Sequence[Layer], device: torch.device, seed: int
) -> None:
    """See that a stimulus' activations are its own: the same beside itself as beside another stimulus.

    Two forwards of two images, no further than the deepest layer. The other stimulus is the second of the set; where
    there is none, or it is the same, the first one turned by 180 degrees and at half its contrast.

    Raises
    ------
    RecordingError
        Naming the first layer that looks across the batch (batch norm without running statistics, a sequence-first
        layer), or keeps something from one forward to the next that is no buffer.
    """
    alone, beside = two_batches(network, stimuli, device)
    first, second = (_first_rows(network, layers, inputs, seed) for inputs in (alone, beside))
    for layer in layers:
        one, other = first.get(layer.name), second.get(layer.name)
        if one is None or other is None:
            continue  # called differently from batch to batch: the recording says so
        if differ(one, other, alone):
            raise RecordingError(
                f"layer {layer.name!r} of {network.name} cannot be recorded: its activations to a stimulus depend on "
                "the other stimuli in the batch, or change from call to call"
            )


def two_batches(
    network: Network, stimuli: StimulusSet, device: torch.device
) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Return the first stimulus beside itself, and beside another one, as the network is shown them."""
    import torch

    alone = prepared(network, shown(network, stimuli, [0, 0]), device)
    beside = prepared(network, shown(network, stimuli, [0, min(1, len(stimuli) - 1)]), device)
    if all(torch.equal(each[0], each[1]) for each in beside):
        beside = tuple(torch.stack([each[0], _another(each[0])]) for each in beside)
    return alone, beside


def differ(one: torch.Tensor, other: torch.Tensor, inputs: Sequence[torch.Tensor]) -> bool:
    """Tell whether what a layer did differs by more than rounding, in the dtypes of the inputs."""
    import torch

    one, other = one.double(), other.double()
    largest = float(one[one.isfinite()].abs().max()) if one.isfinite().any() else 0.0
    eps = max(_ROUNDING, *(8 * torch.finfo(each.dtype).eps for each in inputs if each.is_floating_point()), 0.0)
    return one.shape != other.shape or not torch.allclose(one, other, rtol=0, atol=eps * largest, equal_nan=True)


def degrees_seen(network: Network, stimuli: StimulusSet) -> float | None:
    """Degrees of visual angle of the first stimulus that are left when the network has cropped it; None: not said.

    Stimuli say their width by the column ``degrees``. Where a network crops, it sees less than that, magnified, and so
    other spatial frequencies than the metadata say: a warning tells.
    """
    table = stimuli.metadata
    if network.fields != ("image",):
        return None
    if "degrees" not in table or table["degrees"].dtype.kind not in "iuf" or not np.isfinite(table["degrees"].iloc[0]):
        return None
    width = float(table["degrees"].iloc[0])
    if network.preprocess is not None and not isinstance(network.preprocess, Preprocess):
        return None  # a user's own: what it does to a picture is not known
    preprocess = network.preprocess or Preprocess()
    height, width_pixels = stimuli.images([0])[0].shape[-2:]
    share = preprocess.share_seen((height, width_pixels))[1]
    if share < 1:
        log.warning(
            "%s crops what it is shown: it sees %.3g of the %.3g degrees of %s; ?resize=%d shows all of them",
            network.name,
            share * width,
            width,
            stimuli.name,
            preprocess.output_size((height, width_pixels))[1],
        )
    return share * width


def checked_output(tensor: Any, layer: Layer, batch_size: int) -> Any:
    """Return an activation as (stimulus, unit, ...); refuse one that is not what the probing forward saw."""
    expected = (batch_size, *layer.shape)
    n_windows = layer.arrangement.n_windows
    if tensor is None or not tensor.ndim or tensor.shape[0] != batch_size * n_windows:
        shape = "no tensor" if tensor is None else str(tuple(tensor.shape))
        raise RecordingError(f"layer {layer.name!r} returned {shape}, expected {expected}")
    found = units_first(tensor, layer)
    if found.shape != expected:
        raise RecordingError(f"layer {layer.name!r} returned {tuple(found.shape)}, expected {expected}")
    return found


def _another(value: torch.Tensor) -> torch.Tensor:
    """Make another stimulus of one: turned by 180 degrees, at half its contrast."""
    turned = value.flip(list(range(value.ndim))[-2:])
    return turned / 2 if value.is_floating_point() else turned


def _first_rows(
    network: Network, layers: Sequence[Layer], inputs: Sequence[torch.Tensor], seed: int
) -> dict[str, torch.Tensor]:
    """Run a forward, and keep what each layer did to the first image."""
    import torch

    names = {layer.name: layer.arrangement.n_windows for layer in layers}
    rows: dict[str, torch.Tensor] = {}

    def receive(_: str, key: str, output: Any) -> None:
        for suffix, tensor in tensors_in(output):
            if key + suffix in names and tensor.ndim:
                rows[key + suffix] = tensor[: names[key + suffix]].clone()

    module = network.module
    keys = {layer.key for layer in layers}
    functions = keys.__contains__ if any(":" in key for key in keys) else None
    tap = Tap(module, {layer.path for layer in layers}, receive, functions=functions, last=layers[-1].key)
    autocast = torch.autocast(inputs[0].device.type, enabled=False)
    with evaluating(module), unchanged(module), torch.no_grad(), autocast, tap, forked_torch(seed):
        tap.run(*inputs)
    return rows
