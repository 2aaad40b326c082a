"""What is known of what a function of torch returned, from what is known of what it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netphys.recording.companions import (
    Companion,
    Places,
    compact,
    numbered,
    renewed,
    slim,
    spread,
    unit_axes,
    varying,
)
from netphys.recording.places import (
    agreed,
    joined,
    mixed_over_last,
    named,
    of_picture,
    on_new_map,
    padded,
    reduced,
    stepped,
    unfolded,
)
from netphys.recording.products import PRODUCTS, attended, product

__all__ = ["Call", "followed"]

_MOVE = {
    "T", "__getitem__", "adjoint", "broadcast_to", "channel_shuffle", "chunk", "clone", "contiguous", "detach",
    "diagonal", "dsplit", "expand", "expand_as", "flatten", "flip", "fliplr", "flipud", "gather", "hsplit",
    "index_select", "mH", "mT", "movedim", "moveaxis", "narrow", "native_channel_shuffle", "permute", "ravel",
    "repeat", "repeat_interleave", "reshape", "reshape_as", "roll", "rot90", "select", "split", "split_with_sizes",
    "squeeze", "stack", "swapaxes", "swapdims", "t", "take_along_dim", "tensor_split", "tile", "transpose", "unbind",
    "unflatten", "unfold", "unsqueeze", "view", "view_as", "vsplit",
}  # fmt: skip
_RESHAPE = {"flatten", "ravel", "reshape", "reshape_as", "unflatten", "view", "view_as"}
_SAME = {"clone", "contiguous", "detach"}
_REDUCE = {
    "all", "amax", "amin", "any", "argmax", "argmin", "logsumexp", "max", "mean", "median", "min", "nanmean", "nansum",
    "prod", "std", "sum", "var",
}  # fmt: skip
_RECURRENT = {"gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_tanh", "rnn_relu_cell", "rnn_tanh_cell"}
_LAST = {"bilinear", "embedding", "linear"} | _RECURRENT
_FIRST = {"batch_norm", "fold", "group_norm", "instance_norm", "local_response_norm"}
_OF_FEATURES = {"layer_norm", "rms_norm"}
_JOIN = {"cat", "concat", "concatenate"}
_ARITHMETIC = {
    "__rdiv__", "__rsub__", "add", "addcmul", "div", "lerp", "maximum", "minimum", "mul", "sub", "true_divide", "where",
}  # fmt: skip
_MAPS = ("conv2d", "conv_transpose2d", "pool2d", "interpolate", "upsample", "pixel_shuffle", "pixel_unshuffle")
_KERNELS = ("conv2d", "conv_transpose2d")
_UNKNOWN = {"inner", "outer", "tensordot"}
_SCRAMBLE = ("sort", "argsort", "msort", "topk", "fft_")  # what stands behind them is no place
_ERRORS = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError)


@dataclass(frozen=True)
class Call:
    """A function of torch that was called, and what was known of the tensors that it was given."""

    func: Callable[..., Any]
    name: str
    args: Sequence[Any]
    kwargs: dict[str, Any]
    tensors: Sequence[Any]
    known: dict[int, Companion]

    def of(self, tensor: Any) -> Companion:
        """Return what was known of a tensor."""
        return self.known.get(id(tensor), Companion())

    def argument(self, place: int, *names: str) -> Any:
        """Return an argument by its place or one of its names."""
        if len(self.args) > place:
            return self.args[place]
        return next((self.kwargs[name] for name in names if name in self.kwargs), None)

    @property
    def first(self) -> Any:
        """What the function works on: a tensor, or a list of them."""
        return self.argument(0, "input", "tensors", "query")

    def parents(self) -> Iterator[tuple[Any, Companion]]:
        """Walk the tensors of which anything is known."""
        for each in self.tensors:
            if id(each) in self.known:
                yield each, self.known[id(each)]


def followed(call: Call, outputs: Sequence[Any]) -> list[Companion]:
    """Say what is known of each tensor that a function returned."""
    import torch

    if call.name in _MOVE and call.func is not torch.nn.functional.unfold:
        return _moved(call, outputs)
    own = call.of(call.first) if isinstance(call.first, torch.Tensor) else Companion()
    if call.name in _REDUCE and own and outputs[0].shape != call.first.shape:
        return [_reduced(call, own)] * len(outputs)  # values and indices of max share one
    if call.name == "multi_head_attention_forward":
        return [attended(call, each, index) for index, each in enumerate(outputs)]
    return [_made(call, each, index) for index, each in enumerate(outputs)]


def _moved(call: Call, outputs: Sequence[Any]) -> list[Companion]:
    """Do to the companions what was done to the tensors."""
    sources = list(call.first) if isinstance(call.first, list | tuple) else [call.first]
    known = [call.of(each) for each in sources]
    if call.name in _SAME:
        return known
    if call.name in _RESHAPE and call.first.numel() == outputs[0].numel():
        return [_reshaped(known[0], outputs[0].shape)]
    axes = _stepped_axes(call)
    units = _replayed(call, [each.units for each in known], len(outputs))
    stimuli = _replayed(call, [each.stimuli for each in known], len(outputs))
    places = _replayed_places(call, [each.places for each in known], len(outputs), axes)
    columns = _replayed_places(call, [each.columns for each in known], len(outputs), axes)
    return [Companion(*each) for each in zip(units, places, columns, stimuli)]


def _reshaped(known: Companion, shape: Sequence[int]) -> Companion:
    """Give a companion another shape, copied where it has to be: it is expanded, and a view of it may not exist."""

    def new(companion: Any) -> Any:
        return None if companion is None else slim(companion.reshape(shape))

    def placed(places: Places | None) -> Places | None:
        return None if places is None else Places(new(places.of), places.grid)

    return Companion(new(known.units), placed(known.places), placed(known.columns), new(known.stimuli))


def _replayed(call: Call, values: Sequence[Any], n_outputs: int) -> list[Any]:
    """Call a function on companions instead of tensors."""
    from netphys.networks.outputs import tensors_in

    if any(each is None for each in values):
        return [None] * n_outputs
    # another view: what moves in place leaves the companion alone
    own = [each[...] for each in values]
    first = type(call.first)(own) if isinstance(call.first, list | tuple) else own[0]
    kwargs = {key: _here(each) for key, each in call.kwargs.items() if key not in ("out", "dtype", "memory_format")}
    for key in ("input", "tensors"):
        if not call.args and key in kwargs:
            kwargs[key] = first
    try:
        args = [first, *(_here(each) for each in call.args[1:])] if call.args else []
        found = [slim(each) for _, each in tensors_in(call.func(*args, **kwargs))]
    except _ERRORS:
        return [None] * n_outputs
    return (found * n_outputs if len(found) == 1 else [*found, *[None] * n_outputs])[:n_outputs]


def _replayed_places(call: Call, values: Sequence[Places | None], n_outputs: int, axes: Sequence[int]) -> list[Any]:
    known = [each for each in values if each is not None]
    if len(known) < len(values) or len({each.grid for each in known}) != 1:
        return [None] * n_outputs
    found = _replayed(call, [each.of for each in known], n_outputs)
    if axes:
        return [None if each is None else stepped(known[0], each, axes) for each in found]
    return [None if each is None else Places(each, known[0].grid) for each in found]


def _stepped_axes(call: Call) -> list[int]:
    """Return the axes of which an index takes every second, third, ... element."""
    if call.name != "__getitem__":
        return []
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    rest = call.first.ndim - sum(each is not None and each is not Ellipsis for each in index)
    axes, axis = [], 0
    for each in index:
        if isinstance(each, slice) and each.step not in (None, 1):
            axes.append(axis)
        axis += rest if each is Ellipsis else each is not None
    return axes


def _here(value: Any) -> Any:
    """An argument as companions need it: they lie in the host's memory."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    return type(value)(_here(each) for each in value) if type(value) in (list, tuple) else value


def _reduced(call: Call, own: Companion) -> Companion:
    """Leave out axes; a place or a stimulus of which several were taken together is none."""
    axes, keep = call.argument(1, "dim", "axis"), bool(call.kwargs.get("keepdim", False))
    flags = [each for each in call.args[2:] if isinstance(each, bool)]
    axes = (axes,) if isinstance(axes, int) else axes
    if not isinstance(axes, list | tuple) or not axes:
        return Companion()
    keep = keep or (bool(flags) and flags[-1])
    summed = {axis % call.first.ndim for axis in axes}

    def left(companion: Any) -> Any:
        if companion is None or summed & set(varying(companion)):
            return None
        return slim(companion.amax(tuple(summed), keepdim=keep))

    units = None if own.units is None else slim(own.units.amax(tuple(summed), keepdim=keep))
    places, columns = (reduced(each, tuple(summed), keepdim=keep) for each in (own.places, own.columns))
    return Companion(units, places, columns, left(own.stimuli))


def _made(call: Call, output: Any, index: int) -> Companion:
    """Find what is known of what a function computed."""
    if call.name in PRODUCTS:
        return product(call, output)
    stimuli = None if index and call.name in _RECURRENT else _stimuli(call, output)
    return Companion(_units(call, output), _places(call, output), _columns(call, output), stimuli)


def _stimuli(call: Call, output: Any) -> Any:
    """Find whose a result is: of the same stimulus as what it was computed from, along the same axis."""
    import torch

    found = None
    if call.name in _JOIN:
        axis, parts = call.argument(1, "dim", "axis") or 0, [call.of(each).stimuli for each in call.first]
        if any(each is not None and axis % output.ndim in varying(each) for each in parts):
            return None if any(each is None for each in parts) else slim(torch.cat(parts, axis))
    for tensor, known in call.parents():
        own = known.stimuli
        if own is not None and own.ndim != output.ndim and varying(own) == (0,) and own.shape[0] == output.shape[0]:
            own = compact(own).reshape(-1, *([1] * (output.ndim - 1)))
        own = spread(own, output.shape) if own is not None and own.ndim == output.ndim else None
        if own is not None and (varying(own) or tensor.shape[0] == 1):
            if found is not None and not _equal(found, own):
                return None
            found = own
    return found


def _equal(one: Any, other: Any) -> bool:
    return varying(one) == varying(other) and bool((compact(one) == compact(other)).all())


def _units(call: Call, output: Any) -> Any:
    """Find the units of what a function computed."""
    name, n_dims = call.name, output.ndim
    given = call.of(call.first).units if hasattr(call.first, "ndim") else None
    if name in _UNKNOWN:
        return None
    if name == "unfold":
        return numbered(output.shape, 1)
    mixed = _over_positions(name, given, output)
    if mixed is not None:
        return mixed
    if name.startswith(("conv", "_conv")) and name[-1] in "123d":
        return _along(given, output, n_dims - 1 - int(name.rstrip("d")[-1]))
    if name in _FIRST:
        return _along(given, output, 1) if n_dims > 1 else None
    if name in _OF_FEATURES and _over_last(call):
        kept = given is not None and n_dims - 1 in (varying(given) if _in_batch(given) else unit_axes(given) or ())
        return given if kept else numbered(output.shape, -1)
    if name in _LAST:
        same = given is not None and given.ndim == n_dims
        return renewed(given, output.shape, -1) if same else numbered(output.shape, -1)
    return _units_alike(call, output)


def _along(given: Any, output: Any, axis: int) -> Any:
    """Make new units along one axis; those that lie in the batch, too (heads), stay apart."""
    apart = given is not None and given.ndim == output.ndim and _in_batch(given)
    return renewed(given, output.shape, axis) if apart else numbered(output.shape, axis)


def _in_batch(units: Any) -> bool:
    return 0 in varying(units)


def _units_alike(call: Call, output: Any) -> Any:
    """Find the units of what was computed element by element, or along axes that hold no units."""
    known = [(each, companion.units) for each, companion in call.parents() if companion.units is not None]
    alike = [units for each, units in known if units.shape == output.shape]
    if not alike and call.name in _ARITHMETIC:
        alike = [found for _, units in known if (found := spread(units, output.shape)) is not None]
    if alike:  # parents that disagree tell nothing, one that is the same everywhere agrees
        telling = [each for each in alike if varying(each)] or alike[:1]
        return telling[0] if len({varying(each) for each in telling}) == 1 else None
    found = {unit_axes(units) for _, units in known if units.ndim == output.ndim}
    axes = found.pop() if len(found) == 1 else None
    if axes is not None:  # pooling, padding, resizing, concatenation, shuffled pixels
        return numbered(output.shape, *sorted(axes))
    if not known and "pool" in call.name:
        n_places = next((int(each) for each in call.name if each.isdigit()), 0)
        return numbered(output.shape, -1 - n_places) if 0 < n_places < output.ndim else None
    return None


def _over_positions(name: str, given: Any, output: Any) -> Any:
    """Find the units that a layer leaves alone because it mixes positions, as in MLP-Mixer."""
    if given is None or given.ndim != output.ndim or given.ndim < 3 or name not in ("linear", "conv1d"):
        return None
    mixes = given.ndim - (1 if name == "linear" else 2)
    axes = unit_axes(given)
    if not axes or mixes in axes or any(given.shape[axis] != output.shape[axis] for axis in axes):
        return None
    return spread(given, output.shape)


def _over_last(call: Call) -> bool:
    """Tell whether a norm is over the last axis alone."""
    shape = call.argument(1, "normalized_shape")
    return isinstance(shape, int) or (shape is not None and len(shape) == 1)


def _places(call: Call, output: Any) -> Places | None:
    """Find the places of what a function computed."""
    name, first = call.name, call.first
    given = call.of(first).places if hasattr(first, "ndim") else None
    if name.startswith(_SCRAMBLE) or name in _UNKNOWN or (name in _RECURRENT):
        return None
    if name in ("linear", "layer_norm", "rms_norm"):
        return mixed_over_last(given, output.shape)
    if any(each in name for each in _MAPS) or name == "fold":
        return of_picture(output.shape) if _makes_a_map(call, output) else on_new_map(given, output.shape)
    if name == "unfold":
        defaults = (("kernel_size", None), ("dilation", 1), ("padding", 0), ("stride", 1))
        values = [call.argument(1 + place, key) for place, (key, _) in enumerate(defaults)]
        return unfolded(given, [d if v is None else v for v, (_, d) in zip(values, defaults)], output.shape)
    if name == "pad":
        return _padded(call, given, output)
    if name in _JOIN:
        parts = [(call.of(each).places, each.shape) for each in first]
        return joined(parts, call.argument(1, "dim", "axis") or 0)
    if name == "conv1d":
        of = None if given is None or given.of.ndim != 3 or 1 in varying(given.of) else spread(given.of, output.shape)
        return None if of is None or given is None else Places(of, given.grid)
    return _places_alike(call, output)


def _makes_a_map(call: Call, output: Any) -> bool:
    """Tell whether a function makes a map of what had no places that are known (noise, a scripted module).

    A kernel that looks at neighbours along both axes takes them for rows and columns, also where it is given blocks of
    a map as channels; one of a single position may work on anything, unless nothing at all is known of its input.
    """
    if call.name == "fold":
        return output.ndim == 4
    own = call.of(call.first)
    blocks = own.places is not None and 1 in (axes := varying(own.places.of)) and bool({2, 3} & set(axes))
    if output.ndim != 4 or own.columns is not None or (own.places is not None and not blocks):
        return False
    if not call.name.endswith(_KERNELS):
        return own.stimuli is not None and not blocks
    weight = call.argument(1, "weight")
    return not own or (weight is not None and min(weight.shape[-2:]) > 1)


def _padded(call: Call, given: Places | None, output: Any) -> Places | None:
    pad, mode = call.argument(1, "pad"), call.argument(2, "mode") or "constant"
    return padded(given, pad, output.shape) if mode == "constant" else on_new_map(given, output.shape)


def _places_alike(call: Call, output: Any) -> Places | None:
    """Find the places of what was computed element by element; what is not known takes the other parent's."""
    found, unknown, constant = [], False, False
    for each in call.tensors:
        known = call.of(each)
        fits = each.shape == output.shape or call.name in _ARITHMETIC
        of = spread(known.places.of, output.shape) if known.places is not None and fits else None
        if known.places is not None and of is not None:
            found.append(Places(of, known.places.grid))
        elif known:
            unknown = unknown or known.places is None
        else:
            constant = constant or each.is_floating_point()
    best = agreed(found)
    if best is None or named(best) == "patch":
        return best
    # what is known of a parameter alone says nothing of an activation to which it is added
    return None if unknown or (constant and named(best) == "extra") else best


def _columns(call: Call, output: Any) -> Places | None:
    """Find whose key each element of attention weights belongs to, behind a softmax, a mask, a mixing of heads."""
    known = [each.columns for _, each in call.parents() if each.columns is not None]
    if not known or known[0].of.ndim != output.ndim or call.name in _JOIN or call.name.startswith(_SCRAMBLE):
        return None
    if call.name != "linear" and known[0].of.shape != output.shape:
        return None
    of = spread(known[0].of, output.shape)
    return None if of is None else Places(of, known[0].grid)
