"""read_brainio: sets as BrainIO packages them, newer and older ones; every stimulus has its file, read in place."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from netphys.errors import MatchError, StimulusError
from netphys.stimuli import StimulusSet

IDS = ["007", "b_2", "c.x"]


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def packaged(
    folder: Path, *, stem: str = "stimulus_lab_Name2026", within: str | None = None, old: bool = False, **columns: Any
) -> Path:
    """Write a set as BrainIO's packaging does: the file is named by the id, or by a path within the store, plus suffix;
    the column of that path is left out of the CSV, and the column ``filename`` is added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{within}{each}.png" if within else f"{each}.png" for each in IDS]
    with zipfile.ZipFile(folder / f"{stem}.zip", "w") as file:
        for seed, name in enumerate(names):
            file.writestr(name, png(seed))
    table = pd.DataFrame(
        {"image_id" if old else "stimulus_id": IDS, "category": ["face", "house", "face"], "size": 1.5}
    )
    table["stimulus_path"] = [f"/home/somebody/stimuli/{each}" for each in names]
    table["filename"] = names
    table = table.assign(**columns)
    table.to_csv(folder / f"{stem}.csv", index=False)
    return folder / f"{stem}.csv"


def right(shown: StimulusSet) -> bool:
    images = shown.images(range(3)).numpy()
    return shown.ids == tuple(IDS) and all(np.array_equal(images[k], pixels(k).transpose(2, 0, 1)) for k in range(3))


@pytest.mark.parametrize("within", [None, "images/", "images/deep/"])
def test_a_set_as_brainio_writes_it(tmp_path: Path, within: str | None) -> None:
    shown = StimulusSet.from_brainio(packaged(tmp_path, within=within))
    assert right(shown) and shown.name == "lab_Name2026"
    assert shown.metadata["category"].tolist() == ["face", "house", "face"] and "stimulus_path" in shown.metadata
    assert shown.where("category == 'house'").ids == ("b_2",)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "stimulus_lab_Name2026.csv",
        "stimulus_lab_Name2026.zip",
    ]


def test_the_control_rows_in_another_order_are_other_images(tmp_path: Path) -> None:
    path = packaged(tmp_path)
    pd.read_csv(path, dtype=str)[::-1].to_csv(path, index=False)
    shown = StimulusSet.from_brainio(path)
    assert shown.ids == tuple(IDS[::-1]) and np.array_equal(shown.images([0])[0].numpy(), pixels(2).transpose(2, 0, 1))


def test_the_older_id_is_kept_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        shown = StimulusSet.from_brainio(packaged(tmp_path, old=True, stem="image_lab_Old2018"))
    assert right(shown) and shown.metadata["image_id"].tolist() == IDS and shown.name == "lab_Old2018"
    assert "stimulus_id is its column image_id" in caplog.text


def test_older_names_of_the_column_of_files(tmp_path: Path) -> None:
    path = packaged(tmp_path, old=True)
    table = pd.read_csv(path, dtype=str)
    # older sets keep the file's first name beside where it lies; ids that are hashes
    odd = table.assign(filename=["x.png", "y.png", "z.png"], image_path_within_store=table["filename"])
    odd.to_csv(path, index=False)
    assert right(StimulusSet.from_brainio(path))
    table.rename(columns={"filename": "image_file_name"}).to_csv(path, index=False)
    assert right(StimulusSet.from_brainio(path))
    table.assign(image_file_name=[each.removesuffix(".png") for each in table["filename"]]).drop(
        columns="filename"
    ).to_csv(path, index=False)
    assert right(StimulusSet.from_brainio(path))  # without the suffix
    table.drop(columns="filename").to_csv(path, index=False)
    assert right(StimulusSet.from_brainio(path))  # the id alone


def test_where_the_archive_may_lie(tmp_path: Path) -> None:
    path = packaged(tmp_path / "a")
    archive = path.with_suffix(".zip")
    assert right(StimulusSet.from_brainio(path, archive))
    named = path.rename(path.with_name("lab.Name2026.csv"))
    assert right(StimulusSet.from_brainio(named))  # stimulus_<identifier>.zip
    archive = archive.rename(archive.with_name("anything.zip"))
    assert right(StimulusSet.from_brainio(named))  # the only one
    (path.parent / "other.zip").write_bytes(archive.read_bytes())
    with pytest.raises(StimulusError, match="has 2 archives beside it, anything.zip, other.zip; say which one"):
        StimulusSet.from_brainio(named)
    with zipfile.ZipFile(archive) as file:
        file.extractall(path.parent / "unpacked")
        file.extractall(path.parent)  # as BrainIO itself unpacks, beside the CSV
    assert right(StimulusSet.from_brainio(named, path.parent / "unpacked"))
    for each in path.parent.glob("*.zip"):
        each.unlink()
    (path.parent / "unpacked" / "more.txt").write_text("")
    assert right(StimulusSet.from_brainio(named))


def test_missing_files_and_files_of_no_stimulus(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = packaged(tmp_path)
    with zipfile.ZipFile(path.with_suffix(".zip"), "a") as file:
        file.writestr("d.png", png(9))
    assert right(StimulusSet.from_brainio(path))
    assert "1 file(s) of" in caplog.text and "belong to no stimulus, first 'd.png'" in caplog.text
    text = path.read_text().replace("b_2.png", "b_3.png").replace("b_2,", "b_4,")
    path.write_text(text)
    with pytest.raises(
        StimulusError, match="1 of 3 stimuli have no file in .*, first filename 'b_3.png'; near: 'b_2.png'"
    ):
        StimulusSet.from_brainio(path)


def test_a_broken_image_is_named_or_left_out(tmp_path: Path) -> None:
    path = packaged(tmp_path)
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as file:
        for seed, each in enumerate(IDS):
            file.writestr(f"{each}.png", png(seed) if seed != 1 else png(seed)[:200])
    with pytest.raises(StimulusError, match="image b_2.png is broken"):
        StimulusSet.from_brainio(path).images([1])
    kept = StimulusSet.from_brainio(path, skip_broken=True)
    assert kept.ids == ("007", "c.x") and kept.left_out == ("b_2.png",)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"stimulus_id": ["a", "a", "b"]}, "occur more than once: 'a'"),
        ({"stimulus_id": ["a", "", "b"]}, "row 2 has no stimulus_id"),
        ({"filename": ["../007.png", "b_2.png", "c.x.png"], "stimulus_id": list("uvw")}, "1 of 3 stimuli have no file"),
        (
            {"filename": ["/etc/passwd", "b_2.png", "c.x.png"], "stimulus_id": list("uvw")},
            "1 of 3 stimuli have no file",
        ),
    ],
)
def test_what_is_not_understood_is_one_line(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    path = packaged(tmp_path, **columns)
    with pytest.raises((StimulusError, MatchError), match=said) as caught:
        StimulusSet.from_brainio(path)
    assert "\n" not in str(caught.value)


def test_absent_things_and_mixed_kinds(tmp_path: Path) -> None:
    path = packaged(tmp_path)
    with pytest.raises(StimulusError, match="is an archive; a BrainIO set is named by its CSV"):
        StimulusSet.from_brainio(path.with_suffix(".zip"))
    with pytest.raises(StimulusError, match="absent.csv is not there"):
        StimulusSet.from_brainio(tmp_path / "absent.csv")
    path.write_text("name,filename\na,007.png\n")
    with pytest.raises(StimulusError, match=r"has no column 'stimulus_id' \(older: 'image_id'\); has: name, filename"):
        StimulusSet.from_brainio(path)
    path.write_text("stimulus_id,filename\n")
    with pytest.raises(StimulusError, match="lists no stimulus"):
        StimulusSet.from_brainio(path)
    with zipfile.ZipFile(path.with_suffix(".zip"), "a") as file:
        file.writestr("t.txt", "text")
        file.writestr("u.xyz", "text")
    path.write_text("stimulus_id,filename\na,007.png\nt,t.txt\n")
    with pytest.raises(StimulusError, match="mixes image and text files"):
        StimulusSet.from_brainio(path)
    path.write_text("stimulus_id,filename\nu,u.xyz\n")
    with pytest.raises(StimulusError, match="'u.xyz' is no kind of file that is shown"):
        StimulusSet.from_brainio(path)
