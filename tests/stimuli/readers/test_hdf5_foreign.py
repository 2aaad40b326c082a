"""read_hdf5 of files from elsewhere: which dataset, which order of axes, which ids; nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from netphys.errors import FileError, MatchError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers import hdf5_foreign, hdf5_strings

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 7), dtype=np.uint8)  # stimulus, colour, y, x


def written(folder: Path, **data: Any) -> Path:
    path = folder / "theirs.h5"
    path.unlink(missing_ok=True)  # a set that was read keeps its file open
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file[name.replace("__", "/")] = values
    return path


def refused(path: Path, said: str, **options: Any) -> None:
    with pytest.raises((StimulusError, FileError), match=said) as caught:
        StimulusSet.from_hdf5(path, **options)
    assert "\n" not in str(caught.value) and "theirs" in str(caught.value)


@pytest.mark.parametrize(
    ("axes", "options"),
    [
        ((0, 2, 3, 1), {}), ((0, 1, 2, 3), {}), ((0, 2, 3, 1), {"order": "nyxc"}), ((2, 3, 1, 0), {"order": "yxcn"}),
        ((0, 1, 3, 2), {"order": "ncxy"}), ((1, 0, 2, 3), {"order": "cnyx"}),
    ],
)  # fmt: skip
def test_every_order_of_axes_is_the_same_set(tmp_path: Path, axes: tuple[int, ...], options: dict[str, str]) -> None:
    path = written(tmp_path, images=PIXELS.transpose(axes))
    shown = StimulusSet.from_hdf5(path, **options)
    assert torch.equal(shown.images([4, 0, 1]), torch.from_numpy(PIXELS[[4, 0, 1]]))
    assert shown.digest == StimulusSet.from_arrays(PIXELS).digest and shown.ids == tuple("01234")
    assert shown.name == "theirs" and shown.conversions == {}


def test_the_wrong_order_is_other_pixels(tmp_path: Path) -> None:
    path = written(tmp_path, images=PIXELS)
    assert StimulusSet.from_hdf5(path, order="ncxy").digest != StimulusSet.from_hdf5(path).digest  # control


def test_grey_is_repeated_and_said(tmp_path: Path) -> None:
    for grey in (PIXELS[:, 0], PIXELS[:, :1], PIXELS[:, 0, :, :, None]):
        shown = StimulusSet.from_hdf5(written(tmp_path, images=grey))
        assert torch.equal(shown.images([2])[0], torch.from_numpy(PIXELS[2, 0]).expand(3, 6, 7))
        assert shown.conversions == {"grey repeated": 5}


def test_floats_are_in_0_to_1_and_others_are_hinted_at(tmp_path: Path) -> None:
    shown = StimulusSet.from_hdf5(written(tmp_path, images=PIXELS / 255))
    assert shown.images([0]).dtype == torch.float32
    assert torch.equal(shown.images([0])[0], torch.from_numpy((PIXELS[0] / 255).astype(np.float32)))
    said = r"stimulus '0' of images: float images are in \[0, 1\]; this one is in \[0, 248\]; save them as uint8"
    refused(written(tmp_path, images=PIXELS.astype(np.float32)), said)
    refused(written(tmp_path, images=PIXELS / 255 - 1), r"this one is in \[-1, -?[\d.]+\]$")
    late = PIXELS / 255
    late[3, 0, 0, 0] = np.nan
    shown = StimulusSet.from_hdf5(written(tmp_path, images=late))
    assert len(shown.images([2])) == 1
    with pytest.raises(StimulusError, match=r"stimulus '3' of images: float images are in \[0, 1\]"):
        shown.images([2, 3])


def test_ids_and_metadata_are_the_other_datasets(tmp_path: Path) -> None:
    names = ["ä", "b", "c", "d", "e"]
    fixed = np.array(list("bcdef"), "S1")
    none = {"other": np.zeros(4), "table": np.zeros((5, 2)), "one": 3}
    number = np.arange(5)[:, None]
    path = written(tmp_path, images=PIXELS, stimulus_id=names, info__number=number, fixed=fixed, **none)
    shown = StimulusSet.from_hdf5(path)
    assert shown.ids == tuple(names) and set(shown.metadata) == {"stimulus_id", "info/number", "fixed"}
    assert shown.metadata["info/number"].tolist() == [0, 1, 2, 3, 4] and shown.metadata["fixed"].tolist() == list(
        "bcdef"
    )
    path = written(tmp_path, images=PIXELS, info__number=number, fixed=fixed, **none)
    assert StimulusSet.from_hdf5(path, ids="info/number").ids == tuple("01234")
    assert StimulusSet.from_hdf5(path, ids="/fixed").ids == tuple("bcdef")
    assert StimulusSet.from_hdf5(path, ids=list("vwxyz")).ids == tuple("vwxyz")
    assert set(StimulusSet.from_hdf5(path, metadata=["fixed"]).metadata) == {"stimulus_id", "fixed"}
    table = pd.DataFrame({"stimulus_id": list("vwxyz"), "n": range(5)})
    assert StimulusSet.from_hdf5(path, metadata=table).where("n == 4").ids == ("z",)
    refused(path, r"theirs.h5 has no dataset 'numbr'; near: ", ids="numbr")
    refused(path, r"other \(4,\) float64 is no column of 5 strings or numbers", ids="other")
    refused(path, r"table \(5, 2\) float64 is no column of 5", metadata=["table"])
    refused(path, "has 5 stimuli, but 2 ids are given", ids=["a", "b"])
    refused(path, "has 5 stimuli, the metadata 2 rows", metadata=table[:2])
    with pytest.raises(MatchError, match="occur more than once: 'a'"):
        StimulusSet.from_hdf5(path, ids=list("aabcd"))


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ({"a": PIXELS, "b": PIXELS}, {}, r"has 2 datasets that may be images: a \(5, 3, 6, 7\), b .*dataset=NAME says"),
        ({"a": PIXELS}, {"dataset": "aa"}, "has no dataset 'aa'"),
        ({"a": np.zeros(5)}, {}, r"has no dataset that looks like images .*: a \(5,\) float64"),
        ({"a": np.zeros((5, 3, 6, 3), np.uint8)}, {}, "which axis is the colour. say order=nyxc or order=ncyx"),
        ({"a": np.zeros((5, 6, 3), np.uint8)}, {}, "may be grey images or one in colour; order=nyx says grey"),
        ({"a": np.zeros((5, 6, 7, 4), np.uint8)}, {"dataset": "a"}, "which axis is the colour"),
        ({"a": np.zeros((5, 6, 7, 4), np.uint8)}, {"dataset": "a", "order": "nyxc"}, "order=nyxc would be 4 colours"),
        ({"a": PIXELS}, {"order": "abcd"}, "is no order of n"),
        ({"a": PIXELS}, {"dataset": "a", "order": "nyx"}, "order=nyx has 3 axes"),
        ({"a": PIXELS.astype(np.int32)}, {"dataset": "a"}, r"a is int32; images are uint8, or float in \[0, 1\]"),
        ({"a": PIXELS[:0]}, {"dataset": "a"}, "it holds no stimulus"),
        ({"a": np.zeros((1, 8001, 8001), np.uint8)}, {}, "has 8001 x 8001 pixels a stimulus, over"),
    ],
)
def test_what_is_not_clear_is_asked(tmp_path: Path, data: dict[str, Any], options: dict[str, str], said: str) -> None:
    path = written(tmp_path, **data)
    if "order" in options and options["order"] == "abcd":
        with pytest.raises(StimulusError, match=said):
            StimulusSet.from_hdf5(path, **options)
    else:
        refused(path, said, **options)


def test_an_order_that_is_said_settles_what_is_not_clear(tmp_path: Path) -> None:
    square = np.random.default_rng(1).integers(0, 256, (5, 3, 6, 3), dtype=np.uint8)
    path = written(tmp_path, images=square)
    assert torch.equal(StimulusSet.from_hdf5(path, order="ncyx").images([1])[0], torch.from_numpy(square[1]))
    turned = torch.from_numpy(square[1].transpose(2, 0, 1).copy())
    assert torch.equal(StimulusSet.from_hdf5(path, order="nyxc").images([1])[0], turned)


def test_matlabs_axes_are_the_other_way_round(tmp_path: Path) -> None:
    """Of images (y, x, colour, stimulus) MATLAB's ``save(..., '-v7.3')`` writes the axes reversed."""
    path = written(
        tmp_path, images=PIXELS.transpose(0, 1, 3, 2), label=np.arange(5.0)[None], name=np.zeros((1, 5), "u2")
    )
    with h5py.File(path, "r+") as file:
        for name, kind in (("images", b"uint8"), ("label", b"double"), ("name", b"char")):
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
    shown = StimulusSet.from_hdf5(path)
    assert torch.equal(shown.images(range(5)), torch.from_numpy(PIXELS))
    assert list(shown.metadata) == ["stimulus_id", "label"]


def _external(file: h5py.File) -> None:
    file.create_dataset("images", (5, 3, 6, 7), "u1", external=[("/etc/passwd", 0, 630)])


def _soft(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink("other.h5", "/images")


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((5, 3, 6, 7), "u1")
    layout[:] = h5py.VirtualSource("other.h5", "images", (5, 3, 6, 7))
    file.create_virtual_dataset("images", layout)


def _claim(file: h5py.File) -> None:
    file.create_dataset("images", (10**9, 3, 64, 64), "u1", chunks=(1, 3, 64, 64))


def _bomb(file: h5py.File) -> None:
    data = file.create_dataset("images", (24, 3, 512, 512), "u1", chunks=(1, 3, 512, 512), compression="gzip")
    data[:] = 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_external, "keeps its bytes in another file"),
        (_soft, "is a link to elsewhere"),
        (_virtual, "is a virtual dataset"),
        (_claim, "claims"),
        (_bomb, "claims .* more than 200:1"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_points_elsewhere_or_claims_too_much(tmp_path: Path, make: Any, said: str) -> None:
    path = tmp_path / "theirs.h5"
    with h5py.File(path, "w") as file:
        make(file)
    refused(path, said)


def test_chunks_that_must_be_unpacked_whole_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    with h5py.File(path, "r+") as file:
        file.create_dataset("images", data=PIXELS, chunks=(5, 3, 6, 7))
    StimulusSet.from_hdf5(path)  # control
    monkeypatch.setattr(hdf5_foreign, "_MOST_CHUNK_BYTES", 600)
    refused(path, r"images lies in chunks of \(5, 3, 6, 7\), over 256 MiB; save it in smaller ones")


def test_damaged_strings_end_their_own_process(tmp_path: Path) -> None:
    """A size in the heap of strings that makes HDF5 loop for ever: found by the fuzz.

    The guard refuses a heap without an end; what it does not see ends the process that reads the strings, not ours.
    """
    path = written(tmp_path, images=PIXELS[:, :, :2, :2], stimulus_id=list("abcde"))
    data = bytearray(path.read_bytes())
    at = data.find(b"GCOL")
    ended = 0
    for size in (0, 8, 1 << 40):
        data[at + 24 : at + 32] = size.to_bytes(8, "little")  # the size of the heap's first object
        path.write_bytes(bytes(data))
        try:
            StimulusSet.from_hdf5(path)
        except FileError as error:
            assert "its heap of text at byte" in str(error) or "the strings of stimulus_id cannot be read" in str(error)
        try:
            hdf5_strings.read_strings(path, ["stimulus_id"], 5)  # without the guard
        except FileError as error:
            assert "the strings of stimulus_id cannot be read; they are damaged" in str(error)
            ended += 1
    assert ended
    assert hdf5_strings.read_strings(written(tmp_path, s=list("ab")), ["s"], 2)["s"].tolist() == ["a", "b"]  # control


def test_strings_that_are_not_utf8_are_said(tmp_path: Path) -> None:
    refused(written(tmp_path, images=PIXELS, s=np.array([b"\xff"] * 5)), "the strings of s are not UTF-8")
    path = written(tmp_path, images=PIXELS)
    with h5py.File(path, "r+") as file:
        file.create_dataset("s", data=[b"\xff"] * 5, dtype=h5py.string_dtype())
    refused(path, "the strings of s cannot be read; they are damaged, or not UTF-8")
