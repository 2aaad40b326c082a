"""read_dataset's labels: what items say, not another list that the set happens to keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch.utils.data import Dataset, Subset

from netphys.stimuli import StimulusSet
from netphys.stimuli.readers.datasets import read_dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)


class Listed(Dataset):
    """A list as a Dataset."""

    def __init__(self, items: list[Any], **attributes: Any) -> None:
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_the_part_that_is_named_is_the_label_whatever_list_the_set_keeps() -> None:
    y, z = [0, 1, 2, 3], [0, 5, 5, 9]
    several = Listed(list(zip(PIXELS, y, z)), targets=y, classes=list("abcdefghij"))
    other = StimulusSet.from_dataset(several, label=2).metadata
    assert other["label"].tolist() == z and "category" not in other  # whose classes they are nobody says
    usual = StimulusSet.from_dataset(several).metadata
    assert usual["label"].tolist() == y and usual["category"].tolist() == list("abcd")
    dicts = Listed([{"image": each, "label": index // 2} for index, each in enumerate(PIXELS[:4])], labels=y)
    assert StimulusSet.from_dataset(dicts).metadata["label"].tolist() == [0, 0, 1, 1]
    assert StimulusSet.from_dataset(dicts, label="label").metadata["label"].tolist() == [0, 0, 1, 1]
    turned = Listed([(index // 2, each) for index, each in enumerate(PIXELS[:4])], targets=y, classes=["cat", "dog"])
    table = StimulusSet.from_dataset(turned, image=1, label=0).metadata
    assert table["label"].tolist() == [0, 0, 1, 1] and table["category"].tolist() == ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize("place", [0, 5, 10, 15, 19])
@pytest.mark.parametrize("kind", ["targets", "labels", "samples"])
def test_a_kept_list_that_differs_at_one_of_five_spread_items_is_not_taken(place: int, kind: str) -> None:
    said = list(range(20))
    items = [(PIXELS[0], each) for each in said]
    kept = [99 if index == place else each for index, each in enumerate(said)]
    pairs = [(f"{each}.png", each) for each in kept]
    assert read_dataset(Listed(items, **{kind: pairs if kind == "samples" else kept})).table["label"].tolist() == said
    part = Subset(Listed(items, targets=[99, *said[1:]]), [7, 3, 0])
    assert read_dataset(part).table["label"].tolist() == [7, 3, 0]
