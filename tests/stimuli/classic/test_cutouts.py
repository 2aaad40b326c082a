"""Objects on backgrounds: where, how large and how turned they are said to be; and backgrounds that say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats

from netphys.errors import AddressError, OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic.cutouts import LEVELS, Level, objects_on_backgrounds
from netphys.stimuli.classic.cutting_out import cutouts_from_arrays, cutouts_from_folder, cutouts_from_masks
from netphys.stimuli.classic.warping import placed

RNG = np.random.default_rng(0)
GROUNDS = StimulusSet.from_arrays(RNG.integers(0, 256, (7, 3, 64, 64), dtype=np.uint8), ids=[f"g{k}" for k in range(7)])


def _ellipse(height: int = 60, width: int = 90, long: float = 36, short: float = 12) -> np.ndarray:
    """A red ellipse, lying, off the middle of its picture; green around it, which no picture may show."""
    y, x = np.mgrid[:height, :width]
    inside = ((x - 40) / long) ** 2 + ((y - 25) / short) ** 2 <= 1
    picture = np.zeros((4, height, width), dtype=np.uint8)
    picture[0], picture[1] = 255 * inside, 255 * ~inside
    picture[3] = 255 * inside
    return picture


OBJECTS = cutouts_from_arrays([_ellipse(), _ellipse(long=30, short=10)], ids=["large", "small"], categories=["a", "b"])


def _moments(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Centre of mass (x right, y up), area, and the angle of the longest axis, degrees counter-clockwise."""
    middle = (mask.shape[0] - 1) / 2
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    x, y = x - middle, middle - y
    area = mask.sum()
    at_x, at_y = (x * mask).sum() / area, (y * mask).sum() / area
    xx, yy, xy = (((a - b) * (c - d) * mask).sum() / area for a, b, c, d in (
        (x, at_x, x, at_x), (y, at_y, y, at_y), (x, at_x, y, at_y)))  # fmt: skip
    return float(at_x), float(at_y), float(area), float(np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)))


@pytest.mark.parametrize("object_size", [20.0, 60.0, 110.0])
def test_the_mask_has_the_stated_place_size_and_angle(object_size: float) -> None:
    law = Level("some", 0.1, (0.8, 1.2), 80.0)
    shown = objects_on_backgrounds(OBJECTS, GROUNDS, level=law, n_per_object=6, object_size=object_size, size=192)
    for index, row in shown.metadata.iterrows():
        at_x, at_y, area, angle = _moments(shown.get([index], "mask")[0].numpy())
        assert (at_x, at_y) == pytest.approx((row["position_x"], row["position_y"]), abs=0.06)  # of a pixel
        source = OBJECTS.get([0 if row["object"] == "large" else 1], "mask")[0]
        longest = 73 if row["object"] == "large" else 61
        assert area == pytest.approx(float(source.sum()) * (row["object_size"] / longest) ** 2, rel=0.03)
        assert (angle - row["rotation"] + 90) % 180 - 90 == pytest.approx(0, abs=1.0)


def test_outside_the_mask_is_the_background_and_inside_nothing_of_what_lay_behind_the_object() -> None:
    shown = objects_on_backgrounds(OBJECTS, GROUNDS, level="high", n_per_object=5, size=64)
    images, masks = shown.images(range(10)), shown.get(range(10), "mask")
    for image, mask, ground in zip(images, masks, shown.metadata["background"]):
        behind = GROUNDS.images([GROUNDS.ids.index(ground)])[0].to(torch.float32) / 255
        assert torch.equal(image[:, mask == 0], behind[:, mask == 0]) and (mask == 0).any() and (mask == 1).any()
        assert (image[0, mask == 1] > 0.999).all() and (image[1, mask == 1] < 0.001).all()
        # where it is covered in part: red by that share, and green of the background only
        edge = (mask > 0) & (mask < 1)
        assert torch.allclose(image[1, edge], (1 - mask[edge]) * behind[1, edge], atol=1e-5)


def test_without_the_colours_weighed_by_alpha_a_seam_would_show() -> None:
    """The control of the seam: interpolated as it is, green bleeds into the object's border."""
    picture = torch.from_numpy(_ellipse()).to(torch.float32) / 255
    colours, mask = placed(picture[:3], picture[3], 64, centre=(0, 0), scale=0.5, rotation=30)
    assert float(colours[1].max()) < 1e-6
    plain, _ = placed(picture[:3], torch.ones_like(picture[3]), 64, centre=(0, 0), scale=0.5, rotation=30)
    assert float((plain[1] * mask).max()) > 0.2 and mask.max() == 1


def test_levels_vary_as_they_say_and_the_low_one_not_at_all() -> None:
    low = objects_on_backgrounds(OBJECTS, GROUNDS, level="low", n_per_object=4, size=100).metadata
    assert (low[["position_x", "position_y", "rotation"]] == 0).all(axis=None) and (low["object_size"] == 40).all()
    assert low["background"].nunique() > 1
    masks = objects_on_backgrounds(OBJECTS, GROUNDS, level="low", n_per_object=4, size=100).get(range(4), "mask")
    assert torch.equal(masks[0], masks[3])
    for name in ("medium", "high"):
        law = LEVELS[name]
        table = objects_on_backgrounds(OBJECTS, GROUNDS, level=name, n_per_object=300, size=100, seed=1).metadata
        reach = {"position_x": 100 * law.position, "position_y": 100 * law.position, "rotation": law.rotation}
        spread = {column: table[column] / most for column, most in reach.items()}
        spread["size"] = np.log(table["object_size"] / 40) / np.log(law.size[1])
        for values in spread.values():  # 8 tests, each at 0.05 / 8
            assert stats.kstest(values, stats.uniform(-1, 2).cdf).pvalue > 0.05 / 8


def test_the_background_tells_nothing_of_the_object() -> None:
    table = objects_on_backgrounds(OBJECTS, GROUNDS, level="low", n_per_object=400, size=32).metadata
    counts = pd.crosstab(table["object"], table["background"])
    assert stats.chi2_contingency(counts).pvalue > 0.01
    tied = counts.to_numpy() * np.array([[1, 1, 1, 1, 1, 1, 1.5], [1, 1, 1, 1, 1, 1, 0.5]])
    assert stats.chi2_contingency(tied).pvalue < 0.01  # the control: one background that favours an object


def test_image_i_is_the_same_alone_in_any_batch_and_whatever_n() -> None:
    many = objects_on_backgrounds(OBJECTS, GROUNDS, n_per_object=4, size=48, seed=2)
    few = objects_on_backgrounds(OBJECTS[["small"]], GROUNDS, n_per_object=2, size=48, seed=2)
    assert many.ids[4:6] == few.ids == ("small~on_background_medium-0", "small~on_background_medium-1")
    assert torch.equal(many.images([5]), few.images([1])) and many[4:6].digest == few.digest
    assert torch.equal(many.get([7, 5], "mask")[1], few.get([1], "mask")[0])
    assert many.digest != objects_on_backgrounds(OBJECTS, GROUNDS, n_per_object=4, size=48, seed=3).digest
    assert many.digest != objects_on_backgrounds(OBJECTS, GROUNDS[:6], n_per_object=4, size=48, seed=2).digest
    assert many.metadata["category"].tolist() == ["a"] * 4 + ["b"] * 4
    both = many + objects_on_backgrounds(OBJECTS, GROUNDS, level="low", n_per_object=1, size=48)
    assert len(both) == 10 and both.images([9, 0]).shape == (2, 3, 48, 48)


def test_degrees_and_grey() -> None:
    angles = objects_on_backgrounds(OBJECTS, level="high", n_per_object=1, object_size=3, size=64, degrees=8)
    pixels = objects_on_backgrounds(OBJECTS, level="high", n_per_object=1, object_size=24, size=64)
    assert torch.allclose(angles.images([0, 1]), pixels.images([0, 1]), atol=1e-6)
    assert np.allclose(angles.metadata["position_x"] * 8, pixels.metadata["position_x"])
    assert angles.metadata["background"][0] == "grey" and angles.metadata["unit"][0] == "degree"
    assert (angles.images([0])[0][:, angles.get([0], "mask")[0] == 0] == 0.5).all()
    assert (angles.metadata[["size", "degrees"]] == [64, 8]).all(axis=None) and pixels.metadata["degrees"].isna().all()
    assert np.allclose(angles.metadata["object_size"] * 8, pixels.metadata["object_size"])


def test_a_folder_of_transparent_pictures(tmp_path: Path) -> None:
    for category, name in (("animals", "dog"), ("cars", "van")):
        (tmp_path / category).mkdir()
        Image.fromarray(_ellipse().transpose(1, 2, 0)).save(tmp_path / category / f"{name}.png")
    (tmp_path / "readme.txt").write_text("about")
    found = cutouts_from_folder(tmp_path)
    assert found.ids == ("animals/dog", "cars/van") and found.metadata["category"].tolist() == ["animals", "cars"]
    same = cutouts_from_arrays([_ellipse().transpose(1, 2, 0)] * 2, ids=found.ids)
    assert torch.equal(found.images([0]), same.images([0])) and torch.equal(
        found.get([1], "mask"), same.get([1], "mask")
    )
    assert found.digest == same.digest
    assert objects_on_backgrounds(found, n_per_object=1, size=32).metadata["object"].tolist() == ["dog", "van"]
    Image.fromarray(_ellipse()[:3].transpose(1, 2, 0)).save(tmp_path / "cars" / "opaque.png")
    (tmp_path / "cars" / "torn.png").write_bytes((tmp_path / "cars" / "van.png").read_bytes()[:60])
    broken = cutouts_from_folder(tmp_path)
    with pytest.raises(StimulusError, match="cut-out cars/opaque.png is not transparent anywhere"):
        broken.images([broken.ids.index("cars/opaque")])
    with pytest.raises(StimulusError, match="cut-out cars/torn.png is broken"):
        broken.images([broken.ids.index("cars/torn")])


def test_folders_addresses_and_arrays_are_taken_as_sets_are(tmp_path: Path) -> None:
    cut, grounds = tmp_path / "cut", tmp_path / "grounds"
    for folder, bands in ((cut, 4), (grounds, 3)):
        folder.mkdir()
        Image.fromarray(_ellipse()[:bands].transpose(1, 2, 0)).save(folder / "one.png")
    options = {"n_per_object": 2, "size": 32}
    shown = objects_on_backgrounds(str(cut), grounds, **options)
    same = objects_on_backgrounds(cutouts_from_folder(cut), StimulusSet.from_folder(grounds), **options)
    assert shown.digest == same.digest and shown.metadata["object"].tolist() == ["one", "one"]
    plain = objects_on_backgrounds([_ellipse()], np.zeros((1, 3, 8, 8), dtype=np.uint8), **options)
    assert plain.digest == objects_on_backgrounds(_ellipse()[None], np.zeros((1, 3, 8, 8), np.uint8), **options).digest
    with pytest.raises(StimulusError, match=r"cut-out one.png is not transparent anywhere: it has no alpha channel"):
        objects_on_backgrounds(grounds)
    with pytest.raises(StimulusError, match="no field 'mask' .*; cutouts_from_masks cuts them out"):
        objects_on_backgrounds("world:scenes?n=2&size=32")
    with pytest.raises(AddressError, match="no stimuli at 'cat'"):
        objects_on_backgrounds("cat")
    assert len(cutouts_from_masks("world:scenes?n=24&size=64&seed=1"))


def test_objects_cut_out_of_scenes_by_their_masks() -> None:
    from netphys.stimuli import load_stimuli

    scenes = load_stimuli("world:scenes?n=24&size=64&seed=1")
    found = cutouts_from_masks(scenes)
    assert 0 < len(found) <= 24 and {"category", "object"} <= set(found.metadata.columns)
    index = list(scenes.ids).index(found.ids[0])
    image, mask = found.images([0])[0], found.get([0], "mask")[0]
    assert mask.sum() == scenes.get([index], "masks")[0, 0].sum() >= 64
    assert not mask[0].any() and mask[1].any() and not mask[:, -1].any() and mask[:, -2].any()
    whole = scenes.images([index])[0][:, scenes.get([index], "masks")[0, 0]]
    assert torch.equal(image[:, mask > 0.5], whole)
    assert objects_on_backgrounds(found, GROUNDS, n_per_object=1, size=48).images([0]).shape == (1, 3, 48, 48)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"level": "med"}, OptionError, "no level 'med'; near: 'medium'"),
        ({"n_per_object": 0}, OptionError, "n_per_object=0"),
        ({"object_size": 0}, OptionError, "object_size=0: above 0 pixels"),
        ({"cutouts": GROUNDS}, StimulusError, "has no field 'mask' that says what the object is"),
    ],
)
def test_what_cannot_be_shown_is_refused(options: dict, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        objects_on_backgrounds(options.pop("cutouts", OBJECTS), GROUNDS, **options)


def test_what_is_no_cut_out_or_level_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match=r"picture 0 is \(3, 8, 8\); a cut-out is"):
        cutouts_from_arrays([np.zeros((3, 8, 8))])
    with pytest.raises(StimulusError, match="holds no pictures"):
        cutouts_from_folder(tmp_path)
    with pytest.raises(StimulusError, match="no folder of cut-outs"):
        cutouts_from_folder(tmp_path / "none")
    with pytest.raises(StimulusError, match="no field 'masks'; near: 'mask'"):
        cutouts_from_masks(OBJECTS)
    with pytest.raises(StimulusError, match="no object in mask .* that is whole and has 9999 pixels"):
        cutouts_from_masks(OBJECTS, field="mask", smallest=9999)
    with pytest.raises(OptionError, match="level 'odd': .* rotation=270"):
        Level("odd", 0.1, (1, 2), 270)
    empty = cutouts_from_arrays([np.zeros((4, 8, 8), dtype=np.uint8)])
    with pytest.raises(StimulusError, match="cut-out 0 has no pixel"):
        objects_on_backgrounds(empty, size=16).images([0])
    other = StimulusSet.from_arrays(np.zeros((1, 3, 8, 8)), fields={"mask": np.ones((1, 8, 9))})
    with pytest.raises(StimulusError, match=r"cut-out 0: its mask is \(8, 9\), its image \(8, 8\) pixels"):
        objects_on_backgrounds(other, size=16).images([0])
