"""Crowding: the target where it is said to be, flankers at the stated spacing, never the target among them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from netphys.errors import OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic.crowding import crowded

# five images of one grey value each, so that a pixel of the canvas tells which image it is of
VALUES = np.array([0, 60, 130, 190, 255], dtype=np.uint8)
STIMULI = StimulusSet.from_arrays(
    np.broadcast_to(VALUES[:, None, None, None], (5, 3, 10, 10)).copy(), ids=list("abcde")
)


def _centre(where: np.ndarray) -> tuple[float, float]:
    """Centre of pixels, from the middle of the canvas, x right and y up."""
    rows, columns = np.nonzero(where)
    middle = (where.shape[0] - 1) / 2
    return columns.mean() - middle, middle - rows.mean()


@pytest.mark.parametrize(
    ("arrangement", "position", "expected"),
    [
        ("radial", (20.0, 0.0), [(35, 0), (5, 0)]),
        ("tangential", (20.0, 0.0), [(20, 15), (20, -15)]),
        ("radial", (0.0, -20.0), [(0, -35), (0, -5)]),
        ("radial", (0.0, 0.0), [(15, 0), (-15, 0)]),
        ("ring", (0.0, 0.0), [(15, 0), (-15, 0)]),
    ],
)
def test_flankers_lie_at_the_stated_spacing(
    arrangement: str, position: tuple[float, float], expected: list[tuple[float, float]]
) -> None:
    shown = crowded(STIMULI, spacing=1.5, arrangement=arrangement, position=position, target_size=10, size=100)  # type: ignore[arg-type]
    for index, row in shown.metadata.iterrows():
        image = shown.images([index])[0, 0].numpy()
        assert _centre(shown.get([index], "mask")[0].numpy()) == pytest.approx(position, abs=1e-9)
        assert row["source_id"] not in (row["flanker_1"], row["flanker_2"]) and row["flanker_1"] != row["flanker_2"]
        for flanker, place in zip((row["flanker_1"], row["flanker_2"]), expected):
            where = np.isclose(image, VALUES["abcde".index(flanker)] / 255)
            assert where.sum() == 100 and _centre(where) == pytest.approx(place, abs=0.5)
        assert np.isclose(image, 0.5).sum() == 100 * 100 - 300


def test_a_ring_is_even_and_a_line_goes_on_at_twice_the_spacing() -> None:
    ring = crowded(STIMULI, n_flankers=4, spacing=20, spacing_in="units", arrangement="ring", target_size=8, size=99)
    image = ring.images([0])[0, 0].numpy()
    places = [
        _centre(np.isclose(image, VALUES["abcde".index(ring.metadata[f"flanker_{k}"][0])] / 255)) for k in range(1, 5)
    ]
    assert np.allclose(places, [(20, 0), (0, 20), (-20, 0), (0, -20)], atol=0.5)
    line = crowded(STIMULI, n_flankers=4, spacing=10, spacing_in="units", target_size=8, size=99)
    image = line.images([0])[0, 0].numpy()
    places = [
        _centre(np.isclose(image, VALUES["abcde".index(line.metadata[f"flanker_{k}"][0])] / 255)) for k in range(1, 5)
    ]
    assert np.allclose(places, [(10, 0), (-10, 0), (20, 0), (-20, 0)], atol=0.5)


def test_flankers_are_the_same_for_every_spacing_and_the_target_alone_is_at_the_same_place() -> None:
    close, far = (crowded(STIMULI, spacing=s, target_size=10, size=100) for s in (1.2, 3.0))
    assert close.metadata["flanker_1"].tolist() == far.metadata["flanker_1"].tolist()
    alone = crowded(STIMULI, n_flankers=0, target_size=10, size=100)
    mask = alone.get([2], "mask")
    assert torch.equal(mask, close.get([2], "mask"))
    assert torch.equal(alone.images([2])[mask.expand(1, 3, -1, -1)[:, :3].bool().expand(1, 3, 100, 100)],
                       close.images([2])[mask.expand(1, 3, 100, 100)])  # fmt: skip
    assert close.digest != far.digest


def test_flankers_of_another_set_and_parts_of_images() -> None:
    discs = np.zeros((2, 21, 21), dtype=np.float32)
    y, x = np.mgrid[-10:11, -10:11]
    discs[:] = np.hypot(x, y) <= 10
    white = StimulusSet.from_arrays(np.ones((2, 3, 21, 21), dtype=np.float32), ids=["w", "v"], fields={"part": discs})
    black = StimulusSet.from_arrays(np.zeros((2, 3, 21, 21), dtype=np.float32), ids=["b", "c"], fields={"part": discs})
    shown = crowded(white, flankers=black, spacing=0.5, target_size=21, alpha="part", size=64)
    image = shown.images([0])[0, 0].numpy()
    assert (image == 1).sum() == discs[0].sum() and (image == 0).any() and np.isclose(image, 0.5).any()
    assert torch.equal(shown.get([0], "mask")[0], torch.from_numpy(image == 1))  # the target lies on top


def test_a_target_is_never_its_own_flanker_in_a_part_of_its_set_either() -> None:
    shown = crowded(STIMULI, flankers=STIMULI.subset(["a", "b", "c"]), n=6, target_size=10, size=100).metadata
    assert (shown["flanker_1"] != shown["source_id"]).all() and (shown["flanker_2"] != shown["source_id"]).all()
    assert set(shown["flanker_1"]) == set("abc")
    with pytest.raises(StimulusError, match="3 flankers of arrays, which has 3 stimuli, the target among them"):
        crowded(STIMULI, flankers=STIMULI[:3], n_flankers=3, target_size=5, arrangement="ring", size=100)
    assert (
        len(crowded(STIMULI[3:], flankers=STIMULI[:3], n_flankers=3, target_size=5, arrangement="ring", size=100)) == 2
    )


def test_columns_are_those_of_the_screen_and_a_field_of_view_shows_it_as_wide_as_it_is() -> None:
    """The control has the degrees of the original: the screen of 8 degrees would be shown a quarter as wide."""
    table = pd.DataFrame({"stimulus_id": list("abc"), "degrees": 2.0, "size": 10, "unit": "degree"})
    small = StimulusSet.from_arrays(np.stack([np.full((3, 10, 10), v, np.uint8) for v in (0, 90, 255)]), metadata=table)
    shown = crowded(small, degrees=8, size=64)
    row = shown.metadata.iloc[0]
    assert (row["degrees"], row["size"], row["unit"]) == (8.0, 64, "degree")
    assert (row["original_degrees"], row["original_size"], row["original_unit"]) == (2.0, 10, "degree")
    assert torch.allclose(shown.treated("field(8,64)").images([0]), shown.images([0]), atol=1e-6)
    again = crowded(shown, size=32).metadata.iloc[0]
    assert np.isnan(again["degrees"]) and (again["unit"], again["size"]) == ("pixel", 32)
    assert (again["original_degrees"], again["original_size"]) == (8.0, 64)
    wrong = StimulusSet.from_arrays(shown.images(range(3)), metadata=shown.metadata.assign(degrees=2.0))
    ground = wrong.treated("field(8,64)").images([0])[0, :, :24]
    assert (ground == 0.5).all() and (shown.images([0])[0, :, :24] - 0.5).abs().max() < 0.6
    bare = crowded(STIMULI, size=64).metadata
    assert not [each for each in bare if each.startswith("original_")] and bare["degrees"].isna().all()


def test_degrees_and_sizes() -> None:
    angles = crowded(STIMULI, position=(2.5, 0), target_size=1, spacing=1.5, size=100, degrees=10)
    pixels = crowded(STIMULI, position=(25, 0), target_size=10, spacing=1.5, size=100)
    assert torch.equal(angles.images([1]), pixels.images([1]))
    row = angles.metadata.iloc[0]
    assert (row["unit"], row["target_size"], row["position_x"]) == ("degree", 1.0, 2.5)
    tall = StimulusSet.from_arrays([torch.zeros(3, 40, 20), torch.ones(3, 20, 40)])
    mask = crowded(tall, n_flankers=1, target_size=16, size=64).get([0, 1], "mask")
    assert [int(each.any(1).sum()) for each in mask] == [16, 8] and [int(each.any(0).sum()) for each in mask] == [8, 16]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"spacing": 9}, OptionError, "reach .* pixels from the middle of a screen that ends at 50"),
        (
            {"n_flankers": 5, "arrangement": "ring"},
            StimulusError,
            "5 flankers of arrays, which has 5 stimuli, the target among them",
        ),
        ({"flankers": STIMULI[:1].images([0])}, StimulusError, "2 flankers of arrays, which has 1 stimulus$"),
        ({"arrangement": "row"}, OptionError, "no arrangement 'row'"),
        ({"alpha": "mask"}, StimulusError, "no field 'mask'"),
        ({"spacing": 0}, OptionError, "spacing=0"),
        ({"n_flankers": 1.5}, OptionError, "n_flankers=1.5: a whole number"),
        ({"position": (float("nan"), 0)}, OptionError, "position=nan"),
        ({"seed": 0.5}, OptionError, "seed=0.5: a whole number"),
        ({"target_size": 0.1}, OptionError, "at least one pixel"),
    ],
)
def test_what_cannot_be_shown_is_refused(options: dict, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        crowded(STIMULI, size=100, **options)
