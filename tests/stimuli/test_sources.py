"""Sources put together: one after another, side by side, of several sizes; each stimulus keeps what is its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from netphys.errors import MatchError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.joining import concatenate

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 6), dtype=np.uint8)


def _set(letters: str, *, shift: int = 0, **columns: object) -> StimulusSet:
    table = pd.DataFrame({"stimulus_id": list(letters), **columns})
    return StimulusSet.from_arrays(PIXELS[shift : shift + len(letters)], metadata=table, name=letters)


def test_slices_positions_and_ids_are_sets() -> None:
    shown = _set("abcd")
    assert shown[1:3].ids == ("b", "c") and shown[::-1].ids == ("d", "c", "b", "a")
    assert shown[-1].ids == ("d",) and shown["c"].ids == ("c",) and shown[["d", "a"]].ids == ("d", "a")
    assert shown[[True, False, False, True]].ids == ("a", "d") and shown[np.array([2, 0])].ids == ("c", "a")
    assert torch.equal(shown[["d"]].images([0])[0], torch.from_numpy(PIXELS[3]))
    assert [each.ids[0] for each in shown] == list("abcd")  # a set can be walked through
    with pytest.raises(IndexError, match="has stimuli 0 to 3, not 4"):
        shown[4]
    with pytest.raises(StimulusError, match="no stimulus 'e'"):
        shown[["a", "e"]]


def test_one_after_another() -> None:
    first, second = _set("ab", category=["x", "y"]), _set("cd", shift=2, size=[1, 2])
    both = first + second
    assert both.ids == tuple("abcd") and both.name == "ab + cd" and len(both) == 4
    assert torch.equal(both.images(range(4)), torch.from_numpy(PIXELS))
    assert torch.equal(both.images([3, 0, 2]), torch.from_numpy(PIXELS[[3, 0, 2]]))  # order is kept across parts
    assert both.metadata["category"].tolist()[:2] == ["x", "y"] and both.metadata["size"].tolist()[2:] == [1, 2]
    assert both.digest == _set("abcd").digest  # pixels and ids in order, wherever they lie
    assert both.digest != (second + first).digest
    assert (first[1:] + second).ids == ("b", "c", "d")
    with pytest.raises(MatchError, match="'a'"):
        first + first
    with pytest.raises(StimulusError, match="no set of stimuli"):
        concatenate([])
    sounds = StimulusSet.from_arrays(fields={"sound": np.zeros((1, 9), np.float32)}, ids=["s"])
    with pytest.raises(StimulusError, match="without a common field cannot be put together: image and sound"):
        first + sounds


def test_a_table_is_joined_by_id_and_leaves_the_digest() -> None:
    shown = _set("abcd")[[2, 0]]
    table = pd.DataFrame({"stimulus_id": ["z", "a", "c"], "rating": [9, 1, 3]})
    joined = shown.join(table)
    assert joined.ids == ("c", "a") and joined.metadata["rating"].tolist() == [3, 1]  # by id, not by position
    assert joined.digest == shown.digest and "rating" not in shown.metadata
    assert joined.where("rating > 2").ids == ("c",)
    with pytest.raises(MatchError, match="1 of 2 stimuli"):
        shown.join(table[table["stimulus_id"] != "c"])
    with pytest.raises(StimulusError, match="has no column 'stimulus'; near: 'stimulus_id'"):
        shown.join(table, on="stimulus")


def test_many_stimuli_share_a_row_of_what_is_joined_by_another_column() -> None:
    shown = _set("abcd", category=["x", "y", "x", "y"])
    rows = pd.DataFrame({"category": ["y", "x"], "animate": [0, 1]})
    assert shown.join(rows, on="category").metadata["animate"].tolist() == [1, 0, 1, 0]


def test_images_and_sounds_side_by_side() -> None:
    shown = _set("abcd")
    waves = np.random.default_rng(1).normal(0, 0.1, (3, 8)).astype(np.float32)
    sounds = StimulusSet.from_arrays(fields={"sound": waves}, ids=["b", "d", "a"])
    both = shown[["a", "b"]].join(sounds)
    assert both.fields == ("image", "sound") and both.ids == ("a", "b")
    assert torch.equal(both.get([0, 1], "sound"), torch.from_numpy(waves[[2, 0]]))
    assert torch.equal(both.images([1])[0], torch.from_numpy(PIXELS[1]))
    assert both.digest != shown[["a", "b"]].digest
    other = waves.copy()
    other[2, 0] += 1e-3
    moved = StimulusSet.from_arrays(fields={"sound": other}, ids=["b", "d", "a"])
    assert shown[["a", "b"]].join(moved).digest != both.digest  # what is heard counts
    assert both[["b"]].get([0], "sound").shape == (1, 8)


def test_images_of_several_sizes_in_memory() -> None:
    images = [PIXELS[0], PIXELS[1][:, :3], PIXELS[2]]
    shown = StimulusSet.from_arrays(images)
    assert [tuple(each.shape) for each in shown.images(range(3))] == [(3, 5, 6), (3, 3, 6), (3, 5, 6)]
    assert isinstance(shown.images([0, 2]), torch.Tensor)
    shown.images(range(3))[0].zero_()
    assert torch.equal(shown.images([0])[0], torch.from_numpy(PIXELS[0]))


def test_fields_of_any_kind_and_what_is_wrong_with_them() -> None:
    shown = StimulusSet.from_arrays(PIXELS, fields={"text": ["one", "two", "three", "four"], "depth": PIXELS[:, 0]})
    assert shown.fields == ("image", "text", "depth") and shown.get([2, 1], "text") == ["three", "two"]
    assert tuple(shown.get([0], "depth").shape) == (1, 5, 6)
    with pytest.raises(StimulusError, match="fields of different numbers of stimuli: image 4, text 2"):
        StimulusSet.from_arrays(PIXELS, fields={"text": ["one", "two"]})
    with pytest.raises(StimulusError, match="none was given"):
        StimulusSet.from_arrays()
    with pytest.raises(StimulusError, match=r"bring the colours to the front: images.transpose\(0, 3, 1, 2\)"):
        StimulusSet.from_arrays(PIXELS.transpose(0, 2, 3, 1))


def test_photographs_beside_generated_pictures_are_float_whatever_is_read() -> None:
    photographs = _set("ab")
    drawn = StimulusSet.from_arrays(PIXELS[2:].astype(np.float32) / 255, ids=["c", "d"])
    both = photographs + drawn
    expected = torch.from_numpy(PIXELS).to(torch.float32) / 255
    assert torch.equal(both.images(), expected) and torch.equal(both.images([0]), expected[:1])
    assert (photographs + _set("cd", shift=2)).images().dtype == torch.uint8


def test_a_column_that_both_have_and_that_differs_is_said(caplog: pytest.LogCaptureFixture) -> None:
    shown = _set("ab", face=[0, 1])
    assert shown.join(pd.DataFrame({"stimulus_id": ["b", "a"], "face": [1, 0]})).metadata["face"].tolist() == [0, 1]
    assert not caplog.records
    assert shown.join(pd.DataFrame({"stimulus_id": ["a", "b"], "face": [9, 9]})).metadata["face"].tolist() == [0, 1]
    assert "column(s) 'face' of what is joined differ" in caplog.text


def test_treatments_of_what_comes_together_are_said() -> None:
    plain, treated = _set("ab"), _set("cd", shift=2).treated("contrast(0.5)")
    both = plain + treated
    assert both.treatment == "none; or contrast(0.5)"
    assert both.metadata["treatment"].tolist() == ["none", "none", "contrast(0.5)", "contrast(0.5)"]
    sounds = StimulusSet.from_arrays(fields={"sound": np.zeros((2, 4), np.float32)}, ids=["c", "d"])
    assert sounds.join(treated).treatment == "contrast(0.5)" and treated.join(sounds).treatment == "contrast(0.5)"


def test_what_a_treatment_measured_and_clipped_is_handed_on_by_sources_of_sources() -> None:
    treated = _set("abcd").treated("grey() | luminance() | contrast(3)")
    targets = treated.targets["luminance()"]
    shares = treated.clipped()
    assert set(targets) == {"mean", "sd"} and shares is not None and (shares > 0.01).all()
    sounds = StimulusSet.from_arrays(fields={"sound": np.zeros((4, 9), np.float32)}, ids=list("abcd"))
    plain = StimulusSet.from_arrays(PIXELS[:1], ids=["e"])
    for each in (treated[[3, 0]], treated.held("cpu")[[3, 0]], treated.join(sounds)[[3, 0]], (plain + treated)[[4, 1]]):
        assert each.targets["luminance()"] == targets
        np.testing.assert_allclose(each.clipped(), shares[[3, 0]])
        np.testing.assert_allclose(each.statistics()["clipped"], shares[[3, 0]])
    assert plain.clipped() is None and plain.targets == {} and np.isnan((plain + treated).clipped()[0])
