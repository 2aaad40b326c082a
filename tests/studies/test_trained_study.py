"""A study that trains its networks: what it leaves, what is computed again, and that its parts are what they seem."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest

import netphys
from netphys.errors import StudyError
from netphys.probes import probe
from netphys.studies import run_study
from netphys.training import load_training
from netphys.units import load_top_patches, top_patches


@pytest.fixture(scope="module")
def done(trained_study, tmp_path_factory):
    return run_study(trained_study, out=tmp_path_factory.mktemp("out") / "study", device="cpu")


def computed(result):
    return {step.name for step in result.steps if not step.reused}


def test_the_folder_holds_networks_curves_units_and_contrasts(done):
    for name in ["networks/simclr/network.toml", "networks/simclr/weights.safetensors", "contrasts.csv"]:
        assert (done.folder / name).stat().st_size > 0, name
    for stem in ["agreement", "curves", "differences", "filters", "rdms", "stimuli"]:
        for suffix in [".pdf", ".png", ".json"]:
            assert (done.folder / "figures" / (stem + suffix)).stat().st_size > 0, stem
    for name in ["simclr", "supervised", "untrained"]:
        assert (done.folder / "units" / name / "index.html").stat().st_size > 0
    assert not (done.folder / "units" / "pixels").exists()  # it has no convolution
    assert not list(done.folder.rglob("*.netphys-tmp"))
    assert not list(done.folder.rglob("checkpoint*"))


def test_every_link_of_every_page_leads_to_a_file_of_the_folder(done):
    pages = [done.folder / "index.html", *done.folder.glob("units/*/index.html")]
    assert len(pages) == 4
    for page in pages:
        text = page.read_text()
        assert "http://" not in text and "https://" not in text
        for link in re.findall(r'(?:src|href)="([^"#]+)"', text):
            assert (page.parent / link).resolve().is_relative_to(done.folder.resolve()), link
            assert (page.parent / link).exists(), link


def test_a_trained_network_is_an_address_and_was_trained_as_the_file_says(done):
    network = netphys.load_network(str(done.folder / "networks" / "supervised"))
    assert network.training == "supervised"
    untrained = netphys.load_network("netphys:small_alexnet?width=4&seed=0")
    assert network.digest != untrained.digest
    assert int(load_training(done.folder / "networks" / "supervised").curve["step"].max()) == 9
    assert int(load_training(done.folder / "networks" / "simclr").curve["step"].max()) == 6


def test_top_patches_of_the_recording_pass_are_those_of_a_pass_of_their_own(done):
    found = load_top_patches(done.folder / "units" / "simclr" / "top.h5").to_frame()
    network = netphys.load_network(str(done.folder / "networks" / "simclr"))
    again = top_patches(network, "world:scenes?n=96&size=32&seed=5", layers=["relu1", "relu5"], k=4, device="cpu")
    pd.testing.assert_frame_equal(found, again.to_frame())


def test_probe_rows_are_those_of_a_probe_by_hand(done):
    network = netphys.load_network(str(done.folder / "networks" / "supervised"))
    recording = netphys.record(
        network, "world:scenes?n=96&size=32&seed=5", layers=["relu1", "relu5"], keep="pooled", device="cpu"
    )
    by_hand = probe(recording, "scene", seed=0).to_frame()
    frame = done.scores
    rows = frame[(frame["dataset"] == by_hand["dataset"].iloc[0]) & (frame["network"] == "supervised")]
    np.testing.assert_allclose(rows["score"].astype(float), by_hand["score"].astype(float))


def test_contrasts_are_paired_differences_of_the_scores(done):
    table, frame = pd.read_csv(done.folder / "contrasts.csv"), done.scores
    assert set(table["network"]) == {"SimCLR", "supervised"} and set(table["control"]) == {"untrained"}
    assert len(table) == 2 * 2 * 2  # networks, layers, the probe and one region
    for _, row in table.iterrows():
        own = frame[(frame["dataset"] == row["dataset"]) & (frame["layer"] == row["layer"])].set_index("network")[
            "score"
        ]
        assert row["difference"] == pytest.approx(own[row["network"]] - own["untrained"], abs=1e-9)
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]
    assert any("minus untrained" in line for line in done.findings())


def test_a_second_run_computes_nothing_and_a_longer_training_what_depends_on_it(done, trained_study):
    assert computed(run_study(trained_study, out=done.folder, device="cpu")) == set()
    setting = "networks.SimCLR.train.n_steps=7"
    changed = computed(run_study(trained_study, out=done.folder, device="cpu", settings=[setting]))
    assert {"training/SimCLR", "recording/SimCLR", "probe-recording/SimCLR", "contrasts", "figures/curves"} <= changed
    assert not any("supervised" in name or "/untrained" in name for name in changed)


@pytest.mark.slow
def test_all_seeds_follow_the_seed_of_the_study(trained_study, tmp_path):
    first, second = (
        run_study(trained_study, out=tmp_path / str(seed), device="cpu", seed=seed, settings=["rsa.n_bootstraps=0"])
        for seed in (1, 2)
    )
    one, two = (netphys.load_network(str(each.folder / "networks" / "simclr")) for each in (first, second))
    assert one.digest != two.digest
    assert set(first.contrasts["dataset"]) == {"scene"}  # no draws, no intervals of agreement


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("networks.SimCLR.train.objective=simcrl", "'SimCLR': no objective 'simcrl'; near: 'simclr'"),
        ("networks.SimCLR.train.n_step=3", r"no key 'n_step' in \[networks.train\]; near: 'n_steps'"),
        ("networks.SimCLR.control=untraind", "control of 'SimCLR': 'untraind'; near: 'untrained'"),
        ("networks.SimCLR.training=simclr", "is not for the file to say"),
        ("training.stimuli=", "is trained on nothing"),
        ("probe.labels=scnee", r"\[probe\] labels: stimuli have no column 'scnee'; near: 'scene'"),
        ("probe.test=25", r"\[probe\] test = 25; a share"),
        ("probe.labels=simulated IT", "are both called 'simulated IT'"),
        ("units.n_top=0", r"\[units\] n_top = 0; at least 1"),
        ("networks.0.layers.0=x", "a list of values is set as a whole"),
        ('units.networks=["SimCRL"]', r"\[units\] networks: 'SimCRL'; near: 'SimCLR'"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_computed(trained_study, tmp_path, setting, message):
    with pytest.raises(StudyError, match=message) as caught:
        run_study(trained_study, out=tmp_path / "out", settings=[setting])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "networks").exists()


def test_a_column_of_labels_that_there_is_not_is_said_before_anything_is_trained(trained_study, tmp_path):
    with pytest.raises(netphys.errors.NetphysError, match="objct"):
        run_study(trained_study, out=tmp_path / "out", settings=["networks.supervised.train.labels=objct"])
    assert not (tmp_path / "out" / "networks").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('networks.SimCLR.layers=["rellu*"]', "rellu"),
        ("networks.SimCLR.train.n_steps=0", "n_steps=0"),
        ("networks.SimCLR.keep=avg", "keep='avg'"),
        ("probe.labels=index", "index"),  # every stimulus is a class of its own
    ],
)
def test_mistakes_in_layers_and_numbers_are_said_before_anything_is_trained(trained_study, tmp_path, setting, message):
    with pytest.raises(netphys.errors.NetphysError, match=message):
        run_study(trained_study, out=tmp_path / "out", settings=[setting])
    assert not (tmp_path / "out" / "networks").exists()


def test_without_draws_probes_are_compared_all_the_same_and_the_page_lists_what_is_there(done, trained_study, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done.folder, out)
    result = run_study(trained_study, out=out, device="cpu", settings=["rsa.n_bootstraps=0"])
    assert set(result.contrasts["dataset"]) == {"scene"}
    run_study(
        trained_study, out=out, device="cpu", settings=["networks.SimCLR.control=", "networks.supervised.control="]
    )
    page = (out / "index.html").read_text()
    assert (out / "contrasts.csv").is_file() and "contrasts.csv" not in page  # of an earlier run, and not offered
    assert "../../index.html" in (out / "units" / "simclr" / "index.html").read_text()


def test_options_of_an_objective_are_checked_too(trained_study, tmp_path):
    with pytest.raises(netphys.errors.NetphysError, match="temprature.*temperature"):
        run_study(trained_study, out=tmp_path / "out", settings=["networks.SimCLR.train.options.temprature=0.3"])
