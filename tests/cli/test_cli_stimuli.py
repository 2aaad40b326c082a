"""``netphys stimuli``: facts on stdout, a sheet, one HDF5 file; mistakes in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from netphys.cli.main import main
from netphys.stimuli import load_stimuli

Write = Callable[..., Path]


def test_facts_and_a_sheet(image_folder: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = image_folder({"face/a.png": 0, "face/b.png": 1, "house/c.png": 2})
    sheet = tmp_path / "sheet.png"
    assert main(["stimuli", str(folder), "--out", str(sheet), "--caption", "category"]) == 0
    shown = capsys.readouterr()
    digest = load_stimuli(folder).digest
    facts = dict(line.split("  ", 1) for line in shown.out.splitlines())
    assert facts["stimuli"].strip() == "3 of images" and facts["digest"].strip() == digest
    assert facts["field image"].strip() == "uint8 3 x 12 x 16" and "face (2), house (1)" in facts["column category"]
    assert f"wrote {sheet}" in shown.err
    with Image.open(sheet) as picture:
        assert picture.width > 500
    made = json.loads(sheet.with_name("sheet.png.json").read_text())
    assert made["inputs"]["stimuli"] == digest and made["options"]["caption"] == "category"


def test_into_one_file_of_the_same_digest(
    image_folder: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = image_folder({"a.png": 0, "b.png": 1})
    assert main(["stimuli", f"{folder}?treatment=grey()", "--to-hdf5", str(tmp_path / "set.h5")]) == 0
    first = capsys.readouterr().out
    assert main(["stimuli", str(tmp_path / "set.h5")]) == 0
    again = capsys.readouterr().out
    digest = load_stimuli(f"{folder}?treatment=grey()").digest
    assert main(["info", str(tmp_path / "set.h5")]) == 0
    told = capsys.readouterr().out
    assert "stimuli, 2 images" in told and "treated: grey()" in told and digest in told
    assert digest in first and digest in again and "treated" in again and "grey()" in again


def test_the_classic_ones_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stimuli", "classic"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert {line.split()[0] for line in lines} >= {"classic:gratings", "classic:noise", "classic:stereograms"}
    assert all(len(line.split(None, 1)) == 2 for line in lines)  # each says what it is


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-folder"], "no stimuli at 'no-such-folder'"),
        (["classic:grating"], "near: 'gratings'"),
        (["wrold:scenes"], "no kind of stimuli 'wrold' in 'wrold:scenes'; near: 'world'"),
        (["world:scenes?n=2&size=32", "--out", "sheet"], "a picture is .pdf, .png, .svg; name it sheet.png"),
        (["world:scenes?n=2&size=32", "--out", "sheet.png", "--field", "mask"], "no field 'mask'; near: 'masks'"),
        (["world:scenes?n=2&size=32", "--out", "sheet.png", "--caption", "kind"], "no column 'kind'"),
        (["world:scenes?n=2&treatment=gray()"], "gray"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["stimuli", *arguments]) == 2
    line = capsys.readouterr().err.strip()
    assert said in line and "\n" not in line
    assert not list(tmp_path.iterdir())  # nothing half-written stays
