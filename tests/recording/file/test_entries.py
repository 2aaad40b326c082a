"""What is known of a layer beside its numbers: as text and back, and as coordinates."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest

from netphys.recording.file.entries import (
    AXES,
    Entry,
    coordinates,
    default_dims,
    entry_of,
    known_dims,
    read_facts,
    said_facts,
)
from netphys.recording.keep import as_keep
from netphys.recording.layers import Layer
from netphys.recording.layout import Arrangement

VIT = ("cls", *("register",) * 4, *("patch",) * 6)


def test_axes_are_those_of_activations() -> None:
    known = [
        ("unit",), ("unit", "token"), ("unit", "y", "x"), ("unit", "time", "y", "x"), ("unit", "window", "token"),
        ("unit", "window", "y", "x"), ("unit", "query", "key"), ("unit", "window", "query", "key"),
    ]  # fmt: skip
    for dims in known:
        assert known_dims(dims)
        for other in permutations(dims):
            assert known_dims(other) == (other == dims)
    for odd in ((), ("token",), ("unit", "unit"), ("unit", "z"), ("stimulus", "unit")):
        assert not known_dims(odd)
    assert default_dims(3) == ("unit", "token") and default_dims(1) is None and len(AXES) == len(set(AXES))


def test_facts_round_trip() -> None:
    windows = tuple(int(each) for each in np.arange(36).reshape(2, 3, 2, 3).transpose(0, 2, 1, 3).ravel())
    for tokens, grid, places in (
        (VIT, (2, 3), ()),
        (VIT, (2, 3), (-1,) * 5 + tuple(range(6))),
        ((), (6, 6), windows),
        ((), None, ()),
        (VIT[:3], (1, 3), (0, 0, 1)),
    ):
        entry = Entry("a", "K", ("unit", "token"), (2, 11), 3, False, 7, tokens, grid, places, {"e": 0.5}, {"size": 11})
        facts = read_facts(said_facts(entry))
        assert Entry("a", "K", entry.dims, entry.shape, 3, **facts) == entry
    assert len(said_facts(Entry("a", "K", ("unit", "token"), (2, 3136), 3, places=tuple(range(3136))))) < 200


@pytest.mark.parametrize(
    "text",
    ["", "3", "[]", "{", '{"grid": [0, 3]}', '{"grid": 3}', '{"tokens": [["cls", 1e9]]}', '{"tokens": [["cls", -1]]}',
     '{"tokens": "cls"}', '{"places": [[1]]}', '{"measured": 3}', '{"n_parameters": "x"}', "[" * 60_000, 7],
)  # fmt: skip
def test_texts_that_are_no_facts(text: object) -> None:
    with pytest.raises(ValueError, match="no facts of a layer"):
        read_facts(text)


def test_coordinates_say_what_a_token_is_and_where() -> None:
    found = coordinates(Entry("a", "K", ("unit", "token"), (2, 11), 0, tokens=VIT, grid=(2, 3)))
    assert found["token_kind"][1].tolist() == list(VIT)
    assert found["patch_y"][1].tolist() == [-1] * 5 + [0, 0, 0, 1, 1, 1]
    assert found["patch_x"][1].tolist() == [-1] * 5 + [0, 1, 2, 0, 1, 2]
    places = tuple(int(each) for each in np.arange(24).reshape(2, 2, 2, 3).transpose(0, 2, 1, 3).ravel())
    dims, rows = coordinates(
        Entry("a", "K", ("unit", "window", "y", "x"), (5, 4, 2, 3), 0, grid=(4, 6), places=places)
    )["patch_y"]
    assert dims == ("window", "y", "x") and rows.shape == (4, 2, 3)
    assert coordinates(Entry("a", "K", ("unit", "token"), (2, 11), 0, tokens=VIT)).keys() == {"token_kind"}
    assert coordinates(Entry("a", "K", ("unit",), (2,), 0)) == {}
    odd = Entry("a", "K", ("unit", "token"), (2, 9), 0, tokens=VIT, grid=(2, 3), places=(1, 2))
    assert coordinates(odd) == {}  # of another number of tokens: nothing is claimed


def test_what_is_reduced_has_no_tokens_left() -> None:
    layer = Layer(
        "block", "Block", (8, 11), ("unit", "token"), index=2, n_parameters=3,
        arrangement=Arrangement(tokens=VIT, grid=(2, 3)),
    )  # fmt: skip
    whole = entry_of(layer, as_keep("all"), receptive_field={"size": 3})
    assert whole.tokens == VIT and whole.grid == (2, 3) and whole.receptive_field == {"size": 3}
    assert json.loads(said_facts(whole))["tokens"] == [["cls", 1], ["register", 4], ["patch", 6]]
    mean = entry_of(layer, as_keep("mean"), measured={"e": 1.0})
    assert mean.tokens == () and mean.grid is None and mean.measured == {"e": 1.0} and mean.dims == ("unit",)
