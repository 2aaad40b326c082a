"""Probing without a study file: a folder with the tidy frame, figures, methods and a page."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from netphys.errors import MatchError, NeuralDataError, OptionError, OutputError
from netphys.recording import Recording
from netphys.scores import read_tidy
from netphys.studies.probing import probe_recordings

IDS = [f"img/{i:02d}.png" for i in range(60)]
ANIMAL = np.array(["ape", "bee", "cat"])[np.arange(60) % 3]


def recording(name, *, strength, ids=IDS, with_table=True, layers=("a", "b", "c")):
    rng = np.random.default_rng(0)
    codes = ANIMAL[:, None] == np.unique(ANIMAL)
    arrays = {each: rng.normal(size=(60, 3)) + at * strength * codes for at, each in enumerate(layers)}
    table = pd.DataFrame({"animal": ANIMAL, "scene_kind": np.arange(60) // 6})
    return Recording.from_arrays(arrays, ids, name=name, metadata=table if with_table else None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probing") / "out"
    pair = [recording("strong", strength=1.0), recording("weak & <odd>", strength=0.0, layers=("pixels",))]
    return probe_recordings(pair, "animal", out=folder, seed=3)


def test_what_is_left_behind(made):
    left = {each.relative_to(made.folder).as_posix() for each in made.folder.rglob("*") if each.is_file()}
    figures = {
        f"figures/{name}{ending}" for name in ("accuracy", "confusion") for ending in (".pdf", ".png", ".csv", ".json")
    }
    networks = {f"networks/{name}.{ending}" for name in ("strong", "weak-odd") for ending in ("csv", "json")}
    assert left == {"probe.csv", "probe.json", "differences.csv", "methods.md", "index.html"} | figures | networks
    pd.testing.assert_frame_equal(read_tidy(made.folder / "probe.csv"), made.to_frame(), check_dtype=False)
    assert json.loads((made.folder / "probe.json").read_text())["options"]["labels"] == "animal"
    assert pd.read_csv(made.folder / "differences.csv")["layer"].tolist() == ["c"]
    assert "strong, animal: " in made.findings()[0] and "at c, best of 3 layers" in made.findings()[0]


def test_the_page_says_what_was_done(made):
    page, methods = ((made.folder / name).read_text() for name in ("index.html", "methods.md"))
    assert "weak &amp; &lt;odd&gt;" in page and "<odd>" not in page
    assert "<th>label</th>" in page and "<th>chance</th>" in page and "neural data" not in page
    assert "chosen on a held part of the training stimuli" in page and "optimistic" not in page
    assert (
        "Of the 60 stimuli 15 were kept for the test" in methods
        and "McNemar" in methods
        and "every scene" not in methods
    )


def test_the_figure_has_a_line_of_chance(made):
    from matplotlib.text import Text

    from netphys.figures import agreement_figure

    scores = made.to_frame()
    chance = next(iter(made.results.values())).chance
    with_line, without = agreement_figure(scores, chance=chance), agreement_figure(scores)
    words = [[each.get_text() for each in figure.findobj(Text)] for figure in (with_line, without)]
    assert "chance 0.33" in words[0] and not any("noise ceiling" in each for each in words[0])
    assert "chance 0.33" not in words[1] and any("no noise ceiling" in each for each in words[1])  # control
    levels = [line.get_ydata()[0] for line in with_line.axes[0].lines if len(line.get_xdata()) == 2]
    assert any(level == pytest.approx(chance) for level in levels)


def test_labels_and_groups_from_a_file(tmp_path):
    table = pd.DataFrame({"file": IDS, "kind": ANIMAL, "scene kind": np.arange(60) // 6})
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "list.csv", index=False)
    bare = recording("bare", strength=3.0, with_table=False)
    file = tmp_path / "list.csv"
    found = probe_recordings([bare], f"{file}:kind", out=tmp_path / "a", groups=f"{file}:scene kind")
    own = probe_recordings([recording("own", strength=3.0)], "animal", out=tmp_path / "b", groups="scene_kind")
    result, same = found.results["bare"], own.results["own"]
    assert result.label == "kind" and result.groups == "scene kind" and result.split == same.split
    assert result.probes[2].accuracy == same.probes[2].accuracy
    assert "every scene kind wholly in one of the two" in (tmp_path / "a" / "methods.md").read_text()
    with pytest.raises(NeuralDataError, match=r"list.csv has no column 'kinds'; near: 'kind'"):
        probe_recordings([bare], f"{file}:kinds", out=tmp_path / "c")
    twice = pd.concat([table, table[:1]])
    twice.to_csv(file, index=False)  # said twice, but the same
    again = probe_recordings([bare], f"{file}:kind", out=tmp_path / "d")
    assert again.results["bare"].probes[2].accuracy == result.probes[2].accuracy
    twice.iloc[-1, 1] = "bee"
    twice.to_csv(file, index=False)
    with pytest.raises(MatchError, match=r"has two values of kind for 'img/00.png': 'ape' and 'bee'; a stimulus has"):
        probe_recordings([bare], f"{file}:kind", out=tmp_path / "c")
    table[:50].to_csv(file, index=False)
    with pytest.raises(MatchError, match=r"has no kind of 10 stimuli, first 'img/50.png'"):
        probe_recordings([bare], f"{file}:kind", out=tmp_path / "c")
    assert not (tmp_path / "c").exists()  # nothing half-written stays behind


def test_nothing_of_an_earlier_run_stays_and_nothing_else_goes(tmp_path):
    out = tmp_path / "out"
    pair = [recording("one", strength=1.0), recording("other", strength=0.5)]
    probe_recordings(pair, "animal", out=out)
    assert (out / "differences.csv").is_file() and (out / "networks" / "other.json").is_file()  # control
    (out / "networks" / "mine.csv").write_text("x")
    (out / "notes.csv").write_text("x")
    probe_recordings(pair[:1], "animal", out=out)
    left = {
        each.relative_to(out).as_posix() for each in out.rglob("*") if each.is_file() and "figures" not in str(each)
    }
    assert left == {
        "probe.csv", "probe.json", "methods.md", "index.html", "networks/one.csv", "networks/one.json",
        "networks/mine.csv", "notes.csv",
    }  # fmt: skip
    (out / "probe.json").write_text("{}")  # a record that does not say what is ours: nothing is removed
    probe_recordings(pair[1:], "animal", out=out)
    assert (out / "networks" / "one.csv").is_file()


def test_what_cannot_be_probed_is_one_line(tmp_path):
    one = recording("one", strength=1.0)
    other = recording("other", strength=1.0, ids=[f"x{each}" for each in IDS])
    with pytest.raises(MatchError, match="one and other were shown different stimuli"):
        probe_recordings([one, other], "animal", out=tmp_path / "out")
    with pytest.raises(OptionError, match="no recording to probe"):
        probe_recordings([], "animal", out=tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="is not empty and holds no probes; choose another --out, or --force"):
        probe_recordings([one], "animal", out=tmp_path / "full")
    probe_recordings([one], "animal", out=tmp_path / "full", force=True)
    probe_recordings([one], "animal", out=tmp_path / "full")  # its own folder is written again
