"""The public files as they are: their truths come out (../shared/data/README.md)."""

from __future__ import annotations

import os
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from netphys.errors import NeuralDataError
from netphys.neural import average_repetitions, load_neural

pytestmark = pytest.mark.real
_REPOSITORY = Path(__file__).parents[2]


def _set(name: str) -> Path:
    """The folder of a set of real data; skips, with a word, where it is absent."""
    folder = Path(os.environ.get("NETPHYS_REAL_DATA", _REPOSITORY.parent / "shared" / "data")) / name
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set NETPHYS_REAL_DATA")
    return folder


@pytest.fixture(scope="module")
def k92() -> Path:
    return _set("kriegeskorte92")


@pytest.fixture(scope="module")
def ids(k92: Path, tmp_path_factory) -> str:
    """FILE:COLUMN of the list that the rows of the 92-image files follow."""
    folder = tmp_path_factory.mktemp("k92")
    with zipfile.ZipFile(k92 / "images.zip") as archive:
        (folder / "metadata.csv").write_bytes(archive.read("metadata.csv"))
    return f"{folder / 'metadata.csv'}:file"


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(spearmanr(a, b).statistic)


@pytest.fixture(scope="module")
def it(k92: Path, ids: str) -> dict[str, np.ndarray]:
    """Dissimilarities of monkey and human IT."""
    file = k92 / "Kriegeskorte_Neuron2008_supplementalData.mat"
    found = {}
    for index, subject in enumerate(("monkey", "human")):
        address = f"{file}?variable=RDMs_mIT_hIT_fig1&index={index}&subject={subject}&region=IT"
        data = load_neural(address, ids=ids)
        assert data.kind == "rdms" and data.subjects == (subject,) and data.region == "IT"
        assert data.dissimilarities.shape == (1, 4186) and len(data.stimulus_ids) == 92
        assert data.stimulus_ids[0] == "human_body/01.png" and data.stimulus_ids[91] == "artificial_object/92.png"
        assert data.source.endswith(f"by order to {ids}")
        found[subject] = data.dissimilarities[0]
    return found


def test_monkey_and_human_it(it):
    assert _spearman(it["monkey"], it["human"]) == pytest.approx(0.4389, abs=5e-5)
    shuffled = np.random.default_rng(0).permutation(it["human"])
    assert abs(_spearman(it["monkey"], shuffled)) < 0.05  # control: 3 standard errors of 4186 pairs


def test_the_order_of_rows_is_that_of_the_list(it, ids):
    """Faces (rows 13-24 and 37-48) are alike in both species, as published; with rows reversed they are not."""
    upper = np.triu_indices(92, 1)
    faces = np.isin(np.arange(92), [*range(12, 24), *range(36, 48)])
    within = faces[upper[0]] & faces[upper[1]]
    assert it["monkey"][within].mean() == pytest.approx(0.816, abs=5e-4)
    assert it["human"][within].mean() == pytest.approx(0.708, abs=5e-4)
    reverse = faces[::-1]
    assert it["monkey"][reverse[upper[0]] & reverse[upper[1]]].mean() > 0.9


def test_four_subjects_in_two_sessions(k92, ids, it):
    file = k92 / "92_brainRDMs.mat"
    averaged = load_neural(f"{file}?variable=RDMs&average=1&region=IT", ids=ids)
    assert averaged.subjects == ("BE", "KO", "SN", "TI") and averaged.dissimilarities.shape == (4, 4186)
    assert _spearman(averaged.dissimilarities.mean(axis=0), it["human"]) > 0.9995
    sessions = [load_neural(f"{file}?index=:,{at}", ids=ids).dissimilarities for at in (0, 1)]
    np.testing.assert_allclose(np.mean(sessions, axis=0), averaged.dissimilarities, rtol=1e-12)
    within = [_spearman(first, second) for first, second in zip(*sessions)]
    assert np.mean(within) == pytest.approx(0.219, abs=5e-4)
    assert np.mean([_spearman(a, b) for a, b in pairwise(sessions[0])]) < np.mean(within)  # control: other subjects
    with pytest.raises(NeuralDataError, match=r"has axes \(4, 2\)"):
        load_neural(file, ids=ids)


def test_behaviour_of_sixteen_subjects(k92, ids, it):
    data = load_neural(k92 / "92_behavRDMs.mat", ids=ids)
    assert data.subjects == tuple(f"subject{at}" for at in range(1, 17))
    mean = data.dissimilarities.mean(axis=0)
    assert _spearman(mean, it["human"]) == pytest.approx(0.392, abs=5e-4)
    assert _spearman(mean, it["monkey"]) == pytest.approx(0.394, abs=5e-4)


def test_models(k92, ids, it):
    data = load_neural(k92 / "92_modelRDMs.mat", ids=ids)
    truths = {  # with human IT, with monkey IT
        "animacy": (0.588, 0.453),
        "FaceBodyManmadeNatobj": (0.405, 0.425),
        "HMAX": (0.222, 0.245),
        "V1": (0.039, 0.074),
        "Silhouette": (0.125, 0.247),
        "EVA": (0.354, 0.094),
        "RADON": (0.061, 0.016),
    }
    assert set(data.subjects) == {*truths, "monkeyIT"}
    for name, row in zip(data.subjects, data.dissimilarities):
        if name in truths:
            found = _spearman(row, it["human"]), _spearman(row, it["monkey"])
            assert found == pytest.approx(truths[name], abs=6e-4), name
    alone = load_neural(f"{k92 / 'rdm92_V1model.mat'}?variable=rdm92_V1model", ids=ids)
    assert alone.dissimilarities.shape == (1, 4186)
    with pytest.raises(NeuralDataError, match=r"name one by \?variable=NAME: RDMs \(1, 2\) struct; "):
        load_neural(k92 / "rdm92_V1model.mat", ids=ids)


def test_level_5_reader_equals_scipy_on_the_public_files(k92):
    from scipy.io import loadmat

    from netphys.neural.files.matlab import matlab_variables, read_matlab

    for file in sorted(k92.glob("*.mat")):
        theirs = {name: value for name, value in loadmat(file).items() if not name.startswith("__")}
        assert set(matlab_variables(file)) == set(theirs)
        for name, value in theirs.items():
            mine = read_matlab(file, name)
            assert mine.shape == value.shape  # scipy gives a double stored in bytes as bytes, we as the double it is
            if value.dtype.names and "RDM" in value.dtype.names:
                for at in np.ndindex(*value.shape):
                    np.testing.assert_array_equal(mine["RDM"][at], value["RDM"][at])
            elif value.dtype.kind in "fiu":
                np.testing.assert_array_equal(mine, value)


def test_fmri_of_fifteen_subjects():
    file = _set("cichy78") / "fmri_rdms.npz"
    ids = [f"image_{at:02d}.jpg" for at in range(1, 79)]
    means = {}
    for region in ("EVC", "IT"):
        data = load_neural(f"{file}?variable={region}&region={region}", ids=ids)
        assert data.dissimilarities.shape == (15, 78 * 77 // 2) and len(data.subjects) == 15
        means[region] = data.dissimilarities.mean(axis=0)
    assert _spearman(means["EVC"], means["IT"]) == pytest.approx(0.225, abs=5e-4)
    with pytest.raises(NeuralDataError, match=r"several variables .* EVC \(15, 78, 78\); IT \(15, 78, 78\)"):
        load_neural(file, ids=ids)
    with pytest.raises(NeuralDataError, match=r"has 78 stimuli, but the given ids lists 92"):
        load_neural(f"{file}?variable=IT", ids=[str(at) for at in range(92)])


def test_macaque_v4_as_responses():
    file = _set("v4_cowley") / "responses.npz"
    ids = [f"images_210325/image{at:04d}.jpg" for at in range(1, 641)]
    axes = "kind=responses&axes=neuroid,stimulus,repetition"
    trials = load_neural(f"{file}?variable=trials_210325&{axes}&region=V4&subject=PE", ids=ids)
    mean = load_neural(f"{file}?variable=mean_210325&kind=responses&axes=neuroid,stimulus&region=V4", ids=ids)
    assert trials.assembly.sizes["neuroid"] == 50 and len(trials.stimulus_ids) == 640
    assert 640 * 6 <= trials.assembly.sizes["presentation"] <= 640 * 10  # 6 to 10 presentations an image
    order, averaged = average_repetitions(trials.assembly)
    assert order == mean.stimulus_ids == tuple(ids)
    np.testing.assert_allclose(averaged, mean.assembly.values, rtol=1e-6)  # the file's means are float32
