"""Which convolution sees the image, and by what weights? Found by looking, not by names.

One forward of a random image is stopped at the first convolution. What reaches it must be, pixel by pixel, a linear
map of the image's colours (identity, a shift of the mean, another normalisation, a mixture); it is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import LayerNotFound, OptionError, near
from netphys.networks import Network, Preprocess
from netphys.networks.running import evaluating, unchanged
from netphys.recording.running import compute_dtype
from netphys.seeds import derive_seed

if TYPE_CHECKING:
    import torch

__all__ = ["applied_weights", "find_convolution"]

_SIZE = (224, 224)  # pixels shown to networks that do not resize; those of a fixed size mostly have this one
_LINEAR = 1e-3  # of the sd of what reaches the layer: bfloat16 rounds to 4e-3 of a value, float32 to 1e-7
_IDENTITY = 1e-5  # float32 rounding; a map nearer to the identity than this is the identity


class _Seen(BaseException):
    """The layer has its input; not an Exception, for models contain ``except Exception``."""


def find_convolution(
    network: Network, preprocess: Preprocess, layer: str | None
) -> tuple[str, torch.nn.Conv2d, np.ndarray]:
    """Find the convolution that sees the image.

    Returns
    -------
    path : str
        Its path in the module.
    convolution : torch.nn.Conv2d
    mixing : array (input channel, colour)
        Its input, of the colours of the prepared image, but for a constant.
    """
    import torch

    found = {name: each for name, each in network.module.named_modules() if isinstance(each, torch.nn.Conv2d)}
    if not found:
        raise OptionError(f"{network.name} has no Conv2d, so it has no first-layer filters to look at")
    if layer is not None:
        found = {layer: _named(network, layer, found)}
    image = _probe(network, preprocess)
    path, given = _input_of(network, found, image)
    where = f"layer {path!r} of {network.name}"
    if given.ndim != 4 or given.shape[0] != 1 or given.shape[2:] != image.shape[2:]:
        raise OptionError(f"{where} does not see the image: it is given {tuple(given.shape)}; name another by layer=")
    if given.shape[1] != found[path].in_channels:
        raise OptionError(
            f"{where} is given {given.shape[1]} channels of an image and has weights for {found[path].in_channels}"
        )
    return path, found[path], _mixing(image, given, where)


def applied_weights(path: str, convolution: torch.nn.Conv2d) -> np.ndarray:
    """Return weights (unit, input channel, y, x), float64, after a look whether the layer applies them as they are."""
    import torch

    if convolution.groups != 1 or tuple(convolution.dilation) != (1, 1):
        raise OptionError(
            f"layer {path!r} has groups={convolution.groups}, dilation={convolution.dilation}; filters are shown of "
            "layers whose units see all channels and neighbouring pixels"
        )
    with torch.no_grad():
        weights = convolution.weight.detach()
        generator = torch.Generator().manual_seed(derive_seed(0, "units", "first_layer", "level"))
        level = torch.rand(convolution.in_channels, generator=generator).to(weights)
        side = 4 * max(*weights.shape[2:], *convolution.stride)
        answer = convolution(level.view(1, -1, 1, 1).expand(1, -1, side, side))
        # in the middle of a uniform field a layer answers with its summed weights, however it pads
        middle = answer[0, :, answer.shape[2] // 2, answer.shape[3] // 2].double()
        expected = (weights.double().sum((2, 3)) * level.double()).sum(1)
        if convolution.bias is not None:
            expected = expected + convolution.bias.double()
        size = weights.double().abs().sum((1, 2, 3)).max() + expected.abs().max()
        if not bool(torch.isfinite(weights).all()):
            raise OptionError(f"layer {path!r} has weights that are not finite")
        if bool(((middle - expected).abs() > 1e-2 * size).any()):
            raise OptionError(f"layer {path!r} does not apply its weights as they are (standardised in its forward?)")
    return weights.double().cpu().numpy()


def _named(network: Network, layer: str, convolutions: dict[str, Any]) -> Any:
    """Return the convolution of that path."""
    modules = dict(network.module.named_modules())
    if layer not in modules:
        raise LayerNotFound(f"no layer {layer!r} in {network.name}{near(layer, convolutions)}")
    if layer not in convolutions:
        kind = type(modules[layer]).__name__
        raise OptionError(f"layer {layer!r} of {network.name} is a {kind}, not a Conv2d{near(layer, convolutions)}")
    return convolutions[layer]


def _probe(network: Network, preprocess: Preprocess) -> torch.Tensor:
    """Make a prepared image of random pixels."""
    import torch

    device = next((each.device for each in network.module.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(derive_seed(0, "units", "first_layer", "image"))
    pixels = torch.rand(1, 3, *preprocess.output_size(_SIZE), generator=generator)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (preprocess.mean, preprocess.std))
    return ((pixels - mean) / std).to(device, compute_dtype(network.module))


def _input_of(network: Network, convolutions: dict[str, Any], image: torch.Tensor) -> tuple[str, torch.Tensor]:
    """Run the network until one of the convolutions is reached; return its path and what it was given."""
    import torch

    reached: list[tuple[str, torch.Tensor]] = []

    def stop_at(path: str) -> Any:
        def hook(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            reached.append((path, inputs[0].detach().clone()))
            raise _Seen

        return hook

    handles = [each.register_forward_pre_hook(stop_at(path)) for path, each in convolutions.items()]
    try:
        with evaluating(network.module), unchanged(network.module), torch.no_grad():
            network.module(image)
    except _Seen:
        return reached[0]
    except Exception as error:
        size = " x ".join(map(str, image.shape[2:]))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OptionError(f"{network.name} cannot look at an image of {size} pixels: {reason:.120}") from error
    finally:
        for handle in handles:
            handle.remove()
    raise OptionError(
        f"{network.name} does not run {', '.join(map(repr, list(convolutions)[:3]))} when it sees an image"
    )


def _mixing(image: torch.Tensor, given: torch.Tensor, where: str) -> np.ndarray:
    """Measure the linear map of colours between the image and what the layer was given."""
    colours = image[0].double().cpu().numpy().reshape(3, -1)
    values = given[0].double().cpu().numpy().reshape(given.shape[1], -1)
    design = np.concatenate([colours, np.ones((1, colours.shape[1]))])
    solution, *_ = np.linalg.lstsq(design.T, values.T, rcond=None)
    missed = np.abs(values - solution.T @ design).max()
    mixing = solution[:3].T
    if missed > _LINEAR * max(values.std(), 1e-12) or not np.abs(mixing).max() > 0:
        raise OptionError(
            f"{where} does not see the image: what it is given is no linear map of a pixel's colours; "
            "name another by layer="
        )
    same = mixing.shape == (3, 3) and np.abs(mixing - np.eye(3)).max() < _IDENTITY
    return np.eye(3) if same else mixing
