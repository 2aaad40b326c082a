"""A study leaves what it promises, computes nothing twice, and notices what changed."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

import netphys
from netphys.errors import MatchError, OutputError
from netphys.scores import COLUMNS
from netphys.studies import run_study


@pytest.fixture(scope="module")
def done(small_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "study"
    return run_study(small_study, out=folder)


def computed(result):
    return {step.name for step in result.steps if not step.reused}


def test_the_folder_holds_what_the_readme_promises(done):
    for name in ["index.html", "scores.csv", "scores.json", "study.toml", "methods.md"]:
        assert (done.folder / name).stat().st_size > 0, name
    for stem in ["agreement", "rdms", "stimuli"]:
        for suffix in [".pdf", ".png", ".json"]:
            assert (done.folder / "figures" / (stem + suffix)).stat().st_size > 0
    assert netphys.load_recording(done.folder / "recordings" / "gabor-energy.h5").layers == ("simple", "energy")
    assert not list(done.folder.rglob("*.netphys-tmp"))
    assert not list(done.folder.rglob("*.partial"))


def test_the_page_makes_no_request_outside_its_folder(done):
    page = (done.folder / "index.html").read_text()
    assert "http://" not in page and "https://" not in page and "//" not in page.replace("</", "")
    import re

    for link in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert (done.folder / link).exists(), link


def test_scores_are_the_tidy_frame_and_equal_a_direct_evaluation(done):
    frame = pd.read_csv(done.folder / "scores.csv")
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 2 + 1 + 1  # layers of Gabor energy, pixels, the truth
    stimuli = netphys.load_stimuli("world:scenes?n=16&size=32&seed=3")
    recording = netphys.record(netphys.load_network("netphys:gabor_energy"), stimuli, layers=["energy"])
    brain = netphys.load_neural("world:cortex?region=IT&seed=1&subjects=3&neuroids=20", stimuli=stimuli)
    result = netphys.evaluate(netphys.rdms(recording), netphys.rdms(brain.assembly), n_bootstraps=40)
    row = frame[(frame["network"] == "Gabor energy") & (frame["layer"] == "energy")].iloc[0]
    assert row["score"] == pytest.approx(result.scores[0], abs=1e-12)
    assert row["ci_low"] == pytest.approx(result.ci_low[0], abs=1e-12)


def test_the_truth_of_simulated_data_is_at_the_ceiling_and_above_every_network(done):
    frame = done.scores
    truth = frame[frame["network"] == "true responses"].iloc[0]
    others = frame[frame["network"] != "true responses"]
    assert truth["score"] > others["score"].max()
    assert truth["score"] > truth["ceiling_low"] - 0.05


def test_a_second_run_computes_nothing_and_a_changed_option_what_depends_on_it(done, small_study):
    assert computed(run_study(small_study, out=done.folder)) == set()
    changed = computed(run_study(small_study, out=done.folder, settings=["rsa.n_bootstraps=30"]))
    assert "scores" in changed and "figures/agreement" in changed
    assert not any(name.startswith(("recording/", "rdms/", "neural/", "figures/stimuli")) for name in changed)
    one = computed(
        run_study(small_study, out=done.folder, settings=["networks.pixels.address=netphys:pixels?resize=16"])
    )
    assert {"recording/pixels", "rdms/pixels", "rsa/simulated IT/pixels"} <= one
    assert not any("Gabor energy" in name and not name.startswith("rsa/") for name in one)
    back = run_study(small_study, out=done.folder)
    pd.testing.assert_frame_equal(back.scores, done.scores)


def test_a_damaged_output_is_noticed_and_made_again(small_study, tmp_path, caplog, monkeypatch):
    folder = tmp_path / "out"
    first = run_study(small_study, out=folder)
    target = folder / "rdms" / "gabor-energy.h5"
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        again = run_study(small_study, out=folder)
    assert "was changed since it was made" in caplog.text
    assert target.read_bytes() == whole
    pd.testing.assert_frame_equal(again.scores, first.scores)
    target.write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr("netphys.studies.steps._State.holds", lambda state, path: True)
    run_study(small_study, out=folder)
    assert target.read_bytes() != whole  # control: without the check the damage stays


def test_force_computes_everything(small_study, done):
    result = run_study(small_study, out=done.folder, force=True)
    assert all(not step.reused for step in result.steps)


def test_a_folder_of_other_things_is_left_alone(small_study, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="not empty and holds no study"):
        run_study(small_study, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(OutputError, match="it is a file"):
        run_study(small_study, out=tmp_path / "thesis.tex")


def test_neural_data_of_other_stimuli_are_refused_before_anything_is_recorded(small_study, tmp_path):
    square = np.abs(np.subtract.outer(np.arange(16.0), np.arange(16.0)))
    np.save(tmp_path / "rdm.npy", square)
    (tmp_path / "ids.csv").write_text("\n".join(["name", *(f"other-{i}" for i in range(16))]))
    settings = [f"neural.simulated IT.address={tmp_path}/rdm.npy", f"neural.simulated IT.ids={tmp_path}/ids.csv:name"]
    with pytest.raises(MatchError, match="16 of 16 stimuli of simulated IT are not among the 16 of world:scenes"):
        run_study(small_study, out=tmp_path / "out", settings=settings)
    assert not (tmp_path / "out" / "recordings").exists()
