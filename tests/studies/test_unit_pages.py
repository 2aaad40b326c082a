"""The page of a network's units: complete, self-contained, and of the stimuli that were shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import MatchError, OptionError, OutputError
from netphys.networks import Network
from netphys.studies.unit_pages import ExtraFigure, look_at_units, write_unit_pages
from netphys.units import TopPatchesResult, load_top_patches, top_patches


@pytest.fixture(scope="module")
def seen() -> tuple[Network, netphys.StimulusSet, TopPatchesResult]:
    """A network with a dead unit, a layer of dead ones, and a dense layer; what drives it."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=2), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(3, 2),
    )  # fmt: skip
    with torch.no_grad():
        module[0].bias[1], module[2].bias[:], module[6].bias[:] = -100.0, -100.0, 1.0
    network, stimuli = Network(module, name="a <net>"), netphys.load_stimuli("world:scenes?n=12&seed=1&size=32")
    return network, stimuli, top_patches(network, stimuli, layers=["0", "1", "3", "6"], k=4)


@pytest.fixture(scope="module")
def page(seen: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network, stimuli, result = seen
    return write_unit_pages(tmp_path_factory.mktemp("pages"), result, stimuli, network)


def test_the_page_says_what_there_is(page: Path, seen: Any) -> None:
    text = page.read_text()
    assert page.parent.name == "a-net" and "<h1>Units of a &lt;net&gt;</h1>" in text
    assert "the 4 of 12 stimuli" in text and 'href="#00-0"' in text
    assert re.search(r"5 x 5 px</td>\s*<td class=\"number\">2 x 2 px", text)
    n_dead = seen[2]["1"].n_dead
    assert (
        n_dead >= 1
        and f"{4 - n_dead} of 4 units, {n_dead} dead. Patches of 5 x 5 px, 2 x 2 px from one place to the next." in text
    )
    assert "0 of 3 units, 3 dead. every unit is dead: no stimulus drives one above 0." in text
    assert "2 of 2 units, 0 dead. Patches show the whole image is its receptive field." in text


def test_everything_linked_is_there_and_nothing_outside(page: Path) -> None:
    links = re.findall(r'(?:href|src)="([^"#]+)"', page.read_text())
    assert len(links) >= 4 * 2 + 3 * 3
    for link in links:
        assert "//" not in link and (page.parent / link).is_file(), link


def test_tables_hold_all_entries_and_figures_what_made_them(page: Path, seen: Any) -> None:
    table = pd.read_csv(page.parent / "tables" / "01-1.csv", dtype={"stimulus_id": str, "layer": str})
    expected = seen[2].to_frame("1")
    assert len(table) == 4 * 4 and table["stimulus_id"].tolist() == expected["stimulus_id"].tolist()
    assert '"units": [' in (page.parent / "sheets" / "01-1.json").read_text()
    assert not (page.parent / "sheets" / "02-3.png").exists()  # all dead: nothing to show


def test_the_same_call_writes_the_same_bytes(page: Path, seen: Any, tmp_path: Path) -> None:
    network, stimuli, result = seen
    again = write_unit_pages(tmp_path, result, stimuli, network).parent
    for path in page.parent.rglob("*.*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(page.parent)).read_bytes(), path


def test_extra_figures_and_the_way_back(seen: Any, tmp_path: Path) -> None:
    network, stimuli, result = seen
    (tmp_path / "figures").mkdir()
    for name in ("filters.png", "filters.pdf"):
        (tmp_path / "figures" / name).write_bytes(b"x")
    (tmp_path / "index.html").write_text("study")
    extra = ExtraFigure(tmp_path / "figures" / "filters.png", "Filters", "The first layer's filters.")
    page = write_unit_pages(tmp_path, result, stimuli, network, extra_figures=[extra], name="mine")
    text = page.read_text()
    assert page == tmp_path / "units" / "mine" / "index.html"
    assert 'src="../../figures/filters.png"' in text and '<a href="../../figures/filters.pdf">PDF</a>' in text
    assert '<a href="../../index.html">Back to the study</a>' in text
    with pytest.raises(OptionError, match="lies outside"):
        write_unit_pages(tmp_path / "other", result, stimuli, network, extra_figures=[extra])
    gone = ExtraFigure(tmp_path / "gone.png", "", "")
    with pytest.raises(OptionError, match="gone.png is not there as PNG"):
        write_unit_pages(tmp_path, result, stimuli, network, extra_figures=[gone])


def test_the_way_back_to_a_page_that_is_written_later(seen: Any, tmp_path: Path) -> None:
    network, stimuli, result = seen
    page = write_unit_pages(tmp_path, result, stimuli, network, home="../../index.html")
    assert not (tmp_path / "index.html").exists()
    assert '<a href="../../index.html">Back to the study</a>' in page.read_text()
    page = write_unit_pages(tmp_path, result, stimuli, network)
    assert "Back to the study" not in page.read_text()  # control: no page, no link


def test_nothing_stays_of_layers_of_an_earlier_page(seen: Any, tmp_path: Path) -> None:
    network, stimuli, result = seen
    home = write_unit_pages(tmp_path, result, stimuli, network).parent
    assert (home / "sheets" / "01-1.png").is_file() and (home / "tables" / "03-6.csv").is_file()
    (home / "top.h5").write_bytes(b"x")
    fewer = top_patches(network, stimuli, layers=["0"], k=1)
    write_unit_pages(tmp_path, fewer, stimuli, network)
    left = {each.relative_to(home).as_posix() for each in home.rglob("*") if each.is_file()}
    sheet = {f"sheets/00-0.{ending}" for ending in ("json", "pdf", "png")}
    assert left == {"index.html", "top.h5", "tables/00-0.csv"} | sheet


def test_other_stimuli_are_refused(seen: Any, tmp_path: Path) -> None:
    network, stimuli, result = seen
    with pytest.raises(MatchError, match="top patches are of 12 other stimuli than "):
        write_unit_pages(tmp_path, result, stimuli.subset([1, 0]), network)


def test_look_at_units_leaves_the_table_beside_the_page(seen: Any, tmp_path: Path) -> None:
    network, stimuli, result = seen
    found, page = look_at_units(network, stimuli, layers=["0"], out=tmp_path / "out", k=4, n_units=2)
    assert repr(load_top_patches(page.with_name("top.h5"))) == repr(found)
    assert 'href="top.h5"' in page.read_text()
    look_at_units(network, stimuli, layers=["0"], out=tmp_path / "out", k=1)  # its own folder again
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="is not empty and holds no pages of units; choose another --out, or --force"):
        look_at_units(network, stimuli, layers=["0"], out=tmp_path / "mine")
    with pytest.raises(OutputError, match="it is a file; choose another --out"):
        look_at_units(network, stimuli, layers=["0"], out=tmp_path / "mine" / "thesis.tex")
    with pytest.raises(OptionError, match="rule='best' is not known"):
        look_at_units(network, stimuli, layers=["0"], out=tmp_path / "new", rule="best")
    assert not (tmp_path / "new").exists()
