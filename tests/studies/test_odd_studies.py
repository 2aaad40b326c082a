"""Studies that a careless cache or page would get wrong: odd names, other orders, other stimuli, other code."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import netphys
from netphys.errors import MatchError, OutputError, StudyError
from netphys.studies import run_study
from netphys.studies.comparing import compare_recordings
from netphys.studies.rdm_files import load_rdms, pooled

NETWORK = """
import torch
from torch import nn
from gain_of_mine import GAIN

class Gain(nn.Module):
    def forward(self, x):
        return torch.sin(GAIN * x)

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), Gain(), nn.Conv2d(4, 4, 3))
"""


@pytest.fixture
def study(tmp_path):
    """Ten images, a network of numbered layers from a user's file, two sets of RDMs: of all and of eight stimuli."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for index in range(10):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index:02d}.png")
    (tmp_path / "mine.py").write_text(NETWORK)
    (tmp_path / "gain_of_mine.py").write_text("GAIN = 1.0\n")
    for name, n in (("all", 10), ("some", 8)):
        vectors = rng.random((3, n * (n - 1) // 2))
        np.savez(tmp_path / f"{name}.npz", RDM=vectors)
        (tmp_path / f"{name}.csv").write_text("file\n" + "\n".join(f"{index:02d}.png" for index in range(n)))
    path = tmp_path / "study.toml"
    path.write_text(
        'title = "odd"\ndata = "."\n[stimuli]\naddress = "{data}/images"\n'
        '[[networks]]\nname = "1"\naddress = "{data}/mine.py:net"\nlayers = ["0", "1", "2"]\n'
        '[[networks]]\nname = "NA"\naddress = "netphys:pixels"\nlayers = ["pixels"]\n'
        '[[neural]]\nname = "None"\naddress = "{data}/all.npz"\nids = "{data}/all.csv:file"\n'
        '[[neural]]\nname = "2"\naddress = "{data}/some.npz"\nids = "{data}/some.csv:file"\ncompare_with = ["None"]\n'
        "[rsa]\nn_bootstraps = 200\n"
    )
    return path


def run(study, *settings, out="out"):
    return run_study(study, settings=[f"data={study.parent}", *settings], out=study.parent / out)


def computed(result):
    return {step.name for step in result.steps if not step.reused}


def test_names_that_look_like_numbers_or_like_nothing_stay_names(study):
    scores = run(study).scores
    assert set(scores["network"]) == {"1", "NA", "None"}
    assert set(scores["dataset"]) == {"None", "2"}
    assert scores["layer"].tolist()[:3] == ["0", "1", "2"]
    assert scores["score"].notna().all()


def test_sets_of_fewer_stimuli_are_compared_on_theirs_and_the_page_says_so(study):
    result = run(study)
    counts = dict(zip(result.scores["dataset"], result.scores["n_stimuli"]))
    assert counts == {"None": 10, "2": 8}
    page, methods = ((result.folder / name).read_text() for name in ("index.html", "methods.md"))
    assert "of the 8 stimuli that all have" in page and "t with 7 to 9 degrees of freedom" in page
    assert "None, 10 stimuli (45 pairs)" in methods and "2, 8 stimuli (28 pairs)" in methods
    table = pd.read_csv(result.folder / "figures" / "rdms.csv")
    assert len(table) == 28


def test_a_helper_that_the_users_file_imports_is_a_part_of_the_network(study):
    first = run(study)
    assert computed(run(study)) == set()
    (study.parent / "gain_of_mine.py").write_text("GAIN = 40.0\n")
    second = run(study)
    assert "recording/1" in computed(second) and "recording/NA" not in computed(second)
    fresh = run(study, out="fresh")
    pd.testing.assert_frame_equal(second.scores, fresh.scores)
    changed = first.scores["score"] != second.scores["score"]
    assert changed.any()  # control: the change does change the scores


def test_the_order_of_neural_data_is_a_part_of_the_figures(study):
    run(study)
    text = study.read_text()
    head, first, second = text.split("[[neural]]")
    second, rsa = second.split("[rsa]")
    study.write_text(f"{head}[[neural]]{second}[[neural]]{first}[rsa]{rsa}")
    again, fresh = run(study), run(study, out="fresh")
    for name in ("figures/rdms.csv", "figures/agreement.csv", "scores.csv", "index.html", "methods.md"):
        assert (again.folder / name).read_bytes() == (fresh.folder / name).read_bytes(), name


def test_a_study_is_repeated_from_its_own_folder_wherever_the_data_are(study, tmp_path, monkeypatch):
    first = run(study)
    monkeypatch.chdir(first.folder)
    again = run_study("study.toml", settings=[f"data={study.parent}"], out=tmp_path / "again")
    pd.testing.assert_frame_equal(first.scores, again.scores)


def test_labels_of_a_study_reach_the_scores_without_a_new_recording(study):
    run(study)
    named = run(study, "networks.1.training=SimCLR")
    rows = named.scores[named.scores["network"] == "1"]
    assert set(rows["training"]) == {"SimCLR"}
    assert not any(step.startswith("recording/") for step in computed(named))
    assert set(load_rdms(named.folder / "rdms" / "1.h5").rdm_descriptors["training"]) == {"SimCLR"}
    assert "trained by SimCLR" in (named.folder / "methods.md").read_text()
    assert "training not stated" in (run(study).folder / "methods.md").read_text()


def test_a_column_that_there_is_not_is_refused_before_anything_is_recorded(study):
    with pytest.raises(StudyError, match="no column 'categroy'"):
        run(study, "figures.groups=categroy")
    assert not (study.parent / "out").exists()


def test_a_model_of_fewer_stimuli_is_refused_before_anything_is_recorded(study):
    text = study.read_text().replace('compare_with = ["None"]', "")
    study.write_text(text.replace('ids = "{data}/all.csv:file"', 'ids = "{data}/all.csv:file"\ncompare_with = ["2"]'))
    with pytest.raises(MatchError, match="2 of 10 stimuli of None are not among the 8 of 2"):
        run(study)
    assert not (study.parent / "out").exists()


@pytest.mark.parametrize("record", ['{"name": "x"}', "[]", "no json", None])
def test_a_strangers_step_record_is_computed_again_and_reaches_no_file_outside(study, record):
    victim = study.parent / "victim.txt"
    victim.write_text("mine")
    folder = run(study).folder
    for path in (folder / ".netphys" / "steps").glob("rdms-1*.json"):
        known = json.loads(path.read_text())
        known["outputs"] = {"../victim.txt": {"sha256": "0", "size": 1, "mtime_ns": 0}}
        path.write_text(record or json.dumps(known))
    assert "rdms/1" in computed(run(study))
    assert victim.read_text() == "mine"


def test_pooled_rdms_have_no_rank_where_a_subject_has_no_dissimilarity():
    from rsatoolbox.rdm import RDMs

    rng = np.random.default_rng(0)
    vectors = rng.random((3, 45))
    vectors[1, 4:9] = np.nan
    found = pooled(RDMs(vectors)).get_vectors()[0]
    assert np.isnan(found[4:9]).all() and np.isfinite(np.delete(found, range(4, 9))).all()


def test_a_comparison_leaves_other_folders_alone_and_takes_names_for_names(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"s{index}" for index in range(9)]
    recording = netphys.Recording.from_arrays({"fc": rng.normal(size=(9, 5))}, ids, name="../../escaped")
    np.savez(tmp_path / "brain.npz", RDM=rng.random((2, 36)))
    (tmp_path / "ids.csv").write_text("\n".join(["id", *ids]))
    options = {"ids": f"{tmp_path}/ids.csv:id", "n_bootstraps": 0}
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "index.html").write_text("my thesis")
    with pytest.raises(OutputError, match="not empty and holds no comparison"):
        compare_recordings([recording], f"{tmp_path}/brain.npz", out=foreign, **options)
    assert (foreign / "index.html").read_text() == "my thesis"
    deep = tmp_path / "a" / "b"
    made = compare_recordings([recording, recording], f"{tmp_path}/brain.npz", out=deep, **options)
    assert sorted(path.name for path in (deep / "rdms").iterdir()) == ["escaped-2.h5", "escaped.h5"]
    assert made.scores["network"].nunique() == 2
    assert not (tmp_path / "escaped.h5").exists() and not (tmp_path.parent / "escaped.h5").exists()
    compare_recordings([recording], f"{tmp_path}/brain.npz", out=deep, **options)  # its own folder may be used again
