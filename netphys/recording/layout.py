"""Which axis of an activation holds the units, followed through a forward instead of guessed from a module's class.

Each tensor that passes through a forward has a companion: the number of the unit that each of its elements belongs
to. Convolutions and norms of channels make one along axis 1, dense layers, norms over features, embeddings and
attention along the last. What only moves elements (permute, reshape, split, shuffle; functional or not) moves the
companion in the same way, so that windows, channels-last blocks and channel shuffles come out right. What keeps the
shape keeps the companion. Where nothing is known (an einsum, two parents that disagree) nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netphys.networks.outputs import tensors_in

if TYPE_CHECKING:
    import torch

__all__ = ["Arrangement", "Layout"]

_MOVE = {
    "T", "__getitem__", "adjoint", "broadcast_to", "channel_shuffle", "chunk", "clone", "contiguous", "detach",
    "diagonal", "dsplit", "expand", "expand_as", "flatten", "flip", "fliplr", "flipud", "hsplit", "index_select", "mH",
    "mT", "movedim", "moveaxis", "narrow", "native_channel_shuffle", "permute", "ravel", "reshape", "reshape_as",
    "roll", "rot90", "select", "split", "split_with_sizes", "squeeze", "stack", "swapaxes", "swapdims", "t",
    "tensor_split", "tile", "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as", "vsplit",
}  # fmt: skip
_REDUCE = {
    "all", "amax", "amin", "any", "argmax", "argmin", "logsumexp", "max", "mean", "median", "min", "nanmean", "nansum",
    "prod", "std", "sum", "var",
}  # fmt: skip
_LAST = {
    "bilinear", "embedding", "gru", "gru_cell", "linear", "lstm", "lstm_cell", "multi_head_attention_forward",
    "rnn_relu", "rnn_tanh", "rnn_relu_cell", "rnn_tanh_cell",
}  # fmt: skip
_FIRST = {"batch_norm", "fold", "group_norm", "instance_norm", "local_response_norm"}
_OF_FEATURES = {"layer_norm", "rms_norm"}
_PRODUCT = {"__matmul__", "__rmatmul__", "addmm", "baddbmm", "bmm", "matmul", "mm"}
_UNKNOWN = {"einsum", "inner", "outer", "tensordot"}


@dataclass(frozen=True)
class Arrangement:
    """How what a layer returned becomes (stimulus, unit, ...).

    Attributes
    ----------
    unit_axes : tuple of int
        The axes that hold units, in the order in which units are numbered; all others keep their order.
    n_windows : int
        Parts of a stimulus that the network folds into the batch (windows of a Swin, frames of a film); 1: none.
    tokens : tuple of str
        What each token is, ``"cls"``, ``"register"``, ``"distillation"``, ``"patch"``; () where there are none, or
        that cannot be told.
    grid : (int, int), optional
        Rows and columns of the places (patches, positions of a map), where they are known.
    places : tuple of int
        The place, in row order in `grid`, of each token, or of each token of each window; -1 for none. () for a map
        in its order.
    """

    unit_axes: tuple[int, ...] = (1,)
    n_windows: int = 1
    tokens: tuple[str, ...] = ()
    grid: tuple[int, int] | None = None
    places: tuple[int, ...] = ()


class Layout:
    """Follows units through a forward; a context manager.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    images : tensor (stimulus, channel, y, x)
        What it is shown. Nothing is known of input of another number of axes.
    """

    def __init__(self, module: torch.nn.Module, images: torch.Tensor) -> None:
        from torch.utils.weak import WeakTensorKeyDictionary

        self._module = module
        self._companions: Any = WeakTensorKeyDictionary()
        if images.ndim == 4:
            self._companions[images] = _numbered(images.shape, 1)
        self._mode = _mode(self._follow)
        self._handles: list[Any] = []
        self._busy = False

    def __enter__(self) -> Layout:
        for each in self._module.modules():
            if next(each.children(), None) is None:
                self._handles.append(each.register_forward_hook(self._inherit))
        self._mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._mode.__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def axis(self, tensor: torch.Tensor) -> int | None:
        """Return the axis of the units; None where it cannot be told."""
        if tensor.ndim <= 2:
            return tensor.ndim - 1
        self._busy = True  # its own computations are not followed
        try:
            companion = self._companions.get(tensor)
            return None if companion is None else _axis_of(companion)
        finally:
            self._busy = False

    def _inherit(self, _: Any, inputs: Any, output: Any) -> None:
        """Take for what a leaf computed unseen (scripted, an own autograd function) the units of an input alike."""
        for _, made in tensors_in(output):
            if made.ndim > 2 and made not in self._companions:
                alike = (each for _, each in tensors_in(inputs) if each.shape == made.shape)
                found = next((self._companions[each] for each in alike if each in self._companions), None)
                if found is not None:
                    self._companions[made] = found

    def _follow(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """Say of what a function returned where its units are."""
        import torch

        outputs = [] if self._busy else [each for _, each in tensors_in(result) if each.ndim > 0]
        if not outputs:
            return
        name = _name_of(func)
        known = [each for each in _tensors([args, kwargs]) if each in self._companions]
        if func is torch.nn.functional.unfold:
            companions: list[Any] = [_numbered(each.shape, 1) for each in outputs]
        elif name in _MOVE or (name in _REDUCE and known and outputs[0].shape != known[0].shape):
            companions = self._moved(torch.amax if name in _REDUCE else func, args, kwargs, outputs) if known else []
        else:
            companions = [self._made(name, args, kwargs, known, each) for each in outputs]
        for index, output in enumerate(outputs):
            companion = companions[index] if index < len(companions) else None
            if companion is not None and companion.shape == output.shape:
                self._companions[output] = companion
            else:
                self._companions.pop(output, None)

    def _moved(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], outputs: Sequence[Any]) -> list[Any]:
        """Do to the companions what was done to the tensors."""
        import torch

        try:
            if func is torch.stack and any(each not in self._companions for each in _tensors(args)):
                return []
            args, kwargs = self._exchanged(args), self._exchanged(kwargs)
            moved = [each for _, each in tensors_in(func(*args, **kwargs))]
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
            return []
        return moved * len(outputs) if len(moved) == 1 else moved  # values and indices of max share one

    def _exchanged(self, value: Any) -> Any:
        """Put companions in the place of tensors; a tensor without one is as it was (an index), or has no unit."""
        import torch

        if isinstance(value, torch.Tensor):
            known = self._companions.get(value)
            if known is not None:
                return known[...]  # another view: what moves in place leaves the companion alone
            return value
        if isinstance(value, dict):
            return {key: self._exchanged(each) for key, each in value.items() if key not in ("out", "dtype")}
        if type(value) in (list, tuple):
            return type(value)(self._exchanged(each) for each in value)
        return value

    def _made(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], known: list[Any], output: Any) -> Any:
        """Find the units of what a function computed."""
        n_dims = output.ndim
        if name in _UNKNOWN:
            return None
        mixed = self._over_positions(name, args, output)
        if mixed is not None:
            return _numbered(output.shape, mixed)
        if name.startswith(("conv", "_conv")) and name[-1] in "123d":
            return _numbered(output.shape, -1 - int(name.rstrip("d")[-1]))
        if name in _FIRST:
            return _numbered(output.shape, 1) if n_dims > 1 else None
        if name in _LAST or (name in _OF_FEATURES and _over_last(args, kwargs)):
            return _numbered(output.shape, -1)
        if name in _PRODUCT:
            return self._product(args, output)
        alike = [self._companions[each] for each in known if each.shape == output.shape]
        if alike:  # element by element; parents that disagree tell nothing, one that is the same everywhere agrees
            telling = [each for each in alike if _varying(each)] or alike[:1]
            return telling[0] if len({_varying(each) for each in telling}) == 1 else None
        axes = {_axis_of(self._companions[each]) for each in known if each.ndim == n_dims}
        axis = axes.pop() if len(axes) == 1 else None
        if axis is not None:  # pooling, padding, resizing, concatenation, shuffled pixels
            return _numbered(output.shape, axis)
        if not known and "pool" in name:
            n_places = next((int(each) for each in name if each.isdigit()), 0)
            return _numbered(output.shape, -1 - n_places) if 0 < n_places < n_dims else None
        return None

    def _over_positions(self, name: str, args: Sequence[Any], output: Any) -> int | None:
        """Return the axis of units that a layer leaves alone because it mixes positions, as in MLP-Mixer."""
        given = args[0] if args else None
        known = self._companions.get(given) if hasattr(given, "ndim") else None
        if known is None or known.ndim != output.ndim or known.ndim < 3:
            return None
        if name == "linear":
            mixes = known.ndim - 1
        elif name == "conv1d":
            mixes = known.ndim - 2
        else:
            return None
        axis = _axis_of(known) if len(_varying(known)) == 1 else None
        kept = axis is not None and axis != mixes and known.shape[axis] == output.shape[axis]
        return axis if kept else None

    def _product(self, args: Sequence[Any], output: Any) -> Any:
        """Find the units of a matrix product: weights make new ones, attention averages those of its values."""
        second = args[-1] if len(args) > 1 else None
        if getattr(second, "ndim", 0) == 2 and second not in self._companions:
            return _numbered(output.shape, -1)
        values = self._companions.get(second) if hasattr(second, "ndim") else None
        if values is not None and values.shape == output.shape and values.ndim - 2 not in _varying(values):
            return values
        return None


def _mode(follow: Callable[..., None]) -> Any:
    """Make torch's function mode that calls `follow` after each function."""
    from torch.overrides import TorchFunctionMode

    class Following(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            follow(func, args, kwargs or {}, result)
            return result

    return Following()


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


def _over_last(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Tell whether a norm is over the last axis alone."""
    shape = kwargs.get("normalized_shape", args[1] if len(args) > 1 else ())
    return isinstance(shape, int) or len(shape) == 1


def _numbered(shape: Sequence[int], axis: int) -> Any:
    """Make a companion whose units lie along an axis; it takes no memory for the others."""
    import torch

    axis %= len(shape)
    units = torch.arange(shape[axis], dtype=torch.int32) if shape[axis] != 1 else torch.full((1,), -1)
    return units.reshape([-1 if each == axis else 1 for each in range(len(shape))]).expand(*shape)


def _varying(companion: Any) -> tuple[int, ...]:
    """Return the axes along which the unit changes."""
    import torch

    if not companion.numel():
        return ()
    origin, found = (0,) * companion.ndim, []
    for axis, size in enumerate(companion.shape):
        line = companion[(*origin[:axis], slice(None), *origin[axis + 1 :])]
        if size > 1 and not torch.equal(line, line[:1].expand(size)):
            found.append(axis)
    return tuple(found)


def _axis_of(companion: Any) -> int | None:
    """Return the one axis along which each place is another unit; None where there are several, or units are mixed."""
    axes = _varying(companion)
    if not axes:  # a single unit
        single = [axis for axis, size in enumerate(companion.shape) if size == 1 and axis > 0]
        return single[0] if single else None
    if len(axes) > 1:
        return None
    line = companion.movedim(axes[0], 0).flatten(1)[:, 0]
    return axes[0] if len(line.unique()) == len(line) else None
