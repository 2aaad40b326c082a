"""Sheets of patches: which units, where on the mosaic, and what the title says."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from torch import nn

import netphys
from netphys.errors import OptionError
from netphys.units import LayerPatches, choose_units, plot_sheet, top_patches
from netphys.units.crops import Crops
from netphys.units.sheets import mosaic


def layer(best: list[float], last: list[float]) -> LayerPatches:
    """A layer of which only the first and last activation are known."""
    value = np.stack([best, last], axis=1).astype(np.float32)
    empty = np.zeros((len(best), 2), dtype=np.int64)
    return LayerPatches(
        "a", "Conv2d", ("unit", "y", "x"), (len(best), 1, 1), value, empty, np.zeros((len(best), 2, 2), np.int32)
    )


def test_units_are_chosen_by_a_stated_rule_and_dead_ones_never() -> None:
    found = layer([3.0, 0.0, 5.0, 1.0, -2.0, 8.0], [1.0, 0.0, 4.0, 0.1, -3.0, 7.0])
    assert choose_units(found) == (0, 2, 3, 5)
    assert choose_units(found, 2) == (0, 5)
    assert choose_units(found, 2, rule="selective") == (3, 0)
    assert choose_units(found, 3, rule="strongest") == (5, 2, 0)
    assert choose_units(layer([0.0], [0.0])) == ()
    with pytest.raises(OptionError, match="rule='selectiv' is not known; near: 'selective'"):
        choose_units(found, rule="selectiv")
    assert np.isnan(found.selectivity[1]) and found.selectivity[2] == pytest.approx(1.25)


def test_the_mosaic_holds_every_patch_at_its_place() -> None:
    """Patches of one colour each: unit in red, entry in green; the third unit starts a new row."""
    images = np.zeros((3, 4, 3, 30, 30), dtype=np.uint8)
    images[:, :, 0] = np.array([10, 20, 30])[:, None, None, None]
    images[:, :, 1] = np.array([50, 60, 70, 80])[None, :, None, None]
    inside = np.ones((3, 4, 30, 30), dtype=bool)
    inside[2, 3] = False
    crops = Crops("a", (5, 6, 7), images, inside, np.zeros((3, 4, 4)), "")
    picture, corners, side = mosaic(crops, columns=2)
    assert side == 30 and corners[0][0] == corners[1][0] < corners[2][0] and corners[0][1] == corners[2][1]
    for unit, (top, left) in enumerate(corners):
        for entry in range(4 if unit < 2 else 3):
            y, x = top + (entry // 2) * 32 + 3, left + (entry % 2) * 32 + 3  # 30 pixels and a gap of 2
            assert picture[y, x].tolist() == [10 * (unit + 1), 50 + 10 * entry, 0]
    top, left = corners[2]
    assert set(np.unique(picture[top + 32 : top + 62, left + 32 : left + 62])) == {214, 236}  # stripes, no picture


@pytest.mark.parametrize(("shape", "drawn"), [((9, 9), (27, 27)), ((100, 200), (32, 64)), ((24, 30), (24, 30))])
def test_patches_are_brought_to_a_size_that_can_be_drawn(shape: tuple[int, int], drawn: tuple[int, int]) -> None:
    images = np.full((1, 1, 3, *shape), 77, dtype=np.uint8)
    crops = Crops("a", (0,), images, np.ones((1, 1, *shape), bool), np.zeros((1, 1, 4)), "")
    picture, corners, side = mosaic(crops)
    assert side == drawn[0]
    top, left = corners[0]
    assert (picture[top : top + drawn[0], left : left + drawn[1]] == 77).all() and picture.shape[1] == drawn[1]


def test_plot_draws_on_the_axes_that_it_is_given() -> None:
    module = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
    module[0].weight.data.abs_()
    module[0].bias.data[:] = 0.0
    module[0].bias.data[3] = -100.0  # dead; the others cannot be
    stimuli = netphys.load_stimuli("world:scenes?n=6")
    result = top_patches(module, stimuli, layers="1", k=4)
    ax = Figure().add_subplot()
    assert result.plot("1", stimuli, module, units=[4, 0], ax=ax) is ax
    labels = [each.get_text() for each in ax.texts]
    assert labels == [f"{unit}: {result['1'].value[unit, 0]:.3g}" for unit in (4, 0)]
    assert ax.get_title(loc="left") == "1: 2 of 5 units, 1 dead; fields of 3 x 3 px, stride 1 x 1"
    alone = plot_sheet(result, "1", stimuli, module)
    assert len(alone.texts) == 4 and alone.figure is not ax.figure
