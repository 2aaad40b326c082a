"""The study file: every key known by name, settings by path, mistakes in one line."""

from __future__ import annotations

import pytest

from netphys.errors import StudyError
from netphys.studies.study import Study, read_study, study_toml, with_data

MINIMAL = """
title = "t"
[stimuli]
address = "world:scenes?n=8"
[[networks]]
name = "pixels"
address = "netphys:pixels"
[[neural]]
name = "IT"
address = "world:cortex?region=IT"
"""
WITH_DOTS = """[[neural]]
name = "V1 2.5"
address = "world:cortex?region=V1"
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return write


def test_the_embedded_study_is_read_and_written_back_the_same(tmp_path):
    study = read_study()
    path = tmp_path / "again.toml"
    path.write_text(study_toml(study))
    assert read_study(path) == study


def test_data_is_put_into_addresses_but_not_elsewhere(write):
    path = write('data = "here"\n' + MINIMAL.replace("world:scenes?n=8", "{data}/images"))
    assert with_data(read_study(path)).stimuli.address == "here/images"
    assert with_data(read_study(path, ["data=there"])).stimuli.address == "there/images"
    assert read_study(path).stimuli.address == "{data}/images"  # as it is written back, for another place


@pytest.mark.parametrize(
    ("setting", "read", "value"),
    [
        ("rsa.n_bootstraps=7", lambda s: s.rsa.n_bootstraps, 7),
        ("title=two words", lambda s: s.title, "two words"),
        ("networks.pixels.training=none", lambda s: s.networks[0].training, "none"),
        ("networks.0.name=p", lambda s: s.networks[0].name, "p"),
        ("neural.V1 2.5.address=x", lambda s: s.neural[1].address, "x"),
        ('networks.pixels.layers=["a", "b"]', lambda s: s.networks[0].layers, ("a", "b")),
        ("neural.IT.address=world:cortex?region=V1&seed=1", lambda s: s.neural[0].address[-6:], "seed=1"),
    ],
)
def test_a_setting_changes_one_key(write, setting, read, value):
    path = write(MINIMAL + WITH_DOTS)
    assert read(read_study(path, [setting])) == value
    assert read(read_study(path)) != value  # control


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINIMAL.replace("title", "titel"), ["no key 'titel'", "near: 'title'"]),
        (MINIMAL.replace('name = "pixels"', 'nam = "pixels"'), ["networks"]),
        (MINIMAL + "[rsa]\nn_bootstrap = 3\n", ["no key 'n_bootstrap' in [rsa]", "near: 'n_bootstraps'"]),
        (MINIMAL + '[rsa]\nn_bootstraps = "many"\n', ["rsa.n_bootstraps must be a whole number, not text"]),
        (MINIMAL + '[rsa]\ncompare = "spearmann"\n', ["[rsa] compare: no comparison 'spearmann'", "near: 'spearman'"]),
        ("seed = -1\n" + MINIMAL, ["seed = -1"]),
        (MINIMAL.replace('title = "t"', ""), ["lacks 'title'", "required are title, stimuli, networks, neural"]),
        (MINIMAL + 'compare_with = ["V1"]\n', ["compares with 'V1'", "'IT'"]),
        (MINIMAL + '[[neural]]\nname = "IT"\naddress = "x"\n', ["two neural named 'IT'"]),
        (MINIMAL + '[[neural]]\nname = "it!"\naddress = "x"\n', ["share the file 'it'"]),
        (MINIMAL + '[[neural]]\nname = "pixels"\naddress = "x"\n', ["share the file 'pixels'"]),
        (MINIMAL + 'compare_with = ["IT"]\n', ["'IT' is compared with itself"]),
        ("title = ", ["not TOML"]),
    ],
)
def test_mistakes_are_one_line_that_names_them(write, text, words):
    with pytest.raises(StudyError) as caught:
        read_study(write(text))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("rsa.n_bootstrap=3", "near: 'n_bootstraps'"),
        ("rsaa.n_bootstraps=3", "near: 'rsa'"),
        ("networks.pixel.layers=3", "near: 'pixels'"),
        ("networks=3", "networks must be a list, not a whole number"),
        ("nonsense", "is not KEY=VALUE"),
    ],
)
def test_mistaken_settings_name_what_is_near(write, setting, words):
    with pytest.raises(StudyError, match=words):
        read_study(write(MINIMAL), [setting])


def test_an_absent_file_is_named():
    with pytest.raises(StudyError, match="no study file nowhere.toml"):
        read_study("nowhere.toml")


def test_a_study_is_frozen():
    with pytest.raises(AttributeError):
        Study.title = read_study().title = "x"  # type: ignore[misc]
