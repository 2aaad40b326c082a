"""StimulusSet: a fixed order of stimuli with ids, selections that copy nothing, and a digest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from netphys.errors import MatchError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.sources import Generated

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), dtype=np.uint8)
TABLE = pd.DataFrame({"stimulus_id": list("abcdef"), "category": ["face", "house"] * 3, "size": [1, 2, 3, 4, 5, 6]})


def _set(**options: object) -> StimulusSet:
    return StimulusSet.from_arrays(PIXELS, metadata=TABLE, **options)


def test_from_arrays_keeps_pixels_ids_and_metadata() -> None:
    shown = _set(name="six")
    assert len(shown) == 6 and shown.ids == tuple("abcdef")
    assert repr(shown) == "StimulusSet(six: 6 stimuli; category, size)"
    assert torch.equal(shown.images([5, 0]), torch.from_numpy(PIXELS[[5, 0]]))
    assert StimulusSet.from_arrays(PIXELS).ids == ("0", "1", "2", "3", "4", "5")
    assert StimulusSet.from_arrays(PIXELS, ids=[10, 11, 12, 13, 14, 15]).ids[0] == "10"
    assert StimulusSet.from_arrays(torch.rand(2, 3, 4, 4, dtype=torch.float64)).images([0]).dtype == torch.float32


def test_metadata_is_a_copy() -> None:
    shown = _set()
    table = shown.metadata
    table.loc[0, "category"] = "changed"
    assert shown.metadata["category"][0] == "face"


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (PIXELS[0], r"images are \(stimulus, 3, y, x\); these are \(3, 4, 5\)"),
        (PIXELS.transpose(0, 2, 3, 1), r"these are \(6, 4, 5, 3\)"),
        (PIXELS.astype(np.int32), r"images are uint8, or float in \[0, 1\]; these are torch.int32"),
        (PIXELS.astype(np.float32), r"float images are in \[0, 1\]; these are in \[0, 255\]"),
        (np.full((1, 3, 2, 2), np.nan, np.float32), r"these are in \[nan, nan\]"),
        (PIXELS[:0], "holds no stimulus"),
        (PIXELS[:0].astype(np.float32), "holds no stimulus"),
    ],
)
def test_what_is_no_image_is_refused(images: np.ndarray, said: str) -> None:
    with pytest.raises(StimulusError, match=said):
        StimulusSet.from_arrays(images)


def test_ids_are_unique_and_as_many_as_images() -> None:
    with pytest.raises(MatchError, match="'a'"):
        StimulusSet.from_arrays(PIXELS[:2], ids=["a", "a"])
    with pytest.raises(StimulusError, match="6 images but 5 rows of metadata"):
        StimulusSet.from_arrays(PIXELS, metadata=TABLE[:5])
    with pytest.raises(StimulusError, match="6 images but 2 ids"):
        StimulusSet.from_arrays(PIXELS, ids=["a", "b"])


def test_subset_by_position_and_mask_in_the_order_given() -> None:
    shown = _set()
    chosen = shown.subset([4, 1])
    assert chosen.ids == ("e", "b") and chosen.metadata["size"].tolist() == [5, 2]
    assert torch.equal(chosen.images([0, 1]), torch.from_numpy(PIXELS[[4, 1]]))
    assert chosen.subset(np.array([False, True])).ids == ("b",)
    assert shown.subset([-1]).ids == ("f",)
    with pytest.raises(MatchError, match="occur more than once: 'b'"):
        shown.subset([1, 1])
    with pytest.raises(StimulusError, match="a mask of 2 values for 6 stimuli"):
        shown.subset(np.array([False, True]))
    with pytest.raises(StimulusError, match="holds no stimulus"):
        shown.subset([])


def test_where_selects_by_a_condition() -> None:
    shown = _set()
    assert shown.where("category == 'face' and size > 1").ids == ("c", "e")
    assert shown.subset([5, 4, 3]).where("size < 6").ids == ("e", "d")  # keeps the order of the set
    with pytest.raises(StimulusError, match=r"no stimulus of arrays meets \"size > 9\"|no stimulus of arrays meets"):
        shown.where("size > 9")
    with pytest.raises(StimulusError, match="is not understood .*; columns: stimulus_id, category, size"):
        shown.where("colour == 'red'")
    for odd in ("size >", "category"):
        with pytest.raises(StimulusError, match="is not understood"):
            shown.where(odd)


@pytest.mark.parametrize(
    "attack", ["@pd.read_pickle('x')", "size.__class__", "`a`.__init__", "colour.to_csv('x') != colour", "max(size)"]
)
def test_a_condition_reaches_nothing_but_columns(attack: str) -> None:
    with pytest.raises(StimulusError, match="holds more than columns, values and comparisons|is not understood"):
        _set().where(attack)


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(StimulusError, match="six has no field 'imgae'; near: 'image'"):
        _set(name="six").get([0], "imgae")


def test_digest_is_of_ids_and_pixels_in_order() -> None:
    digest = _set().digest
    assert digest == _set(name="another name").digest == _set().subset(range(6)).digest
    assert digest == StimulusSet.from_arrays(PIXELS.copy(), ids=list("abcdef")).digest  # metadata are not shown
    flipped = PIXELS.copy()
    flipped[3, 0, 0, 0] ^= 1
    others = [
        StimulusSet.from_arrays(flipped, metadata=TABLE),
        _set().subset([1, 0, 2, 3, 4, 5]),
        _set().subset([0, 1, 2, 3, 4]),
        StimulusSet.from_arrays(PIXELS, ids=list("abcdeg")),
        StimulusSet.from_arrays(PIXELS.astype(np.float32) / 255, metadata=TABLE),
    ]
    assert len({digest, *(each.digest for each in others)}) == 6


def test_generated_stimuli_are_their_recipe() -> None:
    def made(seed: int, first: int = 0) -> StimulusSet:
        source = Generated({"image": lambda rows: torch.as_tensor(rows)}, {"seed": seed}, first=first)
        return StimulusSet(source, pd.DataFrame({"stimulus_id": ["a", "b", "c"]}), name="made")

    assert made(0).images([2]).tolist() == [2] and made(0, first=10).images([2]).tolist() == [12]
    assert made(0).digest == made(0).digest
    assert len({made(0).digest, made(1).digest, made(0, first=1).digest}) == 3


def test_the_callers_array_and_the_readers_cache_are_out_of_reach(tmp_path: Path) -> None:
    array = np.zeros((2, 3, 4, 4), np.uint8)
    shown = StimulusSet.from_arrays(array)
    digest = shown.digest
    array[:] = 9
    assert shown.digest == digest and int(shown.images([0]).max()) == 0
    for name, size in (("a", 4), ("b", 6)):
        Image.fromarray(np.full((size, size, 3), 7, np.uint8)).save(tmp_path / f"{name}.png")
    mixed = StimulusSet.from_folder(tmp_path)
    mixed.images([0, 1])[0].zero_()
    assert int(mixed.images([0, 1])[0].min()) == 7


@pytest.mark.parametrize(
    ("indices", "words"), [([0.9, 1.9], "by position"), ([7], "has stimuli 0 to"), ([True], "a mask of 1")]
)
def test_odd_positions_are_refused(indices: list, words: str) -> None:
    with pytest.raises(StimulusError, match=words):
        _set().images(indices)


def test_a_subset_remembers_what_was_left_out(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert StimulusSet.from_folder(tmp_path, skip_broken=True).subset([0]).left_out == ("broken.png",)


def test_stimuli_are_asked_for_in_every_usual_way() -> None:
    shown = _set()
    everything = torch.from_numpy(PIXELS)
    assert torch.equal(shown.images(), everything) and torch.equal(shown.images(slice(1, 3)), everything[1:3])
    assert torch.equal(shown.get(2), everything[[2]]) and torch.equal(shown.images(["f", "a"]), everything[[5, 0]])
    assert torch.equal(shown.images("c"), everything[[2]]) and torch.equal(shown.images(range(2, 4)), everything[2:4])
    assert "a" in shown and "z" not in shown and 0 not in shown
    with pytest.raises(StimulusError, match="has stimuli 0 to 5, not -9"):
        shown.images([0, -9])
    with pytest.raises(StimulusError, match="not by int64 of 2 axes"):
        shown.images([[0, 1]])


def test_a_condition_that_nobody_meets_names_values_that_are_near() -> None:
    with pytest.raises(StimulusError, match="category is never 'fcae'; near: 'face'"):
        _set().where("category == 'fcae' and size > 1")


def test_ids_are_text_and_none_is_missing() -> None:
    numbered = StimulusSet.from_arrays(PIXELS, metadata=pd.DataFrame({"stimulus_id": range(6)}))
    assert numbered.where("stimulus_id == '2'").ids == ("2",)
    for missing in (np.nan, None):
        with pytest.raises(StimulusError, match="a stimulus has no stimulus_id"):
            StimulusSet.from_arrays(PIXELS[:2], metadata=pd.DataFrame({"stimulus_id": ["a", missing]}))


def test_arrays_of_other_strides_and_byte_orders() -> None:
    assert torch.equal(StimulusSet.from_arrays(PIXELS[:, ::-1]).images(), torch.from_numpy(PIXELS[:, ::-1].copy()))
    big = (PIXELS / 255).astype(">f4")
    assert torch.equal(StimulusSet.from_arrays(big).images(), torch.from_numpy(big.astype("<f4")))
    with pytest.raises(StimulusError, match="field 'rating' holds NoneType"):
        StimulusSet.from_arrays(PIXELS[:1], fields={"rating": [None]})
    assert StimulusSet.from_arrays(PIXELS[:2], fields={"rating": [3, 4]}).get(None, "rating").tolist() == [3, 4]


def test_an_address_is_kept_and_a_selection_says_so(tmp_path: Path) -> None:
    from netphys.stimuli import load_stimuli

    Image.fromarray(PIXELS[0].transpose(1, 2, 0)).save(tmp_path / "a.png")
    Image.fromarray(PIXELS[1].transpose(1, 2, 0)).save(tmp_path / "b.png")
    shown = load_stimuli(tmp_path)
    assert shown.address == str(tmp_path) == shown.subset([0, 1]).address
    assert shown[:1].address == shown[:1][:1].address == f"{tmp_path} (a selection)"
    assert StimulusSet.from_folder(tmp_path).address == ""
