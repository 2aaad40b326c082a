"""``catalogue:NAME`` is read as the file that it leads to, with the user's options before the catalogue's."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from netphys.addresses import Query
from netphys.errors import AddressError, NeuralDataError
from netphys.neural import load_neural
from netphys.neural.catalogue import fetch, load_entry

PARTS = """
address = "a.npy?region=IT&subject=m1&rows=image_{:02d}.jpg*4"
[sets.parts]
one = "a.npy?region=IT&subject=m1&rows=image_{:02d}.jpg*4"
two = "a.npy?region=V4&subject=m1&rows={}*4"
"""


def rdm() -> np.ndarray:
    square = np.random.default_rng(0).random((4, 4))
    square = square + square.T
    np.fill_diagonal(square, 0)
    return square


@pytest.fixture
def sets(server, catalogue, tmp_path, monkeypatch):
    """A catalogue of one set of an RDM, that load_neural knows too."""
    body = io.BytesIO()
    np.save(body, rdm())
    server.files["a.npy"] = body.getvalue()
    known = catalogue({"a.npy": ""}, more=PARTS)
    monkeypatch.setenv("NETPHYS_CATALOGUE", str(tmp_path / "catalogue.toml"))
    return known


def test_the_address_is_fetched_once_and_read(sets, server, tmp_path):
    data = load_neural("catalogue:set")
    again = load_neural("catalogue:set")
    assert server.asked == ["a.npy"]
    assert data.stimulus_ids == tuple(f"image_{i:02d}.jpg" for i in range(1, 5))
    assert (data.name, data.region, data.subjects) == ("set", "IT", ("m1",))
    np.testing.assert_array_equal(data.dissimilarities[0], rdm()[np.triu_indices(4, 1)])
    assert data.source.startswith("catalogue:set, ") and "by order" in data.source
    assert data.digest == again.digest
    direct = load_neural(f"{tmp_path}/sets/set/a.npy?region=IT&subject=m1", ids=data.stimulus_ids)
    assert direct.digest == data.digest


def test_what_the_user_says_wins(sets):
    data = load_neural("catalogue:set?region=V2&name=mine")
    assert (data.region, data.name) == ("V2", "mine")
    two = load_neural("catalogue:set?part=two&subject=m2", ids=["a", "b", "c", "d"], name="theirs")
    assert (two.region, two.subjects, two.name, two.stimulus_ids) == ("V4", ("m2",), "theirs", ("a", "b", "c", "d"))
    assert load_neural("catalogue:set?part=two").stimulus_ids == ("1", "2", "3", "4")


def test_a_list_of_ids_by_the_user(sets, tmp_path):
    (tmp_path / "ids.csv").write_text("file\nw\nx\ny\nz\n")
    assert load_neural(f"catalogue:set?ids={tmp_path}/ids.csv:file").stimulus_ids == ("w", "x", "y", "z")


def test_a_list_of_ids_of_the_set(server, catalogue, sets):
    server.files["ids.csv"] = b"file\nw\nx\ny\nz\n"
    known = catalogue({"a.npy": "", "ids.csv": ""}, more='address = "a.npy?ids=ids.csv:file"')
    data = load_entry("set", Query("catalogue:set", {}), catalogue=known)
    assert data.stimulus_ids == ("w", "x", "y", "z")
    assert load_entry("set", Query("catalogue:set", {}), ids=list("abcd"), catalogue=known).stimulus_ids == tuple(
        "abcd"
    )


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("catalogue:sett", ["no set 'sett'", "'set'", "netphys data list"]),
        ("catalogue:", ["no set ''"]),
        ("catalogue:set?part=three", ["set has no part 'three'", "'one', 'two'"]),
        ("catalogue:set?regon=IT", ["no option 'regon'", "'region'"]),
        ("catalogue:set?rows=x{}*4", ["no option 'rows'"]),
        ("catalogue:nsd", ["nsd is no file", "cvnlab.slite.page"]),
        ("catalogue:zhang2011", ["zhang2011 is not fetched by netphys", "readout.info", "put rasters into"]),
        ("catalogue:tvsd2025", ["must say which part: monkeyF, monkeyN"]),
        ("catalogue:cichy2016?part=x", ["has no part 'x'", "one part only"]),
    ],
)
def test_mistakes_are_one_line(sets, server, address, words):
    with pytest.raises((NeuralDataError, AddressError)) as raised:
        load_neural(address)
    line = str(raised.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line


def test_an_archive_that_lacks_the_file(server, catalogue, sets):
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("other.npy", b"1")
    server.files["all.zip"] = body.getvalue()
    known = catalogue({"all.zip": "unpack = true"}, more='address = "all/a.npy"')
    with pytest.raises(NeuralDataError, match=r"there is no .*all/a\.npy, which the catalogue names"):
        load_entry("set", Query("catalogue:set", {}), catalogue=known)


def test_a_question_mark_in_the_folder(sets, monkeypatch, tmp_path):
    monkeypatch.setenv("NETPHYS_DATA", str(tmp_path / "why?"))
    with pytest.raises(NeuralDataError, match=r"has a \? in its path"):
        load_neural("catalogue:set")


REAL = Path(os.environ.get("NETPHYS_REAL_DATA") or Path(__file__).parents[4] / "shared" / "data")


def placed(name: str, files: dict[str, Path], tmp_path: Path) -> Path:
    """Put files into a set's folder by hand."""
    folder = tmp_path / "sets" / name
    folder.mkdir(parents=True)
    for filename, source in files.items():
        if not source.is_file():
            pytest.skip(f"no {source} ($NETPHYS_REAL_DATA)")
        shutil.copyfile(source, folder / filename)
    return folder


def test_the_real_92_objects_put_there_by_hand(tmp_path):
    """The truth of the data's README: monkey and human IT, 92 images, Spearman .4389."""
    from scipy.stats import spearmanr

    names = ("Kriegeskorte_Neuron2008_supplementalData.mat", "92_brainRDMs.mat", "92_behavRDMs.mat", "92_modelRDMs.mat")
    placed("kriegeskorte2008", {name: REAL / "kriegeskorte92" / name for name in names}, tmp_path)
    fetch("kriegeskorte2008")  # bytes are those of the catalogue
    monkey = load_neural("catalogue:kriegeskorte2008")
    human = load_neural("catalogue:kriegeskorte2008?part=human")
    assert monkey.stimulus_ids == human.stimulus_ids and len(human.stimulus_ids) == 92
    assert (monkey.subjects, human.subjects, human.region) == (("monkey",), ("human",), "IT")
    assert spearmanr(monkey.dissimilarities[0], human.dissimilarities[0])[0] == pytest.approx(0.4389, abs=5e-5)
    subjects = load_neural("catalogue:kriegeskorte2008?part=human-subjects")
    assert subjects.dissimilarities.shape == (4, 4186)
    mean = subjects.dissimilarities.mean(axis=0)
    assert spearmanr(mean, human.dissimilarities[0])[0] > 0.9995
    behaviour = load_neural("catalogue:kriegeskorte2008?part=behaviour")
    assert behaviour.dissimilarities.shape == (16, 4186)
    models = load_neural("catalogue:kriegeskorte2008?part=models")
    assert models.dissimilarities.shape == (8, 4186)


def test_the_real_78_images_put_there_by_hand(tmp_path):
    source = REAL / "cichy78" / "fmri_rdms.npz"
    placed("algonauts2019", {"keep": source}, tmp_path)
    folder = tmp_path / "sets" / "algonauts2019"
    with np.load(folder / "keep") as both:
        for name, key in (("fmri_T2_EVC_RDMs.npz", "EVC"), ("fmri_T2_IT_RDMs.npz", "IT"), ("fmri_EVC_RDMs.npz", "EVC")):
            np.savez(folder / name, arr_0=both[key])
    it = load_neural("catalogue:algonauts2019")
    assert it.dissimilarities.shape == (15, 78 * 77 // 2) and it.region == "IT"
    evc = load_neural("catalogue:algonauts2019?part=EVC")
    assert evc.stimulus_ids[0] == "image_01.jpg" and evc.region == "EVC"
