"""What is drawn of a stimulus, the HTML of a set, and its facts in words."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from netphys.stimuli import StimulusSet
from netphys.stimuli.drawing import draw_stimulus, pictures_of, shown_field
from netphys.stimuli.summary import summary

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (12, 3, 6, 8), dtype=np.uint8)


def test_a_picture_is_drawn_as_it_is() -> None:
    shown = StimulusSet.from_arrays(PICTURES)
    ax = draw_stimulus(shown, 3)
    np.testing.assert_allclose(ax.images[0].get_array(), PICTURES[3].transpose(1, 2, 0) / 255, atol=1e-6)


def test_pairs_clips_maps_sounds_and_texts_each_have_a_picture() -> None:
    fields = {
        "left": RNG.random((2, 3, 4, 5), dtype=np.float32), "right": RNG.random((2, 3, 4, 5), dtype=np.float32),
        "clip": RNG.integers(0, 256, (2, 7, 3, 4, 5), dtype=np.uint8),
        "sound": np.sin(np.arange(800, dtype=np.float32))[None].repeat(2, 0), "text": ["a word", "another"],
        "depth": np.arange(40, dtype=np.float32).reshape(2, 4, 5), "pose": np.eye(4)[None].repeat(2, 0),
    }  # fmt: skip
    shown = StimulusSet.from_arrays(fields=fields)
    pair = pictures_of(shown, [1])[0]
    assert shown_field(shown) == "left" and pair.shape == (4, 5 + 2 + 5, 3)
    np.testing.assert_array_equal(pair[:, :5], fields["left"][1].transpose(1, 2, 0))
    np.testing.assert_array_equal(pair[:, 7:], fields["right"][1].transpose(1, 2, 0))
    clip = pictures_of(shown, [0], "clip")[0]
    assert clip.shape == (4, 4 * 5 + 3 * 2, 3)  # frames 0, 2, 4, 6 from left to right
    np.testing.assert_allclose(clip[:, 21:], fields["clip"][0, 6].transpose(1, 2, 0) / 255, atol=1e-6)
    depth = pictures_of(shown, [1], "depth")[0]
    assert depth.min() == 0 and depth.max() == 1 and depth[0, 0, 0] == 0 and depth[-1, -1, 0] == 1
    for field, n in (("sound", 0), ("text", 1), ("pose", 0)):
        assert len(draw_stimulus(shown, 0, field=field).texts) == n


def test_the_html_shows_columns_and_pictures_and_escapes_what_files_say() -> None:
    table = pd.DataFrame({"stimulus_id": [f"<b>{i}" for i in range(12)], "category": ["<script>x</script>", "y"] * 6})
    shown = StimulusSet.from_arrays(PICTURES, metadata=table, name="a & b")
    page = shown._repr_html_()
    assert (
        "a &amp; b: 12 stimuli" in page and "&lt;script&gt;" in page and "<script>" not in page and "<b>0" not in page
    )
    pictures = re.findall(r"base64,([^']+)'", page)
    assert len(pictures) == 10
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
    np.testing.assert_array_equal(first, PICTURES[0].transpose(1, 2, 0))  # a small picture is shown whole
    sounds = StimulusSet.from_arrays(fields={"sound": np.zeros((1, 50), np.float32)})
    assert "base64," in sounds._repr_html_() and "1 stimulus" in sounds._repr_html_()
    assert "hello" in StimulusSet.from_arrays(fields={"text": ["hello"]})._repr_html_()


def test_facts_count_sizes_values_and_conversions(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"x/a.png": 0, "x/b.png": 1, "y/c.png": 2})
    Image.fromarray(PICTURES[0, 0]).save(folder / "y" / "grey.png")
    facts = summary(StimulusSet.from_folder(folder))
    assert facts["field image"] == "uint8 3 x 12 x 16 (3), uint8 3 x 6 x 8 (1)"
    assert facts["column category"] == "x (2), y (2)" and facts["converted"] == "grey repeated (1)"
    assert facts["stimuli"] == "4 of images" and len(facts["digest"]) == 64
    plain = summary(StimulusSet.from_arrays(PICTURES, metadata=pd.DataFrame({"size": np.arange(12)})))
    assert "converted" not in plain and plain["column size"] == "0 to 11"
    assert plain["field image"] == "uint8 3 x 6 x 8"


@pytest.mark.parametrize("field", ["image", "sound"])
def test_the_field_that_is_asked_for_is_drawn(field: str) -> None:
    shown = StimulusSet.from_arrays(PICTURES[:1], fields={"sound": np.zeros((1, 10), np.float32)})
    ax = shown.plot(field=field)
    assert bool(ax.images) == (field == "image")
