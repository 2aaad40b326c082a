"""Which axis of an activation holds the units, followed through a forward instead of guessed from a module's class.

Each tensor that passes through a forward has a companion (:mod:`netphys.recording.companions`): the number of the unit,
the place of the picture, and the stimulus that each of its elements belongs to. Convolutions and norms of channels make
units along axis 1, dense layers, norms over features, embeddings and attention along the last. What only moves elements
(permute, reshape, split, shuffle; functional or not) moves the companion in the same way, so that windows, heads,
channels-last blocks and channel shuffles come out right. What keeps the shape keeps the companion. Where nothing is
known (a transform, two parents that disagree) nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netphys.networks.attention import ATTENTION
from netphys.networks.outputs import tensors_in
from netphys.recording.arranging import Arrangement, Described, described
from netphys.recording.attending import attention_described
from netphys.recording.companions import Companion, numbered, slim, unit_axes
from netphys.recording.following import Call, followed
from netphys.recording.places import of_parameter, of_picture

if TYPE_CHECKING:
    import torch

__all__ = ["Arrangement", "Layout"]

_REPEAT = {
    "broadcast_to", "cat", "concat", "concatenate", "expand", "expand_as", "repeat", "repeat_interleave", "stack",
    "tile",
}  # fmt: skip


class Layout:
    """Follows units, places and stimuli through a forward; a context manager.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    images : tensor (stimulus, channel, y, x)
        What it is shown. Of input of another number of axes only the stimuli are known.
    """

    def __init__(self, module: torch.nn.Module, images: torch.Tensor) -> None:
        from torch.utils.weak import WeakTensorKeyDictionary

        self._module = module
        self._companions: Any = WeakTensorKeyDictionary()
        self._parameters: Any = WeakTensorKeyDictionary()
        self._constant: Any = WeakTensorKeyDictionary()  # what does not hang on the images, and its version
        self._repeated: Any = WeakTensorKeyDictionary()  # what of that has a copy for each stimulus
        self._n_stimuli = len(images)
        for name, parameter in module.named_parameters():
            self._parameters[parameter] = name
        for each in [*module.parameters(), *module.buffers()]:
            self._constant[each] = _version(each)
        self.show(images)
        self._mode = _mode(self._follow)
        self._handles: list[Any] = []
        self._busy = False

    def show(self, images: torch.Tensor) -> None:
        """Take a tensor for what the network is shown, one stimulus after the other."""
        picture = images.ndim == 4
        units, places = (numbered(images.shape, 1), of_picture(images.shape)) if picture else (None, None)
        self._companions[images] = Companion(units, places, None, slim(numbered(images.shape, 0)))

    def __enter__(self) -> Layout:
        import torch

        hook = torch.nn.Module.register_forward_hook  # scripted ones refuse by name, but call it
        for each in self._module.modules():
            if next(each.children(), None) is None or isinstance(each, torch.jit.ScriptModule):
                self._handles.append(hook(each, self._inherit))
        self._mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._mode.__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def companion(self, tensor: torch.Tensor) -> Companion:
        """Return what is known of a tensor's elements."""
        return self._known(tensor) or Companion()

    def unit_axes(self, tensor: torch.Tensor) -> tuple[int, ...] | None:
        """Return the axes of the units, in the order in which units are numbered; None where they cannot be told."""
        units = self.companion(tensor).units
        with self._pausing():
            return (1,) if tensor.ndim <= 2 else None if units is None else unit_axes(units)

    def described(self, tensor: torch.Tensor, n_stimuli: int, function: str = "") -> Described:
        """Say how a raw output becomes (stimulus, unit, ...); `function`: what of attention it is, if anything.

        See :func:`netphys.recording.arranging.described` and :mod:`netphys.recording.attending`.
        """
        constant = self._is_constant(tensor) and not self._repeated.get(tensor)
        with self._pausing():
            if function in ATTENTION:
                return attention_described(tensor, self.companion(tensor), n_stimuli, function, constant=constant)
            return described(tensor, self.companion(tensor), n_stimuli, constant=constant)

    def _is_constant(self, tensor: torch.Tensor, *, written: bool = False) -> bool:
        """Tell whether a tensor was made of nothing but weights and constants, and not written to since.

        `written`: it was by the function that is looked at.
        """
        return tensor in self._constant and _version(tensor) - self._constant[tensor] in {0, int(written)}

    def _is_repeated(self, name: str, tensors: Sequence[Any], output: Any) -> bool:
        """Tell whether a constant has one copy for each stimulus (a class token, a first hidden state)."""
        if not output.ndim or output.shape[0] != self._n_stimuli:
            return False
        made = not tensors or (name in _REPEAT and all(e.ndim < output.ndim or e.shape[0] == 1 for e in tensors))
        return made or any(self._repeated.get(each) for each in tensors)

    @contextmanager
    def _pausing(self) -> Iterator[None]:
        """Its own computations are not followed."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _known(self, tensor: Any) -> Companion | None:
        """Look a tensor up; of a parameter it is known what its name says."""
        found = self._companions.get(tensor)
        if found is None and tensor.ndim and (name := self._parameters.get(tensor)) is not None:
            found = Companion(places=of_parameter(name, tensor.shape))
            self._companions[tensor] = found
        return found

    def _inherit(self, _: Any, inputs: Any, output: Any) -> None:
        """Take what was computed unseen (scripted, an own autograd function) for the same as an input alike."""
        for _, each in tensors_in(output):
            if each.ndim > 2 and each not in self._companions:
                alike = (given for _, given in tensors_in(inputs) if given.shape == each.shape)
                found = next((self._companions[given] for given in alike if given in self._companions), None)
                if found is not None:
                    self._companions[each] = found

    def _follow(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Say of what a function returned what its elements are."""
        outputs = [] if self._busy else [each for _, each in tensors_in(result) if each.ndim > 0]
        if not outputs:
            return
        tensors = list(_tensors([args, kwargs]))
        known = {id(each): found for each in tensors if (found := self._known(each)) is not None}
        constant = all(self._is_constant(each, written=any(each is one for one in outputs)) for each in tensors)
        call = Call(func, _name_of(func), args, kwargs, tensors, known)
        companions = followed(call, outputs)
        for index, output in enumerate(outputs):
            found = _fitting(companions[index], output.shape) if index < len(companions) else Companion()
            if found != Companion():
                self._companions[output] = found
            else:
                self._companions.pop(output, None)
            if constant:
                self._constant[output] = _version(output)
                self._repeated[output] = self._is_repeated(call.name, tensors, output)
            else:
                self._constant.pop(output, None)


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else int(tensor._version)


def _mode(follow: Callable[..., None]) -> Any:
    """Make torch's function mode that calls `follow` after each function."""
    from torch.overrides import TorchFunctionMode

    class Following(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            follow(func, args, kwargs or {}, result)
            return result

    return Following()


def _fitting(found: Companion, shape: Sequence[int]) -> Companion:
    """Forget what is not of the tensor's own shape."""
    fits = {
        "units": found.units is not None and found.units.shape == shape,
        "places": found.places is not None and found.places.of.shape == shape,
        "columns": found.columns is not None and found.columns.of.shape == shape,
        "stimuli": found.stimuli is not None and found.stimuli.shape == shape,
    }
    return found if all(fits.values()) else replace(found, **{name: None for name, fit in fits.items() if not fit})


def _name_of(func: Any) -> str:
    """Name a function; of a property (``x.mT``) its own name, of an in-place one that of the other."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(func, "__self__", None), "__name__", "")
    return name if name.startswith("__") else name.removesuffix("_")


def _tensors(value: Any) -> Iterator[Any]:
    """Walk the tensors among the arguments of a function."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
