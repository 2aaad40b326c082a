"""What each operation of torch does to what its inputs read: the rules of receptive fields.

Rules are for the operations that torch dispatches (``aten``), of which modules and functions are made. An operation
without a rule makes the field of all that follows unknown; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from netphys.networks.reach import Reach, moved, reduced, union
from netphys.networks.reach_moves import Call, cat_rule, move_rule, same_rule, slice_rule, stack_rule, view_rule
from netphys.networks.reach_windows import adaptive_rule, convolution_rule, pad_rule, pool_rule, resize_rule

__all__ = ["rule_of"]


_Rule = Callable[[Call], list[Reach]]


def rule_of(func: Any) -> _Rule | None:
    """Find the rule of an operation; None where there is none."""
    name = func._schema.name.removeprefix("aten::")
    found = _RULES.get(name) or _RULES.get(name.removesuffix("_"))
    if found is None and torch.Tag.pointwise in func.tags:
        return _pointwise
    return found


def _pointwise(call: Call) -> list[Reach]:
    """Combine entry by entry; a gate of the whole image upon a map is left out, and noted."""
    reaches = call.all_known()
    if call.func._schema.name in ("aten::mul", "aten::mul_"):
        maps = [each for each in reaches if not each.constant]
        gates = [each for each in reaches if each.constant and all(each.holds(other) for other in maps)]
        if maps and gates:
            without = union(maps, call.shape)
            return [Reach(without.shape, without.tables, without.jumps, gated=True)]
    return [union(reaches, call.shape)]


def _matrices(call: Call) -> list[Reach]:
    """Entry (i, j) of a product reads row i of the first and column j of the second; a bias its own."""
    names = [each.name for each in call.func._schema.arguments]
    first, second = (
        ("mat1", "mat2") if "mat1" in names else ("batch1", "batch2") if "batch1" in names else ("self", "mat2")
    )
    parts = []
    for name, dim in ((first, -1), (second, -2)):
        reach = call.known(name)
        if reach is not None:
            parts.append(reduced(reach, [dim], call.shape, keepdim=True))
    if "beta" in names and call.known("self") is not None:
        parts.append(call.known("self"))  # type: ignore[arg-type]
    return [union(parts, call.shape)]


def _attention(call: Call) -> list[Reach]:
    """A token reads its query, and the keys and values of all tokens."""
    parts = []
    for name, dims in (("query", [-1]), ("key", [-2, -1]), ("value", [-2, -1])):
        reach = call.known(name)
        if reach is not None:
            parts.append(reduced(reach, dims, call.shape, keepdim=True))
    return [union(parts, call.shape)] + [parts[0]] * (len(call.outputs) - 1)


def _reduction(call: Call) -> list[Reach]:
    """Combine along the axes that are summed up, or all."""
    reach = call.first()
    dim = call.given.get("dim")
    dims = [dim] if isinstance(dim, int) else list(dim) if dim else list(range(len(reach.shape)))
    keepdim = bool(call.given.get("keepdim", False))
    return [reduced(reach, dims, call.shape, keepdim=keepdim)] * len(call.outputs)


def _along(call: Call) -> list[Reach]:
    """Every entry reads its whole line along one axis (softmax, sorting, sums that run)."""
    reach = call.first()
    dim = int(call.given["dim"])
    return [reduced(reach, [dim], each.shape, keepdim=True) for each in call.outputs]


def _layer_norm(call: Call) -> list[Reach]:
    """Every entry reads all that it is normalised with."""
    reach = call.first()
    dims = range(-len(call.given["normalized_shape"]), 0)
    return [reduced(reach, list(dims), each.shape, keepdim=True) for each in call.outputs]


def _group_norm(call: Call) -> list[Reach]:
    """Every entry reads its group of channels, at all places."""
    reach = call.first()
    dims = list(range(1, len(reach.shape)))
    return [reduced(reach, dims, each.shape, keepdim=True) for each in call.outputs]


def _batch_norm(call: Call) -> list[Reach]:
    """Change values in their places; with statistics of the images themselves, read all of them."""
    reach = call.first()
    if call.given.get("training"):
        reach = reduced(reach, [0, *range(2, len(reach.shape))], reach.shape, keepdim=True)
    return [reach] * len(call.outputs)


def _halves(call: Call) -> list[Reach]:
    """A gated linear unit reads both halves."""
    reach, dim = call.first(), int(call.given["dim"])
    return [union(moved(reach, lambda table: table.chunk(2, dim)), call.shape)]


def _as_strided(call: Call) -> list[Reach]:
    """Accept a change of strides that means nothing (axes of size 1)."""
    reach = call.first()
    before, after = call.given["strides before"], list(call.given["stride"])
    if list(call.given["size"]) != list(reach.shape) or any(
        a != b for a, b, n in zip(before, after, reach.shape) if n > 1
    ):
        raise NotImplementedError("looks at memory in another way")
    return [reach]


_MOVES = (
    "permute transpose t select expand squeeze unsqueeze alias detach contiguous roll flip index index_select gather "
    "split split_with_sizes chunk unbind repeat repeat_interleave pixel_shuffle pixel_unshuffle channel_shuffle "
    "native_channel_shuffle unfold diagonal movedim narrow im2col reflection_pad1d reflection_pad2d replication_pad1d "
    "replication_pad2d tril triu"
)
_IN_PLACE = (
    "hardswish prelu _prelu_kernel rrelu_with_noise dropout feature_dropout alpha_dropout lift_fresh _to_copy clone "
    "log_sigmoid_forward"
)
_REDUCTIONS = (
    "mean sum amax amin max min std var norm linalg_vector_norm logsumexp argmax argmin prod any all "
    "std_mean var_mean median"
)
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_MOVES.split(), move_rule),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten"), view_rule),
    **dict.fromkeys(_IN_PLACE.split(), same_rule),
    **dict.fromkeys(_REDUCTIONS.split(), _reduction),
    **dict.fromkeys(("_softmax", "_log_softmax", "softmax", "cumsum", "sort", "topk"), _along),
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), convolution_rule),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool2d", "max_pool1d"), pool_rule),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), pool_rule),
    **dict.fromkeys(
        ("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_avg_pool1d"), adaptive_rule
    ),
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _matrices),
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_cudnn_attention",
        ),
        _attention,
    ),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"), _batch_norm),
    **dict.fromkeys(
        ("upsample_bilinear2d", "upsample_linear1d", "upsample_bicubic2d", "upsample_nearest2d"), resize_rule
    ),
    "slice": slice_rule,
    "cat": cat_rule,
    "stack": stack_rule,
    "constant_pad_nd": pad_rule,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    "glu": _halves,
    "as_strided": _as_strided,
}
