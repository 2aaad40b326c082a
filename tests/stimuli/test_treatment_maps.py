"""Maps of an image, as masks of its objects, follow what moves it."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.errors import StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.treatment import treat


def test_a_mask_stays_on_its_object() -> None:
    image = np.zeros((1, 3, 40, 30), np.uint8)
    image[:, :, 5:17, 4:20] = 255
    shown = StimulusSet.from_arrays(image, fields={"mask": image[:, 0] > 0})
    text = "flip(vertical) | rotate(30, ground=0) | field(4, 64, 2, ground=0) | resize(32)"
    treated = treat(shown, text)
    found, mask = treated.get([0])[0, 0] > 0.5, treated.get([0], "mask")[0]
    assert (found == mask).float().mean() > 0.97 and mask.sum() > 20  # but for the soft edges of the image
    unmoved = treat(shown, "field(4, 64, 2, ground=0) | resize(32)").get([0], "mask")[0]
    assert (found == unmoved).float().mean() < 0.95  # control


def test_a_map_of_another_size_than_its_image_is_refused() -> None:
    sizes = [10, 12, 10]
    images = [np.random.default_rng(0).integers(0, 256, (3, each, each), dtype=np.uint8) for each in sizes]
    masks = [np.ones((each, each), bool) for each in (10, 12, 5)]
    shown = StimulusSet.from_arrays(images, ids=list("abc"), fields={"mask": masks})
    treated = treat(shown, "crop(4)")
    assert treated.get([0, 1], "mask").shape == (2, 4, 4)  # control: each of its own image's size
    said = "mask of stimulus 'c' is 5 x 5 pixels, its image 10 x 10; a map that follows crop.4. has its image's size"
    for first in ([], [0, 1, 2]):  # whether the image was read before or not
        treated.get(first)
        with pytest.raises(StimulusError, match=said):
            treated.get([2], "mask")
    assert treat(shown, "grey()").get([2], "mask")[0].shape == (5, 5)  # nothing has to follow
