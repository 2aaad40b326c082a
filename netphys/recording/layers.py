"""The layers of a network, found by one probing forward in eval mode, in order of execution.

A layer is one output of one call of one module. The forward runs on two images, so that a layer which folds something
else into the batch dimension (windows, frames) is recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netphys.errors import RecordingError
from netphys.networks import Network, Preprocess, as_network
from netphys.recording.hooks import Tap, evaluating
from netphys.recording.outputs import layer_name, tensors_in
from netphys.seeds import forked_torch

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["Layer", "layers", "probe_layers"]

_N_PROBE = 2  # stimuli of the probing forward
_DEFAULT_SIDE = 64  # pixels, for a network that says nothing of its input
_POSITIONS = {"Conv1d", "BatchNorm1d", "MaxPool1d", "AvgPool1d", "ConvTranspose1d"}  # (n, unit, position), not tokens


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


def layers(network: Network | torch.nn.Module, stimuli: StimulusSet | None = None) -> pd.DataFrame:
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
        Columns ``name, kind, shape, dims, n_units, n_parameters``.

    Examples
    --------
    >>> import netphys
    >>> layers(netphys.load_network("netphys:gabor_energy"))[["name", "shape"]].values.tolist()
    [['simple', (160, 16, 16)], ['energy', (40, 16, 16)]]
    """
    import pandas as pd

    network = as_network(network)
    table = probe_layers(network, _example(network, stimuli))
    columns = ("name", "kind", "shape", "dims", "n_units", "n_parameters")
    return pd.DataFrame([{column: getattr(layer, column) for column in columns} for layer in table])


def probe_layers(network: Network, images: Any, device: Any = "cpu") -> list[Layer]:
    """Run the probing forward on two images and list what answered.

    Raises
    ------
    RecordingError
        If the network cannot look at such images.
    """
    import torch

    modules = dict(network.module.named_modules())
    found: list[Layer] = []
    layout = _Layout()

    def receive(path: str, call: int, output: Any) -> None:
        module = modules[path]
        for suffix, tensor in tensors_in(output):
            found.append(_describe(tensor, path, call, suffix, module, layout, index=len(found)))

    paths = [path for path in modules if path or len(modules) == 1]
    prepared = network.prepare(images, device)
    with evaluating(network.module), torch.no_grad(), forked_torch(0), Tap(network.module, paths, receive) as tap:
        try:
            tap.run(prepared)
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            shape, reason = tuple(prepared.shape[1:]), str(error).strip().splitlines() or [type(error).__name__]
            raise RecordingError(
                f"{network.name} cannot look at images of {shape} ({reason[0]}); ?resize=224 in its address may help"
            ) from error
    if not found:
        raise RecordingError(f"{network.name} has no module whose output could be recorded")
    return found


def _describe(
    tensor: torch.Tensor, path: str, call: int, suffix: str, module: torch.nn.Module, layout: _Layout, *, index: int
) -> Layer:
    """Describe one output: which of its axes is which."""
    kind, is_leaf = type(module).__name__, next(module.children(), None) is None
    if is_leaf:
        layout.update(module, tensor)
    problem = ""
    if tensor.ndim < 1 or tensor.shape[0] != _N_PROBE:
        problem = f"its first dimension is not the batch: {tuple(tensor.shape)} for {_N_PROBE} stimuli"
    elif tensor.ndim > 5:
        problem = f"it has {tensor.ndim} dimensions: {tuple(tensor.shape)}"
    elif not tensor.is_floating_point():
        problem = f"it holds {str(tensor.dtype).removeprefix('torch.')}, not activations"
    dims, moved = _dims(tensor.ndim, kind, layout.units_last)
    shape = tuple(tensor.shape[1:]) or (1,)  # one number a stimulus is one unit
    if moved:
        shape = (shape[-1], *shape[:-1])
    return Layer(
        name=layer_name(path, call, suffix),
        path=path,
        call=call,
        suffix=suffix,
        kind=kind,
        is_leaf=is_leaf,
        index=index,
        shape=shape,
        dims=dims,
        moved=moved,
        n_parameters=sum(each.numel() for each in module.parameters()),
        problem=problem,
    )


def _dims(ndim: int, kind: str, units_last: bool) -> tuple[tuple[str, ...], bool]:
    """Name the axes behind the batch, units first; tell whether units come last in the network."""
    if ndim <= 2:
        return ("unit",), False
    if ndim == 3:
        return ("unit", "token"), kind not in _POSITIONS
    return ("unit", "y", "x") if ndim == 4 else ("unit", "time", "y", "x"), units_last


class _Layout:
    """Whether units come last in maps at this moment of the forward (Swin, ConvNeXt): the last leaf that knows says."""

    def __init__(self) -> None:
        self.units_last = False

    def update(self, module: Any, tensor: Any) -> None:
        """Learn from a leaf: convolutions and pooling have units first, LayerNorm and Linear last, Permute says."""
        import torch.nn as nn

        kind = type(module).__name__
        if tensor.ndim < 4:
            return
        if isinstance(module, nn.Linear) or (isinstance(module, nn.LayerNorm) and "2d" not in kind):
            self.units_last = True
        elif isinstance(module, nn.modules.conv._ConvNd | nn.modules.batchnorm._BatchNorm) or "Pool" in kind:
            self.units_last = False
        elif kind == "Permute":
            self.units_last = tuple(getattr(module, "dims", ())) == (0, 2, 3, 1)


def _example(network: Network, stimuli: StimulusSet | None) -> Any:
    """Two images for the probing forward."""
    import torch

    if stimuli is not None:
        return probe_images(stimuli)
    side: Sequence[int] = (_DEFAULT_SIDE, _DEFAULT_SIDE)
    if isinstance(network.preprocess, Preprocess):
        side = network.preprocess.output_size((_DEFAULT_SIDE, _DEFAULT_SIDE))
    return torch.randint(0, 256, (_N_PROBE, 3, *side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def probe_images(stimuli: StimulusSet) -> Any:
    """Return the first image of a set, twice."""
    return stimuli.images([0] * _N_PROBE)
