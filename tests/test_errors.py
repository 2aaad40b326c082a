"""netphys.errors: one class a kind of mistake, one line a message."""

from __future__ import annotations

import inspect

import pytest

from netphys import errors
from netphys.errors import LayerNotFound, NetphysError, near


def test_every_error_is_a_netphys_error_and_public() -> None:
    kinds = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)]
    assert len(kinds) == 14 and all(
        issubclass(each, NetphysError) and each.__name__ in errors.__all__ for each in kinds
    )
    assert all(str(each("one line")) == "one line" for each in kinds)


def test_a_missing_layer_is_a_key_error_without_its_quotation_marks() -> None:
    with pytest.raises(KeyError) as caught:
        raise LayerNotFound("no layer 'conv9'")
    assert str(caught.value) == "no layer 'conv9'" and str(KeyError("x")) == "'x'"


def test_near_names() -> None:
    assert near("Layer4", ["layer4", "conv1"]) == "; near: 'layer4'"
    assert near("zzz", ["layer4", "conv1"]) == "; there are: 'layer4', 'conv1'"
    assert near("zzz", [f"layer{index}" for index in range(13)]) == "" == near("zzz", [])
