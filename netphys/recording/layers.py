"""The layers of a network, found by one probing forward in eval mode, in order of execution.

A layer is one output of one call of one module. The forward runs on three images, so that a layer which folds something
else into the batch dimension (windows, frames) is recognised.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netphys.errors import RecordingError
from netphys.networks import Network, Preprocess, as_network
from netphys.recording.hooks import Tap
from netphys.recording.layout import Layout
from netphys.recording.outputs import layer_name, tensors_in
from netphys.recording.running import evaluating, prepare, unchanged
from netphys.seeds import forked_torch

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["N_PROBE", "Layer", "layers", "probe_images", "probe_layers"]

log = logging.getLogger(__name__)

N_PROBE = 3  # stimuli of the probing forward; a recording in batches of three is probed with four
_DEFAULT_SIDE = 64  # pixels, for a network that says nothing of its input
_DIMS = {3: ("unit", "token"), 4: ("unit", "y", "x"), 5: ("unit", "time", "y", "x")}  # behind the stimulus


@dataclass(frozen=True)
class Layer:
    """One output of one call of one module.

    `shape` is without the batch, in the order of `dims`, which are those of a recording:
    ``("unit",)``, ``("unit", "y", "x")``, ``("unit", "token")`` or ``("unit", "time", "y", "x")``.
    `moved` tells that units come last in the network (tokens, channels-last maps) and are moved first.
    """

    name: str
    path: str
    call: int
    suffix: str
    kind: str
    is_leaf: bool
    index: int
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    moved: bool
    n_parameters: int
    problem: str = ""

    @property
    def n_units(self) -> int:
        """How many units the layer has (channels; features of a dense layer)."""
        return self.shape[0]


def layers(network: Network | torch.nn.Module | str, stimuli: StimulusSet | None = None) -> pd.DataFrame:
    """List the layers of a network: name, kind, shape (of one stimulus), parameters; in order of execution.

    Parameters
    ----------
    network : Network or torch.nn.Module
        Any network.
    stimuli : StimulusSet, optional
        Whose first images the probing forward sees. Default: noise of the size that the network's preprocessing
        makes, else of 64 pixels.

    Returns
    -------
    pandas.DataFrame
        Columns ``name, kind, shape, dims, n_units, n_parameters``, and ``problem``: why a layer cannot be recorded,
        else empty.

    Examples
    --------
    >>> import netphys
    >>> layers(netphys.load_network("netphys:gabor_energy"))[["name", "shape"]].values.tolist()
    [['simple', (160, 16, 16)], ['energy', (40, 16, 16)]]
    """
    import pandas as pd

    network = as_network(network)
    table = probe_layers(network, _example(network, stimuli))
    columns = ("name", "kind", "shape", "dims", "n_units", "n_parameters", "problem")
    return pd.DataFrame([{column: getattr(layer, column) for column in columns} for layer in table])


def probe_layers(network: Network, images: Any, device: Any = "cpu") -> list[Layer]:
    """Run the probing forward on some images and list what answered.

    Raises
    ------
    RecordingError
        If the network cannot look at such images.
    """
    import torch

    modules = dict(network.module.named_modules())
    found: list[Layer] = []

    def receive(path: str, call: int, output: Any) -> None:
        for suffix, tensor in tensors_in(output):
            name, index = layer_name(path, call, suffix), len(found)
            found.append(_describe(tensor, (name, path, call, suffix), modules[path], layout, index, len(prepared)))

    paths = [path for path in modules if path or len(modules) == 1]
    prepared = prepare(network, images, device)
    layout, tap = Layout(network.module, prepared), Tap(network.module, paths, receive)
    with evaluating(network.module), torch.no_grad(), forked_torch(0), unchanged(network.module) as state, layout, tap:
        try:
            tap.run(prepared)
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            shape, reason = tuple(prepared.shape[1:]), str(error).strip().splitlines() or [type(error).__name__]
            raise RecordingError(
                f"{network.name} cannot look at images of {shape} ({reason[0]}); ?resize=224 in its address may help"
            ) from error
        changed = state.restore()
    if changed:
        log.warning(
            "%s changes its buffer %r in a forward; every batch of a recording begins with it as it was found",
            network.name,
            changed[0],
        )
    if not found:
        raise RecordingError(f"{network.name} has no module whose output could be recorded")
    return found


def _describe(
    tensor: torch.Tensor,
    names: tuple[str, str, int, str],
    module: torch.nn.Module,
    layout: Layout,
    index: int,
    n_stimuli: int,
) -> Layer:
    """Describe one output: which of its axes is which."""
    name, path, call, suffix = names
    axis = layout.axis(tensor)
    problem = ""
    if tensor.ndim < 1 or tensor.shape[0] != n_stimuli:
        problem = f"its first dimension is not the batch: {tuple(tensor.shape)} for {n_stimuli} stimuli"
    elif tensor.ndim > 5:
        problem = f"it has {tensor.ndim} dimensions: {tuple(tensor.shape)}"
    elif not tensor.is_floating_point():
        problem = f"it holds {str(tensor.dtype).removeprefix('torch.')}, not activations"
    elif tensor.ndim > 2 and axis not in (1, tensor.ndim - 1):
        problem = (
            f"which axis of {tuple(tensor.shape)} holds its units cannot be told; record a module inside or behind it"
        )
    moved = tensor.ndim > 2 and axis == tensor.ndim - 1
    shape = tuple(tensor.shape[1:]) or (1,)  # one number a stimulus is one unit
    return Layer(
        name=name,
        path=path,
        call=call,
        suffix=suffix,
        kind=type(module).__name__,
        is_leaf=next(module.children(), None) is None,
        index=index,
        shape=(shape[-1], *shape[:-1]) if moved else shape,
        dims=_DIMS.get(tensor.ndim, ("unit",)),
        moved=moved,
        n_parameters=sum(each.numel() for each in module.parameters()),
        problem=problem,
    )


def _example(network: Network, stimuli: StimulusSet | None) -> Any:
    """Images for the probing forward."""
    import torch

    if stimuli is not None:
        return probe_images(stimuli)
    side: Sequence[int] = (_DEFAULT_SIDE, _DEFAULT_SIDE)
    if isinstance(network.preprocess, Preprocess):
        side = network.preprocess.output_size((_DEFAULT_SIDE, _DEFAULT_SIDE))
    return torch.randint(0, 256, (N_PROBE, 3, *side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def probe_images(stimuli: StimulusSet, n: int = N_PROBE) -> Any:
    """Return the first image of a set, several times."""
    return stimuli.images([0] * n)
