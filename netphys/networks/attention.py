"""Attention as layers: the weights of each head, and the queries, keys and values that they come from.

Three ways of computing attention are known, each named after the module that computes it (``blocks.0.attn:attention``):

- ``F.scaled_dot_product_attention``, which never makes its weights: they are computed from the queries, keys, mask,
  scale and causal flag as they are given to it (after norms of q and k, rotary embedding, relative bias):
  softmax(q kᵀ · scale + mask), in float32 (float64 of float64), without dropout;
- ``F.multi_head_attention_forward`` (``nn.MultiheadAttention``), which projects queries, keys and values itself: the
  same of what it projects, with its appended keys and its masks;
- a softmax over the last axis of a matrix product (Swin): the softmax as it is; its queries and keys are the factors of
  the product (a scale that was multiplied into them included), its values those of the next product of the weights.

Weights are (batch, head, query, key), the others (batch, head, token, feature). Windows that a network folds into the
batch, or has in an axis of their own, before the heads or behind them, stay there. Grouped heads: weights are those of
every query head, keys and values as they are given. A softmax of a product without an axis of heads is one head.
``flex_attention`` and masks that are no plain tensors are not known.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["ATTENTION", "Explicit", "attention_role", "attention_weights", "fused_parts", "multihead_parts"]

ATTENTION = ("query", "key", "value", "attention")
Parts = dict[str, "Callable[[], torch.Tensor]"]  # what of ATTENTION there is, and how it is made when it is wanted

_ROLES = {
    "scaled_dot_product_attention": "fused",
    "multi_head_attention_forward": "multihead",
    "softmax": "softmax",
    **dict.fromkeys(("matmul", "__matmul__", "bmm", "baddbmm", "einsum"), "product"),
}


def attention_role(func: Callable[..., Any]) -> str:
    """Tell what a function of torch may have to do with attention: fused, multihead, softmax, product or nothing."""
    return _ROLES.get(str(getattr(func, "__name__", "")).removeprefix("special_"), "")


def attention_weights(
    query: torch.Tensor,
    key: torch.Tensor,
    *,
    mask: torch.Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> torch.Tensor:
    """Compute softmax(q kᵀ · scale + mask).

    Parameters
    ----------
    query, key : tensor (..., head, token, feature)
        Fewer heads of keys than of queries are repeated (grouped heads).
    mask : tensor, optional
        Boolean (true: may be looked at) or added; broadcast to (..., head, query, key).
    is_causal : bool
        Whether a query looks at no later key than its own place.
    scale : float, optional
        Default 1/√features.

    Returns
    -------
    tensor (..., head, query, key)
        At least float32. Rows sum to 1; of a query that may look at nothing they are 0, as in torch.
    """
    import torch

    dtype = torch.promote_types(query.dtype, torch.float32)
    if query.ndim > 2 and key.shape[-3] not in (1, query.shape[-3]):
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    with torch.autocast(query.device.type, enabled=False):
        scores = query.to(dtype) @ key.to(dtype).mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        hidden = ~torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(hidden, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask.to(dtype)
    blind = (scores == -math.inf).all(-1, keepdim=True)
    return scores.softmax(-1).masked_fill(blind, 0.0)


def fused_parts(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    """Find the parts of attention in a call of ``F.scaled_dot_product_attention``."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
    given = {**dict(zip(names, args)), **kwargs}
    query, key, value, mask = given["query"], given["key"], given["value"], given.get("attn_mask")
    if not (_is_plain(query) and _is_plain(key) and (mask is None or _is_plain(mask))):
        return {}
    options = {"mask": mask, "is_causal": given.get("is_causal", False), "scale": given.get("scale")}
    return {
        "query": lambda: _with_heads(query),
        "key": lambda: _with_heads(key),
        "value": lambda: _with_heads(value),
        "attention": lambda: _with_heads(attention_weights(query, key, **options)),
    }


def multihead_parts(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    """Find the parts of attention in a call of ``F.multi_head_attention_forward``."""

    @functools.cache  # once for all parts that are wanted
    def given() -> dict[str, Any]:
        bound = inspect.signature(func).bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    @functools.cache
    def projected() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return _project(given())

    def weights() -> torch.Tensor:
        query, key, _ = projected()
        return attention_weights(query, key, mask=_added_mask(given(), query, key))

    return {
        "query": lambda: projected()[0],
        "key": lambda: projected()[1],
        "value": lambda: projected()[2],
        "attention": weights,
    }


class Explicit:
    """Recognises attention that a module computes step by step: a product, its softmax, a product with the values."""

    def __init__(self) -> None:
        self._scores: tuple[Any, Any, Any] | None = None  # shape, queries, keys
        self._weights: Any = None  # shape
        self.number = ""  # of the latest attention of its module: "", "#2", ...

    def product(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> Parts:
        """Take note of a product; returns the values where it is that of attention weights."""
        first, second = _factors(func, args, kwargs)
        if first is None or first.ndim < 3 or second.ndim < 3:
            return {}
        if self._weights is not None and first.shape == self._weights:
            self._weights = None
            return {"value": lambda: _with_heads(second)}
        self._scores = (result.shape, first, second.mT)
        return {}

    def softmax(self, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> Parts:
        """Return the parts of attention whose weights a softmax is; none where it is of something else."""
        axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if self._scores is None or axis not in (-1, result.ndim - 1) or result.shape != self._scores[0]:
            return {}
        _, query, key = self._scores
        self._scores, self._weights = None, result.shape
        return {
            "query": lambda: _with_heads(query),
            "key": lambda: _with_heads(key),
            "attention": lambda: _with_heads(result),
        }


def _is_plain(tensor: Any) -> bool:
    """Tell whether something is a tensor and no class of its own with other contents (a bias made on the fly)."""
    import torch

    return type(tensor) in (torch.Tensor, torch.nn.Parameter) and not tensor.is_nested


def _with_heads(tensor: torch.Tensor) -> torch.Tensor:
    """Give a tensor at least four axes: without an axis of heads there is one head. Axes of windows stay."""
    if tensor.ndim == 3:
        return tensor.unsqueeze(1)
    return tensor if tensor.ndim > 3 else tensor[None, None]


def _project(given: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Project queries, keys and values as ``F.multi_head_attention_forward`` does: (batch, head, token, feature)."""
    import torch

    n_heads, width = given["num_heads"], given["embed_dim_to_check"]
    if given["use_separate_proj_weight"]:
        weights = [given[f"{name}_proj_weight"] for name in "qkv"]
    else:
        weights = given["in_proj_weight"].chunk(3)
    biases = [None] * 3 if given["in_proj_bias"] is None else given["in_proj_bias"].chunk(3)

    def heads(tokens: torch.Tensor) -> torch.Tensor:  # (token, batch, feature) -> (batch, head, token, feature of it)
        return tokens.unflatten(-1, (n_heads, width // n_heads)).permute(1, 2, 0, 3)

    found = []
    for index, name in enumerate(("query", "key", "value")):
        tokens, fixed = given[name], given.get(f"static_{name[0]}")
        if fixed is not None:
            made = fixed.unflatten(0, (-1, n_heads))
        else:
            tokens = tokens if tokens.ndim == 3 else tokens.unsqueeze(1)
            tokens = torch.nn.functional.linear(tokens, weights[index], biases[index])
            extra = given.get(f"bias_{name[0]}")
            if extra is not None:
                tokens = torch.cat([tokens, extra.expand(1, tokens.shape[1], -1)])
            made = heads(tokens)
        if given["add_zero_attn"] and name != "query":
            made = torch.cat([made, torch.zeros_like(made[:, :, :1])], dim=2)
        found.append(made)
    return found[0], found[1], found[2]


def _added_mask(given: Mapping[str, Any], query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
    """Join the masks of ``F.multi_head_attention_forward``, in which true means hidden; appended keys are seen."""
    import torch

    total = None
    for name in ("attn_mask", "key_padding_mask"):
        mask = given[name]
        if mask is None:
            continue
        if mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape, dtype=query.dtype, device=mask.device).masked_fill(mask, -math.inf)
        if name == "key_padding_mask":
            mask = mask.reshape(-1, 1, 1, mask.shape[-1])
        elif mask.ndim == 3:
            mask = mask.unflatten(0, (-1, query.shape[1]))
        mask = torch.nn.functional.pad(mask, (0, key.shape[2] - mask.shape[-1]))
        total = mask if total is None else total + mask
    return total


def _factors(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the factors of a product as (..., row, feature) and (..., feature, column)."""
    import torch

    name = func.__name__
    if name == "einsum":
        operands = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args[1:]
        return _einsum_factors(args[0], operands) if len(operands) == 2 and isinstance(args[0], str) else (None, None)
    given = [*args, *kwargs.values()][1 if name == "baddbmm" else 0 :][:2]
    return (given[0], given[1]) if len(given) == 2 and all(isinstance(e, torch.Tensor) for e in given) else (None, None)


def _einsum_factors(equation: str, operands: Sequence[Any]) -> tuple[Any, Any]:
    """Return the factors of an einsum that is a matrix product, whatever the order of its axes."""
    parts = equation.replace(" ", "").replace("->", ",").split(",")
    if len(parts) != 3 or not all(part.isalpha() and len(set(part)) == len(part) for part in parts):
        return None, None
    (one, other), out = parts[:2], parts[2]
    a, b = operands
    if out[-1] in one and out[-1] not in other:
        one, other, a, b = other, one, b, a
    shared = [letter for letter in out if letter in one and letter in other]
    row, column, inner = (
        [letter for letter in one if letter not in other],
        [letter for letter in other if letter not in one],
        [letter for letter in one if letter in other and letter not in out],
    )
    if not len(row) == len(column) == len(inner) == 1:
        return None, None
    first = a.permute([one.index(letter) for letter in [*shared, *row, *inner]])
    return first, b.permute([other.index(letter) for letter in [*shared, *inner, *column]])
