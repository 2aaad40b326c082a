"""load_stimuli: an address leads to stimuli, or one line says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from netphys.errors import AddressError, StimulusError
from netphys.stimuli import load_stimuli


def test_a_folder_with_a_condition(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"face/a.png": 0, "house/b.png": 1})
    assert load_stimuli(folder).ids == ("face/a.png", "house/b.png")
    assert load_stimuli(f"{folder}?where=category == 'house'").ids == ("house/b.png",)
    with pytest.raises(AddressError, match="takes no option 'wehre'; near: 'where'"):
        load_stimuli(f"{folder}?wehre=x")
    (folder / "face/a.png").write_bytes(b"")
    assert load_stimuli(folder, skip_broken=True).ids == ("house/b.png",)


def test_scenes_are_the_same_whatever_the_number_asked_for() -> None:
    four = load_stimuli("world:scenes?n=4&size=32&seed=3")
    two = load_stimuli("world:scenes?n=2&size=32&first=1", seed=3)
    assert four.ids[1:3] == two.ids and torch.equal(four.images([1, 2]), two.images([0, 1]))
    assert four.subset([1, 2]).digest == two.digest
    assert load_stimuli("world:scenes?n=2&size=32&first=1&seed=4").digest != two.digest
    assert not torch.equal(load_stimuli("world:scenes?n=2&size=32&first=1&seed=4").images([0]), two.images([0]))


def test_scenes_are_rendered_once_and_their_images_are_not_shared() -> None:
    shown = load_stimuli("world:scenes?n=2&size=32")
    first = shown.images([0, 1])
    kept = first.clone()
    first.zero_()  # what a caller does to his images
    assert torch.equal(shown.images([0, 1]), kept) and kept.min() >= 0 and kept.max() <= 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("world:scense?n=4", "no generated stimuli 'world:scense'; near: 'scenes'"),
        ("world:scenes?n=0", r"n=0 is not understood \(at least 1"),
        ("world:scenes?size=9", r"size=9 is not understood \(at least 32, at most \d+\)"),
        ("world:scenes?sized=64", "takes no option 'sized'; near: 'size'"),
        ("no/such/folder", "no stimuli at 'no/such/folder': there is no such folder"),
    ],
)
def test_addresses_that_lead_nowhere(address: str, said: str) -> None:
    with pytest.raises(AddressError, match=said):
        load_stimuli(address)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(StimulusError, match="is a file; stimuli are a folder of images"):
        load_stimuli(tmp_path / "a.png")
