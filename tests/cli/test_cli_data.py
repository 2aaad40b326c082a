"""``netphys data``: list, show, fetch and cite, without a network."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from netphys.cli.main import main
from netphys.neural.catalogue import downloading

ENTRY = """
[[sets]]
name = "lab"
title = "Our own set"
kind = "rdms"
species = "macaque"
regions = ["V4", "IT"]
stimuli = "4"
neuroids = "5"
subjects = "2"
licence = "CC0"
homepage = "https://example.org"
access = "file"
address = "a.csv"
notes = ["A trap."]
seen = "all of it"

[[sets.papers]]
authors = ["Doe, Jane"]
title = "A paper"
year = 2020
journal = "Journal"

[[sets.files]]
filename = "a.csv"
urls = ["http://127.0.0.1:{port}/a.csv"]
found_in = "a test"
bytes = 8
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A catalogue of one more set, whose server does not listen; the folder where sets are."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    (tmp_path / "lab.toml").write_text(ENTRY.replace("{port}", str(taken.getsockname()[1])))
    monkeypatch.setenv("NETPHYS_CATALOGUE", str(tmp_path / "lab.toml"))
    monkeypatch.setenv("NETPHYS_DATA", str(tmp_path / "sets"))
    monkeypatch.setattr(downloading, "PAUSE", 0.0)
    yield tmp_path / "sets"
    taken.close()


def said(capsys, *arguments):
    assert main(["data", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    assert main(["data", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and err.startswith("netphys: ") and out == ""
    return err


def test_list_is_a_table_of_every_set_and_says_what_is_here(capsys, lab):
    (lab / "lab").mkdir(parents=True)
    lines = said(capsys, "list").splitlines()
    assert lines[0].split() == ["name", "regions", "species", "stimuli", "size", "licence", "here"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert {"majajhong2015", "kriegeskorte2008", "nsd", "lab"} <= set(rows)
    assert rows["lab"].split() == ["lab", "V4,", "IT", "macaque", "4", "0.0", "MB", "CC0", "no"]
    assert "apply" in rows["nsd"] and max(map(len, lines)) < 160
    (lab / "lab" / "a.csv").write_bytes(b"1,2\n3,4\n")
    assert said(capsys, "fetch", "lab").strip() == str(lab / "lab")
    assert said(capsys, "list").splitlines()[-1].endswith("yes")
    facts = {each["name"]: each for each in json.loads(said(capsys, "list", "--json"))}
    assert facts["lab"]["here"] is True and facts["nsd"]["size"] is None


def test_show_says_all_of_a_set(capsys, lab):
    text = said(capsys, "show", "lab", "majajhong2015")
    for words in ("Our own set", "A trap.", "no source gives a checksum", "Doe J (2020)", str(lab / "lab"),
                  "sha1:13d28ca0ce88ee550b54db3004374ae19096e9b9", "Brain-Score", "?part=IT"):  # fmt: skip
        assert words in " ".join(text.split()), words
    assert json.loads(said(capsys, "show", "nsd", "--json"))[0]["how"].startswith("read and accept the terms")


def test_cite_as_text_and_as_bibtex(capsys, lab):
    assert said(capsys, "cite", "lab", "cowley2023").splitlines()[0] == "Doe J (2020). A paper. Journal."
    text = said(capsys, "cite", "lab", "things", "--bibtex")
    assert text.count("@article{") == 3 and text.startswith("@article{lab,") and text.endswith("}\n")


def test_without_a_network_one_line_and_nothing_is_left(capsys, lab):
    line = refused(capsys, "fetch", "lab")
    for words in ("lab: a.csv could not be fetched from http://127.0.0.1", "is there a network?", f"{lab}/lab/a.csv"):
        assert words in line
    assert list(lab.rglob("*")) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fetch", "majaj2015"], ["no set 'majaj2015'", "'majajhong2015'"]),
        (["cite", "nsdd"], ["'nsd'"]),
        (["show"], ["data show needs the name of a set"]),
        (["fetch"], ["data fetch needs the name of a set"]),
        (["list", "nsd"], ["data list takes no name", "netphys data show nsd"]),
        (["list", "--bibtex"], ["data list takes no --bibtex", "--json"]),
        (["cite", "nsd", "--into", "x"], ["data cite takes no --into"]),
        (["fetch", "nsd"], ["nsd is not fetched by netphys", "accept the terms", "cvnlab.slite.page"]),
        (["fetch", "lab", "nsdd"], ["no set 'nsdd'"]),
    ],
)
def test_mistakes_are_one_line(capsys, lab, arguments, words):
    line = refused(capsys, *arguments)
    for word in words:
        assert word in line
    assert not lab.exists()


def test_an_action_that_there_is_not(capsys):
    with pytest.raises(SystemExit) as left:
        main(["data", "get", "nsd"])
    assert left.value.code == 2 and "'list'" in capsys.readouterr().err.replace("list,", "'list',")


def test_into_a_folder_that_cannot_be_made(capsys, lab, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused(capsys, "fetch", "lab", "--into", tmp_path / "file")


def test_list_imports_nothing_that_reads_data():
    program = (
        "import sys\nfrom netphys.cli.main import main\nmain(['data', 'list'])\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'xarray', 'scipy', 'h5py', 'pynwb'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
