"""HDF5 files: RDMs as rsatoolbox saves them, and plain datasets."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from rsatoolbox.rdm import RDMs

from netphys.errors import NeuralDataError
from netphys.neural import load_neural
from netphys.neural.hdf5 import read_saved_rdms


def _saved(path: Path, pairs: np.ndarray, **descriptors: list[str]) -> Path:
    patterns = {"stimulus_id": descriptors.pop("stimulus_id")} if "stimulus_id" in descriptors else {}
    rdms = RDMs(pairs, dissimilarity_measure="correlation", rdm_descriptors=descriptors, pattern_descriptors=patterns)
    rdms.save(str(path), file_type="hdf5")
    return path


def test_rdms_of_rsatoolbox_read_back(tmp_path: Path, pairs):
    names = ["b", "a", "d", "c", "10", "2"]
    path = _saved(tmp_path / "rdms.h5", pairs, stimulus_id=names, subject=["s2", "s1", "s4", "s3"], region=["IT"] * 4)
    data = load_neural(path)
    np.testing.assert_array_equal(data.dissimilarities, pairs)
    assert data.stimulus_ids == tuple(names) and data.subjects == ("s2", "s1", "s4", "s3") and data.region == "IT"
    assert "by stimulus_id" in data.source and "correlation" in data.source
    back = data.to_rdms()
    again = load_neural(_saved(tmp_path / "again.h5", back.dissimilarities, stimulus_id=names))
    np.testing.assert_array_equal(again.dissimilarities, pairs)


def test_region_and_subject_choose_rows(tmp_path: Path, ids, pairs):
    path = _saved(
        tmp_path / "rdms.hdf5",
        pairs,
        subject=["m", "n", "m", "n"],
        region=["V4", "V4", "IT", "IT"],
        stimulus_id=list("abcdef"),
    )
    it = load_neural(f"{path}?region=IT")
    np.testing.assert_array_equal(it.dissimilarities, pairs[2:])
    assert it.subjects == ("m", "n") and it.region == "IT"
    np.testing.assert_array_equal(load_neural(f"{path}?region=V4&subject=n,m").dissimilarities, pairs[[1, 0]])
    assert load_neural(path).region == "V4+IT"
    with pytest.raises(NeuralDataError, match=r"no RDM of region 'V1'; near: 'V4'"):
        load_neural(f"{path}?region=V1")


def test_three_rdms_of_three_stimuli_are_vectors_not_a_matrix(tmp_path: Path):
    three = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    data = load_neural(_saved(tmp_path / "three.h5", three, stimulus_id=["a", "b", "c"]))
    np.testing.assert_array_equal(data.dissimilarities, three)


def test_rdms_without_ids_need_a_list(tmp_path: Path, listed, ids, pairs):
    path = _saved(tmp_path / "bare.h5", pairs)
    with pytest.raises(NeuralDataError, match=r"carries no stimulus ids; .* --ids FILE:COLUMN"):
        load_neural(path)
    assert load_neural(path, ids=listed).stimulus_ids == ids


def test_ragged_lists_come_back_in_integer_order(tmp_path: Path):
    ragged = [list(range(at + 1)) for at in range(12)]
    with h5py.File(tmp_path / "ragged.h5", "w") as file:
        file["dissimilarities"] = np.ones((1, 3))
        for name in ("rdm_descriptors", "pattern_descriptors"):
            file.create_group(name)
        group = file["rdm_descriptors"].create_group("runs")
        for at, each in enumerate(ragged):
            group[str(at)] = np.array(each)
        file["rdm_descriptors"]["none"] = h5py.Empty("f")
    saved = read_saved_rdms(tmp_path / "ragged.h5")
    assert saved.rdm_descriptors["runs"][1:] == ragged[1:] and saved.rdm_descriptors["none"] == []
    assert sorted(map(str, range(12))) != list(map(str, range(12)))  # control: the order of names is another


def test_plain_datasets(tmp_path: Path, ids, stack, pairs, responses):
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["monkey/rdms"] = stack
        file["monkey/rates"] = responses
        file["stimulus_id"] = np.array(ids, dtype=h5py.string_dtype())
    data = load_neural(f"{tmp_path / 'plain.h5'}?variable=monkey/rdms")
    np.testing.assert_array_equal(data.dissimilarities, pairs)
    assert data.stimulus_ids == ids
    rates = load_neural(f"{tmp_path / 'plain.h5'}?variable=monkey/rates&kind=responses")
    np.testing.assert_array_equal(rates.assembly.values, responses)
    with pytest.raises(NeuralDataError, match=r"no variable 'monkey/rdm'; near: 'monkey/rdms'"):
        load_neural(f"{tmp_path / 'plain.h5'}?variable=monkey/rdm")
