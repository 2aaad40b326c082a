"""What is known of a product of tensors (matrices, einsum, attention), from what is known of its factors.

Axes are named by letters as in an einsum. Rows of the first factor keep their places, columns of the second are noted
beside them: they are the keys of attention weights. Units are those of the values where they are averaged, the heads
that are left where queries meet keys, new ones where a factor is a matrix of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netphys.recording.companions import Companion, Places, carried, numbered, renewed, varying
from netphys.recording.places import of_units

if TYPE_CHECKING:
    from netphys.recording.following import Call

__all__ = ["PRODUCTS", "attended", "product"]

PRODUCTS = {
    "__matmul__", "__rmatmul__", "addmm", "baddbmm", "bmm", "einsum", "matmul", "mm", "scaled_dot_product_attention",
}  # fmt: skip


def product(call: Call, output: Any) -> Companion:
    """Find what is known of a matrix product, einsum or attention."""
    operands, letters, wanted = _letters(call, output)
    if not operands:
        return Companion()
    known = [call.of(each) for each in operands]
    rows = [_carried_places(each.places, own, wanted, output) for each, own in zip(known, letters)]
    weights = [_is_weight(each, companion) for each, companion in zip(operands, known)]
    found = [index for index, each in enumerate(rows) if each is not None and not weights[index]]
    row = found[0] if found else None
    columns = None
    if row is not None and call.name != "scaled_dot_product_attention":
        own = [wanted.index(letter) for letter in wanted if letter not in letters[row]]
        others = [rows[each] for each in found[1:]]
        columns = next((each for each in others if each and set(varying(each.of)) & set(own)), None)
    if row is None and _weighs_units(known, letters, wanted):
        columns = of_units(output.shape)
    stimuli = [carried(each.stimuli, own, wanted, output.shape) for each, own in zip(known, letters)]
    return Companion(
        _product_units(operands, known, letters, wanted, output, call.name == "scaled_dot_product_attention"),
        None if row is None else rows[row],
        columns,
        next((each for each in stimuli if each is not None), None),
    )


def _weighs_units(known: Sequence[Companion], letters: Sequence[str], wanted: str) -> bool:
    """Tell whether rows and columns of a product are units of its factors, and what is summed over is none of them."""
    if len(known) != 2 or any(each.units is None for each in known):
        return False
    changing = [{own[axis] for axis in varying(each.units)} for each, own in zip(known, letters)]
    both = set(letters[0]) & set(letters[1])
    return all(each - both for each in changing) and not any((each & both) - set(wanted) for each in changing)


def _product_units(
    operands: Sequence[Any],
    known: Sequence[Companion],
    letters: Sequence[str],
    wanted: str,
    output: Any,
    attention: bool,
) -> Any:
    """Find the units of a product: weights make new ones, attention averages those of its values."""
    given = [carried(each.units, own, wanted, output.shape) for each, own in zip(known, letters)]
    if attention:
        return given[-1] if given[-1] is not None else None
    telling = [each for each in given if each is not None and varying(each)]
    for each in reversed(telling):
        if all(set(varying(other)) <= set(varying(each)) for other in telling):
            return each
    if telling:
        return None
    weights = [own for each, companion, own in zip(operands, known, letters) if _is_weight(each, companion)]
    others = {letter for own in letters if own not in weights for letter in own}
    new = [wanted.index(each) for own in weights for each in own if each in wanted and each not in others]
    mixed = [
        carried(each.units, own, wanted, output.shape, mixed=True)
        for each, own in zip(known, letters) if each.units is not None
    ]  # fmt: skip
    if len(new) == 1:
        heads = mixed[0] if mixed and mixed[0] is not None else None
        return numbered(output.shape, new[0]) if heads is None else renewed(heads, output.shape, new[0])
    return mixed[0] if mixed and not weights else None


def _is_weight(tensor: Any, known: Companion) -> bool:
    """Tell whether an operand is a matrix of weights and no activation."""
    import torch

    if isinstance(tensor, torch.nn.Parameter):
        return True
    return known.stimuli is None and known.units is None and (tensor.ndim == 2 or (bool(known) and tensor.ndim == 3))


def _letters(call: Call, output: Any) -> tuple[list[Any], list[str], str]:
    """Name the axes of the factors of a product and of its result; empty where they cannot be named."""
    tensors = list(call.tensors)
    if call.name == "einsum":
        equation = call.args[0] if isinstance(call.args[0], str) else ""
        left, arrow, wanted = equation.replace(" ", "").partition("->")
        letters = left.split(",")
        named_all = bool(arrow) and "." not in equation and len(letters) == len(tensors)
        return (tensors, letters, wanted) if named_all else ([], [], "")
    batch = "abcdefgh"
    if call.name == "scaled_dot_product_attention":
        tensors = [call.argument(place, name) for place, name in enumerate(("query", "key", "value"))]
        ends, last = ["ix", "jx", "jy"], "iy"
    else:
        start = call.name in ("addmm", "baddbmm")
        tensors = tensors[start : start + 2][:: -1 if call.name == "__rmatmul__" else 1]
        ends, last = ["ij", "jk"], "ik"
    if len(tensors) != len(ends) or any(each.ndim < 2 or each.ndim > 10 for each in tensors) or output.ndim < 2:
        return [], [], ""
    prefix = batch[8 - (output.ndim - 2) :]
    letters = [prefix[len(prefix) - (each.ndim - 2) :] + end for each, end in zip(tensors, ends)]
    return tensors, letters, prefix + last


def _carried_places(given: Places | None, own: str, wanted: str, output: Any) -> Places | None:
    of = None if given is None else carried(given.of, own, wanted, output.shape)
    return None if of is None or given is None else Places(of, given.grid)


def attended(call: Call, output: Any, index: int) -> Companion:
    """What torch's own multi-head attention returned: (query, stimulus, unit), and weights (stimulus, ..., key)."""
    query, key = call.of(call.argument(0, "query")), call.of(call.argument(1, "key"))
    own, others, wanted = ("qne", "kne", "qne") if index == 0 else ("qne", "kne", "nhqk" if output.ndim == 4 else "nqk")
    if output.ndim != len(wanted):
        return Companion(numbered(output.shape, -1) if index == 0 else None)
    units = numbered(output.shape, -1) if index == 0 else numbered(output.shape, 1) if output.ndim == 4 else None
    columns = _carried_places(key.places, others, wanted, output) if index else None
    stimuli = carried(query.stimuli, own, wanted, output.shape)
    return Companion(units, _carried_places(query.places, own, wanted, output), columns, stimuli)
