"""read_folder: a folder of images becomes stimuli; what is wrong in it is named."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netphys.errors import MatchError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers import folder as module

Write = Callable[..., Path]
FILES = {"face/b.png": 1, "face/a.PNG": 2, "house/c.png": 3, "d.png": 4}


def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8).transpose(2, 0, 1)


def test_without_metadata_every_image_sorted_by_path(image_folder: Write) -> None:
    folder = image_folder(FILES)
    for hidden in (".thumbnails/x.png", "face/._a.png", "__MACOSX/face/a.png"):
        (folder / hidden).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "d.png", folder / hidden)
    (folder / "notes.txt").write_text("no image")
    shown = StimulusSet.from_folder(folder)
    assert shown.ids == ("d.png", "face/a.PNG", "face/b.png", "house/c.png")
    assert shown.metadata["category"].tolist() == ["", "face", "face", "house"]
    assert shown.name == "images" and shown.fields == ("image",)
    images = shown.images([3, 0, 3])
    assert isinstance(images, torch.Tensor) and images.dtype == torch.uint8
    assert [np.array_equal(image, _noise(seed)) for image, seed in zip(images.numpy(), (3, 4, 3))] == [True] * 3
    assert not np.array_equal(images[0].numpy(), _noise(4))  # control


def test_metadata_rows_are_the_stimuli_in_its_order(image_folder: Write) -> None:
    folder = image_folder(FILES)
    table = "file,stimulus_id,animate,size\nhouse/c.png,NA,0,1.5\nface/a.PNG,007,1,\nd.png,1.0,0,2\n"
    (folder / "metadata.csv").write_text("\ufeff" + table, encoding="utf-8")  # as spreadsheets save it
    shown = StimulusSet.from_folder(folder)
    assert shown.ids == ("NA", "007", "1.0")  # ids are text, as written
    assert shown.metadata["animate"].tolist() == [0, 1, 0] and np.isnan(shown.metadata["size"][1])
    assert np.array_equal(shown.images([0])[0].numpy(), _noise(3))
    assert shown.where("animate == 1").ids == ("007",)


def test_without_the_column_the_id_is_the_file(image_folder: Write) -> None:
    folder = image_folder(FILES)
    (folder / "metadata.csv").write_text("file\nhouse/c.png\nd.png\n")
    assert StimulusSet.from_folder(folder).ids == ("house/c.png", "d.png")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("file\n../secret.png\n", r"file '../secret.png' is not below the folder"),
        ("file\nface/../../secret.png\n", "is not below the folder"),
        ("file\n/etc/passwd\n", r"file '/etc/passwd' is not below the folder"),
        ("file\nd.png\nface/x.png\n", r"names 1 file\(s\) that are not there, first 'face/x.png'"),
        ("file,n\n,1\n", r"names 1 file\(s\) that are not there, first ''"),
        ("file\nFACE/B.png\n", r"not there, first 'FACE/B.png'; near: 'face/b.png'$"),
        ("file\nhouse/a.png\n", r"not there, first 'house/a.png'; near: 'face/a.PNG'$"),
        ("file\nface/bb.png\n", r"not there, first 'face/bb.png'; near: 'face/b.png'"),
        (
            "n,path\n1,d.png\n",
            r"has no column 'file' \(has: n, path\); near: 'path'; \?fields=image=path, in Python "
            r"fields={'image': 'path'}, says which",
        ),
        ("n,picture\n1,d.png\n", "near: 'picture'; "),
        ("n,m\n1,2\n", r"\(has: n, m\); \?fields=image=COLUMN, in Python fields={'image': 'COLUMN'}, says which"),
        (
            "file;size\nd.png;1,5\n",
            "has one column, 'file;size'; is it separated by ';'\\? columns are by ','",
        ),
        ("file\tsize\nd.png\t1\n", r"is it separated by '\\t'\?"),
        ("file, file\nd.png,1\n", "has two columns of the name 'file'"),
        ("", "is not a CSV table in UTF-8"),
        ('file\n"d.png\n', "is not a CSV table in UTF-8|not there"),
    ],
)
def test_metadata_that_is_not_understood_is_one_line(image_folder: Write, table: str, said: str) -> None:
    folder = image_folder(FILES)
    shutil.copy(folder / "d.png", folder.parent / "secret.png")
    (folder / "metadata.csv").write_text(table)
    with pytest.raises(StimulusError, match=said) as caught:
        StimulusSet.from_folder(folder)
    assert "\n" not in str(caught.value)


def test_latin_1_and_duplicates_are_refused(image_folder: Write) -> None:
    folder = image_folder(FILES)
    (folder / "metadata.csv").write_bytes("file,name\nd.png,Bär\n".encode("latin-1"))
    with pytest.raises(StimulusError, match="is not a CSV table in UTF-8"):
        StimulusSet.from_folder(folder)
    (folder / "metadata.csv").write_text("file\nd.png\nd.png\n")
    with pytest.raises(MatchError, match=r"1 stimulus_id\(s\) of images occur more than once: 'd.png'"):
        StimulusSet.from_folder(folder)


def test_absent_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match="no folder .*absent"):
        StimulusSet.from_folder(tmp_path / "absent")
    with pytest.raises(StimulusError, match=r"holds no image \(\.png \.jpg"):
        StimulusSet.from_folder(tmp_path)


def test_a_broken_image_is_named_or_left_out_on_request(image_folder: Write, caplog: pytest.LogCaptureFixture) -> None:
    folder = image_folder(FILES)
    whole = (folder / "face/b.png").read_bytes()
    (folder / "face/b.png").write_bytes(whole[: len(whole) // 2])
    shown = StimulusSet.from_folder(folder)
    assert np.array_equal(shown.images([0])[0].numpy(), _noise(4))  # whole ones can be shown
    for read in (lambda: shown.images([1, 2]), lambda: shown.digest):
        with pytest.raises(
            StimulusError, match=r"image face/b.png is broken: .*; skip_broken=True \(--skip-broken\) leaves"
        ):
            read()
    with caplog.at_level(logging.WARNING):
        kept = StimulusSet.from_folder(folder, skip_broken=True)
    assert kept.ids == ("d.png", "face/a.PNG", "house/c.png") and kept.left_out == ("face/b.png",)
    assert "1 of 4 images of" in caplog.text and "face/b.png is broken" in caplog.text
    assert "skip" not in caplog.text  # it is on
    assert np.array_equal(kept.images([2])[0].numpy(), _noise(3))
    for file in FILES:
        (folder / file).write_bytes(b"broken")
    with pytest.raises(StimulusError, match="all 4 images of .* are broken"):
        StimulusSet.from_folder(folder, skip_broken=True)


def test_images_of_several_sizes_are_a_list(image_folder: Write) -> None:
    image_folder({"a.png": 1})
    folder = image_folder({"b.png": 2}, size=(8, 8))
    images = StimulusSet.from_folder(folder).images([0, 1, 0])
    assert isinstance(images, list) and [tuple(each.shape) for each in images] == [(3, 12, 16), (3, 8, 8), (3, 12, 16)]


def test_the_digest_is_of_pixels_and_order_not_of_places_or_formats(image_folder: Write) -> None:
    here, there = image_folder(FILES, name="here"), image_folder(FILES, name="there")
    digest = StimulusSet.from_folder(here).digest
    assert StimulusSet.from_folder(there).digest == digest
    with Image.open(there / "d.png") as image:
        image.load()
        image.save(there / "d.png", compress_level=0)  # other bytes, the same pixels
    assert StimulusSet.from_folder(there).digest == digest
    (there / "metadata.csv").write_text("file\nd.png\nface/a.PNG\nface/b.png\nhouse/c.png\n")
    assert StimulusSet.from_folder(there).digest == digest
    (there / "metadata.csv").write_text("file\nface/a.PNG\nd.png\nface/b.png\nhouse/c.png\n")
    assert StimulusSet.from_folder(there).digest != digest  # order
    (there / "metadata.csv").unlink()
    pixels = np.asarray(Image.open(there / "d.png")).copy()
    pixels[5, 5, 0] ^= 1
    Image.fromarray(pixels).save(there / "d.png")
    assert StimulusSet.from_folder(there).digest != digest  # one bit of one pixel


def test_columns_that_name_files_are_text_and_others_are_numbers(image_folder: Write) -> None:
    folder = image_folder({"a.png": 0, "b.png": 1})
    for name in ("007", "1e3"):  # files without a suffix, whose names look like numbers
        shutil.copy(folder / "a.png", folder / name)
    (folder / "metadata.csv").write_text("file,mask,left\na.png,007,3\nb.png,1e3,4\n")
    shown = StimulusSet.from_folder(folder, fields={"image": "file", "mask": "mask:image"})
    assert shown.metadata["mask"].tolist() == ["007", "1e3"] and shown.where("left > 3").ids == ("b.png",)
    assert StimulusSet.from_folder(folder).metadata["mask"].tolist() == [7, 1000]  # nobody says that it names files


def test_only_an_empty_cell_of_a_text_is_missing(image_folder: Write) -> None:
    folder = image_folder({f"{each}.png": 0 for each in "abc"})
    (folder / "metadata.csv").write_text(
        "file,category,size,n,nothing,only,yes,level\na.png,NA,NA,1,,NA,True,nan\nb.png,,1.5,2,,nan,False,low\n"
        "c.png,face,n/a,3,,,True,null\n"
    )
    table = StimulusSet.from_folder(folder).metadata
    assert table["category"].tolist()[::2] == ["NA", "face"] and table["category"].isna().tolist() == [0, 1, 0]
    assert table["size"].dtype == np.float64 and table["size"].isna().tolist() == [1, 0, 1]
    assert table["n"].tolist() == [1, 2, 3] and table["nothing"].isna().all() and table["yes"].dtype == bool
    assert table["only"].tolist()[:2] == ["NA", "nan"] and table["level"].tolist() == ["nan", "low", "null"]
    assert StimulusSet.from_folder(folder).where("category == 'NA'").ids == ("a.png",)


def test_spaces_about_names_of_columns_are_left_out_once_said(
    image_folder: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = image_folder({"a.png": 0})
    (folder / "metadata.csv").write_text("file , stimulus_id,\tn\na.png,NA, 1\n")
    shown = StimulusSet.from_folder(folder)
    assert list(shown.metadata.columns) == ["file", "stimulus_id", "n"] and shown.ids == ("NA",)
    assert caplog.text.count("spaces about the names of columns are left out, first 'file '") == 1


def _zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder.parent, folder.name))


@pytest.mark.parametrize("place", [lambda folder: folder, _zipped], ids=["folder", "zip"])
def test_images_that_no_row_names_are_said(
    image_folder: Write, caplog: pytest.LogCaptureFixture, place: Callable[[Path], Path]
) -> None:
    folder = image_folder({**FILES, "mask.png": 5})
    (folder / "notes.txt").write_text("no image")
    (folder / "metadata.csv").write_text("file,mask\n./d.png,mask.png\nhouse/c.png,\n")
    if place is _zipped:
        (folder / "metadata.csv").write_text("file,mask\nimages/d.png,mask.png\nhouse/c.png,\n")
    path = place(folder)
    assert len(StimulusSet.from_folder(path)) == 2
    assert f"2 image(s) of {path} are named by no row of metadata.csv, first 'face/a.PNG'" in caplog.text
    caplog.clear()
    table = StimulusSet.from_folder(path).metadata
    caplog.clear()
    StimulusSet.from_folder(path, table=table)
    assert not caplog.text  # whoever passes a table chooses


def test_all_named_and_very_many_files_are_silent(
    image_folder: Write, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder(FILES)
    (folder / "metadata.csv").write_text("file\n" + "\n".join(FILES) + "\n")
    StimulusSet.from_folder(folder)
    assert not caplog.text
    (folder / "metadata.csv").write_text("file\nd.png\n")
    monkeypatch.setattr(module, "_LOOKED_AT", 3)
    assert len(StimulusSet.from_folder(folder)) == 1 and not caplog.text


def test_files_of_other_kinds_beside_the_images_are_said(image_folder: Write, caplog: pytest.LogCaptureFixture) -> None:
    folder = image_folder(FILES)
    (folder / "notes.txt").write_text("no image")
    assert len(StimulusSet.from_folder(folder)) == 4 and not caplog.text
    for file in ("face/z.gif", "house/x.HEIC"):
        shutil.copy(folder / "d.png", folder / file)
    assert len(StimulusSet.from_folder(folder)) == 4
    said = f"2 file(s) of {folder} are of another kind than its images and not shown, first 'face/z.gif'"
    assert caplog.messages == [said]


def test_an_id_that_is_left_empty_is_named_by_its_row(image_folder: Write) -> None:
    folder = image_folder({"a.png": 0, "b.png": 1})
    (folder / "metadata.csv").write_text("file,stimulus_id\na.png,one\nb.png,\n")
    with pytest.raises(StimulusError, match="the stimulus of row 2 has no stimulus_id"):
        StimulusSet.from_folder(folder)
