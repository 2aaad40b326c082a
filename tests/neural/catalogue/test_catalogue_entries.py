"""What the catalogue says: every entry well-formed, citations that parse, a mistake one clear line."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pytest

from netphys.errors import NetphysError, NeuralDataError
from netphys.neural.catalogue import Catalogue, bibtex, citation, read_catalogue

ENTRIES = list(Catalogue.read())
WANTED = ("majajhong2015", "freemanziemba2013", "kriegeskorte2008", "cichy2014", "cichy2016", "algonauts2019",
          "cowley2023", "zhang2011", "nsd", "things")  # fmt: skip
GOOD = """
[[sets]]
name = "good"
title = "A set"
kind = "rdms"
species = "macaque"
regions = ["IT"]
stimuli = "4"
neuroids = "5"
subjects = "1"
licence = "none stated"
homepage = "https://example.org"
access = "file"
address = "a.npy?region=IT&rows=image_{:02d}.jpg*4"
seen = "all of it"

[[sets.papers]]
authors = ["Doe, Jane A", "Roe, Richard"]
title = "A paper on V1 & 50 % of {V4}"
year = 2020
journal = "Journal"
pages = "1-9"
doi = "10.1234/abc_d"

[[sets.files]]
filename = "a.npy"
urls = ["https://example.org/a.npy"]
found_in = "a test"
checksum = "sha1:0123456789012345678901234567890123456789"
checksum_source = "the paper"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_sets_that_must_be_there():
    assert set(WANTED) <= {entry.name for entry in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_is_well_formed(entry):
    assert entry.licence and entry.seen and entry.species and entry.stimuli and entry.subjects and entry.neuroids
    assert entry.notes
    for paper in entry.papers:
        assert paper.year >= 2000
        assert not paper.doi or re.fullmatch(r"10\.\d{4,5}/\S+", paper.doi)
    for file in entry.files:
        assert file.found_in
        for url in file.urls:
            assert urlsplit(url).scheme == "https"
            assert "master" not in url or "gin.g-node.org" in url  # else a commit: what is there cannot change
        if file.checksum:
            algorithm, digits = file.checksum.split(":")
            assert len(digits) == {"sha1": 40, "sha256": 64}[algorithm] and file.checksum_source
    assert entry.access == "file" or (entry.how and urlsplit(entry.page).netloc)
    for address in (entry.address, *entry.parts.values()):
        assert not PurePosixPath(address.partition("?")[0]).is_absolute()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_addresses_take_only_options_that_the_readers_know(entry):
    """Unknown options would only be found out after the download."""
    from netphys.addresses import split_address
    from netphys.neural.files.options import take_options

    for address in filter(None, [entry.address, *entry.parts.values()]):
        body, query = split_address(address)
        query.values.pop("rows", None)
        suffix = Path(body).suffix
        take_options(query, suffix)  # raises on an option that it does not know


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_citations_parse_as_bibtex(entry):
    records = bibtex(entry).split("\n\n")
    assert len(records) == len(entry.papers)
    for record in records:
        lines = record.splitlines()
        assert re.fullmatch(r"@(article|misc)\{[A-Za-z0-9_.-]+,", lines[0]) and lines[-1] == "}"
        fields = [re.fullmatch(r"  (\w+) = \{(.+)\},", line) for line in lines[1:-1]]
        assert all(fields)
        assert {"author", "title", "year"} <= {each[1] for each in fields}
        for each in fields:
            unescaped = re.sub(r"\\.", "", each[2])
            assert unescaped.count("{") == unescaped.count("}") and not re.search(r"[&%$#]", unescaped)
    assert len(set(re.findall(r"@\w+\{([^,]+),", bibtex(entry)))) == len(records)
    assert len(citation(entry).splitlines()) == len(entry.papers)


def test_a_citation_and_a_record_by_hand(tmp_path):
    entry = Catalogue.read(written(tmp_path, GOOD))["good"]
    assert citation(entry) == (
        "Doe JA, Roe R (2020). A paper on V1 & 50 % of {V4}. Journal:1-9. https://doi.org/10.1234/abc_d"
    )
    assert bibtex(entry) == (
        "@article{good,\n"
        "  author = {Doe, Jane A and Roe, Richard},\n"
        "  title = {{A paper on V1 \\& 50 \\% of \\{V4\\}}},\n"
        "  journal = {Journal},\n"
        "  pages = {1--9},\n"
        "  year = {2020},\n"
        "  doi = {10.1234/abc_d},\n"
        "}"
    )


def test_names_are_looked_up_and_near_ones_said():
    catalogue = read_catalogue()
    assert catalogue["nsd"].access == "apply"
    with pytest.raises(NeuralDataError, match=r"no set 'majajhong2105'; near: 'majajhong2015'"):
        catalogue["majajhong2105"]


def test_a_lab_adds_sets_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("NETPHYS_CATALOGUE", str(written(tmp_path, GOOD)))
    names = {entry.name for entry in read_catalogue()}
    assert {"good", "nsd"} <= names
    written(tmp_path, GOOD.replace('"good"', '"nsd"'))
    with pytest.raises(NeuralDataError, match=r"mine\.toml names a set 'nsd', which netphys has already"):
        read_catalogue()


CHANGED = {  # what is wrong -> (what is replaced, by what, words that the line must hold)
    "a misspelt key of a set": ("licence =", "license =", ["no key 'license' in set 'good'", "'licence'"]),
    "a misspelt key of a paper": ("journal =", "jornal =", ["no key 'jornal' in set 'good', papers", "'journal'"]),
    "a misspelt key of a file": ("found_in =", "foundin =", ["no key 'foundin' in set 'good', files", "'found_in'"]),
    "a misspelt table": ("[[sets]]", "[[set]]", ["no key 'set'", "'sets'"]),
    "a missing key": ('species = "macaque"', "", ["the key 'species' is missing in set 'good'"]),
    "no seen": ('seen = "all of it"', "", ["'seen' is missing"]),
    "a year that is text": ("year = 2020", 'year = "2020"', ["in set 'good', papers", "a whole number is wanted"]),
    "regions that are text": ('regions = ["IT"]', 'regions = "IT"', ["a list is wanted, not text"]),
    "an unknown kind": ('kind = "rdms"', 'kind = "rdm"', ["Invalid enum value 'rdm' in set 'good'"]),
    "an unknown access": ('access = "file"', 'access = "files"', ["Invalid enum value 'files'"]),
    "no TOML": ("[[sets]]", "[[sets", ["is not TOML"]),
    "a name that is a path": ('name = "good"', 'name = "../good"', ["'../good'", "small letters"]),
    "a name with capitals": ('name = "good"', 'name = "Good"', ["small letters and digits"]),
    "an empty licence": ('"none stated"', '" "', ["licence is empty", "none stated"]),
    "a doi with its address": ("10.1234", "https://doi.org/10.1234", ["doi", "10.NUMBER/NAME"]),
    "a year of a typist": ("2020", "20200", ["year 20200"]),
    "authors in one text": ('"Doe, Jane A", "Roe, Richard"', '"Doe, Jane, Roe"', ["Family, Given"]),
    "an article without a journal": ('journal = "Journal"', "", ["has no journal"]),
    "a homepage that is none": ("https://example.org\"\naccess", "example.org\"\naccess", ["homepage 'example.org'"]),
    "no paper": ("[[sets.papers]]", "[[sets.other]]", ["no key 'other'"]),
    "a file that leaves the set": ('"a.npy"\nurls', '"../a.npy"\nurls', ["'../a.npy' is no plain file name"]),
    "a hidden file": ('"a.npy"\nurls', '".a.npy"\nurls', ["no plain file name"]),
    "no address": ('["https://example.org/a.npy"]', "[]", ["has no urls"]),
    "an ftp address": ("https://example.org/a.npy", "ftp://example.org/a.npy", ["no address to fetch from"]),
    "a file address": ("https://example.org/a.npy", "file:///etc/passwd", ["no address to fetch from"]),
    "an address with a password": ("https://example.org/a", "https://me:secret@example.org/a", ["no address"]),
    "a checksum too short": ("0123456789\"\nchecksum_s", "\"\nchecksum_s", ["64, 40 or 32 hexadecimal"]),
    "a checksum of another kind": ("sha1:", "crc:", ["sha256:, sha1: or md5:"]),
    "a checksum without its source": ('checksum_source = "the paper"', "", ["go together"]),
    "nowhere read": ('found_in = "a test"', 'found_in = ""', ["found_in is empty"]),
    "bytes below 1": ('found_in = "a test"', 'found_in = "a test"\nbytes = 0', ["bytes is 0"]),
    "what cannot be unpacked": ('found_in = "a test"', 'found_in = "a test"\nunpack = true', ["only .zip is"]),
    "an address to nothing": ('"a.npy?region', '"b.npy?region', ["leads to no file", "'a.npy'"]),
    "an address outside": ('"a.npy?region', '"../a.npy?region', ["leaves the set"]),
    "an absolute address": ('"a.npy?region', '"/a.npy?region', ["leaves the set"]),
    "an option without a value": ("region=IT", "region", ["options key=value"]),
    "rows without a number": ("image_{:02d}.jpg*4", "image.jpg*4", ["rows=image.jpg*4"]),
    "rows without how many": ("image_{:02d}.jpg*4", "image_{:02d}.jpg", ["how many"]),
    "rows with a trick": ("image_{:02d}.jpg*4", "{0.__class__}*4", ["rows="]),
    "by hand without how": ('access = "file"', 'access = "page"', ["how (what to do) and page"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", CHANGED)
def test_a_mistake_in_a_catalogue_is_one_line_that_names_it(tmp_path, mistake):
    old, new, words = CHANGED[mistake]
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(NetphysError) as raised:
        Catalogue.read(path)
    line = str(raised.value)
    assert "\n" not in line and str(path) in line
    for word in words:
        assert word in line, line


def test_the_unspoilt_catalogue_is_read(tmp_path):
    """Control of the table above."""
    assert [entry.name for entry in Catalogue.read(written(tmp_path, GOOD))] == ["good"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + GOOD, "two sets named 'good'"),
        (GOOD + GOOD.partition("[[sets.files]]")[2].join(["[[sets.files]]", ""]), "two files have the name 'a.npy'"),
        (GOOD.partition("[[sets.files]]")[0], "has no [[sets.files]]"),
        (GOOD.replace("https://example.org/a.npy", "http://example.org/a.npy").partition("checksum =")[0],
         "is not https, so a checksum is needed"),
        ("sets = 3", "a list is wanted"),
        ("sets = [3]", "set number 1"),
        ("", "'sets' is missing"),
    ],
)  # fmt: skip
def test_further_mistakes(tmp_path, text, words):
    with pytest.raises(NeuralDataError) as raised:
        Catalogue.read(written(tmp_path, text))
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_catalogues_that_cannot_be_read(tmp_path):
    with pytest.raises(NeuralDataError, match="there is no catalogue"):
        Catalogue.read(tmp_path / "nowhere.toml")
    with pytest.raises(NeuralDataError, match="cannot be read"):
        Catalogue.read(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NeuralDataError, match="cannot be read"):
        Catalogue.read(tmp_path / "bytes.toml")
